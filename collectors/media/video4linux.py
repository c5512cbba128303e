"""Video devices: which are there, and whether a cable has power; a part of the HDMI collector.

Only `VIDIOC_G_CTRL` is asked, of a second descriptor: the driver answers from its memory, says nothing to the
kernel log, and whoever captures is not disturbed.
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
    """Tell whether the source at the HDMI receiver gives power, or None where that cannot be asked."""
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


def grabbers(host: Host) -> Iterator[str]:
    """Give the names of the USB grabbers that are plugged in; each is there twice, the second for its metadata."""
    seen = set()
    for node in host.numbered(DEVICES, "video"):
        driver = host.link(f"{DEVICES}/{node}/device/driver").rpartition("/")[2]
        name = (host.text(f"{DEVICES}/{node}/name") or "").strip()
        if driver == "uvcvideo" and name not in seen:
            seen.add(name)
            yield name


def _receivers(host: Host) -> Iterator[str]:
    if host.exists("dev/hdmirx"):
        yield "hdmirx"
    for node in host.numbered(DEVICES, "video"):
        if RECEIVERS.fullmatch((host.text(f"{DEVICES}/{node}/name") or "").strip()):
            yield node
