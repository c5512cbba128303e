"""`python -m collectors NAME`: run one collector, print what it sees, or check a configuration file."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType

from collectors import registry, stage
from collectors.host import Host
from common import clock, config, service
from common.keys import duration


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = _parser()
    options = parser.parse_args()
    if options.check_config:
        return _check(options.config)
    if options.name is None:
        parser.error(f"which collector? There are {', '.join(registry.names())}")
    module = registry.load(options.name)
    if options.print:
        return _print(options, module)
    return service.main(lambda given: stage.build(given, module), options)


def _parser() -> argparse.ArgumentParser:
    names = registry.names()
    parser = service.options_parser("collectors", "Read one part of the machine and publish its samples.")
    parser.add_argument("name", nargs="?", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="read DIR/proc, DIR/sys (default: /)"
    )
    parser.add_argument("--print", action="store_true", help="publish nothing; print each sample as a JSON line")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="with --print: end after N collects")
    parser.add_argument(
        "--interval", type=_interval_s, metavar="S", help="with --print: seconds between collects (default: configured)"
    )
    parser.add_argument(
        "--check-config", action="store_true", help="check the whole file, collectors' sections included"
    )
    return parser


def _interval_s(text: str) -> float:
    """Accept seconds, or a duration as the configuration has it."""
    try:
        seconds = float(text)
    except ValueError:
        return float(duration(0.01, 86_400)(text))
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError("expected more than 0 seconds")
    return seconds


def _check(file: Path | None) -> int:
    try:
        loaded = config.load(file, os.environ, registry.sections())
    except config.ConfigError as error:
        print("\n".join(error.messages), file=sys.stderr)
        return service.EXIT_CONFIG
    for warning in loaded.warnings:
        print(f"{file}: {warning}")
    print(f"{file or 'the built-in defaults'}: no errors")
    return 0


def _print(options: argparse.Namespace, module: ModuleType) -> int:
    """Print samples as JSON lines, an empty line after each collect."""
    try:
        section = config.load(options.config, os.environ, registry.sections(options.name)).collectors[options.name]
    except config.ConfigError as error:
        print("\n".join(error.messages), file=sys.stderr)
        return service.EXIT_CONFIG
    collecting = stage.Collecting(module, Host(options.root), section)
    interval_s = options.interval or section.interval_s
    done = 0
    try:
        while True:
            _print_collect(collecting)
            done += 1
            if done == options.count:
                return 0
            time.sleep(interval_s)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()  # or the interpreter complains about the pipe at exit
        return 0


def _print_collect(collecting: stage.Collecting) -> None:
    timestamp_ms = clock.wall_ms()
    seen = collecting.collect()
    for event in seen.events:
        print(json.dumps({"event": event.kind, "subject": event.subject, "text": event.text}, ensure_ascii=False))
    for sample in seen.samples:
        line = {"name": sample.name, "value": sample.value, "tags": dict(sample.tags), "timestamp_ms": timestamp_ms}
        print(json.dumps(line, ensure_ascii=False))
    for path, reason in sorted({**collecting.host.notes, **collecting.host.faults}.items()):
        print(f"{path}: {reason}", file=sys.stderr)
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
