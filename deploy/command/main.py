"""The command line of `belabox-metrics`: a table of its commands.

Reads: RUN_DIR and CONFIG from the environment, else this tree's `run/`, else the device's folders.
Fails: one line on stderr that says what is wrong and what to do, and an exit code of sysexits.h.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from common import VERSION
from deploy.command.place import EXIT_NO_PERMISSION, CommandError, PipelinePlace, find

Do = Callable[[PipelinePlace, argparse.Namespace], int]


class Command(NamedTuple):
    """One command.

    Attributes:
        do: the function of `deploy.command` that does it and returns the exit code, as ``module.name``. It is imported
            for this command alone: all of them together take 0.25 s of a processor.
        help: one line.
        options: its arguments, each name with what argparse takes.
    """

    do: str
    help: str
    options: tuple[tuple[tuple[str, ...], dict[str, object]], ...] = ()


def whole(text: str) -> int:
    """Accept a whole number from 0 on; argparse reports the error.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


COMMANDS: dict[str, Command] = {
    "status": Command("control.status", "the state of each process"),
    "top": Command(
        "control.top",
        "verdict, stream, links, device and delivery, live in this terminal",
        ((("--once",), {"action": "store_true", "help": "print once and end"}),),
    ),
    "logs": Command(
        "control.logs",
        "the last lines of the processes' logs",
        (
            (("process",), {"nargs": "?", "help": "of this process alone"}),
            (("-f", "--follow"), {"action": "store_true", "help": "go on with what comes"}),
            (("-n", "--lines"), {"type": whole, "default": 20, "help": "of each log (default: 20)"}),
        ),
    ),
    "print": Command(
        "control.print_source",
        "what a source sees, as JSON lines; nothing is published",
        (
            (("source",), {"help": "e.g. cpu"}),
            (("--count",), {"help": "end after so many collects"}),
            (("--interval",), {"help": "seconds between two collects (default: as configured)"}),
            (("--root",), {"help": "read below this folder (default: /)"}),
        ),
    ),
    "check": Command(
        "control.check",
        "check a configuration file as starting checks it",
        ((("file",), {"nargs": "?", "help": "default: the one in use"}),),
    ),
    "reload": Command("control.reload", "check the configuration, then have every process take it"),
    "wait": Command(
        "waiting.wait",
        "until healthd answers with this version, and all processes run",
        ((("--seconds",), {"type": float, "default": 60.0, "help": "at most (default: 60)"}),),
    ),
    "stop": Command("control.stop", "end a pipeline that `make run` started"),
    "page": Command(
        "share.page",
        "the address of the page; --share opens it to the network, with a token and a QR code",
        (
            (("--share",), {"action": "store_true", "help": "open it to the network, and log a phone in"}),
            (("--unshare",), {"action": "store_true", "help": "close it again"}),
        ),
    ),
    "join": Command(
        "join.join",
        "become a device of a fleet, with the one-time code of an invitation",
        (
            (("invitation",), {"help": "https://HOST/join#CODE, as `python3 -m deploy.fleet invite` prints it"}),
            (("--replace",), {"action": "store_true", "help": "keep a configuration of its own as config.yaml.old"}),
        ),
    ),
    "report": Command(
        "control.report",
        "the report of a stream (--last, --session ID, --list), or of the minutes around a moment (--at TIME)",
    ),
    "backup": Command(
        "backup.backup",
        "a consistent copy of the database, while everything runs",
        ((("file",), {"help": "where to; must not be there yet"}),),
    ),
    "quarantine": Command(
        "quarantine.quarantine",
        "the samples that the server refused for good: list them, or release them to be sent again",
        (
            (("action",), {"choices": ["list", "release"]}),
            (("metric",), {"nargs": "?", "help": "of this metric alone, as it is in the database"}),
        ),
    ),
    "doctor": Command("doctor.doctor", "what is missing here, and the command that gives it; without secrets"),
    "version": Command("version.version", "the version"),
    "completion": Command(
        "completion.completion",
        'for bash: eval "$(belabox-metrics completion bash)"',
        ((("shell",), {"choices": ["bash"]}),),
    ),
}
WITH_OPTIONS_OF_THEIR_OWN = ("report",)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="belabox-metrics",
        description="See and steer the recorder on this machine.",
        epilog="RUN_DIR and CONFIG in the environment name another pipeline than this tree's or device's. "
        "Single processes are supervisorctl's: docs/operating.md.",
    )
    top.add_argument("--version", action="version", version=f"belabox-metrics {VERSION}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.help)
        for names, given in command.options:
            sub.add_argument(*names, **given)  # type: ignore[arg-type] # a table of what argparse takes
    return top


def function(command: Command) -> Do:
    """Return what a command does."""
    module, _, name = command.do.partition(".")
    found: Do = getattr(importlib.import_module(f"deploy.command.{module}"), name)
    return found


def main() -> int:
    """Run the command line; return the exit code."""
    top = parser()
    options, rest = top.parse_known_args()
    options.rest = rest
    if rest and options.command not in WITH_OPTIONS_OF_THEIR_OWN:
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return function(COMMANDS[options.command])(find(os.environ), options)
    except CommandError as error:
        print(f"belabox-metrics {options.command}: {error}", file=sys.stderr)
        return error.code
    except PermissionError as error:
        again = f"sudo {' '.join(('belabox-metrics', *sys.argv[1:]))}"
        print(f"belabox-metrics {options.command}: {error.strerror}: {error.filename}: {again}", file=sys.stderr)
        return EXIT_NO_PERMISSION
    except BrokenPipeError:
        sys.stderr.close()  # or the interpreter complains about the pipe at exit
        return 0
