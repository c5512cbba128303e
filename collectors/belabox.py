"""Read belaUI's configuration and belacoder's process; shared by several collectors.

belaUI's configuration and belacoder's command line contain the stream key, passwords and tokens in clear text. Only
this module opens them, and it returns only the keys that are listed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from collectors.host import Host, unsigned
from collectors.process_table import RunningProcess
from common import untrusted
from common.untrusted import UntrustedError

CONFIG = "opt/belaUI/config.json"
BITRATES = "tmp/belacoder_br"
PIPELINE = "tmp/belacoder_pipeline"
PIPELINES = "usr/share/belacoder/pipelines"
ENCODERS = frozenset({"belacoder", "ceracoder", "cerastream"})
SENDERS = frozenset({"srtla_send"})
LONGEST_S = 1e10  # three hundred years
RESIDENT = "cerastream"  # CeraUI's engine is a service of its own, which runs without a stream too

_PLAIN_KEYS = frozenset({"max_br", "delay", "srt_latency", "pipeline", "acodec", "asrc", "srtla_port"})


def settings(host: Host) -> dict[str, Any]:
    """Return the keys of belaUI's configuration that are no secrets; nothing where it cannot be read."""
    text = host.text(CONFIG)
    if text is None:
        return {}
    try:
        found = untrusted.json_object(text)
    except UntrustedError as error:
        host.fault(CONFIG, f"not understood: {error}")  # never with its content
        return {}
    return {name: value for name, value in found.items() if name in _PLAIN_KEYS}


def max_bitrate(host: Host) -> int | None:
    """Return the bitrate that belacoder may not exceed, bits per second."""
    limits = [unsigned(line) for line in (host.trusted_text(BITRATES) or "").split()]
    if len(limits) == 2 and limits[1]:
        return limits[1]
    kilobits = settings(host).get("max_br")
    return kilobits * 1000 if type(kilobits) is int and kilobits > 0 else None


def pipeline_name(host: Host) -> str | None:
    """Return the file of the configured pipeline, e.g. ``rk3588/h265_hdmi_1080p30``: belaUI stores its sha1."""
    digest = settings(host).get("pipeline")
    for folder in host.names(PIPELINES) if isinstance(digest, str) else []:
        for file in host.names(f"{PIPELINES}/{folder}"):
            name = f"{folder}/{file}"
            if hashlib.sha1(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest() == digest:
                return name
    return None


def option(host: Host, program: RunningProcess, flag: str) -> int | None:
    """Return the number behind a flag of a command line, e.g. the latency in ms behind ``-l``."""
    words = (host.text(f"proc/{program.pid}/cmdline") or "").split("\0")
    return next((unsigned(value) for name, value in pairwise(words) if name == flag), None)


def encoder(programs: Iterable[RunningProcess]) -> RunningProcess | None:
    """Return the process that encodes a stream, None where none does.

    An engine that always runs encodes while a sender runs: then that one's start is the stream's.
    """
    found = [program for program in programs if program.name in ENCODERS]
    started = [program for program in found if program.name != RESIDENT]
    senders = [program for program in programs if program.name in SENDERS]
    if started or not found or not senders:
        return started[-1] if started else None
    return senders[-1]._replace(name=RESIDENT)


def uptime_s(host: Host) -> float | None:
    """Return for how long the machine has run, None where it does not say."""
    return untrusted.number((host.text("proc/uptime") or "").partition(" ")[0], 0, LONGEST_S)
