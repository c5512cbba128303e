#!/bin/sh
# Let this machine join a fleet: what `python3 -m deploy.fleet invite` prints fetches this and runs it as root.
#   curl -fsS https://HOST/join | sudo sh -s https://HOST/join#CODE [--replace]
# Where belabox-metrics is missing its package comes from the same server. All below is a function, so that a half of this
# file does nothing.
set -eu

join() {
    [ $# -ge 1 ] || { echo "which invitation? https://HOST/join#CODE" >&2; exit 64; }
    [ "$(id -u)" = 0 ] || { echo "as root: curl ... | sudo sh -s ..." >&2; exit 77; }
    command -v belabox-metrics >/dev/null || add_package "${1%%#*}"
    exec belabox-metrics join "$@" </dev/null
}

add_package() {
    arch=$(dpkg --print-architecture)
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    if ! curl -fsS -o "$folder/belabox-metrics.deb" "$1/packages/$arch.deb"; then
        echo "$1 has no package for $arch: install belabox-metrics, then paste the line again" >&2
        exit 69
    fi
    dpkg -i "$folder/belabox-metrics.deb" </dev/null || apt-get install -y --fix-broken </dev/null
    rm -rf "$folder"
}

join "$@"
