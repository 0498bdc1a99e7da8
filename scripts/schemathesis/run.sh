#!/usr/bin/env bash
# Tests a server of its own with inputs generated from the API's description:
# no 5xx, and no answer that the description doesn't allow.
#
#   REQUESTS=100000 scripts/schemathesis/run.sh [further options of 'schemathesis run']
#
# It needs Python 3 with venv, and installs schemathesis into .tools. Where that
# can't be had, it says so, which is a failure with REQUIRE_REAL_SERVICES=1.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=scripts/schemathesis
tools=.tools/$(tr '=' '-' < $here/requirements.txt)
work=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" && wait "$server" || true; fi
  rm -rf "$work"
}
trap finish EXIT

install() {
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv || return 1
  fi
  python3 -m venv "$tools.new" && "$tools.new/bin/pip" install -q -r $here/requirements.txt && mv "$tools.new" "$tools"
}
if [ ! -x "$tools/bin/python" ] && ! install; then
  echo "schemathesis can't be installed: inputs are not generated." >&2
  [ "${REQUIRE_REAL_SERVICES:-}" != 1 ]
  exit
fi

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
export API_URL="http://127.0.0.1:$(port)"
go build -o "$work/ratelimiter" .
DATA_DIR="$work/data" HTTP_ADDR="${API_URL#http://}" OPS_ADDR="127.0.0.1:$(port)" TRUSTED_PROXIES=127.0.0.1/32 \
  "$work/ratelimiter" serve --dev >"$work/log" 2>&1 &
server=$!
for _ in $(seq 600); do
  curl -fs -o "$work/ready" "$API_URL/readyz" && [ -e "$work/data/dev-keys.json" ] && break
  kill -0 "$server" || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
key() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/data/dev-keys.json" "$1"; }
API_KEY=$(key admin) LIMITED_API_KEY=$(key demo)
export API_KEY LIMITED_API_KEY

# A run of many examples spends most of its time on finding new ones: many runs
# of a few, each from another seed, find as much sooner. Each has one worker: with
# several, Python 3.11 can fail while Hypothesis reads its own source.
root=$PWD
cd "$work" # what it remembers goes with it
total=0 wanted=${REQUESTS:-4000}
while [ "$total" -lt "$wanted" ]; do
  SCHEMATHESIS_HOOKS=hooks PYTHONPATH="$root/$here" "$root/$tools/bin/python" -m schemathesis.cli \
    --config-file "$root/$here/schemathesis.toml" run "$API_URL/openapi.json" --max-examples 60 "$@" | tee out ||
    { cp log "${LOG:-/dev/null}"; exit 1; }
  made=$(sed -n 's/^ *\([0-9][0-9]*\) generated.*/\1/p' out)
  total=$((total + ${made:?no requests were counted}))
  echo "$total of $wanted requests"
done
