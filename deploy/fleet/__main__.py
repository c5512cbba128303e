"""Manage devices and their tokens at the server: `python3 -m deploy.fleet COMMAND`; standard library only.

Reads and writes: vmauth's configuration (`deploy/docker/auth/auth.yml`), and `deploy/docker/invitations/`.
Emits: for each device that is added a folder with its token (mode 0600) and its configuration; with --invite a line,
which is pasted on the machine and makes that device of it.
Fails: an id that is none, or is there already, a file that cannot be read: exit 64, and nothing is changed.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from deploy.fleet import devices, join_service, secret_file
from deploy.fleet.invitations import Invitations
from deploy.fleet.vmauth import CLUSTER, OLD, SINGLE, MistakeError, VmauthFile

EXIT_USAGE = 64
DOCKER = Path(__file__).resolve().parents[1] / "docker"
ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # device.id of the configuration
LINES = "join-lines.txt"


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(argv)
    try:
        auth = VmauthFile(options.auth)
        return _COMMANDS[options.command](auth, options)
    except (MistakeError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m deploy.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_path(parser, "--auth", "auth/auth.yml", "vmauth's file")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="add devices; a token and a configuration for each")
    add.add_argument("--server", default="https://metrics.example.com", help="where devices reach vmauth")
    add.add_argument("--cluster", action="store_true", help="for compose.cluster.yaml")
    add.add_argument("--invite", action="store_true", help="and invite them")
    invite = commands.add_parser("invite", help="print the line that lets a machine join as a device that was added")
    commands.add_parser("list", help="print the names of all users")
    rotate = commands.add_parser("rotate", help=f"another token for devices; the one before ends with revoke ID{OLD}")
    revoke = commands.add_parser("revoke", help="take devices out: their tokens and invitations end")
    for command in (add, invite):
        command.add_argument("devices", nargs="*", metavar="ID")
        command.add_argument("--list", type=Path, help="a file with one id a line, for as many as you like")
        command.add_argument("--minutes", type=int, default=60, help="an invitation is good for (default: 60)")
        command.add_argument("--join", help="where machines reach `serve` (default: /join at the server)")
    for command in (rotate, revoke):
        command.add_argument("devices", nargs="+", metavar="ID")
    for command in (add, invite, rotate):
        _add_path(command, "--out", "devices", "folder for what each device gets")
    serve = commands.add_parser("serve", help="give invited machines what they get; a proxy before it has the TLS")
    _add_serve(serve)
    for command in (add, invite, rotate, revoke, serve):
        _add_path(command, "--invitations", "invitations", "folder of the invitations")
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--listen", default="127.0.0.1:8600", metavar="HOST:PORT", help="default: 127.0.0.1:8600")
    serve.add_argument("--proxied", action="store_true", help="X-Forwarded-For is the proxy's own word")
    _add_path(serve, "--packages", "packages", "folder with the Debian packages for machines that have none")


def _add_path(parser: argparse.ArgumentParser, name: str, path: str, text: str) -> None:
    parser.add_argument(name, type=Path, default=DOCKER / path, help=f"{text} (default: deploy/docker/{path})")


def _add(auth: VmauthFile, options: argparse.Namespace) -> int:
    wanted, known, server = _wanted(options), set(auth.names()), options.server.rstrip("/")
    for device in wanted:
        if not ID.fullmatch(device):
            raise MistakeError(f"{device!r}: a device's id has 1 to 64 letters, digits, dots, colons, _ or -")
        if device in known:
            raise MistakeError(f"{device}: is there already; revoke it first for another token")
        known.add(device)
    for device in wanted:
        token = secrets.token_urlsafe(32)
        auth.add(device, token, CLUSTER if options.cluster else SINGLE)
        devices.write(options.out / device, device, token, server, cluster=options.cluster)
    auth.write()
    print(f"{len(wanted)} added to {auth.file}, which vmauth reads within 5 s; for each device: {options.out}/<id>/")
    return _invite(auth, options) if options.invite else 0


def _invite(auth: VmauthFile, options: argparse.Namespace) -> int:
    """Print the line for each device that is named; those for a list go into a file."""
    wanted, known = _wanted(options), set(auth.names())
    for device in wanted:
        if device not in known:
            raise MistakeError(f"{device}: no such device in {auth.file}")
    held = {device: devices.read(options.out / device) for device in wanted}
    invitations, expires_s = Invitations(options.invitations), time.time() + 60 * options.minutes
    invitations.withdraw(wanted)
    lines = []
    for device, (config, token) in held.items():
        url = options.join or f"{devices.server(config)}/join"
        code = invitations.add(device, config, token.strip(), expires_s)
        lines.append(f"curl -fsS {url} | sudo sh -s {url}#{code}")
    print(f"To be pasted on the machine within {options.minutes} minutes; each line is good once:\n")
    if options.list:
        file = options.out / LINES
        secret_file.write(file, "".join(f"{device}\t{line}\n" for device, line in zip(wanted, lines, strict=True)))
        print(file)
    else:
        print("\n".join(lines))
    if any("| sudo sh -s http:" in line for line in lines):
        print("\nWithout TLS everybody on the way can read the token: for a network of your own alone", file=sys.stderr)
    return 0


def _list(auth: VmauthFile, _options: argparse.Namespace) -> int:
    print("\n".join(auth.names()))
    return 0


def _rotate(auth: VmauthFile, options: argparse.Namespace) -> int:
    names = auth.names()
    fresh = {device: secrets.token_urlsafe(32) for device in options.devices}
    for device, token in fresh.items():
        if device + OLD in names:
            raise MistakeError(f"{device}: its token is being replaced already; revoke {device}{OLD} first")
        auth.rotate(device, token)
    auth.write()
    for device, token in fresh.items():
        devices.write_token(options.out / device, token)
    Invitations(options.invitations).withdraw(fresh)
    print(
        f"{len(fresh)} have two tokens now; put {options.out}/<id>/api-token on the device, which reads it "
        f"without a restart, then: revoke <id>{OLD}"
    )
    return 0


def _revoke(auth: VmauthFile, options: argparse.Namespace) -> int:
    for device in options.devices:
        auth.revoke(device)
        if device + OLD in auth.names():
            auth.revoke(device + OLD)
    auth.write()
    Invitations(options.invitations).withdraw(options.devices)
    print(f"{len(options.devices)} revoked; vmauth reads {auth.file} within 5 s")
    return 0


def _wanted(options: argparse.Namespace) -> list[str]:
    wanted = [*options.devices, *(_listed(options.list) if options.list else ())]
    if not wanted:
        raise MistakeError("which devices? Name them, or a file with --list")
    return wanted


def _listed(file: Path) -> Iterable[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


_COMMANDS: dict[str, Callable[[VmauthFile, argparse.Namespace], int]] = {
    "add": _add, "invite": _invite, "list": _list, "rotate": _rotate, "revoke": _revoke, "serve": join_service.serve,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
