"""The stream as the receiver sees it, from the receiver's own statistics.

Reads: the statistics page of irl-srt-server, OpenIRL's srt-live-server, a BELABOX relay, or MediaMTX's
    /v3/srtconns/list, over HTTP where configured.
Source: irl-srt-server src/core/SLSManager.cpp (750ee17): `bitrate` is that of the last second, `mbpsRecvRate` the mean
    since the connection began, for nobody clears it; OpenIRL/srt-live-server slscore/SLSManager.cpp (ea67066), and its
    pull request 7 for `peers`; mediamtx internal/defs/api_srt.go (3e09466): `mbpsReceiveRate` is that of now.
Emits: receiver.connected (0 or 1: it has our stream), receiver.bitrate_bits_per_second, receiver.rtt_ms,
    receiver.latency_ms, receiver.buffer_ms, receiver.link_capacity_bits_per_second, receiver.uptime_seconds,
    receiver.packets_{lost,dropped,retransmitted,late}_total (as it counts them), receiver.naks_sent_total,
    receiver.discontinuities_total (what every viewer sees), receiver.reorder_hold_ms, receiver.viewer_backlog_ms,
    receiver.viewer_packets_dropped_total, and receiver.link_{bitrate_bits_per_second,jitter_ms,uptime_seconds}{link} of
    each bonded link. Events receiver_silent, receiver_back.
Errors: no answer, a status other than 200, or nothing understood is a fault and absent values. What a receiver does
    not say is absent. The stream's key stays in its file: neither it nor the name under which it publishes is a label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from collectors.host import Host
from collectors.web import WebError, get
from common import token_file, untrusted
from common.events import Event
from common.keys import boolean, duration, key, path, text, url
from common.sample import Sample, Value
from common.token_file import TokenFile
from common.untrusted import UntrustedError

RECORDED = "receiver"  # below any root but /: what the receiver answered when the tree was recorded
KEY = "{key}"
TIMEOUT_S = 1.5  # twice that and an unwilling resolver are less than three heartbeats

# A metric, what one of it is in the receiver's unit, and what receivers call it.
FIELDS = (
    ("bitrate_bits_per_second", 1e3, ("bitrate",)),
    ("bitrate_bits_per_second", 1e6, ("mbpsReceiveRate",)),
    ("rtt_ms", 1.0, ("rtt", "msRTT")),
    ("latency_ms", 1.0, ("latency", "msReceiveTsbPdDelay")),
    ("buffer_ms", 1.0, ("msRcvBuf", "ms_rcv_buf", "buffer", "msReceiveBuf")),
    ("link_capacity_bits_per_second", 1e6, ("mbpsBandwidth", "mbps_bandwidth", "mbpsLinkCapacity")),
    ("uptime_seconds", 1.0, ("uptime",)),
    ("packets_lost_total", 1, ("pktRcvLoss", "pkt_rcv_loss", "packetsReceivedLoss")),
    ("packets_dropped_total", 1, ("pktRcvDrop", "pkt_rcv_drop", "dropped_pkts", "packetsReceivedDrop")),
    ("packets_retransmitted_total", 1, ("pktRcvRetrans", "packetsReceivedRetrans")),
    ("packets_late_total", 1, ("packetsReceivedBelated",)),
    ("naks_sent_total", 1, ("pktSentNAKTotal", "packetsSentNAK")),
    ("reorder_hold_ms", 1.0, ("msSrtlaReorderHold",)),
    ("discontinuities_total", 1, ("ingestDiscontinuities",)),
    ("viewer_packets_dropped_total", 1, ("viewerPktSndDrop",)),
    ("viewer_backlog_ms", 1.0, ("maxReaderBacklogMs",)),
)
LINK_FIELDS = (
    ("link_bitrate_bits_per_second", 1e3, ("bitrate",)),
    ("link_jitter_ms", 1.0, ("jitter",)),
    ("link_uptime_seconds", 1.0, ("uptime",)),
)
IDLE = "Publisher is currently not streaming"  # OpenIRL's answer without a stream
MAX_LINKS = 16


@dataclass(frozen=True)
class Config:
    """Section collectors.receiver."""

    enabled: bool = key(boolean(), "false", "collect it; the receiver is asked over the uplink")
    interval_s: float = key(duration(1, 86_400), "10s", "time between two questions", name="interval")
    url: str = key(url(optional=True), "", "of the statistics; {key} in it stands for the content of key_file")
    stream: str = key(
        text(), "", "our stream's name, or the end of it, if the receiver has several; empty: what is in key_file"
    )
    key_file: Path | None = key(path(optional=True), "", "file holding the stream's key alone; mode 0600")
    authorization_file: Path | None = key(
        path(optional=True), "", "file holding what the header Authorization says; mode 0600"
    )


class State:
    """The secrets as read last, and whether the receiver answers."""

    def __init__(self) -> None:
        self.files: dict[Path, TokenFile] = {}
        self.answers: bool | None = None


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield the receiver's statistics of our stream."""
    answer = _recorded(host) or _asked(host, config, state)
    if answer is None and not config.url:
        return
    found = None
    if answer is not None:
        try:
            found = parse(answer, config.stream or _key(config, state))
        except ReceiverError as error:
            host.fault("receiver", str(error))
    yield from _answering(found is not None, host, state)
    yield from found or []


class ReceiverError(Exception):
    """An answer without usable statistics of our stream; the text says why."""


def parse(answer: str, stream: str = "") -> list[Sample]:
    """Return what a receiver says of our stream.

    Args:
        answer: its own.
        stream: name, or its end, of ours among several.

    Raises:
        ReceiverError: it is not understood, or which of several is ours cannot be told.
    """
    try:
        content = untrusted.json_object(answer)
    except UntrustedError as error:
        raise ReceiverError("not understood") from error
    live = [
        (name, row) for name, row in _streams(content) if isinstance(row, dict) and row.get("connected") is not False
    ]
    if len(live) > 1:
        live = _ours(live, stream)
    if not live:
        return [Sample("receiver.connected", 0)]
    row = live[0][1]
    values = {"connected": 1, **_values(row, FIELDS)}
    return [*(Sample(f"receiver.{name}", value) for name, value in values.items()), *_links(row)]


def _ours(live: list[tuple[str, Any]], stream: str) -> list[tuple[str, Any]]:
    """Return our stream of several, or none of them.

    Raises:
        ReceiverError: it cannot be told.
    """
    found = [(name, row) for name, row in live if stream and (name == stream or name.endswith(f"/{stream}"))]
    if len(found) > 1 or not stream:
        raise ReceiverError(f"has {len(live)} streams: name ours in collectors.receiver.stream")
    return found


def _streams(content: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return name and figures of each stream of an answer, whoever's it is.

    Raises:
        ReceiverError: it is none.
    """
    items, publishers = content.get("items"), content.get("publishers")
    if isinstance(items, list):  # MediaMTX: readers are in the list too
        rows = [row for row in items if isinstance(row, dict) and row.get("state") == "publish"]
        return [(untrusted.words(row.get("path"), 256), row) for row in rows]
    if isinstance(publishers, dict):
        return list(publishers.items())
    if "publisher" in content:
        return [("", content["publisher"])]
    if content.get("status") == "ok" and content.get("message") == IDLE:
        return []
    raise ReceiverError("not understood")


def _links(row: dict[str, Any]) -> Iterator[Sample]:
    """Yield the figures of each bonded link, by the receiver's own number for it."""
    peers = row.get("peers")
    for peer in (peers if isinstance(peers, list) else [])[:MAX_LINKS]:
        link = untrusted.words(peer.get("connection_id"), 32) if isinstance(peer, dict) else ""
        if link:
            for name, value in _values(peer, LINK_FIELDS).items():
                yield Sample(f"receiver.{name}", value, {"link": link})


def _values(row: dict[str, Any], fields: Sequence[tuple[str, float, tuple[str, ...]]]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, one, spellings in fields:
        for spelling in spellings:
            value = row.get(spelling)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
                found.setdefault(name, int(value) if name.endswith("_total") else round(value * one, 3))
    return found


def _asked(host: Host, config: Config, state: State) -> str | None:
    if not config.url:
        return None
    try:
        secret = _secret(config.key_file, state)
        authorization = _secret(config.authorization_file, state)
        headers = {"Authorization": authorization} if authorization else {}
        answer = get(config.url.replace(KEY, secret), TIMEOUT_S, headers=headers)
    except WebError as error:
        host.fault("receiver", str(error))
    except (OSError, ValueError) as error:
        host.fault("receiver", token_file.reason(error))
    else:
        if answer.status == HTTPStatus.OK:
            return answer.text
        host.fault("receiver", f"answers {answer.status}")
    return None


def _recorded(host: Host) -> str | None:
    return host.text(RECORDED) if host.root != Path("/") and host.exists(RECORDED) else None


def _key(config: Config, state: State) -> str:
    """Return the stream's key, "" where there is none to be had."""
    try:
        return _secret(config.key_file, state)
    except (OSError, ValueError):
        return ""


def _secret(file: Path | None, state: State) -> str:
    if file is None:
        return ""
    if file not in state.files:
        state.files[file] = TokenFile(file)
    state.files[file].refresh()
    return state.files[file].text


def _answering(answers: bool, host: Host, state: State) -> Iterator[Event]:
    before, state.answers = state.answers, answers
    if before is not False and not answers:
        yield Event("receiver_silent", f"the receiver's statistics: {host.faults.get('receiver', 'no answer')}")
    elif before is False and answers:
        yield Event("receiver_back", "the receiver's statistics answer again")
