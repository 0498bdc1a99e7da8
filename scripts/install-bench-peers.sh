#!/bin/sh
# Installs what `make bench-http` needs: wrk, and the servers that it compares with, nginx and FastAPI with slowapi, into .tools.
# Without a peer the comparison leaves it out. Needs root for wrk, on Debian and its relatives, when it is missing.
set -eu
cd "$(dirname "$0")/.."
here=bench/fastapi
python=.tools/bench-fastapi
nginx=.tools/bench-nginx

update() { [ -n "${updated:-}" ] || apt-get update; updated=1; }

if ! command -v wrk >/dev/null; then
	if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
		echo "wrk is missing: install it by your system's package manager, as root." >&2
		exit 1
	fi
	update
	DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends wrk
fi

# Unpacked and not installed, so that no nginx of the system is started.
install_nginx() {
	command -v apt-get >/dev/null || return 1
	if [ "$(id -u)" -eq 0 ]; then update; fi
	mkdir -p "$nginx" && (cd "$nginx" && apt-get -o APT::Sandbox::User=root download nginx && dpkg-deb -x nginx_*.deb . && rm nginx_*.deb)
}
if ! command -v nginx >/dev/null && [ ! -x "$nginx/usr/sbin/nginx" ] && ! install_nginx; then
	echo "nginx can't be had: it is left out." >&2
fi

install_fastapi() {
	rm -rf "$python" && python3 -m venv "$python" && "$python/bin/pip" install -q -r "$here/requirements.txt" && cp "$here/requirements.txt" "$python/installed.txt"
}
if ! cmp -s "$here/requirements.txt" "$python/installed.txt" && ! install_fastapi; then
	echo "FastAPI with slowapi can't be installed by Python 3: it is left out." >&2
fi
