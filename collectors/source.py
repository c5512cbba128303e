"""One source: a module with `Config`, `State` and `collect`, with its state, its section and the machine it reads.

A module may have two more functions: `watch`, for changes that cannot wait for the next collect, and `hear`, which gets
the samples that the buffer commits. If its state has `descriptors`, the loop calls `watch` when one is readable, and
`rest_s` is in how many seconds it has to be called otherwise. If its state has `run_dir`, it may keep a file there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from collectors.admission import admitted
from collectors.host import Host
from common.events import Event
from common.sample import Batch, Sample


class SourceOutput(NamedTuple):
    """What one reading gave."""

    samples: list[Sample]
    events: list[Event]


class Source:
    """A source with its state and its host."""

    def __init__(self, name: str, module: ModuleType, host: Host, config: Any, *, run_dir: Path | None = None) -> None:
        self.name = name
        self.host = host
        self.config = config
        self._module = module
        self._state = module.State()
        if hasattr(self._state, "run_dir"):
            self._state.run_dir = run_dir

    @property
    def watches(self) -> bool:
        """Return whether it also reads between collects: every `watch_interval_s`, and when a descriptor is ready."""
        return hasattr(self._module, "watch")

    @property
    def hears(self) -> bool:
        """Return whether it takes what is committed."""
        return hasattr(self._module, "hear")

    @property
    def is_off_by_default(self) -> bool:
        """Return whether it collects only where the configuration says so."""
        return not type(self.config)().enabled

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return what it waits for, open at the moment."""
        opened = getattr(self._state, "descriptors", ())
        return tuple(one if isinstance(one, int) else one.fileno() for one in opened)

    @property
    def rest_s(self) -> float | None:
        """Return in how many seconds it is to be watched again; None at its usual turn."""
        return getattr(self._state, "rest_s", None)

    def collect(self) -> SourceOutput:
        """Read everything once."""
        self.host.begin()
        return _seen(admitted(self._module.collect(self.host, self.config, self._state), self.host))

    def watch(self) -> SourceOutput:
        """Read what cannot wait for the next collect."""
        self.host.begin()
        return _seen(admitted(self._module.watch(self.host, self.config, self._state), self.host))

    def hear(self, batch: Batch) -> None:
        """Take in what was committed."""
        self._module.hear(batch.samples, batch.timestamp_ms, batch.producer, self._state)


def _seen(found: Iterable[Sample | Event]) -> SourceOutput:
    seen = SourceOutput([], [])
    for item in found:
        if isinstance(item, Event):
            seen.events.append(item)
        else:
            seen.samples.append(item)
    return seen
