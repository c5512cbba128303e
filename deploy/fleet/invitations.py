"""Invitations: configuration and token of a device, kept at the server until a box has fetched them with its code.

Reads and writes: a folder with a file for each, `<SHA-256 of the code>.<device>`: the names give no code away.
Fails: a code that is unknown, spent, expired or another machine's is refused with the status and the text for its user.

A code belongs to the first machine that sends it. That one may repeat until it has confirmed, so a network that is lost
half-way costs nothing; any other is refused. The token is erased with the confirmation, or when the time is over.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deploy.fleet import secret_file

CODE_BYTES = 16
REMEMBERED_S = 30 * 86400.0  # for so long the answer to a spent code says that it is spent
UNKNOWN, GONE = 404, 410


class RefusedError(Exception):
    """A code gets nothing; the text says why, to whoever sent it.

    Attributes:
        status: of the HTTP answer.
        device: whose code it is, "" where that is unknown.
    """

    def __init__(self, status: int, text: str, device: str = "") -> None:
        super().__init__(text)
        self.status, self.device = status, device


class Invitations:
    """All invitations of a server.

    Args:
        folder: of their files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, device: str, config: str, token: str, expires_s: float) -> str:
        """Invite a device; return the code. What it was invited with before is good too, until it is withdrawn."""
        code = secrets.token_urlsafe(CODE_BYTES)
        held = {"expires_s": expires_s, "machine": "", "config": config, "token": token}
        secret_file.write(self._folder / f"{_digest(code)}.{device}", json.dumps(held))
        return code

    def claim(self, code: str, machine: str, now_s: float) -> dict[str, str]:
        """Return device, config and token of a code, which from now on is this machine's.

        Raises:
            RefusedError: there is nothing for it.
        """
        file, held = self._held(code, machine, now_s)
        if not held["machine"]:
            _put(file, {**held, "machine": machine})
        return {"device": _device(file), "config": held["config"], "token": held["token"]}

    def confirm(self, code: str, machine: str, now_s: float) -> str:
        """Erase what the machine says that it has; return the device.

        Raises:
            RefusedError: it cannot have it.
        """
        file, held = self._held(code, machine, now_s)
        if not held["machine"]:
            raise RefusedError(UNKNOWN, "nothing was fetched with this code yet", _device(file))
        _put(file, {"expires_s": held["expires_s"], "spent": "has been used"})
        return _device(file)

    def withdraw(self, devices: Iterable[str]) -> None:
        """End the invitations of devices."""
        ended = set(devices)
        for file in self._files():
            if _device(file) in ended:
                file.unlink(missing_ok=True)

    def expire(self, now_s: float) -> None:
        """Erase the tokens whose time is over, and forget codes that ended long ago."""
        for file in self._files():
            if _aged(file, now_s)["expires_s"] + REMEMBERED_S < now_s:
                file.unlink(missing_ok=True)

    def _held(self, code: str, machine: str, now_s: float) -> tuple[Path, dict[str, Any]]:
        file = next(self._folder.glob(f"{_digest(code)}.*"), None)
        if file is None:
            raise RefusedError(UNKNOWN, "no such code; is the line complete?")
        held = _aged(file, now_s)
        if "spent" in held:
            raise RefusedError(GONE, f"this code {held['spent']}; ask for another one", _device(file))
        if held["machine"] not in {"", machine}:
            text = "another machine has used this code; whoever gave it to you should revoke that device"
            raise RefusedError(GONE, text, _device(file))
        return file, held

    def _files(self) -> list[Path]:
        return [file for file in self._folder.glob("*.*") if not file.name.startswith(".")]


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _device(file: Path) -> str:
    return file.name.partition(".")[2]


def _aged(file: Path, now_s: float) -> dict[str, Any]:
    """Return what is in a file, after its token is erased if its time is over."""
    try:
        held: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, FileNotFoundError):  # cut off by a crash; withdrawn just now
        return {"expires_s": 0.0, "spent": "was lost"}
    if "token" in held and held["expires_s"] < now_s:
        held = {"expires_s": held["expires_s"], "spent": "has expired"}
        _put(file, held)
    return held


def _put(file: Path, held: dict[str, Any]) -> None:
    """Write in place: the file stays its owner's, who may be another than this process."""
    file.write_text(json.dumps(held), encoding="utf-8")
