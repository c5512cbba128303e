"""Translate configuration keys as the requirement documents spell them into this system's keys.

PRD and MILESTONE-2 list collectors by the name of a metric or of a group, and nest some upload keys elsewhere. A file
written in either form is accepted; a warning names each key that is translated, or that can have one value only. A key
that is in neither document is reported as unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from common.keys import size, text
from common.problems import Problems, join, shown

# A documented collector name and the sources it stands for.
COLLECTOR_NAMES = {
    "system": ("cpu", "memory", "disk", "thermal"),
    "cpu.usage": ("cpu",),
    "cpu.temperature": ("thermal",),
    "memory.usage": ("memory",),
    "disk.io": ("disk",),
    "network.traffic": ("network",),
    "srt.packet_loss": ("srt",),
}


def _milliseconds(value: Any) -> Any:
    """Convert a documented duration to milliseconds; return other values as they are, for the new key to refuse."""
    units = {"ms": 1, "s": 1000, "m": 60_000}
    for unit, factor in units.items():
        number = str(value).removesuffix(unit)
        if number != str(value) and number.isdecimal():
            return int(number) * factor
    return value


class Moved(NamedTuple):
    """A documented key that has another place here.

    Attributes:
        new: where.
        convert: its value to the new key's.
    """

    new: str
    convert: Callable[[Any], Any] = lambda value: value


MOVED = {
    "remote.upload.mode": Moved("remote.mode"),
    "remote.upload.batch_size": Moved("remote.batch_size"),
    "remote.upload.interval": Moved("remote.upload_interval"),
    "remote.upload.timeout": Moved("remote.timeout"),
    "remote.upload.compression": Moved("remote.compression"),
    "monitoring.skew_url": Moved("monitoring.clock_skew_url"),
    "monitoring.skew_warn_threshold": Moved("monitoring.clock_skew_warn_threshold_ms", _milliseconds),
    "storage.rotation.interval": Moved("storage.archive.interval"),
    "buffer.max_size": Moved("storage.max_size"),
}


OLD_ALERTS = "collectors.derived.alerts"  # until version 0.1


class FixedKey(NamedTuple):
    """A documented key whose value cannot be chosen here.

    Attributes:
        expected: the one word it may have; "" where any of its kind may stand there.
        parse: of its kind.
        why: what is done instead.
    """

    expected: str
    parse: Callable[[Any], Any]
    why: str


FIXED = {
    "storage.compression": FixedKey("gzip", text(), "archives are always gzip"),
    "storage.rotation.max_size": FixedKey(
        "", size(0, 1 << 50), "no effect: age makes aggregates of samples; storage.max_size limits database and archive"
    ),
    "buffer.path": FixedKey("", text(), "no effect: what waits for its upload is in the database, storage.path"),
    "buffer.prune_strategy": FixedKey(
        "oldest_first", text(), "beyond storage.max_size the least important goes first, of it the oldest"
    ),
}
# Sections that exist in the documents alone: what is left in them is misspelt.
SECTIONS = ("remote.upload", "storage.rotation", "buffer")
LISTS = ("metrics", "collection.collectors")


def translate(tree: dict[str, Any], problems: Problems) -> list[str]:
    """Rewrite documented spellings in place.

    Args:
        tree: the file as read.
        problems: takes what is wrong with a documented key, and where each was written.

    Returns:
        A line for each key that is read as another one, or has no choice.
    """
    lines: list[str] = []
    own = tree.get("collectors")
    written = dict.fromkeys(own, "collectors") if isinstance(own, dict) else {}
    for path in LISTS:
        lines += _collector_list(tree, path, written, problems)
    for old, moved in MOVED.items():
        lines += _move(tree, old, moved, problems)
    lines += _move_alerts(tree, problems)
    for path, fixed in FIXED.items():
        lines += _fix(tree, path, fixed, problems)
    for path in SECTIONS:
        _refuse_rest(tree, path, problems)
    return lines


def _collector_list(tree: dict[str, Any], path: str, written: dict[str, str], problems: Problems) -> list[str]:
    """Turn ``- {name, interval, enabled, config}`` into sections of ``collectors``."""
    entries = _pop(tree, path)
    if entries is None:
        return []
    if not isinstance(entries, list):
        problems.add(path, "expected a list")
        return []
    lines = []
    for index, entry in enumerate(entries):
        place = f"{path}[{index}]"
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            problems.add(place, f"expected an entry with a name, got {shown(path, entry)}")
            continue
        sources = COLLECTOR_NAMES.get(name, (name,))
        for source in sources:
            _enter(tree, source, entry, place, written, problems)
        if sources != (name,):
            lines.append(f"{place} {name}: read as {', '.join(f'collectors.{source}' for source in sources)}")
    return lines


def _enter(
    tree: dict[str, Any], source: str, entry: dict[str, Any], place: str, written: dict[str, str], problems: Problems
) -> None:
    """Put an entry's keys into the section of one source, which is written once only."""
    if written.setdefault(source, place) != place and _is_written(tree, source):
        problems.add(place, f"{source} is set in {written[source]} already; say it once")
        return
    values = {key: (f"{place}.{key}", value) for key, value in entry.items() if key not in {"name", "config"}}
    inner = entry.get("config")
    if isinstance(inner, dict):
        values.update({key: (f"{place}.config.{key}", value) for key, value in inner.items()})
    elif inner is not None:
        values["config"] = (f"{place}.config", inner)
    if tree.get("collectors") is None:
        tree["collectors"] = {}
    if not _is_written(tree, source):
        problems.written_at(f"collectors.{source}", place)
    section = _section(tree["collectors"], source)
    for key, (where, value) in values.items():
        section[key] = value
        problems.written_at(f"collectors.{source}.{key}", where, value)


def _is_written(tree: dict[str, Any], source: str) -> bool:
    """Return whether a source's section holds anything: one whose every key is commented out does not."""
    own = tree.get("collectors")
    return isinstance(own, dict) and isinstance(own.get(source), dict) and bool(own[source])


def _section(tree: Any, name: str) -> dict[str, Any]:
    """Return a section to write to; a section that is no mapping is left for the loader to refuse."""
    if not isinstance(tree, dict):
        return {}
    if tree.get(name) is None:
        tree[name] = {}
    return tree[name] if isinstance(tree[name], dict) else {}


def _move(tree: dict[str, Any], old: str, moved: Moved, problems: Problems) -> list[str]:
    """Put the value of a documented key where it takes effect."""
    value = _pop(tree, old)
    if value is None:
        return []
    *sections, name = moved.new.split(".")
    section = tree
    for part in sections:
        section = _section(section, part)
    if name in section:
        problems.add(old, f"given as {moved.new} too; say it once")
        return []
    section[name] = moved.convert(value)
    problems.written_at(moved.new, old)
    return [f"{old}: read as {moved.new}"]


def _move_alerts(tree: dict[str, Any], problems: Problems) -> list[str]:
    """Move every key of the alerts' old section, misspelt ones too: the loader names them."""
    old = _pop(tree, OLD_ALERTS)
    if not isinstance(old, dict):
        return []
    section = _section(tree, "alerts")
    for name, value in old.items():
        now = "clear_hold" if name == "hold" else str(name)
        if now in section:
            problems.add(f"{OLD_ALERTS}.{name}", f"given as alerts.{now} too; say it once")
        else:
            section[now] = value
            problems.written_at(f"alerts.{now}", f"{OLD_ALERTS}.{name}")
    return [f"{OLD_ALERTS}: read as alerts"]


def _fix(tree: dict[str, Any], path: str, fixed: FixedKey, problems: Problems) -> list[str]:
    """Accept the one value that a documented key can have here."""
    value = _pop(tree, path)
    if value is None:
        return []
    try:
        fixed.parse(value)
    except ValueError as error:
        problems.add(path, f"{error}, got {shown(path, value)}")
        return []
    if fixed.expected and value != fixed.expected:
        problems.add(path, f"expected {fixed.expected}: {fixed.why}; got {shown(path, value)}")
        return []
    return [f"{path}: {fixed.why}"]


def _refuse_rest(tree: dict[str, Any], path: str, problems: Problems) -> None:
    """Report unknown keys in a section that exists only in the requirement documents."""
    left = _pop(tree, path)
    if isinstance(left, dict):
        known = sorted(key.removeprefix(f"{path}.") for key in (*MOVED, *FIXED) if key.startswith(f"{path}."))
        for name in left:
            problems.add(join(path, str(name)), f"unknown key; here are {', '.join(known)}")
    elif left is not None:
        problems.add(path, f"expected a section, got {shown(path, left)}")


def _pop(tree: dict[str, Any], path: str) -> Any:
    at: Any = tree
    *sections, last = path.split(".")
    for name in sections:
        at = at.get(name) if isinstance(at, dict) else None
    return at.pop(last, None) if isinstance(at, dict) else None
