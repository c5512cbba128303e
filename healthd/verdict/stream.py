"""The verdict on the stream: the worst of its state, its tiles, its links and its signals. Pure.

Reads: the latest values. Emits: one level with a sentence, its reasons, and what the page shows of the stream and of
the device beneath it; nothing of that is redder than the verdict, for each of them is a reason. How the last stream
ended is said until the next one starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from common import stream_states, thresholds
from common.stream_states import CRASHED, CUT_OFF, ENDED, ENDING, LIVE, STARTING, STOPPED
from common.thresholds import DEGRADED, ERROR, OK, Alerts
from healthd.verdict import advice, links
from healthd.verdict.latest import Latest, Value
from healthd.verdict.tile import IDLE, Tile
from healthd.verdict.tiles import Tiles
from healthd.wording import lasting

STARTING_S = 15.0  # until the receiver should have answered
_SIGNS_OF_LIFE = ("srt.uptime_seconds", "encoder.bitrate_bits_per_second")
_ENDS = {STOPPED: "it was stopped", CRASHED: "the encoder died", CUT_OFF: "the connection was lost"}


class StreamReason(NamedTuple):
    """One reason why the stream is not ok.

    Attributes:
        rule: a key of `advice.STREAM`.
        level: degraded or error.
        part: which one of several, e.g. a link, or the rule.
        title: one short sentence.
        since_ms: Unix milliseconds.
    """

    rule: str
    level: str
    part: str
    title: str
    since_ms: int


class StreamVerdict(NamedTuple):
    """The verdict on the stream, with the numbers beneath it.

    Attributes:
        state: one of `stream_states.NAMES`, or unknown.
        level: ok, degraded, error or idle.
        title, text: one short sentence, and one with more in it.
        since_ms: since when the first reason holds, or the state; Unix milliseconds, None where that is not known.
        reasons: why it is not ok, the gravest first.
        tiles, device: numbers of the stream and of the device.
        links: rows of the bonded links.
    """

    state: str
    level: str
    title: str
    text: str
    since_ms: int | None
    reasons: tuple[StreamReason, ...] = ()
    tiles: tuple[Tile, ...] = ()
    device: tuple[Tile, ...] = ()
    links: tuple[Mapping[str, Any], ...] = ()


NOTHING = StreamVerdict("unknown", IDLE, "Looking", "Nothing has been heard yet.", None)

_Found = tuple[str, str, str, str, int | None]  # rule, level, part, title, since


def assess(
    latest: Latest, alerts: Alerts, now_s: float, wall_ms: int, before: StreamVerdict = NOTHING
) -> StreamVerdict:
    """Judge the stream; a reason that held `before` keeps its date.

    Args:
        latest: the values.
        alerts: the configured thresholds.
        now_s: monotonic time.
        wall_ms: the wall clock.
        before: what was found the last time.
    """
    rows = latest.rows("stream.state", now_s)
    row = rows[0] if rows else None
    runs = _runs(row, latest, now_s)
    live = runs and (row is None or row.value == LIVE)
    tiles = Tiles(latest, alerts, now_s, live=live)
    shown, device = tuple(tiles.stream()) if runs else (), tuple(tiles.device())
    found = [
        *_of_state(row, latest, wall_ms),
        *(_of_signals(latest, now_s) if live else ()),
        *(_of_links(latest, now_s) if live else ()),
        *_of_tiles((*shown, *device)),
    ]
    reasons = _dated(found, wall_ms, before)
    rows_of_links = tuple(links.links(latest, now_s, judged=live)) if runs else ()
    level, title, text, since_ms = _sentence(row, runs, reasons, latest, now_s)
    state = stream_states.NAMES[int(row.value)] if row is not None else "live" if runs else "idle"
    return StreamVerdict(state, level, title, text, since_ms, reasons, shown, device, rows_of_links)


def _runs(row: Value | None, latest: Latest, now_s: float) -> bool:
    """Return whether a stream runs: by its state, or, if none is reported, by values that only a stream has."""
    if row is not None:
        return row.value in {STARTING, LIVE, ENDING}
    return any(latest.rows(name, now_s) for name in _SIGNS_OF_LIFE)


def _of_state(row: Value | None, latest: Latest, wall_ms: int) -> Iterator[_Found]:
    if row is None:
        return
    if row.value == STARTING and wall_ms - row.since_ms > 1000 * STARTING_S:
        yield "not_answered", ERROR, "srt", "The receiver has not answered", row.since_ms
    elif row.value == ENDING:
        yield "ending", ERROR, "encoder", "The encoder is gone", row.since_ms
    elif row.value == ENDED and (how := _session(latest).get("how", "")) in {CRASHED, CUT_OFF}:
        lasted_s = _session(latest)["lasted_s"]
        after = f" after {lasting(lasted_s)}" if lasted_s is not None else ""
        yield how, ERROR, "stream", f"The stream has broken off{after}", row.since_ms


def _of_signals(latest: Latest, now_s: float) -> Iterator[_Found]:
    for row in latest.rows("srt.connected", now_s):
        if not row.value:
            yield "not_connected", ERROR, "srt", "The receiver does not answer", row.since_ms
    inputs = latest.rows("hdmi.connected", now_s)
    if inputs and not any(row.value for row in inputs):
        since_ms = max(row.since_ms for row in inputs)
        yield "no_picture", ERROR, "hdmi", "No picture at the HDMI input", since_ms
    for row in latest.rows("hdmi.locked", now_s) if len(inputs) == 1 and inputs[0].value else ():
        if not row.value:
            yield "not_locked", ERROR, "hdmi", "The HDMI signal is not understood", row.since_ms
    for row in latest.rows("encoder.frame_rate", now_s):
        if not row.value:
            yield "no_frames", ERROR, "encoder", "The encoder gives no frames", row.since_ms
    sounds = latest.rows("audio.sample_rate_hertz", now_s)
    if sounds and not any(row.value for row in sounds):
        yield "no_sound", DEGRADED, "audio", "No sound", max(row.since_ms for row in sounds)


def _of_links(latest: Latest, now_s: float) -> Iterator[_Found]:
    rows, gone = latest.rows("srtla.link_up", now_s), list(links.down(latest, now_s))
    if rows and len(gone) == len(rows):
        yield "no_link", ERROR, "srtla", "No link is up", max(row.since_ms for _, row in gone)
        return
    for name, row in gone:
        yield "link_down", DEGRADED, name, f"Link {name} is down", row.since_ms


def _of_tiles(tiles: tuple[Tile, ...]) -> Iterator[_Found]:
    """Yield each tile that is amber or red: nothing beneath the verdict is redder than it."""
    for tile in tiles:
        if tile.level in {DEGRADED, ERROR}:
            yield tile.id, tile.level, tile.id, f"{tile.label} {tile.text}", None


def _dated(found: list[_Found], wall_ms: int, before: StreamVerdict) -> tuple[StreamReason, ...]:
    dates = {(reason.rule, reason.part): reason.since_ms for reason in before.reasons}
    reasons = [
        StreamReason(rule, level, part, title, since_ms or dates.get((rule, part), wall_ms))
        for rule, level, part, title, since_ms in found
    ]
    return tuple(sorted(reasons, key=lambda reason: -thresholds.RANKS[reason.level]))


def _sentence(
    row: Value | None, runs: bool, reasons: tuple[StreamReason, ...], latest: Latest, now_s: float
) -> tuple[str, str, str, int | None]:
    """Return level, title, text and date of the verdict."""
    since_ms = row.since_ms if row is not None else None
    if reasons:
        first = reasons[0]
        return first.level, first.title, advice.of(first.rule).meaning, first.since_ms
    if row is not None and row.value == STARTING:
        return IDLE, "The stream starts", "The receiver has not answered yet.", since_ms
    if runs and not latest.rows("srt.connected", now_s):
        return OK, "The stream runs", "What arrives at the receiver cannot be seen from here.", since_ms
    if runs:
        return OK, "Stream healthy", "Every part does what it should.", since_ms
    if row is not None and row.value == ENDED:
        return IDLE, "The stream has ended", _ending(latest), since_ms
    return IDLE, "No stream", "None has run since this device was started.", None


def _ending(latest: Latest) -> str:
    session = _session(latest)
    how = _ENDS.get(session.get("how", ""), "")
    lasted_s = session.get("lasted_s")
    return (
        "; ".join(filter(None, (how.capitalize(), f"it ran {lasting(lasted_s)}" if lasted_s is not None else ""))) + "."
    )


def _session(latest: Latest) -> dict[str, Any]:
    """Return how the last session ended and how many seconds it lasted; empty if unknown."""
    try:
        said = json.loads(latest.session)
        ended_ms, began_ms = said["end_ms"], said["start_ms"]
        lasted_s = None if ended_ms is None else (ended_ms - began_ms) / 1000
        return {"how": str(said["metadata"].get("how", "")), "lasted_s": lasted_s}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
