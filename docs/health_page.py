"""docs/health.md: what /health says and when; its fields, reasons and advice from the code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from common import status, stream_states
from common.status import BufferStatus, ShipperStatus, SourceStatus
from healthd.verdict import advice
from healthd.verdict.advice import Advice

_SHIPPER, _BUFFER = status.fields_of(ShipperStatus), status.fields_of(BufferStatus)
_SOURCE = status.fields_of(SourceStatus)

# Every field of the body by its path; NAME stands for each name. What a process reports has its own words.
FIELDS: Mapping[str, str] = {
    "status": "ok, degraded or error: the recorder's status, the worst of `reasons`",
    "version": "of this software",
    "uptime_seconds": "since healthd was started",
    "timestamp": "the time of this answer",
    "mode": _SHIPPER["mode"],
    "budget": _SHIPPER["budget"],
    "reasons": "why the status is not ok, the gravest first: `part`, `severity`, `text`, `since`, `meaning`, `advice`",
    "stream.state": f"{', '.join(stream_states.NAMES)}, or unknown",
    "stream.status": "ok, degraded, error, or idle while there is nothing to judge",
    "stream.text": "the verdict's sentence",
    "stream.since": "since when the stream has this status",
    "stream.reasons": "as `reasons`, for the stream",
    "collectors.NAME.status": "ok, error, starting or disabled, of each source",
    "collectors.NAME.process": "the collector process that the source belongs to",
    "collectors.NAME.last_collection": _SOURCE["last_collection_ms"],
    "collectors.NAME.metrics_collected": "samples since its process was started",
    "collectors.NAME.last_error": _SOURCE["error"],
    "uploader.status": "the worst of the reasons of uploader and shipper; disabled, starting",
    "uploader.last_upload": _SHIPPER["last_upload_ms"],
    "uploader.metrics_uploaded": _SHIPPER["metrics_uploaded"],
    "uploader.upload_failures": _SHIPPER["upload_failures"],
    "uploader.pending_metrics": "samples that are not uploaded",
    "uploader.due_metrics": "those that have waited longer than their lane allows",
    "uploader.retry_queue_size": _SHIPPER["retry_queue_size"],
    "uploader.backoff_until": _SHIPPER["backoff_until_ms"],
    "uploader.duplicate_id": _SHIPPER["duplicate_id"],
    "uploader.audit": _SHIPPER["audit"],
    "uploader.verified_until": _SHIPPER["verified_until_ms"],
    "uploader.unverified_samples": _SHIPPER["unverified_samples"],
    "uploader.lost_at_server": _BUFFER["lost_at_server"],
    "uploader.withheld": _BUFFER["withheld"],
    "uploader.endpoint": _SHIPPER["endpoint"],
    "uploader.lanes": _SHIPPER["lanes"],
    "uploader.last_error": "the last failure, null once the same works again",
    "storage.database_size_bytes": _BUFFER["database_size_bytes"],
    "storage.wal_size_bytes": _BUFFER["wal_size_bytes"],
    "storage.free_bytes": _BUFFER["free_bytes"],
    "storage.metrics_pending_upload": "samples that are not uploaded, as the buffer counts them",
    "storage.oldest_metric_timestamp": _BUFFER["oldest_pending_ms"],
    "storage.paused": _BUFFER["paused"],
    "storage.held_by": _BUFFER["held_by"],
    "storage.unspooled": _BUFFER["unspooled"],
    "storage.salvage": _BUFFER["salvage"],
    "storage.last_error": "the last failure, null once the same works again",
    "time.local": "this clock",
    "time.skew_ms": _SHIPPER["skew_ms"],
    "time.ntp_synced": "what the kernel says of it, null where it does not",
    "configuration.errors": "what is wrong with it; defaults stand in its place, and only this device is answered",
    "configuration.warnings": "what it allows and should not, e.g. a token that goes to another host without TLS",
    "processes.NAME.state": "running, starting, stopping, stopped, off, silent, missing, backoff, exited, fatal, unknown",
    "processes.NAME.pid": "its process",
    "processes.NAME.uptime_seconds": "since it was started",
    "processes.NAME.restarts": "starts that healthd has seen beyond the first",
    "processes.NAME.last_heartbeat_age_seconds": "since it reported last",
    "processes.NAME.last_error": "why it does not run, or its last failure",
}


class Case(NamedTuple):
    """What an operator meets, and what /health says of it; `rule` is "" where nothing is wrong."""

    case: str
    status: str
    rule: str
    text: str


CASES = (
    Case("the clock is 10 s ahead", "degraded", "skew", "10.0 s ahead of the server's"),
    Case("the clock is 10 s behind", "degraded", "skew", "10.0 s behind the server's"),
    Case("wrong token", "error", "refused", "HTTP 401"),
    Case("token without the right to write", "error", "refused", "HTTP 403"),
    Case("wrong path", "error", "refused", "HTTP 404"),
    Case("captive portal", "error", "refused", "a web page answered, not the server"),
    Case("dead zone of ten minutes", "degraded", "late", "nothing uploaded for 60 s: timed out"),
    Case("the server came late", "ok", "", "the skew is unknown until it was measured"),
    Case("a collector is off", "ok", "", ""),
    Case("a collector was stopped", "degraded", "gone", "stopped by an operator"),
    Case("the buffer is gone", "error", "gone", "sends no heartbeats"),
    Case("the disk is full", "degraded", "paused", "the buffer takes no samples: database or disk is full"),
)


def text() -> str:
    """Return the page."""
    return "\n".join(
        [
            _HEAD,
            *_table(advice.RECORDER, "/health"),
            "",
            "| case | status | reason | it says |",
            "|---|---|---|---|",
            *(f"| {one.case} | {one.status} | {f'`{one.rule}`' if one.rule else ''} | {one.text} |" for one in CASES),
            _STREAM,
            *_table(advice.STREAM, "stream"),
            "",
            "Where one link is far above all others, the advice names it:",
            "",
            *(f"- `{rule}`: {_example(todo)} (`{metric}`)" for rule, (metric, todo) in advice.OF_ONE_LINK.items()),
            _FIELDS,
            "| field | meaning |",
            "|---|---|",
            *(f"| `{path}` | {meaning} |" for path, meaning in FIELDS.items()),
            _REST,
        ]
    )


def _example(todo: str) -> str:
    return re.sub(r"\{value[^}]*\}", "N", todo.replace("{name}", "Vodafone"))


def _table(rules: Mapping[str, Advice], title: str) -> Iterator[str]:
    yield f"| reason ({title}) | when | what it means | what to do |"
    yield "|---|---|---|---|"
    for rule, row in rules.items():
        yield f"| `{rule}` | {row.when} | {row.meaning} | {row.todo} |"


_HEAD = """# Health

`healthd` listens on 127.0.0.1:9100 (`health.bind`, `health.port`) and answers even when all other processes hang.
Generated by `make docs` from `common/status.py` and `healthd/verdict/advice.py`.

| endpoint | answers |
|---|---|
| `/health` | 200 for ok and degraded, 503 for error; JSON with `status`, `reasons`, `stream` and every part |
| `/health/live` | 200 while healthd runs |
| `/health/ready` | 503 until the first successful upload, then 200 only while the status is ok |
| `/metrics` | metrics of the processes themselves, for a Prometheus scraper |
| `/metrics/samples` | with `health.samples: true`: the newest value of every series under its name at the server, absent when older than three of its intervals; the database is read when somebody asks |

There are two verdicts, on the page, in the terminal, here and at the server (`verdict.level`): the **recorder** (what
is collected, stored and delivered: `status`) and the **stream** (`stream.status`). A dead zone is not a broken stream,
and a stopped buffer is not a lost stream. A verdict is the worst of the values shown below it; each reason says since
when it exists, what it means, and what to do.

## The recorder

| status | when |
|---|---|
| degraded | a source fails or is stopped; or no upload for 2 x `remote.upload_interval` although samples were due; or more than 5,000 samples overdue; or the clock differs from the server's |
| error | every source fails; or no upload for 20 x the interval **and** more than 10,000 overdue; or more than 20,000 overdue; or the buffer or shipper does not run; or the server rejects this device, or something else answers in its place |

An outage of ten minutes (a tunnel) is degraded, not an error. A sample is overdue once it has waited longer than its
lane's interval: with an interval of 60 s, a sample that has waited for 50 s is not. Thresholds: `health.degraded_threshold`,
`health.error_threshold` in [configuration](configuration.md).
"""

_STREAM = """
## The stream

The states of the stream and the thresholds of its values are in [derived](derived.md). While it starts, nothing is
judged. After the end of a stream, the way it ended is shown until the next one starts.
"""

_FIELDS = """
## Every field

Unknown is null, never 0; times are RFC 3339.
"""

_REST = """
## Automatic restarts: hangs, crashes

supervisord restarts a process that exits. healthd's watchdog (`health.watchdog`) handles the other cases, through
supervisord; each of its actions is an event:

- A process that hangs (it runs, but sends no heartbeat for three of its intervals and uses no CPU time) is killed with
  SIGKILL and restarted. If it uses CPU time or waits for the disk, it has 15 minutes; after a start it has 60 s.
- A process that supervisord has given up (`FATAL`) is started again after 30 s, then after waits that double up to
  10 minutes.

Under systemd (`Type=notify`) the service is ready, and its watchdog is fed, only while batches reach the database, or
after an operator has stopped the buffer. `supervisorctl stop healthd` disables that watchdog until healthd is started
again; killing healthd does not.

## Access

On loopback everybody on the device may read. Any other `health.bind` needs `health.token_file`, a file of mode 0600:
every path except the login form, its files and `/health/live` then answers 401 without `Authorization: Bearer` or the
cookie that the form sets for 30 days. [Reaching the page](page.md) has the command for a phone, and HTTPS. A new token
invalidates all cookies. Five wrong guesses a minute are allowed for each address.

In a terminal `belabox-metrics top` (in a tree `make top`) shows what the page shows,
redrawn every second; arrow and page keys scroll, `q` ends it. In a pipe it prints it once.

The page itself asks nothing of the internet. `/api/now` and `/api/live` hold what it shows now, `/api/plots` and
`/api/events` what is in the database.
"""
