"""Filter what a source yields: plausible values and printable text only. All sources pass through here.

Takes: what a source yields. Gives: the same, without values outside of their metric's plausible range and without a
    second value for the same series; labels and events become one line of printable characters.
Fails: never; a dropped value is a fault of its series, which is counted, and logged once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from collectors.host import Host
from common import catalog
from common.events import MAX_TEXT, Event
from common.plain_text import plain
from common.sample import Sample, is_deliverable

Item = TypeVar("Item")


def admitted(found: Iterable[Sample | Event], host: Host) -> Iterator[Sample | Event]:
    """Yield the samples and events that may be published.

    Args:
        found: what a source yields.
        host: records each dropped value as a fault.
    """
    given: set[tuple[str, ...]] = set()
    for item in found:
        if isinstance(item, Event):
            yield item._replace(text=plain(item.text, MAX_TEXT), subject=plain(item.subject))
            continue
        sample = item if all(map(str.isprintable, item.tags.values())) else item._replace(tags=_clean(item.tags))
        series = (item.name, *(text for pair in sorted(sample.tags.items()) for text in pair))
        if not is_deliverable(sample) or not catalog.find(item.name).allows(item.value):
            low, high = catalog.find(item.name).plausible
            host.fault(_name(sample), f"{str(item.value)[:40]} cannot be: plausible is {low:,g} to {high:,g}")
        elif series in given:
            host.fault(_name(sample), "was read twice; the first value counts")
        else:
            given.add(series)
            yield sample


def noted(found: Iterable[Item], host: Host, what: str, sentence: str) -> Iterator[Item]:
    """Yield what a source found; if it found nothing and had no fault, note the reason and the alternative.

    Args:
        found: what a source yields.
        host: takes the note.
        what: that is missing.
        sentence: on it.
    """
    is_empty = True
    for item in found:
        is_empty = False
        yield item
    if is_empty and not host.faults:
        host.note(what, sentence)


def _clean(tags: Mapping[str, str]) -> Mapping[str, str]:
    return {label: plain(value) for label, value in tags.items()}


def _name(sample: Sample) -> str:
    """Return how a series is named in a log line, e.g. ``power.volts{source=ina226}``."""
    labels = ", ".join(f"{label}={value}" for label, value in sample.tags.items())
    return f"{sample.name}{{{labels}}}" if labels else sample.name
