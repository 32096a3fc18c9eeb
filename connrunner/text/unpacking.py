"""How far may compressed data unpack? As far as an honest sender's does: one rule for files and for answers."""

from __future__ import annotations

LARGEST = 10_000_000_000  # bytes, decompressed
UNDOUBTED = 64 << 20  # bytes that anything may decompress to
RATIO = 200  # times its size, beyond that


def limit_size(size: int) -> int:
    """Return to how many bytes *size* compressed bytes may decompress."""
    return min(LARGEST, max(UNDOUBTED, RATIO * size))
