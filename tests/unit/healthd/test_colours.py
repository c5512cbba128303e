"""The page's colours can be told apart, in both themes: by who reads in the sun, and by who cannot see hues."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from healthd.page.files import FOLDER

LEAST = 3.0  # WCAG 2.1, 1.4.11: what is needed to understand a graphic
LEAST_TEXT = 4.5  # 1.4.3
LEVELS = ("ok", "degraded", "error")


def themes() -> dict[str, dict[str, str]]:
    """Return the colours of each theme by name; the dark one changes some of the light one's."""
    light, dark = re.findall(r":root \{(.*?)\}", (FOLDER / "page.css").read_text(encoding="utf-8"), re.DOTALL)[:2]
    named = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", text)) for text in (light, dark)]
    return {"light": named[0], "dark": {**named[0], **named[1]}}


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG 2.1 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_banners_differ(theme: str) -> None:
    """Each fill from the others, and each banner from the page: by its fill, or by the frame around it."""
    colours = themes()[theme]
    apart = {f"{a}/{b}": contrast(colours[f"{a}-fill"], colours[f"{b}-fill"]) for a, b in combinations(LEVELS, 2)}
    page = colours["ground"]
    seen = {level: max(contrast(colours[f"{level}-fill"], page), contrast(colours["ink"], page)) for level in LEVELS}
    print({name: round(value, 2) for name, value in {**apart, **seen}.items()})
    assert min(*apart.values(), *seen.values()) >= LEAST


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_written_can_be_read(theme: str) -> None:
    """On the banners, on cards and on the page."""
    colours = themes()[theme]
    pairs = [(f"{level}-on", f"{level}-fill") for level in (*LEVELS, "idle")]
    pairs += [(name, ground) for name in ("ink", "soft", *LEVELS) for ground in ("card", "ground")]
    poor = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {} == {pair: round(value, 2) for pair, value in poor.items() if value < LEAST_TEXT}
