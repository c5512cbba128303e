"""Network: filters, the cap, links and counts that begin anew."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import collectors.host
from collectors.host import Host
from collectors.network import network
from common import config
from tests.unit.collectors import recorded, trees

UDP = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors"


def table(**received: int) -> str:
    """Return a /proc/net/dev in which each interface has sent twice what it received."""
    rows = (f"{name}: {rx} 1 0 0 0 0 0 0 {2 * rx} 1 0 0 0 0 0 0\n" for name, rx in received.items())
    return "Inter-| Receive\n face |bytes\n" + "".join(rows)


def interfaces(values: trees.Values) -> set[str]:
    """Return which interfaces there are values of."""
    return {label for _, label in values if label}


@pytest.mark.parametrize(
    "name", ["lo", "docker0", "veth1a2b", "br-5f", "wlan0mon", "wlan1-mon", "virbr0", "virbr0-nic"]
)
def test_excluded_by_default(name: str) -> None:
    """Loopback, container and monitor interfaces are left out."""
    assert not network.is_wanted(name, network.Config())


@pytest.mark.parametrize(
    "name", ["wlo1", "eth0", "wlan0", "wwan0", "wwp1s0", "usb0", "enx020000000010", "ppp0", "bridge0", "xlo", "lowpan0"]
)
def test_kept_by_default(name: str) -> None:
    """Modems are what a bonding box is about, and a pattern has to match a whole name."""
    assert network.is_wanted(name, network.Config())


def test_excluding_is_stronger() -> None:
    """An interface in both lists is left out; with a list of what to include, others are too."""
    patterns = network.Config(include_ifaces=(re.compile("w.*"),), exclude_ifaces=(re.compile("wlan0"),))
    assert [True, False, False] == [network.is_wanted(name, patterns) for name in ("wwan0", "wlan0", "eth0")]


@pytest.mark.parametrize("key", ["include_ifaces", "exclude_ifaces"])
def test_unusable_pattern(key: str, tmp_path: Path) -> None:
    """A pattern that is no regular expression is refused with its place in the file."""
    file = tmp_path / "config.yaml"
    file.write_text(f'collectors: {{network: {{{key}: [ok, "a(b"]}}}}\n', encoding="utf-8")
    with pytest.raises(
        config.ConfigError, match=rf"collectors\.network\.{key}: .*item 1: expected a regular expression"
    ):
        config.load(file, {}, {"network": network.Config})


def test_cap_counts_what_it_leaves_out() -> None:
    """Of 40 interfaces 32 are collected and 8 counted, again in each collect."""
    host = collectors.host.Host(recorded.FIXTURES / "broken" / "interfaces-many")
    collector = trees.Collector(network, host)
    first = collector.at(0)
    assert (32, 8) == (len(interfaces(first)), first["network.interfaces_dropped_total", ""])
    assert "wwan36" in host.faults["proc/net/dev"]
    assert 16 == collector.at(10)["network.interfaces_dropped_total", ""]


def test_cap_keeps_who_was_there(tmp_path: Path) -> None:
    """A new interface does not push out one that is collected, wherever the kernel lists it."""
    collector = trees.Collector(network, trees.write(tmp_path, {"proc/net/dev": table(a=1, b=1)}), max_interfaces=2)
    assert {"a", "b"} == interfaces(collector.at(0))
    trees.write(tmp_path, {"proc/net/dev": table(new=1, a=1, b=1)})
    assert {"a", "b"} == interfaces(collector.at(10))
    trees.write(tmp_path, {"proc/net/dev": table(new=1, a=1)})
    values = collector.at(20)
    assert ({"a", "new"}, 1) == (interfaces(values), values["network.interfaces_dropped_total", ""])


def test_no_cap_hit(tmp_path: Path) -> None:
    """While nothing is left out, nothing is counted."""
    collector = trees.Collector(network, trees.write(tmp_path, {"proc/net/dev": table(a=1)}), max_interfaces=1)
    assert ("network.interfaces_dropped_total", "") not in collector.at(0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("eth0:15475140 1 2 3 0 0 0 0 5 6 7 8 0 0 0 0", 15475140),
        ("  eth0: 18446744073709551615 1 2 3 0 0 0 0 5 6 7 8 0 0 0 0", 2**64 - 1),
        ("eth0: 7 1 2 3 0 0 0 0 5 6 7 8 0 0 0 0 99", 7),
        ("eth0: 7 1 2 3 0 0 0 0 5 6 7 8 0 0 0", None),
        ("eth0: x 1 2 3 0 0 0 0 5 6 7 8 0 0 0 0", None),
    ],
)
def test_line(line: str, expected: int | None) -> None:
    """A line is a name, a colon and 16 numbers, with or without space between."""
    assert expected == (network.parse_net_dev([line]) or {}).get("eth0", {}).get("rx_bytes")


def counters(rx: int, tx: int, packets: int = 10) -> network.Counters:
    """Return what is compared of an interface."""
    return {"rx_bytes": rx, "tx_bytes": tx, "rx_packets": packets, "tx_packets": packets}


@pytest.mark.parametrize(
    ("before", "now", "elapsed_s", "expected"),
    [
        (counters(0, 0), counters(1250, 125), 10, {"rx_bits_per_second": 1000, "tx_bits_per_second": 100}),
        (counters(0, 0), counters(1, 0), 3, {"rx_bits_per_second": 3, "tx_bits_per_second": 0}),
        (counters(1000, 1000), counters(100, 5000), 10, {}),
        (counters(1000, 1000), counters(5000, 100), 10, {}),
        (counters(0, 0, packets=10), counters(5000, 5000, packets=9), 10, {}),
        (counters(0, 0), counters(1250, 125), 0, {}),
        (counters(0, 0), counters(1250, 125), -1, {}),
        (None, counters(1250, 125), 10, {}),
        ({"rx_bytes": 0}, {"rx_bytes": 10}, 1, {"rx_bits_per_second": 80}),
    ],
)
def test_rates(
    before: network.Counters | None, now: network.Counters, elapsed_s: float, expected: dict[str, int]
) -> None:
    """Rates are whole bits per second; where one count began anew, neither way has one."""
    assert expected == network.rates(before, now, elapsed_s)


def test_unreadable_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reading that failed, the next rate is over the time since the last that did not."""
    collector = trees.Collector(network, trees.write(tmp_path, {"proc/net/dev": table(a=0)}))
    collector.at(0)
    with monkeypatch.context() as patch:
        patch.setattr(collectors.host, "read", trees.failing(errno.EIO))
        assert {} == collector.at(10)
    trees.write(tmp_path, {"proc/net/dev": table(a=1000)})
    assert 400 == collector.at(20)["network.rx_bits_per_second", "a"]


@pytest.mark.parametrize(
    ("operstate", "carrier", "expected"),
    [
        ("up", "1", 1),
        ("up", errno.EINVAL, 1),
        ("down", errno.EINVAL, 0),
        ("down", "0", 0),
        ("lowerlayerdown", "0", 0),
        ("dormant", "1", 0),
        ("unknown", "1", 1),
        ("unknown", "0", 0),
        ("unknown", errno.EINVAL, None),
        ("unknown", "7", None),
        ("", "1", 1),
        (errno.ENOENT, "0", 0),
        (errno.ENOENT, errno.EINVAL, None),
        (errno.ENODEV, errno.ENODEV, None),
    ],
)
def test_link(operstate: str | int, carrier: str | int, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is up or down if the operational state says so, else by its carrier, else it is not said."""
    contents: dict[str, Any] = {"dev": table(wwan0=1), "operstate": operstate, "carrier": carrier}

    def read(path: str) -> bytes:
        content = contents.get(Path(path).name, b"")
        if isinstance(content, int):
            raise OSError(content, os.strerror(content))
        return f"{content}\n".encode()

    monkeypatch.setattr(collectors.host, "read", read)
    host = collectors.host.Host()
    assert expected == trees.Collector(network, host).at(0).get(("network.link_up", "wwan0"))


def test_interface_that_is_down_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The carrier of an interface that is down, an EINVAL, is not even asked."""
    contents = {"dev": table(wwan1=0).encode(), "operstate": b"down\n", "snmp": f"{UDP}\nUdp: 1\n".encode()}
    monkeypatch.setattr(collectors.host, "read", lambda path: contents[Path(path).name])
    host = collectors.host.Host()
    trees.Collector(network, host).at(0)
    assert {} == host.faults


def link(root: Path, name: str, state: str) -> None:
    """Give an interface a link state."""
    trees.write(root, {f"sys/class/net/{name}/operstate": f"{state}\n"})


def test_a_link_that_goes_and_comes(tmp_path: Path) -> None:
    """Said once each; one that is pulled out is gone; what was never up is no loss, and what is excluded no link."""
    host, state = Host(tmp_path), network.State()
    for name in ("usb0", "eth0", "lo"):
        link(tmp_path, name, "down" if name == "eth0" else "up")

    def seen() -> list[tuple[str, str]]:
        host.begin()
        return [(event.kind, event.text) for event in network.watch(host, network.Config(), state)]

    assert [] == seen()
    link(tmp_path, "usb0", "down")
    assert [("link_down", "usb0 has no carrier")] == seen()
    assert [] == seen()
    link(tmp_path, "usb0", "up")
    link(tmp_path, "eth0", "up")
    assert [("link_up", "usb0 has a carrier again")] == seen()
    shutil.rmtree(tmp_path / "sys/class/net/usb0")
    assert [("link_down", "usb0 is gone")] == seen()
    assert [] == seen()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([UDP, "Udp: 1 2 3 4 5 6"], {"InDatagrams": 1, "NoPorts": 2, "OutDatagrams": 4, "SndbufErrors": 6}),
        (["Udp: InDatagrams NoPorts", "Udp: 1 2", "UdpLite: InDatagrams", "UdpLite: 9"], {"InDatagrams": 1}),
        ([UDP, "Udp: 1 -2 x"], {"InDatagrams": 1}),
        ([UDP], None),
        ([UDP, "Udp:"], None),
        ([], None),
    ],
    ids=["all of them", "an old kernel", "no numbers", "names alone", "numbers missing", "no UDP"],
)
def test_counters_of_udp(lines: list[str], expected: dict[str, int] | None) -> None:
    """By the kernel's names, whatever their order and number."""
    found = network.parse_udp(lines)
    assert expected == (found and {name: found[name] for name in expected or ()})


HEARS = """
import select, subprocess
from pathlib import Path
from collectors.host import Host
from collectors.network.link_news import LinkNews
news = LinkNews()
news.follow(Host())
waits = select.poll()
waits.register(news.socket, select.POLLIN)
before = waits.poll(0)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
after = waits.poll(30_000)
news.follow(Host())
print(len(before), len(after), len(waits.poll(0)))
"""


@pytest.mark.root
def test_the_kernel_tells_of_a_link_that_changes() -> None:
    """It is readable then, and not before, and not any more when it was read."""
    command = ["unshare", "--net", sys.executable, "-c", HEARS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "0 1 0" == done.stdout.strip()


def test_a_recorded_tree_has_no_news(tmp_path: Path) -> None:
    """Its links are looked at from time to time."""
    state = network.State()
    list(network.watch(Host(tmp_path), network.Config(), state))
    assert ((), None) == (state.descriptors, state.rest_s)
