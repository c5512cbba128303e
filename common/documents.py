"""The spellings of the requirement documents, translated to this system's keys.

PRD and MILESTONE-2 list collectors by the name of a metric or of a group, and nest some upload keys
elsewhere. A file written after either is read as it is; what has no counterpart is named in a warning.
"""

from __future__ import annotations

from typing import Any

from common.problems import Problems, shown

# A documented collector name and the collectors it stands for.
COLLECTOR_NAMES = {
    "system": ("cpu", "memory", "disk", "thermal"),
    "cpu.usage": ("cpu",),
    "cpu.temperature": ("thermal",),
    "memory.usage": ("memory",),
    "disk.io": ("disk",),
    "network.traffic": ("network",),
    "srt.packet_loss": ("srt",),
}

OLD_ALERTS = ("collectors", "derived", "alerts")  # until version 0.1

# Documented keys that live elsewhere here.
MOVED = {
    ("remote", "upload", "mode"): ("remote", "mode"),
    ("remote", "upload", "batch_size"): ("remote", "batch_size"),
    ("remote", "upload", "interval"): ("remote", "upload_interval"),
    ("remote", "upload", "timeout"): ("remote", "timeout"),
    ("remote", "upload", "compression"): ("remote", "compression"),
    ("monitoring", "skew_url"): ("monitoring", "clock_skew_url"),
    ("storage", "rotation", "interval"): ("storage", "archive", "interval"),
    ("buffer", "max_size"): ("storage", "max_size"),
}

# Documented keys that this version reads over: no effect, and it says so.
WITHOUT_EFFECT = (
    ("collection", "enabled"),
    ("storage", "rotation"),
    ("storage", "compression"),
    ("buffer", "path"),
    ("buffer", "prune_strategy"),
    ("buffer",),
    ("remote", "upload"),
    ("logging", "rotation"),
)


def translate(tree: dict[str, Any], problems: Problems) -> list[str]:
    """Rewrite documented spellings in place.

    Args:
        tree: the file as read.
        problems: takes what is wrong with a documented list, and where each key was written.

    Returns:
        Warnings about keys that have no effect.
    """
    _collector_list(tree, tree.pop("metrics", None), "metrics", problems)
    _collector_list(tree, _pop(tree, ("collection", "collectors")), "collection.collectors", problems)
    warnings = []
    for old, new in MOVED.items():
        _move(tree, old, new, problems)
    _move_alerts(tree, problems)
    for path in WITHOUT_EFFECT:
        value = _pop(tree, path)
        if value not in (None, {}):
            warnings.append(f"{'.'.join(path)}: no effect in this version")
    if tree.get("collection") == {}:
        del tree["collection"]
    return warnings


def _collector_list(tree: dict[str, Any], entries: Any, path: str, problems: Problems) -> None:
    """Turn ``- {name, interval, enabled, config}`` into sections of ``collectors``."""
    if entries is None:
        return
    if not isinstance(entries, list):
        problems.add(path, "expected a list")
        return
    seen: dict[str, str] = {}
    for index, entry in enumerate(entries):
        place = f"{path}[{index}]"
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            problems.add(place, f"expected an entry with a name, got {shown(path, entry)}")
        elif seen.setdefault(name, place) != place:
            problems.add(place, f"{name} is listed already, in {seen[name]}")
        else:
            _enter(tree, name, entry, place, problems)


def _enter(tree: dict[str, Any], name: str, entry: dict[str, Any], place: str, problems: Problems) -> None:
    """Put an entry's keys into the section of each collector that it stands for; what is there stays."""
    values = {key: (f"{place}.{key}", value) for key, value in entry.items() if key not in {"name", "config"}}
    own = entry.get("config")
    if isinstance(own, dict):
        values.update({key: (f"{place}.config.{key}", value) for key, value in own.items()})
    elif own is not None:
        values["config"] = (f"{place}.config", own)
    if tree.get("collectors") is None:
        tree["collectors"] = {}
    for collector in COLLECTOR_NAMES.get(name, (name,)):
        problems.written_at(f"collectors.{collector}", place)
        section = _section(tree["collectors"], collector)
        for key, (written, value) in values.items():
            if key not in section:
                section[key] = value
                problems.written_at(f"collectors.{collector}.{key}", written, value)


def _section(tree: Any, name: str) -> dict[str, Any]:
    """Return a section to write to; one that is no mapping is the loader's to refuse, and stays."""
    if not isinstance(tree, dict):
        return {}
    if tree.get(name) is None:
        tree[name] = {}
    return tree[name] if isinstance(tree[name], dict) else {}


def _move(tree: dict[str, Any], old: tuple[str, ...], new: tuple[str, ...], problems: Problems) -> None:
    """Put the value of a documented key where it takes effect; what is there stays."""
    value = _pop(tree, old)
    if value is None:
        return
    section = tree
    for name in new[:-1]:
        section = _section(section, name)
    if new[-1] not in section:
        section[new[-1]] = value
        problems.written_at(".".join(new), ".".join(old))


def _move_alerts(tree: dict[str, Any], problems: Problems) -> None:
    """Move every key of the alerts' old section, misspelt ones too: the loader names them."""
    old = _pop(tree, OLD_ALERTS)
    if not isinstance(old, dict):
        return
    section = _section(tree, "alerts")
    for name, value in old.items():
        now = "clear_hold" if name == "hold" else str(name)
        if now not in section:
            section[now] = value
            problems.written_at(f"alerts.{now}", ".".join((*OLD_ALERTS, name)))


def _pop(tree: dict[str, Any], path: tuple[str, ...]) -> Any:
    at: Any = tree
    for name in path[:-1]:
        at = at.get(name) if isinstance(at, dict) else None
    return at.pop(path[-1], None) if isinstance(at, dict) else None
