"""Any bytes in anything a source reads: no exception leaves it, no value leaves its range, no reading takes long.

FUZZ_INPUTS says how many for each, FUZZ_MINUTES how long, FUZZ_SEED which; the seed is printed.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from collectors import registry
from collectors.admission import admitted
from collectors.events import events, kernel_log
from collectors.events.journal import JournalEntry
from collectors.host import Host
from collectors.modem import hilink, modem, netgear, zte
from collectors.modem.modem_manager import GPP, MODEM, ROOT, SIGNAL, ModemManager, UnavailableError
from collectors.modem.place import Gateway, RouterSession
from collectors.modem.reading import Modem
from collectors.web import WebPage
from common import catalog, clock
from common.events import Event
from common.sample import MAX_INTEGER, Sample, Value
from tests.fuzz import memory_host
from tests.fuzz.hostile_bytes import WORDS, Hostile, Oracle
from tests.fuzz.rounds import SEED, rounds
from tests.unit.collectors import recorded
from tests.unit.collectors.test_hilink import PAGES
from tests.unit.collectors.test_routers import NETGEAR, ZTE_5G, ZTE_LTE

INPUTS = 50
TREES = {
    f"{recorded.name(case)}/{step.name}": step for case in recorded.cases() if "config" not in str(case)
    for step in recorded.steps(case)
}  # fmt: skip
NO_FILES = {"events": "logs", "modem": "the bus and the routers"}  # these have tests of their own below
NUMBERS: tuple[Value, ...] = (0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 5e-324, MAX_INTEGER, -MAX_INTEGER, "text", "")

Found = Iterable[Sample | Event]


def _hold(found: Found) -> int:
    """Hold what leaves a source to what may leave it; return how many samples there are."""
    count = 0
    for item in found:
        if isinstance(item, Event):
            assert item.text.isprintable(), item
            assert item.subject.isprintable(), item
            continue
        assert catalog.find(item.name).allows(item.value), item
        assert not isinstance(item.value, bool), item
        assert all(isinstance(value, str) and value.isprintable() for value in item.tags.values()), item
        count += 1
    return count


def _found(module: ModuleType, host: Host, state: Any) -> Iterator[Sample | Event]:
    """Collect and look as the process of a collector does."""
    config = module.Config()
    yield from admitted(module.collect(host, config, state), host)
    if hasattr(module, "watch"):
        yield from admitted(module.watch(host, config, state), host)


@cache
def _reads(source: str, tree: str) -> list[str]:
    """Return the files of a tree that a source reads."""
    module, host = registry.load(source), memory_host.load(TREES[tree])
    state = module.State()
    for now_s in (10.0, 20.0):
        host.begin(now_s)
        list(_found(module, host, state))
    return sorted(host.asked)


def _trees(source: str) -> list[str]:
    """Return the trees that have something for a source: files, or what others measured there."""
    hears = hasattr(registry.load(source), "hear")
    return [tree for tree, root in TREES.items() if _reads(source, tree) or (hears and (root / "committed").exists())]


@pytest.mark.parametrize("source", [name for name in registry.names() if name not in NO_FILES])
def test_any_bytes_in_any_file(source: str) -> None:
    """Of the poorest board, the richest, broken ones and those of the field; files change before each of two reads."""
    module, trees, counts = registry.load(source), _trees(source), Counter[str]()

    def read(given: tuple[int, str]) -> None:
        number, tree = given
        hostile, host, state = Hostile(SEED + number), memory_host.load(TREES[tree]), module.State()
        paths = _reads(source, tree)
        for now_s in (10.0, 20.0):
            for path in hostile.chance.sample(paths, k=min(len(paths), hostile.chance.randint(1, 5))):
                host.files[path] = hostile.content([host.tree.files[path]])
            if hasattr(module, "hear"):
                heard = [_odd_sample(one, hostile.chance) for one in recorded.committed(TREES[tree])]
                module.hear(heard, clock.wall_ms() + hostile.chance.choice((0, 0, -5_000, 10**6, -(10**9))), "x", state)
            host.begin(now_s)
            counts["samples"] += _hold(_found(module, host, state))
            counts["faults"] += len(host.faults)

    oracle = Oracle()
    for number in rounds(INPUTS, 0.01):
        oracle.judge(read, (number, trees[number % len(trees)]))
    print(f"{source}: {number + 1} inputs, {len(trees)} trees, {dict(counts)}")
    assert counts["samples"]


def _odd_sample(sample: Sample, chance: random.Random) -> Sample:
    """Return what another source may have measured instead."""
    tags = {name: chance.choice((text, "", "x" * 300, "\u0663")) for name, text in sample.tags.items()}
    kind = chance.randrange(5)
    return sample if kind > 1 else sample._replace(tags=tags) if kind else sample._replace(value=chance.choice(NUMBERS))


class Played(RouterSession):
    """A session with a router whose pages are at hand."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        super().__init__(Gateway("usb0", "192.168.8.1", "1-1"))
        self.pages = pages

    def get(self, path: str, **_headers: str) -> WebPage:
        """Answer from the pages; the first one stands for those that are not there."""
        text = self.pages.get(path.partition("?")[0].removeprefix("/api/"), next(iter(self.pages.values())))
        return WebPage(200, text.decode("utf-8", "replace"), "a=b")


ROUTERS: dict[str, tuple[Callable[[RouterSession], Modem | None], dict[str, bytes]]] = {
    "hilink": (hilink.ask, {name: text.encode() for name, text in PAGES.items()}),
    "zte": (zte.ask, {"/goform/goform_get_cmd_process": json.dumps({**ZTE_LTE, **ZTE_5G}).encode()}),
    "netgear": (netgear.ask, {"model.json": json.dumps(NETGEAR).encode()}),
}


@pytest.mark.parametrize("make", ROUTERS)
def test_any_answer_of_a_router(make: str) -> None:
    """Each page, or some of them."""
    (ask, pages), hostile, oracle = ROUTERS[make], Hostile(SEED), Oracle()
    for _ in rounds(INPUTS, 0.02):
        changed = {name: hostile.content([text]) for name, text in pages.items() if hostile.chance.random() < 0.5}
        oracle.judge(lambda given: _as_modems([ask(Played(given))]), {**pages, **changed})


class OddBus(ModemManager):
    """A ModemManager that answers with values that nobody has promised."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("nowhere", b"secret")
        self._chance = chance

    def _ask(self, message: Any) -> tuple[Any, ...]:
        if "ObjectManager" not in str(message.header.fields.values()):
            return (self._rows(("Interface", "Connected", "Stats")),)
        rows = {interface: self._rows(names) for interface, names in PROPERTIES.items()}
        return ({f"{ROOT}/Modem/{number}": rows for number in range(2)},)

    def _rows(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: ("v", _odd_value(self._chance)) for name in names}


PROPERTIES = {
    MODEM: ("State", "SignalQuality", "AccessTechnologies", "Model", "DeviceIdentifier", "EquipmentIdentifier",
            "Device", "Bearers", "Ports"),
    GPP: ("OperatorName", "RegistrationState"),
    SIGNAL: ("Rate", "Lte", "Nr5g", "Umts", "Gsm"),
}  # fmt: skip


def _odd_value(chance: random.Random) -> Any:
    """Return a value as jeepney may unwrap one."""
    number = chance.choice((0, 1, 11, -1, 2**31, 2**63, 2**64 - 1, 1e308, float("nan"), float("-inf"), -32768.0, True))
    text = chance.choice(WORDS).decode("utf-8", "replace")
    pairs = dict.fromkeys(("rsrp", "rssi", "snr", "rx-bytes", "duration"), ("d", number))
    lists: tuple[Any, ...] = ([("wwan0", 2), (text, 2)], [text, "/a/b"], [], [None], (number, True), ())
    return chance.choice((number, text, pairs, {}, {"rsrp": text}, None, *lists))


def test_any_values_on_the_bus() -> None:
    """Types that the interface does not promise, numbers out of all ranges, words that steer."""
    chance, oracle = random.Random(SEED), Oracle((UnavailableError,))
    for number in rounds(INPUTS, 0.02):
        oracle.judge(lambda given: _as_modems(OddBus(random.Random(given)).modems()), chance.random() + number)


def _as_modems(found: Iterable[Modem | None]) -> int:
    """Hold the samples of modems to what may leave the source; return how many there are."""
    host, state, modems = Host(), modem.State(), [one for one in found if one is not None]
    host.begin(0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modem, "_modems", lambda *_: (modems, True))
        config = modem.Config(hilink=False, poll_signal=False)
        return _hold(admitted(modem.collect(host, config, state), host))


PROGRAMS = (
    b"Pipeline stall detected. Will exit now", b"SRT connected to 203.0.113.7. Negotiated latency: 2000 ms",
    b"The SRT connection timed out, exiting", b"gstreamer error from v4l2src0", b"gstreamer eos from alsasrc",
    b"belaUI.service: Main process exited, code=killed, status=9/KILL", b"belaUI.service: Failed with result 'signal'",
    b"warning: no available connections", b"mpp_enc: bps 6000000 [5000000:7000000] fps 30",
)  # fmt: skip


class OddJournal:
    """A journal in which anybody wrote anything.

    Attributes:
        content: of the entries of the next look.
    """

    content: tuple[bytes, ...] = ()

    def __init__(self, *_: object) -> None:
        self._kinds = itertools.cycle(itertools.product(("mpp", "belaUI", ""), (True, False), (0, 3, 6), (0, -1)))

    def entries(self) -> Iterator[JournalEntry]:
        """Yield each content as an entry."""
        for content in self.content:
            who, is_kernel, level, user = next(self._kinds)
            yield JournalEntry(content.decode("utf-8", "replace"), who, is_kernel, level, user)

    def is_readable(self) -> bool:
        """Return that it is."""
        return True

    def close(self) -> None:
        """Do nothing."""


def test_any_line_of_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the kernel and of the programs: an event in words of its own, or nothing."""
    lines = (recorded.FIXTURES / "field/kernel-lines" / kernel_log.PATH).read_bytes()
    (tmp_path / kernel_log.PATH).parent.mkdir()
    monkeypatch.setattr(events, "Journal", OddJournal)
    hostile, oracle = Hostile(SEED), Oracle()

    def read(given: tuple[bytes, ...]) -> int:
        (tmp_path / kernel_log.PATH).write_bytes(given[0])
        OddJournal.content = given[1:]
        host, state = Host(tmp_path), events.State()
        host.begin(10.0)
        count = _hold(_found(events, host, state))
        state.kernel.close()
        return count

    for _ in rounds(INPUTS, 0.03):
        oracle.judge(read, (hostile.content([lines]), *(hostile.content(PROGRAMS) for _ in range(5))))
