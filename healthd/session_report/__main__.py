"""`python -m healthd.session_report`: the report of a stream, or of the minutes around a moment.

Reads: the buffer's database, read-only, whether the pipeline runs or not.
Emits: one file, HTML (default), JSON or CSV; `-` is standard output. `--list` prints the streams there are.
Fails: exit 64 for a moment or session that is not there, 69 where the database cannot be read, 78 configuration.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from common import config, service
from healthd.recorded import events
from healthd.recorded.database import Database, Query, UnreadableError
from healthd.recorded.events import Span
from healthd.session_report.report import clock, report
from healthd.wording import lasting

EXIT_USAGE, EXIT_UNAVAILABLE = 64, 69  # of sysexits.h
LEAST_MINUTES, MOST_MINUTES = 0.1, 24 * 60.0
BUSY_MS = 2000  # a command may wait for a checkpoint; the page may not


class _NotFoundError(Exception):
    """There is no such stream or moment; says which there are."""


def main() -> int:
    """Write the report that the command line asks for; return the exit code."""
    options = _parser().parse_args()
    try:
        settings = config.load(options.config, os.environ).settings
    except config.ConfigError as error:
        print("\n".join(error.messages), file=sys.stderr)
        return service.EXIT_CONFIG
    database = Database(settings.storage.path, BUSY_MS)
    try:
        return _write(*database.read(lambda query: _answer(query, options, settings.device.links)))
    except _NotFoundError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return EXIT_UNAVAILABLE
    finally:
        database.close()


def _parser() -> argparse.ArgumentParser:
    parser = service.options_parser(
        "healthd.session_report", "Write the report of a stream, or of the minutes around a moment."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--last", action="store_true", help="the newest stream (default)")
    what.add_argument("--session", metavar="ID", help="a stream by its id, or the beginning of it")
    what.add_argument("--at", metavar="TIME", help="a moment: 14:32 (the last time it was that late), 2026-11-28 14:32")
    what.add_argument("--list", action="store_true", help="print the streams there are")
    parser.add_argument(
        "--minutes", type=_minutes, default=10, metavar="N", help="with --at: before and after it (default: 10)"
    )
    parser.add_argument("--format", choices=("html", "json", "csv"), default="html")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: report-<start>.<format> here; - prints it"
    )
    return parser


def _minutes(text: str) -> float:
    """Accept minutes from 0.1 to a day's."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"expected {LEAST_MINUTES:g} to {MOST_MINUTES:g}, got {text!r}")
    return minutes


def _answer(query: Query, options: argparse.Namespace, names: Mapping[str, str]) -> tuple[str, Path]:
    """Return the requested text, and the file to write it to."""
    if options.list:
        return "".join(f"{_listed(span)}\n" for span in events.sessions(query)), Path("-")
    span = _span(query, options)
    file = options.output or Path(f"report-{_file_time(span.start_ms)}.{options.format}")
    return report(query, span, options.format, names), file


def _listed(span: Span) -> str:
    length = lasting((span.end_ms - span.start_ms) / 1000)
    return f"{clock(span.start_ms)}  {length:>12}  {span.status:<9}  {span.session_id}"


def _span(query: Query, options: argparse.Namespace) -> Span:
    if options.at:
        at_ms, around_ms = _moment_ms(options.at, time.time()), int(options.minutes * 60_000)
        return Span(f"{clock(at_ms)}", at_ms - around_ms, at_ms + around_ms)
    sessions = events.sessions(query)
    if options.session:
        sessions = [span for span in sessions if span.session_id.startswith(options.session)]
    if not sessions:
        raise _NotFoundError("no such stream was recorded; --list prints those there are, --at takes any moment")
    return sessions[0]


def _moment_ms(text: str, now_s: float) -> int:
    """Parse a moment; a time without a date is the last one that has passed.

    Raises:
        _NotFoundError: it cannot be understood.
    """
    now = datetime.fromtimestamp(now_s)  # noqa: DTZ006 - of the clock on this device's wall
    for form in ("%H:%M", "%H:%M:%S"):
        try:
            clock = datetime.strptime(text, form).time()  # noqa: DTZ007 - as above
        except ValueError:
            continue
        moment = datetime.combine(now.date(), clock)
        return round(1000 * (moment if moment <= now else moment - timedelta(days=1)).timestamp())
    try:
        return round(1000 * datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise _NotFoundError(f"--at: expected 14:32, 14:32:10 or 2026-11-28 14:32, got {text!r}") from None


def _write(text: str, file: Path) -> int:
    if str(file) == "-":
        sys.stdout.write(text)
        return 0
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{file}: {error.strerror}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    print(file)
    return 0


def _file_time(at_ms: int) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(at_ms / 1000))


if __name__ == "__main__":
    sys.exit(main())
