"""What malloc keeps of freed memory goes back to the kernel."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

from common import freed_memory

PIECE_BYTES = 4096  # above what Python's own allocator serves, below what malloc maps apart
PIECES = 8_192


def test_freed_memory_goes_back() -> None:
    """Pieces between others that stay are given back, though nothing at the heap's end is free."""
    freed = [bytes(PIECE_BYTES) for _ in range(PIECES)]
    stays = ctypes.create_string_buffer(PIECE_BYTES)
    before = _resident_bytes()
    freed.clear()
    gc.collect()
    freed_memory.give_back()
    assert before - _resident_bytes() > PIECE_BYTES * PIECES // 2
    assert len(stays) == PIECE_BYTES


def _resident_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) << 10
