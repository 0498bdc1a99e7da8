#!/bin/sh
# Installs Prometheus and promtool for the tests of /metrics, on Debian and its relatives, when one is missing. Needs root.
set -eu

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
	echo "prometheus is there: $(command -v prometheus)"
	exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
	echo "Prometheus is missing, and there is no apt-get here: install it by your system's package manager." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "Prometheus is missing. As root, run: apt-get update && apt-get install --no-install-recommends prometheus" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends prometheus
