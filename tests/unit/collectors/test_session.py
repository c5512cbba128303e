"""A stream's session: its states, its end and how it came, its means; the same one after a restart of the collector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collectors.derived import session
from collectors.derived.session_numbers import HELD_S, StreamSession
from collectors.host import Host
from collectors.process_table import RunningProcess
from common import clock, running_session, stream_states
from common.events import Event
from common.sample import Sample


class Board:
    """A machine whose programs come and go.

    Attributes:
        state: of the collector.
    """

    def __init__(self, root: Path) -> None:
        self._host = Host(root)
        self._now_s = 100.0
        self.state = session.State()
        self.start("boot", 1, 0)
        self.start("srtla_send", 3900, 90_000)
        (root / "proc/uptime").write_text("1000.00 2000.00\n")

    def start(self, name: str, pid: int, started: int) -> None:
        """Let a program run, started so many hundredths of a second after boot."""
        folder = self._host.root / f"proc/{pid}"
        folder.mkdir(parents=True)
        (folder / "comm").write_text(f"{name}\n")
        (folder / "stat").write_text(f"{pid} ({name}) S 1 {' '.join(['0'] * 17)} {started} 0 0\n")

    def stop(self, pid: int) -> None:
        """End a program."""
        for file in (self._host.root / f"proc/{pid}").iterdir():
            file.unlink()
        (self._host.root / f"proc/{pid}").rmdir()

    def live(self) -> None:
        """Let the receiver answer, and look."""
        session.hear([Sample("srt.connected", 1)], clock.wall_ms(), "srt", self.state)
        self.look()
        assert self.state.stream.state == stream_states.LIVE

    def count(self, value: int, interface: str, ip: str, direction: str) -> None:
        """Let the counter of a link's bytes be heard."""
        labels = {"interface": interface, "ip": ip, "direction": direction}
        session.hear([Sample(session.DATA, value, labels)], clock.wall_ms(), "srt", self.state)

    def collected(self) -> list[Sample]:
        """Return what a collect measures."""
        self._host.begin(self._now_s)
        return [one for one in session.collect(self._host, session.Config(), self.state) if isinstance(one, Sample)]

    def look(self, after_s: float = 1.0) -> tuple[list[dict[str, Any]], list[str]]:
        """Let some time pass and look; return what was said of sessions, and the kinds of events."""
        found = self._watch(after_s)
        said = [json.loads(str(item.value)) for item in found if isinstance(item, Sample) and item.name == "session"]
        return said, [item.kind for item in found if isinstance(item, Event)]

    def samples(self, after_s: float = 1.0) -> list[Sample]:
        """Let some time pass and look; return what was measured."""
        return [item for item in self._watch(after_s) if isinstance(item, Sample)]

    def _watch(self, after_s: float) -> list[Sample | Event]:
        self._now_s += after_s
        self._host.begin(self._now_s)
        return list(session.watch(self._host, session.Config(), self.state))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A machine on which nothing streams."""
    return Board(tmp_path)


def test_nothing_runs(board: Board) -> None:
    """No stream, no word."""
    assert ([], []) == board.look()


def test_a_stream_from_its_start_to_its_end(board: Board) -> None:
    """It began when the encoder did and ended when it was seen last; in its means is what was measured live."""
    board.start("belacoder", 4000, 99_000)
    said, kinds = board.look()
    assert (["stream_started"], "active", None) == (kinds, said[0]["status"], said[0]["end_ms"])
    assert abs(clock.wall_ms() - 10_000 - said[0]["start_ms"]) < 2_000
    session.hear([Sample("srt.rtt_ms", 9_999.0)], clock.wall_ms(), "srt", board.state)
    board.live()
    session.hear([Sample("srt.rtt_ms", 60.0)], clock.wall_ms(), "srt", board.state)
    session.hear([Sample("srt.rtt_ms", 9_999.0)], said[0]["start_ms"] - 1, "srt", board.state)
    board.stop(4000)
    board.stop(3900)
    ended, kinds = board.look()
    assert (["stream_ended"], "completed", said[0]["id"]) == (kinds, ended[0]["status"], ended[0]["id"])
    assert "stopped" == ended[0]["metadata"]["how"]
    assert {"rtt_ms": 60.0} == ended[0]["metadata"]["summary"]


def test_a_mean_is_one_over_time() -> None:
    """A reading holds until the next one, not over the end of live, and not for ever."""
    made = StreamSession("", 0, RunningProcess(7, "belacoder", 0.0), 60_000, live_ms=[(0, 20_000), (30_000, 60_000)])
    for at_s, value in ((0, 50.0), (5, 70.0), (30, 100.0)):
        made.add("rtt_ms", value, 1000 * at_s)
    lasted_s = 5 + HELD_S + HELD_S
    assert {"rtt_ms": round((5 * 50 + HELD_S * 70 + HELD_S * 100) / lasted_s, 2)} == made.summary()


def test_what_was_measured_before_the_end_and_heard_after_it_is_in_the_summary(board: Board) -> None:
    """The buffer commits it together with the end; the session's row is written again."""
    board.start("belacoder", 4000, 99_000)
    board.look()
    board.live()
    measured_ms = clock.wall_ms()
    board.look()
    board.stop(4000)
    board.stop(3900)
    board.look()
    session.hear([Sample("srt.rtt_ms", 40.0)], measured_ms, "srt", board.state)
    session.hear([Sample("srt.rtt_ms", 9_999.0)], measured_ms + 60_000, "srt", board.state)
    again, kinds = board.look()
    assert ([], {"rtt_ms": 40.0}) == (kinds, again[0]["metadata"]["summary"])
    assert ([], []) == board.look()


def test_the_server_has_the_figures_of_the_last_stream(board: Board) -> None:
    """In series that are none of a session's own; once, when all of it has been heard."""
    board.start("belacoder", 4000, 99_000)
    board.look()
    board.live()
    session.hear([Sample("srt.rtt_ms", 60.0)], clock.wall_ms(), "srt", board.state)
    session.hear([Sample("srtla.link_bytes_total", 9, {"interface": "usb0"})], clock.wall_ms(), "srt", board.state)
    board.stop(4000)
    board.stop(3900)
    board.look()
    figures = [one for one in board.samples(session.SUMMARY_S) if one.name.startswith("session.last_")]
    assert {
        "session.last_completed": 1, "session.last_restarts": 0, "session.last_rtt_ms": 60.0,
        "session.last_data_bytes": 9,
    }.items() <= {one.name: one.value for one in figures}.items()  # fmt: skip
    assert 8 < next(one.value for one in figures if one.name == "session.last_duration_seconds") < 20  # type: ignore[operator]
    assert {"session.last_data_bytes": {"interface": "usb0"}} == {one.name: one.tags for one in figures if one.tags}
    assert [] == [one for one in board.samples() if one.name.startswith("session.last_")]


def test_the_data_of_each_sim_is_in_the_summary(board: Board) -> None:
    """Both ways, over a sender that was started again, and over a modem that was given another address."""
    board.start("belacoder", 4000, 99_000)
    board.look()
    for interface, ip, direction, value in (
        ("wwan0", "10.0.0.2", "sent", 1000), ("wwan0", "10.0.0.2", "sent", 4000), ("wwan0", "10.0.0.7", "sent", 1000),
        ("wwan0", "10.0.0.2", "received", 70), ("usb0", "10.0.1.2", "sent", 9), ("wwan0", "10.0.0.2", "sent", 300),
    ):  # fmt: skip
        board.count(value, interface, ip, direction)
    assert board.state.session is not None
    assert {"wwan0": 5370, "usb0": 9} == board.state.session.data_by_interface()


def test_the_data_of_each_sim_is_known_while_the_stream_runs(board: Board) -> None:
    """Of this stream: what the same sender has sent in the one before is not in it, and nothing without a stream."""

    def live() -> dict[str, float | int | str]:
        return {one.tags["ip"]: one.value for one in board.collected() if one.name == "session.data_bytes"}

    board.start("belacoder", 4000, 99_000)
    board.look()
    assert {} == live()
    board.count(5000, "wwan0", "10.0.0.2", "sent")
    assert {"10.0.0.2": 5000} == live()
    board.stop(4000)
    assert {} == live()
    board.look(20)
    board.look()
    board.start("belacoder", 4001, 99_900)
    board.look()
    board.count(5700, "wwan0", "10.0.0.2", "sent")
    assert {"10.0.0.2": 700} == live()


def test_a_restart_is_the_same_stream(board: Board) -> None:
    """The device's software starts the encoder again after 2 s."""
    board.start("belacoder", 4000, 90_000)
    first = board.look()[0][0]["id"]
    board.stop(4000)
    assert [[], ["stream_interrupted"]] == [board.look()[1], board.look()[1]]
    board.start("belacoder", 4001, 99_900)
    assert ([], ["stream_restarted"]) == board.look()
    assert board.state.session is not None
    assert (first, 1) == (board.state.session.id, board.state.session.restarts)


@pytest.mark.parametrize(("connected", "how"), [(1, "crashed"), (0, "cut_off")])
def test_an_encoder_that_is_not_started_again_has_failed(board: Board, connected: int, how: str) -> None:
    """The sender still runs: nobody stopped the stream. It says whether the connection was gone before."""
    board.start("belacoder", 4000, 90_000)
    board.look()
    board.live()
    session.hear([Sample("srt.connected", connected)], clock.wall_ms(), "srt", board.state)
    board.look()
    board.stop(4000)
    board.look()
    said, kinds = board.look(15)
    assert (["stream_failed"], "failed", how) == (kinds, said[0]["status"], said[0]["metadata"]["how"])


def test_a_stop_that_takes_the_encoder_first_is_a_stop(board: Board) -> None:
    """A look between the ends of the two programs makes no event of it."""
    board.start("belacoder", 4000, 90_000)
    board.look()
    board.stop(4000)
    assert ([], []) == board.look(0.1)
    board.stop(3900)
    said, kinds = board.look()
    assert (["stream_ended"], ["completed"]) == (kinds, [one["status"] for one in said])


def test_who_looks_anew_finds_the_same_session(board: Board) -> None:
    """This process was killed: boot, process and its start make the id."""
    board.start("belacoder", 4000, 90_000)
    first = board.look()[0][0]
    board.state = session.State()
    again = board.look()[0][0]
    assert (first["id"], first["status"]) == (again["id"], again["status"])


def test_log_lines_find_its_id_while_it_runs(board: Board, run_dir: Path) -> None:
    """What an earlier process left is gone at the first look."""
    board.state.run_dir = run_dir
    running_session.publish(run_dir, "left")
    board.look()
    assert {} == running_session.fields(run_dir)
    board.start("belacoder", 4000, 99_000)
    said, _ = board.look()
    assert {"session_id": said[0]["id"]} == running_session.fields(run_dir)
    board.stop(4000)
    board.stop(3900)
    board.look()
    assert {} == running_session.fields(run_dir)


def test_its_id_is_a_label_of_one_metric(board: Board, tmp_path: Path) -> None:
    """session.info carries it, and nothing else does."""
    board.start("belacoder", 4000, 90_000)
    host = Host(tmp_path, now_s=200.0)
    samples = [s for s in session.collect(host, session.Config(), board.state) if isinstance(s, Sample)]
    names = [sample.name for sample in samples]
    assert ["stream.state", "session", "session.info", "session.duration_seconds"] == names
    assert board.state.session is not None
    assert {"session_id": board.state.session.id} == samples[2].tags
