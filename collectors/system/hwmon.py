"""Fans, and temperature sensors that are not thermal zones; used by the thermal source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from collectors.host import Host
from common import catalog
from common.sample import Sample

HWMON = "sys/class/hwmon"
PWM_FULL = 255  # Documentation/hwmon/sysfs-interface.rst
TEMPERATURE = catalog.find("hwmon.temperature")

_TEMPERATURE = re.compile(r"temp(\d+)_input")
_SPEED = re.compile(r"fan(\d+)_input")


class Chip(NamedTuple):
    """A hwmon device."""

    path: str
    kind: str
    label: str
    files: frozenset[str]


def collect(host: Host, zones: Collection[str]) -> Iterator[Sample]:
    """Yield the sensors and fans of the chips that are not thermal zones too.

    Args:
        host: where to read.
        zones: types of the thermal zones; the kernel repeats each as a chip, with _ for - in its name.
    """
    mirrors = {zone.replace("-", "_") for zone in zones}
    for chip in _chips(host):
        if chip.kind not in mirrors:
            yield from _temperatures(host, chip)
        yield from _duty(host, chip)
        yield from _speeds(host, chip)


def celsius(host: Host, path: str) -> float | None:
    """Return the temperature a file holds in thousandths of a degree, or None where it holds none that can be."""
    millicelsius = host.integer(path)
    if millicelsius is None:
        return None
    if not TEMPERATURE.allows(millicelsius / 1000):  # THERMAL_TEMP_INVALID is -274000 (include/linux/thermal.h)
        host.fault(path, f"not a temperature: {millicelsius}")
        return None
    return millicelsius / 1000


def distinct(name: str, taken: Collection[str]) -> str:
    """Return a name, with -1, -2 … behind it where it is taken."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def labels(host: Host, kinds: Mapping[str, str]) -> dict[str, str]:
    """Return a label for each hwmon directory, the same after a boot that numbers them otherwise.

    A chip that is the only one of its kind goes by the kind, one of several by kind and device, e.g. ``ina226@6-0048``;
    where the tree has no device, the second one gets -1.

    Args:
        host: where to read.
        kinds: name of each chip by its directory.
    """
    found: dict[str, str] = {}
    several = [kind for kind, count in Counter(kinds.values()).items() if count > 1]
    for directory, kind in kinds.items():
        device = _device(host, directory) if kind in several else ""
        found[directory] = distinct(f"{kind}@{device}" if device else kind, found.values())
    return found


def _device(host: Host, directory: str) -> str:
    """Return the device that a chip is, e.g. ``6-0048`` on I2C, by the link that its class directory is."""
    parts = [part for part in host.link(f"{HWMON}/{directory}").split("/")[:-1] if part not in {"..", "hwmon"}]
    return parts[-1] if parts else ""


def _chips(host: Host) -> Iterator[Chip]:
    directories = host.numbered(HWMON, "hwmon")
    kinds = {name: (host.text(f"{HWMON}/{name}/name") or "").strip() or name for name in directories}
    for directory, label in labels(host, kinds).items():
        path = f"{HWMON}/{directory}"
        yield Chip(path, kinds[directory], label, frozenset(host.names(path)))


def _numbers(pattern: re.Pattern[str], chip: Chip) -> list[str]:
    return sorted((match[1] for match in map(pattern.fullmatch, chip.files) if match), key=int)


def _temperatures(host: Host, chip: Chip) -> Iterator[Sample]:
    sensors: set[str] = set()
    for number in _numbers(_TEMPERATURE, chip):
        sensor = f"temp{number}"
        label = host.text(f"{chip.path}/{sensor}_label") if f"{sensor}_label" in chip.files else None
        label = distinct((label or "").strip() or sensor, sensors)
        sensors.add(label)
        if f"{sensor}_fault" in chip.files and host.integer(f"{chip.path}/{sensor}_fault") == 1:
            continue  # the input of an open or shorted sensor still has a number in it
        temperature = celsius(host, f"{chip.path}/{sensor}_input")
        if temperature is not None:
            yield Sample("hwmon.temperature", temperature, {"chip": chip.label, "sensor": label})


def _duty(host: Host, chip: Chip) -> Iterator[Sample]:
    """Yield the drive of a pwm-fan: its cooling levels are no measure, 4 of 4 is 100/255 on this board."""
    if chip.kind != "pwmfan" or "pwm1" not in chip.files:
        return
    drive = host.integer(f"{chip.path}/pwm1")
    if drive is not None and not 0 <= drive <= PWM_FULL:
        host.fault(f"{chip.path}/pwm1", f"not from 0 to {PWM_FULL}: {drive}")
    elif drive is not None:
        yield Sample("fan.duty_percent", round(100 * drive / PWM_FULL, 2), {"fan": chip.label})


def _speeds(host: Host, chip: Chip) -> Iterator[Sample]:
    """Yield what tachometers say; the fan header of the Orange Pi 5 Plus has none."""
    for number in _numbers(_SPEED, chip):
        rpm = host.integer(f"{chip.path}/fan{number}_input")
        if rpm is not None:
            yield Sample("fan.rpm", rpm, {"fan": chip.label if number == "1" else f"{chip.label}.{number}"})
