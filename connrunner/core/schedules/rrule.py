"""What a recurrence rule (RFC 5545, 3.3.10) means: on which dates, at which times of day.

A rule repeats days, weeks, months or years; dateutil finds the dates, on naive dates only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

from connrunner.core.schedules import zone
from connrunner.core.schedules.cron_words import describe_times
from connrunner.core.schedules.fields import DAYS, MONTHS
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.words import listed, nearest, ordinal

DAY = timedelta(days=1)
WEEKDAYS = tuple(day[:2].upper() for day in DAYS)  # MO to SU
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")
TOO_OFTEN = ("HOURLY", "MINUTELY", "SECONDLY")
NUMBERS = {  # part -> smallest, largest, and whether it may count from the end
    "BYMONTH": (1, 12, False),
    "BYWEEKNO": (1, 53, True),
    "BYYEARDAY": (1, 366, True),
    "BYMONTHDAY": (1, 31, True),
    "BYHOUR": (0, 23, False),
    "BYMINUTE": (0, 59, False),
    "BYSETPOS": (1, 366, True),
}
PARTS = (
    *("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYMONTH", "BYWEEKNO", "BYYEARDAY", "BYMONTHDAY", "BYDAY"),
    *("BYHOUR", "BYMINUTE", "BYSETPOS"),
)
MAX_INTERVAL = 1000
MAX_COUNT = 10_000
LONGEST = 500  # characters
CYCLE = 400  # years after which dates and weekdays repeat
SPARSE = {"YEARLY": 4, "MONTHLY": 48, "WEEKLY": 200, "DAILY": 50}  # intervals above these leave few periods to look at


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """The parts of a rule."""

    frequency: str
    interval: int = 1
    count: int | None = None
    until: date | datetime | None = None  # a whole local date, or an instant in UTC
    week_start: int = 0  # 0 is Monday
    weekdays: tuple[tuple[int, int], ...] = ()  # weekday and which of them; 0 is each
    numbers: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def says(self, *parts: str) -> bool:
        return any(part in self.numbers or (part == "BYDAY" and self.weekdays) for part in parts)


@lru_cache(maxsize=1024)
def canonicalize(text: str, *, start: date | None, at: time | None) -> str:
    """Return the rule *text* with its parts in one order; ValueError when it is none.

    *start* is its DTSTART, *at* the time of day of a rule without BYHOUR.
    """
    parts = _parts(text)
    rule = _rule(parts)
    _check(rule, start, at)
    return ";".join(f"{name}={parts[name]}" for name in PARTS if name in parts)


def _parts(text: str) -> dict[str, str]:
    if len(text) > LONGEST:
        raise ValueError(f"a rule has at most {LONGEST} characters, not {len(text):,}")
    if "\n" in text or "DTSTART" in text.upper():
        raise ValueError("write the RRULE alone; `start` is its DTSTART, and a blackout its EXDATE")
    parts: dict[str, str] = {}
    for part in text.upper().removeprefix("RRULE:").strip(" ;").split(";"):
        name, equals, value = part.strip().partition("=")
        if not equals or not value:
            raise ValueError(f"{part!r} is no part of a rule; write it like FREQ=MONTHLY;BYDAY=2TU")
        if name not in PARTS:
            hint = " to fire at certain seconds is not possible" if name == "BYSECOND" else _near(name, PARTS)
            raise ValueError(f"unknown part {name!r};{hint}")
        if name in parts:
            raise ValueError(f"{name} stands twice; leave one out")
        parts[name] = value
    return parts


def _near(word: str, known: Collection[str]) -> str:
    meant = nearest(word, known)
    return f" did you mean {meant}?" if meant else f" known: {', '.join(known)}"


def _rule(parts: dict[str, str]) -> Rule:
    frequency = parts.get("FREQ")
    if frequency is None:
        raise ValueError("a rule begins with FREQ=, like FREQ=MONTHLY;BYDAY=2TU")
    if frequency in TOO_OFTEN:
        hint = "use BYHOUR and BYMINUTE of a DAILY one, or a schedule of type times_per_day or cron"
        raise ValueError(f"a {frequency} rule is not possible; {hint}")
    if frequency not in FREQUENCIES:
        raise ValueError(f"unknown FREQ {frequency!r};{_near(frequency, FREQUENCIES)}")
    return Rule(
        frequency=frequency,
        interval=_number("INTERVAL", parts.get("INTERVAL", "1"), 1, MAX_INTERVAL),
        count=_number("COUNT", parts["COUNT"], 1, MAX_COUNT) if "COUNT" in parts else None,
        until=_until(parts["UNTIL"]) if "UNTIL" in parts else None,
        week_start=_weekday("WKST", parts.get("WKST", "MO"))[0],
        weekdays=tuple(_weekday("BYDAY", word) for word in parts["BYDAY"].split(",")) if "BYDAY" in parts else (),
        numbers={
            name: tuple(sorted({_number(name, one, *NUMBERS[name]) for one in parts[name].split(",")}))
            for name in NUMBERS
            if name in parts
        },
    )


def _number(name: str, text: str, least: int, most: int, signed: bool = False) -> int:
    digits = text.removeprefix("-").removeprefix("+") if signed else text
    if digits.isascii() and digits.isdigit() and len(digits) < 7 and least <= int(digits) <= most:
        return int(text)
    backwards = f", or -{most} to -{least}" if signed else ""
    raise ValueError(f"{name} takes {least} to {most}{backwards}, not {text!r:.40}")


def _weekday(name: str, text: str) -> tuple[int, int]:
    number, day = text[:-2], text[-2:]
    if day not in WEEKDAYS or (number and name == "WKST"):
        raise ValueError(f"{name} takes {', '.join(WEEKDAYS)}, not {text!r:.40}")
    return WEEKDAYS.index(day), _number("the number of a weekday", number, 1, 53, signed=True) if number else 0


def _until(text: str) -> date | datetime:
    try:
        if len(text) == 8:
            return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a date
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        advice = "write a date like 20271231, or an instant in UTC like 20271231T225959Z"
        raise ValueError(f"UNTIL takes no {text!r:.40}; {advice}") from None


FREQUENCIES_OF = {  # part -> the frequencies that it goes with
    "BYWEEKNO": ("YEARLY",),
    "BYYEARDAY": ("YEARLY",),
    "BYMONTHDAY": ("YEARLY", "MONTHLY", "DAILY"),
}


def _check(rule: Rule, start: date | None, at: time | None) -> None:
    """Raise ValueError for parts that RFC 5545 lets not stand together, and for what is missing."""
    if rule.count is not None and rule.until is not None:
        raise ValueError("COUNT and UNTIL cannot stand together; leave one out")
    for part, fits in FREQUENCIES_OF.items():
        if rule.says(part) and rule.frequency not in fits:
            raise ValueError(f"{part} does not go with FREQ={rule.frequency}, only with {' or '.join(fits)}")
    _check_weekdays(rule)
    _check_times(rule, at)
    if start is None:
        _check_startless(rule)


def _check_weekdays(rule: Rule) -> None:
    numbered = [number for _, number in rule.weekdays if number]
    if numbered and (rule.frequency not in ("MONTHLY", "YEARLY") or rule.says("BYWEEKNO")):
        raise ValueError("a weekday with a number, like 2TU, goes with FREQ=MONTHLY or YEARLY, without BYWEEKNO")
    if any(abs(number) > 5 for number in numbered) and (rule.frequency == "MONTHLY" or rule.says("BYMONTH")):
        raise ValueError("a month has at most five of each weekday")
    if rule.says("BYWEEKNO") and not rule.weekdays:
        raise ValueError("BYWEEKNO needs BYDAY beside it")
    if rule.says("BYSETPOS") and not rule.says("BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYMONTH", "BYWEEKNO"):
        raise ValueError("BYSETPOS needs a part that it can choose from, like BYDAY")


def _check_times(rule: Rule, at: time | None) -> None:
    if not rule.says("BYHOUR") and at is None:
        raise ValueError('a rule without BYHOUR needs `time`, like `time: "06:30"`')
    if rule.says("BYSETPOS") and len(_times(rule, at)) > 1:
        raise ValueError("BYSETPOS does not go with several times a day")


def _check_startless(rule: Rule) -> None:
    implied = {
        "WEEKLY": ("BYDAY",),
        "MONTHLY": ("BYDAY", "BYMONTHDAY"),
        "YEARLY": ("BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"),
    }
    if rule.interval > 1:
        why = f"INTERVAL={rule.interval} counts from a first date"
    elif rule.count is not None:
        why = "COUNT counts from a first date"
    elif rule.frequency in implied and not rule.says(*implied[rule.frequency]):
        why = f"FREQ={rule.frequency} without {' or '.join(implied[rule.frequency])} takes the day of its first date"
    else:
        return
    raise ValueError(f'{why}; add it, like `start: "2026-11-23"`')


# --- what it means -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _read(text: str) -> Rule:
    return _rule(_parts(text))


@lru_cache(maxsize=1024)
def times_of(text: str, at: time | None) -> tuple[time, ...]:
    """Return the times of day at which the canonical rule *text* fires, ascending."""
    return _times(_read(text), at)


def _times(rule: Rule, at: time | None) -> tuple[time, ...]:
    hours = rule.numbers.get("BYHOUR", (at.hour,) if at else ())
    minutes = rule.numbers.get("BYMINUTE", (at.minute if at else 0,))
    return tuple(time(hour, minute) for hour in hours for minute in minutes)


def dates_since(text: str, start: date | None, since: date) -> Iterator[date]:
    """Yield the dates of the canonical rule *text* from *since* on, as if it had neither COUNT nor UNTIL."""
    rule = _read(text)
    since = max(since, start) if start else since
    # Periods far apart are looked at one by one until the year 9999. Of others there would be too many.
    is_sparse = rule.interval > SPARSE[rule.frequency]
    barren = 0  # years without a date
    while barren <= 3 * CYCLE:
        first = _period(rule, start or since, since)
        # dateutil gives up on a rule that never fires in the year 9999, and looks at every day until then. The calendar
        # repeats every 400 years: close to that year the answer is the same, and near. 50 years are always left, which
        # is more than one period.
        ahead = 0 if is_sparse else CYCLE * max(0, (9949 - first.year) // CYCLE)
        last = None
        for found in _search(rule, start, first.replace(year=first.year + ahead)):
            last = found.replace(year=found.year - ahead)
            if last >= since:
                yield last
        if not ahead:
            return
        if last is not None and last >= since:
            since, barren = last + DAY, 0
        else:
            end = date(9999 - ahead, 12, 31)
            since, barren = end + DAY, barren + end.year - since.year + 1


def _period(rule: Rule, start: date, since: date) -> date:
    """Return the first date of the last repeated period that begins at or before *since*."""
    n = rule.interval
    match rule.frequency:
        case "DAILY":
            return start + (since - start).days // n * n * DAY
        case "WEEKLY":
            start -= (start.weekday() - rule.week_start) % 7 * DAY
            return start + (since - start).days // (7 * n) * 7 * n * DAY
        case "MONTHLY":
            months = (since.year - start.year) * 12 + since.month - start.month
            years, month = divmod(start.month - 1 + months // n * n, 12)
            return date(start.year + years, month + 1, 1)
        case _:
            return date(start.year + (since.year - start.year) // n * n, 1, 1)


def _search(rule: Rule, start: date | None, first: date) -> Iterator[date]:
    from dateutil import rrule

    by: dict[str, Any] = {
        name.lower(): values for name, values in rule.numbers.items() if name not in ("BYHOUR", "BYMINUTE")
    }
    if rule.weekdays:
        by["byweekday"] = [rrule.weekday(day, number or None) for day, number in rule.weekdays]
    if start is not None and not rule.says("BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"):
        match rule.frequency:
            case "WEEKLY":
                by["byweekday"] = start.weekday()
            case "MONTHLY":
                by["bymonthday"] = start.day
            case "YEARLY":
                by = {"bymonth": start.month, **by, "bymonthday": start.day}
    frequency = rule.frequency
    if frequency == "DAILY" and rule.interval == 1 and rule.says("BYMONTH", "BYMONTHDAY") and not rule.says("BYSETPOS"):
        frequency = "YEARLY"  # the same dates, without a look at every day of the years that have none
    frequencies: dict[str, Literal[0, 1, 2, 3]] = {"YEARLY": 0, "MONTHLY": 1, "WEEKLY": 2, "DAILY": 3}
    found = rrule.rrule(
        frequencies[frequency],
        datetime.combine(first, time.min),
        interval=rule.interval,
        wkst=rule.week_start,
        **by,
    )
    return (each.date() for each in found)


@lru_cache(maxsize=1024)
def find_last_local_time(text: str, start: date | None, at: time | None, timezone: str) -> datetime | None:
    """Return the last local time by COUNT or UNTIL of the canonical rule *text*; None when it goes on for ever."""
    rule = _read(text)
    if isinstance(rule.until, datetime):
        return rule.until.astimezone(zone.load_zone(timezone)).replace(tzinfo=None)
    if rule.until is not None:
        return datetime.combine(rule.until, time.max)
    if rule.count is None or start is None:
        return None
    each = _times(rule, at)
    whole, rest = divmod(rule.count - 1, len(each))
    last = next(islice(dates_since(text, start, start), whole, None), None)
    return datetime.combine(last, each[rest]) if last else None


# --- in words ----------------------------------------------------------------------------------------------------

_PERIODS = {"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month", "YEARLY": "year"}


def describe(text: str, at: time | None) -> str:
    """Return when the canonical rule *text* fires, without its start and end: `every 2 weeks on Monday at 06:30`."""
    rule = _read(text)
    period = _PERIODS[rule.frequency]
    said = [f"every {period}" if rule.interval == 1 else f"every {rule.interval} {period}s"]
    if numbers := rule.numbers.get("BYMONTH"):
        said.append(f"in {listed([MONTHS[number - 1] for number in numbers])}")
    for part, noun in (("BYWEEKNO", "week"), ("BYYEARDAY", "day of the year"), ("BYMONTHDAY", "day")):
        if numbers := rule.numbers.get(part):
            said.append(f"on {listed([_counted(noun, number) for number in numbers])}")
    if rule.weekdays:
        days = [DAYS[day] if not number else f"the {_nth(number)} {DAYS[day]}" for day, number in rule.weekdays]
        said.append(f"on {listed(days)}")
    if numbers := rule.numbers.get("BYSETPOS"):
        said.append(f"(of these {listed([f'the {_nth(number)}' for number in numbers])})")
    times = _times(rule, at)
    said.append(describe_times((one.minute for one in times), (one.hour for one in times)))
    if rule.week_start:
        said.append(f"(weeks begin on {DAYS[rule.week_start]})")
    return " ".join(said)


def _counted(noun: str, number: int) -> str:
    return f"{noun} {number}" if number > 0 else f"the {_nth(number)} {noun}"


def _nth(number: int) -> str:
    name = {1: "first", 2: "second", 3: "third"}.get(abs(number)) or ordinal(abs(number))
    if number > 0:
        return name
    return "last" if number == -1 else f"{name} to last"
