"""Load the configuration from a YAML file and the environment into typed sections, or report all errors at once.

Reads one file and variables of the form ``BELABOX_<SECTION>__<KEY>``. Emits frozen dataclasses.
Fails with `ConfigError`, whose messages each name the key path, what was given and what was expected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from common import documents, yaml_file
from common.keys import EnvironmentText, KeySpec
from common.problems import Problems, join, shown
from common.settings import Settings

ENVIRONMENT_PREFIX = "BELABOX_"

Section = TypeVar("Section")


class ConfigError(Exception):
    """A configuration that cannot be used.

    Attributes:
        messages: one for each error, naming the key path.
        usable: the rest of it, with the default in the place of each wrong value; None where that is not known.
    """

    def __init__(self, messages: list[str], usable: Config | None = None) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages
        self.usable = usable


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole configuration.

    Attributes:
        settings: the sections that the processes share.
        collectors: a typed section for each collector the caller knows.
        warnings: what was read as another key, has no effect, or should not be so.
        given: the key paths that the file or the environment sets; all others have their defaults.
    """

    settings: Settings
    collectors: Mapping[str, Any]
    warnings: tuple[str, ...]
    given: frozenset[str] = dataclasses.field(default=frozenset(), compare=False)


def load(
    file: Path | None,
    environ: Mapping[str, str],
    collectors: Mapping[str, type[Any] | None] | None = None,
    read: Callable[[Path, Problems], dict[str, Any]] = yaml_file.read,
) -> Config:
    """Read and check a whole configuration.

    Args:
        file: the YAML file, or None for the defaults alone.
        environ: environment variables; those of the form ``BELABOX_A__B`` override key ``a.b``.
        collectors: section type by collector name; a name with None is read by another process; None instead of
            the whole mapping leaves every section to the collectors.
        read: how the file is read.

    Raises:
        ConfigError: with every error of the file and the environment.
    """
    problems = Problems()
    tree = read(file, problems) if file else {}
    warnings = [*documents.translate(tree, problems), *_misspelt(environ)]
    _override(tree, environ, problems)
    given = frozenset(_paths(tree, ""))
    own = tree.pop("collectors", None)
    settings = _build(Settings, tree, "", problems)
    sections = _collectors(own, collectors, settings, problems)
    if not settings.collection.enabled:
        sections = {name: dataclasses.replace(found, enabled=False) for name, found in sections.items()}
    loaded = Config(settings, sections, (*warnings, *settings.remote.warnings(), *settings.health.warnings()), given)
    if problems.messages:
        where = f"{file}: " if file else ""
        raise ConfigError([where + message for message in problems.messages], loaded)
    return loaded


def _paths(tree: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the path of every key that has a value."""
    for name, value in tree.items():
        inner = join(path, name)
        if isinstance(value, dict):
            yield from _paths(value, inner)
        elif value is not None:
            yield inner


def _override(tree: dict[str, Any], environ: Mapping[str, str], problems: Problems) -> None:
    """Put environment variables over the file's values."""
    for variable, value in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        *sections, last = variable[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        path = ".".join([*sections, last])
        at: Any = tree
        for depth, name in enumerate(sections, 1):
            if isinstance(at, dict) and at.get(name) is None:  # not there, or all of it is commented out
                at[name] = {}
                problems.written_at(".".join(sections[:depth]), variable)
            at = at[name] if isinstance(at, dict) else None
        if isinstance(at, dict):
            at[last] = EnvironmentText(value)
            problems.written_at(path, variable)
        else:
            problems.add(path, f"{variable} does not name a key")


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that names a section and a key with one underscore between them."""
    sections = [field.name for field in dataclasses.fields(Settings)]
    found = []
    for variable in sorted(environ):
        name = variable[len(ENVIRONMENT_PREFIX) :].lower()
        section = next((section for section in sections if name.startswith(f"{section}_")), None)
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" not in variable and section:
            meant = f"{ENVIRONMENT_PREFIX}{section}__{name[len(section) + 1 :]}".upper()
            found.append(f"{variable}: no effect; two underscores stand between section and key: {meant}")
    return found


def _collectors(
    raw: Any, known: Mapping[str, type[Any] | None] | None, settings: Settings, problems: Problems
) -> dict[str, Any]:
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        problems.add("collectors", "expected a section for each collector")
        return {}
    if known is None:
        return {}
    for name in sorted(raw.keys() - known.keys()):
        problems.add(f"collectors.{name}", f"no such collector; there are {', '.join(sorted(known))}")
    return {
        name: _with_shared(_build(kind, raw.get(name), f"collectors.{name}", problems), settings)
        for name, kind in known.items()
        if kind is not None
    }


def _with_shared(section: Any, settings: Settings) -> Any:
    """Return a collector's section with the sections of `Settings` that it shares."""
    shared = {
        field.name: getattr(settings, field.metadata["shared"])
        for field in dataclasses.fields(section)
        if "shared" in field.metadata
    }
    return dataclasses.replace(section, **shared)


def _build(kind: type[Section], raw: Any, path: str, problems: Problems) -> Section:
    """Build one section; every problem is noted with its key path, and the default stands in."""
    raw = {} if raw is None else raw  # a section whose every key is commented out
    if not isinstance(raw, dict):
        problems.add(path, f"expected a section, got {shown(path, raw)}")
        raw = {}
    values: dict[str, Any] = {}
    names = set()
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if "shared" in field.metadata:
            continue
        if "section" in field.metadata:
            names.add(field.name)
            inner = join(path, field.name)
            values[field.name] = _build(field.metadata["section"], raw.get(field.name), inner, problems)
            continue
        spec: KeySpec = field.metadata["key"]
        name = spec.name or field.name
        names.add(name)
        if name in raw:
            _take(spec, raw[name], join(path, name), values, field.name, problems)
    for name in sorted(raw.keys() - names):
        here = sorted(names if path else {*names, "collectors"})  # the collectors' sections are built apart
        problems.add(join(path, name), f"unknown key; here are {', '.join(here)}")
    built = kind(**values)
    for name, text in built.check() if hasattr(built, "check") else ():
        problems.add(join(path, name), text)
    return built


def _take(spec: KeySpec, given: Any, path: str, values: dict[str, Any], field_name: str, problems: Problems) -> None:
    try:
        values[field_name] = spec.parse(given)
    except ValueError as error:
        problems.add(path, f"{error}, got {shown(path, given)}")


def fixed_changes(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the key paths in which two configurations differ and a running process does not follow."""
    changed = []
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if "section" in field.metadata:
            changed += fixed_changes(before, after, join(path, field.name))
        elif before != after and field.metadata["key"].fixed:
            changed.append(join(path, field.metadata["key"].name or field.name))
    return changed
