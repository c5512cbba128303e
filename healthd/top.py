"""`python -m healthd.top`: the page's verdict and numbers in a terminal; `make top` in a development tree.

Reads: RUN_DIR/healthd.address, `/api/now` there, the token if one is configured.
Emits: a screen that is redrawn every second, and scrolls where it does not fit, until q or Ctrl-C; once, as plain text,
where the output is no terminal.
Fails: exit 69 and a line that says why, if healthd does not answer; a screen says so and tries on.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from common import config, service
from common.settings import Settings
from healthd.http import access
from healthd.keyboard import Keyboard, moved
from healthd.page.terminal import Terminal, window
from healthd.wording import lasting

EVERY_S = 1.0
TIMEOUT_S = 3.0
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h

_HOME, _BELOW, _NEW_SCREEN, _OLD_SCREEN = "\x1b[H", "\x1b[J", "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


class HealthUnreachableError(Exception):
    """healthd does not answer; says why."""


def main() -> int:
    """Show what healthd knows; return the exit code."""
    options = _parser().parse_args()
    try:
        settings = config.load(options.config, os.environ).settings
    except config.ConfigError as error:
        print("\n".join(error.messages), file=sys.stderr)
        return service.EXIT_CONFIG
    if sys.stdout.isatty() and not options.once:
        return _watch(settings)
    try:
        print("\n".join(Terminal().lines(_ask(settings))))
    except HealthUnreachableError as error:
        print(error, file=sys.stderr)
        return EXIT_UNAVAILABLE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = service.options_parser("healthd.top", "Show verdict, stream, links, device and delivery in a terminal.")
    parser.add_argument("--once", action="store_true", help="print once and end, also on a terminal")
    return parser


def _watch(settings: Settings) -> int:
    """Draw until q or Ctrl-C, on the terminal's second screen."""
    screen = _Screen(settings)
    sys.stdout.write(_NEW_SCREEN)
    try:
        with Keyboard() as keyboard:
            while not screen.is_over:
                screen.draw()
                screen.take(keyboard.wait(EVERY_S))
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(_OLD_SCREEN)
        sys.stdout.flush()
    return 0


class _Screen:
    """What is on the terminal, and how far down it has been scrolled."""

    def __init__(self, settings: Settings) -> None:
        self.is_over = False
        self._settings = settings
        self._first = 0
        self._seen: tuple[float, dict[str, Any]] | None = None
        self._lines: list[str] = []

    def draw(self) -> None:
        """Draw what there is to see now, in the size that the terminal has now."""
        size = shutil.get_terminal_size()
        self._lines = self._made(size.columns)
        self._height = size.lines - 1
        self._first = moved(self._first, "", self._height - 1, len(self._lines))
        shown = "".join(f"{line}\x1b[K\r\n" for line in window(self._lines, self._height, self._first))
        sys.stdout.write(f"{_HOME}{shown}{_BELOW}")
        sys.stdout.flush()

    def take(self, keys: list[str]) -> None:
        """Scroll, or end."""
        self.is_over = "quit" in keys
        for key in keys:
            self._first = moved(self._first, key, self._height - 1, len(self._lines))

    def _made(self, width: int) -> list[str]:
        """Return all lines: of the picture of now, or of the last one with its age."""
        terminal = Terminal(width, colour="NO_COLOR" not in os.environ, dense=True)
        try:
            if self._seen is None or time.monotonic() - self._seen[0] >= EVERY_S:
                self._seen = time.monotonic(), _ask(self._settings)
        except HealthUnreachableError as error:
            return [str(error), *(_old(self._seen[0], terminal.lines(self._seen[1])) if self._seen else ())]
        return terminal.lines(self._seen[1])


def _old(seen_s: float, lines: list[str]) -> list[str]:
    return ["", f"What follows is {lasting(time.monotonic() - seen_s)} old.", "", *lines]


def _ask(settings: Settings) -> dict[str, Any]:
    """Return the picture of now.

    Raises:
        HealthUnreachableError: there is none.
    """
    status, body = ask(settings, "/api/now")
    if status != HTTPStatus.OK:
        raise HealthUnreachableError(f"healthd answers {status} {HTTPStatus(status).phrase}")
    picture: dict[str, Any] = json.loads(body)
    return picture


def ask(settings: Settings, path: str) -> tuple[int, bytes]:
    """Return status and body of what healthd answers under a path, with the token where it wants one.

    Raises:
        HealthUnreachableError: it does not answer.
    """
    address = _address(settings.run.dir)
    headers = {}
    try:
        token = access.token(settings.health)
    except config.ConfigError as error:
        raise HealthUnreachableError("; ".join(error.messages)) from None
    if token is not None:
        headers["Authorization"] = f"Bearer {token.text}"
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise HealthUnreachableError(f"healthd does not answer at {address}: {error or type(error).__name__}") from None
    finally:
        connection.close()


def _address(run_dir: Path) -> str:
    """Return where healthd listens; one that listens on every address is asked here."""
    file = run_dir / "healthd.address"
    try:
        address = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise HealthUnreachableError(f"healthd does not listen: {file}: {error.strerror}") from None
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host == "0.0.0.0" else f"[::1]:{port}" if host == "[::]" else address  # noqa: S104


if __name__ == "__main__":
    sys.exit(main())
