"""Commands that call supervisord or one of our modules: status, top, logs, print, check, reload, stop, report."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.command.place import (
    EXIT_NO_PERMISSION,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    HERE,
    CommandError,
    PipelinePlace,
    service_user,
)

STOPPED = 3  # of `supervisorctl status`: a process is not running, which is no failure of the command
PROCESSES = ("healthd", "buffer", "shipper", "collectors:*")


def status(place: PipelinePlace, _options: argparse.Namespace) -> int:
    """Print supervisord's state of each process."""
    place.require_running()
    code = supervisorctl(place, "status")
    if place.is_device:
        subprocess.run(["/usr/bin/systemctl", "--no-pager", "--lines=0", "status", "belabox-metrics-srt"], check=False)
    return 0 if code == STOPPED else code


def top(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Show verdict, stream, links, device and delivery."""
    if not os.access(place.run_dir / "healthd.address", os.R_OK):
        place.require_running()  # which says how to start it
    return _python(place, "healthd.top", *_config(place), *(["--once"] if options.once else []))


def logs(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Print the last lines of each process's log, or of one; with -f, follow them."""
    files = _logs(place)
    if options.process:
        name = options.process.removeprefix("collectors:")
        known = ", ".join(file.stem for file in files)
        files = [file for file in files if file.stem == name]
        if not files:
            raise CommandError(EXIT_USAGE, f"no log of {options.process!r}; there are {known}")
    command = ["tail", "-n", str(options.lines), *(["-F"] if options.follow else []), "--", *map(str, files)]
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603 - a list, no shell
    except KeyboardInterrupt:
        return 0


def _logs(place: PipelinePlace) -> list[Path]:
    """Return the files of all logs.

    Raises:
        CommandError: there are none, or this user may not read them.
    """
    folder = place.log_dir
    if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
        raise CommandError(EXIT_NO_PERMISSION, f"{folder} cannot be read: sudo belabox-metrics logs")
    files = sorted(folder.glob("*.log")) if folder.exists() else []
    if not files:
        raise CommandError(EXIT_UNAVAILABLE, f"no logs in {folder}: nothing has run there yet")
    return files


def print_source(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Print what a source sees, as JSON lines."""
    from collectors import registry  # noqa: PLC0415 - for this command alone

    if options.source not in {*registry.collectors(), *registry.names()}:
        known = ", ".join(sorted({*registry.collectors(), *registry.names()}))
        raise CommandError(EXIT_USAGE, f"no source {options.source!r}; there are {known}")
    names = ("count", "interval")
    given = [f"--{name}={getattr(options, name)}" for name in names if getattr(options, name) is not None]
    given += [f"--root={Path(options.root).absolute()}"] if options.root else []
    return _python(place, "collectors", options.source, "--print", *given, *_config(place))


def check(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Check a configuration file as the service would read it: as its user, on a device."""
    if options.file == "":
        raise CommandError(EXIT_USAGE, "expected the name of a file, got ''")
    file = options.file or place.config
    arguments = ["--config", str(Path(file).absolute())] if file else []
    return _python(place, "collectors", "--check-config", *arguments, user=service_user(place))


def reload(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Check the configuration, then make every process reload it."""
    place.require_running()
    place.require_config()
    options.file = None
    code = check(place, options)
    if code:
        return code
    supervisorctl(place, "signal", "HUP", *PROCESSES)  # it says which do not run: that is no failure of the others
    if place.is_device and shutil.which("systemctl"):
        subprocess.run(["/usr/bin/systemctl", "reload", "belabox-metrics-srt"], check=False)
    return 0


def stop(place: PipelinePlace, _options: argparse.Namespace) -> int:
    """Stop a pipeline that runs in the foreground; on a device systemd stops it."""
    if place.is_device:
        raise CommandError(EXIT_USAGE, "on a device systemd does that: sudo systemctl stop belabox-metrics")
    place.require_running()
    return supervisorctl(place, "shutdown")


def report(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Write the report of a stream; its own program has the options."""
    from healthd.session_report import __main__ as program  # noqa: PLC0415 - for this command alone

    os.environ.update(place.environment())
    sys.argv = ["belabox-metrics report", *_config(place), *options.rest]
    return program.main()


def supervisorctl(place: PipelinePlace, *arguments: str) -> int:
    """Run supervisorctl; return its exit code."""
    return _python(place, "supervisor.supervisorctl", "-s", f"unix://{place.socket}", *arguments)


def _config(place: PipelinePlace) -> list[str]:
    return ["--config", str(place.config)] if place.config else []


def _python(place: PipelinePlace, module: str, *arguments: str, user: str | None = None) -> int:
    """Run a module of this tree; return its exit code."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - a list, no shell
            command, check=False, cwd=HERE, env=place.environment(), user=user, group=user,
            extra_groups=None if user is None else os.getgrouplist(user, _gid(user)),
        )  # fmt: skip
    except KeyboardInterrupt:
        return 0
    return done.returncode


def _gid(user: str) -> int:
    import pwd  # noqa: PLC0415 - needed by root alone

    return pwd.getpwnam(user).pw_gid
