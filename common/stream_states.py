"""What the metric `stream.state` says, and how a stream ended: written by the source `session`, read by healthd."""

from __future__ import annotations

IDLE, STARTING, LIVE, ENDING, ENDED = range(5)
NAMES = ("idle", "starting", "live", "ending", "ended")

# How a stream ended, in the row of its session.
STOPPED, CRASHED, CUT_OFF = "stopped", "crashed", "cut_off"
