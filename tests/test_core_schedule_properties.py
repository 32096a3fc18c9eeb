"""What holds for every schedule, and a second opinion: a walk over every minute that knows nothing of `fold`."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.core.model import DayOfMonth, DaysOfWeek, Schedule, TimesPerDay, WeekdayOfMonth
from connrunner.core.schedules import (
    between,
    count_between,
    count_left_out,
    day_counts,
    left_out_between,
    next_after,
    parse,
)

Dated = DaysOfWeek | DayOfMonth | WeekdayOfMonth  # a date has one slot at most, at one time
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# --- a second opinion --------------------------------------------------------------------------------------------

CHANGES = [
    # zone, the UTC day of the change: summer time, whole days, half hours, midnights, politics
    ("Europe/Amsterdam", "2026-03-29"),
    ("Europe/Amsterdam", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-04"),
    ("Australia/Lord_Howe", "2026-10-03"),
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Kwajalein", "1993-08-21"),
    ("Africa/Casablanca", "2024-03-10"),
    ("Africa/Casablanca", "2024-04-14"),
    ("Europe/Dublin", "2026-10-25"),
    ("America/Nuuk", "2024-03-31"),
    ("America/Nuuk", "2024-10-27"),
    ("Africa/Cairo", "2024-04-25"),
    ("Africa/Cairo", "2024-10-31"),
    ("Asia/Beirut", "2024-03-30"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Havana", "2024-11-03"),
    ("Pacific/Chatham", "2024-09-28"),
    ("Antarctica/Troll", "2024-03-31"),
    ("America/Caracas", "2016-05-01"),
    ("Asia/Pyongyang", "2018-05-04"),
    ("Asia/Kathmandu", "2024-03-31"),
]
TIMES = [time(0, 0), time(0, 30), time(1, 30), time(1, 45), time(2, 0), time(2, 15), time(2, 30), time(3, 0)]
TIMES += [time(12, 0), time(23, 30), time(23, 59)]


@cache
def instants(zone: str, change: str) -> dict[datetime, datetime]:
    """Map every wall minute of the days around *change* to its instant, from what the clock shows at each
    UTC minute: the first time that it shows it, else as far on as the clock was before it leapt over it."""
    middle = datetime.fromisoformat(change).replace(tzinfo=UTC)
    tz = ZoneInfo(zone)
    found: dict[datetime, datetime] = {}
    ahead, latest = timedelta(0), None
    for number in range(-6 * 1440, 6 * 1440):
        instant = middle + number * MINUTE
        wall = instant.astimezone(tz).replace(tzinfo=None, fold=0)
        while latest is not None and latest + MINUTE < wall:
            latest += MINUTE
            found.setdefault(latest, (latest - ahead).replace(tzinfo=UTC))
        found.setdefault(wall, instant)
        latest, ahead = wall, wall - instant.replace(tzinfo=None)
    return found


def names(schedule: Dated, wall: datetime) -> bool:
    """Whether *schedule* says this wall minute."""
    if wall.time() != schedule.time:
        return False
    days = calendar.monthrange(wall.year, wall.month)[1]
    match schedule:
        case DaysOfWeek():
            return wall.weekday() in schedule.days
        case DayOfMonth():
            return wall.day == (days if schedule.day == -1 else schedule.day)
        case WeekdayOfMonth():
            nth = 1 + (wall.day - 1) // 7
            return wall.weekday() == schedule.weekday and (
                wall.day + 7 > days if schedule.week == -1 else nth == schedule.week
            )


def schedules_around(zone: str, day: datetime) -> Iterator[Dated]:
    for at in TIMES:
        yield DaysOfWeek(days=tuple(range(7)), time=at, timezone=zone)
        for near in (day - DAY, day, day + DAY):
            yield DaysOfWeek(days=(near.weekday(),), time=at, timezone=zone)
            yield DayOfMonth(day=near.day, time=at, timezone=zone)
            yield WeekdayOfMonth(week=1 + (near.day - 1) // 7, weekday=near.weekday(), time=at, timezone=zone)
        yield DayOfMonth(day=-1, time=at, timezone=zone)
        yield WeekdayOfMonth(week=-1, weekday=day.weekday(), time=at, timezone=zone)


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_a_walk_over_every_minute_agrees(zone: str, change: str) -> None:
    walls = instants(zone, change)
    by_time = {at: [wall for wall in walls if wall.time() == at] for at in TIMES}
    middle = datetime.fromisoformat(change).replace(tzinfo=UTC)
    start, end = middle - 4 * DAY, middle + 4 * DAY
    for schedule in schedules_around(zone, middle):
        said = {walls[wall] for wall in by_time[schedule.time] if names(schedule, wall)}
        expected = tuple(sorted(slot for slot in said if start < slot <= end))
        assert between(schedule, start, end) == expected
        # Asked from anywhere near the change, the next slot is the first of those that are left.
        for hours in range(-30, 54, 7):
            after = middle + hours * HOUR + 10 * MINUTE
            assert next((slot for slot in expected if slot > after), None) == next_until(schedule, after, end)


def next_until(schedule: Dated, after: datetime, end: datetime) -> datetime | None:
    slot = next_after(schedule, after)
    return slot if slot is not None and slot <= end else None


# --- properties --------------------------------------------------------------------------------------------------

ZONES = sorted({zone for zone, _ in CHANGES} | {"UTC", "Asia/Tehran", "Pacific/Kiritimati", "Africa/Monrovia"})
ZONE = st.sampled_from(ZONES)
NIGHT = st.sampled_from(TIMES) | st.times().map(lambda at: at.replace(second=0, microsecond=0, fold=0))
DATED: st.SearchStrategy[Dated] = st.one_of(
    st.builds(
        DaysOfWeek,
        days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
        time=NIGHT,
        timezone=ZONE,
    ),
    st.builds(DayOfMonth, day=st.integers(1, 31) | st.just(-1), time=NIGHT, timezone=ZONE),
    st.builds(
        WeekdayOfMonth, week=st.sampled_from([1, 2, 3, 4, 5, -1]), weekday=st.integers(0, 6), time=NIGHT, timezone=ZONE
    ),
)
SCHEDULE: st.SearchStrategy[Schedule] = DATED | st.builds(TimesPerDay, times=st.integers(1, 1440))
INSTANT = st.datetimes(datetime(1960, 1, 1), datetime(2110, 1, 1), timezones=st.just(UTC))
NEAR_A_CHANGE = st.builds(
    lambda change, minutes: datetime.fromisoformat(change[1]).replace(tzinfo=UTC) + minutes * MINUTE,
    st.sampled_from(CHANGES),
    st.integers(-3 * 1440, 3 * 1440),
)
WHEN = INSTANT | NEAR_A_CHANGE
SPAN = st.timedeltas(timedelta(0), timedelta(days=3)) | st.timedeltas(timedelta(0), timedelta(days=200))


def few(schedule: Schedule, span: timedelta) -> timedelta:
    """Keep a window of a thousand slots a day short."""
    return min(span, 3 * DAY) if isinstance(schedule, TimesPerDay) and schedule.times > 50 else span


@settings(deadline=None)
@given(SCHEDULE, WHEN, WHEN)
def test_nothing_fires_between_after_and_next(schedule: Schedule, after: datetime, on_since: datetime) -> None:
    slot = next_after(schedule, after, on_since=on_since)
    assert slot is not None
    assert slot > after
    assert slot.tzinfo is UTC
    assert (slot.second, slot.microsecond) == (0, 0)
    assert between(schedule, after, slot, on_since=on_since) == (slot,)
    assert next_after(schedule, slot - MINUTE, on_since=on_since) == slot
    halfway = after + (slot - after) / 2
    if halfway < slot:
        assert next_after(schedule, halfway, on_since=on_since) == slot


@settings(deadline=None)
@given(SCHEDULE, WHEN, SPAN, SPAN, WHEN)
def test_two_windows_are_one(
    schedule: Schedule, a: datetime, first: timedelta, second: timedelta, on_since: datetime
) -> None:
    b = a + few(schedule, first)
    c = b + few(schedule, second)
    whole = between(schedule, a, c, on_since=on_since)
    parts = between(schedule, a, b, on_since=on_since) + between(schedule, b, c, on_since=on_since)
    assert whole == parts
    assert list(whole) == sorted(set(whole))
    assert len(whole) == count_between(schedule, a, c, on_since=on_since)


@settings(deadline=None)
@given(SCHEDULE, WHEN, SPAN)
def test_walking_from_slot_to_slot_meets_the_same_ones(schedule: Schedule, start: datetime, span: timedelta) -> None:
    end = start + min(few(schedule, span), 20 * DAY)
    on_since = start - 10 * HOUR
    walked = []
    slot = next_after(schedule, start, on_since=on_since)
    while slot is not None and slot <= end:
        walked.append(slot)
        slot = next_after(schedule, slot, on_since=on_since)
    assert tuple(walked) == between(schedule, start, end, on_since=on_since)


@settings(deadline=None)
@given(DATED, WHEN)
def test_a_date_has_one_slot_and_it_shows_the_time_of_the_schedule(schedule: Dated, start: datetime) -> None:
    tz = ZoneInfo(schedule.timezone)
    walls = [slot.astimezone(tz).replace(second=0) for slot in between(schedule, start, start + 100 * DAY)]
    as_written = [wall for wall in walls if wall.time() == schedule.time]
    assert len({wall.date() for wall in as_written}) == len(as_written)
    for wall in walls:
        if wall not in as_written:  # in a gap: it is moved on, and may land on the next date
            assert (wall - 2 * DAY).utcoffset() != (wall + 2 * DAY).utcoffset()


@settings(deadline=None)
@given(st.integers(1, 1440), WHEN, st.integers(0, 10**6))
def test_slots_of_times_per_day_are_the_exact_fractions_rounded_up(times: int, on_since: datetime, k: int) -> None:
    exact = (on_since - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * times + k * 86_400_000_000
    minute = -(-exact // (60_000_000 * times))
    slot = datetime(1970, 1, 1, tzinfo=UTC) + minute * MINUTE
    schedule = TimesPerDay(times=times)
    assert next_after(schedule, slot - MINUTE, on_since=on_since) == slot
    assert count_between(schedule, on_since - DAY, slot, on_since=on_since) == k + 1


# --- counting without walking ------------------------------------------------------------------------------------


THOROUGH = pytest.mark.thorough


def dense(zone: str) -> Iterator[Schedule]:
    """Yield schedules with many slots a day, whose days differ in every way that there is."""
    for expression in ("*/20 * * * *", "5,35 0-3,23 * * MON,SAT", "*/30 * 28-31,1-8 * *"):
        yield parse({"type": "cron", "expression": expression}, zone)
    yield parse({"type": "times_per_day", "times": 24, "anchor": "00:30"}, zone)
    yield parse({"type": "rrule", "rule": "FREQ=DAILY;INTERVAL=2;BYHOUR=0,1,2,3,23", "start": "2011-01-01"}, zone)
    several = {
        "type": "any_of",
        "schedules": [
            {"type": "times_per_day", "times": 7},
            {"type": "cron", "expression": "*/15 * * * *", "timezone": "America/Havana"},
            {
                "type": "cron",
                "expression": "*/10 * * * *",
                "blackout": [
                    {"days": ["saturday"], "from": "22:00", "to": "03:00"},
                    {"dates": ["03-30", "10-26"], "timezone": "Asia/Tokyo"},
                    {"from": "2024-03-29T12:00", "to": "2024-04-01T12:00"},
                ],
            },
        ],
    }
    yield parse(several, zone)


@pytest.mark.parametrize(
    ("zone", "change"), [pytest.param(*each, marks=() if at % 4 == 2 else THOROUGH) for at, each in enumerate(CHANGES)]
)
def test_counting_is_what_a_walk_finds(zone: str, change: str) -> None:
    middle = datetime.fromisoformat(change).replace(tzinfo=UTC)
    start, end = middle - 4 * DAY + 17 * MINUTE, middle + 4 * DAY - 3 * HOUR
    *_, several = schedules = list(dense(zone))
    for schedule in schedules:
        for on_since in (middle - 9 * DAY, middle - DAY + 61 * MINUTE) if schedule == several else (middle,):
            walked = between(schedule, start, end, on_since=on_since)
            assert count_between(schedule, start, end, on_since=on_since) == len(walked), schedule
            out = list(left_out_between(schedule, start, end, on_since=on_since))
            found = count_left_out(schedule, start, end, on_since=on_since)
            assert found == ((out[0], len(out), out[-1]) if out else None), schedule


def test_counting_years_of_minutes_walks_through_few_days(monkeypatch: pytest.MonkeyPatch) -> None:
    blackouts = [{"dates": ["12-25", "2031-05-01"]}, {"days": ["sunday"], "from": "02:00", "to": "04:00"}]
    document = {"type": "cron", "expression": "* * * * *", "blackout": blackouts}
    every_minute = parse(document, "Europe/Amsterdam")
    start = datetime(2026, 11, 22, 6, 3, tzinfo=UTC)
    walk, walked = day_counts.iter_counts, []

    def watched(*arguments: Any, count: day_counts.Count, **more: Any) -> Any:
        def counted(first: datetime, last: datetime) -> int:
            walked.append(first)
            return count(first, last)

        return walk(*arguments, count=counted, **more)

    monkeypatch.setattr(day_counts, "iter_counts", watched)
    end = start.replace(year=2035)
    sundays = 470  # from 22 November 2026, whose two hours lie before its 06:03, to 22 November 2035
    free = (end - start) // MINUTE - 9 * 1440 - 1440 - sundays * 120
    assert abs(count_between(every_minute, start, end) - free) < 20 * 60, "but for changes of the clock"
    assert len(walked) < 60
