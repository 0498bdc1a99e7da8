#!/bin/sh
# Installs RabbitMQ for the tests with a broker, on Debian and its relatives, when it is missing. Needs root.
set -eu

for server in /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server; do
	if [ -x "$server" ]; then
		echo "rabbitmq is there: $server"
		exit 0
	fi
done

if ! command -v apt-get >/dev/null 2>&1; then
	echo "RabbitMQ is missing, and there is no apt-get here: install it by your system's package manager." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "RabbitMQ is missing. As root, run: apt-get update && apt-get install --no-install-recommends rabbitmq-server" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends rabbitmq-server
