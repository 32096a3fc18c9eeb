"""How much of a connection's past is kept?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from connrunner.core.model import Keep
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RetainedRows:
    """Refused rows that the store keeps, to offer them again, since one run of a connection."""

    connection: str
    run: int
    started_at: datetime
    rows: int


def is_expired(retained: RetainedRows, keep: Keep, *, first: int, now: datetime) -> bool:
    """Tell whether *retained* goes by *keep*: with its run, or by its days; *first* is the oldest run that stays."""
    if keep == Keep():
        return False
    beyond = keep.days is not None and retained.started_at < now - timedelta(days=keep.days)
    return beyond or retained.run < first


Past = tuple[datetime, int]  # when a run ended, and the bytes of its log and refused rows


def count_expired(oldest_first: Iterable[Past], keep: Keep, *, runs: int, size: int, now: datetime) -> int:
    """Return how many of the oldest of so many *runs*, *size* bytes together, are beyond a limit; never the last one.

    Looks no further than at the first run that stays.
    """
    count = 0
    oldest = None if keep.days is None else now - timedelta(days=keep.days)
    for ended_at, its_size in oldest_first:
        left = runs - count
        beyond = (
            (keep.runs is not None and left > keep.runs)
            or (oldest is not None and ended_at < oldest)
            or (keep.bytes is not None and size > keep.bytes)
        )
        if left <= 1 or not beyond:
            break
        count += 1
        size -= its_size
    return count
