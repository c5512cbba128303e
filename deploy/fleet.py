"""Manage devices and their tokens at the server: `deploy/fleet.py add|list|rotate|revoke`; standard library only.

Reads and writes: vmauth's configuration (`deploy/docker/auth/auth.yml`). What else is in it stays as it is.
Emits: for each device that is added a folder with its token (mode 0600) and its configuration.
Fails: an id that is none, or is there already: exit 64, and nothing is changed.

A device's token writes under that device's id and reads that device's series, whatever a request says: vmauth adds
`extra_label=device_id=<id>` to both. VictoriaMetrics replaces the label of what is written and filters what is read.
It has to be `extra_label`: of several `extra_filters[]` one is enough, and a client may add its own in a POST.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

EXIT_USAGE = 64
OLD = "~old"  # behind the name of an entry whose token is being replaced; no id has that sign
HERE = Path(__file__).resolve().parent
ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # device.id of the configuration
HEAD = """# A token for each device, which writes under its own device_id, reads what it has written, and nothing else.
# `python3 deploy/fleet.py add|list|rotate|revoke` keeps them; users of your own, with other names, may stand here too.
users:
"""
SINGLE = """  - name: {id}
    bearer_token: {token}
    url_map:
      - src_paths: ["/api/v1/import", "/api/v1/query", "/api/v1/query_range", "/api/v1/export"]
        url_prefix: http://victoriametrics:8428/?extra_label=device_id={id}
      - src_paths: ["/health", "/metrics"]
        url_prefix: http://victoriametrics:8428
      - src_paths: ["/insert/jsonline"]
        url_prefix: http://victorialogs:9428/?extra_fields=device_id={id}
"""
CLUSTER = """  - name: {id}
    bearer_token: {token}
    url_map:
      - src_paths: ["/insert/0/prometheus/api/v1/import"]
        url_prefix: http://vminsert:8480/?extra_label=device_id={id}
      - src_paths: ["/health"]
        url_prefix: http://vminsert:8480
      - src_paths: ["/select/0/prometheus/api/v1/(query|query_range|export)"]
        url_prefix: http://vmselect:8481/?extra_label=device_id={id}
"""
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


class MistakeError(Exception):
    """The command line asks for what cannot be done; says why."""


class VmauthFile:
    """vmauth's configuration as text, of which only the entries of devices are touched.

    Args:
        file: it may not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.text = file.read_text(encoding="utf-8") if file.exists() else HEAD

    def names(self) -> list[str]:
        """Return the names of all users."""
        return re.findall(r"(?m)^  - name: (\S+)$", self.text)

    def add(self, device: str, token: str, form: str) -> None:
        """Add a device."""
        self.text = self.text.rstrip("\n") + "\n" + form.format(id=device, token=token)

    def revoke(self, device: str) -> None:
        """Take a device out.

        Raises:
            MistakeError: it is not there.
        """
        self.text = self.text.replace(self._entry(device), "")

    def rotate(self, device: str, token: str) -> None:
        """Add an entry with another token; the one before stays, under another name, until it is revoked.

        Raises:
            MistakeError: the device is not there.
        """
        entry = self._entry(device)
        new = re.sub(r"bearer_token: .*", f"bearer_token: {token}", entry)
        old = entry.replace(f"- name: {device}\n", f"- name: {device}{OLD}\n", 1)
        self.text = self.text.replace(entry, old + new)

    def _entry(self, device: str) -> str:
        """Return the text of a device's entry.

        Raises:
            MistakeError: it is not there.
        """
        entry = re.search(rf"(?ms)^  - name: {re.escape(device)}\n(?:(?!  - ).*?\n)*?(?=  - |\Z|\S)", self.text)
        if entry is None:
            raise MistakeError(f"{device}: no such device in {self.file}")
        return entry[0]

    def write(self) -> None:
        """Replace the file as a whole; only its owner reads it."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.file.with_name(f"{self.file.name}.part")
        _write_secret(part, self.text)
        part.replace(self.file)


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(argv)
    auth = VmauthFile(options.auth)
    try:
        if options.command == "list":
            print("\n".join(auth.names()))
        else:
            {"add": _add, "rotate": _rotate, "revoke": _revoke}[options.command](auth, options)
            auth.write()
    except MistakeError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--auth",
        type=Path,
        default=HERE / "docker/auth/auth.yml",
        help="vmauth's file (default: deploy/docker/auth/auth.yml)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="add devices; a token and a configuration for each")
    add.add_argument("devices", nargs="*", metavar="ID")
    add.add_argument("--list", type=Path, help="a file with one id a line, for as many as you like")
    add.add_argument("--server", default="https://metrics.example.com", help="where devices reach vmauth")
    add.add_argument("--cluster", action="store_true", help="for compose.cluster.yaml")
    commands.add_parser("list", help="print the names of all users")
    rotate = commands.add_parser("rotate", help=f"another token for devices; the one before ends with revoke ID{OLD}")
    rotate.add_argument("devices", nargs="+", metavar="ID")
    for command in (add, rotate):
        command.add_argument(
            "--out", type=Path, default=HERE / "docker/devices", help="folder for what each device gets"
        )
    revoke = commands.add_parser("revoke", help="take devices out: their tokens end")
    revoke.add_argument("devices", nargs="+", metavar="ID")
    return parser


def _add(auth: VmauthFile, options: argparse.Namespace) -> None:
    devices = [*options.devices, *(_listed(options.list) if options.list else ())]
    known = set(auth.names())
    for device in devices:
        if not ID.fullmatch(device):
            raise MistakeError(f"{device!r}: a device's id has 1 to 64 letters, digits, dots, colons, _ or -")
        if device in known:
            raise MistakeError(f"{device}: is there already; revoke it first for another token")
        known.add(device)
    if not devices:
        raise MistakeError("which devices? Name them, or a file with --list")
    for device in devices:
        token = secrets.token_urlsafe(32)
        auth.add(device, token, CLUSTER if options.cluster else SINGLE)
        _write_device(options, device, token)
    print(f"{len(devices)} added to {auth.file}, which vmauth reads within 5 s; for each device: {options.out}/<id>/")


def _rotate(auth: VmauthFile, options: argparse.Namespace) -> None:
    names = auth.names()
    for device in options.devices:
        if device + OLD in names:
            raise MistakeError(f"{device}: its token is being replaced already; revoke {device}{OLD} first")
        token = secrets.token_urlsafe(32)
        auth.rotate(device, token)
        _write_token(options.out / device, token)
    print(
        f"{len(options.devices)} have two tokens now; put {options.out}/<id>/api-token on the device, which reads it "
        f"without a restart, then: revoke <id>{OLD}"
    )


def _revoke(auth: VmauthFile, options: argparse.Namespace) -> None:
    for device in options.devices:
        auth.revoke(device)
        if device + OLD in auth.names():
            auth.revoke(device + OLD)
    print(f"{len(options.devices)} revoked; vmauth reads {auth.file} within 5 s")


def _listed(file: Path) -> Iterable[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _write_device(options: argparse.Namespace, device: str, token: str) -> None:
    """Write what a device gets: its configuration, and its token in a file of its own."""
    folder = options.out / device
    _write_token(folder, token)
    path = "/insert/0/prometheus/api/v1/import" if options.cluster else "/api/v1/import"
    text = CONFIG.format(id=device, server=options.server.rstrip("/"), path=path)
    text += QUERY.format(server=options.server.rstrip("/")) if options.cluster else ""
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def _write_token(folder: Path, token: str) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_secret(folder / "api-token", f"{token}\n")


def _write_secret(file: Path, text: str) -> None:
    """Write a file of mode 0600."""
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
