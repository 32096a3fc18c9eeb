"""Single values of a schedule as YAML writes them: times, dates, weekdays, zones."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, time

from connrunner.core.schedules import zone
from connrunner.text.words import listed

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")  # datetime's order
MONTHS = tuple("January February March April May June July August September October November December".split())
DAYS = tuple(day.capitalize() for day in WEEKDAYS)  # as people read them; the host's language is not theirs

Path = tuple[str | int, ...]


class ScheduleError(ValueError):
    """A schedule is not sound: one sentence for the writer of the file, and the *path* to the part that is wrong."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path


@contextmanager
def locate_errors(*path: str | int) -> Iterator[None]:
    """Let every ValueError inside be about the part at *path*."""
    try:
        yield
    except ScheduleError as error:
        raise ScheduleError(str(error), (*path, *error.path)) from None
    except ValueError as error:
        raise ScheduleError(str(error), path) from None


def parse_times_per_day(value: object) -> int:
    if type(value) is int and 1 <= value <= 1440:  # not isinstance: True is no number here
        return value
    raise ValueError(f"`times` is a whole number from 1 to 1440, not {abbreviate(value)}")


def parse_day_of_month(value: object) -> int:
    if value == "last":
        return -1
    if type(value) is int and 1 <= value <= 31:
        return value
    raise ValueError(f"`day` is a whole number from 1 to 31, or last, not {abbreviate(value)}")


def parse_weekdays(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"`days` is a list of one or more weekdays, not {abbreviate(value)}")
    days = [WEEKDAYS.index(parse_word("days", day, WEEKDAYS)) for day in value]
    for day in days:
        if days.count(day) > 1:
            raise ValueError(f"`days` has {WEEKDAYS[day]} twice; leave one out")
    return tuple(sorted(days))


def parse_time(value: object, key: str = "time") -> time:
    if isinstance(value, str) and re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", value):
        return time.fromisoformat(value)
    raise ValueError(f'`{key}` is quoted text from "00:00" to "23:59", such as "06:30", not {abbreviate(value)}')


def parse_date(value: object, key: str) -> date:
    if isinstance(value, str) and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"`{key}` names a date that does not exist: {value}") from None
    raise ValueError(f'`{key}` is a quoted date such as "2026-12-25", not {abbreviate(value)}')


def parse_timezone(value: object) -> str:
    if isinstance(value, str):
        zone.load_zone(value)
        return value
    raise ValueError(f"`timezone` is an IANA name such as Europe/Amsterdam, not {abbreviate(value)}")


def parse_word(key: str, value: object, known: Collection[str]) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise ValueError(f"`{key}` takes {listed(known, 'or')}, not {abbreviate(value)}")


def abbreviate(value: object) -> str:
    """Return *value* as Python writes it, cut short: it comes from outside and may be huge or deep."""
    return reprlib.repr(value)
