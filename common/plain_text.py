"""Make text from outside safe for a terminal, a page and a log line.

A modem's model, a carrier's name or a kernel line may contain anything: escape sequences that set a terminal's
title, line feeds that forge a log line, marks that reverse the writing direction. Only this module removes them;
labels and events pass through it when they enter the system.
"""

from __future__ import annotations

import re

MAX_LENGTH = 200

# ECMA-48: CSI sequences, OSC, DCS, APC, PM and SOS strings up to their end, other escapes.
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[ -/]*[0-~])|\x9b[0-?]*[@-~]"
)
_SPACES = re.compile(r"\s+")


def plain(text: str, max_length: int = MAX_LENGTH) -> str:
    """Return a text as one line without control characters and bidirectional marks.

    Kept is what Unicode calls printable: no control, format (bidi marks are among them), private or lone surrogate.

    Args:
        text: anything.
        max_length: characters that are kept.
    """
    if text.isascii() and text.isprintable():
        return text[:max_length].strip()
    kept = "".join(c for c in _ESCAPE.sub("", text[: 16 * max_length]) if c.isprintable() or c.isspace())
    return _SPACES.sub(" ", kept)[:max_length].strip()
