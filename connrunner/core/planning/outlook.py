"""The slots to come of a connection, and what is odd about them: clock changes, dates that a month lacks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from connrunner.core import schedules
from connrunner.core.instant import minute
from connrunner.core.model import (
    AnyOf,
    Connection,
    DayOfMonth,
    Manual,
    Schedule,
    ScheduleWithBlackouts,
    TimesPerDay,
    WeekdayOfMonth,
)
from connrunner.core.planning import due
from connrunner.core.planning.due import Promise
from connrunner.core.schedules import local_times, zone
from connrunner.text import durations

DAY = timedelta(days=1)
WEEK = 7


def iter_upcoming_slots(
    connection: Connection, promise: Promise | None, *, now: datetime, zones: str
) -> Iterator[datetime]:
    """Yield the slots to come: the promise first, or what the next tick would promise. None for one that is off."""
    if not connection.enabled:
        return
    step = due.advance(promise, connection.schedule, now=minute(now), zones=zones)
    assert step.promise is not None
    if step.due:
        yield step.due.due_at
    slot = step.promise.next_due
    while slot is not None:
        yield slot
        slot = schedules.next_after(connection.schedule, slot, on_since=step.promise.on_since)


def explain_clock_change(schedule: Schedule, slot: datetime, *, timezone: str) -> str:
    """Return what clocks do to *slot* on its day, or an empty text."""
    notes = (_note(one, slot, timezone) for one in _parts(schedule) if _fires(one, slot))
    return next(filter(None, notes), "")


def _note(schedule: Schedule, slot: datetime, timezone: str) -> str:
    tz = zone.load_zone(getattr(schedule, "timezone", timezone))
    local = slot.astimezone(tz)
    times = (
        ()
        if isinstance(schedule, Manual | TimesPerDay | AnyOf | ScheduleWithBlackouts)
        else local_times.times_of(schedule)
    )
    wanted = times[0] if len(times) == 1 else None
    if wanted is not None and local.time() != wanted:
        return f"the clocks go forward: there is no {wanted:%H:%M} on this day"
    if wanted is not None and local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
        return f"the clocks go back: {wanted:%H:%M} comes twice, the first one counts"
    shift = (local.utcoffset() or timedelta(0)) - ((slot - DAY).astimezone(tz).utcoffset() or timedelta(0))
    if shift:
        span = durations.exactly(abs(int(shift.total_seconds())) // 60 * 60)
        return f"the clocks went {'forward' if shift > timedelta(0) else 'back'} by {span} since the day before"
    return ""


def _parts(schedule: Schedule) -> tuple[Schedule, ...]:
    """Return the schedules that *schedule* is made of, without their blackouts."""
    match schedule:
        case ScheduleWithBlackouts(schedule=inner):
            return _parts(inner)
        case AnyOf(schedules=schedules):
            return tuple(part for each in schedules for part in _parts(each))
        case _:
            return (schedule,)


def _fires(schedule: Schedule, slot: datetime) -> bool:
    """Tell whether *schedule* fires at *slot*; one that counts from the switching on has no say in which."""
    if isinstance(schedule, TimesPerDay):
        return True
    return slot in schedules.between(schedule, slot - timedelta(minutes=1), slot)


def find_lacking_months(schedule: Schedule, start: datetime, end: datetime) -> tuple[date, ...]:
    """Return the first day of each month between two instants in which *schedule* lacks its date [R3]."""
    (schedule, *others) = _parts(schedule)
    if others or not isinstance(schedule, DayOfMonth | WeekdayOfMonth):
        return ()
    tz = zone.load_zone(schedule.timezone)
    month, last = start.astimezone(tz).date().replace(day=1), end.astimezone(tz).date().replace(day=1)
    found = []
    while month < last:
        following = (month + 31 * DAY).replace(day=1)
        length = (following - month).days
        if isinstance(schedule, DayOfMonth):
            lacks = schedule.day > length
        else:
            first = 1 + (schedule.weekday - month.weekday()) % WEEK
            lacks = schedule.week > 0 and first + (schedule.week - 1) * WEEK > length
        if lacks:
            found.append(month)
        month = following
    return tuple(found)
