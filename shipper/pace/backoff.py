"""How long to wait after a failure: growing, bounded, and never the same for a whole fleet.

Pure: the random source is an argument. One `Backoff` is for one server: an outage is an outage for every
lane.
"""

from __future__ import annotations

from collections.abc import Callable

from common.remote import Retry

# A server that asks for more (or a date in the wrong year) is asked again after this long.
MAX_RETRY_AFTER_S = 3600.0
_MAX_EXPONENT = 64  # 1.1 ** 64 is 445; beyond it the longest wait has long been reached, or nothing grows


class Backoff:
    """Count failures in a row and say how long to wait.

    Args:
        retry: how waits grow.
        random: returns a number from 0 to 1.

    Attributes:
        failures: in a row.
        until_s: nothing is to be asked of the server before, monotonic.
    """

    def __init__(self, retry: Retry, random: Callable[[], float]) -> None:
        self._retry = retry
        self._random = random
        self.failures = 0
        self.until_s = 0.0

    def failed(self, now_s: float, retry_after_s: float = 0.0) -> float:
        """Note a failure; return how long to wait, in seconds: the larger of our wait and the server's."""
        self.failures += 1
        wait_s = self._varied(self._retry.initial_backoff_s * self._growth())
        return self._wait(now_s, max(wait_s, min(retry_after_s, MAX_RETRY_AFTER_S)))

    def refused(self, now_s: float) -> float:
        """Note a failure that waiting does not cure; return the longest wait."""
        self.failures += 1
        return self._wait(now_s, self._varied(self._retry.max_backoff_s))

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0
        self.until_s = 0.0

    def _wait(self, now_s: float, wait_s: float) -> float:
        self.until_s = now_s + wait_s
        return wait_s

    def _growth(self) -> float:
        exponent = min(self.failures - 1, _MAX_EXPONENT)
        return float(self._retry.backoff_multiplier**exponent)

    def _varied(self, wait_s: float) -> float:
        """Vary a wait by the jitter; what would exceed the longest wait is mirrored below it.

        Cut off instead, half of a fleet would come back at the same second.
        """
        longest_s = self._retry.max_backoff_s
        wait_s = min(wait_s, longest_s)
        varied_s = wait_s * (1 + (2 * self._random() - 1) * self._retry.jitter_percent / 100)
        return 2 * longest_s - varied_s if varied_s > longest_s else varied_s
