"""Against the kernel this runs on: what is emitted equals an independent reading of the same instant."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import collectors.host
from collectors.host import Host
from collectors.network import network
from collectors.system import cpu, disk, memory

TRIES = 2000

Reading = Mapping[tuple[str, str], int]


def collect(module: ModuleType, config: Any, host: Host | None = None, state: Any = None) -> dict[tuple[str, str], Any]:
    """Return the values of one collect by name and the value of the only label."""
    host = host or Host()
    host.begin()
    samples = module.collect(host, config, state or module.State())
    return {(sample.name, "".join(sample.tags.values())): sample.value for sample in samples}


def at_a_quiet_instant(read: Callable[[], Reading], module: ModuleType, config: Any) -> tuple[Reading, Reading]:
    """Return an independent reading and the collector's, of an instant in which nothing changed."""
    for _ in range(TRIES):
        before = read()
        emitted = collect(module, config)
        if before == read():
            return before, {key: emitted[key] for key in before if key in emitted}
    return pytest.fail(f"{module.__name__}: the kernel's numbers changed during each of {TRIES} collects")


def read_memory() -> Reading:
    """Read what is exported of /proc/meminfo and /proc/vmstat."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    kib = {name: int(number) for name, number in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}
    oom_kill = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(encoding="ascii"), re.MULTILINE)
    assert oom_kill
    return {
        ("memory.total_bytes", ""): kib["MemTotal"] * 1024,
        ("memory.available_bytes", ""): kib["MemAvailable"] * 1024,
        ("memory.used_bytes", ""): (kib["MemTotal"] - kib["MemAvailable"]) * 1024,
        ("memory.swap_total_bytes", ""): kib["SwapTotal"] * 1024,
        ("memory.swap_used_bytes", ""): (kib["SwapTotal"] - kib["SwapFree"]) * 1024,
        ("memory.oom_kills_total", ""): int(oom_kill[1]),
    }


def read_disks() -> Reading:
    """Read what is exported of /sys/block/*/stat, another file than the collector's."""
    names = {
        0: ("disk.read_ops_total", 1),
        2: ("disk.read_bytes_total", 512),
        4: ("disk.write_ops_total", 1),
        6: ("disk.write_bytes_total", 512),
        9: ("disk.io_time_ms_total", 1),
        10: ("disk.weighted_io_time_ms_total", 1),
    }
    counters = {}
    for directory in Path("/sys/block").iterdir():
        columns = (directory / "stat").read_text(encoding="ascii").split()
        for at, (name, unit) in names.items():
            counters[name, directory.name.replace("!", "/")] = int(columns[at]) * unit
    return counters


def read_interfaces() -> Reading:
    """Read what is exported of /sys/class/net/*/statistics, other files than the collector's."""
    counters = {}
    for directory in Path("/sys/class/net").iterdir():
        of = {file.name: int(file.read_text(encoding="ascii")) for file in (directory / "statistics").iterdir()}
        of["rx_dropped"] += of["rx_missed_errors"]  # net/core/net-procfs.c adds them
        for way in ("rx", "tx"):
            for what in ("bytes", "packets", "errors", "dropped"):
                counters[f"network.{way}_{what}_total", directory.name] = of[f"{way}_{what}"]
    return counters


def test_memory() -> None:
    """Memory is what /proc/meminfo says, to the byte."""
    read, emitted = at_a_quiet_instant(read_memory, memory, memory.Config())
    assert read == emitted


@pytest.mark.skipif(not any(Path("/sys/block").glob("*/stat")), reason="no block device here")
def test_disks() -> None:
    """Disk counters are what sysfs says of each device in 512-byte sectors, to the byte."""
    read, emitted = at_a_quiet_instant(read_disks, disk, disk.Config(allowed_devices=re.compile(".*")))
    assert read == emitted


@pytest.mark.skipif(not Path("/sys/class/net").is_dir(), reason="no network namespace in sysfs here")
def test_interfaces() -> None:
    """Interface counters are what sysfs says of each interface, to the byte."""
    config = network.Config(exclude_ifaces=(), max_interfaces=1000)
    read, emitted = at_a_quiet_instant(read_interfaces, network, config)
    assert read == emitted


def test_file_systems() -> None:
    """Used share is what df shows, before it rounds up."""
    emitted = collect(disk, disk.Config())
    mountpoints = [label for name, label in emitted if name == "filesystem.used_percent"]
    for mountpoint in mountpoints:
        with os.popen(f"LC_ALL=C df -P {shlex.quote(mountpoint)}") as output:
            shown = int(output.read().splitlines()[1].split()[4].rstrip("%"))
        assert shown - 1.1 <= emitted["filesystem.used_percent", mountpoint] <= shown + 0.1


def test_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU shares are what the same two texts of /proc/stat give by exact arithmetic."""
    texts = []
    read = collectors.host.read

    def spy(path: str) -> bytes:
        content = read(path)
        if path == "/proc/stat":
            texts.append(content.decode("ascii"))
        return content

    monkeypatch.setattr(collectors.host, "read", spy)
    host, state = Host(), cpu.State()
    assert not [name for name, _ in collect(cpu, cpu.Config(), host, state) if name == "cpu.usage_percent"]
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    emitted = collect(cpu, cpu.Config(), host, state)
    first, second = map(columns_of, texts)
    expected = {core: between(first[core], second[core]) for core in second if first[core][:8] != second[core][:8]}
    assert expected.keys() == {core for name, core in emitted if name == "cpu.usage_percent"}
    for core, (usage, iowait, steal) in expected.items():
        assert float(usage) == pytest.approx(emitted["cpu.usage_percent", core], abs=0.0051)
        if core == "all":
            assert float(iowait) == pytest.approx(emitted["cpu.iowait_percent", ""], abs=0.0051)
            assert float(steal) == pytest.approx(emitted["cpu.steal_percent", ""], abs=0.0051)


def columns_of(text: str) -> dict[str, list[int]]:
    """Return the ten columns of each core's line."""
    lines = re.findall(r"^cpu(\d*) +(.*)$", text, re.MULTILINE)
    return {core or "all": [int(column) for column in columns.split()] for core, columns in lines}


def between(first: list[int], second: list[int]) -> tuple[Fraction, Fraction, Fraction]:
    """Return used, I/O-waiting and stolen percent between two lines, guests not counted twice."""
    user, nice, system, idle, iowait, irq, softirq, steal, *_ = (
        max(0, new - old) for old, new in zip(first, second, strict=True)
    )
    used = user + nice + system + irq + softirq + steal
    total = used + idle + iowait
    return Fraction(100 * used, total), Fraction(100 * iowait, total), Fraction(100 * steal, total)
