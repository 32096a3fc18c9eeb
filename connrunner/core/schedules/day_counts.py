"""How many slots each whole day has: days that are alike have the same number, and only one of them is walked.

The days are those of UTC. What tells them apart: which dates around them the parts of a schedule name, what the clocks
of their zones show, and on which side of an instant they lie. So a clock that leapt by years costs a small step for a
day instead of one for each minute.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

from connrunner.core.model import (
    AnchoredTimes,
    AnyOf,
    Blackout,
    Calendar,
    Manual,
    Schedule,
    ScheduleWithBlackouts,
    TimesPerDay,
)
from connrunner.core.schedules import blackout, zone
from connrunner.core.schedules.local_times import dates_since, find_last_local_time

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
AROUND = 2  # dates before and behind a day of UTC on which a slot or a blackout of it can stand

Pattern = Callable[[date], Hashable | None]
Count = Callable[[datetime, datetime], int]


def iter_counts(
    schedule: Schedule, start: datetime, end: datetime, *, on_since: datetime | None, count: Count
) -> Iterator[tuple[datetime, datetime, int]]:
    """Yield parts of (*start*, *end*], ascending and without a gap, each with its number of slots.

    *count* walks from slot to slot; it is asked for each pattern of days once, and for what has none.
    """
    if end - start < 2 * DAY:  # the usual case has no whole day in it
        yield start, end, count(start, end)
        return
    patterns = list(_patterns(schedule, start, on_since))
    known: dict[tuple[Hashable, ...], int] = {}
    while start < end:
        behind = min(end, datetime.combine(start.date(), time.min, UTC) + DAY)
        key = tuple(pattern(start.date()) for pattern in patterns) if behind - start == DAY else (None,)
        if None in key:
            number = count(start, behind)
        elif (number := known.get(key, -1)) < 0:
            number = known[key] = count(start, behind)
        yield start, behind, number
        start = behind


def _patterns(schedule: Schedule, start: datetime, on_since: datetime | None) -> Iterator[Pattern]:
    """Yield what tells the days from *start* on apart, for each part of *schedule*; None for one like no other."""
    match schedule:
        case Manual():
            return
        case TimesPerDay():
            yield lambda day: _side(day, on_since) if on_since else None
        case AnyOf(schedules=schedules):
            for each in schedules:
                yield from _patterns(each, start, on_since)
        case ScheduleWithBlackouts(schedule=inner, blackouts=blackouts):
            yield from _patterns(inner, start, on_since)
            for one in blackouts:
                yield from _patterns_of_blackout(one)
        case _:
            yield _pattern_of_clock(zone.load_zone(schedule.timezone))
            if not isinstance(schedule, AnchoredTimes):
                yield _pattern_of_dates(schedule, start.date())


def _patterns_of_blackout(one: Blackout) -> Iterator[Pattern]:
    tz = zone.load_zone(one.timezone)
    if one.span is not None:
        ends = [each.replace(tzinfo=tz).astimezone(UTC) for each in one.span]
        for end in ends:
            yield lambda day, end=end: _side(day, end)  # type: ignore[misc]
        return
    yield _pattern_of_clock(tz)

    @lru_cache(maxsize=8)
    def is_on(number: int) -> bool:
        return blackout.is_on(one, datetime.combine(date.fromordinal(number), time.min))

    yield lambda day: tuple(map(is_on, range(day.toordinal() - AROUND, day.toordinal() + AROUND + 1)))


def _pattern_of_dates(schedule: Calendar, since: date) -> Pattern:
    """Return which dates around a day *schedule* names; the days have to be asked for in ascending order."""
    last = find_last_local_time(schedule)
    dates = dates_since(schedule, since - AROUND * DAY)
    ahead = next(dates, None)
    near: set[date] = set()

    def pattern(day: date) -> Hashable | None:
        nonlocal ahead
        first, end = day - AROUND * DAY, day + AROUND * DAY
        near.difference_update([each for each in near if each < first])
        while ahead is not None and ahead <= end:
            near.add(ahead)
            ahead = next(dates, None)
        if last is not None and first <= last.date() <= end:
            return None
        is_over = last is not None and last.date() < first
        return is_over, tuple(day + away * DAY in near for away in range(-AROUND, AROUND + 1))

    return pattern


def _pattern_of_clock(tz: tzinfo) -> Pattern:
    """Return what a clock shows in a day of UTC and the one before, from which times of a gap are moved on."""

    @lru_cache(maxsize=8)
    def offset(instant: datetime) -> timedelta | None:
        return instant.astimezone(tz).utcoffset()

    def pattern(day: date) -> Hashable | None:
        middle = datetime.combine(day, time.min, UTC)
        before, at, behind = offset(middle - DAY), offset(middle), offset(middle + DAY)
        if before == at == behind:
            return (at,)
        if before != at != behind:
            return None
        changed = middle - DAY if before != at else middle
        low, high = 0, 86_400  # seconds: the offset at `low` is the old one, at `high` the new one
        old = offset(changed)
        while high - low > 1:
            between = (low + high) // 2
            low, high = (between, high) if offset(changed + between * SECOND) == old else (low, between)
        return before, behind, changed - middle, high

    return pattern


def _side(day: date, instant: datetime) -> bool | None:
    """Tell whether a day lies behind *instant*; None when it lies near."""
    away = (day - instant.date()).days
    return away > 0 if abs(away) > AROUND else None
