"""Which local times does a calendar schedule name?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from connrunner.core.model import AnchoredTimes, Calendar, Cron, DayOfMonth, DaysOfWeek, Recurrence, WeekdayOfMonth
from connrunner.core.schedules import cron
from connrunner.core.schedules import rrule as recurrence

if TYPE_CHECKING:
    from dateutil.rrule import rrule

DAY = timedelta(days=1)
MINUTES = 1440  # of a day


def local_times_since(schedule: Calendar, since: datetime) -> Iterator[datetime]:
    """Yield every local time (naive, whole minutes) from *since* on, ascending."""
    each = times_of(schedule)
    last = find_last_local_time(schedule)
    if last is not None and since > last:
        return
    for day in dates_since(schedule, since.date()):
        for at in each[bisect_left(each, since.time()) :] if day == since.date() else each:
            local = datetime.combine(day, at)
            if last is not None and local > last:
                return
            yield local


def times_of(schedule: Calendar) -> tuple[time, ...]:
    """Return the times of day at which *schedule* fires on each of its dates, ascending."""
    match schedule:
        case DaysOfWeek() | DayOfMonth() | WeekdayOfMonth():
            return (schedule.time,)
        case AnchoredTimes(times=number, anchor=anchor):
            first = anchor.hour * 60 + anchor.minute
            return tuple(
                time(*divmod(at, 60))
                for at in sorted((first - -k * MINUTES // number) % MINUTES for k in range(number))
            )
        case Cron(expression=expression):
            return cron.times_of(expression)
        case Recurrence(rule=rule, time=at):
            return recurrence.times_of(rule, at)


def dates_since(schedule: Calendar, since: date) -> Iterator[date]:
    """Yield the dates of *schedule* from *since* on, ascending."""
    match schedule:
        case AnchoredTimes():
            return _every_day(since)
        case Cron(expression=expression):
            return _every_day(since) if cron.is_daily(expression) else cron.dates_since(expression, since)
        case Recurrence(rule=rule, start=start):
            return recurrence.dates_since(rule, start, since)
        case _:
            return (found.date() for found in _rule(schedule, since))


def find_last_local_time(schedule: Calendar) -> datetime | None:
    """Return the local time after which *schedule* never fires; None when it goes on for ever."""
    if not isinstance(schedule, Recurrence):
        return None
    return recurrence.find_last_local_time(schedule.rule, schedule.start, schedule.time, schedule.timezone)


def _every_day(since: date) -> Iterator[date]:
    return (date.fromordinal(number) for number in range(since.toordinal(), date.max.toordinal()))


def _rule(schedule: DaysOfWeek | DayOfMonth | WeekdayOfMonth, since: date) -> rrule:
    from dateutil.rrule import MONTHLY, WEEKLY, rrule, weekday

    first = datetime.combine(since, time.min)  # the rule's cost grows with the distance from it
    match schedule:
        case DaysOfWeek(days=days):
            return rrule(WEEKLY, first, byweekday=days)
        case DayOfMonth(day=day):
            return rrule(MONTHLY, first, bymonthday=day)
        case WeekdayOfMonth(week=week, weekday=day):
            return rrule(MONTHLY, first, byweekday=weekday(day, week))
