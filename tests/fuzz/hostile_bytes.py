"""Bytes and trees that resemble what a program expects, from a seed; and the oracle over who reads them."""

from __future__ import annotations

import random
import re
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.fuzz.garbage import ODD

# For one input of at most some 100 kB, in additions (2 s on a quick machine); what is not linear takes minutes.
MAX_ADDITIONS = 60_000_000
MAX_GROWTH_KB = 64 * 1024
TOKENS = (
    b"Infinity", b"-Infinity", b"NaN", b"nan", b"1e999", b"-1e-999", b"9" * 500, b"-0", b"0x10", b"1_000", b"\xc2\xb2",
    b"18446744073709551616", b"-9223372036854775809", b"null", b"true", b'""', b"[]", b"{}", b"<a>", b"</a>", b"]]>",
    b"\x00", b"\x1b]0;owned\x07", b"\x1b[2J", b"\r\n", b"\n\n", b"\xff\xfe", b"\xe2\x80\xae", b"\xed\xa0\x80", b"&#0;",
    b"[" * 5000, b'{"a":' * 3000, b"<a>" * 3000, b"x" * 70_000, b"&lol;" * 500, b"%s%n", b"../../etc/passwd", b"\t" * 9,
)  # fmt: skip
# What drivers, programs and people write, what looks like it, and what no number may become.
WORDS = (
    b"0", b"1", b"-1", b"42", b"2147483647", b"-2147483648", b"4294967295", b"9223372036854775807", b"9" * 20,
    b"18446744073709551615", b"9" * 400, b"-" + b"9" * 400, b"0.00", b"3.14", b"1e999", b"nan", b"-inf", b"0x10",
    b"1_000", "\u0663".encode(), "\u00b2".encode(), b"", b"\0", b"\x85", b"\xe2\x80\xa8", b"\xff\xfe", b"\xed\xa0\x80",
    b"a" * 5000, b"{", b"}", b"[" * 200, b'"', b"null", b"true", b"Infinity", b"\\ud800", b"</a>", b"&#x110000;",
    b"&amp;", b":", b"|", b"(sd-pam)", b"eth0:1", b"/", b"../..", b"\x1b]0;x\x07", b"closed", b"RUNNING", b"XRUN",
    b"-274000", b"-273150", b"3892313987", b"126000000", b"<unknown>", b"LTE", b"19", b"\n", b"\r\n", b" ", b"\t",
    b"1e308", b"cpu", b"kB", b"sda", b"cciss/c0d0", b"nfs", b"up", b"unknown",
)  # fmt: skip
_SEPARATORS = re.compile(rb"([\s:=,\"{}\[\]<>|]+)")


class Hostile:
    """An endless supply of what nobody should send.

    Args:
        seed: equal seeds give equal inputs.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        single = (self._flip, self._cut, self._end, self._insert, self._replace, self._repeat)
        self._changes = (*single, self._exchange, self._exchange, self._exchange, self._shuffle)

    def content(self, honest: Sequence[bytes]) -> bytes:
        """Return an honest input with some changes, or none at all of it."""
        content = bytearray(self.chance.choice(honest))
        for _ in range(self.chance.choice((1, 1, 2, 3, 8))):
            self.chance.choice(self._changes)(content)
        return bytes(content[:200_000])

    def tree(self, honest: Any) -> Any:
        """Return D-Bus values with something else in some places; a variant stays one: that is the bus's own word."""
        if isinstance(honest, tuple):
            return honest[0], self.tree(honest[1])
        if self.chance.random() < 0.03:
            return self.chance.choice(ODD)
        if isinstance(honest, dict):
            return {key: self.tree(value) for key, value in honest.items() if self.chance.random() > 0.03}
        if isinstance(honest, list):
            return [self.tree(value) for value in honest]
        return honest

    def _place(self, content: bytearray) -> int:
        return self.chance.randrange(len(content) + 1)

    def _flip(self, content: bytearray) -> None:
        if content:
            content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)

    def _cut(self, content: bytearray) -> None:
        begin = self._place(content)
        del content[begin : begin + self.chance.choice((1, 4, 1000))]

    def _end(self, content: bytearray) -> None:
        del content[self._place(content) :]

    def _exchange(self, content: bytearray) -> None:
        words = _SEPARATORS.split(bytes(content))
        for _ in range(self.chance.randint(1, 6)):
            words[self.chance.randrange(len(words))] = self.chance.choice(WORDS)
        content[:] = b"".join(words)

    def _shuffle(self, content: bytearray) -> None:
        lines = content.splitlines(keepends=True)
        self.chance.shuffle(lines)
        content[:] = b"".join(lines[: self.chance.randint(0, len(lines))])

    def _insert(self, content: bytearray) -> None:
        at = self._place(content)
        content[at:at] = self.chance.choice(TOKENS)

    def _replace(self, content: bytearray) -> None:
        at = self._place(content)
        content[at : at + self.chance.randrange(1, 12)] = self.chance.choice(TOKENS)

    def _repeat(self, content: bytearray) -> None:
        at = self._place(content)
        content[at:at] = content[at : at + 40] * self.chance.choice((2, 50))


class Oracle:
    """Judges a reader: it may refuse as it says, within a CPU time and with a memory.

    Args:
        allowed: what it may raise.
    """

    def __init__(self, allowed: tuple[type[Exception], ...] = ()) -> None:
        self._allowed = allowed
        self._before_kb: int | None = None

    def judge(self, read: Callable[[Any], object], given: Any) -> object:
        """Have something read; return what came of it, None where it was refused."""
        began_s = time.thread_time()
        result = None
        try:
            result = read(given)
        except self._allowed:
            pass
        except BaseException:
            print(f"read: {given!r:.4000}")
            raise
        took_s = time.thread_time() - began_s
        assert took_s < 1 or took_s < MAX_ADDITIONS * _addition_s(), f"{took_s:.1f} s of CPU for {given!r:.4000}"
        self._weigh(given)
        return result

    def _weigh(self, given: Any) -> None:
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self._before_kb is None:
            self._before_kb = peak_kb
        assert peak_kb - self._before_kb < MAX_GROWTH_KB, f"{peak_kb - self._before_kb} kB more by {given!r:.4000}"


def _addition_s() -> float:
    """Return what one addition takes at the moment, which depends on the machine and on who else works on it."""
    count, began_s = 1_000_000, time.thread_time()
    sum(number + 1 for number in range(count))
    return (time.thread_time() - began_s) / count
