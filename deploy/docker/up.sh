#!/bin/sh
# Start the server side: make what is missing, then `docker compose up -d`.
#
#   deploy/docker/up.sh [--cluster] [options of docker compose, e.g. --profile logs]
#
# At the first start: Grafana's password into .env, a token for the device belabox-001 into auth/auth.yml and devices/,
# and who is told of alerts into alertmanager/alertmanager.yml: nobody, until you name somebody.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
file=compose.yaml cluster=
case ${1:-} in
-h | --help) sed -n '2,7p' "$0" | cut -c3-; exit 0 ;;
--cluster) file=compose.cluster.yaml cluster=--cluster; shift ;;
esac
if docker compose version > /dev/null 2>&1; then
    compose="docker compose"
elif command -v docker-compose > /dev/null; then # version 1, as in Debian 12
    compose=docker-compose
else
    echo "docker compose is not installed (Debian: apt-get install docker.io docker-compose)" >&2
    exit 69
fi
if [ ! -e "$here/.env" ]; then
    echo "GRAFANA_PASSWORD=$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')" > "$here/.env"
    echo "Grafana: user admin, its password is in $here/.env"
fi
mkdir -p "$here/invitations" "$here/packages"
if [ ! -e "$here/auth/auth.yml" ]; then
    # shellcheck disable=SC2086 # one word or none
    (cd "$here/../.." && python3 -m deploy.fleet add belabox-001 $cluster)
fi
if [ ! -e "$here/alertmanager/alertmanager.yml" ]; then
    (umask 022 && mkdir -p "$here/alertmanager" && cp "$here/alertmanager.example.yml" "$here/alertmanager/alertmanager.yml")
fi
# shellcheck disable=SC2086 # two words or one
exec $compose -f "$here/$file" -f "$here/compose.tls.yaml" "$@" up -d
