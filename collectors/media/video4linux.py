"""Find video devices, and whether a powered source is connected; used by the HDMI source.

Only `VIDIOC_G_CTRL` is called, on a descriptor of our own: the driver answers from memory, logs nothing, and does not
disturb the program that captures.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator

from collectors.host import Host

DEVICES = "sys/class/video4linux"
RECEIVERS = re.compile(r"(rk_|snps_|stream_)?hdmirx.*")  # vendor, mainline, and the node's own name

_CONTROL = struct.Struct("Ii")  # struct v4l2_control: id, value
_G_CTRL = 0xC008561B  # _IOWR('V', 27, struct v4l2_control)
_POWER_PRESENT = 0x00A00964  # V4L2_CID_DV_RX_POWER_PRESENT
# The node is there and does not answer to this: another driver, or no right to ask.
_MUTE = frozenset({errno.EINVAL, errno.ENOTTY, errno.EBUSY})


def has_power(host: Host) -> bool | None:
    """Return whether the source at the HDMI receiver gives power, or None where that cannot be asked."""
    for node in _receivers(host):
        try:
            descriptor = os.open(host.root / "dev" / node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            host.fault(f"dev/{node}", error.strerror or str(error))
            continue
        try:
            reply = fcntl.ioctl(descriptor, _G_CTRL, _CONTROL.pack(_POWER_PRESENT, 0))
            return bool(_CONTROL.unpack(reply)[1])
        except OSError as error:
            if error.errno not in _MUTE:
                host.fault(f"dev/{node}", error.strerror or str(error))
        finally:
            os.close(descriptor)
    return None


def grabbers(host: Host, several: set[str]) -> Iterator[str]:
    """Yield the names of the USB grabbers that are plugged in, with the port where two have the same name, or had it.

    Each is there twice, the second time for its metadata: what is at one port is one.

    Args:
        host: where to read.
        several: names that two had at once so far; kept by the caller.
    """
    by_port: dict[str, str] = {}
    for node in host.numbered(DEVICES, "video"):
        device = f"{DEVICES}/{node}/device"
        if host.link(f"{device}/driver").rpartition("/")[2] == "uvcvideo":
            port = host.link(device).rpartition("/")[2].partition(":")[0]
            by_port.setdefault(port, (host.text(f"{DEVICES}/{node}/name") or "").strip())
    names = list(by_port.values())
    several |= {name for name in names if names.count(name) > 1}
    for port, name in by_port.items():
        yield f"{name}@{port}" if name in several else name


def _receivers(host: Host) -> Iterator[str]:
    if host.exists("dev/hdmirx"):
        yield "hdmirx"
    for node in host.numbered(DEVICES, "video"):
        if RECEIVERS.fullmatch((host.text(f"{DEVICES}/{node}/name") or "").strip()):
            yield node
