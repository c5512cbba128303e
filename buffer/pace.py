"""Adapt the rows of one slice of background work to the speed of the device: ingest waits for one slice at most."""

from __future__ import annotations

# A tenth of the 100 ms that a P0 sample may take to the server, so that a slice which finds the card busy and takes
# ten times as long is still in time.
SLICE_S = 0.01
FIRST_ROWS = 250  # not yet measured: about 10 pages to read, 10 ms from a slow SD card
LEAST_ROWS = 50  # fewer, and the transaction costs more than its rows
MOST_ROWS = 2_000  # about 40 pages to read, 40 ms from a card that was not asked before
GROWTH = 1.1  # from one slice to the next: a short one at the end of a window says little; shrinking is not limited


class Pace:
    """How many rows the next slice may take."""

    def __init__(self) -> None:
        self.rows = FIRST_ROWS

    def took(self, duration_s: float) -> None:
        """Adapt the number of rows of a slice to the time that the last one took."""
        factor = min(GROWTH, SLICE_S / max(duration_s, 1e-6))
        self.rows = min(MOST_ROWS, max(LEAST_ROWS, int(self.rows * factor)))
