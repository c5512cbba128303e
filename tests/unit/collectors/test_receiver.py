"""The receiver's statistics in the dialects there are, its secrets, and its silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collectors.host import Host
from collectors.receiver import receiver
from common.events import Event
from common.log import SECRETS
from common.sample import Sample
from tests.unit.collectors.web_server import Asked, serving

KEY, AUTHORIZATION = "live_k3y_9c1", "Basic-4f9a"

# The same stream as each of them shows it; keys from their sources, numbers our own.
SLS = {"publishers": {KEY: {"pktRcvLoss": 12, "pktRcvDrop": 3, "mbpsRecvRate": 4.06, "rtt": 48.2, "bitrate": 6010}}}
OPENIRL = {"publisher": {"bitrate": 6010, "dropped_pkts": 3, "rtt": 48.2, "uptime": 60, "latency": 2000}}
LEGACY = {
    "publishers": {
        "live": {"mbps_recv_rate": 4.06, "bitrate": 6010, "pkt_rcv_drop": 3, "pkt_rcv_loss": 12, "rtt": 48.2}
    }
}
RELAY = {"publishers": {KEY: {"connected": True, "bitrate": 6010, "rtt": 48.2, "dropped_pkts": 3, "network": 1}}}
MEDIAMTX = {
    "items": [
        {"state": "read", "msRTT": 1.0, "packetsReceivedDrop": 99},
        {"state": "publish", "msRTT": 48.2, "mbpsReceiveRate": 6.01, "packetsReceivedDrop": 3},
    ]
}


def values(content: dict[str, Any], stream: str = "") -> dict[str, Any]:
    """Return what is made of an answer, by metric."""
    return {one.name.removeprefix("receiver."): one.value for one in receiver.parse(json.dumps(content), stream)}


@pytest.mark.parametrize("content", [SLS, OPENIRL, LEGACY, RELAY, MEDIAMTX])
def test_each_dialect_says_the_same(content: dict[str, Any]) -> None:
    """Bitrate in kbit/s or Mbit/s, drops under four names."""
    found = values(content)
    same = ("connected", "bitrate_bits_per_second", "rtt_ms", "packets_dropped_total")
    assert (1, 6_010_000, 48.2, 3) == tuple(found[name] for name in same)


@pytest.mark.parametrize(
    "content",
    [
        {"publishers": {}},
        {"publisher": None},
        {"items": []},
        {"publishers": {"k": {"connected": False}}},
        {"status": "ok", "message": receiver.IDLE},
    ],
)
def test_a_receiver_without_our_stream(content: dict[str, Any]) -> None:
    """It answers, and has nothing: connected is 0, the rest absent."""
    assert {"connected": 0} == values(content)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", '{"status":"ok"}', '{"publishers":[]}', "<html>"])
def test_what_is_not_understood(text: str) -> None:
    """Is nothing, and no zero."""
    with pytest.raises(receiver.ReceiverError):
        receiver.parse(text)


def test_ours_of_several() -> None:
    """By its name or the end of it; where that cannot be told nothing is said, and why is."""
    streams = {"publishers": {"live/stream/theirs": {"rtt": 1.0}, "live/stream/ours": {"rtt": 2.0}}}
    assert [2.0, 2.0] == [values(streams, name)["rtt_ms"] for name in ("ours", "live/stream/ours")]
    assert {"connected": 0} == values(streams, "another")
    with pytest.raises(receiver.ReceiverError, match="has 2 streams"):
        values(streams)


def test_what_a_viewer_sees() -> None:
    """irl-srt-server's own counts of breaks, loss reports and viewers that fall behind."""
    row = {
        "ingestDiscontinuities": 4, "pktSentNAKTotal": 31, "msSrtlaReorderHold": 80, "viewerPktSndDrop": 5,
        "maxReaderBacklogMs": 120,
    }  # fmt: skip
    assert {
        "connected": 1, "discontinuities_total": 4, "naks_sent_total": 31, "reorder_hold_ms": 80.0,
        "viewer_packets_dropped_total": 5, "viewer_backlog_ms": 120.0,
    } == values({"publishers": {"k": row}})  # fmt: skip


def test_links_as_they_arrive() -> None:
    """Each by the receiver's number for it, what has none is left out."""
    peers = [{"connection_id": "a3f2", "bitrate": 5000, "jitter": 1.2, "uptime": 3600}, {"bitrate": 1}, 7]
    found = receiver.parse(json.dumps({"publisher": {"bitrate": 8000, "peers": peers}}))
    assert [
        ("receiver.link_bitrate_bits_per_second", 5_000_000.0),
        ("receiver.link_jitter_ms", 1.2),
        ("receiver.link_uptime_seconds", 3600.0),
    ] == [(one.name, one.value) for one in found if one.tags == {"link": "a3f2"}]


def test_numbers_that_are_none() -> None:
    """Text, null, negative and boolean values are absent."""
    row = {"rtt": "48", "bitrate": None, "latency": -1, "uptime": True}
    assert {"connected": 1} == values({"publisher": row})


def secret(file: Path, text: str) -> Path:
    """Write a file that only its owner can read."""
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_the_key_is_in_the_question_and_nowhere_else(tmp_path: Path) -> None:
    """It comes from its file, as does the header; a receiver that goes and comes is told once each."""
    asked: list[Asked] = []
    status = [200]

    def answer(request: Asked) -> tuple[int, str]:
        asked.append(request)
        return status[0], json.dumps(SLS)

    host, state = Host(tmp_path), receiver.State()
    found: list[Sample | Event] = []
    with serving(answer) as address:
        config = receiver.Config(
            enabled=True,
            url=f"http://{address}/stats?publisher={receiver.KEY}",
            key_file=secret(tmp_path / "key", f"{KEY}\n"),
            authorization_file=secret(tmp_path / "authorization", AUTHORIZATION),
        )
        for status[0] in (200, 403, 403, 200):
            host.begin()
            found += receiver.collect(host, config, state)
    assert (f"/stats?publisher={KEY}", AUTHORIZATION) == (asked[0].path, asked[0].headers["Authorization"])
    assert [
        ("receiver_silent", "the receiver's statistics: answers 403"),
        ("receiver_back", "the receiver's statistics answer again"),
    ] == [(one.kind, one.text) for one in found if isinstance(one, Event)]
    assert KEY not in repr(found)
    assert "***" == SECRETS.redact(KEY)


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    """It is said, and the receiver not asked."""
    file = secret(tmp_path / "key", KEY)
    file.chmod(0o644)
    host = Host(tmp_path)
    config = receiver.Config(url="http://127.0.0.1:9/{key}", key_file=file)
    found = list(receiver.collect(host, config, receiver.State()))
    assert "chmod 600" in host.faults["receiver"]
    assert ["receiver_silent"] == [one.kind for one in found if isinstance(one, Event)]
