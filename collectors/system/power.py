"""Supply and battery: volts, amperes, watts, and how long it lasts.

Reads: sys/class/power_supply/*/{type,scope,online,capacity,voltage_now,current_now,power_now,energy_now,
    charge_now,time_to_empty_now,status}, sys/class/hwmon/hwmon*/{name,in1_input,curr1_input,power1_input}
    of INA2xx chips.
Source: Documentation/ABI/testing/sysfs-class-power, Documentation/hwmon/ina2xx.rst.
Emits: power.volts{source}, power.amperes{source} (as the driver signs it), power.watts{source},
    power.online{supply} (0 or 1), battery.level_percent{supply}, battery.runtime_seconds{supply} (while it
    discharges, by what it draws now).
Errors: a supply that says nothing of a value has none. Batteries of mice and the like are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from collectors.admission import noted
from collectors.host import Host
from collectors.system.hwmon import HWMON, labels
from common.keys import boolean, duration, key
from common.sample import Sample

SUPPLIES = "sys/class/power_supply"
MICRO = 1e-6
INA = re.compile(r"ina\d+")
DISCHARGING = "Discharging"
FULL = 100
NOTHING = "the kernel knows none; a board without them can be given an INA219 or INA226 on I2C"


@dataclass(frozen=True)
class Config:
    """Section collectors.power."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "10s", "time between two collects", name="interval")


class State:
    """Nothing to remember: every value stands for itself."""


def collect(host: Host, _config: Config, _state: State) -> Iterator[Sample]:
    """Yield what supplies and meters say."""
    yield from noted(_supplies(host), host, "supply, battery, current meter", NOTHING)


def _supplies(host: Host) -> Iterator[Sample]:
    for name in host.names(SUPPLIES):
        if (_word(host, name, "scope") or "System") == "System":
            yield from _supply(host, name)
    yield from _meters(host)


def runtime_s(energy: float | None, drawn: float | None) -> float | None:
    """Return how long a battery lasts by what is drawn now.

    Args:
        energy: what is left, watt hours (or ampere hours).
        drawn: watts (or amperes), of either sign.
    """
    return round(energy / abs(drawn) * 3600) if energy is not None and drawn else None


def _supply(host: Host, name: str) -> Iterator[Sample]:
    volts, amperes = _micro(host, name, "voltage_now"), _micro(host, name, "current_now")
    watts = _micro(host, name, "power_now")
    if watts is None and volts is not None and amperes is not None:
        watts = round(volts * amperes, 6)
    for metric, value in (("volts", volts), ("amperes", amperes), ("watts", watts)):
        if value is not None:
            yield Sample(f"power.{metric}", value, {"source": name})
    online = _number(host, name, "online")
    if online is not None:
        yield Sample("power.online", int(online > 0), {"supply": name})  # 2 is a programmable supply
    level = _number(host, name, "capacity")
    if level is not None and 0 <= level <= FULL:
        yield Sample("battery.level_percent", level, {"supply": name})
    if _word(host, name, "status") == DISCHARGING:
        rest_s = _number(host, name, "time_to_empty_now")
        rest_s = rest_s or runtime_s(_micro(host, name, "energy_now"), watts)
        rest_s = rest_s or runtime_s(_micro(host, name, "charge_now"), amperes)
        if rest_s is not None:
            yield Sample("battery.runtime_seconds", rest_s, {"supply": name})


def _meters(host: Host) -> Iterator[Sample]:
    """Yield what current meters on the board say: in1 is the bus, in0 the shunt."""
    directories = host.numbered(HWMON, "hwmon")
    kinds = {name: (host.text(f"{HWMON}/{name}/name") or "").strip() for name in directories}
    meters = {name: kind for name, kind in kinds.items() if INA.fullmatch(kind)}
    for directory, label in labels(host, meters).items():
        path = f"{HWMON}/{directory}"
        for metric, file, unit in (("volts", "in1", 1e-3), ("amperes", "curr1", 1e-3), ("watts", "power1", MICRO)):
            value = host.integer(f"{path}/{file}_input") if host.exists(f"{path}/{file}_input") else None
            if value is not None:
                yield Sample(f"power.{metric}", round(value * unit, 6), {"source": label})


def _word(host: Host, name: str, file: str) -> str | None:
    path = f"{SUPPLIES}/{name}/{file}"
    return (host.text(path) or "").strip() or None if host.exists(path) else None


def _number(host: Host, name: str, file: str) -> float | None:
    path = f"{SUPPLIES}/{name}/{file}"
    return host.integer(path) if host.exists(path) else None


def _micro(host: Host, name: str, file: str) -> float | None:
    value = _number(host, name, file)
    return None if value is None else round(value * MICRO, 6)
