"""A pipeline whose name server does not answer for a while; run in namespaces of its own by `test_name_lookup.py`.

Port 53 of this network's loopback is ours, and /etc/resolv.conf names it. Exit code 0: everything arrived once.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from tests.fake_vm import FakeVm
from tests.harness import PROCESSES, Pipeline, finish, wait_for
from tests.integration.conftest import QUICK
from tests.integration.test_faults import arrived

NAME = "metrics.example.org"
HEADER = struct.Struct("!HHHHHH")
ANSWERED, ONE_ADDRESS = 0x8180, struct.pack("!HHHIH4s", 0xC00C, 1, 1, 1, 4, bytes([127, 0, 0, 1]))


class NameServer:
    """Takes questions; answers with loopback's address once it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answering = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(1024)
            self.asked += 1
            if self.answering.is_set():
                self._socket.sendto(answer(question), asker)


def answer(question: bytes) -> bytes:
    """Return the answer to one question: an address for A, none for anything else."""
    end = question.index(b"\0", HEADER.size) + 5
    is_address = question[end - 4 : end - 2] == b"\0\1"
    head = HEADER.pack(struct.unpack_from("!H", question)[0], ANSWERED, 1, int(is_address), 0, 0)
    return head + question[HEADER.size : end] + (ONE_ADDRESS if is_address else b"")


def alone(folder: Path) -> None:
    """Bring loopback up and name our name server."""
    up = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, 0x8914, up)  # SIOCSIFFLAGS
    ours = folder / "resolv.conf"
    ours.write_text("nameserver 127.0.0.1\n", encoding="ascii")
    subprocess.run(["mount", "--bind", str(ours), "/etc/resolv.conf"], check=True)


def main() -> None:
    """Run it below the folder that is given."""
    folder = Path(sys.argv[1])
    alone(folder)
    names, ledger = NameServer(), folder / "ledger"
    with FakeVm() as vm:
        url = vm.import_url.replace("127.0.0.1", NAME)
        pipeline = Pipeline(folder / "p", url, QUICK)
        pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --ledger {ledger}")
        with pipeline:
            wait_for("all stages", pipeline.all_running, 60)
            pids = {stage: pipeline.pid(stage) for stage in PROCESSES}
            wait_for("the reason", lambda: f"no address of {NAME}" in str(pipeline.health()[1].get("uploader")), 60)
            wait_for("a few tries", lambda: names.asked > 4, 60)
            assert not arrived(vm)
            assert pids == {stage: pipeline.pid(stage) for stage in PROCESSES}, "a hang was taken for a fault"
            names.answering.set()
            wait_for("samples", lambda: arrived(vm), 60)
            expected = finish(ledger)
            wait_for("all of them", lambda: expected <= arrived(vm).keys(), 60)
            assert set(arrived(vm).values()) == {1}
            print(f"{len(arrived(vm))} samples, {names.asked} questions, uploader: {pipeline.health()[1]['uploader']}")


if __name__ == "__main__":
    main()
