"""Say which images of the compose files are old, and pin them by digest: `python3 deploy/docker/images.py [--pin]`.

Reads: the `image:` lines of compose*.yaml beside it; the registries, through skopeo (Debian: apt-get install skopeo).
Emits: a line for each image; with --pin its digest behind its tag in the files: the registry then cannot give another.
Fails: exit 1 where an image is old; 69, and no file is changed, where skopeo is not there or a registry not reached.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

EXIT_OLD, EXIT_UNAVAILABLE = 1, 69
HERE = Path(__file__).resolve().parent
IMAGE = re.compile(r"(?m)^(\s+image: )([\w./-]+):([\w.-]+)(@sha256:[0-9a-f]{64})?$")
OURS = "belabox-metrics-"  # built from a clone, in no registry
VERSION = re.compile(r"(v?)(\d+)\.(\d+)\.(\d+)(-[a-z]+)?")  # no release candidates


class Image(NamedTuple):
    """An image of a compose file, with its digest there, "" where it has none."""

    name: str
    tag: str
    digest: str


class RegistryError(Exception):
    """skopeo is not installed, or has no answer; says why."""


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pin", action="store_true", help="write each digest behind its tag")
    parser.add_argument("--folder", type=Path, default=HERE, help="of the compose files (default: beside this program)")
    options = parser.parse_args(argv)
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(options.folder.glob("compose*.yaml"))}
    found = sorted({Image(*match.groups("")[1:]) for text in texts.values() for match in IMAGE.finditer(text)})
    images = [image for image in found if not image.name.startswith(OURS)]
    try:
        newest = {image: newer(image.tag, _tags(image.name)) for image in images}
        digests = {(image.name, image.tag): _digest(image) for image in images}
    except RegistryError as error:
        print(error, file=sys.stderr)
        return EXIT_UNAVAILABLE
    for image in images:
        print(f"{image.name}:{image.tag}  {newest[image] or 'is the newest'}  {_pinned(image, digests)}")
    for file, text in texts.items() if options.pin else ():
        file.write_text(pinned(text, digests), encoding="utf-8")
    return EXIT_OLD if any(newest.values()) else 0


def newer(tag: str, tags: list[str]) -> str:
    """Return the newest version of the same kind as a tag, "" where that is the newest or no version."""
    mine = VERSION.fullmatch(tag)
    known = [
        match for match in map(VERSION.fullmatch, tags) if match and mine and match.group(1, 5) == mine.group(1, 5)
    ]
    best = max(known, key=_number, default=mine)
    return best[0] if best and mine and _number(best) > _number(mine) else ""


def pinned(text: str, digests: dict[tuple[str, str], str]) -> str:
    """Return a compose file with the digest behind each tag that has one."""

    def line(match: re.Match[str]) -> str:
        digest = digests.get((match[2], match[3]))
        return f"{match[1]}{match[2]}:{match[3]}@{digest}" if digest else match[0]

    return IMAGE.sub(line, text)


def _number(version: re.Match[str]) -> tuple[int, int, int]:
    return int(version[2]), int(version[3]), int(version[4])


def _pinned(image: Image, digests: dict[tuple[str, str], str]) -> str:
    digest = digests[image.name, image.tag]
    if not image.digest:
        return f"not pinned, {digest}"
    return "pinned" if image.digest == f"@{digest}" else f"PINNED TO ANOTHER ONE than the registry has: {digest}"


def _tags(name: str) -> list[str]:
    tags: list[str] = json.loads(_skopeo("list-tags", f"docker://{name}"))["Tags"]
    return tags


def _digest(image: Image) -> str:
    return _skopeo("inspect", "--no-tags", "--format", "{{.Digest}}", f"docker://{image.name}:{image.tag}").strip()


def _skopeo(*arguments: str) -> str:
    program = shutil.which("skopeo")
    if program is None:
        raise RegistryError("skopeo is not installed (Debian: apt-get install skopeo)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 - a list
    if done.returncode:
        raise RegistryError(f"{arguments[-1]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
