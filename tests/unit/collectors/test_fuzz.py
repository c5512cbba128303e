"""Any bytes in any file a source reads: no exception leaves it, no value leaves its range, no reading takes long.

A hundred inputs for each source here; FUZZ_INPUTS=100000 for as many as one likes. A failure prints its seed.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from collectors import registry
from collectors.admission import admitted
from collectors.events import kernel_log, log_lines
from collectors.events.kernel_log import KernelLog
from collectors.host import Host
from collectors.modem import hilink, modem, netgear, zte
from collectors.modem.modem_manager import GPP, MODEM, ROOT, SIGNAL, ModemManager, UnavailableError
from collectors.modem.place import Gateway, RouterSession
from collectors.modem.reading import Modem
from collectors.web import WebPage
from common import catalog
from common.events import Event
from common.sample import Sample
from tests.unit.collectors import fuzzing, recorded
from tests.unit.collectors.test_hilink import PAGES
from tests.unit.collectors.test_routers import NETGEAR, ZTE_5G, ZTE_LTE

INPUTS = int(os.environ.get("FUZZ_INPUTS", "100"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
MOST_CPU_S = 2.0  # of one reading; the shortest interval is 5 s
TREES = {
    f"{recorded.name(case)}/{step.name}": step for case in recorded.cases() if "config" not in str(case)
    for step in recorded.steps(case)
}  # fmt: skip


def _read(source: str, tree: str, seed: int) -> int:
    """Read a source twice from a tree with some files changed before each; return how many samples it gave."""
    chance, module, host = random.Random(seed), registry.load(source), fuzzing.load(TREES[tree])
    whole, config, state, count = dict(host.files), module.Config(), module.State(), 0
    for now_s in (10.0, 20.0):
        host.files = dict(whole)
        for path in chance.sample(sorted(whole), k=min(len(whole), chance.randint(1, 5))):
            host.files[path] = fuzzing.mutated(whole[path], chance)
        host.begin(now_s)
        began_s = time.thread_time()
        found = list(admitted(module.collect(host, config, state), host))
        found += admitted(module.watch(host, config, state), host) if hasattr(module, "watch") else []
        assert time.thread_time() - began_s < MOST_CPU_S
        for item in found:
            if isinstance(item, Event):
                assert item.text.isprintable()
                assert item.subject.isprintable()
                continue
            assert catalog.find(item.name).allows(item.value)
            assert not isinstance(item.value, bool)
            assert all(isinstance(value, str) and value.isprintable() for value in item.tags.values())
            count += 1
    return count


@pytest.mark.timeout(max(120, INPUTS // 20))
@pytest.mark.parametrize("source", registry.names())
def test_any_bytes_in_any_file(source: str) -> None:
    """Of the poorest board, the richest, the broken ones and those of the field."""
    trees, count = sorted(TREES), 0
    for number in range(INPUTS):
        seed = SEED * 1_000_000 + number
        tree = trees[number % len(trees)]
        try:
            count += _read(source, tree, seed)
        except Exception as error:
            raise AssertionError(f"{source} at {tree} with seed {seed}: {error!r}") from error
    print(f"{source}: {INPUTS} inputs, {count} samples")


class Played(RouterSession):
    """A session with a router whose pages are at hand."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        super().__init__(Gateway("usb0", "192.168.8.1", "1-1"))
        self.pages = pages

    def get(self, path: str, **_headers: str) -> WebPage:
        """Answer from the pages; the first one stands for those that are not there."""
        text = self.pages.get(path.partition("?")[0].removeprefix("/api/"), next(iter(self.pages.values())))
        return WebPage(200, text.decode("utf-8", "replace"), "a=b")


ROUTERS = {
    "hilink": (hilink.ask, {name: text.encode() for name, text in PAGES.items()}),
    "zte": (zte.ask, {"/goform/goform_get_cmd_process": json.dumps({**ZTE_LTE, **ZTE_5G}).encode()}),
    "netgear": (netgear.ask, {"model.json": json.dumps(NETGEAR).encode()}),
}


@pytest.mark.timeout(max(120, INPUTS // 20))
@pytest.mark.parametrize("make", ROUTERS)
def test_any_answer_of_a_router(make: str) -> None:
    """No exception, no value that cannot be, no word that steers."""
    ask, pages = ROUTERS[make]
    for seed in range(INPUTS):
        chance = random.Random(SEED * 1_000_000 + seed)
        changed = {name: fuzzing.mutated(text, chance) for name, text in pages.items() if chance.random() < 0.5}
        found = ask(Played({**pages, **changed}))
        _check_modem(found, f"{make} with seed {seed}")


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
        return {name: ("v", _odd(self._chance)) for name in names}


PROPERTIES = {
    MODEM: ("State", "SignalQuality", "AccessTechnologies", "Model", "DeviceIdentifier", "EquipmentIdentifier",
            "Device", "Bearers", "Ports"),
    GPP: ("OperatorName", "RegistrationState"),
    SIGNAL: ("Rate", "Lte", "Nr5g", "Umts", "Gsm"),
}  # fmt: skip


def _odd(chance: random.Random) -> Any:
    """Return a value as jeepney may unwrap one."""
    number = chance.choice((0, 1, 11, -1, 2**31, 2**63, 2**64 - 1, 1e308, float("nan"), float("-inf"), -32768.0, True))
    text = chance.choice(fuzzing.ODD).decode("utf-8", "replace")
    pairs = dict.fromkeys(("rsrp", "rssi", "snr", "rx-bytes", "duration"), ("d", number))
    lists: tuple[Any, ...] = ([("wwan0", 2), (text, 2)], [text, "/a/b"], [], [None], (number, True), ())
    return chance.choice((number, text, pairs, {}, {"rsrp": text}, None, *lists))


@pytest.mark.timeout(max(120, INPUTS // 20))
def test_any_values_on_the_bus() -> None:
    """Types that the interface does not promise, numbers out of all ranges, words that steer."""
    for seed in range(INPUTS):
        try:
            found = OddBus(random.Random(SEED * 1_000_000 + seed)).modems()
        except UnavailableError:
            continue
        for one in found:
            _check_modem(one, f"seed {seed}")


def _check_modem(found: Modem | None, what: str) -> None:
    """Hold a modem's samples to what may leave the source."""
    if found is None:
        return
    host, state = Host(), modem.State()
    host.begin(0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modem, "_modems", lambda *_: ([found], True))
        config = modem.Config(hilink=False, poll_signal=False)
        for item in admitted(modem.collect(host, config, state), host):
            if isinstance(item, Sample):
                assert catalog.find(item.name).allows(item.value), what
                assert all(value.isprintable() for value in item.tags.values()), what


@pytest.mark.timeout(max(120, INPUTS // 20))
def test_any_line_of_a_log(tmp_path: Path) -> None:
    """Of the kernel and of the programs: an event in words of its own, or nothing."""
    lines = (recorded.FIXTURES / "field/kernel-lines" / kernel_log.PATH).read_bytes()
    (tmp_path / kernel_log.PATH).parent.mkdir()
    for seed in range(max(20, INPUTS // 10)):
        chance = random.Random(SEED * 1_000_000 + seed)
        (tmp_path / kernel_log.PATH).write_bytes(fuzzing.mutated(lines, chance))
        log, host = KernelLog(), Host(tmp_path)
        for line in log.lines(host):
            for rules in (log_lines.KERNEL, log_lines.PROGRAMS):
                event = log_lines.event(rules, line)
                assert event is None or event.text
        log.close()
