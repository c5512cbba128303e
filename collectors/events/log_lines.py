"""The table of log lines of the kernel and the streaming programs, and the event each means; for the events collector.

Takes a line, returns an event or None. No line is passed on as it is: the text of an event comes from this table, with
only the numbers and names that its patterns match. So a stream key, token or password in a program's log cannot leak:
belaUI writes all of its settings, and every message it gets, into the journal.

Source: the kernel's drivers; BELABOX belacoder.c, srtla_send.c and belaUI.js; systemd's job messages.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from common.events import Event


class Rule(NamedTuple):
    """One row.

    Attributes:
        kind: of the event.
        pattern: searched for in the line; what its groups may match is numbers, names of devices, fixed words.
        text: the event's words, with the groups by number.
        subject: which one of several, likewise.
    """

    kind: str
    pattern: re.Pattern[str]
    text: str
    subject: str = ""

    def event(self, line: str) -> Event | None:
        """Return the event that a line is, None where this rule has no word on it."""
        match = self.pattern.search(line)
        if match is None:
            return None
        groups = (match[0], *(group or "" for group in match.groups()))
        return Event(self.kind, self.text.format(*groups).rstrip(), self.subject.format(*groups))


def _rule(kind: str, pattern: str, text: str, subject: str = "") -> Rule:
    return Rule(kind, re.compile(pattern), text, subject)


_DISK = r"(mmcblk\d{1,2}(?:boot\d|p\d{1,2})?|sd[a-z](?:\d{1,2})?|nvme\d(?:n\d(?:p\d{1,2})?)?)"
_USB = r"usb (usb\d{1,3}-port\d{1,3}|\d{1,3}-[\d.]{1,12})"
_NET = r"([a-z][\w.-]{1,14})"
_CHIP = r"([0-9a-f]{8}\.[\w-]{1,24})"
_ADDRESS = r"(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})"

# By the messages of drivers/usb/core/hub.c, drivers/usb/host/xhci*.c, net/sched/sch_generic.c, drivers/mmc,
# drivers/nvme, block, fs/ext4, fs/btrfs, mm/oom_kill.c, the kernel's panic.c, watchdog.c, hung_task.c and tree_stall.h,
# drivers/thermal/thermal_core.c, drivers/hwmon/raspberrypi-hwmon.c; of Rockchip's vendor kernels
# drivers/video/rockchip/mpp, drivers/iommu/rockchip-iommu.c and drivers/media/platform/rockchip/hdmirx.
USB = (
    _rule("usb_disconnected", rf"^{_USB}: USB disconnect", "USB device {1} is gone", "{1}"),
    _rule("usb_failed", rf"^{_USB}: device descriptor read/\w{{1,8}}, error (-\d{{1,3}})",
          "USB device {1} does not answer, error {2}", "{1}"),
    _rule("usb_failed", rf"^{_USB}: can't set config #\d{{1,3}}, error (-\d{{1,3}})",
          "USB device {1} cannot be set up, error {2}", "{1}"),
    _rule("usb_failed", rf"^{_USB}: device not accepting address \d{{1,3}}, error (-\d{{1,3}})",
          "USB device {1} does not answer, error {2}", "{1}"),
    _rule("usb_failed", rf"^{_USB}: (?:unable to enumerate USB device|config error|cannot (?:reset|disable))",
          "a USB device at {1} cannot be started: cable, power, or the device", "{1}"),
    _rule("usb_failed", rf"^{_USB}: disabled by hub \(EMI\?\)", "the hub has switched {1} off: interference or power",
          "{1}"),
    _rule("usb_failed", r"^[a-z_]{2,16} (\d{1,3}-[\d.]{1,12}):\d[\d.]{1,5}: nonzero urb status received: (-\d{1,3})",
          "USB device {1} gives transfer errors, {2}", "{1}"),
    _rule("usb_reset", rf"^{_USB}: reset [\w-]{{2,12}}(?: Plus)?(?: Gen \S{{1,8}})? USB device",
          "the kernel has reset USB device {1}", "{1}"),
    _rule("usb_overcurrent", rf"^(?:{_USB}|hub (\S{{1,20}})): over-current (?:condition|change)",
          "{1}{2}: too much current; the port is switched off", "{1}{2}"),
    _rule("usb_host_died",
          r"^(?:xhci|ehci)[\w-]{0,12} (\S{1,24}): (?:xHCI host (?:controller )?not responding|HC died"
          r"|Host halt failed|Host System Error|fatal error)", "USB host {1} has died: its devices are gone", "{1}"),
)  # fmt: skip

PICTURE = (
    _rule("hdmi_unlocked", r"hdmirx_wait_(?:lock_and_get_timing|signal_lock):? signal not lock",
          "the HDMI input cannot lock onto the signal: cable, adapter or source"),
    _rule("hdmi_unlocked", r"hdmirx-controller: Err, timing is invalid",
          "the HDMI input was opened and has no valid signal"),
    _rule("hdmi_format", r"hdmirx_format_change: New format: (\d{2,5}x\d{2,5}[pi][\d.]{1,7})",
          "the HDMI source now sends {1}"),
    _rule("hdmi_sound_underflow", r"hdmirx_delayed_work_audio: audio underflow", "the HDMI input's sound has run dry"),
    _rule("encoder_failed", r"mpp_task_timeout_work:\d{1,6}: task .{1,40} processing time out",
          "the video unit did not finish a picture in time; the kernel resets it"),
    _rule("encoder_failed", rf"^mpp_\w{{2,16}} {_CHIP}: resetting", "the kernel resets the video unit {1}", "{1}"),
    _rule("encoder_failed", rf"^mpp_\w{{2,16}} {_CHIP}: .{{0,40}}\b(bit stream overflow|bus error|time ?out|enc err)",
          "the video unit {1} failed: {2}", "{1}"),
    _rule("encoder_failed", rf"^rk_iommu {_CHIP}: (?:Page fault|Bus error) ",
          "the video unit behind {1} met a bad address", "{1}"),
)  # fmt: skip

STORAGE = (
    _rule("storage_failed", rf"I/O error, dev {_DISK}, sector \d{{1,20}}(?: op 0x\w{{1,2}}:\((\w{{1,12}})\))?",
          "{1} gives I/O errors {2}", "{1}"),
    _rule("storage_failed", rf"Buffer I/O error on dev(?:ice)? {_DISK}", "{1} gives I/O errors", "{1}"),
    _rule("storage_failed", rf"EXT4-fs error \(device {_DISK}\)", "the file system on {1} is damaged", "{1}"),
    _rule("storage_failed", rf"^(?:EXT4-fs|F2FS-fs) \({_DISK}\): (?i:remounting filesystem read-only|.{{0,40}}stopped)",
          "the file system on {1} is read-only from now on", "{1}"),
    _rule("storage_failed", rf"^Aborting journal on device {_DISK}", "the file system on {1} is damaged", "{1}"),
    _rule("storage_failed", rf"^BTRFS (?:error|critical|alert) \(device {_DISK}", "the file system on {1} is damaged",
          "{1}"),
    _rule("storage_failed", r"^(mmc\d{1,2}): tried to HW reset card, got error (-\d{1,3})",
          "card {1} does not answer to a reset, error {2}", "{1}"),
    _rule("storage_failed",
          r"^(mmc\d{1,2}): (?:Timeout waiting for hardware|card never left busy state|error -\d{1,3} whilst)",
          "card {1} does not answer", "{1}"),
    _rule("storage_failed", rf"^{_DISK}: (?:recovery failed|error (-\d{{1,3}}) (?:transferring data|sending))",
          "{1} does not answer, error {2}", "{1}"),
    _rule("storage_failed", r"^nvme (nvme\d{1,2}): (?:controller is down|I/O .{1,40} timeout|Device not ready)",
          "drive {1} has stopped, the kernel resets it", "{1}"),
)  # fmt: skip

MACHINE = (
    # A process' name may hold anything; what follows it is fixed.
    _rule("out_of_memory", r"ut of memory: Killed process (\d{1,10}) \((.{1,15})\)(?:,| total-vm|$)",
          "the kernel ended {2} (pid {1}): no memory was left", "{2}"),
    _rule("link_stuck",
          rf"^(?:NETDEV WATCHDOG: {_NET} \(\S{{1,24}}\)|\S{{1,24}} \S{{1,24}} {_NET}: NETDEV WATCHDOG.{{0,12}})"
          r": transmit queue \d{1,3} timed out",
          "{1}{2} sends nothing any more: its driver or modem is stuck", "{1}{2}"),
    _rule("undervoltage", r"(?i:under-?voltage detected)", "the supply gives too little: cable or power bank"),
    _rule("overheated", r"critical temperature reached",
          "the kernel shuts the board down: its critical temperature is reached"),
    _rule("kernel_fault", r"^(?:Internal error: Oops|Unable to handle kernel|Kernel panic|kernel BUG at)",
          "the kernel has failed: {0}"),
    _rule("kernel_fault", r"^watchdog: BUG: soft lockup - CPU#(\d{1,3}) stuck for (\d{1,6})s",
          "the kernel reports processor {1} stuck for {2} s"),
    _rule("kernel_fault", r"^rcu: INFO: rcu_\w{1,16} (?:self-)?detected (?:expedited )?stalls?",
          "the kernel reports a processor that is stuck"),
    _rule("kernel_fault", r"^INFO: task (.{1,15}):\d{1,10} blocked for more than (\d{1,6}) seconds",
          "{1} has waited for the disk for more than {2} s", "{1}"),
)  # fmt: skip

KERNEL = (*USB, *PICTURE, *STORAGE, *MACHINE)

_REASONS = (
    "connection timed out|streamid already in use|invalid streamid|failed to resolve address"
    "|failed to open the SRT socket|unknown"
)

PROGRAMS = (
    _rule("srt_negotiated", r"^SRT connected to \S{1,80}\. Negotiated latency: (\d{1,6}) ms",
          "belacoder is connected, with a latency of {1} ms"),
    _rule("srt_refused", rf"^Failed to establish an SRT connection: ({_REASONS})", "belacoder cannot connect: {1}"),
    _rule("srt_broken", r"^The SRT connection timed out, exiting",
          "belacoder ended: nothing was acknowledged for 6 s"),
    _rule("srt_broken", r"^The SRT connection failed, exiting", "belacoder ended: its connection failed"),
    _rule("pipeline_stalled", r"^Pipeline stall detected", "belacoder ended: its pipeline stood still for a second"),
    _rule("capture_failed", r"^gstreamer error from (alsasrc|v4l2src|[a-z0-9]{2,20}?)(\d{0,3})\s*$",
          "belacoder's {1}{2} failed", "{1}{2}"),
    _rule("capture_failed", r"^gstreamer eos from ([a-z0-9]{2,24})\s*$", "belacoder's {1} has come to its end", "{1}"),
    _rule("bitrate_fixed", r"^Failed to get an encoder element from the pipeline",
          "belacoder cannot change this pipeline's bitrate"),
    _rule("bond_registered", rf"^{_ADDRESS} \(0x[0-9a-f]{{1,16}}\): connection group registered",
          "the receiver has accepted the bond, over {1}"),
    _rule("bond_link_failed", rf"^{_ADDRESS} \(0x[0-9a-f]{{1,16}}\): connection failed",
          "srtla_send has lost the link {1} and tries it again", "{1}"),
    _rule("bond_link_joined", rf"^{_ADDRESS} \(0x[0-9a-f]{{1,16}}\): connection established",
          "the link {1} is part of the bond", "{1}"),
    _rule("bond_failed", r"^warning: no available connections", "srtla_send has no link that works"),
    _rule("bond_failed", r"^Failed to (?:re-)?establish any (?:initial )?connections",
          "srtla_send ended: the receiver answers over no link"),
    _rule("unit_failed", r"^([A-Za-z-]{1,24}\.service): Failed with result '([a-z-]{1,20})'", "{1} failed: {2}", "{1}"),
    _rule("unit_failed", r"^([A-Za-z-]{1,24}\.service): Main process exited, code=([a-z]{1,10}), status=(\d{1,3})",
          "{1} ended: {2}, status {3}", "{1}"),
)  # fmt: skip

# Rockchip's encoder library says each new bitrate: bits per second in the forms of its versions.
BITRATE = re.compile(r"\bbps (?:(\d{5,9}) \[|\[\d{5,9}:(\d{5,9}):|\[(\d{5,9}):)")


def event(rules: tuple[Rule, ...], line: str) -> Event | None:
    """Return the event that a line is, None where no rule has a word on it."""
    return next((found for found in (rule.event(line) for rule in rules) if found is not None), None)


def is_bitrate(line: str) -> bool:
    """Return whether a line of the encoder library is a change of its bitrate."""
    return BITRATE.search(line) is not None
