"""Temperatures, cooling devices and thermal throttling.

Reads: sys/class/thermal/{thermal_zone*/{type,temp},cooling_device*/{type,cur_state}},
    sys/class/hwmon/hwmon*/{name,temp*_{input,label,fault},fan*_input,pwm1},
    sys/devices/system/cpu/cpufreq/policy*/{scaling,cpuinfo}_max_freq.
Source: Documentation/driver-api/thermal/sysfs-api.rst, hwmon/sysfs-interface.rst, admin-guide/pm/cpufreq.rst.
Emits: thermal.zone_temp{zone} and cpu.temperature, the hottest of them (degrees Celsius),
    thermal.unreadable{zone} (0 or 1), thermal.cooling_state{device} (0 is not limiting),
    cpu.throttled{reason=cooling,frequency} (0 or 1), and through `hwmon.py` hwmon.temperature{chip,sensor}
    (degrees Celsius), fan.duty_percent{fan} (0-100), fan.rpm{fan}.
    Zones and devices go by their type, a second one of a type gets -1: the numbers in sysfs change with
    every boot.
Errors: a zone that gives no value is unreadable and has no temperature; 0 and below are temperatures.
    Without a cooling device, or without clocks and temperatures, nothing is said about that reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from collectors.admission import noted
from collectors.host import Host
from collectors.system import hwmon
from collectors.system.hwmon import celsius, distinct
from common.changes import Glimpse
from common.keys import boolean, duration, key
from common.sample import Sample

THERMAL = "sys/class/thermal"
CPUFREQ = "sys/devices/system/cpu/cpufreq"

# Devices that cool by slowing down; with thermal- in front before Linux 5.13. A fan that runs faster
# (pwm-fan, Fan) is normal operation, and Processor is ACPI's, which lists every core.
SLOWING = re.compile(r"(thermal-)?(cpufreq|devfreq)-.*")

# The first passive trip of the RK3588 (rk3588s.dtsi, soc-thermal). Below it, whoever lowered the clock
# limit did not do it for heat: a user did, or a power saver. Rockchip's system monitor lowers it from
# 85 °C (rockchip,high-temp) until 80 °C, without any cooling device.
HOT_CELSIUS = 75.0
NOTHING = "the kernel shows no thermal zone and no sensor, as in a virtual machine or a container"


@dataclass(frozen=True)
class Config:
    """Section collectors.thermal."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "30s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "4s", "how often it looks for heat", name="watch_interval")


class State:
    """Nothing to remember: every value stands for itself."""


def collect(host: Host, _config: Config, _state: State) -> Iterator[Sample]:
    """Yield temperatures, cooling, fans and throttling."""
    yield from noted(_all(host), host, "temperature", NOTHING)


def _all(host: Host) -> Iterator[Sample]:
    zones = _zones(host)
    for zone, temperature in zones.items():
        if temperature is not None:
            yield Sample("thermal.zone_temp", temperature, {"zone": zone})
        yield Sample("thermal.unreadable", int(temperature is None), {"zone": zone})
    hottest = max((temperature for temperature in zones.values() if temperature is not None), default=None)
    if hottest is not None:
        yield Sample("cpu.temperature", hottest)
    steps = _cooling_steps(host)
    for device, step in steps.items():
        if step is not None:
            yield Sample("thermal.cooling_state", step, {"device": device})
    limits = _clock_limits(host)
    for reason, throttled in (("cooling", slowed(steps)), ("frequency", limited(limits, hottest))):
        if throttled is not None:
            yield Sample("cpu.throttled", int(throttled), {"reason": reason})
    yield from hwmon.collect(host, zones)


def watch(host: Host, _config: Config, _state: State) -> Iterator[Glimpse]:
    """Yield the temperature of the hottest zone: heat that crosses its threshold does not wait for the next collect."""
    hottest = max((temperature for temperature in _zones(host).values() if temperature is not None), default=None)
    if hottest is not None:
        yield Glimpse("cpu.temperature", hottest)


def slowed(steps: Mapping[str, int | None]) -> bool | None:
    """Return whether a cooling device slows the machine down, or None where there is none that could."""
    slowing = [step for device, step in steps.items() if step is not None and SLOWING.fullmatch(device)]
    return any(step > 0 for step in slowing) if slowing else None


def limited(limits: list[tuple[int, int]], hottest: float | None) -> bool | None:
    """Return whether heat holds clocks down, or None where that cannot be told.

    Args:
        limits: of each cluster the clock it may use and the clock it could use.
        hottest: temperature of the hottest zone.
    """
    if not limits:
        return None
    if all(allowed >= possible for allowed, possible in limits):
        return False
    return None if hottest is None else hottest >= HOT_CELSIUS


def _zones(host: Host) -> dict[str, float | None]:
    """Return the temperature of each zone; what is there and gives no value is None."""
    zones: dict[str, float | None] = {}
    for zone in host.numbered(THERMAL, "thermal_zone"):
        kind = host.text(f"{THERMAL}/{zone}/type")
        temperature = celsius(host, f"{THERMAL}/{zone}/temp")
        if kind is not None or temperature is not None:
            zones[distinct((kind or "").strip() or zone, zones)] = temperature
    return zones


def _cooling_steps(host: Host) -> dict[str, int | None]:
    """Return the step of each cooling device; a negative one is a driver's way to say it has none."""
    steps: dict[str, int | None] = {}
    for device in host.numbered(THERMAL, "cooling_device"):
        kind = (host.text(f"{THERMAL}/{device}/type") or "").strip()
        step = host.integer(f"{THERMAL}/{device}/cur_state")
        steps[distinct(kind or device, steps)] = None if step is None or step < 0 else step
    return steps


def _clock_limits(host: Host) -> list[tuple[int, int]]:
    """Return the clock that each cluster may use now and the one it could use."""
    limits = []
    for policy in host.numbered(CPUFREQ, "policy"):
        allowed = host.integer(f"{CPUFREQ}/{policy}/scaling_max_freq")
        possible = host.integer(f"{CPUFREQ}/{policy}/cpuinfo_max_freq")
        if allowed is not None and possible is not None:
            limits.append((allowed, possible))
    return limits
