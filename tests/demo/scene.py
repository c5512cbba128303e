"""What happens on the board at a moment: pure, the same for the same seed.

Reads: seconds since the start. Emits: a `Scene`. Fails: never.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

TARGET_BPS = 6_000_000
CYCLE_S = 240
ALONE_S = 60  # one episode that is played alone comes back after so long
LATENCY_MS = 2000
ENCODER_PID = 4000  # of the first run; each further run has the next
# Name: begin and end within a cycle, seconds.
EPISODES = {
    "rtt": (40, 60),
    "link": (80, 105),
    "heat": (120, 150),
    "hdmi": (165, 180),
    "stop": (200, 215),
}


class Link(NamedTuple):
    """One uplink of the bond."""

    interface: str
    ip: str
    up: bool
    rtt_ms: int
    loss_percent: float
    bits_per_second: int


class Scene(NamedTuple):
    """The board at a moment; `encodes` is False while the encoder has died and the sender has not."""

    streaming: bool
    run: int
    hdmi: bool
    bitrate_bps: int
    celsius: float
    links: tuple[Link, ...]
    encodes: bool = True


# Interface, address, round trip in ms, loss in percent, share of the bitrate.
LINKS = (
    ("usb0", "10.64.0.2", 45, 0.2, 0.45),
    ("wwan0", "10.65.0.2", 62, 0.6, 0.35),
    ("enx020000000010", "10.66.0.2", 88, 1.4, 0.20),
)


def episode_at(at_s: float, only: str | None = None) -> str | None:
    """Return the episode of a moment, or None in calm.

    Args:
        at_s: since the start.
        only: the episode that is played alone, every `ALONE_S`.
    """
    if only is not None:
        return only if ALONE_S / 3 <= at_s % ALONE_S < 2 * ALONE_S / 3 else None
    within_s = at_s % CYCLE_S
    return next((name for name, (begin_s, end_s) in EPISODES.items() if begin_s <= within_s < end_s), None)


def scene_at(at_s: float, seed: int = 1, only: str | None = None) -> Scene:
    """Return what the board does at a moment."""
    return scene_of(episode_at(at_s, only), _runs(at_s, only), at_s, seed)


def scene_of(episode: str | None, run: int, at_s: float, seed: int = 1) -> Scene:
    """Return what the board does at a moment of an episode; `crash` is one that no cycle has."""
    chance = random.Random(f"{seed}/{int(at_s)}")
    streaming, encodes = episode != "stop", episode not in {"stop", "crash"}
    bitrate_bps = _bitrate(at_s, episode, chance) if encodes else 0
    celsius = (88.0 if episode == "heat" else 62.0 if streaming else 51.0) + chance.uniform(-0.9, 0.9)
    links = tuple(_link(row, episode, bitrate_bps, chance) for row in LINKS)
    return Scene(streaming, run, episode != "hdmi", bitrate_bps, celsius, links, encodes)


def _bitrate(at_s: float, episode: str | None, chance: random.Random) -> int:
    """Return the setpoint; the encoder is set to whole 100 kbit/s."""
    level = {"rtt": 0.25, "link": 0.6}.get(episode or "", 0.92)
    wanted = TARGET_BPS * (level + 0.05 * math.sin(at_s / 7) + chance.uniform(-0.02, 0.02))
    return min(TARGET_BPS, int(wanted) // 100_000 * 100_000)


def _link(row: tuple[str, str, int, float, float], episode: str | None, bitrate: int, chance: random.Random) -> Link:
    name, ip, rtt_ms, loss, share = row
    up = not (episode == "link" and name == "usb0")
    slow = 720 if episode == "rtt" else 0
    if episode == "link":  # the others carry what the lost one did
        share = share / (1 - LINKS[0][4]) if up else 0.0
    wobble = chance.uniform(0.85, 1.25)
    rate = int(bitrate * share * chance.uniform(0.97, 1.03)) if up else 0
    return Link(name, ip, up, int(rtt_ms * wobble) + slow, loss * wobble, rate)


def _runs(at_s: float, only: str | None) -> int:
    """Return how often the stream has been started, counted from 0."""
    if only is not None:
        return int((at_s + ALONE_S / 3) // ALONE_S) if only == "stop" else 0
    return int((at_s + CYCLE_S - EPISODES["stop"][1]) // CYCLE_S)
