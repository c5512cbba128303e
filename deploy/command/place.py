"""The directories, configuration and user of an installation or of a development tree."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_NO_PERMISSION, EXIT_CONFIG = 64, 69, 77, 78  # sysexits.h

HERE = Path(__file__).absolute().parents[2]
DEVICE_RUN_DIR = Path("/run/belabox-metrics")
DEVICE_LOG_DIR = Path("/var/log/belabox-metrics")
DEVICE_CONFIG = Path("/etc/belabox-metrics/config.yaml")
DEVICE_USER = "metrics"


class CommandError(Exception):
    """The command cannot be done; the text says why and what to do.

    Attributes:
        code: the exit code.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class PipelinePlace:
    """One pipeline.

    Attributes:
        run_dir: its sockets.
        log_dir: its logs.
        config: its configuration file; None where there is none.
        is_device: installed by install.sh or the package, under systemd.
    """

    run_dir: Path
    log_dir: Path
    config: Path | None
    is_device: bool

    @property
    def socket(self) -> Path:
        """Return where supervisord listens."""
        return self.run_dir / "supervisor.sock"

    @property
    def prefix(self) -> str:
        """Return what to write before `make`'s or systemd's own commands, for messages."""
        return "sudo " if self.is_device else ""

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that is to find this pipeline."""
        return {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "RUN_DIR": str(self.run_dir),
            "BELABOX_RUN__DIR": str(self.run_dir),
        }

    def require_running(self) -> None:
        """Return if supervisord answers.

        Raises:
            CommandError: it does not, or this user may not ask it.
        """
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(3.0)
            try:
                probe.connect(str(self.socket))
            except PermissionError:
                raise CommandError(
                    EXIT_NO_PERMISSION, f"{self.socket} belongs to {_owner(self.run_dir)}: {self._as_whom()}"
                ) from None
            except OSError:
                raise CommandError(
                    EXIT_UNAVAILABLE, f"nothing runs in {self.run_dir}: {self._how_to_start()}"
                ) from None

    def require_config(self) -> Path:
        """Return the configuration file.

        Raises:
            CommandError: there is none.
        """
        if self.config is None:
            raise CommandError(EXIT_UNAVAILABLE, "there is no configuration file yet: make run")
        return self.config

    def _as_whom(self) -> str:
        return f"sudo {' '.join(('belabox-metrics', *sys.argv[1:]))}"

    def _how_to_start(self) -> str:
        return "sudo systemctl start belabox-metrics" if self.is_device else "make run"


def find(environ: Mapping[str, str]) -> PipelinePlace:
    """Return the pipeline that a command is about: of RUN_DIR, of this tree, or of this device."""
    link = HERE / "run"
    is_device = not environ.get("RUN_DIR") and link.is_symlink() and link.readlink() == DEVICE_RUN_DIR
    if is_device:
        given = environ.get("CONFIG")
        return PipelinePlace(DEVICE_RUN_DIR, DEVICE_LOG_DIR, Path(given) if given else DEVICE_CONFIG, is_device=True)
    run_dir = Path(os.path.abspath(environ.get("RUN_DIR") or link))  # noqa: PTH100 - as it was written
    log_dir = Path(os.path.abspath(environ.get("LOG_DIR") or run_dir / "log"))  # noqa: PTH100
    config = Path(environ["CONFIG"]) if environ.get("CONFIG") else run_dir / "config.yaml"
    return PipelinePlace(run_dir, log_dir, config if _may_be_there(config) else None, is_device=False)


def _may_be_there(file: Path) -> bool:
    """Return whether a file exists; in a folder that this user may not enter it may, and reading it says why not."""
    try:
        return file.exists()
    except PermissionError:
        return True


def service_user(place: PipelinePlace) -> str | None:
    """Return the user as which a check sees what the service sees: `metrics`, if root runs it on a device."""
    if not place.is_device or os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(DEVICE_USER).pw_name
    except KeyError:
        return None


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (OSError, KeyError):
        return "somebody else"
