"""The chip's other processors: graphics, neural, video and 2D units.

Reads: sys/class/devfreq/*{gpu,npu}*/{load,cur_freq}, sys/kernel/debug/{rknpu,rkrga}/load (root), proc/rknpu/load,
    proc/mpp_service/{load,sessions-summary}.
Source: Rockchip's devfreq.c, rknpu_debugger.c, rga_debugger.c and mpp_service.c (vendor kernels).
Emits: gpu.usage_percent, gpu.frequency_hertz, npu.usage_percent{core}, npu.frequency_hertz,
    vpu.usage_percent{unit,kind} (0-100 each; kind load by the clock, utilization by tasks), rga.usage_percent{core},
    vpu.hardware_encoding (0 or 1).
Errors: mainline kernels have none of these. The load in the NPU's devfreq folder is always 100 and is not read.
    The video units measure only after `echo 1000 > /proc/mpp_service/load_interval`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from collectors import mpp
from collectors.admission import noted
from collectors.host import Host
from collectors.system.hwmon import distinct
from common.keys import boolean, duration, key
from common.sample import Sample

DEVFREQ = "sys/class/devfreq"
NPU_LOADS = ("sys/kernel/debug/rknpu/load", "proc/rknpu/load")
RGA_LOAD = "sys/kernel/debug/rkrga/load"
FULL = 100
NOTHING = "this kernel tells nothing of their load: Rockchip's vendor kernels do (5.10, 6.1), mainline does not"

_SHARE = re.compile(r"(\d{1,3})@\d+Hz")
_NPU_CORE = re.compile(r"Core(\d+):\s*(\d{1,3})%")
_RGA_CORE = re.compile(r"scheduler\[\d+\]:\s*(\S+)\s+load\s*=\s*(\d{1,3})%")


@dataclass(frozen=True)
class Config:
    """Section collectors.accelerator."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "10s", "time between two collects", name="interval")


class State:
    """Nothing to remember: every value stands for itself."""


def collect(host: Host, _config: Config, _state: State) -> Iterator[Sample]:
    """Yield how busy the units are."""
    yield from noted(_units(host), host, "graphics, neural and video units", NOTHING)


def _units(host: Host) -> Iterator[Sample]:
    for folder in host.names(DEVFREQ):
        unit = next((unit for unit in ("gpu", "npu") if folder.endswith(unit)), None)
        if unit is not None:
            yield from _devfreq(host, f"{DEVFREQ}/{folder}", unit)
    for path in NPU_LOADS:
        text = host.text(path) if host.exists(path) else None
        if text is not None:
            for core, share in _shares(_NPU_CORE, text):
                yield Sample("npu.usage_percent", share, {"core": core})
            break
    if host.exists(RGA_LOAD):
        for core, share in _shares(_RGA_CORE, host.text(RGA_LOAD) or ""):
            yield Sample("rga.usage_percent", share, {"core": core})
    for name, load in mpp.loads(host).items():
        yield Sample("vpu.usage_percent", load.load, {"unit": name, "kind": "load"})
        yield Sample("vpu.usage_percent", load.utilization, {"unit": name, "kind": "utilization"})
    if host.exists(mpp.SESSIONS):
        yield Sample("vpu.hardware_encoding", int(mpp.encoding(host) is not None))


def _devfreq(host: Host, path: str, unit: str) -> Iterator[Sample]:
    """Yield the clock, and the graphics unit's load; an empty load is a unit that is switched off."""
    hertz = host.integer(f"{path}/cur_freq")
    if hertz is not None:
        yield Sample(f"{unit}.frequency_hertz", hertz)
    if unit == "gpu" and host.exists(f"{path}/load"):
        match = _SHARE.match(host.text(f"{path}/load") or "")
        if match and int(match[1]) <= FULL:
            yield Sample("gpu.usage_percent", int(match[1]))


def _shares(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, int]]:
    """Yield the load of each core; of several of one name (rga3 is there twice) the second is rga3-1."""
    names: list[str] = []
    for core, share in pattern.findall(text):
        names.append(distinct(core, names))
        if int(share) <= FULL:
            yield names[-1], int(share)
