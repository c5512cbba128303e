"""Print the manual page of `belabox-metrics`, from the table of its commands: `python -m deploy.deb.manual`."""

from __future__ import annotations

import sys

from common import VERSION
from deploy.command.main import COMMANDS, Command, parser

FILES = {
    "/etc/belabox-metrics/config.yaml": "the configuration; docs/configuration.md has every key",
    "/var/lib/belabox-metrics/metrics.db": "the database; `sqlite3` opens it while everything runs",
    "/var/log/belabox-metrics/": "a log for each process",
    "/usr/share/doc/belabox-metrics/": "the documents",
}


def page() -> str:
    """Return the page as troff."""
    top = parser()
    lines = [
        f'.TH BELABOX-METRICS 1 "" "belabox-metrics {VERSION}"',
        *(".SH NAME", r"belabox\-metrics \- see and steer the recorder on this machine"),
        *(".SH SYNOPSIS", r".B belabox\-metrics", r"\fICOMMAND\fR [\fIOPTION\fR]..."),
        *(".SH DESCRIPTION", _text(f"{top.description} {top.epilog}"), ".SH COMMANDS"),
    ]
    for name, command in COMMANDS.items():
        lines += [".TP", f".B {name}{_arguments(command)}", _text(command.help[0].upper() + command.help[1:] + ".")]
        lines += [
            line
            for names, given in command.options
            if names[0].startswith("-")
            for line in (".RS", ".TP", rf"\fB{_text(', '.join(names))}\fR", _text(str(given["help"])), ".RE")
        ]
    lines.append(".SH FILES")
    for path, text in FILES.items():
        lines += [".TP", f".I {_text(path)}", _text(text)]
    return "\n".join(lines) + "\n"


def _arguments(command: Command) -> str:
    """Return what follows the command: what is needed as it is, what may be left out in brackets."""
    names = [(names[0], given) for names, given in command.options if not names[0].startswith("-")]
    return "".join(f" [{name}]" if given.get("nargs") == "?" else f" {name}" for name, given in names)


def _text(text: str) -> str:
    """Return a text as troff: its hyphens are those of commands, and nothing in it is a request."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq").replace("'", r"\(aq")
    return escaped.replace("`", r"\fB", 1).replace("`", r"\fR", 1) if escaped.count("`") == 2 else escaped


if __name__ == "__main__":
    sys.stdout.write(page())
