"""What arrives at the receiver, by its own statistics.

Reads: the statistics page of irl-srt-server, OpenIRL's srt-live-server, a BELABOX relay, or MediaMTX's
    /v3/srtconns/list, over HTTP where configured.
Source: irl-srt-server src/core/SLSManager.cpp; OpenIRL/srt-live-server README; mediamtx internal/defs/api_srt.go.
Emits: receiver.connected (0 or 1: it has our stream), receiver.bitrate_bits_per_second, receiver.rtt_ms,
    receiver.latency_ms, receiver.buffer_ms, receiver.link_capacity_bits_per_second, receiver.uptime_seconds,
    receiver.packets_{lost,dropped,retransmitted}_total (as it counts them). Events receiver_silent, receiver_back.
Errors: no answer, a status other than 200, or nothing understood is a fault and absent values. What a receiver does
    not say is absent. The stream's key stays in its file: neither it nor the name under which it publishes is a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from collectors.host import Host
from collectors.web import WebError, get
from common import token_file, untrusted
from common.events import Event
from common.keys import boolean, duration, key, path, url
from common.sample import Sample, Value
from common.token_file import TokenFile
from common.untrusted import UntrustedError

RECORDED = "receiver"  # below any root but /: what the receiver answered when the tree was recorded
KEY = "{key}"
TIMEOUT_S = 1.5  # twice that and an unwilling resolver are less than three heartbeats

# A metric, what one of it is in the receiver's unit, and what receivers call it.
FIELDS = (
    ("bitrate_bits_per_second", 1e6, ("mbpsRecvRate", "mbps_recv_rate", "mbpsReceiveRate")),
    ("bitrate_bits_per_second", 1e3, ("bitrate",)),
    ("rtt_ms", 1.0, ("rtt", "msRTT")),
    ("latency_ms", 1.0, ("latency", "msReceiveTsbPdDelay")),
    ("buffer_ms", 1.0, ("msRcvBuf", "ms_rcv_buf", "buffer", "msReceiveBuf")),
    ("link_capacity_bits_per_second", 1e6, ("mbpsBandwidth", "mbps_bandwidth", "mbpsLinkCapacity")),
    ("uptime_seconds", 1.0, ("uptime",)),
    ("packets_lost_total", 1, ("pktRcvLoss", "pkt_rcv_loss", "packetsReceivedLoss")),
    ("packets_dropped_total", 1, ("pktRcvDrop", "pkt_rcv_drop", "dropped_pkts", "packetsReceivedDrop")),
    ("packets_retransmitted_total", 1, ("pktRcvRetrans", "packetsReceivedRetrans")),
)


@dataclass(frozen=True)
class Config:
    """Section collectors.receiver."""

    enabled: bool = key(boolean(), "false", "collect it; the receiver is asked over the uplink")
    interval_s: float = key(duration(1, 86_400), "10s", "time between two questions", name="interval")
    url: str = key(url(optional=True), "", "of the statistics; {key} in it stands for the content of key_file")
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
    """Yield what the receiver says of our stream."""
    text = _recorded(host) or _asked(host, config, state)
    if text is None and not config.url:
        return
    found = parse(text) if text is not None else None
    if text is not None and found is None:
        host.fault("receiver", "not understood")
    yield from _answering(found is not None, host, state)
    for name, value in (found or {}).items():
        yield Sample(f"receiver.{name}", value)


def parse(text: str) -> dict[str, Value] | None:
    """Return what a receiver says of the first stream that it has, by metric; None where it is not understood."""
    try:
        content = untrusted.json_value(text)
    except UntrustedError:
        return None
    rows = _streams(content)
    if rows is None:
        return None
    row = next((row for row in rows if isinstance(row, dict) and row.get("connected") is not False), None)
    return {"connected": 0} if row is None else {"connected": 1, **_values(row)}


def _streams(content: Any) -> list[Any] | None:
    """Return the streams of an answer, whoever's it is; None where it is none."""
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("items"), list):  # MediaMTX: readers are in the list too
        return [row for row in content["items"] if isinstance(row, dict) and row.get("state") == "publish"]
    if isinstance(content.get("publishers"), dict):
        return list(content["publishers"].values())
    if "publisher" in content:
        return [content["publisher"]]
    return None


def _values(row: dict[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, one, spellings in FIELDS:
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
