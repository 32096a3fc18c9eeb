"""How schedules are written: every form, and every mistake."""

from __future__ import annotations

from collections import OrderedDict
from datetime import time
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.core.model import DayOfMonth, DaysOfWeek, Manual, Schedule, TimesPerDay, WeekdayOfMonth
from connrunner.core.schedules import as_document, describe, parse, zone

AMS = "Europe/Amsterdam"

FORMS: list[tuple[dict[str, Any], Schedule, str]] = [
    ({"type": "manual"}, Manual(), "only when asked for"),
    ({"type": "times_per_day", "times": 1}, TimesPerDay(times=1), "once per day"),
    ({"type": "times_per_day", "times": 4}, TimesPerDay(times=4), "4 times per day"),
    ({"type": "times_per_day", "times": 1440}, TimesPerDay(times=1440), "1440 times per day"),
    (
        {"type": "days_of_week", "days": ["monday", "friday"], "time": "01:30", "timezone": AMS},
        DaysOfWeek(days=(0, 4), time=time(1, 30), timezone=AMS),
        "Monday and Friday at 01:30 (Europe/Amsterdam)",
    ),
    (
        {"type": "days_of_week", "days": ["tuesday", "wednesday", "sunday"], "time": "23:59", "timezone": "UTC"},
        DaysOfWeek(days=(1, 2, 6), time=time(23, 59), timezone="UTC"),
        "Tuesday, Wednesday and Sunday at 23:59 (UTC)",
    ),
    (
        {"type": "days_of_week", "days": ["saturday"], "time": "00:00", "timezone": "Etc/GMT+5"},
        DaysOfWeek(days=(5,), time=time(0, 0), timezone="Etc/GMT+5"),
        "Saturday at 00:00 (Etc/GMT+5)",
    ),
    (
        {
            "type": "days_of_week",
            "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
            "time": "09:05",
            "timezone": "America/Argentina/ComodRivadavia",
        },
        DaysOfWeek(days=(0, 1, 2, 3, 4, 5, 6), time=time(9, 5), timezone="America/Argentina/ComodRivadavia"),
        "every day at 09:05 (America/Argentina/ComodRivadavia)",
    ),
    (
        {"type": "day_of_month", "day": 1, "time": "06:00", "timezone": "UTC"},
        DayOfMonth(day=1, time=time(6), timezone="UTC"),
        "day 1 of each month at 06:00 (UTC)",
    ),
    (
        {"type": "day_of_month", "day": 31, "time": "06:00", "timezone": "UTC"},
        DayOfMonth(day=31, time=time(6), timezone="UTC"),
        "day 31 of each month that has one at 06:00 (UTC)",
    ),
    (
        {"type": "day_of_month", "day": "last", "time": "06:00", "timezone": "UTC"},
        DayOfMonth(day=-1, time=time(6), timezone="UTC"),
        "the last day of each month at 06:00 (UTC)",
    ),
    (
        {"type": "weekday_of_month", "week": "second", "weekday": "tuesday", "time": "06:00", "timezone": "UTC"},
        WeekdayOfMonth(week=2, weekday=1, time=time(6), timezone="UTC"),
        "the second Tuesday of each month at 06:00 (UTC)",
    ),
    (
        {"type": "weekday_of_month", "week": "fifth", "weekday": "monday", "time": "06:00", "timezone": "UTC"},
        WeekdayOfMonth(week=5, weekday=0, time=time(6), timezone="UTC"),
        "the fifth Monday of each month that has one at 06:00 (UTC)",
    ),
    (
        {"type": "weekday_of_month", "week": "last", "weekday": "friday", "time": "06:00", "timezone": "UTC"},
        WeekdayOfMonth(week=-1, weekday=4, time=time(6), timezone="UTC"),
        "the last Friday of each month at 06:00 (UTC)",
    ),
]


@pytest.mark.parametrize(("data", "schedule", "words"), FORMS)
def test_each_form_reads_and_writes_and_speaks(data: dict[str, Any], schedule: Schedule, words: str) -> None:
    assert parse(data, "Asia/Tokyo") == schedule
    assert parse(MappingProxyType(data), "nowhere") == schedule  # the default zone is not asked for
    assert as_document(schedule) == data
    assert describe(schedule) == words


def test_the_default_zone_counts_where_the_schedule_names_none() -> None:
    data = {"type": "day_of_month", "day": 1, "time": "06:00"}
    assert parse(data, AMS) == DayOfMonth(day=1, time=time(6), timezone=AMS)
    assert as_document(parse(data, AMS))["timezone"] == AMS


def test_the_fingerprint_is_one_whatever_the_order_and_the_unused_zone() -> None:
    one = {"type": "days_of_week", "days": ["monday", "friday"], "time": "01:30"}
    other = OrderedDict(timezone=AMS, time="01:30", days=("friday", "monday"), type="days_of_week")
    assert as_document(parse(one, AMS)) == as_document(parse(other, "UTC"))
    assert as_document(parse({"type": "times_per_day", "times": 4, "timezone": AMS}, "UTC")) == {
        "type": "times_per_day",
        "times": 4,
    }
    assert as_document(parse({"type": "manual", "timezone": AMS}, "UTC")) == {"type": "manual"}


def weekly(**change: Any) -> dict[str, Any]:
    return {"type": "days_of_week", "days": ["monday"], "time": "06:00", **change}


def monthly(**change: Any) -> dict[str, Any]:
    return {"type": "day_of_month", "day": 1, "time": "06:00", **change}


def nth(**change: Any) -> dict[str, Any]:
    return {"type": "weekday_of_month", "week": "first", "weekday": "monday", "time": "06:00", **change}


def often(**change: Any) -> dict[str, Any]:
    return {"type": "times_per_day", "times": 4, **change}


KINDS = "times_per_day, days_of_week, day_of_month, weekday_of_month, cron, rrule, any_of or manual"
DAYS = "monday, tuesday, wednesday, thursday, friday, saturday or sunday"
TIME = '`time` is quoted text from "00:00" to "23:59", such as "06:30", not '
TIMES = "`times` is a whole number from 1 to 1440, not "
DAY = "`day` is a whole number from 1 to 31, or last, not "
IANA = "; write an IANA name such as Europe/Amsterdam"

NOT_DAYS: tuple[Any, ...] = ("monday", [], None, {}, 1)
MISTAKES: list[tuple[Any, str]] = [
    # the whole
    ("nightly", "a schedule is a mapping with a `type`, not 'nightly'"),
    (None, "a schedule is a mapping with a `type`, not None"),
    ([["type", "manual"]], "a schedule is a mapping with a `type`, not [['type', 'manual']]"),
    ({}, f"a schedule needs a `type`: {KINDS}"),
    ({"days": ["monday"]}, f"a schedule needs a `type`: {KINDS}"),
    ({"type": "corn"}, f"`type` takes {KINDS}, not 'corn'"),
    ({"type": "Manual"}, f"`type` takes {KINDS}, not 'Manual'"),
    ({"type": None}, f"`type` takes {KINDS}, not None"),
    ({"type": []}, f"`type` takes {KINDS}, not []"),
    # keys
    (
        {"type": "manual", "time": "06:00"},
        "unknown key 'time' in a schedule of type manual; its keys are type, timezone, blackout",
    ),
    (
        weekly(tme="06:00"),
        "unknown key 'tme' in a schedule of type days_of_week; its keys are type, days, time, timezone, blackout",
    ),
    (
        often(time="06:00"),
        "unknown key 'time' in a schedule of type times_per_day; its keys are type, times, anchor, timezone, blackout",
    ),
    (
        monthly(days=["monday"]),
        "unknown key 'days' in a schedule of type day_of_month; its keys are type, day, time, timezone, blackout",
    ),
    (
        {True: 1, "type": "manual"},
        "unknown key True in a schedule of type manual; its keys are type, timezone, blackout",
    ),
    ({"type": "times_per_day"}, "a schedule of type times_per_day needs `times`"),
    ({"type": "days_of_week", "time": "06:00"}, "a schedule of type days_of_week needs `days`"),
    ({"type": "days_of_week", "days": ["monday"]}, "a schedule of type days_of_week needs `time`"),
    ({"type": "day_of_month", "day": 1}, "a schedule of type day_of_month needs `time`"),
    ({"type": "weekday_of_month", "weekday": "monday"}, "a schedule of type weekday_of_month needs `week`"),
    # times
    *[(often(times=bad), TIMES + repr(bad)) for bad in (0, -1, 1441, True, 4.0, "4", None, [4], 10**20)],
    # days
    *[(weekly(days=bad), f"`days` takes {DAYS}, not {bad[-1]!r}") for bad in (["fryday"], ["monday", 1], [["monday"]])],
    *[(weekly(days=bad), f"`days` takes {DAYS}, not {bad[-1]!r}") for bad in (["Monday"], ["mon"], [None], [True])],
    *[(weekly(days=bad), f"`days` is a list of one or more weekdays, not {bad!r}") for bad in NOT_DAYS],
    (weekly(days=["friday", "monday", "friday"]), "`days` has friday twice; leave one out"),
    # day
    *[(monthly(day=bad), DAY + repr(bad)) for bad in (0, 32, -1, True, 1.0, "1", "Last", None, ["last"])],
    # week and weekday
    (nth(week="sixth"), "`week` takes first, second, third, fourth, fifth or last, not 'sixth'"),
    (nth(week=1), "`week` takes first, second, third, fourth, fifth or last, not 1"),
    (nth(week=["first"]), "`week` takes first, second, third, fourth, fifth or last, not ['first']"),
    (nth(weekday="fryday"), f"`weekday` takes {DAYS}, not 'fryday'"),
    (nth(weekday=["monday"]), f"`weekday` takes {DAYS}, not ['monday']"),
    # time
    *[
        (kind(time=bad), TIME + repr(bad))
        for kind in (weekly, monthly, nth)
        for bad in (
            "24:00",
            "6:00",
            "06:60",
            "06:00\n",
            " 06:00",
            "T0600",
            "06:00:00",
            "",
            "\u0660\u0666:00",
            630,
            6.5,
            None,
            True,
        )
    ],
    # timezone: what ZoneInfo would take on some hosts, too
    *[
        (weekly(timezone=bad), f"unknown timezone {bad!r}{IANA}")
        for bad in (
            "localtime",
            "posixrules",
            "right/UTC",
            "posix/UTC",
            "tzdata.zi",
            "zones",
            "",
            ".",
            "../UTC",
        )
    ],
    (weekly(timezone="/etc/localtime"), f"unknown timezone '/etc/localtime'{IANA}"),
    (
        weekly(timezone="Europe"),
        "unknown timezone 'Europe'; write a whole name, such as Europe/Amsterdam, Europe/Berlin or Europe/London",
    ),
    (weekly(timezone="U\0TC"), f"unknown timezone 'U\\x00TC'{IANA}"),
    (
        weekly(timezone="+02:00"),
        "unknown timezone '+02:00'; write Etc/GMT-2, which is 2 h ahead of UTC, or a city whose clock also knows summer time",
    ),
    (weekly(timezone="europe/amsterdam"), f"unknown timezone 'europe/amsterdam'; did you mean '{AMS}'?"),
    (weekly(timezone="Europe/Amsterdm"), f"unknown timezone 'Europe/Amsterdm'; did you mean '{AMS}'?"),
    (weekly(timezone=None), "`timezone` is an IANA name such as Europe/Amsterdam, not None"),
    (weekly(timezone=1), "`timezone` is an IANA name such as Europe/Amsterdam, not 1"),
    (weekly(timezone=[AMS]), "`timezone` is an IANA name such as Europe/Amsterdam, not ['Europe/Amsterdam']"),
    (often(timezone="Mars"), f"unknown timezone 'Mars'{IANA}"),
    ({"type": "manual", "timezone": "Mars"}, f"unknown timezone 'Mars'{IANA}"),
]


@pytest.mark.parametrize(("data", "message"), MISTAKES)
def test_each_mistake_is_one_sentence(data: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(data, AMS)
    assert str(caught.value) == message


def test_a_wrong_default_zone_is_a_mistake_where_it_counts() -> None:
    with pytest.raises(ValueError, match="unknown timezone 'localtime'"):
        parse(weekly(), "localtime")
    assert parse(often(), "localtime") == TimesPerDay(times=4)


def test_a_huge_value_makes_no_huge_message() -> None:
    for data in (
        weekly(timezone="x" * 100_000),
        weekly(time="1" * 100_000),
        weekly(days=["y" * 100_000]),
        weekly(z=""),
    ):
        with pytest.raises(ValueError) as caught:
            parse(data, AMS)
        assert len(str(caught.value)) < 200


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
LIKELY = st.sampled_from(["monday", "last", "first", "06:00", "UTC", 1, 31, ["monday"], ["monday", "friday"]])
TYPES = st.sampled_from([data["type"] for data, _, _ in FORMS])
KEYS = st.sampled_from(["times", "days", "day", "week", "weekday", "time", "timezone"])


@settings(deadline=None)
@given(kind=TYPES | PLAIN, rest=st.dictionaries(KEYS, LIKELY | PLAIN, max_size=5))
def test_anything_is_a_schedule_or_a_mistake(kind: Any, rest: dict[str, Any]) -> None:
    try:
        schedule = parse({"type": kind, **rest}, AMS)
    except ValueError:
        return
    assert parse(as_document(schedule), "UTC") == schedule
    assert describe(schedule)


def test_every_iana_name_loads() -> None:
    names = zone.list_zones()
    assert {"UTC", AMS, "America/Nuuk", "Etc/GMT-14"} <= names
    assert not {"localtime", "posixrules"} & names
    for name in names:
        assert str(zone.load_zone(name)) == name
