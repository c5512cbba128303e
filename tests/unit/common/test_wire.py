"""The wire against its document: round trips, every rule, and garbage."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import wire
from common.sample import MAX_INTEGER, Batch, Sample
from common.wire import Ack, Heartbeat, WireError

DOCUMENT = Path(wire.__file__).with_name("PROTOCOL.md")
NOW_MS = 1_760_193_000_123

EXAMPLE = Batch(
    producer="memory",
    epoch="00c0ffee",
    seq=7,
    timestamp_ms=1_760_193_000_123,
    boottime_ms=1_234_567,
    boot_id="b001",
    urgent=False,
    samples=[Sample("memory.available_bytes", 1_048_576), Sample("fan.duty_percent", 43.0, {"fan": "pwmfan"})],
)
BEAT = Heartbeat(process="cpu", pid=1, epoch="e", started_ms=NOW_MS, timestamp_ms=NOW_MS, interval_s=2.0)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=wire.MAX_NAME)
VALUES = st.one_of(
    st.integers(-MAX_INTEGER, MAX_INTEGER), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)  # fmt: skip
SAMPLES = st.builds(Sample, NAMES, VALUES, st.dictionaries(NAMES, TEXTS, max_size=5))
BATCHES = st.builds(
    Batch,
    producer=NAMES,
    epoch=NAMES,
    seq=st.integers(0, 2**63),
    timestamp_ms=st.integers(wire.EARLIEST_MS, wire.LATEST_MS),
    boottime_ms=st.integers(0, 2**62),
    boot_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=wire.MAX_NAME),
    urgent=st.booleans(),
    samples=st.lists(SAMPLES, max_size=10),
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXTS | st.binary(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(TEXTS | st.binary(), inner, max_size=12),
    max_leaves=30,
)
DECODERS: list[Callable[[bytes], object]] = [
    wire.decode_batch, wire.decode_acks, wire.decode_heartbeat, wire.unpack,
]  # fmt: skip


def fields(**changes: Any) -> list[Any]:
    """Return the nine fields of a valid batch, some of them changed."""
    names = ["version", "producer", "epoch", "seq", "timestamp_ms", "boottime_ms", "boot_id", "urgent", "samples"]
    valid = dict(zip(names, [1, "p", "e", 1, NOW_MS, 5, "boot", False, [["m", 1]]], strict=True))
    return list({**valid, **changes}.values())


def packed(message: object) -> bytes:
    """Return msgpack as another program may write it."""
    return bytes(msgpack.packb(message))


def reason(decode: Callable[[bytes], object], payload: bytes) -> str:
    """Return the word of the refusal."""
    with pytest.raises(WireError) as caught:
        decode(payload)
    return caught.value.reason


def test_the_documents_example_is_what_this_code_writes_and_reads() -> None:
    """The bytes printed in PROTOCOL.md decode to the batch described there, and encode to themselves."""
    block = re.findall(r"```\n([0-9a-f\n]+)```", DOCUMENT.read_text(encoding="utf-8"))[-1]
    payload = bytes.fromhex(block)
    assert (EXAMPLE, 0) == wire.decode_batch(payload)
    assert payload == wire.encode_batch(EXAMPLE)


def test_the_document_names_every_field_of_a_batch_in_order() -> None:
    """The table of nine fields is the dataclass, version first."""
    rows = re.findall(r"^\| (\d) \| (\w+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(str(index), name) for index, name in enumerate(["version", *asdict(EXAMPLE)])] == rows


def test_the_document_names_every_field_of_a_heartbeat() -> None:
    """No field is on the wire that the document does not name."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [] == [name for name in asdict(BEAT) if f"`{name}`" not in text]


@pytest.mark.parametrize("number", ["20,000", "8,192", "1,024", "30 labels", "1-200", "4 MiB"])
def test_the_document_names_the_limits(number: str) -> None:
    """The limits that a receiver enforces are in the contract."""
    assert number in DOCUMENT.read_text(encoding="utf-8")


@given(BATCHES)
def test_a_batch_comes_back_as_it_was(batch: Batch) -> None:
    """Decoding gives an equal batch, refuses none of its samples, and an integer stays an integer, a float a float."""
    decoded, refused = wire.decode_batch(wire.encode_batch(batch))
    assert (batch, 0) == (decoded, refused)
    assert [type(sample.value) for sample in batch.samples] == [type(sample.value) for sample in decoded.samples]


def test_a_name_that_is_not_utf8_costs_its_odd_letters_alone() -> None:
    """A file's or network's name read with surrogateescape is published, not a crash."""
    batch = Batch("p", "e", 1, NOW_MS, 5, "", False, [Sample("m", "caf\udce9", {"ssid": "\udcff"})])
    decoded, refused = wire.decode_batch(wire.encode_batch(batch))
    assert ([Sample("m", "caf?", {"ssid": "?"})], 0) == (decoded.samples, refused)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ("shape", {"v": 1}),
        ("shape", []),
        ("shape", 1),
        ("version", fields(version=2)),
        ("version", fields(version="1")),
        ("version", [2]),
        ("shape", fields()[:8]),
        ("shape", [*fields(), 1]),
        ("shape", fields(producer="")),
        ("shape", fields(producer="p" * 201)),
        ("shape", fields(producer=b"p")),
        ("shape", fields(epoch="")),
        ("shape", fields(epoch=7)),
        ("shape", fields(seq=-1)),
        ("shape", fields(seq=1.0)),
        ("shape", fields(seq=True)),
        ("shape", fields(seq=None)),
        ("shape", fields(timestamp_ms="now")),
        ("shape", fields(timestamp_ms=float("nan"))),
        ("shape", fields(boottime_ms=-1)),
        ("shape", fields(boot_id=None)),
        ("shape", fields(urgent=1)),
        ("shape", fields(samples={})),
        ("shape", fields(samples=None)),
        ("range", fields(timestamp_ms=wire.EARLIEST_MS - 1)),
        ("range", fields(timestamp_ms=wire.LATEST_MS + 1)),
        ("range", fields(boot_id="b" * 201)),
        ("range", fields(samples=[["m", 1]] * 20_001)),
    ],
)
def test_a_batch_that_breaks_a_rule_is_refused(expected: str, message: object) -> None:
    """Each rule of the document's table, broken alone, refuses the batch with the reason that is counted."""
    assert expected == reason(wire.decode_batch, packed(message))


@pytest.mark.parametrize(
    "message",
    [
        fields(timestamp_ms=wire.EARLIEST_MS),
        fields(timestamp_ms=wire.LATEST_MS),
        fields(boot_id=""),
        fields(seq=0, boottime_ms=0),
        fields(producer="ü" * 200),
        fields(samples=[]),
        fields(samples=[["m", 1]] * 20_000),
    ],
)
def test_a_batch_at_a_limit_is_taken(message: list[Any]) -> None:
    """The limits of the document are inclusive."""
    batch, refused = wire.decode_batch(packed(message))
    assert (message[1], len(message[8]), 0) == (batch.producer, len(batch.samples), refused)


def test_a_batch_of_more_than_four_mebibytes_is_refused_before_it_is_decoded() -> None:
    """The size is looked at first, whatever is inside."""
    assert "range" == reason(wire.decode_batch, b"\xc1" * (4 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    "bad",
    [
        [],
        ["m"],
        ["m", 1, {}, 0],
        {"m": 1},
        None,
        [1, 1],
        [b"m", 1],
        ["", 1],
        ["m" * 201, 1],
        ["m", None],
        ["m", True],
        ["m", float("nan")],
        ["m", float("inf")],
        ["m", float("-inf")],
        ["m", 2**63],
        ["m", -(2**63)],
        ["m", b"1"],
        ["m", [1]],
        ["m", {}],
        ["m", msgpack.Timestamp(1)],
        ["m", "x" * 8_193],
        ["m", 1, []],
        ["m", 1, None],
        ["m", 1, {str(n): "" for n in range(31)}],
        ["m", 1, {"": "x"}],
        ["m", 1, {"l" * 201: "x"}],
        ["m", 1, {b"l": "x"}],
        ["m", 1, {"l": 5}],
        ["m", 1, {"l": "x" * 1_025}],
    ],
)
def test_a_bad_sample_costs_itself_alone(bad: object) -> None:
    """One invalid sample is counted, its neighbours are taken."""
    batch, refused = wire.decode_batch(packed(fields(samples=[["a", 1], bad, ["b", 2]])))
    assert ([Sample("a", 1), Sample("b", 2)], 1) == (batch.samples, refused)


def test_a_sample_at_every_limit_is_taken() -> None:
    """The longest name, text and label, and the most labels, are valid."""
    tags = {f"{n:0200}": "x" * 1_024 for n in range(30)}
    samples = [["m" * 200, "x" * 8_192, tags], ["m", MAX_INTEGER], ["m", -MAX_INTEGER], ["m", 1.7e308]]
    batch, refused = wire.decode_batch(packed(fields(samples=samples)))
    assert (4, 0) == (len(batch.samples), refused)


@given(st.lists(st.builds(Ack, NAMES, NAMES, st.lists(st.integers(0, 2**63), max_size=20)), max_size=5))
def test_acks_come_back_as_they_were(acks: list[Ack]) -> None:
    """An ack names the same batches after the wire as before it."""
    assert acks == wire.decode_acks(wire.encode_acks(acks))


@pytest.mark.parametrize(
    ("expected", "frame"),
    [
        ("frames", b""),
        ("frames", b"\x01sample"),
        ("frames", b"ac"),
        ("msgpack", b"ack"),
        ("msgpack", b"ack\xc1"),
        ("shape", b"ack" + packed({})),
        ("shape", b"ack" + packed([])),
        ("shape", b"ack" + packed([1])),
        ("shape", b"ack" + packed([1, [], 0])),
        ("shape", b"ack" + packed([1, 5])),
        ("shape", b"ack" + packed([1, {"abc": 1}])),
        ("shape", b"ack" + packed([1, ["abc"]])),
        ("shape", b"ack" + packed([1, [["p", "e"]]])),
        ("shape", b"ack" + packed([1, [["p", ["e"], [1]]]])),
        ("shape", b"ack" + packed([1, [[None, "e", [1]]]])),
        ("shape", b"ack" + packed([1, [["p", "e", 1]]])),
        ("shape", b"ack" + packed([1, [["p", "e", "12"]]])),
        ("shape", b"ack" + packed([1, [["p", "e", [[1]]]]])),
        ("shape", b"ack" + packed([1, [["p", "e", [-1]]]])),
        ("version", b"ack" + packed([2, []])),
    ],
)
def test_what_is_no_ack_is_refused(expected: str, frame: bytes) -> None:
    """A frame that is not exactly an ack acknowledges nothing."""
    assert expected == reason(wire.decode_acks, frame)


def test_a_heartbeat_comes_back_as_it_was() -> None:
    """Everything a process says of itself arrives."""
    said = Heartbeat(
        "cpu", 4711, "e", NOW_MS, NOW_MS + 1, 2.0, 30.0, "stopping",
        {"error": "x", "error_type": "OSError", "timestamp_ms": NOW_MS}, {"kind": "collector", "enabled": True},
        [["counter", "a", {"l": "v"}, 3], ["histogram", "h", {}, [[0.1], [1, 2], 0.5]]],
    )  # fmt: skip
    assert said == wire.decode_heartbeat(wire.encode_heartbeat(said))


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("version", {"v": 2}),
        ("version", {"v": None}),
        ("shape", {"unknown": 1}),
        ("shape", {"process": ""}),
        ("shape", {"process": 5}),
        ("shape", {"pid": "1"}),
        ("shape", {"pid": -1}),
        ("shape", {"epoch": None}),
        ("shape", {"timestamp_ms": 1.5}),
        ("shape", {"started_ms": -1}),
        ("shape", {"interval_s": "2"}),
        ("shape", {"interval_s": float("nan")}),
        ("shape", {"quiet_s": float("inf")}),
        ("shape", {"quiet_s": -1}),
        ("shape", {"state": "asleep"}),
        ("shape", {"state": ["running"]}),
        ("shape", {"error": "it broke"}),
        ("shape", {"status": []}),
        ("shape", {"readings": {}}),
    ],
)
def test_what_is_no_heartbeat_is_refused(expected: str, changes: dict[str, Any]) -> None:
    """A field of the wrong kind refuses the heartbeat instead of reaching the report."""
    assert expected == reason(wire.decode_heartbeat, packed({"v": 1, **asdict(BEAT), **changes}))


def test_a_heartbeat_without_a_field_is_refused() -> None:
    """What must be there is asked for."""
    message = {"v": 1, **asdict(BEAT)}
    del message["pid"]
    assert "shape" == reason(wire.decode_heartbeat, packed(message))


@pytest.mark.parametrize(
    ("expected", "message"), [("shape", []), ("version", {}), ("version", {"v": 2}), ("shape", "v")]
)
def test_what_is_no_message_of_the_drain_is_refused(expected: str, message: object) -> None:
    """The drain speaks maps of this version."""
    assert expected == reason(wire.unpack, packed(message))


def test_a_refusal_does_not_repeat_a_megabyte_into_the_log() -> None:
    """What is said about garbage is short, however large the garbage is."""
    with pytest.raises(WireError) as caught:
        wire.decode_batch(packed(["x" * 1_000_000]))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffx",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x91" * 100_000,
        b"\x81\xa1v" * 100_000,
        b"\xdd\x00\x00\xff\xff" * 500 + b"\xc0" * 65_536,
        b"\xa2\xed\xa0",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\x81\xd6\xff\x00\x00\x00\x00\xc0",
        packed({"v": 1}),
        packed({"v": 1, b"x": 1}),
    ],
)
def test_huge_lengths_depths_and_odd_types_are_wire_errors(decode: Callable[[bytes], object], payload: bytes) -> None:
    """Declared lengths beyond the message, nesting beyond reason and foreign types never raise anything else."""
    for frame in (payload, b"ack" + payload):
        try:
            decode(frame)
        except WireError as error:
            assert error.reason  # noqa: PT017 - both outcomes are right, another exception is not


@given(st.binary(max_size=200) | PLAIN.map(packed))
def test_garbage_raises_nothing_but_wire_errors(payload: bytes) -> None:
    """Whatever bytes or plain values come, a receiver can count, drop and live on."""
    for decode in DECODERS:
        for frame in (payload, b"ack" + payload):
            try:
                decode(frame)
            except WireError as error:
                assert error.reason  # noqa: PT017


@given(st.integers(1, 8), PLAIN)
def test_a_field_of_any_kind_raises_nothing_but_wire_errors(index: int, odd: object) -> None:
    """A batch of the right version and length with anything in one field is a batch or a WireError."""
    message = fields()
    message[index] = odd
    try:
        batch, _ = wire.decode_batch(packed(message))
    except WireError:
        return
    assert batch.producer == message[1]


@given(BATCHES, st.data())
def test_a_damaged_batch_raises_nothing_but_wire_errors(batch: Batch, data: st.DataObject) -> None:
    """A flipped bit or a cut gives another valid batch or a WireError."""
    payload = bytearray(wire.encode_batch(batch))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    for damaged in (bytes(payload), cut):
        try:
            wire.decode_batch(damaged)
        except WireError as error:
            assert error.reason  # noqa: PT017
