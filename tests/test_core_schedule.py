"""When schedules fire: tables of facts."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from connrunner.core.model import DayOfMonth, DaysOfWeek, Manual, Schedule, TimesPerDay, WeekdayOfMonth
from connrunner.core.schedules import FIRST, LAST, between, count_between, next_after

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(7)
LAST_ONE = -1


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def clock(text: str) -> time:
    return time.fromisoformat(text)


def daily(at: str, zone: str) -> DaysOfWeek:
    return weekly(range(7), at, zone)


def weekly(days: range | list[int], at: str, zone: str) -> DaysOfWeek:
    return DaysOfWeek(days=tuple(days), time=clock(at), timezone=zone)


def monthly(day: int, at: str, zone: str) -> DayOfMonth:
    return DayOfMonth(day=day, time=clock(at), timezone=zone)


def weekday(week: int, day: int, at: str, zone: str) -> WeekdayOfMonth:
    return WeekdayOfMonth(week=week, weekday=day, time=clock(at), timezone=zone)


def year_of(schedule: Schedule, year: int) -> list[str]:
    """The days on which *schedule* (in UTC) fires in *year*, as MM-DD."""
    slots = between(schedule, datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, tzinfo=UTC))
    return [f"{slot:%m-%d}" for slot in slots]


AMS, NYC, LHI = "Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe"
APIA, CASA, NUUK, CAIRO = "Pacific/Apia", "Africa/Casablanca", "America/Nuuk", "Africa/Cairo"

NEXT = [
    # an ordinary day, and the edge of "strictly after"
    (daily("06:00", "UTC"), "2026-05-01 05:59", "2026-05-01 06:00"),
    (daily("06:00", "UTC"), "2026-05-01 05:59:59.999999", "2026-05-01 06:00"),
    (daily("06:00", "UTC"), "2026-05-01 06:00", "2026-05-02 06:00"),
    (daily("00:00", "UTC"), "2026-12-31 23:59", "2027-01-01 00:00"),
    (daily("23:59", "UTC"), "2026-12-31 23:58", "2026-12-31 23:59"),
    # the local day is not the UTC day
    (daily("08:00", "Pacific/Kiritimati"), "2026-05-01 17:59", "2026-05-01 18:00"),
    (weekly([MONDAY], "08:00", "Pacific/Kiritimati"), "2026-05-01 00:00", "2026-05-03 18:00"),
    (weekly([MONDAY], "20:00", "Pacific/Pago_Pago"), "2026-05-04 00:00", "2026-05-05 07:00"),
    # Monday and Friday 01:30 around the clock changes of Amsterdam
    (weekly([MONDAY, FRIDAY], "01:30", AMS), "2026-03-26 12:00", "2026-03-27 00:30"),
    (weekly([MONDAY, FRIDAY], "01:30", AMS), "2026-03-27 00:30", "2026-03-29 23:30"),
    (weekly([MONDAY, FRIDAY], "01:30", AMS), "2026-10-22 12:00", "2026-10-22 23:30"),
    (weekly([MONDAY, FRIDAY], "01:30", AMS), "2026-10-22 23:30", "2026-10-26 00:30"),
    # Amsterdam: 02:30 does not exist on 29 March (03:30 counts), and comes twice on 25 October (the first counts)
    (daily("02:30", AMS), "2026-03-28 01:30", "2026-03-29 01:30"),
    (daily("02:30", AMS), "2026-03-29 01:30", "2026-03-30 00:30"),
    (daily("02:00", AMS), "2026-03-28 12:00", "2026-03-29 01:00"),
    (daily("03:00", AMS), "2026-03-28 12:00", "2026-03-29 01:00"),
    (daily("02:30", AMS), "2026-10-24 12:00", "2026-10-25 00:30"),
    (daily("02:30", AMS), "2026-10-25 00:30", "2026-10-26 01:30"),
    (daily("02:30", AMS), "2026-10-25 01:10", "2026-10-26 01:30"),  # asked within the second pass
    (daily("03:00", AMS), "2026-10-25 00:59", "2026-10-25 02:00"),
    (monthly(29, "02:30", AMS), "2026-03-01 00:00", "2026-03-29 01:30"),  # a monthly run is not lost in the gap
    (weekday(LAST_ONE, SUNDAY, "02:30", AMS), "2026-03-01 00:00", "2026-03-29 01:30"),
    (weekday(LAST_ONE, SUNDAY, "02:30", AMS), "2026-10-01 00:00", "2026-10-25 00:30"),
    # New York
    (daily("02:30", NYC), "2026-03-08 00:00", "2026-03-08 07:30"),
    (daily("02:30", NYC), "2026-03-08 07:30", "2026-03-09 06:30"),
    (daily("01:30", NYC), "2026-11-01 00:00", "2026-11-01 05:30"),
    (daily("01:30", NYC), "2026-11-01 05:30", "2026-11-02 06:30"),
    # Lord Howe moves its clocks by 30 minutes
    (daily("02:15", LHI), "2026-10-03 12:00", "2026-10-03 15:45"),  # gap 02:00-02:30, so 02:45 +11
    (daily("02:15", LHI), "2026-10-03 15:45", "2026-10-04 15:15"),
    (daily("01:45", LHI), "2026-04-04 12:00", "2026-04-04 14:45"),  # fold 01:30-02:00
    (daily("01:45", LHI), "2026-04-04 14:45", "2026-04-05 15:15"),
    # Apia skipped Friday 30 December 2011: it is the Saturday, once
    (daily("08:00", APIA), "2011-12-28 18:00", "2011-12-29 18:00"),
    (daily("08:00", APIA), "2011-12-29 18:00", "2011-12-30 18:00"),
    (daily("08:00", APIA), "2011-12-30 18:00", "2011-12-31 18:00"),
    (weekly([FRIDAY], "08:00", APIA), "2011-12-29 00:00", "2011-12-30 18:00"),
    (weekly([FRIDAY, SATURDAY], "08:00", APIA), "2011-12-30 18:00", "2012-01-05 18:00"),
    (weekly([FRIDAY], "23:30", APIA), "2011-12-30 20:00", "2011-12-31 09:30"),  # asked on the Saturday itself
    (monthly(30, "08:00", APIA), "2011-12-01 00:00", "2011-12-30 18:00"),
    (weekday(5, FRIDAY, "08:00", APIA), "2011-12-01 00:00", "2011-12-30 18:00"),
    # Casablanca goes back for Ramadan: 03:00 becomes 02:00 on 15 February 2026, and forth again on 22 March
    (daily("02:30", CASA), "2026-02-14 12:00", "2026-02-15 01:30"),
    (daily("02:30", CASA), "2026-02-15 01:30", "2026-02-16 02:30"),
    (daily("02:30", CASA), "2026-03-21 12:00", "2026-03-22 02:30"),
    (daily("02:30", CASA), "2026-03-22 02:30", "2026-03-23 01:30"),
    # gaps that touch midnight: the moved slot belongs to another date than the schedule says
    (daily("23:30", NUUK), "2024-03-30 12:00", "2024-03-31 01:30"),  # 23:30 on 30 March is 00:30 on the 31st
    (daily("23:30", NUUK), "2024-03-31 01:10", "2024-03-31 01:30"),  # asked at 00:10 on the 31st
    (daily("23:30", NUUK), "2024-03-31 01:30", "2024-04-01 00:30"),
    (monthly(30, "23:30", NUUK), "2024-03-31 01:10", "2024-03-31 01:30"),
    (daily("23:30", NUUK), "2024-10-26 12:00", "2024-10-27 00:30"),
    (daily("00:30", CAIRO), "2024-04-25 12:00", "2024-04-25 22:30"),
    (daily("00:00", CAIRO), "2024-04-25 12:00", "2024-04-25 22:00"),
    (daily("00:30", CAIRO), "2024-04-25 22:30", "2024-04-26 21:30"),
    (daily("23:30", CAIRO), "2024-10-31 12:00", "2024-10-31 20:30"),
    (daily("23:30", CAIRO), "2024-10-31 20:30", "2024-11-01 21:30"),
    (daily("00:15", "Asia/Beirut"), "2026-03-28 12:00", "2026-03-28 22:15"),
    (daily("00:15", "America/Sao_Paulo"), "2018-11-03 12:00", "2018-11-04 03:15"),
    # month ends and leap years
    (monthly(31, "06:00", "UTC"), "2026-01-31 06:00", "2026-03-31 06:00"),
    (monthly(30, "06:00", "UTC"), "2026-01-30 06:00", "2026-03-30 06:00"),
    (monthly(29, "06:00", "UTC"), "2026-01-29 06:00", "2026-03-29 06:00"),
    (monthly(29, "06:00", "UTC"), "2024-01-29 06:00", "2024-02-29 06:00"),
    (monthly(29, "06:00", "UTC"), "2028-01-29 06:00", "2028-02-29 06:00"),
    (monthly(29, "06:00", "UTC"), "2100-01-29 06:00", "2100-03-29 06:00"),
    (monthly(29, "06:00", "UTC"), "2000-01-29 06:00", "2000-02-29 06:00"),
    (monthly(LAST_ONE, "06:00", "UTC"), "2026-01-31 06:00", "2026-02-28 06:00"),
    (monthly(LAST_ONE, "06:00", "UTC"), "2028-01-31 06:00", "2028-02-29 06:00"),
    (monthly(LAST_ONE, "06:00", "UTC"), "2100-01-31 06:00", "2100-02-28 06:00"),
    (monthly(1, "00:00", AMS), "2026-12-31 22:59", "2026-12-31 23:00"),
    # weekdays of the month
    (weekday(2, TUESDAY, "06:00", "UTC"), "2026-01-01 00:00", "2026-01-13 06:00"),
    (weekday(1, THURSDAY, "06:00", "UTC"), "2026-01-01 00:00", "2026-01-01 06:00"),
    (weekday(5, MONDAY, "06:00", "UTC"), "2026-03-30 06:00", "2026-06-29 06:00"),
    (weekday(5, TUESDAY, "06:00", "UTC"), "2027-12-31 00:00", "2028-02-29 06:00"),
    (weekday(LAST_ONE, FRIDAY, "06:00", "UTC"), "2026-01-30 06:00", "2026-02-27 06:00"),
    # summer time goes on after the last year that older time-zone files list
    (daily("02:30", AMS), "2049-07-01 00:00", "2049-07-01 00:30"),
]


@pytest.mark.parametrize(("schedule", "after", "expected"), NEXT)
def test_the_first_slot_after(schedule: Schedule, after: str, expected: str) -> None:
    assert next_after(schedule, utc(after)) == utc(expected)


def test_dates_that_a_month_lacks_have_no_slot() -> None:
    assert [day[:2] for day in year_of(monthly(31, "06:00", "UTC"), 2026)] == ["01", "03", "05", "07", "08", "10", "12"]
    assert [day[:2] for day in year_of(monthly(30, "06:00", "UTC"), 2026)] == [
        f"{month:02}" for month in range(1, 13) if month != 2
    ]
    assert "02-29" not in year_of(monthly(29, "06:00", "UTC"), 2026)
    assert "02-29" in year_of(monthly(29, "06:00", "UTC"), 2028)
    assert year_of(weekday(5, MONDAY, "06:00", "UTC"), 2026) == ["03-30", "06-29", "08-31", "11-30"]


def test_the_last_of_each_month() -> None:
    last_fridays = "01-30 02-27 03-27 04-24 05-29 06-26 07-31 08-28 09-25 10-30 11-27 12-25"
    assert year_of(weekday(LAST_ONE, FRIDAY, "06:00", "UTC"), 2026) == last_fridays.split()
    last_days = "01-31 02-29 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31"
    assert year_of(monthly(LAST_ONE, "06:00", "UTC"), 2024) == last_days.split()


# RFC 5545, 3.8.5.3: the examples that these kinds can say, all at 09:00 in New York (EDT is 13:00 UTC, EST 14:00).
RFC_5545 = [
    ("every day", [daily("09:00", NYC)], "1997-09-02", "09-02T13 09-03T13 09-04T13 09-05T13 09-06T13"),
    ("every day of January", [daily("09:00", NYC)], "1998-01-01", "01-01T14 01-02T14 01-03T14"),
    (
        "weekly, ten times",
        [weekly([TUESDAY], "09:00", NYC)],
        "1997-09-02",
        "09-02T13 09-09T13 09-16T13 09-23T13 09-30T13 10-07T13 10-14T13 10-21T13 10-28T14 11-04T14",
    ),
    (
        "Tuesday and Thursday",
        [weekly([TUESDAY, THURSDAY], "09:00", NYC)],
        "1997-09-02",
        "09-02T13 09-04T13 09-09T13 09-11T13 09-16T13 09-18T13 09-23T13 09-25T13 09-30T13 10-02T13",
    ),
    (
        "the first Friday",
        [weekday(1, FRIDAY, "09:00", NYC)],
        "1997-09-05",
        "09-05T13 10-03T13 11-07T14 12-05T14 01-02T14 02-06T14 03-06T14 04-03T14 05-01T13 06-05T13",
    ),
    (
        "the 2nd and the 15th",
        [monthly(2, "09:00", NYC), monthly(15, "09:00", NYC)],
        "1997-09-02",
        "09-02T13 09-15T13 10-02T13 10-15T13 11-02T14 11-15T14 12-02T14 12-15T14 01-02T14 01-15T14",
    ),
    (
        "the first and the last day",
        [monthly(1, "09:00", NYC), monthly(LAST_ONE, "09:00", NYC)],
        "1997-09-30",
        "09-30T13 10-01T13 10-31T14 11-01T14 11-30T14 12-01T14 12-31T14 01-01T14 01-31T14 02-01T14",
    ),
    ("every Thursday in March", [weekly([THURSDAY], "09:00", NYC)], "1997-03-13", "03-13T14 03-20T14 03-27T14"),
    (
        "the 15th and the 30th, which February lacks",
        [monthly(15, "09:00", NYC), monthly(30, "09:00", NYC)],
        "2007-01-15",
        "01-15T14 01-30T14 02-15T14 03-15T13 03-30T13",
    ),
    ("every Tuesday, across the end of a year", [weekly([TUESDAY], "09:00", NYC)], "1997-12-23", "12-23T14 12-30T14"),
    ("3.3.5, an hour that comes twice", [daily("01:30", NYC)], "2007-11-04", "11-04T05 11-05T06"),
    ("3.3.5, an hour that does not exist", [daily("02:30", NYC)], "2007-03-11", "03-11T07 03-12T06"),
]


@pytest.mark.parametrize(
    ("schedules", "start", "expected"), [row[1:] for row in RFC_5545], ids=[r[0] for r in RFC_5545]
)
def test_examples_of_rfc_5545(schedules: list[Schedule], start: str, expected: str) -> None:
    first = utc(start)
    slots = sorted(slot for schedule in schedules for slot in between(schedule, first, first + timedelta(days=400)))
    assert [f"{slot:%m-%dT%H}" for slot in slots][: len(expected.split())] == expected.split()


# --- times per day -----------------------------------------------------------------------------------------------

ON = utc("2026-03-28 22:17")  # the night of a clock change in Amsterdam: elapsed time does not care

MINUTES_OF_A_DAY = [
    (1, [0, 1440]),
    (2, [0, 720, 1440]),
    (5, [0, 288, 576, 864, 1152, 1440]),
    (7, [0, 206, 412, 618, 823, 1029, 1235, 1440]),
    (11, [0, 131, 262, 393, 524, 655, 786, 917, 1048, 1179, 1310, 1440]),
    (48, list(range(0, 1441, 30))),
    (1440, list(range(1441))),
]


@pytest.mark.parametrize(("times", "minutes"), MINUTES_OF_A_DAY)
def test_times_per_day_count_from_the_switching_on(times: int, minutes: list[int]) -> None:
    schedule = TimesPerDay(times=times)
    slots = between(schedule, ON - timedelta(days=1), ON + timedelta(days=1), on_since=ON)
    assert [(slot - ON) // timedelta(minutes=1) for slot in slots] == minutes


@pytest.mark.parametrize("times", [1, 2, 5, 7, 11, 48, 49, 997, 1439, 1440])
def test_times_per_day_never_drift(times: int) -> None:
    schedule = TimesPerDay(times=times)
    for days in (1, 365, 3653):
        start = ON + timedelta(days=days)
        assert next_after(schedule, start - timedelta(minutes=1), on_since=ON) == start
        assert len(between(schedule, start, start + timedelta(days=1), on_since=ON)) == times


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-05-01 08:00", "2026-05-01 10:01"),  # before the switching on there is nothing
        ("2026-05-01 10:00:20.5", "2026-05-01 10:01"),  # slot 0 is the first whole minute
        ("2026-05-01 10:01", "2026-05-01 16:01"),
        ("2026-05-01 16:00:59", "2026-05-01 16:01"),
        ("2026-05-01 16:01:59", "2026-05-01 22:01"),
    ],
)
def test_times_per_day_switched_on_between_two_minutes(after: str, expected: str) -> None:
    on_since = utc("2026-05-01 10:00:20.5")
    assert next_after(TimesPerDay(times=4), utc(after), on_since=on_since) == utc(expected)


def test_a_slot_a_fraction_of_a_microsecond_after_a_minute_is_the_next_minute() -> None:
    on_since = utc("2026-05-01 06:00") - timedelta(microseconds=12_342_857_142)  # a seventh of a day is .857 longer
    assert between(TimesPerDay(times=7), on_since, utc("2026-05-01 07:00"), on_since=on_since) == (
        utc("2026-05-01 02:35"),
        utc("2026-05-01 06:01"),
    )


def test_times_per_day_need_to_know_since_when() -> None:
    for ask in (
        lambda: next_after(TimesPerDay(times=4), ON),
        lambda: between(TimesPerDay(times=4), ON, ON),
        lambda: count_between(TimesPerDay(times=4), ON, ON),
    ):
        with pytest.raises(ValueError, match="on_since"):
            ask()


def test_counting_a_long_outage_is_arithmetic() -> None:
    end = ON + timedelta(days=365_000)
    assert count_between(TimesPerDay(times=1440), ON, end, on_since=ON) == 365_000 * 1440
    assert count_between(TimesPerDay(times=7), ON, end, on_since=ON) == 365_000 * 7


def test_counting_ten_years_of_days() -> None:
    assert count_between(daily("02:30", AMS), utc("2016-01-01"), utc("2026-01-01")) == 3653


# --- the rest ----------------------------------------------------------------------------------------------------


def test_manual_has_no_slots() -> None:
    assert next_after(Manual(), ON) is None
    assert between(Manual(), ON, ON + timedelta(days=9999)) == ()
    assert count_between(Manual(), ON, ON + timedelta(days=9999)) == 0


def test_a_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    schedule = daily("06:00", "UTC")
    first, second = utc("2026-05-01 06:00"), utc("2026-05-02 06:00")
    assert between(schedule, first, second) == (second,)
    assert count_between(schedule, first, second) == 1
    assert between(schedule, second, first) == ()
    assert count_between(schedule, second, first) == 0
    assert count_between(TimesPerDay(times=9), second, first, on_since=first) == 0


def test_any_zone_goes_in_and_utc_comes_out() -> None:
    after = datetime.fromisoformat("2026-05-01T06:30:00+02:00")
    slot = next_after(daily("06:30", AMS), after)
    assert slot == utc("2026-05-02 04:30")
    assert slot.tzinfo is UTC
    assert next_after(TimesPerDay(times=1), after, on_since=after) == utc("2026-05-02 04:30")
    on_since = utc("2026-03-28 12:00").astimezone(ZoneInfo(AMS))  # 23 hours on its clock to the next noon
    assert next_after(TimesPerDay(times=1), on_since, on_since=on_since) == utc("2026-03-29 12:00")


NAIVE = datetime(2026, 5, 1)


@pytest.mark.parametrize("schedule", [Manual(), daily("06:00", "UTC"), TimesPerDay(times=1)])
def test_an_instant_without_offset_is_refused(schedule: Schedule) -> None:
    for ask in (
        lambda: next_after(schedule, NAIVE, on_since=ON),
        lambda: between(schedule, ON, NAIVE, on_since=ON),
        lambda: count_between(schedule, NAIVE, ON, on_since=ON),
    ):
        with pytest.raises(ValueError, match="2026-05-01 00:00:00 has no offset"):
            ask()
    with pytest.raises(ValueError, match="has no offset"):
        next_after(TimesPerDay(times=1), ON, on_since=NAIVE)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown timezone 'Mars/Olympus'"):
        next_after(daily("06:00", "Mars/Olympus"), ON)


KINDS: list[Schedule] = [
    TimesPerDay(times=1),
    TimesPerDay(times=7),
    TimesPerDay(times=1440),
    daily("00:00", "Pacific/Kiritimati"),
    weekly([SUNDAY], "23:59", "Pacific/Pago_Pago"),
    monthly(31, "02:30", AMS),
    monthly(LAST_ONE, "02:30", NYC),
    weekday(5, FRIDAY, "02:30", APIA),
    weekday(LAST_ONE, MONDAY, "02:30", LHI),
    Manual(),
]
START_OF_TIME, END_OF_TIME = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("schedule", KINDS)
@pytest.mark.parametrize("on_since", [START_OF_TIME, ON, END_OF_TIME])
def test_the_ends_of_time(schedule: Schedule, on_since: datetime) -> None:
    first = next_after(schedule, START_OF_TIME, on_since=on_since)
    assert first is None or first > FIRST
    assert next_after(schedule, END_OF_TIME, on_since=on_since) is None
    assert next_after(schedule, LAST, on_since=on_since) is None
    assert between(schedule, LAST, END_OF_TIME, on_since=on_since) == ()
    week_before = LAST - timedelta(days=7)
    slots = between(schedule, week_before, END_OF_TIME, on_since=on_since)
    assert len(slots) == count_between(schedule, week_before, END_OF_TIME, on_since=on_since)
    assert all(week_before < slot <= LAST for slot in slots)


def test_instants_just_outside_of_utc() -> None:
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        next_after(daily("06:00", AMS), datetime.fromisoformat(text))


def test_an_offset_with_odd_seconds_keeps_whole_minutes() -> None:
    noon = daily("12:00", "Africa/Monrovia")  # 44 minutes and 30 seconds behind UTC until 1972
    assert next_after(noon, utc("1970-01-01 00:00")) == utc("1970-01-01 12:45")


# --- what it costs -----------------------------------------------------------------------------------------------


def test_importing_and_times_per_day_need_no_heavy_module() -> None:
    program = """
import sys
from datetime import UTC, datetime
from connrunner.core.schedules import count_between, as_document, next_after, parse
now = datetime(2026, 5, 1, tzinfo=UTC)
often = parse({"type": "times_per_day", "times": 4}, "Europe/Amsterdam")
next_after(often, now, on_since=now), count_between(often, now, now, on_since=now)
weekly = parse({"type": "days_of_week", "days": ["monday"], "time": "06:00"}, "Europe/Amsterdam")
as_document(weekly)
print(sorted({"dateutil", "yaml", "jsonschema", "click"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
