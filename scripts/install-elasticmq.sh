#!/bin/sh
# Installs ElasticMQ, a server of the SQS protocol, for the tests of internal/queue/sqs: into .tools, when it is missing. Needs Java and Maven, which it installs as root on Debian and its relatives.
set -eu

version=1.7.1 # internal/testkit/elasticmq.go looks for it
tools=$(cd "$(dirname "$0")/.." && pwd)/.tools
folder=$tools/elasticmq-$version

missing=
command -v java >/dev/null 2>&1 || missing="default-jre-headless"
if [ -d "$folder" ] && [ -z "$missing" ]; then
	echo "elasticmq is there: $folder"
	exit 0
fi
[ -d "$folder" ] || command -v mvn >/dev/null 2>&1 || missing="$missing maven"

if [ -n "$missing" ]; then
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "ElasticMQ needs Java and Maven, and there is no apt-get here: install them by your system's package manager." >&2
		exit 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "ElasticMQ needs Java and Maven. As root, run: apt-get update && apt-get install --no-install-recommends $missing" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update
	# shellcheck disable=SC2086 # a list
	apt-get install --yes --no-install-recommends $missing
fi
[ -d "$folder" ] && exit 0

mkdir -p "$tools"
temporary=$(mktemp -d "$tools/elasticmq.XXXXXX")
trap 'rm -rf "$temporary"' EXIT
cat >"$temporary/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>ratelimiter</groupId><artifactId>elasticmq</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.elasticmq</groupId><artifactId>elasticmq-server_3</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
POM
mvn --quiet --batch-mode --file "$temporary/pom.xml" \
	org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$temporary/jars"
chmod -R a+rX "$temporary/jars"
mv "$temporary/jars" "$folder" # at once: a folder of that name is complete
