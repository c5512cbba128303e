"""A hundred devices, a hundred tokens, the real vmauth and the real server: each sees and writes its own alone."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from deploy.fleet import __main__ as fleet
from tests.chaos.server import RealServer
from tests.free_port import free_port
from tests.harness import require, wait_for
from tests.http_answer import answer

DEVICES = [f"box-{number:03}" for number in range(100)]
REFUSED = {400, 401}  # vmauth 1.79 says 400 to a token that it does not know, newer ones 401
NOW_MS = 1_795_000_000_000
Form = list[tuple[str, str]]


class Fleet:
    """vmauth before a server, with a file that `deploy.fleet` keeps.

    Args:
        folder: for the file and what each device gets.
        server: its URL.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self.folder, self._server = folder, server
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, *arguments: str) -> int:
        """Call the command as an administrator does."""
        return fleet.main(["--auth", str(self.folder / "auth.yml"), *arguments])

    def start(self) -> None:
        """Start vmauth on what is in the file."""
        self.reload()
        command = [
            require("vmauth"), f"-auth.config={self.folder}/here.yml", f"-httpListenAddr={self.url.removeprefix('http://')}",
        ]  # fmt: skip
        with (self.folder / "vmauth.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for("vmauth", lambda: self.ask("/health") in {200, 401})

    def reload(self) -> None:
        """Have it read the file again, with this machine's address in place of the containers'."""
        text = (self.folder / "auth.yml").read_text(encoding="utf-8")
        (self.folder / "here.yml").write_text(re.sub(r"http://victoria\w+:\d+", self._server, text), encoding="utf-8")
        if self._process:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def token(self, device: str) -> str:
        """Return what the device got."""
        return (self.folder / "devices" / device / "api-token").read_text(encoding="ascii").strip()

    def ask(self, path: str, token: str = "", data: bytes | None = None) -> int:
        """Return the status of an answer, 0 while there is none."""
        return self.answer(path, token, data)[0]

    def answer(self, path: str, token: str, data: bytes | None = None) -> tuple[int, str]:
        """Return status and text of an answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return answer(Request(self.url + path, data=data, headers=headers), 20)

    def write(self, device: str, claimed: Iterable[str], path: str = "/api/v1/import") -> int:
        """Write with a device's token a sample for each device that it claims to be."""
        metrics = [{"__name__": "tried", "by": device}]
        metrics += [{"__name__": "claimed", "by": device, "as": name, "device_id": name} for name in claimed]
        lines = [json.dumps({"metric": metric, "values": [1], "timestamps": [NOW_MS]}) for metric in metrics]
        return self.ask(path, self.token(device), "\n".join(lines).encode())

    def seen(self, token: str, path: str, form: Form, *, in_body: bool = True) -> set[str]:
        """Return the devices in an answer to a form, which goes in the body or in the URL."""
        asked = urlencode(form)
        body = asked.encode() if in_body else None
        status, text = self.answer(path if in_body else f"{path}?{asked}", token, body)
        assert status == 200, text
        return set(re.findall(r'"device_id":"([^"]*)"', text))


@pytest.fixture
def hundred(run_dir: Path, server: RealServer) -> Iterator[Fleet]:
    """A hundred devices of a list."""
    made = Fleet(run_dir, server.url)
    (run_dir / "list").write_text("# the boxes\n" + "\n".join(DEVICES), encoding="utf-8")
    assert 0 == made.call("add", "--list", f"{run_dir}/list", "--out", f"{run_dir}/devices")
    made.start()
    yield made
    made.stop()


def written(server: RealServer) -> list[dict[str, str]]:
    """Return the labels of each series that was written in a name."""
    with urlopen(f"{server.url}/api/v1/export?match[]=claimed", timeout=20) as answer:
        return [json.loads(line)["metric"] for line in answer]


def test_each_of_them_sees_and_writes_its_own_alone(hundred: Fleet, server: RealServer) -> None:
    """A hundred by a hundred: whoever it claims to be, and whomever it asks for, by name or with filters of its own."""
    for device in DEVICES:
        assert 204 == hundred.write(device, DEVICES)
    count = f"{server.url}/api/v1/query?query=count(claimed)&time={NOW_MS // 1000}"
    wait_for("all samples", lambda: f'"{len(DEVICES) ** 2}"' in urlopen(count, timeout=20).read().decode(), 60)
    series = written(server)
    assert {(by, by, name) for by in DEVICES for name in DEVICES} == {
        (m["device_id"], m["by"], m["as"]) for m in series
    }
    selectors = [f'tried{{device_id="{name}"}}' for name in DEVICES]
    at = ("time", str(NOW_MS // 1000))
    all_of_them = f'{{device_id=~"{"|".join(DEVICES)}"}}'
    filters = [("extra_filters", all_of_them), ("extra_filters[]", all_of_them)]
    for number, device in enumerate(DEVICES):
        token, other = hundred.token(device), [("extra_label", f"device_id={DEVICES[number - 1]}")]
        assert {device} == hundred.seen(token, "/api/v1/query", [("query", "tried"), at], in_body=False)
        assert {device} == hundred.seen(token, "/api/v1/query", [("query", f"tried{all_of_them}"), at])
        assert {device} == hundred.seen(token, "/api/v1/export", [("match[]", selector) for selector in selectors])
        for own, in_body in product((other, filters), (True, False)):
            assert hundred.seen(token, "/api/v1/query", [("query", "tried"), at, *own], in_body=in_body) <= {device}
            assert hundred.seen(token, "/api/v1/export", [("match[]", "tried"), *own], in_body=in_body) <= {device}
    assert 204 == hundred.write(DEVICES[0], DEVICES, f"/api/v1/import?extra_label=device_id={DEVICES[1]}")
    assert {(by, by) for by in DEVICES} == {(m["device_id"], m["by"]) for m in written(server)}


def test_what_a_token_opens_ends_with_it(hundred: Fleet) -> None:
    """Paths that no device needs are refused; a new token opens before the old one ends; revoked within ten seconds."""
    gone, stays = DEVICES[50], DEVICES[51]
    first = hundred.token(gone)
    assert {hundred.ask("/api/v1/query?query=tried", given) for given in ("", "wrong")} <= REFUSED
    for path in ("/api/v1/admin/tsdb/delete_series?match[]=tried", "/api/v1/series?match[]=tried", "/snapshot/create"):
        assert 400 <= hundred.ask(path, first) < 500, path
    assert 0 == hundred.call("rotate", gone, "--out", f"{hundred.folder}/devices")
    hundred.reload()
    wait_for("the new token", lambda: hundred.write(gone, [gone]) == 204, 10)
    assert 200 == hundred.ask("/api/v1/query?query=tried", first)
    for name, token in ((f"{gone}~old", first), (gone, hundred.token(gone))):
        assert 0 == hundred.call("revoke", name)
        hundred.reload()
        wait_for("the refusal", lambda: hundred.ask("/api/v1/query?query=tried", token) in REFUSED, 10)  # noqa: B023
    assert 204 == hundred.write(stays, [stays])
