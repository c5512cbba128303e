"""Cuts of the bitrate on the machine's own sockets, through the whole pipeline to a server: a table of what was said.

Reads: nothing of this machine but its clock. Emits: a line for each cut: the rule by which the model of belacoder's
    controller made it, how far the event's stamp is from it, how long after it the event was at the server, and the
    text. A miss is named, with how late the play itself was: on a busy machine the controller decides by its own delay.
Fails: with exit code 1 if a cut has not its rule or its cause, or too late. Needs the right to packet sockets.

    python -m tests.bonding.cuts --count 30
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path as File
from typing import NamedTuple

from tests.bonding.faults import FAULTS, Fault
from tests.bonding.kernel_network import KernelNetwork
from tests.bonding.play import MOST_BPS, Play
from tests.bonding.srt import Cut
from tests.bonding.srtla import Path
from tests.fake_vm import FakeVm
from tests.harness import Pipeline, wait_for

ADDRESSES, DELAYS_S = ("127.0.0.2", "127.0.0.3"), (0.02, 0.03)
STAMP_S, SERVER_S = 0.5, 2.0
AT_ONCE_S, CUT = 2.0, 0.75  # a fifth is one; what is set is shown in steps of 100 kbit/s
STEP_S, CALM_S, WAIT_S = 0.05, 7.0, 10.0
IN_A_ROW = 4  # then the source is restarted: of one kind it reports six events at once, then one a minute
NICE = -10  # the play is not to be late: it stands for programs of other machines


class Reported(NamedTuple):
    """An event as it was stored, and when the server had it."""

    stamp_s: float
    server_s: float
    text: str


class Rig:
    """A stream on the machine's own sockets, and the pipeline that looks at it."""

    def __init__(self, play: Play, pipeline: Pipeline, vm: FakeVm) -> None:
        self.play, self._pipeline, self._vm = play, pipeline, vm
        self.late_s = 0.0
        self._beat(time.monotonic())

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Have the tree say what the kernel would, for a while or until something is so."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.play.tell()
            if until():
                return True
            time.sleep(STEP_S)
        return until()

    def calm(self) -> None:
        """Have the stream at its full bitrate over two good links, for as long as it takes until it stays there."""
        self.play.receiver.is_deaf = False
        for path, delay_s in zip(self.play.paths, DELAYS_S, strict=True):
            path.loss, path.is_cut, path.rate_bps, path.delay_s = 0.0, False, math.inf, delay_s
            path.busy_until_s = 0.0  # what waited is gone
        controller = self.play.controller
        while True:
            controller.bitrate = MOST_BPS
            controller.cuts.clear()
            if not self.wait(CALM_S, lambda: bool(controller.cuts)):
                return
            self.restart()  # a busy machine cuts it by itself

    def restart(self) -> None:
        """Have a new process of the source in the middle of the stream."""
        pid = self._pipeline.kill("collectors:srt", signal.SIGTERM)
        self.wait(math.inf, lambda: self._pipeline.pid("collectors:srt") not in {0, pid})

    def cut(self, fault: Fault) -> Reported | None:
        """Play a fault; return the event that reports the cut, None where there was none."""
        known, self.late_s = len(self._totals()), 0.0
        before_ms = int(1000 * time.time())
        self.play.network.do(lambda: fault.happens(self.play))
        if not self.wait(WAIT_S, lambda: len(self._totals()) > known):
            return None
        query = "SELECT timestamp_ms, text FROM events WHERE kind = 'bitrate_cut' AND timestamp_ms >= ? ORDER BY id"
        stamp_ms, text = wait_for("the event's text", lambda: self._pipeline.rows(query, before_ms))[0]
        return Reported(stamp_ms / 1000, self._totals()[known], text)

    def _totals(self) -> list[float]:
        """Return when the server was told of each cut."""
        counted = self._vm.samples("events_total")
        return sorted(one.first_received_s for one in counted if one.labels["kind"] == "bitrate_cut")

    def _beat(self, due_s: float) -> None:
        """Note how late the play is."""
        self.late_s = max(self.late_s, time.monotonic() - due_s)
        next_s = time.monotonic() + STEP_S
        self.play.network.later(STEP_S, lambda: self._beat(next_s))


def has_fallen(cuts: list[Cut]) -> bool:
    """Return whether the decisions add up to what is reported as a cut."""
    return any(
        first.at_s <= last.at_s < first.at_s + AT_ONCE_S and last.now <= CUT * first.before
        for first in cuts
        for last in cuts
    )


def misses(fault: Fault, cuts: list[Cut], found: Reported | None) -> list[str]:
    """Return what was promised of a cut and did not hold."""
    if found is None:
        return ["no event"]
    near = [one for one in cuts if abs(one.at_s - found.stamp_s) < STAMP_S]
    checks = {
        "stamp": bool(near),
        "rule": any(one.rule in found.text for one in near),
        "cause": fault.words in found.text,
        "server": found.server_s - found.stamp_s < SERVER_S,
    }
    return [name for name, holds in checks.items() if not holds]


def line(cuts: list[Cut], found: Reported | None) -> str:
    """Return the figures of a cut."""
    if found is None:
        return f"no event; decisions {[(one.before, one.now, one.rule, one.by) for one in cuts]}"
    nearest = min(cuts, key=lambda one: (one.rule not in found.text, abs(one.at_s - found.stamp_s)))
    stamp_s, server_s, first_s = (
        found.stamp_s - nearest.at_s, found.server_s - nearest.at_s, found.server_s - cuts[0].at_s,
    )  # fmt: skip
    times = f"stamp {stamp_s:+.2f} s, server {server_s:.2f} s, {first_s:.2f} s after the first step"
    return f"{times}, {nearest.rule} ({nearest.by}): {found.text}"


def played(rig: Rig) -> Iterator[tuple[str, list[Cut], Reported | None]]:
    """Play the faults in turn; give each with the decisions of the controller and the event, if it made a cut."""
    for number, (name, fault) in enumerate(itertools.cycle(FAULTS.items())):
        if number % IN_A_ROW == 0:
            rig.restart()
        rig.calm()
        found = rig.cut(fault)
        rig.wait(1.0)
        cuts = list(rig.play.controller.cuts)
        if found is not None or has_fallen(cuts):
            yield name, cuts, found
        else:
            print(f"    {name:10} made no cut: {line(cuts, found)}", flush=True)


def judge(rig: Rig, count: int) -> int:
    """Return how many of so many cuts were not said as they were."""
    failed = 0
    for number, (name, cuts, found) in zip(range(1, count + 1), played(rig), strict=False):
        missed = misses(FAULTS[name], cuts, found)
        failed += bool(missed)
        state = f"MISSED {', '.join(missed)}" if missed else "ok"
        print(f"{number:3} {name:10} {state}; play late {rig.late_s:.2f} s; {line(cuts, found)}", flush=True)
    return failed


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bonding.cuts", description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory(prefix="bm-") as folder, FakeVm() as vm:
        root = File(folder, "host")
        root.mkdir()
        environment = {"HOST_ROOT": str(root), "BELABOX_TEST_TAP": "1"}
        with Pipeline(File(folder, "run"), vm.import_url, environment) as pipeline:
            wait_for("the pipeline", pipeline.all_running)
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
            paths = [Path(address, delay_s) for address, delay_s in zip(ADDRESSES, DELAYS_S, strict=True)]
            play = Play(root, KernelNetwork(7), paths, (2000, 2000))
            play.start_sender()
            play.start_encoder()
            try:
                failed = judge(Rig(play, pipeline, vm), count)
            finally:
                play.close()
    print(f"{count - failed} of {count} cuts were reported with rule and cause, in time")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
