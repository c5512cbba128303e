"""The faults a test asks for: a queue of steps, one per import request.

In: a JSON list of steps (`Step.from_json` names every key).
Out: the step for the next import request, or None once the script has run out.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, fields
from typing import Any, Literal

FOREVER = -1
_OK_BELOW = 300

_TYPES: dict[str, tuple[type, ...]] = {
    "status": (int,),
    "headers": (dict,),
    "json": (object,),
    "accept": (int,),
    "delay_s": (int, float),
    "reset": (str,),
    "drop": (str,),
    "swallow": (bool,),
    "html": (bool,),
    "redirect": (str,),
    "hang_s": (int, float),
    "repeat": (int,),
}
_CHOICES = {"reset": ("before", "mid_body"), "drop": ("after_store",)}


@dataclass(frozen=True)
class Step:
    """What to do with one import request; keys combine where that makes sense.

    status:   answer this; 300 and above stores nothing.
    headers:  added to the answer.
    json:     the body of the answer.
    accept:   store the first so many samples in body order, whatever the status.
    delay_s:  wait after reading the body, before storing and answering.
    reset:    "before": RST before the body is read. "mid_body": read half of the
              body, store the lines in it as the server does, then RST.
    drop:     "after_store": store, then close without an answer.
    swallow:  store nothing, and answer as if all were well.
    html:     200 with a page of HTML, nothing stored: a captive portal.
    redirect: 302 (or `status`) to this URL, nothing stored.
    hang_s:   read the body, stay silent so long, close; nothing stored.
    repeat:   apply to so many requests; -1 is for ever.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    accept: int | None = None
    delay_s: float = 0.0
    reset: Literal["before", "mid_body"] | None = None
    drop: Literal["after_store"] | None = None
    swallow: bool = False
    html: bool = False
    redirect: str | None = None
    hang_s: float | None = None
    repeat: int = 1

    @classmethod
    def from_json(cls, raw: object) -> Step:
        """Build a step from decoded JSON.

        Raises:
            ValueError: A key is unknown or a value is not of its kind.
        """
        if not isinstance(raw, dict):
            raise ValueError(f"a step is an object, not {raw!r}")
        for key, value in raw.items():
            _check(key, value)
        return cls(**raw)

    @property
    def decides_answer(self) -> bool:
        """Whether the answer is the script's and not the server's own."""
        return self.status is not None or self.html or self.redirect is not None

    @property
    def limit(self) -> int | None:
        """How many samples of the body to store; None for all of them."""
        if self.accept is not None:
            return self.accept
        refused = self.status is not None and self.status >= _OK_BELOW
        off_path = self.html or self.redirect is not None or self.hang_s is not None
        return 0 if self.swallow or refused or off_path else None


def _check(key: object, value: object) -> None:
    if key not in _TYPES:
        known = ", ".join(f.name for f in fields(Step))
        raise ValueError(f"unknown key {key!r} in a step; known: {known}")
    kinds = _TYPES[str(key)]
    is_stray_bool = isinstance(value, bool) and bool not in kinds and key != "json"
    if not isinstance(value, kinds) or is_stray_bool:
        raise ValueError(f"{key}: {value!r} is not of type {kinds[0].__name__}")
    if value not in _CHOICES.get(str(key), (value,)):
        raise ValueError(f"{key}: {value!r} is none of {_CHOICES[str(key)]}")
    if key == "repeat" and (value == 0 or (isinstance(value, int) and value < FOREVER)):
        raise ValueError(f"repeat: {value!r} is neither positive nor {FOREVER}")


class Script:
    """A thread-safe queue of steps."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._queue: deque[tuple[Step, int]] = deque()

    def load(self, steps: list[Step]) -> None:
        """Replace whatever is queued."""
        with self._lock:
            self._queue = deque((step, step.repeat) for step in steps)

    def next_step(self) -> Step | None:
        """Take the step for the request that has just arrived."""
        with self._lock:
            if not self._queue:
                return None
            step, left = self._queue.popleft()
            if left == FOREVER:
                self._queue.appendleft((step, left))
            elif left > 1:
                self._queue.appendleft((step, left - 1))
            return step

    @property
    def steps_left(self) -> int:
        """Steps not yet begun or finished."""
        with self._lock:
            return len(self._queue)
