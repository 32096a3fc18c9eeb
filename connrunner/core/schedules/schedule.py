"""When does a schedule fire?

A schedule is a set of whole UTC minutes, its slots [R1]. Instants go in aware and come out in UTC. Slots lie in the
years 2 to 9998, so that a day or an offset can be added to any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from heapq import heappop, heappush, merge
from itertools import count, takewhile

from connrunner.core.instant import minute
from connrunner.core.model import (
    AnchoredTimes,
    AnyOf,
    Calendar,
    Cron,
    DayOfMonth,
    DaysOfWeek,
    Manual,
    Recurrence,
    Schedule,
    ScheduleWithBlackouts,
    TimesPerDay,
    WeekdayOfMonth,
)
from connrunner.core.schedules import blackout, cron, day_counts, zone
from connrunner.core.schedules.fields import ScheduleError, locate_errors
from connrunner.core.schedules.local_times import local_times_since
from connrunner.lazy_dataclasses import replace

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)

FIRST = datetime(2, 1, 1, tzinfo=UTC)
LAST = datetime(9998, 12, 31, tzinfo=UTC)

# How much longer than on the calendar the way from one slot to the next can be: clocks that go back a whole day (a
# country changes its side of the date line), and summer time that ends meanwhile.
ZONE_CHANGES = timedelta(hours=25)

# So many blackouts in a row, without a slot between them, and a schedule counts as one that never fires again.
MOST_BLACKOUTS = 4000


def next_after(schedule: Schedule, after: datetime, *, on_since: datetime | None = None) -> datetime | None:
    """Return the first slot strictly after *after*, or None when there is none (`manual`, a rule that is over).

    *on_since* is when the connection was switched on: `times_per_day` counts from it [R4], the others ignore it.
    ValueError for an instant without an offset, and for `times_per_day` without *on_since*.
    """
    return next(_slots(schedule, after, LAST, on_since), None)


def fires_between(schedule: Schedule, start: datetime, end: datetime, *, on_since: datetime | None = None) -> bool:
    """Tell whether there is a slot in (start, end], without listing them."""
    return next(iter(_slots(schedule, start, end, on_since)), None) is not None


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
    return sum(number for _, _, number in _day_counts(schedule, start, end, on_since))


def _day_counts(
    schedule: Schedule, start: datetime, end: datetime, on_since: datetime | None
) -> Iterator[tuple[datetime, datetime, int]]:
    return day_counts.iter_counts(
        schedule,
        _bounded(start),
        _bounded(end),
        on_since=on_since,
        count=lambda first, last: sum(1 for _ in _slots(schedule, first, last, on_since)),
    )


def left_out_between(
    schedule: Schedule, start: datetime, end: datetime, *, on_since: datetime | None = None
) -> Iterator[datetime]:
    """Yield what would be slots in (*start*, *end*] if *schedule* had no blackouts, ascending."""
    whole = _without_blackouts(schedule)
    if whole is schedule:
        return
    free = _slots(schedule, start, end, on_since)
    next_free = next(free, None)
    for slot in _slots(whole, start, end, on_since):
        if slot == next_free:
            next_free = next(free, None)
        else:
            yield slot


def count_left_out(
    schedule: Schedule, start: datetime, end: datetime, *, on_since: datetime | None = None
) -> tuple[datetime, int, datetime] | None:
    """Return the first of `left_out_between`, how many they are, and the last; None when there is none."""
    whole = _without_blackouts(schedule)
    if whole is schedule:
        return None
    both = zip(_day_counts(whole, start, end, on_since), _day_counts(schedule, start, end, on_since), strict=True)
    found = [(first, last, every - free) for (first, last, every), (_, _, free) in both if every != free]
    if not found:
        return None
    oldest = next(left_out_between(schedule, *found[0][:2], on_since=on_since))
    newest = list(left_out_between(schedule, *found[-1][:2], on_since=on_since))[-1]
    return oldest, sum(number for _, _, number in found), newest


def next_left_out(
    schedule: Schedule, after: datetime, before: datetime, *, on_since: datetime | None = None
) -> datetime | None:
    """Return the first instant between *after* and *before* that a blackout keeps from being a slot of *schedule*."""
    found = next(left_out_between(schedule, after, before, on_since=on_since), None)
    return found if found is not None and found < before else None


def explain_left_out(schedule: Schedule, instant: datetime) -> str:
    """Return the blackout in words that keeps *schedule* from firing at *instant*; empty when there is none."""
    match schedule:
        case ScheduleWithBlackouts(schedule=inner, blackouts=blackouts):
            found = blackout.find_blackout(blackouts, instant)
            return f"blackout: {blackout.describe(found)}" if found else explain_left_out(inner, instant)
        case AnyOf(schedules=schedules):
            return next(filter(None, (explain_left_out(each, instant) for each in schedules)), "")
        case _:
            return ""


def check_fires(schedule: Schedule) -> None:
    """Raise ScheduleError when *schedule* says that it fires and never does, or less often than it looks.

    A rule that is over is none of these; neither are blackouts of certain dates.
    """
    start = datetime(2000, 1, 1, tzinfo=UTC)
    match schedule:
        case Manual() | TimesPerDay() | DaysOfWeek() | DayOfMonth() | WeekdayOfMonth() | AnchoredTimes():
            return
        case AnyOf(schedules=schedules):
            for each in schedules:
                check_fires(each)
        case ScheduleWithBlackouts(schedule=inner, blackouts=blackouts):
            check_fires(inner)
            always = tuple(each for each in blackouts if each.span is None and not each.dates)
            if always and next_after(replace(schedule, blackouts=always), start, on_since=start) is None:
                raise ScheduleError("its blackouts leave out every slot that it has", ("blackout",))
        case Cron(expression=expression):
            with locate_errors("expression"):
                cron.check(expression)
            if next_after(schedule, start) is None:
                raise ScheduleError("it never fires: there is no such day", ("expression",))
        case Recurrence():
            start = datetime.combine(schedule.start, time.min, UTC) - 2 * DAY if schedule.start else start
            if next_after(schedule, start) is None:
                raise ScheduleError("it never fires: there is no such day, or its end comes before it", ("rule",))


def _without_blackouts(schedule: Schedule) -> Schedule:
    """Return *schedule* without any blackout; itself when it has none."""
    match schedule:
        case ScheduleWithBlackouts(schedule=inner):
            return _without_blackouts(inner)
        case AnyOf(schedules=schedules) if any(isinstance(each, ScheduleWithBlackouts) for each in schedules):
            bare = [_without_blackouts(each) for each in schedules]
            return AnyOf(schedules=tuple(each for each in bare if not isinstance(each, Manual | AnyOf)))
        case _:
            return schedule


def zone_of(schedule: Schedule) -> str | None:
    """Return the one zone that *schedule* is written in; None when it has none, or several."""
    match schedule:
        case Manual() | TimesPerDay():
            return None
        case ScheduleWithBlackouts(schedule=inner):
            return zone_of(inner)
        case AnyOf(schedules=schedules):
            zones = {zone_of(each) for each in schedules} - {None}
            return zones.pop() if len(zones) == 1 else None
        case _:
            return schedule.timezone


def _slots(schedule: Schedule, after: datetime, until: datetime, on_since: datetime | None) -> Iterator[datetime]:
    """Yield the slots in (*after*, *until*], ascending, each once."""
    after, until = _bounded(after), _bounded(until)
    return takewhile(lambda slot: slot <= until, _slots_after(schedule, after, until, on_since))


def _slots_after(schedule: Schedule, after: datetime, until: datetime, on_since: datetime | None) -> Iterator[datetime]:
    """Yield the slots behind *after*, ascending; those behind *until* need not be looked for."""
    match schedule:
        case Manual():
            return iter(())
        case TimesPerDay():
            return _elapsed_slots(schedule, _switched_on(on_since), after)
        case AnyOf(schedules=schedules):
            return _once(merge(*(_slots_after(each, after, until, on_since) for each in schedules)))
        case ScheduleWithBlackouts():
            return _free_slots(schedule, after, until, on_since)
        case _:
            return _calendar_slots(schedule, after)


def _once(slots: Iterator[datetime]) -> Iterator[datetime]:
    """Yield each of the ascending *slots* once [R3]."""
    latest = None
    for slot in slots:
        if slot != latest:
            latest = slot
            yield slot


def _free_slots(
    schedule: ScheduleWithBlackouts, after: datetime, until: datetime, on_since: datetime | None
) -> Iterator[datetime]:
    """Yield the slots outside of blackouts. Those inside are leapt over: there may be a thousand a day."""
    slots = _slots_after(schedule.schedule, after, until, on_since)
    leaps = 0
    while (slot := next(slots, None)) is not None and slot <= until:
        over = [end for each in schedule.blackouts if (end := blackout.find_end(each, slot)) is not None]
        if not over:
            leaps = 0
            yield slot
            continue
        leaps += 1
        if leaps > MOST_BLACKOUTS or max(over) > until:
            return
        if max(over) - MINUTE > slot:
            slots = _slots_after(schedule.schedule, _bounded(max(over)) - MINUTE, until, on_since)


def _elapsed_slots(schedule: TimesPerDay, on_since: datetime, after: datetime) -> Iterator[datetime]:
    for number in count(_passed(schedule, on_since, after)):
        elapsed = -(-number * (DAY // MICROSECOND) // schedule.times) * MICROSECOND
        yield _whole_minute(on_since + elapsed)


def _passed(schedule: TimesPerDay, on_since: datetime, instant: datetime) -> int:
    """Return how many slots there are up to *instant*, that is the number of the next one: they count from 0."""
    elapsed = (minute(instant) - on_since) // MICROSECOND
    return max(0, elapsed * schedule.times // (DAY // MICROSECOND) + 1)


def _calendar_slots(schedule: Calendar, after: datetime) -> Iterator[datetime]:
    tz = zone.load_zone(schedule.timezone)
    begin = after.astimezone(tz)
    since = begin.replace(tzinfo=None, second=0, microsecond=0, fold=0)
    if begin.utcoffset() != (after - ZONE_CHANGES).astimezone(tz).utcoffset():
        # A time in a gap is moved on, at most by a day, and so can pass midnight (Nuuk, Apia) and other times.
        since -= DAY
    latest = after
    moved: list[datetime] = []  # slots of times in a gap: the times just behind the gap come before them
    for local in local_times_since(schedule, since):
        slot, is_moved = _instant(local, tz)
        if is_moved:
            heappush(moved, slot)
            continue
        while moved and moved[0] < slot:
            if (first := heappop(moved)) > latest:
                latest = first
                yield first
        if slot > latest:  # two times may meet on one instant [R3]
            latest = slot
            yield slot
    for slot in sorted(moved):
        if slot > latest:
            latest = slot
            yield slot


def _instant(local: datetime, tz: tzinfo) -> tuple[datetime, bool]:
    """Return the slot of a local time [R2], and whether the clock skips that time."""
    shown = local.replace(tzinfo=tz, fold=0)
    before, behind = shown.utcoffset(), shown.replace(fold=1).utcoffset()
    assert before is not None
    assert behind is not None
    return _whole_minute((local - before).replace(tzinfo=UTC)), before < behind


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
