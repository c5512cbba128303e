"""supervisord whose Python processes share the memory of common imports: `python deploy/supervisord.py -c …`.

A dozen interpreters that each import the same libraries cost 13 MB each. Forked from a supervisord that has imported
and prepared everything (see `preload`), they cost 4. Nothing else is different: the same supervisord.conf, the same
`supervisorctl`, the same restarts; a plain `supervisord -c supervisord.conf` runs it as well, in more memory.

Reads: the command line of supervisord.
Emits: for a program whose command is this interpreter with ``-m`` and one of our packages, a forked child that runs it;
    for any other, what supervisord would do.
Fails: as an interpreter does: an exception is a traceback on stderr and exit status 1.

A restarted process runs the code that is on disk at that time.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # typeshed has the module around it alone
import atexit
import ctypes
import gc
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from supervisor import supervisord
from supervisor.options import ServerOptions

ROOT = Path(__file__).absolute().parents[1]  # through the link to the release in use: an upgrade shows as other files
sys.path.insert(0, str(ROOT))
from deploy import odd_paths, preload  # noqa: E402
from deploy.notify_relay import Relay  # noqa: E402
from deploy.resting import RestingPoller, RestingSupervisor, SignalReader  # noqa: E402

HANDLED = tuple(
    map(int, (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2))
)

# mallopt(3): one arena for all threads, and what is freed goes back to the kernel, also after a large upload or commit.
MALLOC = {-8: 1, -1: 128 * 1024, -3: 128 * 1024}  # M_ARENA_MAX, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h

_systemd = os.environ.pop("NOTIFY_SOCKET", "")  # where it listens, to this process alone; empty where nobody does


class Options(ServerOptions):  # type: ignore[misc] # supervisor has no types
    """supervisord's options, with another last step of starting a program, and one more socket in its loop."""

    preloaded: preload.Preload
    _relay: Relay | None = None
    _signals: SignalReader | None = None
    _start: preload.ChildStart | None = None
    _argv: Sequence[str] = ()
    _prepared = False
    _environ: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        super().__init__()
        self.poller = RestingPoller(self)

    def openhttpservers(self, supervisord: Any) -> None:
        """Open supervisord's sockets, the one to systemd, and what makes signals readable."""
        super().openhttpservers(supervisord)
        signals = self._signals = SignalReader()
        self.get_socket_map()[signals.fileno()] = signals
        if _systemd:
            relay = self._relay = Relay(Path(self.pidfile).with_name("notify.sock"), _systemd)
            self.get_socket_map()[relay.fileno()] = relay
            os.environ["NOTIFY_SOCKET"] = str(relay.path)

    def close_httpservers(self) -> None:
        """Close them: at the end, and before `supervisorctl reload` opens them again."""
        super().close_httpservers()
        for own in (self._relay, self._signals):
            if own is not None:
                self.get_socket_map().pop(own.fileno(), None)
                own.close()

    def check_execv_args(self, filename: str, argv: Sequence[str], st: Any) -> None:
        """Prepare what the child needs; called before the fork."""
        super().check_execv_args(filename, argv, st)
        self._start, self._argv = None, argv
        if str(Path(filename).absolute()) == sys.executable:
            os.environ.update(self.configroot.supervisord.environment)  # it is every child's
            self._environ = dict(os.environ)
            self._prepare_all()
            self._start = self.preloaded.start(argv[1:], self._environ)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or the child would write it too

    def _prepare_all(self) -> None:
        """Prepare every program before the first fork: what is written between two forks is copied for the first."""
        if not self._prepared:
            self._prepared = True
            for program in chain.from_iterable(group.process_configs for group in self.process_group_configs):
                self.preloaded.prepare(shlex.split(program.command)[1:], self._environ)

    def fork(self) -> int:
        """Fork, under the child's name already: what is written before the fork is not copied."""
        if self._start is not None:
            _show(self._start.name, self._argv)
        gc.freeze()
        # Its entries hold names; a child that replaces one writes to the page of a name it does not use: 0.3 MB each.
        sys._clear_type_cache()  # noqa: SLF001
        try:
            return int(super().fork())
        finally:
            if self._start is not None and os.getpid() == _PID:
                _show("supervisord", _ARGV)

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Become the program; called in the forked child, whose descriptors are set up. Does not return."""
        if self._start is not None and self._start.environ == preload.ours(env):
            become(self._start, {name: text for name, text in env.items() if self._environ.get(name) != text})
        super().execve(filename, argv, env)


def become(start: preload.ChildStart, changed: Mapping[str, str]) -> NoReturn:
    """Run a service as its command would, in this process, and end it.

    Args:
        start: what was prepared for it.
        changed: the environment variables that are not the parent's.
    """
    _forget_parent()
    for name, text in changed.items():
        os.environ[name] = text
    status = _status(start)
    threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - as an interpreter does at its end
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _forget_parent() -> None:
    """Undo what an exec would have undone."""
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        _signal.signal(number, _signal.SIG_DFL)  # the module around it makes an enumeration of each, 150 KB
    _signal.signal(signal.SIGINT, _signal.default_int_handler)


def _show(name: str, argv: Sequence[str]) -> None:
    """Set the process name that `top` shows and the command line that `ps` and `pgrep -f` show."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15], encoding="utf-8")
    begin, end = _AREA
    text = b"\0".join(map(os.fsencode, argv))[: max(0, end - begin - 1)]
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


def _command_line() -> tuple[tuple[int, int], list[str]]:
    """Return where the kernel reads this process' command line (arg_start and arg_end of proc(5)), and what it is."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        text = Path("/proc/self/cmdline").read_bytes().removesuffix(b"\0")
        return (int(fields[45]), int(fields[46])), list(map(os.fsdecode, text.split(b"\0")))
    except (OSError, IndexError, ValueError):
        return (0, 0), []


def _status(start: preload.ChildStart) -> int:
    """Run a service; return the exit status."""
    try:
        return preload.run(start)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the interpreter would print it too
        traceback.print_exc()
        return 1


_PID = os.getpid()
_AREA, _ARGV = _command_line()


def _tune_malloc() -> None:
    libc = ctypes.CDLL(None)
    for parameter, value in MALLOC.items() if hasattr(libc, "mallopt") else ():
        libc.mallopt(parameter, value)


if __name__ == "__main__":
    _tune_malloc()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is the children's too
    Options.preloaded = preload.Preload()
    odd_paths.allow()
    supervisord.ServerOptions, supervisord.Supervisor = Options, RestingSupervisor
    _show("supervisord", _ARGV)
    supervisord.main()
