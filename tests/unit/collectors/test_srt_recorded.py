"""Exchanges of real SRTLA programs, recorded by `python -m tests.bonding.record`: what the SRT source makes of them.

And whether the tests' own programs say the same as the real ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path as File

import pytest

from collectors.srt.filters import KEEPALIVE, NAK, REG3
from common.events import Event
from tests.bonding import recording
from tests.bonding.network import Address
from tests.bonding.play import Play
from tests.bonding.played_network import BEGAN_S, PlayedNetwork
from tests.bonding.recording import FROM_ENCODER, IN, OUT, TO_ENCODER, Recording, Row
from tests.bonding.replay import Replay
from tests.bonding.srtla import Path, reported

FOLDER = File(__file__).parents[2] / "fixtures/srtla"
RECORDED = sorted(file.stem for file in FOLDER.glob("*.txt"))
FORKS = {"irlserver", "ceralive"}
NEVER_AGAIN = {"ceralive"}  # its sender asks a silent link to register after 15 s, the others' after four
SEEN_S, HEADERS, AGAIN = 3.0, 28, 0x04
LOOK_S = 0.6


@pytest.fixture(params=RECORDED)
def name(request: pytest.FixtureRequest) -> str:
    """Whose exchange it is."""
    return str(request.param)


@pytest.fixture
def exchange(name: str) -> Recording:
    """What was recorded."""
    return recording.read(FOLDER / f"{name}.txt")


@pytest.fixture
def replay(tmp_path: File, exchange: Recording, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """A board on which it is played again."""
    return Replay(tmp_path, exchange, monkeypatch.setattr)


def data(rows: Iterable[Row], way: str) -> list[Row]:
    """Return the data packets of one way."""
    return [row for row in rows if row.way == way and not row.payload[0] & 0x80]


def kind(row: Row) -> int:
    """Return the kind of a control packet."""
    return int.from_bytes(row.payload[:2], "big")


def test_what_is_said_of_it(replay: Replay, name: str) -> None:
    """Each event has its cause, and comes within three seconds of it; nothing else is said."""
    replay.until("end")
    replay.run(1)
    links = {"1": replay.links[0], "2": replay.links[1], "3": replay.links[2]}
    is_back = [] if name in NEVER_AGAIN else ["srtla_link_up 2", "srtla_link_readdressed 2"]
    expected = [
        ("start", SEEN_S, ["srt_connected "]),
        ("link 3 is cut", SEEN_S, ["srtla_link_down 3"]),
        ("link 3 is mended", SEEN_S, ["srtla_link_up 3"]),
        ("link 3 is taken off the list", SEEN_S, ["srtla_link_removed 3"]),
        ("link 2 has another public address", 6.0, ["srtla_link_down 2", *is_back]),
        ("the encoder is started", SEEN_S, ["srt_connected "]),
        ("the receiver is killed", SEEN_S + LOOK_S, ["srt_lost "]),
    ]
    since = sorted((at_s, words) for words, at_s in replay.done.items())
    said: dict[str, list[str]] = defaultdict(list)
    for at_s, event in replay.events:
        done_s, words = max(one for one in since if one[0] <= at_s)
        number = next((number for number, address in links.items() if address == event.subject), "")
        if at_s <= replay.done["the receiver is killed"] + SEEN_S + LOOK_S and not _of_dead_receiver(event, words):
            said[words].append(f"{event.kind} {number}")
            assert at_s - done_s <= next(most_s for step, most_s, _ in expected if step == words)
    assert {words: kinds for words, _, kinds in expected} == said
    lost = [event.text for _, event in replay.events if event.kind == "srt_lost"]
    assert ["nothing from the receiver for 3 s; 0 of 3 links answer"] == lost


def _of_dead_receiver(event: Event, words: str) -> bool:
    """Return whether a link is down because its receiver is gone: when depends on what was under way over it."""
    return words in {"the receiver is killed", "end"} and event.kind == "srtla_link_down"


def test_its_numbers(replay: Replay, exchange: Recording) -> None:
    """Packets and bytes are those of the recording, to the last one; round trips are the links', latency the larger."""
    replay.until("link 3 is cut")
    rows = [row for row in exchange.rows if row.at_s <= replay.played_s]
    replay.collect()
    for number, (address, trip_ms) in enumerate(zip(replay.links, replay.trips_ms, strict=True), 1):
        sent = data(rows, f"{number}{OUT}")
        assert len(sent) == replay.value("srtla.link_packets_sent_total", address)
        counted = replay.state.tap.links[address].packets.sent_bytes  # type: ignore[union-attr]
        assert sum(row.length + HEADERS for row in sent) == counted
        assert trip_ms <= (replay.value("srtla.link_rtt_ms", address) or 0) < 1.1 * trip_ms
    assert (2000, 1) == (replay.value("srt.latency_ms"), replay.value("srt.latency_negotiated"))
    sent, again = data(rows, FROM_ENCODER), [row for row in data(rows, FROM_ENCODER) if row.payload[4] & AGAIN]
    assert len(sent) == replay.value("srt.packets_sent_total")
    assert len(again) == replay.value("srt.packets_retransmitted_total")
    lost = {number for row in rows if row.way == TO_ENCODER and kind(row) == NAK for number in reported(row.payload)}
    assert len(lost) == replay.state.tap.connection.losses.reported > 0  # type: ignore[union-attr]


def registration(rows: Iterable[Row], link: int) -> list[tuple[str, int, int]]:
    """Return way, kind and length of what was said over a link until it was registered."""
    said: list[tuple[str, int, int]] = []
    for row in rows:
        if row.link == link and row.payload[0] == REG3 >> 8:
            said.append((row.way[1:], kind(row), row.length))
            if kind(row) == REG3:
                break
    return said


def most_copies(rows: Iterable[Row]) -> int:
    """Return over how many links one loss report came at most."""
    links: dict[bytes, set[int | None]] = defaultdict(set)
    for row in rows:
        if row.way.endswith(IN) and kind(row) == NAK:
            links[row.payload].add(row.link)
    return max(map(len, links.values()))


@pytest.mark.parametrize("name", ["belabox", "irlserver"], indirect=True)
def test_the_tests_own_programs_say_the_same(
    tmp_path: File, exchange: Recording, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each link's registration, over how many links a loss report comes, and how long answers are."""
    network = PlayedNetwork(7, monkeypatch.setattr)
    play = Play(
        tmp_path, network, [Path(f"127.0.0.{last}", delay_s) for last, delay_s in ((2, 0.02), (3, 0.03), (4, 0.05))]
    )
    own = overheard(play, network, monkeypatch)
    play.receiver.is_fork = name in FORKS
    play.start_sender()
    play.start_encoder()
    play.run(2)
    play.paths[1].loss = 0.2
    play.run(2)
    play.encoder.is_stalled = True  # type: ignore[union-attr]
    play.run(3)  # links without data are kept alive
    play.close()
    for link in range(3):
        assert registration(exchange.rows, link) == registration(own, link)
    assert most_copies(exchange.rows) == most_copies(own)
    real, ours = (
        {row.length for row in rows if row.way.endswith(IN) and kind(row) == KEEPALIVE} for rows in (exchange.rows, own)
    )
    assert real == ours


def overheard(play: Play, network: PlayedNetwork, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Return a list to which is added what is said over the links of a play."""
    rows: list[Row] = []
    addresses, carry = [path.address for path in play.paths], network.carry

    def listen(packet: bytes, source: Address, target: Address) -> None:
        carry(packet, source, target)
        for (address, _), way in ((source, OUT), (target, IN)):
            if address in addresses:
                rows.append(Row(network.now_s - BEGAN_S, f"{addresses.index(address) + 1}{way}", len(packet), packet))

    monkeypatch.setattr(network, "carry", listen)
    return rows
