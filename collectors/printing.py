"""The option `--print`: print the samples of a collector or of one source as JSON lines.

Emits: an empty line after each round, in which every source collects once; what is missing or cannot be read goes to
    stderr, each once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from collectors import registry
from collectors.host import Host
from collectors.source import Source
from common import clock, config


def show(options: argparse.Namespace) -> int:
    """Print until the asked number of rounds is done, or the reader has gone; return the exit code.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    names = registry.sources_of(options.name)
    sections = config.load(options.config, os.environ, registry.sections(names)).collectors
    sources = [Source(name, registry.load(name), Host(options.root), sections[name]) for name in names]
    interval_s = options.interval or min(source.config.interval_s for source in sources)
    rounds, said = 0, set[str]()
    try:
        while True:
            for source in sources:
                _show_collect(source, said)
            print(flush=True)
            rounds += 1
            if rounds == options.count:
                return 0
            time.sleep(interval_s)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()  # or the interpreter complains about the pipe at exit
        return 0


def _show_collect(source: Source, said: set[str]) -> None:
    timestamp_ms = clock.wall_ms()
    seen = source.collect()
    for event in seen.events:
        print(json.dumps({"event": event.kind, "subject": event.subject, "text": event.text}, ensure_ascii=False))
    for sample in seen.samples:
        line = {"name": sample.name, "value": sample.value, "tags": dict(sample.tags), "timestamp_ms": timestamp_ms}
        print(json.dumps(line, ensure_ascii=False))
    host = source.host
    gaps = {**dict.fromkeys(host.absent, "is not there"), **host.notes, **host.faults}
    for item in sorted(gaps.keys() - said):
        said.add(item)
        print(f"{source.name}: {item}: {gaps[item]}", file=sys.stderr)
