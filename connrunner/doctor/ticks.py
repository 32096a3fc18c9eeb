"""Is tick being called, every minute, by whoever should?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from connrunner.core import instant
from connrunner.doctor import Check, failure, ok, warning
from connrunner.text import durations

LATE = timedelta(minutes=3)  # without a tick: cron has missed two
DAY = timedelta(days=1)
INSTALL = "`connrunner install cron --write`, or look why it does not call: `connrunner install --help`"


def check_ticks(last: datetime | None, records: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[Check]:
    """Yield whether ticks come: *last* is when one last looked, *records* what the journal says of them."""
    if last is None:
        yield failure("ticks", "no tick ever looked: nothing runs by its schedule", INSTALL)
        return
    age = max(timedelta(0), now - last)
    ago = f"{durations.roughly(age.total_seconds())} ago"
    if age > LATE:
        yield failure("ticks", f"the last tick was {ago}: nothing runs by its schedule now", INSTALL)
        return
    holes = find_gaps(records, now)
    if holes:
        shown = ", ".join(f"{start:%H:%M} to {end:%H:%M}" for start, end in holes[-5:])
        lost = durations.roughly(sum((end - start).total_seconds() for start, end in holes))
        found = f"the last one {ago}; of the last day none came for {lost}: {shown} UTC"
        yield warning("ticks", found, "see whether the machine, cron or the timer was off then: `journalctl --since`")
    else:
        yield ok("ticks", f"the last one {ago}, no gap in the last day")


def find_gaps(records: Iterable[Mapping[str, Any]], now: datetime) -> list[tuple[datetime, datetime]]:
    """Return from when to when of the last day no tick looked, as far as a tick noticed that found something to do.

    Several records may tell of the same time: each moment is in one gap.
    """
    found: list[tuple[datetime, datetime]] = []
    for start, end in sorted(_gaps_of_records(records, now)):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _gaps_of_records(records: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[tuple[datetime, datetime]]:
    for record in records:
        if record.get("type") != "planned" or not record.get("before"):
            continue
        try:
            start, end = instant.parse(record["before"]), instant.parse(record["at"])
        except (ValueError, KeyError, TypeError):
            continue
        if end - start > LATE and now - DAY < end <= now:
            yield max(start, now - DAY), end
