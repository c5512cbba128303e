"""The played board of `make demo`."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

import pytest

from collectors.events import events
from collectors.host import Host
from collectors.network import network
from collectors.srt.connection import SrtConnection
from collectors.srt.filters import HANDSHAKE, SRTLA_ACK
from collectors.srt.handshake import Negotiated
from collectors.srt.link import Link
from collectors.system import thermal
from tests import srt_packets
from tests.demo.__main__ import Player
from tests.demo.packets import CONNECTS_S, UNHEARD_S, Packets
from tests.demo.programs import PORT, RECEIVER_PORT
from tests.demo.scene import CYCLE_S, EPISODES, LATENCY_MS, LINKS, TARGET_BPS, scene_at


def test_the_same_seed_plays_the_same() -> None:
    """A play can be repeated, and another seed is another play."""
    assert [scene_at(s, seed=7) for s in range(CYCLE_S)] == [scene_at(s, seed=7) for s in range(CYCLE_S)]
    assert [scene_at(s, seed=8) for s in range(CYCLE_S)] != [scene_at(s, seed=7) for s in range(CYCLE_S)]


def test_every_episode_shows_what_it_is_named_for() -> None:
    """In the middle of each episode its sign is there, and in calm none is."""
    calm = scene_at(10)
    middle = {name: scene_at((begin + end) / 2) for name, (begin, end) in EPISODES.items()}

    assert calm.streaming
    assert calm.hdmi
    assert all(link.up for link in calm.links)
    assert middle["rtt"].bitrate_bps < TARGET_BPS / 2
    assert min(link.rtt_ms for link in middle["rtt"].links) > 500
    assert [False, True, True] == [link.up for link in middle["link"].links]
    assert middle["heat"].celsius > 85
    assert not middle["hdmi"].hdmi
    assert not middle["stop"].streaming


def test_a_stream_that_comes_back_is_another_run() -> None:
    """Before the stop it is run 0, after it run 1, and a cycle later run 2."""
    end_s = EPISODES["stop"][1]
    assert [0, 1, 2] == [scene_at(at_s).run for at_s in (10, end_s, CYCLE_S + end_s)]


def test_one_episode_plays_alone() -> None:
    """With --episode no other one happens."""
    scenes = [scene_at(at_s, only="hdmi") for at_s in range(CYCLE_S)]
    assert {True, False} == {scene.hdmi for scene in scenes}
    assert all(scene.streaming and all(link.up for link in scene.links) for scene in scenes)


def test_collectors_see_the_traffic_and_the_heat_that_are_played(tmp_path: Path) -> None:
    """A second's traffic of a link is its rate, the hottest zone is the scene's, nothing is unreadable."""
    root = tmp_path / "host"
    player, host = Player(root), Host(root)
    config, state = network.Config(), network.State()
    player.step(10, 0, 0)
    host.begin(10)
    list(network.collect(host, config, state))
    player.step(11, 1, 0)
    host.begin(11)
    seen = {(s.name, s.tags.get("interface")): s.value for s in network.collect(host, config, state)}
    heat = {s.name: s.value for s in thermal.collect(host, thermal.Config(), thermal.State())}

    scene = scene_at(11)
    for link in scene.links:
        rate = seen["network.tx_bits_per_second", link.interface]
        assert isinstance(rate, int)
        assert abs(rate - link.bits_per_second) <= 16
    hottest = heat["cpu.temperature"]
    assert isinstance(hottest, float)
    assert abs(hottest - scene.celsius) < 0.01
    assert {} == host.faults


def test_the_programs_end_with_the_stream(tmp_path: Path) -> None:
    """Processes, telemetry and encoder session are there in calm and gone in the stop."""
    root = tmp_path / "host"
    player = Player(root)
    player.step(10, 1, 1_764_000_000_000)
    report = json.loads((root / "tmp/srtla-send-stats-9000.json").read_text())
    began = [(root / f"proc/{pid}/comm").read_text() for pid in (3900, 4000)]
    player.step(EPISODES["stop"][0] + 1, 1, 1_764_000_001_000)

    assert ["srtla_send\n", "belacoder\n"] == began
    assert 1_764_000_000_000 == report["last_updated_ms"]
    assert ["0", "1", "2"] == [row["conn_id"] for row in report["connections"]]
    assert not (root / "proc/4000").exists()
    assert not (root / "tmp/srtla-send-stats-9000.json").exists()
    assert "RKVENC" not in (root / "proc/mpp_service/sessions-summary").read_text()


def test_only_a_play_is_replaced(tmp_path: Path) -> None:
    """A second play replaces the first; a folder of somebody else stays as it is."""
    Player(tmp_path / "host")
    Player(tmp_path / "host")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/photo").touch()

    with pytest.raises(FileExistsError):
        Player(tmp_path / "theirs")
    assert ["photo"] == [path.name for path in (tmp_path / "theirs").iterdir()]


def test_the_kernel_says_what_happens(tmp_path: Path) -> None:
    """A pulled cable and a lost modem are lines of its log, as the events collector reads them."""
    player, host, state = Player(tmp_path / "host"), Host(tmp_path / "host"), events.State()
    kinds = []
    for at_s in range(0, CYCLE_S, 5):
        player.step(at_s, 5, 0)
        kinds += [event.kind for event in events.watch(host, events.Config(), state)]
    assert ["usb_disconnected", "hdmi_unlocked"] == kinds


def test_the_first_handshake_waits_for_whoever_looks() -> None:
    """A pipeline that has only just been started would miss it; without one the stream begins nevertheless."""
    for heard_s, expected_s in ((3.0, 3.0 + CONNECTS_S), (1e9, UNHEARD_S + CONNECTS_S)):
        now_s, handshakes = 0.0, []

        def take(packet: bytes) -> None:
            if packet[28:30] == HANDSHAKE.to_bytes(2, "big"):
                handshakes.append(now_s)  # noqa: B023 - called in this turn of the loop alone

        packets = Packets(take, is_heard=lambda: now_s >= heard_s)  # noqa: B023 - likewise
        for step in range(400):
            now_s = step / 10
            packets.play(scene_at(10), now_s, 0.0)
        assert [pytest.approx(expected_s, abs=0.11)] * 2 == handshakes


def test_the_packets_say_what_the_scene_says() -> None:
    """Round trip, latency, buffer and loss of the connection; round trip and loss of each link."""
    now_s, seen, links = 0.0, SrtConnection(), {ip: Link() for _, ip, *_ in LINKS}

    def take(packet: bytes) -> None:
        source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        source_port, target_port = struct.unpack_from(">HH", packet, 20)
        if PORT in {source_port, target_port}:
            seen.take(now_s, packet[28:], len(packet) - 28, is_from_encoder=target_port == PORT)
        elif target_port == RECEIVER_PORT and packet[28] & 0x80:
            links[source].ask(now_s, packet[28:], 1)
        elif target_port == RECEIVER_PORT:
            links[source].send(srt_packets.left(now_s, packet[28:], len(packet), 1))
        elif packet[28:30] == SRTLA_ACK.to_bytes(2, "big"):
            links[target].acknowledge(srt_packets.answered(now_s, packet[28:], 1))
        else:
            links[target].answer(now_s, packet[28:], 1)

    packets, scene = Packets(take), scene_at(10)
    for step in range(1500):
        now_s = step / 100
        packets.play(scene, now_s, 0.01)
        if step % 50 == 0:
            for link in links.values():
                link.packets.close_batch(now_s, seen.in_doubt)
    assert seen.is_connected(now_s)
    assert Negotiated(LATENCY_MS, 8192) == seen.negotiated
    assert seen.measured(now_s).rtt_ms == max(link.rtt_ms for link in scene.links) + 4
    expected = TARGET_BPS * 0.9 / 8 / 1360 * (15 - CONNECTS_S)
    assert seen.acknowledged == pytest.approx(expected, rel=0.1)
    assert 0 < seen.losses.reported < 0.03 * seen.acknowledged
    for played in scene.links:
        link = links[played.ip]
        assert link.trips.median_ms(now_s) == pytest.approx(played.rtt_ms, abs=15)
        assert link.packets.loss_percent() == pytest.approx(played.loss_percent, abs=2.5)
