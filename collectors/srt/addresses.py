"""The kernel's view of the links' addresses: their sockets' queues, their interfaces, whether they are there at all.

Reads: proc/net/{udp,route,fib_trie}.
Source: proc(5), net/ipv4/fib_trie.c.
Errors: a file that is absent or not understood is nothing known. What was made of a text is kept for the next look,
    twice a second, at which it is nearly always the same.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from collectors.host import Host

SOCKETS = "proc/net/udp"
ROUTES = "proc/net/route"
LOCAL = "proc/net/fib_trie"

_LEAF = re.compile(r"\s*\|-- ([0-9.]+)")
_LOCAL = re.compile(r"\s*/(\d+) host LOCAL")


class Network(NamedTuple):
    """An IPv4 network, as numbers: `ipaddress` takes twenty times as long."""

    begin: int
    mask: int

    def has(self, address: int) -> bool:
        """Tell whether an address is in it."""
        return address & self.mask == self.begin


class SocketQueue(NamedTuple):
    """What waits in a socket's send queue, bytes, and datagrams that were not read in time."""

    bytes: int
    drops: int


def queues(host: Host, addresses: Iterable[str]) -> dict[str, SocketQueue]:
    """Return the queues of the sockets that are bound to these addresses; several of one are summed."""
    rows = host.parse(SOCKETS, parse) or {}
    return {address: rows[address] for address in addresses if address in rows}


def parse(lines: Iterable[str]) -> dict[str, SocketQueue] | None:
    """Return the queues of ``/proc/net/udp`` by local address; None where the head is missing."""
    found: dict[str, SocketQueue] = {}
    has_head = False
    for line in lines:
        columns = line.split()
        if columns[:1] == ["sl"]:
            has_head = True
        elif len(columns) >= 13:
            try:
                address = socket.inet_ntoa(_bytes(columns[1].partition(":")[0]))
                queue = SocketQueue(int(columns[4].partition(":")[0], 16), int(columns[12]))
            except ValueError:
                continue
            before = found.get(address, SocketQueue(0, 0))
            found[address] = SocketQueue(before.bytes + queue.bytes, before.drops + queue.drops)
    return found if has_head else None


class Networks(NamedTuple):
    """The kernel's networks.

    Attributes:
        routes: those without a gateway and their interfaces, the narrowest first.
        local: this machine's own.
    """

    routes: list[tuple[Network, str]]
    local: list[Network]


def networks(host: Host) -> Networks:
    """Return the networks as they are now."""
    return Networks(parse_routes(host.text(ROUTES) or ""), parse_local(host.text(LOCAL) or ""))


def interfaces(known: Networks, addresses: Iterable[str]) -> dict[str, str]:
    """Return the interface of each address, by the narrowest directly connected network that holds it."""
    found = {}
    for address in addresses:
        number = _number(address)
        name = next((name for network, name in known.routes if network.has(number)), None)
        if name is not None:
            found[address] = name
    return found


@lru_cache(maxsize=1)
def parse_routes(text: str) -> list[tuple[Network, str]]:
    """Return the networks without a gateway of ``/proc/net/route``, the narrowest first."""
    found = []
    for line in text.splitlines():
        columns = line.split()
        if len(columns) >= 8 and columns[2] == "00000000":
            try:
                network = Network(*(int.from_bytes(_bytes(columns[at]), "big") for at in (1, 7)))
            except ValueError:
                continue
            if network.mask and network.has(network.begin):
                found.append((network, columns[0]))
    return sorted(found, key=lambda row: -row[0].mask)


def missing(known: Networks, addresses: Iterable[str]) -> set[str]:
    """Return which of these addresses no interface of this machine has; none where that cannot be read."""
    if not known.local:
        return set()
    numbers = {address: _number(address) for address in addresses}
    return {address for address, number in numbers.items() if not any(one.has(number) for one in known.local)}


@lru_cache(maxsize=1)
def parse_local(text: str) -> list[Network]:
    """Return the networks of ``/proc/net/fib_trie`` that are this machine's own."""
    found: dict[Network, None] = {}
    leaf = ""
    for line in text.splitlines():
        if match := _LEAF.match(line):
            leaf = match[1]
        elif leaf and (match := _LOCAL.match(line)) and (bits := int(match[1])) <= 32:
            try:
                network = Network(_number(leaf), (1 << 32) - (1 << 32 - bits))
            except OSError:
                continue
            if network.has(network.begin):
                found[network] = None
    return list(found)


def _bytes(text: str) -> bytes:
    """Turn ``0200010A`` into the bytes of 10.1.0.2: the kernel prints them as a little-endian number.

    Raises:
        ValueError: it is no such number.
    """
    found = bytes.fromhex(text)[::-1]
    if len(found) != 4:
        raise ValueError(text)
    return found


def _number(address: str) -> int:
    """Return an address as a number.

    Raises:
        OSError: it is none.
    """
    return int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
