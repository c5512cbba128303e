"""The spellings of the requirement documents, translated to this system's keys.

PRD and MILESTONE-2 list collectors by the name of a metric or of a group, and nest some upload keys
elsewhere. A file written after either is read as it is; what has no counterpart is named in a warning.
"""

from __future__ import annotations

from typing import Any

# A documented collector name and the collectors it stands for.
COLLECTOR_NAMES = {
    "system": ("cpu", "memory", "disk", "thermal"),
    "cpu.usage": ("cpu",),
    "cpu.temperature": ("thermal",),
    "memory.usage": ("memory",),
    "disk.io": ("disk",),
    "network.traffic": ("network",),
}

# Documented keys that live elsewhere here.
MOVED = {
    ("remote", "upload", "batch_size"): ("remote", "batch_size"),
    ("remote", "upload", "interval"): ("remote", "upload_interval"),
    ("remote", "upload", "timeout"): ("remote", "timeout"),
    ("remote", "upload", "compression"): ("remote", "compression"),
    ("monitoring", "skew_url"): ("monitoring", "clock_skew_url"),
}

# Documented keys that this version reads over: no effect, and it says so.
WITHOUT_EFFECT = (
    ("collection", "enabled"),
    ("storage", "retention"),
    ("storage", "rotation"),
    ("storage", "compression"),
    ("buffer",),
    ("remote", "upload"),
    ("remote", "backfill"),
    ("logging", "rotation"),
)
UNAVAILABLE_COLLECTORS = ("srt.packet_loss", "srt", "encoder", "events")


def translate(tree: dict[str, Any], errors: list[str]) -> list[str]:
    """Rewrite documented spellings in place.

    Args:
        tree: the file as read.
        errors: takes what is wrong with a documented list.

    Returns:
        Warnings about keys that have no effect.
    """
    warnings = [
        *_collector_list(tree, tree.pop("metrics", None), "metrics", errors),
        *_collector_list(tree, _pop(tree, ("collection", "collectors")), "collection.collectors", errors),
    ]
    for old, new in MOVED.items():
        value = _pop(tree, old)
        if value is not None:
            tree.setdefault(new[0], {}).setdefault(new[1], value)
    for path in WITHOUT_EFFECT:
        value = _pop(tree, path)
        if value not in (None, {}):
            warnings.append(f"{'.'.join(path)}: no effect in this version")
    if tree.get("collection") == {}:
        del tree["collection"]
    return warnings


def _collector_list(tree: dict[str, Any], entries: Any, path: str, errors: list[str]) -> list[str]:
    """Turn ``- {name, interval, enabled, config}`` into sections of ``collectors``."""
    if entries is None:
        return []
    if not isinstance(entries, list):
        errors.append(f"{path}: expected a list")
        return []
    warnings = []
    for index, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if name in UNAVAILABLE_COLLECTORS:
            warnings.append(f"{path}[{index}]: {name} is not collected by this version")
        elif isinstance(name, str):
            _enter(tree, name, entry)
        else:
            errors.append(f"{path}[{index}]: expected an entry with a name, got {entry!r}")
    return warnings


def _enter(tree: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    values = {key: value for key, value in entry.items() if key not in {"name", "config"}}
    own = entry.get("config")
    values.update(own if isinstance(own, dict) else {} if own is None else {"config": own})
    collectors = tree.setdefault("collectors", {})
    for collector in COLLECTOR_NAMES.get(name, (name,)):
        if isinstance(collectors, dict):
            collectors[collector] = {**values, **(collectors.get(collector) or {})}


def _pop(tree: dict[str, Any], path: tuple[str, ...]) -> Any:
    at: Any = tree
    for name in path[:-1]:
        at = at.get(name) if isinstance(at, dict) else None
    return at.pop(path[-1], None) if isinstance(at, dict) else None
