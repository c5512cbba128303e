"""Write the files that belong to the service: its secrets, and its configuration, whoever calls the command."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from collectors import registry
from common import config
from deploy.command.place import EXIT_CONFIG, EXIT_NO_PERMISSION, CommandError, PipelinePlace


def write_secret(place: PipelinePlace, file: Path, text: str) -> None:
    """Write a file that the service alone can read, in one step.

    Raises:
        CommandError: this user may not write it.
    """
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        _write(fresh, text)
        owner = (place.run_dir if place.run_dir.exists() else place.log_dir).stat()
        os.chown(fresh, owner.st_uid, owner.st_gid)
        fresh.replace(file)
    except PermissionError as error:
        raise _refused(place, error) from None


def replace_config(place: PipelinePlace, text: str, keep: Path | None = None) -> None:
    """Replace the configuration in one step; owner and mode stay. One that would be wrong is not written.

    Args:
        place: whose configuration.
        text: the new one.
        keep: where the file before goes, if it is to be kept.

    Raises:
        CommandError: the text is no configuration, or this user may not write it.
    """
    file = place.require_config()
    trial = file.with_name(f".{file.name}.new")
    try:
        trial.unlink(missing_ok=True)
        _write(trial, text)
        check(trial)
        shutil.copystat(file, trial)
        status = file.stat()
        os.chown(trial, status.st_uid, status.st_gid)
        if keep is not None:
            file.replace(keep)
        trial.replace(file)
    except PermissionError as error:
        raise _refused(place, error) from None
    finally:
        trial.unlink(missing_ok=True)


def check(file: Path) -> None:
    """Return if a file is a configuration.

    Raises:
        CommandError: it is not.
    """
    try:
        config.load(file, os.environ, registry.sections())
    except config.ConfigError as error:
        raise CommandError(EXIT_CONFIG, "\n".join(error.messages)) from None


def _write(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def _refused(place: PipelinePlace, error: OSError) -> CommandError:
    command = " ".join(("belabox-metrics", *sys.argv[1:]))
    return CommandError(EXIT_NO_PERMISSION, f"{error.filename} cannot be written: {place.prefix}{command}")
