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
from typing import TYPE_CHECKING, NoReturn

from connrunner.core.schedules import cron_words
from connrunner.core.schedules.cron_fields import FIELDS
from connrunner.text.words import listed, plural

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
LONGEST = 200  # characters
CHOOSERS = ((1, 2, 3, 4), (2, 3, 4), (3, 4), (4,), (2, 3))  # for each field those that choose hours or days beside it


@lru_cache(maxsize=1024)
def canonicalize(text: str) -> str:
    """Return *text*, five fields or a word such as `@daily`, as its five fields; ValueError for anything else."""
    if len(text) > LONGEST:
        raise ValueError(f"a cron expression has at most {LONGEST} characters, not {len(text):,}")
    fields = text.upper().split()
    if len(fields) == 1 and fields[0] in WORDS:
        fields = WORDS[fields[0]].split()
    if len(fields) != len(FIELDS):
        _refuse(text, fields)
    if not _is_sound(fields):
        _explain(fields)
        raise ValueError(f"{text!r} never fires: no month of it has such a day")
    return " ".join(fields)


def check(expression: str) -> None:
    """Raise ValueError when a field of *expression* matches less than its writer can have meant.

    Such a line can be read: a state of an older version may have one.
    """
    if "/" in expression:
        from connrunner.core.schedules import cron_mistakes

        values = expression.split()
        for position, (field, value) in enumerate(zip(FIELDS, values, strict=True)):
            is_alone = all(values[other] == "*" for other in CHOOSERS[position])
            if mistake := cron_mistakes.find_lost_step(field, value, is_alone=is_alone):
                raise ValueError(mistake)


def list_doubts(expression: str) -> Iterator[str]:
    """Yield what a sound *expression* says that its writer may not have meant, and what to write."""
    from connrunner.core.schedules import cron_mistakes

    yield from cron_mistakes.find_narrow_steps(expression)
    fields = _fields(expression)
    _, _, day, _, weekday = expression.split()
    if cron_words.is_every_day(fields) and "*" not in (day[:1], weekday[:1]):
        together = f"{day} and {weekday} together mean every day, for either counts; write * "
        if not cron_words.is_every_weekday(fields):
            yield f"{together}instead of {day} to mean {listed(cron_words.list_weekdays(fields))} only"
        elif not cron_words.is_every_date(fields):
            yield f"{together}instead of {weekday} to mean {cron_words.describe_days(fields.days)} only"


def _refuse(text: str, fields: list[str]) -> NoReturn:
    """Raise ValueError about *text*, which has too many or too few *fields*."""
    from connrunner.core.schedules import cron_mistakes

    advice = cron_mistakes.find_dialect(" ".join(text.split()))
    if fields and fields[0].startswith("@"):
        known = ", ".join(word.lower() for word in WORDS)
        raise ValueError(f"unknown word {text!r}; {advice or f'the words are {known}'}")
    many = plural(len(fields), "field")
    names = ", ".join(field.name for field in FIELDS)
    raise ValueError(f"{text!r} has {many}, and a cron expression five: {names}{advice and f'; {advice}'}")


def _explain(fields: list[str]) -> None:
    """Raise ValueError about the first of *fields* that is wrong by itself."""
    from connrunner.core.schedules import cron_mistakes

    for position, (field, value) in enumerate(zip(FIELDS, fields, strict=True)):
        if not _is_sound([value if at == position else "*" for at in range(len(FIELDS))]):
            raise ValueError(cron_mistakes.explain_field(field, value))


def _is_sound(fields: list[str]) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(" ".join(fields), datetime(2024, 1, 1))  # noqa: DTZ001 - naive on purpose
    except CronSimError:
        return False
    return True


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
    """Return when *expression* fires, such as `at 06:00 on Monday through Friday`; equal words mean equal times."""
    return cron_words.describe_fields(_fields(expression))


def is_daily(expression: str) -> bool:
    """Return whether *expression* fires on every date."""
    return expression.split()[2:] == ["*", "*", "*"]
