"""Start processes of this tree by a fork of one that has imported what they import.

An interpreter needs half a second of a core for its imports, and tests start hundreds. Supervisord too forks what it
has imported, and `tests/integration/test_supervisord.py` holds a forked service equal to an executed one.

Reads: on its standard input, a socket, a request for each process, with its three descriptors.
Emits: on the same socket the process id; the process is then a child of who asked, as after `Popen`.
Fails: as the program does. What a fork would not do justice to is executed; so is all where nobody calls `launching`.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, AnyStr, NamedTuple, cast
from weakref import WeakSet

from common.service import STACK_SIGNAL

ROOT = Path(__file__).resolve().parents[1]
SUPERVISORD = str(ROOT / "deploy/supervisord.py")
SERVICES = ("buffer", "shipper", "healthd", "collectors")
# Read by an import, or by the interpreter before it; COVERAGE: each process is measured from its first line.
READ_EARLY = ("PYTHON", "LD_", "MALLOC_", "LC_", "LANG", "TZ", "NOTIFY_", "COVERAGE_PROCESS")
READ_THEM = ("common.clock", "collectors.srt.srt")  # BELABOX_TEST_…, when they are imported
SPACE = "." * 1000  # on the launcher's command line, where those of the processes will be
MOST_BYTES = 1 << 20
MOST_FILES = 256  # it has a dozen
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
STACK_S = 0.5  # that a process may take to write its stack


class Request(NamedTuple):
    """What follows the interpreter on the command line, and the rest of what a process inherits."""

    arguments: list[str]
    environment: dict[str, str]
    umask: int


class Launcher:
    """The process that is forked, started with the first request."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._environment = dict(os.environ)
        self._namespaces = _namespaces()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def can(self, command: Sequence[str], env: Mapping[str, str], cwd: object) -> bool:
        """Return whether the forked process would be the one that is executed."""
        if command[0] != sys.executable or cwd != ROOT or _early(env) != _early(self._environment):
            return False
        if _namespaces() != self._namespaces:
            return False
        return command[1] == SUPERVISORD or (command[1] == "-m" and command[2] in SERVICES)

    def start(self, request: Request, files: Sequence[int]) -> int:
        """Start a process; return its id.

        Args:
            request: what it is.
            files: its standard input, output and error.
        """
        with self._lock, _adopting():
            if self._socket is None:
                self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                command = [sys.executable, "-m", "tests.launcher", SPACE]
                self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdin=theirs.fileno())
                theirs.close()
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            return int(self._socket.recv(MOST_BYTES))

    def close(self) -> None:
        """End it."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.wait()


_running: Launcher | None = None


@contextmanager
def launching() -> Iterator[None]:
    """Have `program` fork within this block."""
    global _running  # noqa: PLW0603 - as subprocess has one of its own for all
    if _running is not None or any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
        yield
        return
    _running = Launcher()
    try:
        yield
    finally:
        _running.close()
        _running = None


_started: WeakSet[subprocess.Popen[Any]] = WeakSet()


def program(command: Sequence[str], **given: Any) -> subprocess.Popen[Any]:
    """Start a process, as `Popen` does, by a fork where it would be the same."""
    known = given.keys() <= {"cwd", "env", "stdin", "stdout", "stderr", "text"}
    can = known and _running is not None and _running.can(command, given.get("env", os.environ), given.get("cwd"))
    process = (_Forked if can else subprocess.Popen)(command, **given)
    _started.add(process)
    return process


def described() -> Iterator[str]:
    """Yield how each process is that was started here and not forgotten: what the kernel says, or its exit code.

    A service writes its stack to its standard error besides.
    """
    for process in _started:
        if process.poll() is None and _name(process).removeprefix("-m ") in SERVICES:
            process.send_signal(STACK_SIGNAL)
            time.sleep(STACK_S)
        yield f"{_name(process)}: pid {process.pid}, {_state(process)}"


def _name(process: subprocess.Popen[Any]) -> str:
    return " ".join(map(str, cast("list[str]", process.args)[1:3]))


def _state(process: subprocess.Popen[Any]) -> str:
    if (code := process.poll()) is not None:
        return f"has ended with {code}"
    folder = Path("/proc", str(process.pid))
    state = (folder / "stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    ticks, waits_in = int(state[11]) + int(state[12]), (folder / "wchan").read_text(encoding="ascii")
    return f"state {state[0]}, waits in {waits_in}, {ticks} ticks of a processor"


class _Forked(subprocess.Popen[AnyStr]):
    """A `Popen` whose process was forked by the launcher."""

    def _execute_child(self, args: Sequence[str], *rest: Any) -> None:
        environment, pipes = rest[5], rest[9:15]
        files = [own if own != -1 else number for number, own in enumerate((pipes[0], pipes[3], pipes[5]))]
        assert _running is not None
        request = Request(list(args[1:]), dict(os.environ if environment is None else environment), _umask())
        self.pid = _running.start(request, files)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are read early; PYTHON alone is what `deploy/run.sh` reads."""
    return {name: text for name, text in environment.items() if name.startswith(READ_EARLY) and name != "PYTHON"}


def _namespaces() -> list[str]:
    """Return the network and the mounts of this thread, which a test may have changed."""
    return [str(Path("/proc/thread-self/ns", name).readlink()) for name in ("net", "mnt")]


def _umask() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("Umask:")[2].split()[0], 8)


@contextmanager
def _adopting() -> Iterator[None]:
    """Become the parent of what loses its own."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def serve(control: socket.socket) -> Request:
    """Fork a process for each request; return the request in that process, and never in this one."""
    while True:
        message, files, _flags, _sender = socket.recv_fds(control, MOST_BYTES, 3)
        if not message:
            sys.exit()
        orphaned, last = os.pipe()
        between = os.fork()
        if between and os.waitpid(between, 0):
            for descriptor in (*files, orphaned, last):
                os.close(descriptor)
            continue
        if not between and os.fork():
            os._exit(0)
        os.close(last)
        os.read(orphaned, 1)  # until the launcher has seen the end of the one between
        control.send(b"%d" % os.getpid())
        control.detach()
        for number, descriptor in enumerate(files):
            os.dup2(descriptor, number)
        os.closerange(3, MOST_FILES)
        return Request(*json.loads(message))


def become(request: Request) -> None:
    """Be what the command line says, until it ends."""
    from deploy import supervisord  # noqa: PLC0415 - the launcher alone has it, and knows where command lines are

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(request.umask)
    os.environ.clear()
    os.environ.update(request.environment)
    if any(name.startswith("BELABOX_TEST_") for name in os.environ):
        for name in READ_THEM:
            importlib.reload(sys.modules[name])
    supervisord._show("python", [sys.executable, *request.arguments])
    first, *others = request.arguments
    if first == "-m":
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(first).parent)
        sys.argv = request.arguments
        runpy.run_path(first, run_name="__main__")


def prepare() -> None:
    """Import what the processes import."""
    from collectors import registry  # noqa: PLC0415 - who asks a launcher does not need it

    for source in registry.names():
        registry.load(source)
    for package in SERVICES:
        importlib.import_module(f"{package}.__main__")
        del sys.modules[f"{package}.__main__"]  # it is what is run
    for name in ("collectors.service", "deploy.supervisord"):
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    prepare()
    become(serve(socket.socket(fileno=0)))
