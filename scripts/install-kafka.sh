#!/bin/sh
# Puts Apache Kafka into .tools, from Maven Central, for the tests with real servers, when it is missing. Needs java 17 and mvn, which
# it installs on Debian and its relatives as root.
set -eu

version=4.3.1
cd "$(dirname "$0")/.."
folder=.tools/kafka-$version

missing=
command -v java >/dev/null 2>&1 || missing="$missing openjdk-17-jre-headless"
if [ -d "$folder" ]; then
	if [ -z "$missing" ]; then
		echo "kafka is there"
		exit 0
	fi
else
	command -v mvn >/dev/null 2>&1 || missing="$missing maven"
fi
if [ -n "$missing" ]; then
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "Kafka needs java 17 and mvn, and there is no apt-get here: install them by your system's package manager." >&2
		exit 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "Kafka needs$missing. As root, run: scripts/install-kafka.sh" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update
	# shellcheck disable=SC2086 # a list
	apt-get install --yes --no-install-recommends $missing
fi
[ -d "$folder" ] && exit 0

mkdir -p .tools
temporary=$(mktemp -d .tools/kafka-XXXXXX)
trap 'rm -rf "$temporary"' EXIT
cat >"$temporary/pom.xml" <<POM
<project>
	<modelVersion>4.0.0</modelVersion>
	<groupId>ratelimiter</groupId>
	<artifactId>kafka</artifactId>
	<version>1</version>
	<packaging>pom</packaging>
	<dependencies>
		<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
		<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
	</dependencies>
</project>
POM
mvn --quiet --batch-mode --file "$temporary/pom.xml" \
	org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=lib
chmod -R a+rX "$temporary/lib"
mv -T "$temporary/lib" "$folder"
echo "kafka $version is in $folder"
