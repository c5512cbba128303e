"""The names of this machine's board, kernel and images.

Reads: proc/device-tree/model, proc/sys/kernel/osrelease, etc/os-release, etc/belabox_img_version.
Source: os-release(5); Devicetree Specification, 2.3.2 (model).
Emits: nothing by itself; `cpu` sends `info` as system.info.
Errors: a name that cannot be read is an empty label; without any there is no information. No host name, no serial
    number, no machine id.
"""

from __future__ import annotations

import re

from collectors.host import Host

LONGEST = 80  # characters of a label; firmware may hold anything
MODEL = "proc/device-tree/model"
KERNEL = "proc/sys/kernel/osrelease"
SYSTEM = "etc/os-release"
IMAGE = "etc/belabox_img_version"

_PRETTY = re.compile(r"""^PRETTY_NAME=(["']?)(.+?)\1\s*$""", re.MULTILINE)


def info(host: Host) -> dict[str, str]:
    """Return the labels board, kernel, os and image, or nothing where none of them is known."""
    system = _PRETTY.search(host.text(SYSTEM) or "")
    found = {
        "board": _line(host.text(MODEL)),
        "kernel": _line(host.text(KERNEL)),
        "os": _line(system[2] if system else None),
        "image": _line(host.text(IMAGE)),
    }
    return found if any(found.values()) else {}


def _line(text: str | None) -> str:
    """Return the first line of a text, as far as it can be shown; the device tree ends its strings with a NUL."""
    first = (text or "").split("\0", 1)[0].strip().split("\n", 1)[0]
    return "".join(filter(str.isprintable, first))[:LONGEST].strip()
