"""`belabox-metrics join URL#CODE`: become a device of a fleet, with the invitation that `deploy.fleet invite` printed.

Reads: the server at the URL, /etc/machine-id.
Emits: the configuration, and `api-token` beside it (mode 0600); a restart.
Fails: where the configuration was changed by hand, before anything is asked (`--replace` keeps that one beside it);
    with the server's words where the code is wrong, spent or too old; without an answer, and the code stays good then.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from common.plain_text import plain
from deploy.command import owned_files
from deploy.command.place import EXIT_NO_PERMISSION, EXIT_UNAVAILABLE, EXIT_USAGE, HERE, CommandError, PipelinePlace

INVITATION = re.compile(r"(https?://[\w.:\[\]-]+/[\w/.-]+)#([\w-]+)", re.ASCII)
TIMEOUT_S, PAUSES_S = 15.0, (1.0, 2.0, 4.0, 8.0)
MAX_ANSWER = 65536
MACHINE_ID = Path("/etc/machine-id")


class NoRedirects(HTTPRedirectHandler):
    """A redirect is an answer like others: a portal's, mostly."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def join(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Fetch configuration and token, write them, confirm, restart."""
    found = INVITATION.fullmatch(options.invitation)
    if found is None:
        raise CommandError(EXIT_USAGE, f"expected https://HOST/join#CODE, got {plain(options.invitation)!r}")
    url, code = found.groups()
    keep = _kept(place.require_config(), may_replace=options.replace)
    if url.startswith("http:"):
        print("warning: without TLS everybody on the way can read the token", file=sys.stderr)
    asked = {"code": code, "machine": _machine(code)}
    device = _configure(place, _ask(url, asked), keep)
    try:
        _ask(url, {**asked, "done": True})
    except CommandError:
        print(
            "The server did not hear that it worked; it erases the token when the code's time is over.", file=sys.stderr
        )
    _restart(place)
    print(f"This machine is {device} now; whether samples arrive: {place.prefix}belabox-metrics doctor")
    return 0


def _kept(file: Path, *, may_replace: bool) -> Path | None:
    """Return where the configuration in use is kept; None where it is as it was installed.

    Raises:
        CommandError: it is not, and nobody said that it may be replaced.
    """
    try:
        if file.read_bytes() == (HERE / "deploy/config.yaml").read_bytes():
            return None
    except PermissionError:
        raise CommandError(EXIT_NO_PERMISSION, f"{file} cannot be read: sudo belabox-metrics join ...") from None
    if not may_replace:
        text = f"{file} has settings of its own; with --replace they go to {file.name}.old (the code is still good)"
        raise CommandError(EXIT_USAGE, text)
    return file.with_name(f"{file.name}.old")


def _machine(code: str) -> str:
    """Return what names this machine to the server and nobody else: the code's machine, should the network be lost."""
    known = MACHINE_ID.read_text(encoding="ascii").strip() if MACHINE_ID.exists() else socket.gethostname()
    return hashlib.sha256(f"{known} {code}".encode()).hexdigest()


def _configure(place: PipelinePlace, given: dict[str, Any], keep: Path | None) -> str:
    """Write configuration and token; return the device."""
    file = place.require_config()
    token = file.absolute().parent / "api-token"
    try:
        text = re.sub(r"(?m)^( +token_file: ).*$", lambda line: line[1] + json.dumps(str(token)), given["config"])
        secret = f"{given['token']}\n"
        owned_files.replace_config(place, text, keep)
        owned_files.write_secret(place, token, secret)
        return plain(str(given["device"]))
    except (KeyError, TypeError):
        raise CommandError(EXIT_UNAVAILABLE, "the answer is not that of `deploy.fleet serve`") from None


def _ask(url: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the server's answer; ask again while the network or the server is away.

    Raises:
        CommandError: it refuses, or there is no answer.
    """
    opener = build_opener(NoRedirects)
    request = Request(url, json.dumps(asked).encode(), {"Content-Type": "application/json"})  # noqa: S310 - checked
    reason = ""
    for pause_s in (*PAUSES_S, 0.0):
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                found: dict[str, Any] = json.loads(answer.read(MAX_ANSWER) or b"{}")
                return found
        except HTTPError as error:
            with error:
                reason = f"{error.code} {error.read(500).decode(errors='replace').strip()}"
            if error.code < 500:  # the service's own word, not that of a proxy whose service is away
                raise CommandError(EXIT_NO_PERMISSION, f"refused: {plain(reason)}") from None
        except URLError as error:
            reason = str(error.reason)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
        time.sleep(pause_s)
    raise CommandError(EXIT_UNAVAILABLE, f"no answer from {url}: {plain(reason)}; the code is still good: try again")


def _restart(place: PipelinePlace) -> None:
    """Restart what runs: the name of a device is read at the start alone."""
    if place.is_device and Path("/run/systemd/system").exists():
        subprocess.run([shutil.which("systemctl") or "systemctl", "restart", "belabox-metrics"], check=True)  # noqa: S603
    else:
        print("It takes effect with the next start.")
