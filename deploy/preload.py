"""Import modules and load the configuration in supervisord before it forks, so that its children share the memory.

A memory page that a child writes to is copied for that child; even reading an object writes its reference count. So
work that creates temporary objects (parsing, importing, comparing files) is done here, before the fork.

Reads: the modules of our packages, once; before each fork the times of their files, and the configuration if it is new.
Emits: for a command ``-m PACKAGE …`` of ours a `ChildStart`.
Fails: where a file has changed since it was imported, or the command line or the configuration cannot be used, there is
    no `ChildStart`: the child is a fresh interpreter then, which runs the new code or says what is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple, TypeAlias

from collectors import __main__ as collectors
from collectors import registry
from common import clock, config, freed_memory, log, service, wire, yaml_file
from common.config import Config, ConfigError
from common.sample import Batch

SERVICES = ("buffer", "shipper", "healthd")
PACKAGES = ("common", "collectors", *SERVICES)

_Stamp: TypeAlias = "tuple[int, int, int] | None"


class ChildStart(NamedTuple):
    """What a child needs to begin.

    Attributes:
        name: of the process.
        module: with the function `build` of the service.
        options: its parsed command line; `loaded` is the configuration.
        environ: the variables that the configuration was made with.
    """

    name: str
    module: str
    options: argparse.Namespace
    environ: Mapping[str, str]


class Preload:
    """The modules of our packages, imported, and the configuration."""

    def __init__(self) -> None:
        for source in registry.names():
            registry.load(source)
        for package in SERVICES:
            with contextlib.suppress(ModuleNotFoundError):  # a tree of parts of ours: a test's
                importlib.import_module(f"{package}.__main__")
        modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES]
        self._files = "\0".join(module.__file__ for module in modules if module.__file__)  # one object: see `_state`
        self._imported = _state(self._files)
        self._loaded: tuple[object, Config] | None = None
        self._starts: dict[tuple[str, ...], ChildStart] = {}
        _rehearse()
        gc.collect()
        gc.freeze()  # a collection in a child would touch, and so copy, every object that is shared

    def start(self, argv: Sequence[str], environ: Mapping[str, str]) -> ChildStart | None:
        """Return what the child of a command needs, None where it has to be a fresh interpreter.

        Args:
            argv: what follows the interpreter.
            environ: of the child, as far as it is known before the fork.
        """
        return self.prepare(argv, environ) if _state(self._files) == self._imported else None

    def prepare(self, argv: Sequence[str], environ: Mapping[str, str]) -> ChildStart | None:
        """Return what `start` would, without a look at the files: once for each program, before the first fork."""
        if len(argv) < 2 or argv[0] != "-m" or argv[1] not in PACKAGES:
            return None
        known = self._starts.get(tuple(argv))
        try:
            if known is not None and known.options.loaded is self._load(known.options.config, environ):
                return known
            start = self._parsed(argv, environ)
        except (SystemExit, ConfigError):
            return None
        if start is not None:
            self._starts[tuple(argv)] = start
        return start

    def _parsed(self, argv: Sequence[str], environ: Mapping[str, str]) -> ChildStart | None:
        package = argv[1]
        parser = collectors.arguments() if package == "collectors" else service.options_parser(package, "")
        with contextlib.redirect_stderr(None), contextlib.redirect_stdout(None):
            options = parser.parse_args(argv[2:])
        if package == "collectors" and (options.name is None or options.print or options.check_config):
            return None
        options.loaded = self._load(options.config, environ)
        if package == "collectors":
            return ChildStart(options.name, "collectors.service", options, ours(environ))
        return ChildStart(package, f"{package}.__main__", options, ours(environ))

    def _load(self, file: Path | None, environ: Mapping[str, str]) -> Config:
        state = file, _stamp(file) if file else None, ours(environ)
        if self._loaded is None or self._loaded[0] != state:
            self._loaded = state, config.load(file, environ, registry.sections(), yaml_file.read_apart)
            settings = self._loaded[1].settings.logging
            if settings.output in {"stdout", "stderr"}:
                log.set_up(settings.level, settings.format, settings.output)
        return self._loaded[1]


def ours(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that are part of the configuration."""
    return {name: value for name, value in environ.items() if name.startswith(config.ENVIRONMENT_PREFIX)}


def run(start: ChildStart) -> int:
    """Be the service, in the child; return the exit status."""
    return service.main(importlib.import_module(start.module).build, start.options)


def _rehearse() -> None:
    """Do once what costs memory when it is done for the first time: codecs, encoders, caches."""
    with redirect_stdout(io.StringIO()):
        log.set_up("info", "json", "stdout")
        log.Log("supervisord").info("rehearsed", bytes=0)
    clock.is_synchronised()  # imports ctypes' types: 0.9 MB in each
    freed_memory.give_back()
    batch = Batch("supervisord", clock.new_epoch(), 1, clock.wall_ms(), clock.boottime_ms(), clock.boot_id(), False, [])
    wire.decode_batch(wire.encode_batch(batch))
    wire.encode_heartbeat(wire.Heartbeat("supervisord", os.getpid(), "", 0, 0, 0.0))


def _state(files: str) -> bytes:
    """Return what tells these files from other versions of them.

    It is asked before each fork, and reading an object writes to its page, which is then copied. So the names come in
    one text (between zero bytes) and leave as one digest: 250 objects less that are touched each time.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in files.split("\0"):
        digest.update(repr(_stamp(file)).encode())
    return digest.digest()


def _stamp(file: str | Path) -> _Stamp:
    """Return what tells one version of a file from another."""
    try:
        found = os.stat(file)  # noqa: PTH116 - a Path keeps what it has made of its text
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
