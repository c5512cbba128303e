"""Heat: drivers that fail, and who is believed about throttling."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import collectors.host
from collectors.host import Host
from collectors.system import thermal
from tests.unit.collectors import recorded, trees

ZONE = "sys/class/thermal/thermal_zone"
BOARD = recorded.FIXTURES / "opi5plus" / "vendor-6.1.43" / "0"


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINVAL, errno.EIO, errno.ENODATA, errno.ENODEV])
def test_one_zone_fails(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a zone's driver says, it costs that zone: it is unreadable, the hottest is among the others."""
    original = collectors.host.read

    def read(path: str) -> bytes:
        if path.endswith("thermal_zone0/temp"):
            raise OSError(number, os.strerror(number))
        return original(path)

    monkeypatch.setattr(collectors.host, "read", read)
    values = trees.Collector(thermal, Host(BOARD)).at(0)
    zones = [label for name, label in values if name == "thermal.zone_temp"]
    assert (6, 1, 0) == (
        len(zones),
        values["thermal.unreadable", "soc-thermal"],
        values["thermal.unreadable", "gpu-thermal"],
    )
    assert 50.846 == values["cpu.temperature", ""]


def test_offline_zone_for_real(tmp_path: Path) -> None:
    """A real descriptor that says EAGAIN, as rockchip_thermal does, ends in thermal.unreadable."""
    host = trees.write(
        tmp_path, {f"{ZONE}0/type": "soc-thermal\n", f"{ZONE}1/type": "gpu-thermal\n", f"{ZONE}1/temp": "0\n"}
    )
    os.mkfifo(tmp_path / f"{ZONE}0/temp")
    writer = os.open(tmp_path / f"{ZONE}0/temp", os.O_RDWR | os.O_NONBLOCK)
    values = trees.Collector(thermal, host).at(0)
    os.close(writer)
    assert {
        ("thermal.unreadable", "soc-thermal"): 1,
        ("thermal.zone_temp", "gpu-thermal"): 0.0,
        ("thermal.unreadable", "gpu-thermal"): 0,
        ("cpu.temperature", ""): 0.0,
    } == values
    assert {f"{ZONE}0/temp": os.strerror(errno.EAGAIN)} == host.faults


def test_no_zone_readable(tmp_path: Path) -> None:
    """Without a readable zone there is no temperature of the CPU, rather than 0."""
    host = trees.write(tmp_path, {f"{ZONE}0/type": "soc-thermal\n", f"{ZONE}0/temp": "-274000\n"})
    assert {("thermal.unreadable", "soc-thermal"): 1} == trees.Collector(thermal, host).at(0)


@pytest.mark.parametrize(
    ("millicelsius", "expected"),
    [(-55_001, None), (-55_000, -55.0), (-1, -0.001), (0, 0.0), (125_000, 125.0), (150_001, None), (2**31 - 1, None)],
)
def test_a_temperature_that_can_be_is_believed(millicelsius: int, expected: float | None, tmp_path: Path) -> None:
    """Cold ones too; what no sensor measures is a fault."""
    host = trees.write(tmp_path, {f"{ZONE}0/type": "x\n", f"{ZONE}0/temp": f"{millicelsius}\n"})
    assert expected == trees.Collector(thermal, host).at(0).get(("thermal.zone_temp", "x"))
    assert (expected is None) == bool(host.faults)


def test_zones_of_one_type_keep_their_names(tmp_path: Path) -> None:
    """A zone that gives no value keeps its name, and so does the next one of its type."""
    host = trees.write(
        tmp_path,
        {f"{ZONE}{number}/type": "gpu-thermal\n" for number in (2, 9, 10)}
        | {f"{ZONE}2/temp": "", f"{ZONE}9/temp": "9000\n", f"{ZONE}10/temp": "10000\n"},
    )
    values = trees.Collector(thermal, host).at(0)
    assert (9.0, 10.0) == tuple(values["thermal.zone_temp", f"gpu-thermal-{number}"] for number in (1, 2))
    assert 1 == values["thermal.unreadable", "gpu-thermal"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ({"cpufreq-cpu0": 0, "cpufreq-cpu4": 3}, True),
        ({"thermal-cpufreq-1": 1}, True),
        ({"devfreq-fb000000.gpu": 1, "cpufreq-cpu0": 0}, True),
        ({"thermal-devfreq-0": 2}, True),
        ({"cpufreq-cpu0": 0, "pwm-fan": 4, "Processor": 3, "Fan": 1, "intel_powerclamp": 5}, False),
        ({"cpufreq-cpu0": None, "cpufreq-cpu4": 0}, False),
        ({"pwm-fan": 4}, None),
        ({"cpufreq-cpu0": None}, None),
        ({}, None),
    ],
)
def test_slowed(steps: dict[str, int | None], expected: bool | None) -> None:
    """Only a device that cools by slowing down is believed, and only one that can be read."""
    assert expected == thermal.slowed(steps)


@pytest.mark.parametrize(
    ("limits", "hottest", "expected"),
    [
        ([(1800, 1800), (2208, 2352)], 86.0, True),
        ([(2208, 2352)], 75.0, True),
        ([(2208, 2352)], 74.999, False),
        ([(2352, 2352)], 110.0, False),
        ([(2400, 2352)], 110.0, False),
        ([(2352, 2352)], None, False),
        ([(2208, 2352)], None, None),
        ([], 110.0, None),
    ],
)
def test_limited(limits: list[tuple[int, int]], hottest: float | None, expected: bool | None) -> None:
    """A lowered clock limit is heat's doing only while a zone is hot."""
    assert expected == thermal.limited(limits, hottest)
