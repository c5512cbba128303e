"""Kinds of faults that can sit in many sources, each held for all sources it can occur in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from collectors import registry
from collectors.admission import admitted
from collectors.host import Host
from common import catalog
from common.catalog.ranges import ANY, COUNT
from common.events import Event
from common.sample import Sample
from tests.unit.collectors import trees

BOUNDED = [
    metric for metric in catalog.METRICS.values() if metric.kind == "gauge" and metric.plausible not in (ANY, COUNT)
]
HEAD = "Inter-|   Receive    |  Transmit\n face |bytes    packets\n"
ZEROS = " 0" * 14


# A value that cannot be.


@pytest.mark.parametrize("metric", BOUNDED, ids=lambda metric: metric.name)
def test_what_cannot_be_is_left_out_counted_and_named(metric: catalog.Metric) -> None:
    """Both ends of the range can be; what is beyond is a fault of that series, whichever source says it."""
    host, (low, high) = Host(), metric.plausible
    tags = dict.fromkeys(metric.labels, "x")
    values = (low, high, low - 1, high + 1, math.nan, math.inf, 2**70)
    found: list[Sample | Event] = [Sample(metric.name, value, tags) for value in values]
    assert found[:2] == [admissible for one in found for admissible in admitted([one], host)]
    assert 1 == len(host.faults)
    assert next(iter(host.faults)).startswith(metric.name)


@pytest.mark.parametrize("unit", sorted({metric.unit for metric in BOUNDED}))
def test_every_physical_quantity_has_a_range(unit: str) -> None:
    """No metric of such a unit is without."""
    assert ANY not in {m.plausible for m in catalog.METRICS.values() if m.unit == unit} or unit in {"", "milliseconds"}


def test_words_are_cleaned_where_they_enter() -> None:
    """In labels and events of all sources."""
    found: list[Sample | Event] = [
        Sample("modem.info", 1, {"model": "\x1b]0;x\x07E3372\n"}),
        Event("modem_plugged", "a\x1b[31mb\u202e", "c\nd", 7),
    ]
    sample, event = admitted(found, Host())
    assert ({"model": "E3372"}, ("modem_plugged", "ab", "c d", 7)) == (sample.tags, tuple(event))  # type: ignore[union-attr]


# A device that is another one under an old name.


def network(received: int, index: int) -> dict[str, str]:
    """Return an interface's counters, and which device it is."""
    line = f"  usb0: {received} 1{ZEROS}\n"
    return {"proc/net/dev": HEAD + line, "sys/class/net/usb0/ifindex": f"{index}\n"}


def disk(written: int, index: int) -> dict[str, str]:
    """Return a disk's counters, and which one it is."""
    return {
        "proc/diskstats": f"8 0 sda 1 0 1 0 1 0 {written} 0 0 0 0\n",
        "sys/class/block/sda/diskseq": f"{index}\n",
        "sys/class/block/sda/queue/logical_block_size": "512\n",
    }


RATES = {"network": (network, "network.rx_bits_per_second"), "disk": (disk, "disk.write_bytes_per_second")}


@pytest.mark.parametrize("source", RATES)
def test_another_device_under_an_old_name_gives_no_rate(source: str, tmp_path: Path) -> None:
    """Its counters are not the other one's, also where they are higher."""
    files, metric = RATES[source]
    collector = trees.Collector(registry.load(source), trees.write(tmp_path, files(1_000, 3)))
    collector.at(10)
    trees.write(tmp_path, files(2_000, 3))
    assert collector.at(20).get((metric, "usb0" if source == "network" else "sda"))
    trees.write(tmp_path, files(900_000_000, 4))
    assert (metric, "usb0" if source == "network" else "sda") not in collector.at(30)


def test_two_cores_of_one_name_are_two(tmp_path: Path) -> None:
    """The 2D unit has rga3 twice."""
    load = "".join(f"scheduler[{n}]: {name}\n\t load = {n}%\n" for n, name in enumerate(("rga3", "rga3", "rga2")))
    found = trees.Collector(registry.load("accelerator"), trees.write(tmp_path, {"sys/kernel/debug/rkrga/load": load}))
    assert {"rga3": 0, "rga3-1": 1, "rga2": 2} == {label: value for (_, label), value in found.at(0).items()}


def test_a_series_is_given_once() -> None:
    """Of two values the first counts, and the second is a fault."""
    host = Host()
    found = [Sample("gpu.usage_percent", value) for value in (1, 2)]
    assert found[:1] == list(admitted(found, host))
    assert ["gpu.usage_percent"] == list(host.faults)


# A name with any character.

NAMES: dict[str, tuple[dict[str, str], str, str]] = {
    "network": ({"proc/net/dev": f"{HEAD}a:b:c: 7 1{ZEROS}\n"}, "network.rx_bytes_total", "a:b:c"),
    "network, no space": ({"proc/net/dev": f"{HEAD}a:b:7 1{ZEROS}\n"}, "network.rx_bytes_total", "a:b"),
    "disk": ({
        "proc/mounts": "/dev/sda1 /media/a\\040b\\134c:d ext4 rw 0 0\n",
        "statvfs": "512 512 9 4 4 0 0 0 0 255 /media/a b\\c:d\n",
    }, "filesystem.size_bytes", "/media/a b\\c:d"),
    "thermal": ({
        "sys/class/thermal/thermal_zone0/type": "my: (zone) 1\n", "sys/class/thermal/thermal_zone0/temp": "41000\n",
    }, "thermal.zone_temp", "my: (zone) 1"),
    "power": ({"sys/class/power_supply/a:b (c)/voltage_now": "5000000\n"}, "power.volts", "a:b (c)"),
    "audio": ({"proc/asound/a:b (c)/pcm0c/sub0/status": "closed\n"}, "audio.running", "a:b (c)"),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES)
def test_a_name_is_split_where_it_ends(case: str, tmp_path: Path) -> None:
    """Colons, blanks and parentheses in it are its own."""
    files, metric, label = NAMES[case]
    found = trees.Collector(registry.load(case.partition(",")[0]), trees.write(tmp_path, files)).at(0)
    assert (metric, label) in found


# A part that is missing.

SAYS = [name for name in registry.names() if name not in {"derived", "session", "srt", "receiver", "gps"}]


@pytest.mark.parametrize("source", SAYS)
def test_a_machine_without_anything_is_named_and_no_fault(source: str, tmp_path: Path) -> None:
    """No value, no failure, and at least one sentence or path that says what is not there."""
    module, host = registry.load(source), Host(tmp_path)
    host.begin(10.0)
    found = list(admitted(module.collect(host, module.Config(), module.State()), host))
    assert [] == found
    assert {} == host.faults
    assert host.absent or host.notes
