#!/bin/sh
# Lints an OpenAPI description, docs/openapi.json unless another is named, with Spectral and Redocly CLI. Their versions are
# pinned in scripts/speclint and installed into .tools, where Go doesn't look: some npm packages hold Go files. Node and npm
# are installed when they are missing, on Debian and its relatives as root. Where they can't be had, the lint is skipped;
# with REQUIRE_REAL_SERVICES=1 that is a failure.
set -eu

scripts=$(cd "$(dirname "$0")" && pwd)
tools=$scripts/../.tools/speclint
description=${1:-$scripts/../docs/openapi.json}

skip() {
	echo "The lint of the API's description is skipped: $1" >&2
	[ "${REQUIRE_REAL_SERVICES:-}" = 1 ] && exit 1
	exit 0
}

if ! command -v npm >/dev/null 2>&1; then
	command -v apt-get >/dev/null 2>&1 || skip "npm is missing, and there is no apt-get here."
	[ "$(id -u)" -eq 0 ] || skip "npm is missing. As root: apt-get update && apt-get install --no-install-recommends nodejs npm"
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get update && apt-get install --yes --no-install-recommends nodejs npm; } || skip "npm can't be installed."
fi

# The lock that was installed last stands beside what came of it.
if ! cmp -s "$scripts/speclint/package-lock.json" "$tools/installed.json"; then
	mkdir -p "$tools"
	cp "$scripts/speclint/package.json" "$scripts/speclint/package-lock.json" "$tools"
	npm ci --prefix "$tools" --ignore-scripts --no-audit --no-fund || skip "npm can't install the linters."
	cp "$tools/package-lock.json" "$tools/installed.json"
fi

export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
"$tools/node_modules/.bin/spectral" lint --fail-severity=warn --ruleset "$scripts/speclint/spectral.yaml" "$description"
"$tools/node_modules/.bin/redocly" lint --config "$scripts/speclint/redocly.yaml" "$description"
