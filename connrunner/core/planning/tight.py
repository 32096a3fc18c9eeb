"""Schedules that are shorter than their runs, and lanes with more work than a day has hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice

from connrunner.core import schedules
from connrunner.core.model import Connection
from connrunner.core.planning import forecast, outlook
from connrunner.core.planning.due import Promise
from connrunner.core.planning.forecast import RunDurations, TightSchedule
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations

LOOKED_AT = 30  # slots to come, whose gaps are compared
DAY = timedelta(days=1)
SHORTEST = 60  # seconds between two slots


def find_tight_schedule(
    connection: Connection, promise: Promise | None, usual: RunDurations, *, now: datetime, zones: str
) -> TightSchedule | None:
    """Return by how much the schedule of *connection* is shorter than its slow runs; None when it is not, or is off."""
    if not usual.runs or usual.p95 <= SHORTEST:
        return None
    slots = list(islice(outlook.iter_upcoming_slots(connection, promise, now=now, zones=zones), LOOKED_AT))
    return next(iter(forecast.find_tight_schedules({connection.name: slots}, {connection.name: usual})), None)


def describe_tight_schedule(gap: float, p95: float) -> str:
    """Return what a schedule does whose slots are *gap* seconds apart and whose runs take up to *p95* seconds."""
    apart, takes = durations.in_words(gap), durations.in_words(p95)
    return f"its slots come {apart} apart, and its runs take up to {takes}: slots are merged; give it fewer"


@dataclass(frozen=True, kw_only=True, slots=True)
class FullLane:
    """A lane whose connections have more to do in the day to come than a day has hours."""

    lane: str
    seconds: float


def find_full_lanes(
    connections: Iterable[Connection],
    promises: Mapping[str, Promise],
    usual: Mapping[str, RunDurations],
    *,
    now: datetime,
) -> Iterator[FullLane]:
    """Yield the lanes whose slots of the next 24 hours are more work than that, by the run times of the past."""
    work: defaultdict[str, float] = defaultdict(float)
    for one in connections:
        takes = usual.get(one.name)
        if not one.enabled or takes is None or not takes.runs:
            continue
        promise = promises.get(one.name)
        number = schedules.count_between(one.schedule, now, now + DAY, on_since=promise.on_since if promise else now)
        work[one.lane] += number * takes.median
    for lane, seconds in sorted(work.items()):
        if seconds > DAY.total_seconds():
            yield FullLane(lane=lane, seconds=seconds)
