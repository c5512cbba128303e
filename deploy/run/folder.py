"""Check the run directory of `make run`: its name, its owner, and whether another run uses it.

Whoever can write into it can run code: supervisord starts the programs that `programs/*.conf` in it defines.
Fails: `RunRefusedError`, before anything in it is changed.
"""

from __future__ import annotations

import os
import pwd
import socket
import stat
from pathlib import Path

from common.starting import LONGEST_SOCKET, SOCKET_PATH_BYTES
from deploy.run.refused import EXIT_ALREADY_RUNNING, EXIT_NO_PERMISSION, EXIT_USAGE, RunRefusedError

MOST_BYTES = SOCKET_PATH_BYTES - len(f"/{LONGEST_SOCKET}")
REFUSED_CHARACTERS = '"\\%'  # supervisord's `environment =` has no way to write them, and it expands % twice


def prepare(name: str, path: Path) -> None:
    """Make a run directory of mode 0700, or take the one that is there if all of it belongs to this user.

    Args:
        name: of the variable that gave it, for messages.
        path: absolute.

    Raises:
        RefusedError: its name cannot be used, it belongs to somebody else, or a pipeline runs in it.
    """
    check_name(name, path)
    if len(os.fsencode(path)) > MOST_BYTES:
        raise RunRefusedError(
            EXIT_USAGE,
            f"{name} is {len(os.fsencode(path))} bytes long, and the sockets in it allow {MOST_BYTES}: {path}\n"
            f"Take a shorter one: make run RUN_DIR=$HOME/bm",
        )
    make(name, path)
    _check_owners(name, path)
    _check_purpose(name, path)
    path.chmod(0o700)
    if answers(path / "supervisor.sock"):
        raise RunRefusedError(EXIT_ALREADY_RUNNING, f"already running in {path} (`make status`, `make stop`)")


def make(name: str, path: Path) -> None:
    """Make a folder of mode 0700 with those above it, if it is not there.

    Raises:
        RefusedError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RunRefusedError(EXIT_NO_PERMISSION, f"{name}: {error.strerror}: {error.filename}") from error


def check_name(name: str, path: Path) -> None:
    """Refuse a path that supervisord's configuration cannot hold.

    Raises:
        RefusedError: it holds a double quote, a backslash, a percent sign or a control character.
    """
    text = str(path)
    if any(letter in REFUSED_CHARACTERS or not letter.isprintable() for letter in text):
        raise RunRefusedError(
            EXIT_USAGE,
            f"{name} holds a double quote, a backslash, a percent sign or a character that cannot be printed; "
            f"supervisord's configuration cannot name it: {text!r}",
        )


def answers(file: Path) -> bool:
    """Return whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(file))
        except OSError:
            return False
    return True


def _check_purpose(name: str, path: Path) -> None:
    """Refuse a folder that others use, such as /tmp or /etc: a run directory is closed to everybody else."""
    mode = path.stat().st_mode
    is_private = mode & 0o077 == 0
    entries = {entry.name for entry in path.iterdir()}
    is_prepared = entries <= {"programs"} or "config.yaml" in entries  # what more supervisord is to run may be there
    if mode & stat.S_ISVTX or not (is_private or is_prepared):
        raise RunRefusedError(
            EXIT_USAGE,
            f"{name}: {path} holds other things, and would be closed to everybody else; take a folder of its own, "
            f"such as {path / 'bm'}",
        )


def _check_owners(name: str, path: Path) -> None:
    """Refuse a folder if it, a file in it or a program's file below it belongs to somebody else."""
    programs = path / "programs"
    inside = [*path.iterdir(), *(programs.iterdir() if programs.is_dir() else ())]
    for file in (path, *inside):
        for owner in {file.lstat().st_uid, file.stat().st_uid if file.exists() else os.geteuid()}:
            if owner != os.geteuid():
                raise RunRefusedError(
                    EXIT_NO_PERMISSION,
                    f"{name}: {file} belongs to {_user(owner)}, who could run programs as {_user(os.geteuid())}; "
                    f"take another folder, or run it as {_user(owner)}",
                )
    if path.stat().st_mode & 0o022 and programs.exists():
        raise RunRefusedError(
            EXIT_NO_PERMISSION,
            f"{name}: others can write to {path}, and there are programs in it; look at them, then: chmod 700 {path}",
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
