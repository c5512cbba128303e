"""CPU: what no recorded host can show."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import collectors.host
from collectors.host import Host
from collectors.system import cpu
from tests.unit.collectors import trees

IDLE_BEFORE = (1000, 0, 500, 50_000, 100, 0, 20, 0)


def stat(**cores: tuple[int, ...]) -> str:
    """Return a /proc/stat of some cores."""
    return "".join(f"{name} {' '.join(map(str, ticks))}\n" for name, ticks in cores.items()) + "ctxt 1\n"


@pytest.mark.parametrize("columns", [4, 7, 8, 9, 10])
def test_columns(columns: int) -> None:
    """Old kernels have fewer columns, new ones two for guests that are already counted."""
    line = " ".join(["cpu ", *map(str, range(1, columns + 1))])
    assert {"all": (*range(1, min(columns, 8) + 1), *[0] * (8 - columns))} == cpu.parse_stat([line])


@pytest.mark.parametrize("line", ["cpu", "cpu 1 2 3", "cpu 1 2 3 x 5", "cpu 1 2 3 -4 5", "intr 1 2 3 4 5", ""])
def test_not_a_line(line: str) -> None:
    """A line with too few or other than whole numbers is left out."""
    assert cpu.parse_stat([line]) is None


def test_steal_counts_as_used() -> None:
    """Stolen time is used time, waiting for I/O is not, and each has its share."""
    before, now = (0,) * 8, (10, 10, 10, 40, 10, 10, 5, 5)
    samples = {s.name: s.value for s in cpu._usage({"all": before}, {"all": now})}
    assert {"cpu.usage_percent": 50.0, "cpu.iowait_percent": 10.0, "cpu.steal_percent": 5.0} == samples


def test_falling_field_counts_as_nothing() -> None:
    """A field that decreased counts as 0 in the sum too, so no share is negative or above 100."""
    assert (0, 0, 0, 10, 0, 0, 0, 0) == cpu.elapsed(IDLE_BEFORE, (990, 0, 500, 50_010, 40, 0, 20, 0))


def test_nothing_elapsed() -> None:
    """Without a tick there is no share, rather than 0 % or a division by zero."""
    assert cpu.elapsed(IDLE_BEFORE, IDLE_BEFORE) is None
    assert cpu.elapsed(IDLE_BEFORE, (900, 0, 400, 49_990, 90, 0, 10, 0)) is None


def test_core_off_and_on_between_two_readings(tmp_path: Path) -> None:
    """A core whose idle time began anew gives no share, and neither does the total it is part of."""
    again = (1100, 0, 550, 100, 0, 0, 20, 0)
    other = (1500, 0, 500, 50_500, 100, 0, 20, 0)
    host = trees.write(tmp_path, {"proc/stat": stat(cpu=IDLE_BEFORE, cpu0=IDLE_BEFORE, cpu1=IDLE_BEFORE)})
    collector = trees.Collector(cpu, host)
    collector.at(0)
    trees.write(tmp_path, {"proc/stat": stat(cpu=(2600, 0, 1050, 50_600, 100, 0, 40, 0), cpu0=again, cpu1=other)})
    assert {("cpu.usage_percent", "1"): 50.0} == collector.at(10)


def test_unreadable_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reading that failed, the next share is of the time since the last that did not."""
    host = trees.write(tmp_path, {"proc/stat": stat(cpu=(0, 0, 0, 100))})
    collector = trees.Collector(cpu, host)
    collector.at(0)
    with monkeypatch.context() as patch:
        patch.setattr(collectors.host, "read", trees.failing(errno.EIO))
        assert {} == collector.at(10)
    trees.write(tmp_path, {"proc/stat": stat(cpu=(50, 0, 0, 250))})
    assert 25.0 == collector.at(20)["cpu.usage_percent", "all"]


def test_pressure_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """With psi=0 the files are there and read(2) fails: nothing, and no fault."""
    monkeypatch.setattr(collectors.host, "read", trees.failing(errno.EOPNOTSUPP))
    host = Host()
    assert {} == trees.Collector(cpu, host).at(0)
    assert {} == host.faults
    assert {"proc/pressure/cpu", "proc/pressure/memory", "proc/pressure/io"} <= host.absent


def test_clock_of_a_cluster_that_goes(tmp_path: Path) -> None:
    """A clock that reads <unknown> costs itself, not the limit beside it or the other clusters."""
    host = trees.write(
        tmp_path,
        {
            f"{cpu.CPUFREQ}/policy0/scaling_cur_freq": "<unknown>\n",
            f"{cpu.CPUFREQ}/policy0/scaling_max_freq": "1800000\n",
            f"{cpu.CPUFREQ}/policy10/scaling_cur_freq": "408000\n",
        },
    )
    expected = {("cpu.frequency_limit_hertz", "0"): 1_800_000_000, ("cpu.frequency_hertz", "10"): 408_000_000}
    assert expected == trees.Collector(cpu, host).at(0)


@pytest.mark.parametrize(
    "line",
    [
        "some avg10=0.18 avg60=0.34 avg300=0.10 total=",
        "some avg10=nan avg60=0.34 avg300=0.10 total=5",
        "avg10=0.18 avg60=0.34 avg300=0.10 total=5",
        "none avg10=0.18 avg60=0.34 avg300=0.10 total=5",
    ],
)
def test_pressure_line_not_understood(line: str) -> None:
    """A line of another form is left out, the other one stays."""
    full = "full avg10=1.50 avg60=0.00 avg300=0.00 total=2500000"
    assert {"full": (1.5, 2.5)} == cpu.parse_pressure([line, full])
