#!/bin/sh
# Put this tree's version on devices, over ssh: deploy/deploy.sh user@box...; what `make deploy HOST="user@box ..."` does.
#
# For each: builds the package for its machine, copies and installs it, waits until healthd answers with this version and all
# processes run, and prints where the page is. Where that does not come, the package that was deployed before is installed
# again. The user has to be root, or one whose sudo asks for no password.
#
# From the environment:
#   SSH      the command to reach a device                  (default: ssh)
#   WAIT_S   how long health may take                       (default: 120)
set -eu

HERE=$(cd "$(dirname "$0")/.." && pwd)
SSH=${SSH:-ssh}
WAIT_S=${WAIT_S:-120}
case ${1:-} in
-h | --help) sed -n '2,10p' "$0" | cut -c3-; exit 0 ;;
'') echo 'which device? make deploy HOST=user@box (--help)' >&2; exit 64 ;;
esac
PACKAGES=$(mktemp -d)
trap 'rm -rf "$PACKAGES"' EXIT

build() { # once for each machine
    [ -d "$PACKAGES/$1" ] && return
    mkdir "$PACKAGES/$1"
    "$HERE/deploy/deb/build.sh" "$1" "$PACKAGES/$1"
}

deploy() {
    arch=$($SSH "$1" dpkg --print-architecture) || { echo "$1: cannot be reached, or is no Debian" >&2; return 69; }
    build "$arch" >&2 || return
    echo "$1: copying the package for $arch"
    there=$($SSH "$1" mktemp /tmp/belabox-metrics.XXXXXX.deb) || return
    # shellcheck disable=SC2029 # expanded here on purpose
    $SSH "$1" "cat > $there" < "$(echo "$PACKAGES/$arch"/*.deb)" || return
    # shellcheck disable=SC2016 # $0 and $1 of the device's shell
    root='if [ "$(id -u)" = 0 ]; then exec "$@"; else exec sudo -n "$@"; fi'
    # shellcheck disable=SC2029 # expanded here on purpose
    $SSH "$1" "sh -c '$root' - sh -s $there $WAIT_S" < "$HERE/deploy/deb/receive.sh"
}

failed=''
for host; do
    deploy "$host" || failed="$failed $host"
done
[ -z "$failed" ] || { echo "not deployed:$failed" >&2; exit 1; }
