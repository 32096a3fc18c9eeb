"""What a line of a crontab means: on which dates, at which times of day.

cronsim reads the fields and finds the dates, on naive dates only; what its own clock changes would do is left out, for
[R2] and [R3] hold for every schedule. A day has to fit both day fields when one of them begins with `*`, and either of
them when none does, as in Debian's cron.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from connrunner.core.schedules.fields import DAYS
from connrunner.text.words import nearest, plural

if TYPE_CHECKING:
    from cronsim import CronSim

WORDS = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}
FIELDS = {  # what each takes
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L (the last day) or LW (the last weekday)",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 (0 and 7 are Sunday), SUN to SAT, 5#3 (the third Friday) or 5L (the last Friday)",
}
NAMES = {
    "month": "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(),
    "day-of-week": [day[:3].upper() for day in (DAYS[-1], *DAYS[:-1])],  # SUN to SAT,
}
LONGEST = 200  # characters


@lru_cache(maxsize=1024)
def canonicalize(text: str) -> str:
    """Return *text*, five fields or a word such as `@daily`, as its five fields; ValueError for anything else."""
    if len(text) > LONGEST:
        raise ValueError(f"a cron expression has at most {LONGEST} characters, not {len(text):,}")
    fields = text.upper().split()
    if len(fields) == 1 and fields[0].startswith("@"):
        if fields[0] not in WORDS:
            known = ", ".join(word.lower() for word in WORDS)
            raise ValueError(f"unknown word {text!r}; the words are {known}")
        fields = WORDS[fields[0]].split()
    if len(fields) != len(FIELDS):
        many = plural(len(fields), "field")
        extra = "; seconds and years have none" if len(fields) > len(FIELDS) else ""
        raise ValueError(f"{text!r} has {many}, and a cron expression five: {', '.join(FIELDS)}{extra}")
    if not _is_sound(fields):
        _explain(fields)
        raise ValueError(f"{text!r} never fires: no month of it has such a day")
    return " ".join(fields)


def _explain(fields: list[str]) -> None:
    """Raise ValueError about the first of *fields* that is wrong by itself."""
    for position, (name, takes) in enumerate(FIELDS.items()):
        if not _is_sound([field if at == position else "*" for at, field in enumerate(fields)]):
            advice = _near(name, fields[position]) or f"it takes {takes}, lists, ranges and steps"
            raise ValueError(f"{fields[position]!r} is no {name}; {advice}")


def _is_sound(fields: list[str]) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(" ".join(fields), datetime(2024, 1, 1))  # noqa: DTZ001 - naive on purpose
    except CronSimError:
        return False
    return True


def _near(field: str, value: str) -> str:
    import re

    for word in re.findall("[A-Z]{2,}", value):
        meant = nearest(word, NAMES.get(field, ()), cutoff=0.3)
        if meant not in (None, word):
            return f"did you mean {meant}?"
    return ""


@lru_cache(maxsize=1024)
def _fields(expression: str) -> CronSim:
    from cronsim import CronSim

    return CronSim(expression, datetime(2024, 1, 1))  # noqa: DTZ001


@lru_cache(maxsize=1024)
def times_of(expression: str) -> tuple[time, ...]:
    """Return the times of day at which *expression* fires, ascending."""
    fields = _fields(expression)
    return tuple(time(hour, minute) for hour, minute in product(sorted(fields.hours), sorted(fields.minutes)))


def dates_since(expression: str, since: date) -> Iterator[date]:
    """Yield the dates from *since* on; none when there is none for 50 years."""
    from cronsim import CronSim

    _, _, day, month, weekday = expression.split()
    before = datetime.combine(since, time.min) - timedelta(seconds=1)
    try:
        for found in CronSim(f"0 0 {day} {month} {weekday}", before):
            yield found.date()
    except OverflowError:  # the year 10000
        return


def describe(expression: str) -> str:
    """Return when *expression* fires, such as `at 06:00 on Monday through Friday`."""
    said = _fields(expression).explain()
    return said[0].lower() + said[1:]


def is_daily(expression: str) -> bool:
    """Return whether *expression* fires on every date."""
    return expression.split()[2:] == ["*", "*", "*"]
