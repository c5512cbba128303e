"""What log lines mean, what is read of the kernel's log, and that no secret of a line gets into an event."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from collectors.events import events, kernel_log, log_lines
from collectors.events.journal import JournalError
from collectors.events.kernel_log import KernelLog
from collectors.host import Host
from common.event_kinds import KINDS
from common.events import Event

SECRET = "live_4f9aKEY867034050000001"  # a stream key with an IMEI in it

# Lines as the programs write them; the numbers are our own.
MEANT = [
    ("kernel", "usb 1-1.2: USB disconnect, device number 25", "usb_disconnected", "1-1.2"),
    ("kernel", "usb 1-1: device descriptor read/64, error -71", "usb_failed", "1-1"),
    ("kernel", "usb 1-1: can't set config #1, error -71", "usb_failed", "1-1"),
    ("kernel", "usb usb2-port1: disabled by hub (EMI?), re-enabling...", "usb_failed", "usb2-port1"),
    ("kernel", "fdee0000.hdmirx-controller: hdmirx_wait_lock_and_get_timing signal not lock, tmds_clk_ratio:0",
     "hdmi_unlocked", ""),
    ("kernel", "fdee0000.hdmi_receiver: hdmirx_wait_signal_lock: signal not lock", "hdmi_unlocked", ""),
    ("kernel", "fdee0000.hdmirx-controller: Err, timing is invalid", "hdmi_unlocked", ""),
    ("kernel", "rk_hdmirx fdee0000.hdmirx-controller: hdmirx_delayed_work_audio: audio underflow 0x1, with fs valid",
     "hdmi_sound_underflow", ""),
    ("kernel", "fdee0000.hdmirx-controller: hdmirx_format_change: New format: 1920x1080p59.08 (2200x1125)",
     "hdmi_format", ""),
    ("kernel", "mmc1: tried to HW reset card, got error -110", "storage_failed", "mmc1"),
    ("kernel", "mmcblk1: recovery failed!", "storage_failed", "mmcblk1"),
    ("kernel", "mmcblk0: error -84 transferring data, sector 1234", "storage_failed", "mmcblk0"),
    ("kernel", "blk_update_request: I/O error, dev mmcblk0, sector 8192 op 0x0:(READ)", "storage_failed", "mmcblk0"),
    ("kernel", "Buffer I/O error on dev sda1, logical block 0, async page read", "storage_failed", "sda1"),
    ("kernel", "EXT4-fs error (device nvme0n1p2): ext4_lookup:1700: inode #2", "storage_failed", "nvme0n1p2"),
    ("kernel", "nvme nvme0: controller is down; will reset: CSTS=0xffffffff", "storage_failed", "nvme0"),
    ("kernel", "Out of memory: Killed process 1669 (belacoder) total-vm:105068kB", "out_of_memory", "belacoder"),
    ("kernel", "Memory cgroup out of memory: Killed process 7 (python)", "out_of_memory", "python"),
    ("kernel", "thermal thermal_zone0: soc-thermal: critical temperature reached, shutting down", "overheated", ""),
    ("kernel", "thermal thermal_zone0: critical temperature reached (95 C), shutting down", "overheated", ""),
    ("kernel", "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:99]", "kernel_fault", ""),
    ("kernel", "INFO: task jbd2/mmcblk1p2-:188 blocked for more than 120 seconds.", "kernel_fault", "jbd2/mmcblk1p2-"),
    ("kernel", "usb 2-1.1: device not accepting address 5, error -71", "usb_failed", "2-1.1"),
    ("kernel", "usb usb2-port1: unable to enumerate USB device", "usb_failed", "usb2-port1"),
    ("kernel", "usb usb3-port1: config error", "usb_failed", "usb3-port1"),
    ("kernel", "qmi_wwan 1-1:1.4: nonzero urb status received: -71", "usb_failed", "1-1"),
    ("kernel", "usb 2-1: reset SuperSpeed USB device number 2 using xhci-hcd", "usb_reset", "2-1"),
    ("kernel", "usb 2-1: reset SuperSpeed Plus Gen 2x1 USB device number 2 using xhci_hcd", "usb_reset", "2-1"),
    ("kernel", "usb usb4-port1: over-current condition", "usb_overcurrent", "usb4-port1"),
    ("kernel", "hub 4-0:1.0: over-current change on port 1", "usb_overcurrent", "4-0:1.0"),
    ("kernel", "xhci-hcd xhci-hcd.7.auto: xHCI host controller not responding, assume dead", "usb_host_died",
     "xhci-hcd.7.auto"),
    ("kernel", "xhci_hcd 0000:01:00.0: HC died; cleaning up", "usb_host_died", "0000:01:00.0"),
    ("kernel", "rk_vcodec: mpp_task_timeout_work:567: task 18078:311:7007 processing time out!", "encoder_failed", ""),
    ("kernel", "mpp_rkvenc2 fdbd0000.rkvenc-core: resetting...", "encoder_failed", "fdbd0000.rkvenc-core"),
    ("kernel", "mpp_rkvenc2 fdbd0000.rkvenc-core: rkvenc_isr:1234: bit stream overflow", "encoder_failed",
     "fdbd0000.rkvenc-core"),
    ("kernel", "rk_iommu fdbdf000.iommu: Page fault at 0x00000000ffb00000 of type read", "encoder_failed",
     "fdbdf000.iommu"),
    ("kernel", "EXT4-fs (mmcblk0p2): Remounting filesystem read-only", "storage_failed", "mmcblk0p2"),
    ("kernel", "Aborting journal on device mmcblk0p2-8.", "storage_failed", "mmcblk0p2"),
    ("kernel", "BTRFS error (device mmcblk0p2): bdev /dev/mmcblk0p2 errs: wr 0, rd 0, flush 0, corrupt 5, gen 0",
     "storage_failed", "mmcblk0p2"),
    ("kernel", "mmc0: Timeout waiting for hardware interrupt.", "storage_failed", "mmc0"),
    ("kernel", "mmcblk0: error -110 sending status command, retrying", "storage_failed", "mmcblk0"),
    ("kernel", "Out of memory: Killed process 812 ((sd-pam)) total-vm:24340kB, anon-rss:3584kB", "out_of_memory",
     "(sd-pam)"),
    ("kernel", "Out of memory: Killed process 914 (Web Content) total-vm:1024340kB", "out_of_memory", "Web Content"),
    ("kernel", "Memory cgroup out of memory: Killed process 4194304 (a) total-vm:1) total-vm:2kB", "out_of_memory",
     "a) total-vm:1"),
    ("kernel", "NETDEV WATCHDOG: wwan0 (qmi_wwan): transmit queue 0 timed out", "link_stuck", "wwan0"),
    ("kernel", "cdc_ncm 2-1:1.0 enx0c5b8f279a64: NETDEV WATCHDOG: CPU: 3: transmit queue 0 timed out 5376 ms",
     "link_stuck", "enx0c5b8f279a64"),
    ("kernel", "hwmon hwmon1: Undervoltage detected!", "undervoltage", ""),
    ("kernel", "Under-voltage detected! (0x00050005)", "undervoltage", ""),
    ("kernel", "rcu: INFO: rcu_sched self-detected stall on CPU", "kernel_fault", ""),
    ("program", "SRT connected to 127.0.0.1:9000. Negotiated latency: 2000 ms", "srt_negotiated", ""),
    ("program", "Failed to establish an SRT connection: streamid already in use. Retrying...", "srt_refused", ""),
    ("program", "The SRT connection timed out, exiting", "srt_broken", ""),
    ("program", "The SRT connection failed, exiting", "srt_broken", ""),
    ("program", "Pipeline stall detected. Will exit now", "pipeline_stalled", ""),
    ("program", "gstreamer error from alsasrc0", "capture_failed", "alsasrc0"),
    ("program", "gstreamer error from v4l2src0", "capture_failed", "v4l2src0"),
    ("program", "gstreamer eos from pipeline0", "capture_failed", "pipeline0"),
    ("program", "10.2.0.2 (0x5581bf06a970): connection group registered", "bond_registered", ""),
    ("program", "10.1.0.2 (0x5581bf069510): connection established", "bond_link_joined", "10.1.0.2"),
    ("program", "127.0.0.2 (0x558f6): connection failed, attempting to reconnect", "bond_link_failed", "127.0.0.2"),
    ("program", "warning: no available connections", "bond_failed", ""),
    ("program", "Failed to re-establish any connections to 10.0.0.1", "bond_failed", ""),
    ("program", "belaUI.service: Failed with result 'exit-code'.", "unit_failed", "belaUI.service"),
    ("program", "belaUI.service: Main process exited, code=killed, status=9/KILL", "unit_failed", "belaUI.service"),
]  # fmt: skip

BITRATES = [
    "mpp_enc: MPP_ENC_SET_RC_CFG bps 7776000 [7290000 : 8262000] fps [30:30] gop 30",
    "mpp_enc: mode cbr bps [7290000:7776000:8262000] fps fix [30/1] -> fix [30/1] gop i [30] v [0]",
    "mpp_enc: set rc cbr bps [7776000:8262000:7290000] fps [30:1:fix] - [30:1:fix] gop 60",
]
RULES = {"kernel": log_lines.KERNEL, "program": log_lines.PROGRAMS}


@pytest.mark.parametrize(("of", "line", "kind", "subject"), MEANT)
def test_a_line_has_its_meaning(of: str, line: str, kind: str, subject: str) -> None:
    """Each documented line is the event that it should be, of the device that it names."""
    event = log_lines.event(RULES[of], line)
    assert event is not None
    assert (kind, subject) == (event.kind, event.subject)
    assert event.text == event.text.strip()
    assert "{" not in event.text


@pytest.mark.parametrize("rule", [*log_lines.KERNEL, *log_lines.PROGRAMS])
def test_every_rule_is_shown_by_a_line(rule: log_lines.Rule) -> None:
    """A kind that nobody knows is not reported, and no rule is there without a line that it is for."""
    assert rule.kind in KINDS
    untested = ("kernel has failed", "cannot change this")  # the two that are fixed words alone
    assert any(word in rule.text for word in untested) or any(rule.event(line) for _, line, _, _ in MEANT)


@pytest.mark.parametrize("line", BITRATES)
def test_a_bitrate_of_each_library_version(line: str) -> None:
    """All three forms that the encoder library has had."""
    assert log_lines.is_bitrate(line)
    assert not log_lines.is_bitrate(line.replace("bps", "fps"))


@pytest.mark.parametrize(("of", "line"), [row[:2] for row in MEANT])
def test_what_stands_beside_stays_inside(of: str, line: str) -> None:
    """A secret before, after or within a line is in no event, at whichever place it stands."""
    for at in range(len(line) + 1):
        event = log_lines.event(RULES[of], f"{line[:at]} {SECRET} {line[at:]}")
        assert event is None or SECRET not in f"{event.text}{event.subject}"
        event = log_lines.event(RULES[of], f"{line[:at]}{SECRET}{line[at:]}")
        assert event is None or SECRET not in f"{event.text}{event.subject}"


def test_what_nobody_knows_is_nothing() -> None:
    """Settings of belaUI, a websocket message, an empty line."""
    for line in ("", "{ password_hash: 'x', srt_streamid: 'y' }", f"Sending key {SECRET}", "auth: { token: 't' }"):
        assert log_lines.event(log_lines.PROGRAMS, line) is None
        assert log_lines.event(log_lines.KERNEL, line) is None


@pytest.mark.parametrize(
    "line",
    [
        "mpp_rkvenc2 fdbd0000.rkvenc-core: reset done",
        "FAT-fs (sda1): Volume was not properly unmounted. Some data may be corrupt. Please run fsck.",
        "hrtimer: interrupt took 1234 ns",
        "r8125: enP3p49s0: link down",
        "r8169 0003:31:00.0 enP3p49s0: Link is Down",
        "cdc_ncm 2-1:1.0 enx0c5b8f279a64: unregister 'cdc_ncm' usb-xhci-hcd.7.auto-1, CDC NCM",
        "uvcvideo: Failed to query (GET_DEF) UVC control 2 on unit 1: -71 (exp. 1).",
        "EXT4-fs (mmcblk0p2): mounted filesystem with ordered data mode. Opts: (null)",
        "usb 2-1: new SuperSpeed USB device number 2 using xhci-hcd",
        "xhci-hcd xhci-hcd.7.auto: new USB bus registered, assigned bus number 3",
    ],
)
def test_a_harmless_line_is_no_event(line: str) -> None:
    """What costs the stream nothing, or is seen at its source, is not said."""
    assert log_lines.event(log_lines.KERNEL, line) is None


def kernel(tmp_path: Path, text: str) -> tuple[KernelLog, Host, Path]:
    """Return a log that is a plain file."""
    file = tmp_path / kernel_log.PATH
    file.parent.mkdir()
    file.write_text(text)
    return KernelLog(), Host(tmp_path), file


def test_a_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    """It is always readable, and would wake the collector for ever."""
    log, host, _ = kernel(tmp_path, "6,1,1,-;usb 1-1: new high-speed USB device\n")
    assert ([None], 1) == ([log.waitable], len(list(log.lines(host))))
    assert log.waitable is None


def test_a_log_that_grows(tmp_path: Path) -> None:
    """Lines once each, a half one when its end has come, the overwritten counted."""
    log, host, file = kernel(tmp_path, "6,1,1,-;one\n SUBSYSTEM=usb\n6,2,1,-;t")
    assert ["one"] == list(log.lines(host))
    with file.open("a") as more:
        more.write("wo\n30,3,1,-;of a program\n6,9,1,-,caller=T1;ten;ine\n")
    assert ["two", "ten;ine"] == list(log.lines(host))
    assert 5 == log.missed
    assert [] == list(log.lines(host))
    log.close()


def test_a_log_that_overran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EPIPE is followed by the oldest record that is left; nothing new is nothing."""
    log, host, _ = kernel(tmp_path, "")
    answers: list[bytes | OSError] = [
        b"6,1,1,-;one\n", OSError(errno.EPIPE, "x"), b"6,5,1,-;five\n", BlockingIOError(errno.EAGAIN, "x"),
    ]  # fmt: skip

    def read(_descriptor: int, _length: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "read", read)
    assert ["one", "five"] == list(log.lines(host))
    assert 3 == log.missed


def test_a_log_that_is_not_ours_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and is no failure: the rest of the machine is read without it."""
    host = Host(tmp_path)
    assert [] == list(KernelLog().lines(host))
    assert {kernel_log.PATH} == host.absent

    def refuse(*_arguments: object) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    host.begin()
    monkeypatch.setattr(os, "open", refuse)
    assert [] == list(KernelLog().lines(host))
    assert {"dev/kmsg (Operation not permitted)"} == host.absent
    assert {} == host.faults


def test_a_machine_without_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No library: said as absent, the kernel's log is read."""

    def none(*_arguments: object) -> None:
        raise JournalError("no libsystemd")

    monkeypatch.setattr(events, "Journal", none)
    _, host, _ = kernel(tmp_path, "6,1,1,-;usb 1-1: USB disconnect, device number 2\n")
    found = list(events.collect(host, events.Config(), events.State()))
    assert Event("usb_disconnected", "USB device 1-1 is gone", "1-1") in found
    assert {"journal (no libsystemd)"} == host.absent
