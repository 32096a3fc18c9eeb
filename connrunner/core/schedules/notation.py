"""How a schedule is written: as a mapping in YAML, and in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connrunner.core.model import (
    AnchoredTimes,
    AnyOf,
    Blackout,
    Cron,
    DayOfMonth,
    DaysOfWeek,
    Manual,
    Recurrence,
    Schedule,
    ScheduleWithBlackouts,
    Single,
    TimesPerDay,
    WeekdayOfMonth,
)
from connrunner.core.schedules import blackout, cron, rrule
from connrunner.core.schedules.fields import (
    DAYS,
    WEEKDAYS,
    ScheduleError,
    abbreviate,
    locate_errors,
    parse_date,
    parse_day_of_month,
    parse_time,
    parse_times_per_day,
    parse_weekdays,
    parse_word,
)
from connrunner.core.schedules.fields import parse_timezone as zone_name
from connrunner.text.words import listed

KEYS = {  # what each type needs; every type also takes those of ANYWHERE
    "times_per_day": ("times",),
    "days_of_week": ("days", "time"),
    "day_of_month": ("day", "time"),
    "weekday_of_month": ("week", "weekday", "time"),
    "cron": ("expression",),
    "rrule": ("rule",),
    "any_of": ("schedules",),
    "manual": (),
}
OPTIONAL = {"times_per_day": ("anchor",), "rrule": ("time", "start")}
ANYWHERE = ("timezone", "blackout")
MOST = 50  # schedules among which any fires
WEEKS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
WEEK_NAMES = {number: name for name, number in WEEKS.items()}


def parse(data: Mapping[str, Any], timezone: str) -> Schedule:
    """Return the schedule that *data* says; *timezone* is the zone of all that names none.

    ScheduleError (a ValueError), with one sentence for the writer of the file and the path to the part that is wrong,
    for anything that the design does not know.
    """
    kind = _kind(data)
    if "timezone" in data:
        timezone = zone_name(data["timezone"])
    schedule: Schedule
    match kind:
        case "manual":
            schedule = Manual()
        case "any_of":
            schedule = _any_of(data["schedules"], timezone)
        case _:
            schedule = _single(kind, data, timezone)
    if "blackout" not in data:
        return schedule
    with locate_errors("blackout"):
        blackouts = blackout.parse(data["blackout"], timezone)
    return schedule if isinstance(schedule, Manual) else add_blackouts(schedule, blackouts)


def is_complete(data: Mapping[str, Any]) -> bool:
    """Return whether *data* has every key that its type needs."""
    return all(key in data for key in KEYS.get(data.get("type", ""), ("type",)))


def _kind(data: Mapping[str, Any]) -> str:
    if not isinstance(data, Mapping):
        raise ScheduleError(f"a schedule is a mapping with a `type`, not {abbreviate(data)}")
    if "type" not in data:
        raise ScheduleError(f"a schedule needs a `type`: {listed(KEYS, 'or')}")
    with locate_errors("type"):
        kind = parse_word("type", data["type"], KEYS)
    known = ("type", *KEYS[kind], *OPTIONAL.get(kind, ()), *ANYWHERE)
    for key in data:
        if key not in known:
            raise ScheduleError(
                f"unknown key {abbreviate(key)} in a schedule of type {kind}; its keys are {', '.join(known)}"
            )
    for key in KEYS[kind]:
        if key not in data:
            raise ScheduleError(f"a schedule of type {kind} needs `{key}`")
    return kind


def _single(kind: str, data: Mapping[str, Any], timezone: str) -> Single:
    match kind:
        case "times_per_day":
            times = parse_times_per_day(data["times"])
            if "anchor" not in data:
                return TimesPerDay(times=times)
            anchor = parse_time(data["anchor"], "anchor")
            return AnchoredTimes(times=times, anchor=anchor, timezone=zone_name(timezone))
        case "days_of_week":
            return DaysOfWeek(
                days=parse_weekdays(data["days"]), time=parse_time(data["time"]), timezone=zone_name(timezone)
            )
        case "day_of_month":
            at = parse_day_of_month(data["day"])
            return DayOfMonth(day=at, time=parse_time(data["time"]), timezone=zone_name(timezone))
        case "weekday_of_month":
            return WeekdayOfMonth(
                week=WEEKS[parse_word("week", data["week"], WEEKS)],
                weekday=WEEKDAYS.index(parse_word("weekday", data["weekday"], WEEKDAYS)),
                time=parse_time(data["time"]),
                timezone=zone_name(timezone),
            )
        case "cron":
            with locate_errors("expression"):
                expression = cron.canonicalize(_text("expression", data["expression"]))
            return Cron(expression=expression, timezone=zone_name(timezone))
        case _:
            return _recurrence(data, timezone)


def _recurrence(data: Mapping[str, Any], timezone: str) -> Recurrence:
    with locate_errors("time"):
        time = parse_time(data["time"]) if "time" in data else None
    with locate_errors("start"):
        start = parse_date(data["start"], "start") if "start" in data else None
    with locate_errors("rule"):
        rule = rrule.canonicalize(_text("rule", data["rule"]), start=start, at=time)
    return Recurrence(rule=rule, start=start, time=time, timezone=zone_name(timezone))


def _any_of(entries: Any, timezone: str) -> AnyOf:
    with locate_errors("schedules"):
        if not isinstance(entries, list | tuple) or not 0 < len(entries) <= MOST:
            raise ValueError(f"`schedules` is a list of 1 to {MOST} schedules, not {abbreviate(entries)}")
        found: list[Single | ScheduleWithBlackouts] = []
        for position, entry in enumerate(entries):
            with locate_errors(position):
                match parse(entry, timezone):
                    case Manual():
                        raise ValueError("manual is no schedule among others: leave it out")
                    case AnyOf(schedules=several):
                        found += several
                    case ScheduleWithBlackouts(schedule=AnyOf(schedules=several), blackouts=blackouts):
                        found += [add_blackouts(each, blackouts) for each in several]
                    case one:
                        found.append(one)
        return AnyOf(schedules=tuple(dict.fromkeys(found)))


def add_blackouts(
    schedule: Single | AnyOf | ScheduleWithBlackouts, blackouts: tuple[Blackout, ...]
) -> ScheduleWithBlackouts:
    """Return *schedule* with *blackouts* besides its own."""
    if isinstance(schedule, ScheduleWithBlackouts):
        both = tuple(dict.fromkeys((*schedule.blackouts, *blackouts)))
        return ScheduleWithBlackouts(schedule=schedule.schedule, blackouts=both)
    return ScheduleWithBlackouts(schedule=schedule, blackouts=blackouts)


def _text(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"`{key}` is text, not {abbreviate(value)}")


def as_document(schedule: Schedule) -> dict[str, Any]:
    """Return the one mapping of plain values that stands for *schedule*: its fingerprint [R6].

    `parse` turns it back into an equal schedule, whatever the default zone is.
    """
    match schedule:
        case Manual():
            return {"type": "manual"}
        case TimesPerDay(times=times):
            return {"type": "times_per_day", "times": times}
        case AnyOf(schedules=schedules):
            return {"type": "any_of", "schedules": [as_document(each) for each in schedules]}
        case ScheduleWithBlackouts(schedule=inner, blackouts=blackouts):
            return {**as_document(inner), "blackout": [blackout.as_document(each) for each in blackouts]}
        case AnchoredTimes(times=times, anchor=anchor):
            when: dict[str, Any] = {"type": "times_per_day", "times": times, "anchor": f"{anchor:%H:%M}"}
            return {**when, "timezone": schedule.timezone}
        case Cron(expression=expression):
            return {"type": "cron", "expression": expression, "timezone": schedule.timezone}
        case Recurrence(rule=rule, start=start, time=at):
            when = {"type": "rrule", "rule": rule}
            when |= {"time": f"{at:%H:%M}"} if at else {}
            when |= {"start": start.isoformat()} if start else {}
            return {**when, "timezone": schedule.timezone}
        case DaysOfWeek(days=days):
            when = {"type": "days_of_week", "days": [WEEKDAYS[day] for day in days]}
        case DayOfMonth(day=number):
            when = {"type": "day_of_month", "day": "last" if number == -1 else number}
        case WeekdayOfMonth(week=week, weekday=weekday):
            when = {"type": "weekday_of_month", "week": WEEK_NAMES[week], "weekday": WEEKDAYS[weekday]}
    return {**when, "time": f"{schedule.time:%H:%M}", "timezone": schedule.timezone}


def describe(schedule: Schedule, shared: tuple[Blackout, ...] = ()) -> str:
    """Return *schedule* in plain words, such as `Monday and Friday at 01:30 (Europe/Amsterdam)`.

    The blackouts *shared* with other schedules are left out; whoever shows several of these says them once.
    """
    match schedule:
        case Manual():
            return "only when asked for"
        case TimesPerDay(times=times):
            return _times(times)
        case AnyOf(schedules=schedules):
            return ", and ".join(describe(each, shared) for each in schedules)
        case ScheduleWithBlackouts(schedule=inner, blackouts=blackouts):
            own = [blackout.describe(each) for each in blackouts if each not in shared]
            return f"{describe(inner, shared)}, except {', '.join(own)}" if own else describe(inner, shared)
        case AnchoredTimes(times=times, anchor=anchor):
            when = f"{_times(times)}, counted from {anchor:%H:%M}"
        case Cron():
            when = _cron(schedule)
        case Recurrence():
            when = _rule(schedule)
        case DaysOfWeek(days=days, time=at):
            when = f"{_weekdays(days)} at {at:%H:%M}"
        case DayOfMonth(day=-1, time=at):
            when = f"the last day of each month at {at:%H:%M}"
        case DayOfMonth(day=number, time=at):
            when = f"day {number} of each month{' that has one' if number > 28 else ''} at {at:%H:%M}"
        case WeekdayOfMonth(week=week, weekday=weekday, time=at):
            when = f"the {WEEK_NAMES[week]} {DAYS[weekday]} of each month"
            when += f"{' that has one' if week == 5 else ''} at {at:%H:%M}"
    return f"{when} ({schedule.timezone})"


def _times(times: int) -> str:
    return "once per day" if times == 1 else f"{times} times per day"


def _weekdays(days: tuple[int, ...]) -> str:
    return "every day" if len(days) == 7 else listed(DAYS[day] for day in days)


def _cron(schedule: Cron) -> str:
    """Return when a cron line fires, by cronsim's words for it; they end with a full stop, and may name UTC."""
    return f"cron {schedule.expression}: {cron.describe(schedule.expression)}"


def _rule(schedule: Recurrence) -> str:
    rule = rrule.describe(schedule.rule, schedule.time)
    since = f", from {schedule.start.isoformat()} on" if schedule.start else ""
    last = rrule.find_last_local_time(schedule.rule, schedule.start, schedule.time, schedule.timezone)
    until = f", until {last:%Y-%m-%d}" if last else ""
    return f"{rule}{since}{until}"
