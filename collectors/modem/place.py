"""Find routers with a web interface (the gateway of a USB network interface), and send requests to them.

Reads: proc/net/route, sys/class/net/*/device.
Source: net/ipv4/fib_trie.c (fib_route_seq_show), Documentation/ABI/testing/sysfs-class-net.
Errors: a row that cannot be parsed is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import NamedTuple

from collectors.bounded import left_s
from collectors.host import Host
from collectors.web import WebError, WebPage, get

ROUTES = "proc/net/route"
DRIVERS = frozenset({"cdc_ether", "rndis_host", "cdc_ncm", "huawei_cdc_ncm"})  # how such routers come over USB

_UP_WITH_GATEWAY = 0x3  # RTF_UP | RTF_GATEWAY
_ROW = re.compile(r"(\S{1,15})\t[0-9A-F]{8}\t([0-9A-F]{8})\t([0-9A-F]{4})\s")


class Gateway(NamedTuple):
    """A gateway.

    Attributes:
        interface: through which it is asked.
        address: of the gateway; several have the same.
        plug: the USB port, e.g. ``1-1.2``, or the interface's name where it is none.
    """

    interface: str
    address: str
    plug: str

    @property
    def id(self) -> str:
        """Return how the modem there is called in labels: by its port, which a restart does not change."""
        return f"usb-{self.plug}"


@dataclass
class RouterSession:
    """What is remembered of one router between two collects, and how it is asked.

    Attributes:
        place: where it is.
        deadline_s: monotonic time by which its answers have to be there.
        cookie: that it gave.
        model: that it said.
        kept: answers that change slowly, by page, and when they came, in monotonic seconds.
    """

    place: Gateway
    deadline_s: float = 0.0
    cookie: str = ""
    model: str = ""
    kept: dict[str, tuple[float, dict[str, str]]] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> WebPage:
        """Ask for a page, with the cookie.

        Raises:
            WebError: there is no answer in time.
        """
        try:
            timeout_s = left_s(self.deadline_s)
        except TimeoutError as error:
            raise WebError(str(error)) from error
        sent = {**({"Cookie": self.cookie} if self.cookie else {}), **headers}
        return get(f"http://{self.place.address}{path}", timeout_s, headers=sent, interface=self.place.interface)


def places(host: Host, wanted: Collection[str] = ()) -> Iterator[Gateway]:
    """Yield the gateways of USB network interfaces, and of those that are wanted by name, one for each interface."""
    seen = set()
    for line in (host.text(ROUTES) or "").splitlines()[1:]:
        row = _ROW.match(line)
        if row is None or row[1] in seen or int(row[3], 16) & _UP_WITH_GATEWAY != _UP_WITH_GATEWAY:
            continue
        device = f"sys/class/net/{row[1]}/device"
        is_usb = host.link(f"{device}/driver").rpartition("/")[2] in DRIVERS
        if is_usb or row[1] in wanted:
            seen.add(row[1])
            address = str(IPv4Address(int.from_bytes(bytes.fromhex(row[2]), "little")))
            plug = host.link(device).rpartition("/")[2].partition(":")[0] if is_usb else row[1]
            yield Gateway(row[1], address, plug)
