"""What a device gets: a folder with its configuration and its token, to be copied there or fetched with a code."""

from __future__ import annotations

import re
from pathlib import Path

from deploy.fleet import secret_file
from deploy.fleet.vmauth import MistakeError

CONFIG = """# {id}: for /etc/belabox-metrics/config.yaml; api-token belongs beside it (mode 0600, owner metrics).
device:
  id: {id}
remote:
  url: {server}{path}
  auth:
    type: bearer_token
    token_file: /etc/belabox-metrics/api-token
"""
QUERY = "  audit:\n    query_url: {server}/select/0/prometheus/api/v1/query\n"


def write(folder: Path, device: str, token: str, server: str, *, cluster: bool) -> None:
    """Write configuration and token of a device."""
    write_token(folder, token)
    path = "/insert/0/prometheus/api/v1/import" if cluster else "/api/v1/import"
    text = CONFIG.format(id=device, server=server, path=path) + (QUERY.format(server=server) if cluster else "")
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def write_token(folder: Path, token: str) -> None:
    """Write the token alone: another one for a device that has its configuration."""
    secret_file.write(folder / "api-token", f"{token}\n")


def read(folder: Path) -> tuple[str, str]:
    """Return configuration and token of a device.

    Raises:
        MistakeError: they are not there.
    """
    try:
        return (folder / "config.yaml").read_text(encoding="utf-8"), (folder / "api-token").read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise MistakeError(f"{folder.name}: no {error.filename}; `rotate` makes a token, `add` both") from None


def server(config: str) -> str:
    """Return the server in a device's configuration, e.g. ``https://metrics.example.com``."""
    found = re.search(r"(?m)^  url: (https?://[^/\s]+)", config)
    return found[1] if found else ""
