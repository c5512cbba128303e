"""Format numbers for people; an unknown value is a dash."""

from __future__ import annotations

DASH = "\u2013"

_STEPS = ("", "k", "M", "G", "T")


def bits(value: float | None) -> str:
    """Return a rate, e.g. ``5.9 Mbit/s``."""
    return DASH if value is None else _scaled(value, 1000, "bit/s")


def size(value: float | None) -> str:
    """Return an amount of bytes, e.g. ``12.3 MB``."""
    return DASH if value is None else _scaled(value, 1000, "B")


def of(part: str, whole: str) -> str:
    """Return two values, the unit once if it is the same, e.g. ``5.2 of 6.0 Mbit/s``."""
    amount, _, unit = part.partition(" ")
    return f"{amount if whole.endswith(f' {unit}') else part} of {whole}"


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share, e.g. ``47 %``."""
    return DASH if value is None else f"{value:.{digits}f} %"


def number(value: float | None, unit: str = "", digits: int = 0) -> str:
    """Return a number with its unit, e.g. ``61 °C``."""
    return DASH if value is None else f"{value:,.{digits}f} {unit}".rstrip()


def lasting(seconds: float | None) -> str:
    """Return a length of time by its two largest units, e.g. ``2 h 5 min``."""
    if seconds is None:
        return DASH
    left, found = max(0, int(seconds)), list[tuple[int, str]]()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or found or unit == "s":
            found.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in found[:2] if count) or "0 s"


def ago(seconds: float | None) -> str:
    """Return how long ago something was, e.g. ``12 s ago``."""
    if seconds is None:
        return "never"
    return "now" if seconds < 2 else f"{lasting(seconds)} ago"


def _scaled(value: float, base: int, unit: str) -> str:
    step = 0
    while abs(value) >= base and step < len(_STEPS) - 1:
        value, step = value / base, step + 1
    digits = 1 if step and abs(value) < 100 else 0
    return f"{value:.{digits}f} {_STEPS[step]}{unit}"
