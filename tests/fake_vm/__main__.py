"""Run the fake server as a program, until SIGTERM or SIGINT.

In: flags. Out: one JSON line with the URL on stdout once it listens.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys

from tests.fake_vm.vm import FakeVm

_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fake_vm",
        description="Answer like a single-node VictoriaMetrics, with faults on demand.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port",
        type=int,
        default=8428,
        help="0 takes a free one; default: %(default)s",
    )
    parser.add_argument("--data", help="keep the samples in this file")
    parser.add_argument("--token", help="ask for this bearer token")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="of each answer")
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="close idle connections after so many seconds; default: %(default)s",
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Serve until a signal asks to stop; return the exit status."""
    # Blocked before any thread starts, so that only sigwait() receives them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    args = _arguments(argv)
    try:
        vm = _start(args)
    except OSError as error:
        print(f"cannot serve on {args.host}:{args.port}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"url": vm.url}), flush=True)
    signal.sigwait(_SIGNALS)
    vm.stop()
    return 0


def _start(args: argparse.Namespace) -> FakeVm:
    vm = FakeVm(
        host=args.host,
        port=args.port,
        data=args.data,
        token=args.token,
        latency_ms=args.latency_ms,
        idle_timeout_s=args.idle_timeout,
    )
    journal = vm.core.journal
    if journal is not None and journal.skipped:
        print(f"{args.data}: {journal.skipped} lines skipped", file=sys.stderr)
    vm.start()
    return vm


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
