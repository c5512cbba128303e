"""`python -m collectors NAME`: run a collector or one source, print its samples, or check a configuration."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from collectors import registry, service
from common import config
from common.keys import duration
from common.service import EXIT_CONFIG, options_parser
from common.service import main as run


def main() -> int:
    """Run the command line; return the exit code."""
    parser = arguments()
    options = parser.parse_args()
    if not options.check_config and not options.print:
        if options.name is None:
            parser.error(f"which collector? There are {', '.join(registry.collectors())}")
        return run(service.build, options)
    if options.print and options.name is None:
        parser.error("--print: of which collector or source?")
    try:
        return _check(options.config) if options.check_config else _print(options)
    except config.ConfigError as error:
        print("\n".join(error.messages), file=sys.stderr)
        return EXIT_CONFIG


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    collectors = registry.collectors()
    listed = "; ".join(f"{name}: {', '.join(sources)}" for name, sources in collectors.items())
    parser = options_parser("collectors", "Read one area of the machine and publish its samples.")
    parser.add_argument(
        "name", nargs="?", choices=sorted({*collectors, *registry.names()}), metavar="NAME",
        help=f"a collector, or one of its sources. {listed}",
    )  # fmt: skip
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="read DIR/proc, DIR/sys (default: /)"
    )
    parser.add_argument("--print", action="store_true", help="publish nothing; print each sample as a JSON line")
    parser.add_argument(
        "--count", type=_count, default=0, metavar="N", help="with --print: end after N collects of each source"
    )
    parser.add_argument(
        "--interval", type=_interval_s, metavar="S", help="with --print: seconds between collects (default: configured)"
    )
    parser.add_argument("--check-config", action="store_true", help="check the whole file, sources' sections included")
    return parser


def _count(text: str) -> int:
    """Accept a number of collects."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _interval_s(text: str) -> float:
    """Accept seconds, or a duration as the configuration has it."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            return float(duration(0.01, 86_400)(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from None
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"expected up to 86400 seconds, more than 0, got {text!r}")
    return seconds


def _check(file: Path | None) -> int:
    from common import starting  # noqa: PLC0415 - nothing that a running collector needs

    where = file or "the built-in defaults"
    loaded = config.load(file, os.environ, registry.sections())
    found = starting.check(loaded.settings, os.environ)
    if found.errors:
        raise config.ConfigError([f"{where}: {text}" for text in found.errors])
    for warning in (*loaded.warnings, *found.warnings):
        print(f"{where}: {warning}")
    print(f"{where}: no errors")
    return 0


def _print(options: argparse.Namespace) -> int:
    from collectors import printing  # noqa: PLC0415 - nothing that a running collector needs

    return printing.show(options)


if __name__ == "__main__":
    sys.exit(main())
