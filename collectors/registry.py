"""Which collectors there are: the modules of this folder that have a `collect`."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent
FRAMEWORK = frozenset(
    {
        *("__main__", "host", "registry", "stage"),
        *(
            "belabox",
            "bpf",
            "filesystems",
            "hilink",
            "process_table",
            "hwmon",
            "interrupts",
            "journal",
            "kernel_log",
            "log_lines",
            "machine",
            "modem_manager",
            "mpp",
            "packet_ring",
            "udp_sockets",
            "video4linux",
            "web",
        ),
        *("srt_filters", "srt_flow", "srt_report", "srt_stats_file", "srt_tap"),
        *("srtla_forks", "srtla_link", "srtla_report"),
        *("alerts", "bitrate_rules", "heard", "scores"),
    }
)


def names() -> list[str]:
    """Return the names of all collectors, sorted, without importing any."""
    return sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]) if module.name not in FRAMEWORK)


def load(name: str) -> ModuleType:
    """Import one collector.

    Raises:
        ModuleNotFoundError: there is none of that name.
    """
    return importlib.import_module(f"collectors.{name}")


def sections(own: str | None = None) -> dict[str, type[Any] | None]:
    """Return the `Config` of every collector by name; with `own`, only that one's, the others as None."""
    return {name: load(name).Config if own in (None, name) else None for name in names()}
