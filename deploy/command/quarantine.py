"""The command `quarantine`: list samples that the server refused for good, or release them to be sent again.

`list` reads the database and needs no running process. `release` asks the buffer on `drain.ipc`, slice by slice;
released samples are pending again, and go back to quarantine if the server refuses them again.
"""

from __future__ import annotations

import argparse
import sqlite3
from contextlib import closing
from itertools import count

import zmq

from common import clock, wire
from deploy.command.backup import BUSY_S, database
from deploy.command.place import EXIT_NO_PERMISSION, EXIT_UNAVAILABLE, CommandError, PipelinePlace

REPLY_MS = 5_000
IN_QUARANTINE = "uploaded = 2 AND value_type = 0"  # texts are kept here too, and were never sent


def quarantine(place: PipelinePlace, options: argparse.Namespace) -> int:
    """List the samples in quarantine, or have them sent again."""
    return {"list": _list, "release": _release}[options.action](place, options.metric)


def _list(place: PipelinePlace, metric: str | None) -> int:
    """Print a line for each series."""
    source = database(place)
    query = (
        "SELECT metric_name, tags, count(*), min(timestamp_ms), max(timestamp_ms), min(metric_value), "
        f"max(metric_value) FROM metrics WHERE {IN_QUARANTINE} AND metric_name = coalesce(?, metric_name) "
        "GROUP BY metric_name, tags ORDER BY metric_name, tags"
    )
    try:
        origin = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
        with closing(origin):
            rows = origin.execute(query, (metric,)).fetchall()
    except sqlite3.Error as error:
        hint = f"; try {place.prefix}belabox-metrics quarantine list"
        raise CommandError(EXIT_NO_PERMISSION, f"cannot read {source}: {error}{hint}") from error
    for name, tags, samples, first_ms, last_ms, least, most in rows:
        span = f"{clock.rfc3339(first_ms)} to {clock.rfc3339(last_ms)}"
        print(f"{name} {tags}: {samples} samples, {span}, values {least:g} to {most:g}")
    print(f"{sum(row[2] for row in rows)} samples in quarantine")
    return 0


def _release(place: PipelinePlace, metric: str | None) -> int:
    """Ask the buffer to make the samples pending again."""
    released, after_id = 0, 0
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{place.run_dir / 'drain.ipc'}")
        for number in count(1):
            reply = _ask(socket, number, place, metric=metric, after_id=after_id)
            released, after_id = released + reply["released"], reply["after_id"]
            if after_id is None:
                break
    finally:
        socket.close()
    print(f"{released} samples are pending again")
    return 0


def _ask(socket: zmq.Socket[bytes], number: int, place: PipelinePlace, **fields: object) -> dict[str, int]:
    socket.send(wire.pack({"v": wire.VERSION, "id": number, "op": "unquarantine", **fields}))
    if not socket.poll(REPLY_MS):
        hint = f"does it run, and may this user ask it? try {place.prefix}belabox-metrics status"
        raise CommandError(EXIT_UNAVAILABLE, f"the buffer does not answer in {place.run_dir}: {hint}")
    reply = wire.unpack(socket.recv())
    if "error" in reply:
        raise CommandError(EXIT_UNAVAILABLE, f"the buffer refuses: {reply.get('detail')}")
    return reply
