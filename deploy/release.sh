#!/bin/sh
# Make the release of this commit: deploy/release.sh [OUTPUT]; what `make release` does. OUTPUT is dist/VERSION by default.
#
# In it: the Debian packages of both machines, the sources, the notes (the version's section of CHANGELOG.md) and the
# SHA-256 sums of all; and in git the tag vVERSION, which is yours to push. Every date in them is the commit's, so whoever
# has the tag gets the same files, byte for byte.
#
# From the environment:
#   PYTHON   an interpreter with pip, to fetch the wheels   (default: python3)
set -eu
umask 022

cd "$(dirname "$0")/.."
case ${1:-} in -h | --help) sed -n '2,9p' deploy/release.sh | cut -c3-; exit 0 ;; esac
VERSION=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' common/__init__.py)
OUTPUT=${1:-dist/$VERSION}
NAME=belabox-metrics-$VERSION
TAG=v$VERSION
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

refuse() { echo "no release of $VERSION: $*" >&2; exit 65; }

notes() { # what is below the version's heading, up to the next one
    awk -v "heading=## [$VERSION] - " 'index($0, heading) == 1 { on = 1; next } /^## / { on = 0 } on' CHANGELOG.md
}

check() {
    [ -z "$(git status --porcelain)" ] || refuse "the tree has changes that are not committed"
    [ -n "$(notes)" ] || refuse "CHANGELOG.md has no section '## [$VERSION] - <date>' with something in it"
    tagged=$(git rev-parse -q --verify "$TAG^{commit}" || git rev-parse HEAD)
    [ "$tagged" = "$(git rev-parse HEAD)" ] || refuse "the tag $TAG is on another commit; raise VERSION in common/__init__.py"
}

check
mkdir -p "$OUTPUT"
for arch in amd64 arm64; do deploy/deb/build.sh "$arch" "$OUTPUT"; done
git archive --format=tar --prefix="$NAME/" HEAD | gzip -9n >"$OUTPUT/$NAME.tar.gz"
notes >"$OUTPUT/NOTES.md"
(cd "$OUTPUT" && sha256sum -- *.deb *.tar.gz NOTES.md >SHA256SUMS)
git rev-parse -q --verify "$TAG" >/dev/null || git tag -a "$TAG" -m "belabox-metrics $VERSION"
echo "$OUTPUT is the release; to publish: git push origin $TAG"
