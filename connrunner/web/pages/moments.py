"""Instants as a page shows them: how far away, and when."""

from __future__ import annotations

from datetime import datetime

from connrunner.core import instant
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations


@dataclass(frozen=True, slots=True)
class Moments:
    """Writes instants for readers in *zone* who look at *now*."""

    zone: str
    now: datetime

    def utc(self, at: datetime) -> str:
        """Return RFC 3339 in UTC: for the attribute `datetime`."""
        return instant.text(at)

    def minute(self, at: datetime) -> str:
        """Return `Sat 2026-10-24 14:18 +02:00`."""
        return instant.local_minute(at, self.zone)

    def second(self, at: datetime) -> str:
        """Return `Sat 2026-10-24 14:18:03 +02:00`: people compare it with other logs."""
        return f"{self.minute(at)[:3]} {instant.local(at, self.zone)}"

    def hour(self, at: datetime) -> str:
        """Return `14:40` when that is today, else the whole instant: the day has to be beyond doubt."""
        minute = self.minute(at)
        return minute[15:20] if minute[:14] == self.minute(self.now)[:14] else minute

    def away(self, at: datetime) -> str:
        """Return `in 5 h 46 min` or `8 h 53 min ago`."""
        seconds = (at - self.now).total_seconds()
        words = durations.at_a_glance(seconds)
        return f"in {words}" if seconds > 0 else f"{words} ago"

    def clock(self, at: datetime) -> tuple[str, str]:
        """Return `14:18:03` and `.112`: the time of a line of a log."""
        shown, thousandths = instant.local(at, self.zone), at.microsecond // 1000
        return shown[11:19], f".{thousandths:03}"

    @property
    def exact_utc(self) -> str:
        """Now as RFC 3339 in UTC: what a reader's own clock is compared with."""
        return instant.text(self.now)

    @property
    def offset(self) -> str:
        """The offset of the zone now, `+02:00`."""
        return self.minute(self.now)[-6:]


def run_time(seconds: float) -> str:
    """Return how long a run took, as mail and terminal say it."""
    return durations.in_words(seconds)
