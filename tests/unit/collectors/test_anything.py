"""Whatever files hold, a collect ends without an exception and without a number that is none."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collectors.host
from collectors import registry
from collectors.host import Host
from common.sample import Sample
from tests.unit.collectors import recorded

EXAMPLES = 40
ROOTS = (recorded.FIXTURES / "opi5plus" / "vendor-6.1.115" / "0", recorded.FIXTURES / "broken" / "hwmon")

# What the kernel writes, what looks like it, and what no number may become.
WORDS = st.sampled_from(
    [
        *("0", "1", "-1", "42", "4294967295", "18446744073709551615", "9" * 20, "9" * 400, "9" * 5000, "-" + "9" * 400),
        *("0.00", "3.14", "1e999", "nan", "inf", "-inf", "0x10", "1_000", "٣", "²", "", "\0", "\x85", "\u2028"),
        *("cpu", "cpu0", "cpu1", "kB", "oom_kill", "some", "sda", "nvme0n1", "cciss/c0d0", "../..", "a\0b", ":", "/"),
        *("eth0:", "/dev/sda1", "/\\040a", "\\000", "ext4", "nfs", "-274000", "-273150", "<unknown>", "pwmfan", "up"),
        *("soc-thermal", "cpufreq-cpu0", "unknown", "down"),
    ]
)
ANYTHING = st.binary(max_size=200) | st.lists(st.lists(WORDS).map(" ".join)).map("\n".join).map(str.encode)


def altered(content: bytes) -> st.SearchStrategy[bytes]:
    """Return what a file may hold instead: with words exchanged, with its end cut off, or anything."""
    words = re.split(rb"([\s:=]+)", content)

    def exchange(places: dict[int, str]) -> bytes:
        return b"".join(places[at].encode() if at in places else word for at, word in enumerate(words))

    exchanged = st.dictionaries(st.integers(0, len(words) - 1), WORDS, min_size=1, max_size=20).map(exchange)
    return exchanged | st.integers(0, len(content)).map(lambda end: content[:end]) | ANYTHING


Contents = dict[str, bytes]


def collect(collector: str, root: Path, instants: list[Contents]) -> tuple[list[Sample], set[str]]:
    """Collect at instants 10 s apart, each with other contents in some files; return samples and what was read."""
    module, original = registry.load(collector), collectors.host.read
    state, host, samples, asked = module.State(), Host(root), [], set()
    with pytest.MonkeyPatch.context() as patch:
        for number, contents in enumerate(instants):

            def read(path: str, owners: Collection[int] = (), contents: Contents = contents) -> bytes:
                content = contents[path] if path in contents else original(path, owners)
                asked.add(path)
                return content

            patch.setattr(collectors.host, "read", read)
            host.begin(10.0 * number)
            seen = module.collect(host, module.Config(), state)
            samples += [one for one in seen if isinstance(one, Sample)]
    return samples, asked


def files(collector: str, root: Path) -> list[str]:
    """Return the files that a collector reads there; `statvfs` is this project's, not the kernel's."""
    return sorted(filter(os.path.isfile, collect(collector, root, [{}])[1] - {f"{root}/statvfs"}))


CASES = [(collector, root) for collector in registry.names() for root in ROOTS if files(collector, root)]


@pytest.mark.parametrize(("collector", "root"), CASES, ids=[f"{name}-{root.name}" for name, root in CASES])
def test_any_content(collector: str, root: Path) -> None:
    """Any bytes in any files give, over two collects, finite numbers or nothing."""
    contents = st.fixed_dictionaries({}, optional={p: altered(Path(p).read_bytes()) for p in files(collector, root)})

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(contents, contents)
    def check(first: Contents, second: Contents) -> None:
        for sample in collect(collector, root, [first, second])[0]:
            assert isinstance(sample.value, (int, float))
            assert math.isfinite(sample.value)
            assert all(isinstance(text, str) for pair in sample.tags.items() for text in pair)

    check()
