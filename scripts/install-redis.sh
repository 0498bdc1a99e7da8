#!/bin/sh
# Installs Redis, its Sentinel and Valkey for the tests with real servers, on Debian and its relatives, when they are missing. Needs root.
set -eu

valkey=/opt/valkey

# The packages of Redis bring the libraries that Valkey needs.
missing=
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v redis-sentinel >/dev/null 2>&1 || missing="$missing redis-sentinel"
has_valkey() { command -v valkey-server >/dev/null 2>&1 || [ -x "$valkey/usr/bin/valkey-server" ]; }

if [ -z "$missing" ] && has_valkey; then
	echo "redis and valkey are there"
	exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
	echo "Redis or Valkey is missing, and there is no apt-get here: install them by your system's package manager." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "Redis or Valkey is missing. As root, run: scripts/install-redis.sh" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
if [ -n "$missing" ]; then
	apt-get update
	# shellcheck disable=SC2086 # a list
	apt-get install --yes --no-install-recommends $missing
fi
has_valkey && exit 0

# Debian 12 has Valkey in its backports only: package lists of our own leave the system's sources as they are.
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
mkdir -p "$temporary/lists/partial" "$temporary/sources"
chmod 755 "$temporary"
. /etc/os-release
source=/etc/apt/sources.list.d/debian.sources
if [ ! -f "$source" ] || [ -z "${VERSION_CODENAME:-}" ]; then
	echo "Valkey is missing, and $source isn't there: install valkey-server by your system's package manager." >&2
	exit 1
fi
# The first source, with another suite.
sed -n -e '/^#/d' -e '/^$/q' -e "s/^Suites:.*/Suites: $VERSION_CODENAME-backports/" -e p "$source" >"$temporary/sources/backports.sources"
cd "$temporary"
set -- -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$temporary/sources" -o Dir::State::lists="$temporary/lists" -o APT::Sandbox::User=root
apt-get "$@" update
apt-get "$@" download valkey-server valkey-tools
for package in valkey*.deb; do
	dpkg-deb -x "$package" "$valkey"
done
"$valkey/usr/bin/valkey-server" --version
