#!/bin/sh
# Fails if this repository calls code of a module with a known vulnerability. One in the standard library is a warning, because the
# remedy is another installation of Go and not a change of this repository. govulncheck and its database, the module
# golang.org/x/vulndb, come from the Go module proxy. Where they can't be had, the check is skipped; with REQUIRE_REAL_SERVICES=1
# that is a failure. VULNDB_VERSION=latest checks with the newest database.
set -eu

govulncheck_version=v1.9.0
vulndb_version=${VULNDB_VERSION:-v0.0.0-20261105234957-e22db6528018}

cd "$(dirname "$0")/.."
tools=$PWD/.tools
govulncheck=$tools/govulncheck-$govulncheck_version
database=$tools/vulndb-$vulndb_version

skip() {
	echo "The check for known vulnerabilities is skipped: $1" >&2
	[ "${REQUIRE_REAL_SERVICES:-}" = 1 ] && exit 1
	exit 0
}

if [ ! -x "$govulncheck" ]; then
	GOBIN=$tools/install go install "golang.org/x/vuln/cmd/govulncheck@$govulncheck_version" || skip "govulncheck can't be installed."
	mv "$tools/install/govulncheck" "$govulncheck"
fi
if [ "$vulndb_version" = latest ] || [ ! -d "$database" ]; then
	module=$(go mod download -json "golang.org/x/vulndb@$vulndb_version") || skip "the vulnerability database can't be downloaded."
	source=$(printf '%s' "$module" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
	rm -rf "$database.part" "$database"
	go run ./scripts/vulndb "$source/data/osv" "$database.part"
	mv "$database.part" "$database"
fi

# 3 means that vulnerable code is called. Of the traces, which are long, only the names are shown.
report=$tools/vulncheck.txt
status=0
"$govulncheck" -db "file://$database" ./... >"$report" || status=$?
grep -E '^(Vulnerability|  More info|  Standard library|  Module|    Found in|    Fixed in|No vulnerabilities|Your code)' "$report" || cat "$report"
if [ "$status" = 3 ] && ! grep -q '^  Module: ' "$report"; then
	echo "$(go env GOVERSION) has known vulnerabilities, and no module has: build releases with a newer Go." >&2
	exit 0
fi
exit "$status"
