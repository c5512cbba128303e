"""Check whether a configuration can start: its folders, addresses, ports and secrets, without changing anything.

`check` and every start run the same checks, so a configuration that passes `check` starts. An error prevents the start;
a warning does not, and is reported in `/health`.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from common.settings import Settings
from common.token_file import TokenFile, reason

SOCKET_PATH_BYTES = 107  # sun_path of unix(7) has 108, the last one is the final zero
LONGEST_SOCKET = "supervisor.sock.4194304"  # supervisord binds a name with its pid first (at most 2^22), then links it
SQLITE_HEADER = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat2.html#magic_header_string
SHORT_TOKEN = 16  # characters: less than 64 random bits in hexadecimal
TOKEN_VARIABLE = "BELABOX_TOKEN"  # noqa: S105 - the name of a variable


class Findings(NamedTuple):
    """What was found; each line begins with its key path.

    Attributes:
        errors: each prevents a start.
        warnings: reported, without preventing a start.
    """

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def check(settings: Settings, environ: Mapping[str, str]) -> Findings:
    """Try what a start of all processes would do with a configuration, as this user.

    Args:
        settings: the configuration.
        environ: where a token may be.
    """
    errors = [*_run_dir(settings.run.dir), *_database(settings.storage.path), *_log(settings.logging.output)]
    errors += [*_address(settings), *_authority(settings.remote.ca_file)]
    return Findings(tuple(errors), (*_port(settings), *_tokens(settings, environ)))


def _run_dir(path: Path) -> Iterator[str]:
    most = SOCKET_PATH_BYTES - len(f"/{LONGEST_SOCKET}")
    if len(os.fsencode(path.absolute())) > most:
        yield f"run.dir: a path of at most {most} bytes, which the sockets in it allow, got {str(path)!r}"
    if not path.exists():
        if path.absolute().parent != Path("/run"):  # where systemd makes it: RuntimeDirectory= of the unit
            yield from _makeable("run.dir", path)
    elif not path.is_dir():
        yield f"run.dir: expected a folder, got {str(path)!r}"
    elif path.stat().st_mode & stat.S_ISVTX:
        yield f"run.dir: expected a folder of our own, got {str(path)!r}"
    elif os.geteuid() not in {0, path.stat().st_uid}:
        yield f"run.dir: {str(path)!r} belongs to another user"


def _database(path: Path) -> Iterator[str]:
    if path.is_dir():
        yield f"storage.path: expected a file, got the folder {str(path)!r}"
    elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
        yield f"storage.path: this user cannot read and write {str(path)!r}"
    elif path.is_file() and _is_foreign(path):
        yield f"storage.path: expected a database or a new file, got {str(path)!r}, which is something else"
    else:
        yield from _makeable("storage.path", path)


def _is_foreign(path: Path) -> bool:
    """Return whether a file was never a database of ours: a damaged one has the lock beside it and is salvaged."""
    if path.with_name(f"{path.name}.lock").exists():
        return False
    with path.open("rb") as file:
        begin = file.read(len(SQLITE_HEADER))
    return begin not in {b"", SQLITE_HEADER}


def _log(output: str) -> Iterator[str]:
    if output in {"stdout", "stderr"}:
        return
    path = Path(output)
    if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
        yield f"logging.output: cannot write to {output!r}"
    elif not path.exists():
        yield from _makeable("logging.output", path)


def _makeable(key: str, path: Path) -> Iterator[str]:
    """Yield why a file or folder cannot be made: the nearest folder that exists does not let this user."""
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        yield f"{key}: {str(folder)!r} is no folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"{key}: this user cannot write to {str(folder)!r}, where {str(path)!r} would be made"


def _address(settings: Settings) -> Iterator[str]:
    """Yield why healthd could never listen: the address is not this machine's."""
    health = settings.health
    error = _listening(health.bind, 0) if health.enabled else None
    if error is not None:
        yield f"health.bind: cannot listen on {health.bind}: {error.strerror}"


def _port(settings: Settings) -> Iterator[str]:
    """Yield who else has the port now; a healthd of this run directory that listens already is nobody else."""
    health = settings.health
    if not health.enabled or _answers(settings.run.dir / "health.ipc"):
        return
    error = _listening(health.bind, health.port)
    if error is not None and error.errno == errno.EADDRINUSE:
        yield f"health.port: another program listens on {health.bind}:{health.port} (`ss -ltnp` names it)"


def _listening(address: str, port: int) -> OSError | None:
    """Return why a server could not listen there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        return error
    return None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _authority(path: Path | None) -> Iterator[str]:
    if path is None:
        return
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        yield f"remote.ca_file: {error.strerror}: {path}"
        return
    if "-----BEGIN CERTIFICATE-----" not in text:
        yield f"remote.ca_file: no certificate in PEM in {str(path)!r}"


def _tokens(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the token of each side; samples wait on the device until it is fixed."""
    auth, health = settings.remote.auth, settings.health
    if settings.remote.enabled and auth.type == "bearer_token":
        if auth.token_file is not None:
            yield from _token("remote.auth.token_file", auth.token_file, "nothing is uploaded until it is mended")
        elif TOKEN_VARIABLE not in environ:
            yield f"remote.auth.token_file: bearer_token needs it, or {TOKEN_VARIABLE}; nothing is uploaded until then"
    if health.enabled and health.token_file is not None:
        yield from _token("health.token_file", health.token_file, "nobody can open the page until it is mended")


def _token(key: str, path: Path, meaning: str) -> Iterator[str]:
    try:
        length = len(TokenFile(path).text)
    except (OSError, ValueError) as error:
        yield f"{key}: {reason(error)}; {meaning}"
        return
    if length < SHORT_TOKEN:
        yield f"{key}: {length} characters can be guessed; make one with: head -c 24 /dev/urandom | base64"
