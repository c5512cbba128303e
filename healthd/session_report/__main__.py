"""`python -m healthd.session_report`: the report of a stream, or of the minutes around a moment.

Reads: the buffer's database, read-only, whether the pipeline runs or not.
Emits: one file, HTML (default), JSON or CSV; `-` is standard output. `--list` prints the streams there are.
Fails: exit 64 for a moment or session that is not there, 69 where the database cannot be read, 78 configuration.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from common import config, service
from healthd.page.wording import lasting
from healthd.session_report import summary
from healthd.session_report.document import document
from healthd.session_report.reader import Line, Reader, Span, UnreadableError, opened

EXIT_USAGE, EXIT_UNAVAILABLE = 64, 69  # of sysexits.h
MOST_POINTS = 600  # of a line: as many as a screen is wide
LEAST_STEP_MS = 1000
BYTES_METRIC, BYTES_LABEL = "network.tx_bytes_total", "interface"


class _NotFoundError(Exception):
    """There is no such stream or moment; says which there are."""


def main() -> int:
    """Write the report that the command line asks for; return the exit code."""
    options = _parser().parse_args()
    try:
        database = config.load(options.config, os.environ).settings.storage.path
    except config.ConfigError as error:
        print("\n".join(error.messages), file=sys.stderr)
        return service.EXIT_CONFIG
    try:
        with opened(database) as reader:
            if options.list:
                return _list(reader)
            span = _span(reader, options)
            text = _report(reader, span, options.format)
    except _NotFoundError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return EXIT_UNAVAILABLE
    return _write(text, options.output or Path(f"report-{_file_time(span.start_ms)}.{options.format}"))


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
        "--minutes", type=float, default=10, metavar="N", help="with --at: before and after it (default: 10)"
    )
    parser.add_argument("--format", choices=("html", "json", "csv"), default="html")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: report-<start>.<format> here; - prints it"
    )
    return parser


def _list(reader: Reader) -> int:
    for span in reader.sessions():
        length = lasting((span.end_ms - span.start_ms) / 1000)
        print(f"{_clock(span.start_ms)}  {length:>12}  {span.status:<9}  {span.session_id}")
    return 0


def _span(reader: Reader, options: argparse.Namespace) -> Span:
    if options.at:
        at_ms, around_ms = _moment_ms(options.at, time.time()), int(options.minutes * 60_000)
        return Span(f"{_clock(at_ms)}", at_ms - around_ms, at_ms + around_ms)
    sessions = reader.sessions()
    if options.session:
        sessions = [span for span in sessions if span.session_id.startswith(options.session)]
    if not sessions:
        raise _NotFoundError("no such stream was recorded; --list prints those there are, --at takes any moment")
    return sessions[0]


def _moment_ms(text: str, now_s: float) -> int:
    """Return the moment that a person means; a time alone is the last one that has passed.

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


def _report(reader: Reader, span: Span, form: str) -> str:
    step_ms = max(LEAST_STEP_MS, (span.end_ms - span.start_ms) // MOST_POINTS)
    lines, events = reader.lines(summary.METRICS, span, step_ms), reader.events(span)
    if form == "csv":
        return _csv(lines)
    rows, moments = summary.rows(lines), summary.moments(events, lines)
    increases = reader.increases(BYTES_METRIC, span)
    data = {dict(labels).get(BYTES_LABEL, ""): sent for labels, sent in increases.items() if sent}
    if form == "html":
        return document(reader.device_id(), span, (rows, moments, data), lines, events, _clock)
    content = {
        "numbers": [row._asdict() for row in rows],
        "worst_moments": [moment._asdict() for moment in moments],
        "bytes_sent_by_interface": data,
        "events": [event._asdict() for event in events],
    }
    return json.dumps(summary.as_json(reader.device_id(), span, content), ensure_ascii=False, indent=2) + "\n"


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("metric", "labels", "timestamp_ms", "least", "mean", "most"))
    for line in lines:
        labels = json.dumps(dict(line.labels), sort_keys=True)
        writer.writerows((line.metric, labels, *point) for point in line.points)
    return text.getvalue()


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


def _clock(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def _file_time(at_ms: int) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(at_ms / 1000))


if __name__ == "__main__":
    sys.exit(main())
