"""What a writer of a cron line meant who wrote what none of its fields takes, and how that is written here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from connrunner.core.schedules.cron_fields import FIELDS, CronField
from connrunner.core.schedules.fields import DAYS
from connrunner.text.words import nearest, plural

_RANGE = re.compile("([A-Z0-9]+)-([A-Z0-9]+)(?:/([0-9]+))?")
_DAY = 1440  # minutes
_ONE_BY_ONE = "write its times one by one"


def find_dialect(text: str) -> str:
    """Return what to write in the place of *text*, which is no line of five fields; empty when nobody knows."""
    if every := re.fullmatch("@every +((?:[0-9]+[hms])+)", text, re.IGNORECASE):
        return _every(every[1])
    if zone := re.fullmatch("(?:CRON_)?TZ=([^ ]+) +(.+)", text, re.IGNORECASE):
        return f"write {zone[2]} here, and `timezone: {zone[1]}` beside it"
    wrapped = re.fullmatch(r"cron\((.*)\)", text, re.IGNORECASE)
    fields = (wrapped[1] if wrapped else text).split()
    if wrapped and len(fields) == len(FIELDS) + 1:
        return f"write {_plain(fields[:5])}"
    if len(fields) in (len(FIELDS) + 1, len(FIELDS) + 2) and fields[0] == "0":
        return f"seconds and years have none; write {_plain(fields[1:6])}"
    return "seconds and years have none" if len(fields) > len(FIELDS) else ""


def _plain(fields: list[str]) -> str:
    return " ".join("*" if field == "?" else field for field in fields)


def _every(duration: str) -> str:
    units = {"h": 60, "m": 1, "s": 1 / 60}
    parts = re.findall("([0-9]{1,6})([hms])", duration.lower())
    return _evenly(sum(int(many) * units[unit] for many, unit in parts))


def explain_field(field: CronField, value: str) -> str:
    """Return why *value* is not what *field* takes, and what to write."""
    finders = (_no_value, _foreign_sign, _backwards, _step_of_none, _last_of_name, _midnight)
    for term in value.split(","):
        for find in finders:
            if found := find(field, term):
                return found
    return _misspelt(field, value) or f"{value!r} is no {field.name}; it takes {field.takes}, lists, ranges and steps"


def find_lost_step(field: CronField, value: str, *, is_alone: bool) -> str:
    """Return why a step in the sound *value* has no effect but to leave one value alone; empty when none is so.

    *is_alone* says that no other field chooses hours or days: a schedule of another type would not know of those.
    """
    for term in value.split(","):
        base, _, step = term.partition("/")
        if step and base in ("L", "LW"):
            return f"{term!r} has a step, and {base} is one day; write {base}"
        if step and int(step) > field.last and field.number(base) != field.last:
            beyond = f"{term!r} has a step beyond the {field.name} ({field.first} to {field.last})"
            is_whole = int(step) == field.last + 1 and field.first == 0  # once an hour, once a day
            instead = _INSTEAD[field.name](int(step)) if is_alone or is_whole else _ONE_BY_ONE
            return f"{beyond}, so that one alone would match; {instead}"
    return ""


def find_narrow_steps(expression: str) -> Iterator[str]:
    """Yield the terms of a sound *expression* whose step leaves one value of a range alone, in words."""
    for field, value in zip(FIELDS, expression.split(), strict=True):
        for term in value.split(","):
            base, _, step = term.partition("/")
            first, dash, last = base.partition("-")
            start = field.number(first)
            stop = field.number(last) if dash else field.last
            if step and start is not None and stop is not None and start < stop < start + int(step):
                yield f"{term} of the {field.name} is {first} alone, for its step leaps over the others"


# --- one by one ------------------------------------------------------------------------------------------------------


def _no_value(field: CronField, term: str) -> str:
    if not term:
        return f"a value is missing beside a comma in the {field.name}; write it, or leave the comma out"
    if term.endswith("/"):
        return f"{term!r} lacks its step in the {field.name}; write a number behind the /, or leave the / out"
    return ""


def _foreign_sign(field: CronField, term: str) -> str:
    """Return what the signs of Quartz, Jenkins and others mean."""
    if term == "?":
        return f"'?' is a sign of Quartz, and no {field.name}; write *"
    if re.fullmatch(r"H(\(.*\))?(/[0-9]+)?", term):
        return (
            f"{term!r} is a sign of Jenkins, and no {field.name}; write a number, "
            f"or a schedule of type times_per_day, which spreads by itself"
        )
    if field.name == "day-of-month" and (near := re.fullmatch("([0-9]{1,2})W", term)):
        days = ",".join(day[:2].upper() for day in DAYS[:5])
        first = f"; the first weekday of the month is FREQ=MONTHLY;BYDAY={days};BYSETPOS=1 of type rrule"
        return (
            f"{term!r}, the weekday nearest to a day, is no {field.name}; "
            f"LW is the last weekday of the month{first if int(near[1]) == 1 else ''}"
        )
    if field.name == "day-of-month" and (before := re.fullmatch("L-([0-9]{1,2})", term)):
        return (
            f"{term!r}, a day before the last, is no {field.name}; "
            f"write a schedule of type rrule: FREQ=MONTHLY;BYMONTHDAY=-{int(before[1]) + 1}"
        )
    return ""


def _backwards(field: CronField, term: str) -> str:
    found = _RANGE.fullmatch(term)
    if not found:
        return ""
    start, stop = field.number(found[1]), field.number(found[2])
    if start is None or stop is None or start <= stop:
        return ""
    upwards = _round_the_end(field, found[1], found[2], found[3])
    return f"{term!r} runs backwards, and ranges go upwards; write {upwards}"


def _round_the_end(field: CronField, first: str, last: str, step: str | None) -> str:
    """Return how a range over the end of *field* is written: `FRI-SAT,SUN-MON`, `22-23,0-2`."""
    start, stop = field.number(first), field.number(last)
    assert start is not None
    assert stop is not None
    named = first in field.names or last in field.names
    if named and field.name == "day-of-week":
        start, stop = start % 7, stop % 7
    end = 6 if named and field.name == "day-of-week" else field.last
    begin = 1 if not named and field.name == "day-of-week" else field.first  # 7 was Sunday
    if step and int(step) > 0:
        return ",".join(map(str, sorted([*range(start, end + 1), *range(begin, stop + 1)][:: int(step)])))

    def part(low: int, high: int) -> str:
        show = (lambda number: field.names[number - field.first]) if named else str
        return show(low) if low == high else f"{show(low)}-{show(high)}"

    return f"{part(start, end)},{part(begin, stop)}" if begin <= stop else part(start, end)


def _step_of_none(field: CronField, term: str) -> str:
    return f"{term!r} has a step of 0 in the {field.name}; a step is 1 or more" if re.fullmatch(".+/0+", term) else ""


def _midnight(field: CronField, term: str) -> str:
    return f"{term!r} is no hour; write 0 for midnight" if field.name == "hour" and term == "24" else ""


def _last_of_name(field: CronField, term: str) -> str:
    if field.name == "day-of-week" and term[-1:] == "L" and term[:-1] in field.names:
        return f"{term!r} is no {field.name}; write {field.number(term[:-1])}L for the last one of the month"
    return ""


def _misspelt(field: CronField, value: str) -> str:
    meant = value
    for word in re.findall("[A-Z]{2,}", value):
        near = nearest(word, field.names, cutoff=0.3)
        if near and near != word:
            meant = meant.replace(word, near)
    return f"{value!r} is no {field.name}; did you mean {meant}?" if meant != value else ""


# --- what to write instead of a long step ----------------------------------------------------------------------------


def _evenly(minutes: float) -> str:
    """Return how to run once in so many *minutes*, whatever the hour."""
    if minutes < 1:
        return "a schedule fires at most once a minute; write * * * * *"
    if minutes > _DAY:
        return _in_rule("DAILY", round(minutes / _DAY)) if minutes % _DAY == 0 else _never_so("minute", round(minutes))
    times = round(_DAY / minutes)
    nearest_one = "" if times * minutes == _DAY else f" comes nearest, once in {_DAY / times:.4g} minutes"
    schedule = f"{{type: times_per_day, times: {times}}}"
    return f"{schedule}{nearest_one}" if nearest_one else f"write {schedule}"


def _never_so(noun: str, count: int) -> str:
    return f"no schedule repeats every {plural(count, noun)}; {_ONE_BY_ONE}, or another rhythm"


def _in_rule(frequency: str, interval: int) -> str:
    return f"write a schedule of type rrule with `rule: FREQ={frequency};INTERVAL={interval}` and its `start`"


def _minutes(step: int) -> str:
    return "write 0 for once an hour" if step == 60 else _evenly(step)


def _hours(step: int) -> str:
    if step == 24:
        return "write 0 for once a day"
    if step % 24 == 0:
        return _in_rule("DAILY", step // 24)
    return _never_so("hour", step)


_INSTEAD: dict[str, Callable[[int], str]] = {
    "minute": _minutes,
    "hour": _hours,
    "day-of-month": lambda step: _in_rule("DAILY", step),
    "month": lambda step: _in_rule("MONTHLY", step),
    "day-of-week": lambda step: _in_rule("DAILY", step),
}
