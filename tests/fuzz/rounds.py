"""How much is tried, from what seed: a usual number in `make test`, for minutes or so many inputs in `make fuzz`."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
INPUTS = int(os.environ.get("FUZZ_INPUTS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", str(random.SystemRandom().randrange(2**32))))


def rounds(usual: int, share: float = 1.0) -> Iterator[int]:
    """Count the rounds of a test, and print what repeats it.

    Args:
        usual: so many where neither a number nor a time is given.
        share: of that time.
    """
    print(f"FUZZ_SEED={SEED}")
    if INPUTS or not MINUTES:
        yield from range(INPUTS or usual)
        return
    end_s, number = time.monotonic() + 60 * MINUTES * share, 0
    while time.monotonic() < end_s:
        yield number
        number += 1
    print(f"{number} rounds")
