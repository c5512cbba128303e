"""supervisord, whose Python programs share the memory of what they all import: `python deploy/supervisord.py -c …`.

A dozen interpreters that each import the same libraries cost 13 MB each. Forked from a supervisord that has imported
them already, they cost 8. Nothing else is different: the same supervisord.conf, the same `supervisorctl`, the same
restarts; a plain `supervisord -c supervisord.conf` runs it as well, in more memory.

Reads: the command line of supervisord.
Emits: for a program whose command is this interpreter with ``-m module``, a forked child that runs the module; for
    any other, what supervisord would do.
Fails: as an interpreter does: an exception is a traceback on stderr and exit status 1.

A restart runs the code that is on the disk by then: where one of our files has changed since it was imported here,
the child imports all of them anew.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from supervisor import supervisord
from supervisor.options import ServerOptions

ROOT = Path(__file__).absolute().parents[1]  # through the link to the release in use: an upgrade shows as other files
sys.path.insert(0, str(ROOT))
from deploy import odd_paths  # noqa: E402
from deploy.notify_relay import Relay  # noqa: E402

# What nearly all processes import, with all that these import; for one process alone it would save nothing.
PRELOADED = ("zmq", "msgpack", "yaml", "argparse", "pkgutil", "runpy", "collectors.stage", "collectors.registry")
HANDLED = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)

_Stamp: TypeAlias = "tuple[int, int] | None"

_systemd = os.environ.pop("NOTIFY_SOCKET", "")  # where it listens, to this process alone; empty where nobody does
_ours: dict[str, tuple[Path, _Stamp]] = {}  # by module: its file, and what that was when it was imported


class Options(ServerOptions):  # type: ignore[misc] # supervisor has no types
    """supervisord's options, with another last step of starting a program, and one more socket in its loop."""

    _relay: Relay | None = None

    def openhttpservers(self, supervisord: Any) -> None:
        """Open supervisord's sockets, and the one to systemd."""
        super().openhttpservers(supervisord)
        if _systemd:
            relay = self._relay = Relay(Path(self.pidfile).with_name("notify.sock"), _systemd)
            self.get_socket_map()[relay.fileno()] = relay
            os.environ["NOTIFY_SOCKET"] = str(relay.path)

    def close_httpservers(self) -> None:
        """Close them: at the end, and before `supervisorctl reload` opens them again."""
        super().close_httpservers()
        if self._relay is not None:
            self.get_socket_map().pop(self._relay.fileno(), None)
            self._relay.close()

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Become the program; called in the forked child, whose descriptors are set up. Does not return."""
        if len(argv) > 2 and argv[1] == "-m" and str(Path(filename).absolute()) == sys.executable:
            become(argv[2], [filename, *argv[3:]], env)
        super().execve(filename, argv, env)


def become(module: str, argv: list[str], env: Mapping[str, str]) -> NoReturn:
    """Run a module as ``python -m module`` would, in this process, and end it."""
    _forget_parent(env)
    _name(env.get("SUPERVISOR_PROCESS_NAME", module))
    sys.argv = argv
    status = _status(module)
    threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - as an interpreter does at its end
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _forget_parent(env: Mapping[str, str]) -> None:
    """Undo what an exec would have undone, and touch as little as possible: each page that is touched is copied."""
    gc.freeze()
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the process' own, until its end
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.path[:1] = [os.getcwd(), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]  # noqa: PTH109
    if any(_stamp(file) != stamp for file, stamp in _ours.values()):
        for name in _ours:
            sys.modules.pop(name, None)


def _name(name: str) -> None:
    """Be told apart by `ps -e` and `top`, which show this name; the command line is supervisord's."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15], encoding="utf-8")


def _status(module: str) -> int:
    """Run a module; return the exit status."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return _code(error.code)
    except BaseException:  # noqa: BLE001 - the interpreter would print it too
        traceback.print_exc()
        return 1
    return 0


def _code(code: Any) -> int:
    """Return the exit status that an interpreter makes of what was given to `sys.exit`."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _stamp(file: Path) -> _Stamp:
    """Return what tells one version of a file from another."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _preload() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    for name, module in sys.modules.items():
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and name.partition(".")[0] in {"common", "collectors"}:
            _ours[name] = Path(file), _stamp(Path(file))
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every object that is shared


if __name__ == "__main__":
    _preload()
    odd_paths.allow()
    supervisord.ServerOptions = Options
    supervisord.main()
