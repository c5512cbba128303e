"""Messages that nobody should send to the buffer: random, damaged, lying about their length, nested, mistyped.

`Garbage` makes them from a seed and keeps the account of what the buffer has to say of each.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from common import wire
from common.sample import Batch, Sample, Value

NAMES = ("fuzz.a", "fuzz.b", "fuzz.usage_percent", "fuzz.text")
HUGE_LENGTHS = (
    b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xde\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xda\xff\xff", b"\x99\x01\xdb\x7f\xff\xff\xff",
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 2**63, 2**64 - 1, -(2**63), 1.5, float("nan"), float("inf"), float("-inf"), "", "x" * 300,
    b"", b"\xff" * 40, [], [[]], {}, {"a": 1}, {"": ""}, msgpack.Timestamp(1, 5), msgpack.ExtType(9, b"x"), "\u0000",
)  # fmt: skip


class Garbage:
    """An endless supply.

    Args:
        seed: equal seeds give equal messages.
        now_ms: a plausible time for what is damaged.

    Attributes:
        expected: how often the buffer has to count each reason for what was made so far.
        accepted: how many samples in it are valid all the same.
    """

    def __init__(self, seed: int, now_ms: int) -> None:
        self._chance = random.Random(seed)
        self._now_ms = now_ms
        self._valid = [self._batch(seq) for seq in range(200)]
        self._kinds: list[Callable[[], Sequence[bytes]]] = [
            self._frames, self._noise, self._flipped, self._flipped, self._flipped, self._cut, self._cut, self._spliced,
            self._huge, self._nested, self._mistyped, self._mistyped, self._odd_samples, self._odd_samples, self._plain,
        ]  # fmt: skip
        self.expected: Counter[str] = Counter()
        self.accepted = 0

    def message(self) -> Sequence[bytes]:
        """Return the next message."""
        frames = self._chance.choice(self._kinds)()
        self._account(frames)
        return frames

    def _account(self, frames: Sequence[bytes]) -> None:
        if len(frames) != 2 or frames[0] != wire.SAMPLE_TOPIC:
            self.expected["frames"] += 1
            return
        try:
            batch, refused = wire.decode_batch(frames[1])
        except wire.WireError as error:
            self.expected[error.reason] += 1
            return
        self.accepted += len(batch.samples)
        self.expected["sample"] += refused

    def _batch(self, seq: int) -> bytes:
        samples = [
            Sample(name, self._value(seq), {"l": str(self._chance.randrange(9))})
            for name in self._chance.sample(NAMES, self._chance.randrange(1, 5))
        ]
        return wire.encode_batch(Batch("fuzz", "0badc0de", seq, self._now_ms + seq, 5_000_000, "boot", False, samples))

    def _value(self, seq: int) -> Value:
        values: list[Value] = [seq, seq / 7, -1e300, "text"]
        return self._chance.choice(values)

    def _some(self) -> bytearray:
        return bytearray(self._chance.choice(self._valid))

    def _bytes(self, most: int) -> bytes:
        return self._chance.randbytes(self._chance.randrange(most))

    def _sample(self, payload: bytes) -> Sequence[bytes]:
        return wire.SAMPLE_TOPIC, payload

    def _frames(self) -> Sequence[bytes]:
        """One to five frames, topics that are none."""
        topics = (b"sample", b"samples", b"SAMPLE", b"status", b"", b"\x00", b"\x01sample", b"ack", self._bytes(20))
        rest = [self._chance.choice((bytes(self._some()), self._bytes(60))) for _ in range(self._chance.randrange(5))]
        return [self._chance.choice(topics), *rest]

    def _noise(self) -> Sequence[bytes]:
        return self._sample(self._bytes(100_000 if self._chance.random() < 0.002 else 300))

    def _flipped(self) -> Sequence[bytes]:
        payload = self._some()
        for _ in range(self._chance.choice((1, 1, 1, 2, 5))):
            payload[self._chance.randrange(len(payload))] ^= 1 << self._chance.randrange(8)
        return self._sample(bytes(payload))

    def _cut(self) -> Sequence[bytes]:
        payload = self._some()
        return self._sample(bytes(payload[: self._chance.randrange(len(payload))]))

    def _spliced(self) -> Sequence[bytes]:
        """The beginning of one batch and the end of another."""
        one, other = self._some(), self._some()
        return self._sample(
            bytes(one[: self._chance.randrange(len(one))] + other[self._chance.randrange(len(other)) :])
        )

    def _huge(self) -> Sequence[bytes]:
        """A length that the message does not have, alone, repeated or in the middle of a batch."""
        length = self._chance.choice(HUGE_LENGTHS)
        payload = self._some()
        at = self._chance.randrange(len(payload))
        lies = length + self._bytes(40), length * self._chance.randrange(1, 90), bytes(payload[:at]) + length
        return self._sample(self._chance.choice(lies))

    def _nested(self) -> Sequence[bytes]:
        """Arrays and maps in each other, up to beyond what a stack holds."""
        depth = self._chance.choice((3, 100, 600, 1_100, 5_000))
        opening = self._chance.choice((b"\x91", b"\x81\xa1a", b"\x99\x01", b"\x92\xc0"))
        return self._sample(opening * depth + self._chance.choice((b"", b"\xc0")))

    def _mistyped(self) -> Sequence[bytes]:
        """A batch with something else in one field."""
        fields = msgpack.unpackb(bytes(self._some()))
        fields[self._chance.randrange(len(fields))] = self._chance.choice(ODD)
        return self._sample(bytes(msgpack.packb(fields)))

    def _odd_samples(self) -> Sequence[bytes]:
        """A batch in which some samples are none."""
        fields: list[Any] = msgpack.unpackb(bytes(self._some()))
        for _ in range(self._chance.randrange(1, 4)):
            odd = self._chance.choice(ODD)
            fields[8].append(
                self._chance.choice((odd, ["fuzz.a", odd], [odd, 1], ["fuzz.a", 1, odd], ["fuzz.a", 1, {"l": odd}]))
            )
        return self._sample(bytes(msgpack.packb(fields)))

    def _plain(self) -> Sequence[bytes]:
        return self._sample(bytes(msgpack.packb(self._chance.choice(ODD))))
