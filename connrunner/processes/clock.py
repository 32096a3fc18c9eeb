"""The clock of a process: the system's, or one that begins at an instant that somebody named."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def make_clock(now: datetime | None) -> Callable[[], datetime]:
    """Return the clock: the system's, or one that starts at *now* and goes on from there."""
    if now is None:
        return lambda: datetime.now(UTC)
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)
