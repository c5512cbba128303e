"""Encoder, sound and picture between two collects: what stalls, what recovers, and the arithmetic of frames."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from collectors import belabox, mpp
from collectors.host import Host
from collectors.media import audio, encoder, hdmi, interrupts
from collectors.media.encoder import Frames
from collectors.process_table import RunningProcess
from common.events import Event
from common.sample import Sample

HEAD = "      CPU0 CPU1\n"
SESSION = "| session|  device| bitrate|\n|      11|  RKVENC| 6000000|\n"
STATUS = "proc/asound/C4K/pcm0c/sub0/status"


class Watched:
    """A collector looking at a tree that the test changes, a second at a time."""

    def __init__(self, module: ModuleType, root: Path) -> None:
        self._module = module
        self._host, self._state, self._config = Host(root), module.State(), module.Config()
        self._now_s = 100.0
        self.samples: dict[str, float | str] = {}

    def kinds(self, seconds: float = 1.0) -> list[str]:
        """Look after some seconds; return the kinds of the events."""
        self._now_s += seconds
        self._host.begin(self._now_s)
        found = list(self._module.watch(self._host, self._config, self._state))
        self.samples = {item.name: item.value for item in found if isinstance(item, Sample)}
        return [item.kind for item in found if isinstance(item, Event)]


def put(root: Path, path: str, text: str) -> None:
    """Write a file of the tree."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def fires(root: Path, count: int) -> None:
    """Let the encoder have encoded so many frames."""
    put(root, "proc/interrupts", f"{HEAD} 30: {count} 0 GICv3 1 Level fdbd0000.rkvenc-core\n")


def test_an_encoder_without_frames_is_a_stall(tmp_path: Path) -> None:
    """Said once within two seconds, and taken back by the next frame."""
    watched = Watched(encoder, tmp_path)
    put(tmp_path, mpp.SESSIONS, SESSION)
    fires(tmp_path, 100)
    assert [[], [], ["encoder_stalled"]] == [watched.kinds() for _ in range(3)]
    assert watched.samples["encoder.frame_rate"] == 0
    assert [] == watched.kinds()
    fires(tmp_path, 101)
    assert [["encoder_recovered"], []] == [watched.kinds(), watched.kinds()]


def test_a_closed_encoder_is_no_stall(tmp_path: Path) -> None:
    """Nobody waits for its frames; a stall ends with its session."""
    watched = Watched(encoder, tmp_path)
    fires(tmp_path, 100)
    assert [[]] * 4 == [watched.kinds() for _ in range(4)]
    put(tmp_path, mpp.SESSIONS, SESSION)
    assert [[], [], ["encoder_stalled"]] == [watched.kinds() for _ in range(3)]
    put(tmp_path, mpp.SESSIONS, "session iova range dump:\n")
    assert ["encoder_recovered"] == watched.kinds()


def test_frames_of_two_processes_are_not_compared(tmp_path: Path) -> None:
    """What was captured while nobody encoded is not dropped, and the rate is that of the new process."""
    host, state, rates = Host(tmp_path), encoder.State(), []
    for look, (pid, frames) in enumerate([(7, 250), (8, 260), (8, 410)]):
        put(tmp_path, mpp.SESSIONS, f"session: pid={pid} index=11\n{SESSION}")
        fires(tmp_path, frames)
        host.begin(100.0 + 5 * look)
        found = {one.name: one.value for one in encoder.collect(host, encoder.Config(), state)}
        rates.append(found.get("encoder.frame_rate"))
    assert [None, None, 30.0] == rates


def test_sound_that_stops_is_a_stall(tmp_path: Path) -> None:
    """A card that runs and whose pointer stands still."""
    watched = Watched(audio, tmp_path)
    put(tmp_path, STATUS, "state: RUNNING\nhw_ptr      : 480\n")
    assert [[], [], ["audio_stalled"], []] == [watched.kinds() for _ in range(4)]
    put(tmp_path, STATUS, "state: RUNNING\nhw_ptr      : 960\n")
    assert ["audio_recovered"] == watched.kinds()


# The driver's clock at both readings, and the rate that 94,000 samples in two seconds of ours make.
RATES = {
    ("10.000", "11.958333"): 48_000.0,
    ("10.000", "500.000"): 47_000.0,
    ("12.000", "11.000"): 47_000.0,
    ("no", "number"): 47_000.0,
}


@pytest.mark.parametrize("stamps", RATES)
def test_the_rate_is_counted_by_the_drivers_clock_where_it_fits(tmp_path: Path, stamps: tuple[str, str]) -> None:
    """It is finer than ours, but may step, or be none."""
    host, state, found = Host(tmp_path), audio.State(), []
    for now_s, pointer, stamp in ((100.0, 0, stamps[0]), (102.0, 94_000, stamps[1])):
        put(tmp_path, STATUS, f"state: RUNNING\ntstamp      : {stamp}\nhw_ptr      : {pointer}\n")
        host.begin(now_s)
        found += list(audio.collect(host, audio.Config(), state))
    assert [RATES[stamps]] == [sample.value for sample in found if sample.name == "audio.sample_rate_hertz"]


@pytest.mark.parametrize("source", [audio, encoder, hdmi])
def test_where_there_is_nothing_to_watch_it_rests(source: ModuleType, tmp_path: Path) -> None:
    """Until its next collect, which sees what has come."""
    state = source.State()
    list(source.watch(Host(tmp_path), source.Config(), state))
    assert source.REST_S == state.rest_s == source.Config().interval_s


def test_a_pulled_cable_is_said_once_and_taken_back(tmp_path: Path) -> None:
    """A board that starts without a cable has lost nothing."""
    watched = Watched(hdmi, tmp_path)
    put(tmp_path, hdmi.STATUS, "status: plugout\n")
    assert [] == watched.kinds()
    put(tmp_path, hdmi.STATUS, "status: plugin\n")
    assert ["hdmi_restored"] == watched.kinds()
    put(tmp_path, hdmi.STATUS, "status: plugout\n")
    assert ["hdmi_lost"] == watched.kinds()
    assert {"hdmi.connected": 0} == watched.samples
    assert [] == watched.kinds()


@pytest.mark.parametrize(
    ("encoded", "captured", "target", "expected"),
    [
        (300, 600, 30, (300.0, 0.0)),
        (294, 600, 30, (300.0, 6.0)),
        (300, 1200, 30, (300.0, 0.0)),  # 60 captured, the pipeline lowers it to 30
        (150, 300, 30, (150.0, 0.0)),  # the camera gives 15
        (303, 600, 30, (300.0, 0.0)),
        (290, None, 30, (300.0, 10.0)),
        (290, 600, None, (300.0, 10.0)),
        (290, None, None, None),
        (0, 0, 30, None),
    ],
)
def test_frames_that_are_missing(
    encoded: int, captured: int | None, target: float | None, expected: tuple[float, float] | None
) -> None:
    """What was captured or asked for, whichever is less."""
    begin = None if captured is None else 1000
    end = None if captured is None else 1000 + captured
    assert expected == encoder.missing(Frames(0.0, 50, begin), Frames(10.0, 50 + encoded, end), target)


@pytest.mark.parametrize(
    ("bitrates", "expected"), [([5, 5, 5], 100.0), ([4, 6], 80.0), ([1, 100_000], 0.0), ([5], None), ([0, 0], None)]
)
def test_stability(bitrates: list[int], expected: float | None) -> None:
    """100 less the standard deviation in percent of the mean; two readings at least."""
    assert expected == encoder.stability(bitrates)


def test_no_secret_of_belaui_comes_out(tmp_path: Path) -> None:
    """Of its configuration only what is named, and of a damaged one not even that."""
    put(tmp_path, belabox.CONFIG, '{"max_br": 5000, "srt_streamid": "KEY", "ssh_pass": "KEY", "remote_key": "KEY"}')
    host = Host(tmp_path)
    assert {"max_br": 5000} == belabox.settings(host)
    put(tmp_path, belabox.CONFIG, '{"srt_streamid": "KEY"')
    assert {} == belabox.settings(host)
    assert "KEY" not in str(host.faults)


def test_the_number_behind_a_flag(tmp_path: Path) -> None:
    """Of a command line that holds the stream's key too."""
    put(tmp_path, "proc/9/cmdline", "/usr/bin/belacoder\0p\0-l\x002000\0-s\0KEY\0")
    program = RunningProcess(9, "belacoder", 5.0)
    assert 2000 == belabox.option(Host(tmp_path), program, "-l")
    assert None is belabox.option(Host(tmp_path), program, "-s")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (HEAD, {}),
        (f"{HEAD} 30: 1 2 GICv3 1 Level x.y\n 31: 3 4 GICv3 1 Level x.y\nErr: 0\n", {"x.y": 10}),
        (f"{HEAD} 30: 1 many x\n", {}),
    ],
)
def test_interrupt_counts(text: str, expected: Any) -> None:
    """Summed over the cores; rows without counts are none."""
    assert expected == interrupts.parse(text.splitlines())
