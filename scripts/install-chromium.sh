#!/bin/sh
# Installs Chromium for the browser tests, on Debian and its relatives, when it is missing. Needs root.
set -eu

for name in chromium chromium-browser google-chrome google-chrome-stable; do
	if command -v "$name" >/dev/null 2>&1; then
		echo "$name is there: $(command -v "$name")"
		exit 0
	fi
done

if ! command -v apt-get >/dev/null 2>&1; then
	echo "Chromium is missing, and there is no apt-get here: install it by your system's package manager." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "Chromium is missing. As root, run: apt-get update && apt-get install --no-install-recommends chromium" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends chromium
