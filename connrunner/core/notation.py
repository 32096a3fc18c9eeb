"""How a schedule is written: as a mapping in YAML, and in words for people."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection, Mapping
from datetime import time
from typing import Any

from connrunner.core import zone
from connrunner.core.model import DayOfMonth, DaysOfWeek, Manual, Schedule, TimesPerDay, WeekdayOfMonth

KEYS = {  # what each type needs; every type also takes `timezone`
    "times_per_day": ("times",),
    "days_of_week": ("days", "time"),
    "day_of_month": ("day", "time"),
    "weekday_of_month": ("week", "weekday", "time"),
    "manual": (),
}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEKS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
WEEK_NAMES = {number: name for name, number in WEEKS.items()}


def parse(data: Mapping[str, Any], timezone: str) -> Schedule:
    """Return the schedule that *data* says; *timezone* is the zone of a calendar schedule that names none.

    ValueError, with one sentence for the writer of the file, for anything that the design does not know.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"a schedule is a mapping with a `type`, not {_shown(data)}")  # noqa: TRY004 - as for any mistake
    if "type" not in data:
        raise ValueError(f"a schedule needs a `type`: {_listed(KEYS)}")
    kind = _word("type", data["type"], KEYS)
    known = ("type", *KEYS[kind], "timezone")
    for key in data:
        if key not in known:
            raise ValueError(f"unknown key {_shown(key)} in a schedule of type {kind}; its keys are {', '.join(known)}")
    for key in KEYS[kind]:
        if key not in data:
            raise ValueError(f"a schedule of type {kind} needs `{key}`")
    if "timezone" in data:
        timezone = _timezone(data["timezone"])
    match kind:
        case "times_per_day":
            return TimesPerDay(times=_times(data["times"]))
        case "days_of_week":
            days = _days(data["days"])
            return DaysOfWeek(days=days, time=_time(data["time"]), timezone=_timezone(timezone))
        case "day_of_month":
            day = _day(data["day"])
            return DayOfMonth(day=day, time=_time(data["time"]), timezone=_timezone(timezone))
        case "weekday_of_month":
            week = WEEKS[_word("week", data["week"], WEEKS)]
            weekday = WEEKDAYS.index(_word("weekday", data["weekday"], WEEKDAYS))
            at = _time(data["time"])
            return WeekdayOfMonth(week=week, weekday=weekday, time=at, timezone=_timezone(timezone))
        case _:
            return Manual()


def document(schedule: Schedule) -> dict[str, Any]:
    """Return the one mapping of plain values that stands for *schedule*: its fingerprint [R6].

    `parse` turns it back into an equal schedule, whatever the default zone is.
    """
    match schedule:
        case Manual():
            return {"type": "manual"}
        case TimesPerDay(times=times):
            return {"type": "times_per_day", "times": times}
        case DaysOfWeek(days=days):
            when: dict[str, Any] = {"type": "days_of_week", "days": [WEEKDAYS[day] for day in days]}
        case DayOfMonth(day=day):
            when = {"type": "day_of_month", "day": "last" if day == -1 else day}
        case WeekdayOfMonth(week=week, weekday=weekday):
            when = {"type": "weekday_of_month", "week": WEEK_NAMES[week], "weekday": WEEKDAYS[weekday]}
    return {**when, "time": f"{schedule.time:%H:%M}", "timezone": schedule.timezone}


def describe(schedule: Schedule) -> str:
    """Return *schedule* in plain words, such as `Monday and Friday at 01:30 (Europe/Amsterdam)`."""
    match schedule:
        case Manual():
            return "only when asked for"
        case TimesPerDay(times=1):
            return "once per day"
        case TimesPerDay(times=times):
            return f"{times} times per day"
        case DaysOfWeek(days=days):
            when = "every day" if len(days) == 7 else _listed([WEEKDAYS[day].capitalize() for day in days], "and")
        case DayOfMonth(day=-1):
            when = "the last day of each month"
        case DayOfMonth(day=day):
            when = f"day {day} of each month{' that has one' if day > 28 else ''}"
        case WeekdayOfMonth(week=week, weekday=weekday):
            when = f"the {WEEK_NAMES[week]} {WEEKDAYS[weekday].capitalize()} of each month"
            when += " that has one" if week == 5 else ""
    return f"{when} at {schedule.time:%H:%M} ({schedule.timezone})"


def _times(value: object) -> int:
    if type(value) is int and 1 <= value <= 1440:  # not isinstance: True is no number here
        return value
    raise ValueError(f"`times` is a whole number from 1 to 1440, not {_shown(value)}")


def _day(value: object) -> int:
    if value == "last":
        return -1
    if type(value) is int and 1 <= value <= 31:
        return value
    raise ValueError(f"`day` is a whole number from 1 to 31, or last, not {_shown(value)}")


def _days(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"`days` is a list of one or more weekdays, not {_shown(value)}")
    days = [WEEKDAYS.index(_word("days", day, WEEKDAYS)) for day in value]
    for day in days:
        if days.count(day) > 1:
            raise ValueError(f"`days` has {WEEKDAYS[day]} twice; leave one out")
    return tuple(sorted(days))


def _time(value: object) -> time:
    if isinstance(value, str) and re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", value):
        return time.fromisoformat(value)
    raise ValueError(f'`time` is quoted text from "00:00" to "23:59", such as "06:30", not {_shown(value)}')


def _timezone(value: object) -> str:
    if isinstance(value, str):
        zone.load(value)
        return value
    raise ValueError(f"`timezone` is an IANA name such as Europe/Amsterdam, not {_shown(value)}")


def _word(key: str, value: object, known: Collection[str]) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise ValueError(f"`{key}` takes {_listed(known)}, not {_shown(value)}")


def _listed(words: Collection[str], conjunction: str = "or") -> str:
    *others, last = words
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def _shown(value: object) -> str:
    """Return *value* as Python writes it, cut short: it comes from outside and may be huge or deep."""
    return reprlib.repr(value)
