"""The SRT source beside a whole stream: how it begins and ends, its links' states, and packets that it missed.

By a clock of its own, but for what only the machine's own packet sockets show: that needs the right to them, which
root has.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import pytest

from collectors.host import Host
from collectors.process_table import ProcessTable
from collectors.srt import srt
from collectors.srt.tap import Tap
from collectors.srt.uplink import HEADER_FRAMES
from tests.bonding.kernel_network import KernelNetwork
from tests.bonding.network import Network
from tests.bonding.play import MOST_BPS, Play
from tests.bonding.played_network import PlayedNetwork
from tests.bonding.srtla import Path
from tests.free_port import free_port

ONE, TWO, THREE = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@pytest.fixture
def play(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """A stream over three links that has not begun."""
    made = over_three_links(tmp_path, PlayedNetwork(7, monkeypatch.setattr))
    yield made
    made.close()


def over_three_links(folder: File, network: Network) -> Play:
    """Return a stream that has not begun."""
    return Play(folder, network, [Path(ONE, 0.01), Path(TWO, 0.02), Path(THREE, 0.03)])


def begin(play: Play) -> None:
    """Begin a stream as belaUI does, and wait until everything is up."""
    play.run(0.6)
    play.start_sender()
    play.start_encoder()
    assert play.run(10, lambda: is_up(play)), play.events


def is_up(play: Play) -> bool:
    """Tell whether the connection and every link is up."""
    tap = play.state.tap
    now_s = time.time()
    return tap is not None and bool(
        tap.connection.is_connected(now_s) and all(link.is_up(now_s) for link in tap.links.values())
    )


@pytest.mark.parametrize("order", ["both", "sender first", "encoder first"])
def test_starts_and_stops(play: Play, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latency is right within one collect and the buffer there, each time; nothing false is said in between."""
    if order == "both":
        look = ProcessTable.look

        def look_slowly(table: ProcessTable, host: Host) -> Any:
            play.network.wait(0.3, [])  # a busy machine: the handshake goes on meanwhile
            return look(table, host)

        monkeypatch.setattr(ProcessTable, "look", look_slowly)
    play.run(0.6)
    for _ in range(3):
        if order == "encoder first":
            play.start_encoder()
            play.run(0.3)
        play.start_sender()
        if order == "sender first":
            play.run(0.7)
        if order != "encoder first":
            play.start_encoder()
        assert play.run(10, lambda: is_up(play)), (order, play.events)
        play.run(0.7)
        play.collect()
        assert (2000, 1) == (play.value("srt.latency_ms"), play.value("srt.latency_negotiated"))
        assert 1 == play.value("srt.connected")
        assert play.value("srt.buffer_utilization_percent") is not None
        play.stop()
        play.samples.clear()
        play.collect()
        assert play.value("srt.connected") is None
    assert ["srt_connected"] * 3 == play.kinds()


@pytest.mark.root
def test_a_start_on_the_machines_own_sockets(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's packets wake the source, and all links, the latency and the buffer are there."""
    monkeypatch.setattr(srt, "TAPS_ANY_ROOT", True)
    play = over_three_links(tmp_path, KernelNetwork(7))
    try:
        play.run(0.6)
        play.start_sender()
        play.start_encoder()
        assert play.run(60, lambda: is_up(play)), play.events
        assert play.run(60, lambda: play.value("srt.buffer_utilization_percent") is not None)
        assert (2000, 1) == (play.value("srt.latency_ms"), play.value("srt.latency_negotiated"))
    finally:
        play.close()


def test_a_collector_that_begins_in_the_middle(play: Play) -> None:
    """It invents no lost connection; what the handshake said is kept; without that the latency is the one asked for."""
    begin(play)
    play.run(1)
    again(play)
    assert (1, 2000, 1) == tuple(map(play.value, ("srt.connected", "srt.latency_ms", "srt.latency_negotiated")))
    assert play.value("srt.buffer_utilization_percent") is not None
    (play.state.run_dir / "srt-handshake.json").unlink()  # type: ignore[operator]
    again(play)
    assert (1, 1000, 0) == tuple(map(play.value, ("srt.connected", "srt.latency_ms", "srt.latency_negotiated")))


def again(play: Play) -> None:
    """Have the source begin again in the middle of the stream."""
    play.state.tap.close()  # type: ignore[union-attr]
    play.state.starts.close()  # type: ignore[union-attr]
    play.events.clear()
    play.begin_source()
    play.run(0.2)
    assert play.value("srt.connected") in {None, 1}
    assert play.run(5, lambda: is_up(play))
    play.collect()
    assert ["srt_connected"] == play.kinds()


def test_a_stalled_source_is_no_lost_connection(play: Play) -> None:
    """Keepalives alone are a connection; a goodbye ends it at once, with its own words."""
    begin(play)
    play.events.clear()
    play.encoder.is_stalled = True  # type: ignore[union-attr]
    play.run(5)
    assert [] == play.kinds()
    play.network.do(play.encoder.close)  # type: ignore[union-attr]
    play.encoder = None
    assert play.run(2, lambda: "srt_lost" in play.kinds())
    assert play.events[0][1].text == "the connection was closed; 3 of 3 links answer"


def state(play: Play, address: str) -> str:
    """Return the state of a link at the next collect."""
    play.collect()
    return play.labels["srtla.link_info", address]["state"]


def link_events(play: Play, address: str) -> list[str]:
    """Return what was said of a link, and forget it."""
    found = [event.text.partition(": ")[2] or event.text for _, event in play.events if event.subject == address]
    play.events.clear()
    return found


def within(play: Play, seconds: float, address: str, wanted: str) -> list[str]:
    """Wait until a link is in a state; return what was said of it."""
    began_s = time.monotonic()
    ready = play.run(seconds, lambda: play.state.bond.states.get(address) == wanted)
    print(f"{address} {wanted} after {time.monotonic() - began_s:.2f} s")
    assert ready, play.state.bond.states
    assert wanted == state(play, address)
    return link_events(play, address)


SEEN_S = 3.0
BACK_S = SEEN_S + 2  # srtla_send asks a link that is dead each second, over a path of its own


def test_the_states_of_a_link(play: Play) -> None:
    """Never registered, back, gone dead, taken off, put back, unplugged, plugged in again: state and cause in 3 s."""
    play.plug({ONE: "usb0", TWO: "usb1", THREE: "usb2"})
    play.paths[2].is_cut = True
    play.run(0.6)
    play.start_sender()
    play.start_encoder()
    assert ["its registration was never granted"] == within(play, SEEN_S, THREE, "down")
    assert (1, 0, 2) == (
        play.value("srtla.link_up", ONE), play.value("srtla.link_up", THREE), play.value("srtla.active_links"),
    )  # fmt: skip
    play.paths[2].is_cut = False
    assert ["link usb2 (127.0.0.4) answers again"] == within(play, SEEN_S, THREE, "up")
    play.paths[2].is_cut = True
    assert ["no answer"] == within(play, SEEN_S, THREE, "down")
    play.paths[2].is_cut = False
    within(play, BACK_S, THREE, "up")
    play.enable([ONE, TWO])
    assert ["it was taken off the sender's list"] == within(play, SEEN_S, THREE, "removed")
    play.enable([ONE, TWO, THREE])
    assert [] == within(play, SEEN_S, THREE, "up")
    play.plug({ONE: "usb0", TWO: "usb1"})
    play.enable([ONE, TWO])
    assert ["its address is gone: the modem is unplugged, or was reset"] == within(play, SEEN_S, THREE, "gone")
    play.plug({ONE: "usb0", TWO: "usb1", THREE: "usb7"})
    play.enable([ONE, TWO, THREE])
    assert ["link usb7 (127.0.0.4) answers again"] == within(play, SEEN_S, THREE, "up")
    assert "usb7" == play.labels["srtla.link_up", THREE]["interface"]


def test_a_link_that_is_slow_or_lossy(play: Play) -> None:
    """It stays up, and its round trip or its loss says within 3 s what is wrong; the others' do not."""
    begin(play)
    play.controller.bitrate = MOST_BPS
    play.run(4)
    play.events.clear()
    play.paths[1].delay_s, play.paths[2].loss = 0.3, 0.2
    began_s = time.monotonic()
    links = play.state.tap.links  # type: ignore[union-attr]
    assert play.run(SEEN_S, lambda: (links[TWO].trips.median_ms(time.time()) or 0) > 500)
    print(f"slow after {time.monotonic() - began_s:.2f} s")
    assert play.run(SEEN_S, lambda: (links[THREE].packets.loss_percent() or 0) > 5)
    print(f"lossy after {time.monotonic() - began_s:.2f} s")
    assert time.monotonic() - began_s < SEEN_S
    play.collect()
    assert 40 > (play.value("srtla.link_rtt_ms", ONE) or 0) < 0.1 * (play.value("srtla.link_rtt_ms", TWO) or 0)
    assert 0.0 == play.value("srtla.link_loss_percent", ONE)
    assert ["up"] * 3 == [play.labels["srtla.link_info", one]["state"] for one in (ONE, TWO, THREE)]
    assert not {"srtla_link_down", "srt_lost"}.intersection(play.kinds())


def test_an_address_that_no_interface_has(play: Play) -> None:
    """It is down from the first look on, and says why."""
    play.have([ONE, TWO])
    play.run(0.6)
    play.start_sender()
    play.start_encoder()
    assert ["no interface has its address"] == within(play, 1.5, THREE, "down")


def test_a_changed_public_address(play: Play) -> None:
    """Nobody knows the link then; it comes back by registering again, and that is said."""
    begin(play)
    play.events.clear()
    play.paths[1].translations += 1
    assert play.run(20, lambda: "srtla_link_readdressed" in play.kinds()), play.events
    assert "up" == state(play, TWO)


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set(play: Play, step_s: float) -> None:
    """Nothing is said to be lost, the numbers are right again within three seconds, and a lost link is seen."""
    begin(play)
    play.controller.bitrate = MOST_BPS
    play.run(2)
    play.events.clear()
    play.network.ahead_s += step_s  # type: ignore[attr-defined]
    play.run(0.2)
    play.samples.clear()
    play.run(2.5)
    play.collect()
    assert [] == play.kinds()
    assert (1, 2000, 1) == tuple(map(play.value, ("srt.connected", "srt.latency_ms", "srt.latency_negotiated")))
    for path in play.paths:
        assert 2000 * path.delay_s == pytest.approx(play.value("srtla.link_rtt_ms", path.address) or 0, rel=0.05)
    play.paths[2].is_cut = True
    assert ["no answer"] == within(play, SEEN_S, THREE, "down")


def test_a_collector_that_was_starved(play: Play) -> None:
    """What depends on packets that the tap missed is absent; nothing is said to be lost, and then all is back."""
    begin(play)
    play.run(3)
    play.events.clear()
    tap = play.state.tap
    assert tap is not None
    filler = play.network.bind(ONE, 0, lambda _packet, _sender: None)
    for _ in range(HEADER_FRAMES + 3_000):  # more than the ring holds, without a look in between
        filler.sendto(bytes(16), ("127.0.0.1", play.srtla_port))
    play.samples.clear()
    play.collect()
    assert tap.missed > 0
    assert play.value("srt.packet_loss_percent") is None
    assert play.value("srtla.link_loss_percent", ONE) is None
    assert play.value("srt.connected") in {None, 1}
    play.run(7)
    play.collect()
    assert [] == play.kinds()
    assert 1 == play.value("srt.connected")
    assert play.value("srtla.link_loss_percent", ONE) in {None, 0.0}


@pytest.mark.root
def test_the_kernel_says_what_found_its_ring_full() -> None:
    """Each packet is either taken in or counted as missed."""
    port, more = free_port(), 300
    tap = Tap(free_port(), port, [ONE])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as filler:
        filler.bind((ONE, 0))
        for _ in range(HEADER_FRAMES + more):
            filler.sendto(bytes(16), ("127.0.0.1", port))
    tap.drain(time.time())
    sent = tap.links[ONE].packets.sent
    tap.close()
    assert (HEADER_FRAMES, more) == (sent, tap.missed)
