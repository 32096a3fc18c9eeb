"""When does a schedule fire?

A schedule is a set of whole UTC minutes, its slots [R1]. Instants go in aware and come out in UTC. Slots lie in the
years 2 to 9998, so that a day or an offset can be added to any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import count, pairwise, takewhile
from typing import TYPE_CHECKING

from connrunner.core import zone
from connrunner.core.instant import minute
from connrunner.core.model import Calendar, DayOfMonth, DaysOfWeek, Manual, Schedule, TimesPerDay, WeekdayOfMonth
from connrunner.core.notation import describe, document, parse

if TYPE_CHECKING:
    from dateutil.rrule import rrule

__all__ = ["between", "count_between", "describe", "document", "longest_gap", "next_after", "parse"]

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)

FIRST = datetime(2, 1, 1, tzinfo=UTC)
LAST = datetime(9998, 12, 31, tzinfo=UTC)

# How much longer than on the calendar the way from one slot to the next can be: clocks that go back a whole day (a
# country changes its side of the date line), and summer time that ends meanwhile.
ZONE_CHANGES = timedelta(hours=25)


def next_after(schedule: Schedule, after: datetime, *, on_since: datetime | None = None) -> datetime | None:
    """Return the first slot strictly after *after*, or None when there is none (`manual`, or the end of time).

    *on_since* is when the connection was switched on: `times_per_day` counts from it [R4], the others ignore it.
    ValueError for an instant without an offset, and for `times_per_day` without *on_since*.
    """
    return next(_slots(schedule, after, LAST, on_since), None)


def between(
    schedule: Schedule, start: datetime, end: datetime, *, on_since: datetime | None = None
) -> tuple[datetime, ...]:
    """Return every slot in (*start*, *end*], ascending. For *on_since* and errors see `next_after`."""
    return tuple(_slots(schedule, start, end, on_since))


def count_between(schedule: Schedule, start: datetime, end: datetime, *, on_since: datetime | None = None) -> int:
    """Return how many slots lie in (*start*, *end*]: `len(between(...))`, without walking 1440 times a day."""
    if isinstance(schedule, TimesPerDay):
        since = _switched_on(on_since)
        return max(0, _passed(schedule, since, _bounded(end)) - _passed(schedule, since, _bounded(start)))
    return sum(1 for _ in _slots(schedule, start, end, on_since))


def longest_gap(schedule: Schedule) -> timedelta:
    """Return an upper bound of the time from one slot to the next; 0 for `manual`, which has none.

    A promise further ahead than this comes from a clock that was wrong [R7].
    """
    match schedule:
        case Manual():
            return timedelta(0)
        case TimesPerDay(times=times):
            return -(-(DAY // MINUTE) // times) * MINUTE
        case DaysOfWeek(days=days):
            days_apart = max(later - day for day, later in pairwise((*days, days[0] + 7)))
        case DayOfMonth(day=day):
            # January to March for 29 and 30 (in a leap year), March to May for 31.
            days_apart = {29: 59, 30: 60, 31: 61}.get(day, 31)
        case WeekdayOfMonth(week=week):
            # From one fifth weekday to the next it can be 17 weeks, around a February.
            days_apart = 119 if week == 5 else 35
    return days_apart * DAY + ZONE_CHANGES


def _slots(schedule: Schedule, after: datetime, until: datetime, on_since: datetime | None) -> Iterator[datetime]:
    """Yield the slots in (*after*, *until*], ascending, each once."""
    after, until = _bounded(after), _bounded(until)
    match schedule:
        case Manual():
            slots: Iterator[datetime] = iter(())
        case TimesPerDay():
            slots = _elapsed_slots(schedule, _switched_on(on_since), after)
        case DaysOfWeek() | DayOfMonth() | WeekdayOfMonth():
            slots = _calendar_slots(schedule, after)
    return takewhile(lambda slot: slot <= until, slots)


def _elapsed_slots(schedule: TimesPerDay, on_since: datetime, after: datetime) -> Iterator[datetime]:
    for number in count(_passed(schedule, on_since, after)):
        elapsed = -(-number * (DAY // MICROSECOND) // schedule.times) * MICROSECOND
        yield _whole_minute(on_since + elapsed)


def _passed(schedule: TimesPerDay, on_since: datetime, instant: datetime) -> int:
    """Return how many slots there are up to *instant*, that is the number of the next one: they count from 0."""
    elapsed = (minute(instant) - on_since) // MICROSECOND
    return max(0, elapsed * schedule.times // (DAY // MICROSECOND) + 1)


def _calendar_slots(schedule: Calendar, after: datetime) -> Iterator[datetime]:
    tz = zone.load(schedule.timezone)
    # Start a day early: a time in a gap is moved on, at most by a day, and so can pass midnight (Nuuk, Apia).
    yesterday = after.astimezone(tz).date() - DAY
    latest = after
    for wall in _walls(schedule, since=datetime.combine(yesterday, time.min)):
        slot = _whole_minute(wall.replace(tzinfo=tz, fold=0).astimezone(UTC))  # [R2]
        # Walls are a day or more apart and no gap is wider, so slots never go back; two may meet on one instant [R3].
        if slot > latest:
            latest = slot
            yield slot


def _walls(schedule: Calendar, *, since: datetime) -> rrule:
    """Return the local times that *schedule* names, from *since* on; the rule's cost grows with the distance."""
    from dateutil.rrule import MONTHLY, WEEKLY, rrule, weekday

    at = schedule.time
    match schedule:
        case DaysOfWeek(days=days):
            return rrule(WEEKLY, since, byweekday=days, byhour=at.hour, byminute=at.minute, bysecond=0)
        case DayOfMonth(day=day):
            return rrule(MONTHLY, since, bymonthday=day, byhour=at.hour, byminute=at.minute, bysecond=0)
        case WeekdayOfMonth(week=week, weekday=day):
            nth = weekday(day, week)
            return rrule(MONTHLY, since, byweekday=nth, byhour=at.hour, byminute=at.minute, bysecond=0)


def _whole_minute(instant: datetime) -> datetime:
    """Return the first whole minute at or after *instant* [R1]; offsets before 1972 can have odd seconds."""
    return minute(instant + MINUTE - MICROSECOND)


def _switched_on(on_since: datetime | None) -> datetime:
    if on_since is None:
        raise ValueError("times_per_day counts from the switching on; give on_since")
    return _bounded(on_since)


def _bounded(instant: datetime) -> datetime:
    """Return *instant* in UTC, or the nearest one that slots can have."""
    if instant.utcoffset() is None:
        raise ValueError(f"{instant} has no offset; an instant is an aware datetime")
    return min(max(instant, FIRST), LAST).astimezone(UTC)
