"""The keys that move through a screen higher than the terminal: arrows, page keys, Home and End; `q` ends.

Reads: the terminal, each key as it is pressed, Ctrl-C excepted. Source: the sequences of xterm, which all others send.
Fails: where the input is no terminal there are no keys, and a wait is a sleep.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType

KEYS = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down", b"\r": "down",
    b"\x1b[5~": "page up", b"b": "page up", b"\x1b[6~": "page down", b" ": "page down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home", b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
    b"q": "quit",
}  # fmt: skip
LONGEST = 64  # bytes read at once: a key that is held sends many


class Keyboard:
    """The terminal's input without echo, as a context."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._before: list[object] = []

    def __enter__(self) -> Keyboard:
        if self._input is not None:
            self._before = termios.tcgetattr(self._input)
            tty.setcbreak(self._input)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._input is not None:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)  # type: ignore[arg-type] # as it gave it

    def wait(self, seconds: float) -> list[str]:
        """Return the names of the keys that are pressed, none when the time is over."""
        if self._input is None:
            time.sleep(seconds)
            return []
        if not select.select([self._input], [], [], seconds)[0]:
            return []
        pressed = os.read(self._input, LONGEST)
        return named(pressed) if pressed else ["quit"]  # the terminal is gone


def named(pressed: bytes) -> list[str]:
    """Return the names of the keys in what a terminal sent; others are passed over."""
    found = []
    while pressed:
        known = next((code for code in KEYS if pressed.startswith(code)), pressed[:1])
        found += [KEYS[known]] if known in KEYS else []
        pressed = pressed[len(known) :]
    return found


def moved(first: int, key: str, shown: int, total: int) -> int:
    """Return the first line to show after a key.

    Args:
        first: the first line shown before.
        key: a name of `KEYS`.
        shown: how many lines fit.
        total: how many there are.
    """
    steps = {"up": -1, "down": 1, "page up": -shown, "page down": shown, "home": -total, "end": total}
    return max(0, min(first + steps.get(key, 0), total - shown))
