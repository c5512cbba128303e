"""From a YAML file and the environment to typed sections, or to every error of it at once.

Reads one file and variables of the form ``BELABOX_<SECTION>__<KEY>``. Emits frozen dataclasses.
Fails with `ConfigError`, whose messages each name the key path, what was given and what was expected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from common import documents
from common.keys import EnvironmentText, KeySpec
from common.settings import Settings

ENVIRONMENT_PREFIX = "BELABOX_"
MAX_DEPTH = 12  # deeper is a loop of anchors, not a configuration
SECRET_KEYS = ("token", "password", "secret")  # a value under such a key is not repeated in a message

Section = TypeVar("Section")


class ConfigError(Exception):
    """A configuration that cannot be used.

    Attributes:
        messages: one for each error, naming the key path.
    """

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole configuration.

    Attributes:
        settings: the sections that the stages share.
        collectors: a typed section for each collector the caller knows.
        warnings: what was read and has no effect.
    """

    settings: Settings
    collectors: Mapping[str, Any]
    warnings: tuple[str, ...]


def load(
    file: Path | None, environ: Mapping[str, str], collectors: Mapping[str, type[Any] | None] | None = None
) -> Config:
    """Read and check a whole configuration.

    Args:
        file: the YAML file, or None for the defaults alone.
        environ: environment variables; those of the form ``BELABOX_A__B`` override key ``a.b``.
        collectors: section type by collector name, None for a section that is somebody else's to read;
            None altogether leaves them all to the collectors.

    Raises:
        ConfigError: with every error of the file and the environment.
    """
    errors: list[str] = []
    tree = _Reader(errors).read(file) if file else {}
    warnings = documents.translate(tree, errors)
    _override(tree, environ, errors)
    own = tree.pop("collectors", {})
    settings = _build(Settings, tree, "", errors)
    sections = _collectors(own, collectors, errors)
    if errors:
        where = f"{file}: " if file else ""
        raise ConfigError([where + message for message in errors])
    return Config(settings, sections, tuple(warnings))


class _Reader:
    """YAML to plain values, refusing what YAML allows and an operator does not mean."""

    def __init__(self, errors: list[str]) -> None:
        self._errors = errors
        self._constructor = yaml.constructor.SafeConstructor()

    def read(self, file: Path) -> dict[str, Any]:
        """Return the file's mapping; an error is noted, not raised."""
        try:
            with file.open(encoding="utf-8") as stream:
                node = yaml.compose(stream, Loader=yaml.SafeLoader)
        except OSError as error:
            self._errors.append(error.strerror or str(error))
            return {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            self._errors.append(f"not YAML: {' '.join(str(error).split())}")
            return {}
        value = {} if node is None else self._value(node, "", 0)
        if not isinstance(value, dict):
            self._errors.append("expected sections (a mapping) at the top level")
            return {}
        return value

    def _value(self, node: yaml.Node, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self._errors.append(f"{path}: nested too deeply")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self._errors.append(f"{path}: {' '.join(str(error).split())}")
            return None

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = str(key_node.value)
            inner = join(path, name)
            if name in mapping:
                self._errors.append(f"{inner}: given twice, again in line {key_node.start_mark.line + 1}")
            mapping[name] = self._value(value_node, inner, depth + 1)
        return mapping


def join(path: str, name: str) -> str:
    """Return the key path of a name inside a section."""
    return f"{path}.{name}" if path else name


def _override(tree: dict[str, Any], environ: Mapping[str, str], errors: list[str]) -> None:
    """Put environment variables over the file's values."""
    for variable, value in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        *sections, last = variable[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        at: Any = tree
        for name in sections:
            at = at.setdefault(name, {}) if isinstance(at, dict) else None
        if isinstance(at, dict):
            at[last] = EnvironmentText(value)
        else:
            errors.append(f"{'.'.join([*sections, last])}: {variable} does not name a key")


def _collectors(raw: Any, known: Mapping[str, type[Any] | None] | None, errors: list[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        errors.append("collectors: expected a section for each collector")
        return {}
    if known is None:
        return {}
    errors.extend(
        f"collectors.{name}: no such collector; there are {', '.join(sorted(known))}"
        for name in sorted(raw.keys() - known.keys())
    )
    return {
        name: _build(kind, raw.get(name, {}), f"collectors.{name}", errors)
        for name, kind in known.items()
        if kind is not None
    }


def _build(kind: type[Section], raw: Any, path: str, errors: list[str]) -> Section:
    """Build one section; every problem is noted with its key path, and the default stands in."""
    raw = {} if raw is None else raw  # a section whose every key is commented out
    if not isinstance(raw, dict):
        errors.append(f"{path}: expected a section, got {raw!r}")
        raw = {}
    values: dict[str, Any] = {}
    names = set()
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if "section" in field.metadata:
            names.add(field.name)
            values[field.name] = _build(
                field.metadata["section"], raw.get(field.name, {}), join(path, field.name), errors
            )
            continue
        spec: KeySpec = field.metadata["key"]
        names.add(spec.name or field.name)
        _take(spec, field.name, raw, path, values, errors)
    errors.extend(
        f"{join(path, name)}: unknown key; here are {', '.join(sorted(names))}" for name in sorted(raw.keys() - names)
    )
    return kind(**values)


def _take(
    spec: KeySpec, field_name: str, raw: dict[str, Any], path: str, values: dict[str, Any], errors: list[str]
) -> None:
    name = spec.name or field_name
    if name not in raw:
        return
    try:
        values[field_name] = spec.parse(raw[name])
    except ValueError as error:
        given = "***" if any(word in name for word in SECRET_KEYS) else repr(raw[name])
        errors.append(f"{join(path, name)}: {error}, got {given}")
