#!/bin/sh
# Build the Debian package: deploy/deb/build.sh ARCH [OUTPUT], ARCH is amd64 or arm64; what `make deb` does.
#
# The packages of requirements.lock are inside, as wheels for Python 3.10 (Ubuntu 22.04, BELABOX's) and 3.11 (Debian
# 12), so that installing needs no network and no compiler. The same tree and date give the same package, byte for byte.
#
# From the environment:
#   PYTHON             an interpreter with pip, to fetch the wheels   (default: python3)
#   SOURCE_DATE_EPOCH  the date of every file, in Unix seconds        (default: that of the newest commit)
set -eu
umask 022

HERE=$(cd "$(dirname "$0")/../.." && pwd)
case ${1:-} in
amd64) MACHINE=x86_64 ;;
arm64) MACHINE=aarch64 ;;
-h | --help) sed -n '2,9p' "$0" | cut -c3-; exit 0 ;;
*) echo "expected amd64 or arm64, got '${1:-}' (--help)" >&2; exit 64 ;;
esac
ARCH=$1
OUTPUT=${2:-$HERE}
PYTHON=${PYTHON:-python3}
PREFIX=/usr/lib/belabox-metrics
VERSION=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' "$HERE/common/__init__.py")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$HERE" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
command -v dpkg-deb >/dev/null || { echo "dpkg-deb is not installed (apt-get install dpkg)" >&2; exit 69; }

STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT
chmod 755 "$STAGE"
DOC=$STAGE/usr/share/doc/belabox-metrics

add_program() {
    mkdir -p "$STAGE$PREFIX" "$STAGE/usr/bin"
    for part in common collectors buffer shipper healthd deploy supervisord.conf; do
        cp -R "$HERE/$part" "$STAGE$PREFIX/$part"
    done
    # Tools of a source tree; the package is the other way of installing.
    rm -rf "$STAGE$PREFIX/deploy/deb" "$STAGE$PREFIX/deploy/install.sh" "$STAGE$PREFIX/deploy/run.sh" "$STAGE$PREFIX/deploy/deploy.sh" \
        "$STAGE$PREFIX/deploy/release.sh" \
        "$STAGE$PREFIX/deploy/run" "$STAGE$PREFIX/deploy/docker" "$STAGE$PREFIX/deploy/systemd"
    find "$STAGE" -name __pycache__ -prune -exec rm -rf {} +
    chmod 755 "$STAGE$PREFIX/deploy/belabox-metrics"
    ln -s ../lib/belabox-metrics/deploy/belabox-metrics "$STAGE/usr/bin/belabox-metrics"
    ln -s /run/belabox-metrics "$STAGE$PREFIX/run" # so that `supervisorctl` works from the prefix
}

add_wheels() { # add_wheels PYTHON_VERSION
    echo "fetching the packages of requirements.lock for Python $1 on $MACHINE"
    target=$STAGE$PREFIX/packages/$1
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --only-binary=:all: \
        --implementation cp --python-version "$1" --platform "manylinux_2_28_$MACHINE" \
        --platform "manylinux_2_17_$MACHINE" --platform "manylinux2014_$MACHINE" \
        --target "$target" -r "$HERE/requirements.lock"
    # Scripts that name this machine's interpreter, tests, and programs that nothing here calls: half of the size.
    rm -rf "${target:?}/bin" "$target/apsw/sqlite_extra_binaries" "$target/apsw/tests" "$target/supervisor/tests" \
        "$target/supervisor/scripts" "$target/zmq/tests"
    find "$target" -name RECORD -delete # has the sums of those scripts, which are others for each interpreter's path
    find "$target" -type f -exec chmod 644 {} +
}

add_units() {
    mkdir -p "$STAGE/usr/lib/systemd/system"
    for unit in "$HERE"/deploy/systemd/*.service; do
        sed "s|/opt/belabox-metrics|$PREFIX|g" "$unit" >"$STAGE/usr/lib/systemd/system/$(basename "$unit")"
    done
}

add_documents() {
    mkdir -p "$DOC/docs"
    cp "$HERE/README.md" "$HERE/SECURITY.md" "$DOC/"
    cp "$HERE"/docs/*.md "$HERE"/docs/*.png "$DOC/docs/"
    cp "$HERE/common/PROTOCOL.md" "$DOC/docs/"
    cp -R "$HERE/deploy/docker" "$DOC/docker"
    # What a server made there has its secrets.
    sed -n 's|^/deploy/docker/||p' "$HERE/.gitignore" | while read -r made; do rm -rf "${DOC:?}/docker/$made"; done
    { printf 'Upstream-Name: belabox-metrics\n\n'; cat "$HERE/LICENSE"; } >"$DOC/copyright"
    cp "$HERE/CHANGELOG.md" "$DOC/docs/"
    debian_changelog | gzip -9n >"$DOC/changelog.gz"
    mkdir -p "$STAGE/usr/share/man/man1" "$STAGE/usr/share/bash-completion/completions" "$STAGE/usr/share/lintian/overrides"
    (cd "$HERE" && "$PYTHON" -m deploy.deb.manual) | gzip -9n >"$STAGE/usr/share/man/man1/belabox-metrics.1.gz"
    # shellcheck disable=SC2016 # for the shell that completes
    echo 'eval "$(belabox-metrics completion bash)"' >"$STAGE/usr/share/bash-completion/completions/belabox-metrics"
    cp "$HERE/deploy/deb/overrides" "$STAGE/usr/share/lintian/overrides/belabox-metrics"
}

debian_changelog() { # the form that Debian's tools read; what changed is in docs/CHANGELOG.md
    printf 'belabox-metrics (%s) stable; urgency=medium\n\n  * See docs/CHANGELOG.md.\n\n -- %s  %s\n' "$VERSION" \
        "$(sed -n 's/^Maintainer: //p' "$HERE/deploy/deb/control")" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

add_control() {
    mkdir "$STAGE/DEBIAN"
    size=$(du -sk --exclude=DEBIAN "$STAGE" | cut -f1)
    sed -e "s/@VERSION@/$VERSION/; s/@ARCH@/$ARCH/; s/@SIZE@/$size/" "$HERE/deploy/deb/control" >"$STAGE/DEBIAN/control"
    for script in preinst postinst prerm postrm; do
        sed "s/@VERSION@/$VERSION/" "$HERE/deploy/deb/$script" >"$STAGE/DEBIAN/$script"
        chmod 755 "$STAGE/DEBIAN/$script"
    done
    (cd "$STAGE" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' md5sum) \
        >"$STAGE/DEBIAN/md5sums"
}

add_program
add_wheels 3.10
add_wheels 3.11
add_units
add_documents
add_control
find "$STAGE" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --build -Zxz "$STAGE" "$OUTPUT/belabox-metrics_${VERSION}_$ARCH.deb" >/dev/null
echo "$OUTPUT/belabox-metrics_${VERSION}_$ARCH.deb"
