"""Change keys of one section of the configuration file, line by line: comments and order stay as they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FLOW = re.compile(r"[^\s#]")


def with_keys(text: str, section: str, values: Mapping[str, str]) -> str:
    """Return a configuration in which keys of a top-level section have these values.

    Args:
        text: of the file.
        section: its name.
        values: by key, as YAML writes them.

    Raises:
        ValueError: the section is written in one line, which this does not take apart.
    """
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith(f"{section}:")), None)
    if start is None:
        return "\n".join([*lines, f"{section}:", *(f"  {key}: {value}" for key, value in values.items()), ""])
    if _FLOW.match(lines[start].partition(":")[2].strip()):
        raise ValueError(f"{section}: is written in one line")
    end = next((at for at in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[at])), len(lines))
    body = lines[start + 1 : end]
    indent = next((match[1] for line in body if (match := re.match(r"(\s+)[^\s#]", line))), "  ")
    for key, value in reversed(list(values.items())):
        _put(body, indent, key, value)
    return "\n".join([*lines[: start + 1], *body, *lines[end:], ""])


def _put(body: list[str], indent: str, key: str, value: str) -> None:
    """Give one key its value: where it stands, where it stands as a comment, or at the top."""
    fresh = f"{indent}{key}: {value}"
    for pattern in (rf"{indent}{key}:", rf"{indent}# ?{key}:"):
        for at, line in enumerate(body):
            if re.match(pattern, line):
                body[at] = fresh
                return
    body.insert(0, fresh)
