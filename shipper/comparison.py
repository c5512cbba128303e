"""Compare how many samples of each series were uploaded with how many the server has. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shipper import jsonl
from shipper.questions import Labels


class Uploaded(NamedTuple):
    """A series in a span.

    Attributes:
        number: the buffer's name for it.
        labels: at the server.
        required: how many samples the server has to have.
        samples: how many were uploaded.
    """

    number: int
    labels: Labels
    required: int
    samples: int


def labels_of(name: str, device_id: str, tags: Mapping[str, str]) -> Labels:
    """Return the labels of a series at the server."""
    return frozenset(jsonl.labels(name, device_id, tags).items())


def uploaded_of(span: dict[str, Any]) -> list[Uploaded]:
    """Return the series of a span, as the buffer gave it."""
    return [
        Uploaded(number, labels_of(name, device_id, tags), required, samples)
        for number, name, device_id, tags, required, samples in span["series"]
    ]


def devices_of(span: dict[str, Any]) -> set[str]:
    """Return the devices whose series are in a span."""
    return {series[2] for series in span["series"]}


def short(uploaded: Iterable[Uploaded], there: Counter[Labels]) -> set[int]:
    """Return the numbers of series that have fewer samples at the server than they have to."""
    uploaded = list(uploaded)
    together = _together(uploaded)
    return {series.number for series in uploaded if there[series.labels] < together[series.labels]}


def shortage(uploaded: Iterable[Uploaded], there: Counter[Labels]) -> int:
    """Return how many samples the server has too few."""
    return (_together(uploaded) - there).total()


def _together(uploaded: Iterable[Uploaded]) -> Counter[Labels]:
    """Count what is required by labels: two series here may be one at the server."""
    together: Counter[Labels] = Counter()
    for series in uploaded:
        together[series.labels] += series.required
    return together
