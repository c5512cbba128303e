"""Collect configuration errors, each with its key path and the place where the key was written.

A key can be written elsewhere than where it takes effect: in a documented list, under a documented name,
in an environment variable. The message then names both.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from common.log import SECRETS

SECRET_WORDS = ("token", "password", "secret", "auth")  # a value under such a key is not repeated in a message
MAX_SHOWN = 200  # characters of a value


class Problems:
    """Messages in the order in which they were found.

    Attributes:
        messages: each ``<key path> (<place>): <what is wrong>``.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._places: dict[str, str] = {}

    def written_at(self, path: str, place: str, value: object = None) -> None:
        """Remember where a key, and what is below it, was really written."""
        self._places[path] = place
        if isinstance(value, dict):
            for name, inner in value.items():
                self.written_at(join(path, name), join(place, name), inner)

    def add(self, path: str, text: str) -> None:
        """Note that something is wrong with a key; an empty path is the whole file."""
        place = self._places.get(path)
        where = f"{path} ({place}): " if place else f"{path}: " if path else ""
        self.messages.append(where + text)


def join(path: str, name: str) -> str:
    """Return the key path of a name inside a section."""
    return f"{path}.{name}" if path else name


def shown(path: str, value: Any) -> str:
    """Return a value as a message may repeat it."""
    if any(word in path for word in SECRET_WORDS):
        return "***"
    text = SECRETS.redact(_as_written(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _as_written(value: Any) -> str:
    """Return a value as YAML spells it, not Python."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, date) else repr(value)
