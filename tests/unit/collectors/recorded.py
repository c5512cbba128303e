"""Recorded trees, what a collector makes of them, and the text files that say what it should make of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

from collectors import registry
from collectors.admission import admitted
from collectors.host import Host
from common import clock
from common.events import Event
from common.sample import Sample

FIXTURES = Path(__file__).parents[2] / "fixtures"
STEP_S = 10.0
WALL_MS = 1_795_000_000_000  # 2026-11-18T11:06:40Z

_LINE = re.compile(r"([\w.]+)(\{.*\})? (\S+)")
_LABEL = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*")')


class Collected(NamedTuple):
    """What one collect gave."""

    samples: list[Sample]
    faults: Mapping[str, str]
    events: list[Event]
    notes: Mapping[str, str]


@cache
def cases() -> Sequence[Path]:
    """Return the directory of every case, sorted."""
    return tuple(sorted(path for path in FIXTURES.glob("*/*") if path.is_dir()))


def name(case: Path) -> str:
    """Return what a case is called: board and case."""
    return case.relative_to(FIXTURES).as_posix()


@cache
def steps(case: Path) -> Sequence[Path]:
    """Return the root of each instant of a case."""
    found = (path for path in case.iterdir() if path.name.isdecimal())
    return tuple(sorted(found, key=lambda path: int(path.name))) or (case,)


@cache
def replay(collector: ModuleType, case: Path) -> Sequence[Collected]:
    """Collect every step of a case with the default configuration, one after the other; once for all tests."""
    collected = []
    with _at(0.0):
        config, state = collector.Config(), collector.State()
    for number, root in enumerate(steps(case)):
        host = Host(root)
        host.begin(STEP_S * (number + 1))
        with _at(host.now_s):
            if hasattr(collector, "hear"):
                collector.hear(committed(root), clock.wall_ms(), "recorded", state)
            found = list(admitted(collector.collect(host, config, state), host))
        events = [item for item in found if isinstance(item, Event)]
        samples = [item for item in found if isinstance(item, Sample)]
        collected.append(Collected(samples, host.faults, events, host.notes))
    return tuple(collected)


@contextmanager
def _at(now_s: float) -> Iterator[None]:
    """Stop the clocks: a recorded board is always asked at the same moment."""
    with (
        patch("time.monotonic", lambda: now_s),
        patch("common.clock.wall_ms", lambda: WALL_MS + int(1000 * now_s)),
        patch("common.clock.boot_id", lambda: "00000000-0000-4000-8000-000000000000"),
    ):
        yield


@cache
def committed(root: Path) -> list[Sample]:
    """Return what the other collectors have committed by then: lines of `committed`, in the form of an expectation."""
    file, samples = root / "committed", []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        match = _LINE.fullmatch(line)
        assert match is not None, line
        labels = {label: json.loads(value) for label, value in _LABEL.findall(match[2] or "")}
        samples.append(Sample(match[1], json.loads(match[3]), labels))
    return samples


def render(collector: ModuleType, case: Path) -> str:
    """Return a case as the text of its expectation; nothing where the collector finds nothing in it."""
    collected = replay(collector, case)
    if not any(step.samples or step.faults or step.events for step in collected):
        return ""
    return "".join(f"# step {number}\n{_step(step)}" for number, step in enumerate(collected))


def expectation(collector: str, case: Path) -> Path:
    """Return the file under review."""
    return case / "expected" / f"{collector}.txt"


def expected(collector: str, case: Path) -> str:
    """Return what a collector should make of a case; without a file, nothing."""
    file = expectation(collector, case)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def every() -> list[tuple[str, Path]]:
    """Return each collector with each case."""
    return [(collector, case) for collector in registry.names() for case in cases()]


def _step(step: Collected) -> str:
    lines = [f"{sample.name}{_tags(sample)} {json.dumps(sample.value)}" for sample in step.samples]
    lines += [f"* {event.kind} {json.dumps(event.subject)} {event.text}" for event in step.events]
    lines += [f"! {path}: {reason}" for path, reason in sorted(step.faults.items())]
    lines += [f"? {item}: {sentence}" for item, sentence in sorted(step.notes.items())]
    return "".join(f"{line}\n" for line in lines)


def _tags(sample: Sample) -> str:
    if not sample.tags:
        return ""
    return "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in sample.tags.items()) + "}"
