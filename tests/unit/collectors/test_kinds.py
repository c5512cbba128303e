"""Kinds of faults that can sit in many sources, each held for all sources it can occur in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def chips(tmp_path: Path, order: tuple[str, str]) -> Host:
    """Write two meters of one kind on I2C, numbered in an order."""
    for number, device in enumerate(order):
        folder = tmp_path / f"sys/devices/platform/i2c-6/{device}/hwmon/hwmon{number}"
        volts = {"6-0040": 12_000, "6-0048": 5_000}[device]
        files = {"name": "ina226\n", "in1_input": f"{volts}\n", "temp1_input": f"{volts // 200 * 1000}\n"}
        trees.write(folder, files)
        (tmp_path / "sys/class/hwmon").mkdir(parents=True, exist_ok=True)
        link = tmp_path / f"sys/class/hwmon/hwmon{number}"
        link.symlink_to(f"../../devices/platform/i2c-6/{device}/hwmon/hwmon{number}")
    return Host(tmp_path)


@pytest.mark.parametrize(("source", "metric"), [("power", "power.volts"), ("thermal", "hwmon.temperature")])
def test_two_chips_alike_keep_their_names_in_any_order(source: str, metric: str, tmp_path: Path) -> None:
    """The kernel numbers them as it finds them, another way at each boot."""

    def read(name: str, order: tuple[str, str]) -> Mapping[Any, Any]:
        found = trees.Collector(registry.load(source), chips(tmp_path / name, order)).at(0)
        return {key: value for key, value in found.items() if key[0] == metric}

    first = read("boot", ("6-0040", "6-0048"))
    assert 2 == len(first)
    assert first == read("reboot", ("6-0048", "6-0040"))
    assert {"ina226@6-0040", "ina226@6-0048"} == {label.partition("/")[0] for _, label in first}


def cards(root: Path, order: tuple[str, str]) -> Host:
    """Write two USB sound cards and grabbers of one name, at ports in the order in which they were found."""
    for number, port in enumerate(order):
        name = ("C4K", "C4K_1")[number]
        status = f"state: RUNNING\nhw_ptr      : {480 if port == '1-1' else 960}\n"
        card, node = f"proc/asound/card{number}", f"sys/class/video4linux/video{number * 2}"
        files = {f"{card}/pcm0c/sub0/status": status, f"{card}/pcm0c/sub0/hw_params": f"channels: {port[-1]}\n"}
        trees.write(root, {**files, f"{node}/name": "Cam Link 4K\n", f"sys/devices/{port}:1.0/x": ""})
        (root / f"proc/asound/{name}").symlink_to(f"card{number}")
        folder = root / f"sys/class/sound/card{number}"
        folder.mkdir(parents=True)
        (folder / "device").symlink_to(f"../../../devices/{port}:1.0")
        (root / node / "device").symlink_to(f"../../../devices/{port}:1.0")
        (root / f"sys/devices/{port}:1.0/driver").symlink_to("../bus/usb/drivers/uvcvideo")
    return Host(root)


@pytest.mark.parametrize(
    ("source", "metric", "expected"),
    [
        ("audio", "audio.channels", {"C4K@1-1": 1, "C4K@1-2": 2}),
        ("hdmi", "hdmi.connected", {"Cam Link 4K@1-1": 1, "Cam Link 4K@1-2": 1}),
    ],
)
@pytest.mark.parametrize("order", [("1-1", "1-2"), ("1-2", "1-1")])
def test_two_usb_devices_alike_are_two_whichever_is_first(
    source: str, metric: str, expected: object, order: tuple[str, str], tmp_path: Path
) -> None:
    """ALSA calls the second one C4K_1, the video devices have one name: both go by their ports."""
    found = trees.Collector(registry.load(source), cards(tmp_path, order)).at(0)
    assert expected == {label: value for (name, label), value in found.items() if name == metric}


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
