"""`belabox-metrics page`: where the page is; `--share` opens it to the network, `--unshare` takes that back.

Reads: the configuration, RUN_DIR/healthd.address, this machine's addresses.
Emits: `health.bind` and `health.token_file` in the configuration, a token beside it, a code in RUN_DIR/login-code that
logs one browser in within ten minutes, and what to open on the phone: as text, and as a QR code where `qrencode` is.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from common import config
from common.settings import Health
from deploy.command import control, owned_files
from deploy.command.place import (
    EXIT_CONFIG,
    EXIT_NO_PERMISSION,
    EXIT_UNAVAILABLE,
    CommandError,
    PipelinePlace,
)
from deploy.command.section import with_keys
from healthd.http.access import CODE_FILE, CODE_S

TOKEN_FILE = "page-token"  # noqa: S105 - the name of a file
EVERYWHERE, HERE = "0.0.0.0", "127.0.0.1"  # noqa: S104 - that is what is asked for
LISTENS_S = 15.0
NOT_FOR_PHONES = ("lo", "docker", "veth", "br-", "virbr")
UPLINKS = ("wwan", "usb", "enx", "ppp")  # a carrier's network reaches no phone in it


def page(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Print where the page is, or change who can reach it."""
    if options.share or options.unshare:
        place.require_running()
        (_share if options.share else _unshare)(place)
        return 0
    host, port = _address(place)
    print("\n".join(_urls(port)) if host == EVERYWHERE else f"http://{host}:{port}/")
    return 0


def _share(place: PipelinePlace) -> None:
    health = _health(place)
    token = health.token_file or _folder(place) / TOKEN_FILE
    if not token.exists():
        owned_files.write_secret(place, token, f"{secrets.token_urlsafe(24)}\n")
    if health.bind in {HERE, "::1"} or health.token_file is None:
        bind = EVERYWHERE if health.bind in {HERE, "::1"} else health.bind
        _configure(place, {"bind": bind, "token_file": json.dumps(str(token))})
    host, port = _wait_for(place, lambda host: host not in {HERE, "[::1]"})
    code = secrets.token_urlsafe(12)
    owned_files.write_secret(place, place.run_dir / CODE_FILE, f"{code} {int(time.time() + CODE_S)}\n")
    urls = _urls(port) if host == EVERYWHERE else [f"http://{host}:{port}/"]
    _say(urls, code, token)


def _say(urls: list[str], code: str, token: Path) -> None:
    link = f"{urls[0]}login#{code}"
    print("The page can be reached from this network:", *urls, "", sep="\n  ")
    print(f"Open this on the phone within {int(CODE_S // 60)} minutes; it logs one browser in, once:\n\n  {link}\n")
    qrencode = shutil.which("qrencode")
    if qrencode:
        sys.stdout.flush()
        subprocess.run([qrencode, "-t", "ANSIUTF8", "-m", "2", link], check=False)  # noqa: S603 - a list, no shell
    else:
        print("(As a QR code: apt install qrencode.)")
    print(f"Others log in with the token in {token}. `belabox-metrics page --unshare` takes it all back.")


def _unshare(place: PipelinePlace) -> None:
    token = _folder(place) / TOKEN_FILE
    is_ours = _health(place).token_file == token
    _configure(place, {"bind": HERE, **({"token_file": "''"} if is_ours else {})})
    _wait_for(place, lambda host: host == HERE)
    for file in (token, place.run_dir / CODE_FILE):
        file.unlink(missing_ok=True)
    print("The page can be reached from this machine alone; who was logged in is not any more.")


def _configure(place: PipelinePlace, values: dict[str, str]) -> None:
    """Change the section `health`, and have every process take it; a file that would be wrong is not written."""
    file = place.require_config()
    try:
        fresh = with_keys(file.read_text(encoding="utf-8"), "health", values)
    except ValueError as error:
        wanted = ", ".join(f"health.{key}: {value}" for key, value in values.items())
        raise CommandError(EXIT_CONFIG, f"{file}: {error}; write it yourself: {wanted}") from None
    owned_files.replace_config(place, fresh)
    control.supervisorctl(place, "signal", "HUP", "healthd")


def _wait_for(place: PipelinePlace, wanted: Callable[[str], bool]) -> tuple[str, int]:
    """Return host and port once healthd listens as wanted."""
    deadline_s = time.monotonic() + LISTENS_S
    while True:
        try:
            host, port = _address(place)
            if wanted(host):
                return host, port
        except CommandError:
            if time.monotonic() > deadline_s:
                raise
        if time.monotonic() > deadline_s:
            raise CommandError(EXIT_UNAVAILABLE, "healthd does not listen as configured: belabox-metrics logs healthd")
        time.sleep(0.1)


def _address(place: PipelinePlace) -> tuple[str, int]:
    """Return where healthd listens."""
    file = place.run_dir / "healthd.address"
    try:
        host, _, port = file.read_text(encoding="ascii").strip().rpartition(":")
    except PermissionError:
        raise CommandError(EXIT_NO_PERMISSION, f"{file} cannot be read: sudo belabox-metrics page") from None
    except OSError:
        raise CommandError(EXIT_UNAVAILABLE, f"healthd does not listen: no {file}") from None
    return host, int(port)


def _urls(port: int) -> list[str]:
    """Return the page's addresses in the networks of this machine, those that a phone can be in first."""
    found = [f"http://{address}:{port}/" for address in _addresses()]
    named = f"http://{socket.gethostname()}.local:{port}/"  # by mDNS, where avahi-daemon answers for it
    return [*found[:1], *([named] if Path("/run/avahi-daemon").exists() else []), *found[1:]] or [named]


def _addresses() -> Iterator[str]:
    ip = shutil.which("ip") or "/usr/sbin/ip"
    try:
        said = subprocess.run(  # noqa: S603 - a list, no shell
            [ip, "-json", "-4", "address", "show", "up", "scope", "global"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return
    known = [one for one in json.loads(said) if not one["ifname"].startswith(NOT_FOR_PHONES)]
    for one in sorted(known, key=lambda one: one["ifname"].startswith(UPLINKS)):
        yield from (address["local"] for address in one["addr_info"])


def _health(place: PipelinePlace) -> Health:
    try:
        return config.load(place.require_config(), os.environ).settings.health
    except config.ConfigError as error:
        raise CommandError(EXIT_CONFIG, "\n".join(error.messages)) from None


def _folder(place: PipelinePlace) -> Path:
    return place.require_config().absolute().parent
