"""Bytes on the sockets: batches, acks, heartbeats. The contract is PROTOCOL.md; this is its only code.

Pure functions. `encode_*` cannot fail on what the types allow; `decode_*` raise `WireError` on
anything else, so that a receiver can count, log and drop the message, and continue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from common.sample import NO_TAGS, Batch, Sample, is_deliverable

VERSION = 1

SAMPLE_TOPIC = b"sample"
STATUS_TOPIC = b"status"
COMMITTED_TOPIC = b"committed"
DUE_TOPIC = b"due"
ACK_PREFIX = b"ack"

# Bounds of one batch. A label value beyond 4 KiB costs the whole series at the server; the others
# keep a confused producer from filling the buffer's memory.
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_SAMPLES = 20_000
MAX_NAME = 200
MAX_TAGS = 30
MAX_TAG_VALUE = 1_024
MAX_TEXT = 8_192
MAX_DETAIL = 200  # of what is refused, in a log line

# 2000-01-01 … 2100-01-01: outside, it is not a clock that is wrong but a frame that is not ours.
EARLIEST_MS = 946_684_800_000
LATEST_MS = 4_102_444_800_000

BATCH_FIELDS = 9
STATES = ("running", "stopping")


class WireError(ValueError):
    """A message that is not of this protocol.

    Attributes:
        reason: a word for the counter's label: frames, msgpack, version, shape or range.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail[:MAX_DETAIL]}")
        self.reason = reason


@dataclass(frozen=True)
class Heartbeat:
    """What a process reports every few seconds, from its working loop.

    Attributes:
        process: name under supervisord, without the group.
        pid: of the process.
        epoch: the same as in its batches.
        started_ms: wall clock at start, Unix milliseconds.
        timestamp_ms: wall clock now.
        interval_s: the next one comes after this long.
        quiet_s: longest silence to expect before the next one (an upload that may block says so first).
        state: "running" or "stopping".
        error: the last error (error, error_type, timestamp_ms), gone once the same work succeeds again.
        status: what `/health` shows of this process, by name.
        readings: its instruments, each ``[kind, name, tags, value]``; a histogram's value is
            ``[upper bounds, cumulative counts (one more than bounds, the last for +Inf), sum]``.
    """

    process: str
    pid: int
    epoch: str
    started_ms: int
    timestamp_ms: int
    interval_s: float
    quiet_s: float = 0.0
    state: str = "running"
    error: Mapping[str, Any] | None = None
    status: Mapping[str, Any] = field(default_factory=dict)
    readings: Sequence[Sequence[Any]] = ()


@dataclass(frozen=True)
class Ack:
    """Batches that are committed: exactly these, never "up to".

    Attributes:
        producer: whose.
        epoch: of which start.
        seqs: which, in any order.
    """

    producer: str
    epoch: str
    seqs: Sequence[int]


def encode_batch(batch: Batch) -> bytes:
    """Encode a batch as the payload that follows the topic frame."""
    samples = [(s.name, s.value, s.tags) if s.tags else (s.name, s.value) for s in batch.samples]
    return _pack(
        (
            VERSION,
            batch.producer,
            batch.epoch,
            batch.seq,
            batch.timestamp_ms,
            batch.boottime_ms,
            batch.boot_id,
            batch.urgent,
            samples,
        )
    )


def decode_batch(payload: bytes) -> tuple[Batch, int]:
    """Decode a batch's payload.

    Returns:
        The batch with its valid samples, and how many samples of it were not valid.

    Raises:
        WireError: the payload is not a batch of this version.
    """
    if len(payload) > MAX_BATCH_BYTES:
        raise WireError("range", f"{len(payload)} bytes in one batch")
    fields = _unpack(payload)
    if not isinstance(fields, list) or not fields:
        raise WireError("shape", "a batch is an array")
    if fields[0] != VERSION:
        raise WireError("version", f"{fields[0]!r}, this is {VERSION}")
    if len(fields) != BATCH_FIELDS:
        raise WireError("shape", f"{len(fields)} fields")
    _, producer, epoch, seq, timestamp_ms, boottime_ms, boot_id, urgent, raw = fields
    _require(_is_name(producer) and _is_name(epoch) and isinstance(boot_id, str), "producer, epoch, boot_id")
    _require(_is_count(seq) and _is_count(timestamp_ms) and _is_count(boottime_ms), "seq, times")
    _require(isinstance(urgent, bool) and isinstance(raw, list), "urgent, samples")
    if not EARLIEST_MS <= timestamp_ms <= LATEST_MS or len(boot_id) > MAX_NAME or len(raw) > MAX_SAMPLES:
        raise WireError("range", f"timestamp {timestamp_ms}, {len(raw)} samples")
    samples = [sample for sample in map(_sample, raw) if sample is not None]
    batch = Batch(producer, epoch, seq, timestamp_ms, boottime_ms, boot_id, urgent, samples)
    return batch, len(raw) - len(samples)


def encode_acks(acks: Iterable[Ack]) -> bytes:
    """Encode acks as the one frame the buffer sends upstream."""
    return ACK_PREFIX + _pack([VERSION, [(a.producer, a.epoch, list(a.seqs)) for a in acks]])


def decode_acks(frame: bytes) -> list[Ack]:
    """Decode what a producer received from its XPUB socket.

    Raises:
        WireError: the frame is not a list of acks of this version.
    """
    if not frame.startswith(ACK_PREFIX):
        raise WireError("frames", "not an ack")
    fields = _unpack(frame[len(ACK_PREFIX) :])
    _require(isinstance(fields, list) and bool(fields), "acks are an array")
    if fields[0] != VERSION:
        raise WireError("version", f"{fields[0]!r}, this is {VERSION}")
    _require(len(fields) == 2 and isinstance(fields[1], list), "acks")
    return [_ack(raw) for raw in fields[1]]


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Encode a heartbeat as the payload that follows the topic frame."""
    return _pack({"v": VERSION, **vars(heartbeat)})  # asdict would copy every reading, which costs most of a wake-up


def decode_heartbeat(payload: bytes) -> Heartbeat:
    """Decode a heartbeat's payload.

    Raises:
        WireError: the payload is not a heartbeat of this version.
    """
    fields = _unpack(payload)
    if not isinstance(fields, dict) or fields.pop("v", None) != VERSION:
        raise WireError("version", "a heartbeat of another version")
    try:
        heartbeat = Heartbeat(**fields)
    except TypeError as error:
        raise WireError("shape", str(error)) from error
    _require(_is_name(heartbeat.process) and _is_name(heartbeat.epoch) and _is_count(heartbeat.pid), "process")
    _require(heartbeat.state in STATES and isinstance(heartbeat.error, (dict, type(None))), "state, error")
    _require(_is_count(heartbeat.timestamp_ms) and _is_count(heartbeat.started_ms), "times")
    _require(_is_seconds(heartbeat.interval_s) and _is_seconds(heartbeat.quiet_s), "interval, quiet")
    _require(isinstance(heartbeat.status, dict) and isinstance(heartbeat.readings, list), "status, readings")
    return heartbeat


def pack(message: object) -> bytes:
    """Encode a message of the drain, a map of plain values."""
    return _pack(message)


def unpack(frame: bytes) -> dict[str, Any]:
    """Decode a message of the drain.

    Raises:
        WireError: not a map of this version.
    """
    message = _unpack(frame)
    if not isinstance(message, dict):
        raise WireError("shape", "a message of the drain is a map")
    if message.get("v") != VERSION:
        raise WireError("version", f"{message.get('v')!r}, this is {VERSION}")
    return message


def _pack(message: object) -> bytes:
    # A name that is not UTF-8 (of a file, a network) is Python text with surrogates; it costs its odd letters alone.
    return bytes(msgpack.packb(message, unicode_errors="replace"))


def _unpack(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(payload)
    except (ValueError, TypeError, MemoryError, msgpack.UnpackException) as error:
        raise WireError("msgpack", str(error) or type(error).__name__) from error


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise WireError("shape", what)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < float("inf")


def _ack(raw: Any) -> Ack:
    _require(isinstance(raw, list) and len(raw) == 3, "an ack is an array of three")
    producer, epoch, seqs = raw
    _require(_is_name(producer) and _is_name(epoch), "producer, epoch")
    _require(isinstance(seqs, list) and all(map(_is_count, seqs)), "seqs")
    return Ack(producer, epoch, seqs)


def _sample(raw: object) -> Sample | None:
    """Build one sample, or None where it is not one: it costs itself alone."""
    if not isinstance(raw, list) or not 2 <= len(raw) <= 3 or not _is_name(raw[0]):
        return None
    value = raw[1]
    if not isinstance(value, (int, float, str)) or (isinstance(value, str) and len(value) > MAX_TEXT):
        return None
    tags = raw[2] if len(raw) == 3 else NO_TAGS
    if not isinstance(tags, dict) or len(tags) > MAX_TAGS or not all(map(_is_tag, tags.items())):
        return None
    sample = Sample(raw[0], value, tags)
    return sample if is_deliverable(sample) else None


def _is_tag(item: tuple[object, object]) -> bool:
    name, value = item
    return _is_name(name) and isinstance(value, str) and len(value) <= MAX_TAG_VALUE
