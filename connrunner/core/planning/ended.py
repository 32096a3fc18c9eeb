"""Schedules that have ended: they had slots, and have none to come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from connrunner.core import schedules
from connrunner.core.model import Connection, Manual, Schedule
from connrunner.core.planning import outlook
from connrunner.core.planning.due import Promise
from connrunner.lazy_dataclasses import dataclass

NEAR = timedelta(hours=1)  # in which slots are listed; before that they are only asked for


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedSchedule:
    """A connection that is on, and whose schedule starts it no more."""

    connection: str
    last: datetime  # its last slot


def find_ended_schedules(
    connections: Iterable[Connection], promises: Mapping[str, Promise], *, now: datetime, zones: str
) -> Iterator[EndedSchedule]:
    """Yield those of *connections* whose schedule has ended at *now*; one that waits for its last slot has not."""
    for connection in connections:
        promise = promises.get(connection.name)
        if not connection.enabled or isinstance(connection.schedule, Manual):
            continue
        if promise is not None and promise.next_due is not None:
            continue
        if next(outlook.iter_upcoming_slots(connection, promise, now=now, zones=zones), None) is not None:
            continue
        on_since = promise.on_since if promise else now
        if (last := find_last_slot(connection.schedule, now, on_since=on_since)) is not None:
            yield EndedSchedule(connection=connection.name, last=last)


def find_last_slot(schedule: Schedule, until: datetime, *, on_since: datetime) -> datetime | None:
    """Return the newest slot at or before *until*, however long ago; None when there was none.

    A blackout of years can lie between: spans are asked whether they have a slot at all, and halved.
    """

    def has_slot(start: datetime, end: datetime) -> bool:
        return schedules.fires_between(schedule, start, end, on_since=on_since)

    end = until
    span = NEAR
    while not has_slot(start := _before(until, span), until):
        if start <= schedules.FIRST:
            return None
        end, span = start, span * 4
    while end - start > NEAR:
        middle = start + (end - start) / 2
        start, end = (middle, end) if has_slot(middle, end) else (start, middle)
    return list(schedules.between(schedule, start, end, on_since=on_since))[-1]


def _before(instant: datetime, span: timedelta) -> datetime:
    return instant - span if instant - schedules.FIRST > span else schedules.FIRST
