#!/bin/sh
# Installs PgBouncer for the tests with a connection pooler, on Debian and its relatives, when it is missing. Needs root.
set -eu

for path in "$(command -v pgbouncer || true)" /usr/sbin/pgbouncer; do
	if [ -x "$path" ]; then
		echo "pgbouncer is there: $path"
		exit 0
	fi
done

if ! command -v apt-get >/dev/null 2>&1; then
	echo "PgBouncer is missing, and there is no apt-get here: install it by your system's package manager." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "PgBouncer is missing. As root, run: apt-get update && apt-get install --no-install-recommends pgbouncer" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends pgbouncer
