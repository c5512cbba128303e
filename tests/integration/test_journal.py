"""The events collector on a real journal: systemd's own library reads what systemd's own writer wrote."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.events import events
from collectors.host import Host
from common.events import Event
from common.sample import Sample
from tests.harness import wait_for

WRITER = Path("/lib/systemd/systemd-journal-remote")
MACHINE, BOOT = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
UNIT = {"_SYSTEMD_UNIT": "belaUI.service", "SYSLOG_IDENTIFIER": "belaUI"}
MPP = {"SYSLOG_IDENTIFIER": "mpp", "_SYSTEMD_UNIT": "belaUI.service", "_UID": str(os.geteuid())}
SYSTEMD = {"SYSLOG_IDENTIFIER": "systemd", "UNIT": "belaUI.service", "_PID": "1", "_UID": "0", "_COMM": "systemd"}
SECRETS = ("live_9c1KEY", "867034050000001", "hunter2hunter2", "eyJhbGciOiJIUzI1NiJ9")


class Journal:
    """A journal below a root, to be written to."""

    def __init__(self, root: Path) -> None:
        folder = root / "var/log/journal" / MACHINE
        folder.mkdir(parents=True)
        command = [str(WRITER), "-o", str(folder / "system.journal"), "--split-mode=none", "-"]
        self._writer = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def say(self, message: str, **fields: str) -> None:
        """Add an entry."""
        assert self._writer.stdin is not None
        at_us = time.time_ns() // 1000
        rows = {"__REALTIME_TIMESTAMP": at_us, "__MONOTONIC_TIMESTAMP": at_us % 10**9, "_BOOT_ID": BOOT, **fields}
        text = "".join(f"{name}={value}\n" for name, value in {**rows, "MESSAGE": message}.items())
        self._writer.stdin.write(f"{text}\n".encode())
        self._writer.stdin.flush()

    def close(self) -> None:
        """End the writer."""
        assert self._writer.stdin is not None
        self._writer.stdin.close()
        self._writer.wait(10)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Give a journal with one old entry."""
    if not WRITER.exists():
        pytest.skip(f"{WRITER} IS NOT INSTALLED (systemd-journal-remote): this test of the real thing did not run")
    writing = Journal(tmp_path)
    writing.say("Pipeline stall detected. Will exit now", **UNIT)
    yield writing
    writing.close()


class Looking:
    """The collector, with all that it has found."""

    def __init__(self, root: Path) -> None:
        self._host, self._config, self.state = Host(root), events.Config(), events.State()
        self.found: list[Event] = []
        self.samples: dict[str, float | str] = {}

    def collect(self) -> None:
        """Collect once."""
        self._host.begin()
        for item in events.collect(self._host, self._config, self.state):
            if isinstance(item, Sample):
                self.samples["/".join((item.name, *item.tags.values()))] = item.value
            else:
                self.found.append(item)

    def until(self, lines: int) -> dict[str, float | str]:
        """Collect until so many lines of programs were read; return the samples."""

        def read() -> bool:
            self.collect()
            return self.state.lines["journal"] >= lines

        wait_for(f"{lines} lines", read)
        return self.samples


@pytest.fixture
def looking(journal: Journal, tmp_path: Path) -> Looking:
    """Return a collector that follows the journal and has seen nothing yet."""
    file = tmp_path / "var/log/journal" / MACHINE / "system.journal"
    wait_for("the old entry", lambda: "stall" in subprocess.getoutput(f"journalctl --file {file} --output cat"))
    collector = Looking(tmp_path)

    def follows() -> bool:
        journal.say("a beginning", **UNIT)
        collector.collect()
        return collector.state.lines["journal"] > 0

    wait_for("the first line", follows)
    journal.say("usb 9-9: USB disconnect, device number 9", _TRANSPORT="kernel", PRIORITY="6")

    def is_at_the_end() -> bool:
        collector.collect()
        return any(event.subject == "9-9" for event in collector.found)

    wait_for("the last line", is_at_the_end)
    collector.found.clear()
    collector.state.lines.update(dict.fromkeys(collector.state.lines, 0))
    return collector


def test_lines_of_the_units_become_events(journal: Journal, looking: Looking) -> None:
    """belacoder's, srtla_send's, systemd's, the encoder library's and the kernel's; nobody else's."""
    journal.say("SRT connected to 127.0.0.1:9000. Negotiated latency: 2000 ms", **UNIT)
    journal.say("10.1.0.2 (0x5581bf069510): connection failed, attempting to reconnect", **UNIT)
    journal.say("Pipeline stall detected. Will exit now", _SYSTEMD_UNIT="other.service")
    journal.say("usb 1-1: USB disconnect, device number 4", _TRANSPORT="kernel", PRIORITY="6")
    journal.say("mpp_enc: set rc cbr bps [7776000:8262000:7290000] fps [30:1:fix]", PRIORITY="6", **MPP)
    journal.say("mpp_enc: something is wrong", PRIORITY="3", **MPP)
    journal.say("belaUI.service: Failed with result 'signal'.", **SYSTEMD)
    samples = looking.until(5)
    assert [
        ("srt_negotiated", "", "belacoder is connected, with a latency of 2000 ms"),
        ("bond_link_failed", "10.1.0.2", "srtla_send has lost the link 10.1.0.2 and tries it again"),
        ("usb_disconnected", "1-1", "USB device 1-1 is gone"),
        ("encoder_complained", "", "the encoder library logged an error: `journalctl -t mpp` shows it"),
        ("unit_failed", "belaUI.service", "belaUI.service failed: signal"),
    ] == [(event.kind, event.subject, event.text) for event in looking.found]
    assert (1, 1) == (samples["events.lines_total/kernel"], samples["events.bitrate_changes_total"])


def test_secrets_of_the_journal_stay_there(journal: Journal, looking: Looking) -> None:
    """What belaUI logs, its settings and its messages: not one word of them is in an event or a sample."""
    for secret in SECRETS:
        journal.say(f"{{ auth: {{ token: '{secret}' }} }}", **UNIT)
        journal.say(f"/usr/bin/belacoder /tmp/p 127.0.0.1 9000 -s {secret}", **UNIT)
        journal.say(f"Failed to establish an SRT connection: unknown. Retrying... {secret}", **UNIT)
        journal.say(f"SRT connected to {secret}:9000. Negotiated latency: 2000 ms", **UNIT)
        journal.say(f"imei: {secret} connection established", PRIORITY="3", **MPP)
    looking.until(5 * len(SECRETS))
    said = repr((looking.found, looking.samples))
    assert [] == [secret for secret in SECRETS if secret in said]
    assert 3 * len(SECRETS) == len(looking.found)


def test_a_line_that_somebody_else_has_signed_is_nobodys(journal: Journal, looking: Looking) -> None:
    """`logger --journald` lets everybody set UNIT and SYSLOG_IDENTIFIER; journald's own fields say who it was."""
    stranger = {"_UID": "1000", "_PID": "4711", "_COMM": "logger", "_SYSTEMD_UNIT": "user@1000.service"}
    journal.say("belaUI.service: Failed with result 'signal'.", **{**SYSTEMD, **stranger})
    journal.say("mpp_enc: something is wrong", PRIORITY="3", **{**MPP, **stranger})
    journal.say("mpp_enc: set rc cbr bps [7776000:8262000:7290000] fps [30:1:fix]", **{**MPP, **stranger})
    journal.say("usb 1-1: USB disconnect, device number 4", SYSLOG_IDENTIFIER="kernel", **stranger)
    journal.say("Pipeline stall detected. Will exit now", **UNIT)
    samples = looking.until(3)
    assert ["pipeline_stalled"] == [event.kind for event in looking.found]
    assert "events.bitrate_changes_total" not in samples
