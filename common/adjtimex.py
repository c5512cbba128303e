"""Ask the kernel whether its clock is synchronised: adjtimex(2), for which Python has no binding.

Fails: a call that the kernel refuses gives None.
"""

from __future__ import annotations

import ctypes

_STA_UNSYNC = 0x0040  # linux/timex.h
_LIBC = ctypes.CDLL(None)


class _Timex(ctypes.Structure):
    """The beginning of struct timex, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def is_synchronised() -> bool | None:
    """Return whether something (chrony, ntpd, timesyncd) keeps the clock right; None where the kernel does not say."""
    timex = _Timex()  # modes 0 changes nothing and needs no privilege
    try:
        result = _LIBC.adjtimex(ctypes.byref(timex))
    except AttributeError:  # a C library without it
        return None
    return None if result < 0 else not timex.status & _STA_UNSYNC
