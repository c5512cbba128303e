"""Open Chromium without a screen: phone or desktop, light or dark, its console kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.harness import require

PHONE, DESKTOP = (360, 740), (1280, 900)


@contextmanager
def chromium(folder: Path, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> Iterator[Chrome]:
    """Give a browser with a profile of its own; it ends with the block.

    Args:
        folder: for its profile.
        size: width and height of what the page sees, in CSS pixels.
        dark: what the page is told that its reader prefers.
    """
    options = ChromeOptions()
    options.binary_location = require("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    service = ChromeService(require("chromedriver"), log_output=str(folder / "chromedriver.log"))
    browser = Chrome(options=options, service=service)
    try:
        look(browser, size, dark=dark)
        yield browser
    finally:
        browser.quit()


def look(browser: Chrome, size: tuple[int, int], *, dark: bool = False) -> None:
    """Take another device to the same page: its size, and the theme that its reader prefers."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def complaints(browser: Chrome) -> list[str]:
    """Return what the console has said besides debugging; each line once."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]


def picture(browser: Chrome, path: Path, size: tuple[int, int], scale: float = 1.0) -> None:
    """Write the whole page as PNG."""
    import base64  # noqa: PLC0415 - for this alone

    height = browser.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": size[0], "height": height, "scale": scale}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.write_bytes(base64.b64decode(shot["data"]))
