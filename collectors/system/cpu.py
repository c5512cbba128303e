"""CPU use, load, clocks and what waits for the CPU, memory and I/O.

Reads: proc/stat, proc/loadavg, proc/uptime, proc/pressure/{cpu,memory,io},
    sys/devices/system/cpu/cpufreq/policy*/scaling_{cur,max}_freq; what `machine` reads.
Source: Documentation/filesystems/proc.rst, admin-guide/pm/cpufreq.rst, accounting/psi.rst.
Emits: cpu.usage_percent{core=all,0,1…}, cpu.iowait_percent, cpu.steal_percent (0-100, of all cores since
    the last collect; stolen time counts as used, time waiting for I/O does not), cpu.frequency_hertz and
    cpu.frequency_limit_hertz{policy=0,4…}, system.load{1,5,15}, system.uptime_seconds,
    system.info{board,kernel,os,image}, pressure.{cpu,memory,io}_{some,full}_percent (0-100, mean of 10 s)
    and …_stalled_seconds_total.
    (cpu.throttled needs the temperatures and is with thermal.)
Errors: a first reading, a core that comes or goes, a core whose counters stand still and one with a time that nothing
    can have run for (an idle time stuck near 2^63, nicolargo/glances#3505) give no share.
    Kernels without pressure accounting, and clusters that are off, give nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from collectors.host import Host, unsigned
from collectors.system import machine
from common.keys import boolean, duration, key
from common.sample import Sample

ALL = "all"
# user, nice, system, idle, iowait, irq, softirq, steal. The two guest columns after them are already
# inside user and nice (kernel/sched/cputime.c, account_guest_time); adding them would count them twice.
COLUMNS = 8
IDLE, IOWAIT, STEAL = 3, 4, 7
# An idle time that falls this far was restarted with its core between two readings. It also steps back
# by a tick or so by rounding; node_exporter's collector/cpu_linux.go draws the line at 3 s. Ticks are
# 1/100 s for userspace on every architecture this runs on (USER_HZ).
RESTARTED_TICKS = 300
# 10,000 cores for 2,800 years. What is beyond is a counter that went below zero.
MOST_TICKS = 2**53

CPUFREQ = "sys/devices/system/cpu/cpufreq"
KILO = 1000
RESOURCES = ("cpu", "memory", "io")
MICROSECONDS = 1_000_000

_DECIMAL = re.compile(r"[0-9]{1,15}\.[0-9]{1,6}")
_PRESSURE = re.compile(r"(some|full) avg10=([0-9]{1,9}\.[0-9]{2}) avg60=\S+ avg300=\S+ total=([0-9]{1,20})")

Times = tuple[int, ...]


@dataclass(frozen=True)
class Config:
    """Section collectors.cpu."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "10s", "time between two collects", name="interval")


class State:
    """The last collect's times by core, in ticks."""

    def __init__(self) -> None:
        self.times: Mapping[str, Times] = {}


def collect(host: Host, _config: Config, state: State) -> Iterator[Sample]:
    """Yield how busy the machine is."""
    times = host.parse("proc/stat", parse_stat)
    if times is not None:
        yield from _usage(state.times, times)
        state.times = times
    yield from _load(host)
    if names := machine.info(host):
        yield Sample("system.info", 1, names)
    yield from _frequencies(host)
    for resource in RESOURCES:
        for share, (percent, stalled_s) in (host.parse(f"proc/pressure/{resource}", parse_pressure) or {}).items():
            yield Sample(f"pressure.{resource}_{share}_percent", percent)
            yield Sample(f"pressure.{resource}_{share}_stalled_seconds_total", stalled_s)


def parse_stat(lines: Iterable[str]) -> dict[str, Times] | None:
    """Return ticks by core and for `all`; columns that old kernels don't have are 0."""
    cores = {}
    for line in lines:
        name, *columns = line.split()[: COLUMNS + 1] or [""]
        core = name.removeprefix("cpu") or ALL
        ticks = [unsigned(column) for column in columns]
        times = tuple(tick for tick in ticks if tick is not None)
        if name.startswith("cpu") and len(ticks) == len(times) > IDLE and max(times) < MOST_TICKS:
            cores[core] = times + (0,) * (COLUMNS - len(times))
    return cores or None


def parse_decimals(lines: list[str]) -> list[float] | None:
    """Return the numbers with a decimal point that the only line begins with."""
    numbers = []
    for word in lines[0].split() if lines else ():
        if not _DECIMAL.fullmatch(word):
            break
        numbers.append(float(word))
    return numbers or None


def parse_pressure(lines: Iterable[str]) -> dict[str, tuple[float, float]] | None:
    """Return percent of the last 10 s and stalled seconds since boot, of `some` and of `full`."""
    matches = filter(None, map(_PRESSURE.fullmatch, lines))
    return {match[1]: (float(match[2]), int(match[3]) / MICROSECONDS) for match in matches} or None


def elapsed(before: Times, now: Times) -> Times | None:
    """Return the ticks between two readings, or None where they cannot be compared.

    Idle time waiting for I/O may decrease, by the kernel's documentation; what decreases counts as 0.
    """
    if _restarted(before, now):
        return None
    ticks = tuple(max(0, new - old) for old, new in zip(before, now, strict=True))
    return ticks if any(ticks) else None


def _restarted(before: Times, now: Times) -> bool:
    return now[IDLE] <= before[IDLE] - RESTARTED_TICKS


def _usage(before: Mapping[str, Times], now: Mapping[str, Times]) -> Iterator[Sample]:
    for core, times in now.items():
        ticks = elapsed(before[core], times) if core in before else None
        if ticks is None or (core == ALL and _plugged(before, now)):
            continue
        busy = sum(ticks) - ticks[IDLE] - ticks[IOWAIT]
        yield Sample("cpu.usage_percent", _percent(busy, ticks), {"core": core})
        if core == ALL:
            yield Sample("cpu.iowait_percent", _percent(ticks[IOWAIT], ticks))
            yield Sample("cpu.steal_percent", _percent(ticks[STEAL], ticks))


def _percent(part: int, ticks: Times) -> float:
    return round(100 * part / sum(ticks), 2)


def _plugged(before: Mapping[str, Times], now: Mapping[str, Times]) -> bool:
    """Return whether a core came, went or did both: the total then takes over a wholly different idle time."""
    return before.keys() != now.keys() or any(_restarted(before[core], now[core]) for core in now)


def _load(host: Host) -> Iterator[Sample]:
    averages = host.parse("proc/loadavg", parse_decimals) or ()
    for minutes, average in zip((1, 5, 15), averages, strict=False):
        yield Sample(f"system.load{minutes}", average)
    uptime = host.parse("proc/uptime", parse_decimals)
    if uptime is not None:
        yield Sample("system.uptime_seconds", uptime[0])


def _frequencies(host: Host) -> Iterator[Sample]:
    for policy in host.numbered(CPUFREQ, "policy"):
        tags = {"policy": policy.removeprefix("policy")}
        for metric, file in (("frequency", "scaling_cur_freq"), ("frequency_limit", "scaling_max_freq")):
            kilohertz = host.integer(f"{CPUFREQ}/{policy}/{file}")
            if kilohertz is not None:
                yield Sample(f"cpu.{metric}_hertz", kilohertz * KILO, tags)
