"""Situations that people have reported of devices, each with what is right: see `tests/fixtures/README.md`, field."""

from __future__ import annotations

from typing import Any

import pytest

from collectors import registry
from tests.unit.collectors import recorded


def replayed(case: str, source: str) -> list[recorded.Collected]:
    """Return what a source makes of the instants of a case."""
    return list(recorded.replay(registry.load(source), recorded.FIXTURES / "field" / case))


def values(step: recorded.Collected) -> dict[str, Any]:
    """Return values by name and labels, e.g. ``network.rx_bytes_total/eth0``."""
    return {"/".join((sample.name, *sample.tags.values())): sample.value for sample in step.samples}


def test_an_alias_is_an_interface_of_its_own() -> None:
    """`eth0` and `eth0:1`, each with its own counters."""
    found = values(replayed("interface-alias", "network")[0])
    assert (1000866899965, 777) == (found["network.rx_bytes_total/eth0"], found["network.rx_bytes_total/eth0:1"])
    assert (5373060, 22) == (found["network.tx_packets_total/eth0"], found["network.tx_packets_total/eth0:1"])


def test_impossible_temperatures_are_absent_counted_and_named() -> None:
    """2,147,483 °C is no reading, nor the hottest one; what the board really has stays."""
    step = replayed("thermal-bogus", "thermal")[0]
    found = values(step)
    assert (47.154, 47.154) == (found["cpu.temperature"], found["thermal.zone_temp/soc-thermal"])
    temperatures = [name for name in found if "temp" in name]
    assert ["thermal.zone_temp/soc-thermal", "cpu.temperature"] == temperatures
    unreadable = {name.partition("/")[2] for name, value in found.items() if name.startswith("thermal.unr") and value}
    assert {"bigcore0-thermal", "gpu-thermal", "npu-thermal"} == unreadable
    assert 5 == len(step.faults)


def test_kernel_lines_that_end_or_cripple_a_stream_are_events() -> None:
    """And harmless ones are not."""
    told = [(event.kind, event.subject) for event in replayed("kernel-lines", "events")[0].events]
    assert [
        ("usb_host_died", "xhci-hcd.7.auto"), ("usb_host_died", "xhci-hcd.7.auto"), ("usb_failed", "usb3-port1"),
        ("usb_disconnected", "2-1"), ("usb_overcurrent", "usb4-port1"), ("usb_overcurrent", "4-0:1.0"),
        ("encoder_failed", ""), ("encoder_failed", "fdbd0000.rkvenc-core"), ("encoder_failed", "fdbd0000.rkvenc-core"),
        ("encoder_failed", "fdbdf000.iommu"), ("out_of_memory", "(sd-pam)"), ("out_of_memory", "belacoder"),
        ("out_of_memory", "Web Content"), ("out_of_memory", "python3"), ("link_stuck", "wwan0"), ("usb_failed", "1-1"),
        ("storage_failed", "mmcblk0p2"), ("storage_failed", "mmcblk0p2"), ("storage_failed", "mmc0"),
        ("storage_failed", "mmcblk0"), ("storage_failed", "mmcblk0p2"), ("kernel_fault", ""), ("kernel_fault", ""),
        ("undervoltage", ""), ("usb_reset", "2-1"), ("usb_failed", "2-1.1"), ("usb_failed", "usb2-port1"),
        ("storage_failed", "mmcblk1p1"), ("storage_failed", "mmcblk0"), ("overheated", ""), ("overheated", ""),
    ] == told  # fmt: skip


def test_of_two_gps_receivers_the_one_with_a_fix_counts() -> None:
    """Not the one that spoke last."""
    found = values(replayed("gps-two-receivers", "gps")[0])
    assert (3, 52.5) == (found["gps.fix"], found["gps.latitude_degrees"])


def test_of_two_encoder_sessions_the_streams_counts() -> None:
    """Not the preview, which is the first in the table."""
    found = values(replayed("mpp-two-sessions", "encoder")[0])
    assert (6_000_000, 59.94) == (found["encoder.bitrate_bits_per_second"], found["encoder.frame_rate"])
    assert "encoder.info/hevc/1920x1080/main/" in found


def test_an_overlay_root_has_its_size_and_free_space() -> None:
    """The layer that is written to, and a sentence that it is one."""
    step = replayed("overlay-root", "disk")[0]
    found = values(step)
    assert (4_096_000, 1_638_400) == (found["filesystem.size_bytes//"], found["filesystem.free_bytes//"])
    assert ["/"] == list(step.notes)


def test_an_overrun_between_two_readings_is_counted() -> None:
    """The trigger time changed while the capture ran for the same program."""
    before, after = (values(step) for step in replayed("audio-overrun", "audio"))
    name = "audio.overruns_total/rockchiphdmiin"
    assert (0, 1) == (before[name], after[name])


def test_a_container_gives_no_percentage_that_cannot_be() -> None:
    """More available than there is, more swap free than there is, an idle time near 2^63."""
    for step in replayed("lxcfs", "memory"):
        found = values(step)
        assert {"memory.total_bytes", "memory.swap_total_bytes", "memory.oom_kills_total"} == found.keys()
        assert ["proc/meminfo MemAvailable", "proc/meminfo SwapFree"] == list(step.faults)
    assert [[], []] == [[name for name in values(step) if "percent" in name] for step in replayed("lxcfs", "cpu")]


def test_a_kernel_without_an_hdmi_input_says_so_once() -> None:
    """One sentence, no frame rate of 0, no fault."""
    for step in replayed("hdmi-mainline", "hdmi"):
        assert ({}, {}, ["HDMI input"]) == (values(step), step.faults, list(step.notes))


@pytest.mark.parametrize("pids", [("1954", "1960"), ("1960", "1954")])
def test_the_encoders_own_session_is_known_by_its_process(pids: tuple[str, str], tmp_path: Any) -> None:
    """Whichever is larger or first, where the processes can be told."""
    table = (recorded.FIXTURES / "field/mpp-two-sessions/proc/mpp_service/sessions-summary").read_text()
    (tmp_path / "proc/mpp_service").mkdir(parents=True)
    (tmp_path / "proc/mpp_service/sessions-summary").write_text(table)
    for pid, name in zip(pids, ("belacoder", "mpv"), strict=True):
        (tmp_path / "proc" / pid).mkdir()
        (tmp_path / "proc" / pid / "comm").write_text(f"{name}\n")
    found = values(next(iter(recorded.replay(registry.load("encoder"), tmp_path))))
    assert {"1954": 400_000, "1960": 6_000_000}[pids[0]] == found["encoder.bitrate_bits_per_second"]
