"""The sound that is captured: its true sample rate, stalls and overruns.

Reads: proc/asound/<card>/pcm0c/sub0/{status,hw_params}, sys/class/sound/card*/device, opt/belaUI/config.json (codec,
    source and delay), tmp/belacoder_pipeline (the audio encoder's bitrate).
Source: sound/core/pcm.c, Documentation/sound/designs/procfile.rst, belaUI.js.
Emits: audio.running{card} (0 or 1), audio.sample_rate_hertz{card} (counted, not configured), audio.channels{card},
    audio.overruns_total{card}, audio.bitrate_bits_per_second, audio.sync_offset_ms (configured),
    audio.info{codec,source} (1). Events audio_stalled and audio_recovered.
Errors: a card that no program captures from is not running and has no rate. An overrun that the program recovered from
    between two readings is seen by the trigger time: the same program restarted the capture. Audio levels cannot be
    read: belacoder has exclusive access to the card.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from collectors import belabox
from collectors.admission import noted
from collectors.host import Host, unsigned
from common.events import Event
from common.keys import boolean, duration, key
from common.sample import Sample

CARDS = "proc/asound"
STREAM = "pcm0c/sub0"
RUNNING, OVERRUN = "RUNNING", "XRUN"
NOTHING = "there is none, or this container does not see /proc/asound"
STALL_S = 1.5  # a period has 10 to 100 ms
REST_S = 5.0  # between two looks where there is no card

_SECOND = re.compile(r"_\d{1,2}$")  # what ALSA appends to a name that is taken (sound/core/init.c)
_BITRATE = re.compile(r"(?:voaacenc|avenc_aac|fdkaacenc|opusenc)\b[^!]*?\bbitrate=(\d{1,9})")


@dataclass(frozen=True)
class Config:
    """Section collectors.audio."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "5s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it looks for a stall", name="watch_interval")


class PointerReading(NamedTuple):
    """Where a card's pointer stood, when that was read, and when the driver had moved it there.

    The driver's clock may be the wall clock, which steps; it counts only where both agree.
    """

    pointer: int
    now_s: float
    stamp_s: float


@dataclass
class Card:
    """What is remembered of a card: its last reading, and when its pointer last moved."""

    read: PointerReading | None = None
    watched: int | None = None
    moved_s: float = 0.0
    state: str = ""
    started: tuple[str, str] = ("", "")  # by whom, and when
    overruns: int = 0
    is_stalled: bool = False


class State:
    """The cards by their label, the names of which there were several, and how long they may be left alone."""

    def __init__(self) -> None:
        self.rest_s: float | None = None
        self.cards: dict[str, Card] = {}
        self.several: set[str] = set()


def collect(host: Host, _config: Config, state: State) -> Iterator[Sample]:
    """Yield the state of each capture card, and belaUI's audio settings."""
    yield from noted(_captured(host, state), host, "sound card that can capture", NOTHING)
    yield from _configured(host)


def _captured(host: Host, state: State) -> Iterator[Sample]:
    for name, label in _cards(host, state.several).items():
        status = _status(host, name)
        if status is None:
            continue
        card, tags = state.cards.setdefault(label, Card()), {"card": label}
        _count_overrun(card, status)
        yield Sample("audio.running", int(status.get("state") == RUNNING), tags)
        yield Sample("audio.overruns_total", card.overruns, tags)
        yield from _rate(card, status, host.now_s, tags)
        channels = unsigned(_pairs(host, f"{CARDS}/{name}/{STREAM}/hw_params").get("channels", ""))
        if channels is not None and status.get("state") == RUNNING:
            yield Sample("audio.channels", channels, tags)


def watch(host: Host, _config: Config, state: State) -> Iterator[Event]:
    """Yield an event when a running card stops delivering data, and one when it delivers again."""
    cards = _cards(host, state.several)
    state.rest_s = None if cards else REST_S
    for name, label in cards.items():
        status = _status(host, name)
        if status is None:
            continue
        card = state.cards.setdefault(label, Card())
        _count_overrun(card, status)
        pointer = unsigned(status.get("hw_ptr", ""))
        is_running = status.get("state") == RUNNING and pointer is not None
        if not is_running or pointer != card.watched:
            card.watched, card.moved_s = pointer, host.now_s
            if card.is_stalled:
                card.is_stalled = False
                what = "sound arrives again" if is_running else "closed"
                yield Event("audio_recovered", f"{label}: {what}", label)
        elif not card.is_stalled and host.now_s - card.moved_s >= STALL_S:
            card.is_stalled = True
            yield Event("audio_stalled", f"{label}: no sound for {host.now_s - card.moved_s:.1f} s", label)


def bitrate(pipeline: str) -> int | None:
    """Return the bitrate of the audio encoder in a pipeline, bits per second, or None where it has none."""
    match = _BITRATE.search(pipeline)
    return int(match[1]) if match else None


def _cards(host: Host, several: set[str]) -> dict[str, str]:
    """Return the cards that can capture by their names, each with its label.

    Names are ALSA's; card0 … are the same ones, and change with every boot. So do C4K and C4K_1 where two cards are
    alike: those go by their USB port, and the one that is left when the other is unplugged goes on doing so.
    """
    names = [name for name in host.names(CARDS) if not re.fullmatch(r"card\d+", name)]
    captures = [name for name in names if host.exists(f"{CARDS}/{name}/{STREAM}/status")]
    kinds = [_SECOND.sub("", name) for name in captures]
    several |= {kind for kind in kinds if kinds.count(kind) > 1}
    return {
        name: f"{kind}@{port}" if kind in several and (port := _port(host, name)) else name
        for name, kind in zip(captures, kinds, strict=True)
    }


def _port(host: Host, name: str) -> str:
    """Return the USB port of a card, "" where it has none."""
    device = host.link(f"sys/class/sound/{host.link(f'{CARDS}/{name}')}/device").rpartition("/")[2]
    return device.partition(":")[0] if ":" in device else ""


def _status(host: Host, name: str) -> dict[str, str] | None:
    """Return the status of a card by its words; {} where nobody captures."""
    path = f"{CARDS}/{name}/{STREAM}/status"
    text = host.text(path)
    return None if text is None else {} if text.strip() == "closed" else _split(text)


def _pairs(host: Host, path: str) -> dict[str, str]:
    return _split(host.text(path) or "")


def _split(text: str) -> dict[str, str]:
    rows = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, _, value in rows}


def _count_overrun(card: Card, status: dict[str, str]) -> None:
    """Count an overrun, whether it lasts or is over (then the same program has restarted the capture)."""
    now, started = status.get("state", ""), (status.get("owner_pid", ""), status.get("trigger_time", ""))
    ran_on = now == RUNNING == card.state and started[0] == card.started[0] and "" not in started
    if now == OVERRUN != card.state or (ran_on and started[1] != card.started[1]):
        card.overruns += 1
    card.state, card.started = now, started


def _rate(card: Card, status: dict[str, str], now_s: float, tags: dict[str, str]) -> Iterator[Sample]:
    pointer = unsigned(status.get("hw_ptr", "")) if status.get("state") == RUNNING else None
    before, card.read = card.read, None if pointer is None else PointerReading(pointer, now_s, _stamp_s(status))
    if card.read is None or before is None or card.read.pointer < before.pointer or now_s <= before.now_s:
        return
    elapsed_s, stamped_s = now_s - before.now_s, card.read.stamp_s - before.stamp_s
    if stamped_s > 0 and abs(stamped_s - elapsed_s) < elapsed_s / 2:
        elapsed_s = stamped_s
    yield Sample("audio.sample_rate_hertz", round((card.read.pointer - before.pointer) / elapsed_s, 1), tags)


def _stamp_s(status: dict[str, str]) -> float:
    """Return when the driver moved the pointer, 0 where it does not say."""
    match = re.fullmatch(r"\d{1,12}\.\d{1,9}", status.get("tstamp", ""))
    return float(match[0]) if match else 0.0


def _configured(host: Host) -> Iterator[Sample]:
    settings = belabox.settings(host)
    rate = bitrate(host.trusted_text(belabox.PIPELINE) or "")
    if rate is not None:
        yield Sample("audio.bitrate_bits_per_second", rate)
    if type(settings.get("delay")) is int and abs(settings["delay"]) < 100_000:
        yield Sample("audio.sync_offset_ms", settings["delay"])
    codec, source = settings.get("acodec"), settings.get("asrc")
    if isinstance(codec, str) and isinstance(source, str):
        yield Sample("audio.info", 1, {"codec": codec, "source": source})
