"""What a cron line says, in words that no line with other times shares.

The words are made from the minutes, hours and days that a line means, not from how it is written: `1-31` is every day,
as `*` is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import time
from itertools import pairwise, product
from typing import TYPE_CHECKING

from connrunner.core.schedules.fields import DAYS, MONTHS
from connrunner.text.words import listed, ordinal

if TYPE_CHECKING:
    from cronsim import CronSim

LAST_DAY, LAST_WEEKDAY = -1000, -1001  # how cronsim notes L and LW
MOST_TIMES = 6  # that are named one by one
SHORTEST_STRIDE = 3  # numbers from which on they are said as a step

_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1000: "last"}


def describe_fields(fields: CronSim) -> str:
    """Return when a line fires that cronsim has read: `at 06:00 on Monday through Friday`."""
    times, dates = describe_times(fields.minutes, fields.hours), _dates(fields)
    return times if dates == "every day" and len(fields.hours) == 24 else f"{times} {dates}"


def describe_times(minutes: Iterable[int], hours: Iterable[int]) -> str:
    """Return the times of a day that have one of *minutes* and one of *hours*: `at 06:00`, `every 5 minutes`."""
    minute, hour = sorted(set(minutes)), sorted(set(hours))
    if len(minute) * len(hour) <= MOST_TIMES:
        return f"at {listed(f'{time(at, past):%H:%M}' for at, past in product(hour, minute))}"
    every_hour = len(hour) == 24
    step = _divides(minute, 60)
    when = f"every {step} minutes" if step else f"at {_numbers('minute', minute)}"
    if step == 1:
        when = "every minute"
    if every_hour:
        return when if step else f"{when} of every hour"
    if step := _divides(hour, 24):
        return f"{when} of every {ordinal(step)} hour from 0 on"
    return f"{when} of {_numbers('hour', hour)}"


def weekday_runs(days: Iterable[int]) -> list[str]:
    """Return *days* of the week (0 is Monday), with `through` between those that follow each other."""
    return _runs(sorted(set(days)), lambda day: DAYS[day])


def is_every_day(fields: CronSim) -> bool:
    """Return whether a line fires on every day of its months."""
    return (is_every_date(fields) and is_every_weekday(fields)) or (not fields.day_and and _one_is_full(fields))


def _one_is_full(fields: CronSim) -> bool:
    return is_every_date(fields) or is_every_weekday(fields)


def is_every_date(fields: CronSim) -> bool:
    return {*range(1, 32)} <= set(fields.days)


def is_every_weekday(fields: CronSim) -> bool:
    return len(_plain_weekdays(fields)) == 7


def _plain_weekdays(fields: CronSim) -> set[int]:
    """Return the weekdays of a line that count in every week; 0 is Monday."""
    return {(day - 1) % 7 for day in fields.weekdays if isinstance(day, int)}


# --- days ----------------------------------------------------------------------------------------------------------


def _dates(fields: CronSim) -> str:
    months = sorted(fields.months)
    within = "" if len(months) == 12 else f" in {listed(_runs(months, lambda month: MONTHS[month - 1]))}"
    if is_every_day(fields):
        return f"every day{within}"
    if is_every_weekday(fields):
        return f"on {describe_days(fields.days)}{within}"
    weekdays = list_weekdays(fields)
    if is_every_date(fields):
        return f"on {listed(weekdays)}{within}"
    if fields.day_and:
        return f"on {listed(weekdays)}{within}, but only on {describe_days(fields.days)}"
    each = [day if " " in day else f"every {day}" for day in weekdays]
    return f"on {describe_days(fields.days)}{within}, and also on {listed(each)}{within}"


def describe_days(days: Iterable[int]) -> str:
    """Return *days* of the month: `the 1st, the 10th through the 15th and the last day of the month`."""
    numbers = sorted(day for day in days if day > 0)
    stride = _stride(numbers)
    if stride is not None:
        said = [f"every {ordinal(stride)} day from the {ordinal(numbers[0])} through the {ordinal(numbers[-1])}"]
    else:
        said = _runs(numbers, lambda day: f"the {ordinal(day)}")
    said += ["the last day"] if LAST_DAY in days else []
    said += ["the last day from Monday to Friday"] if LAST_WEEKDAY in days else []
    return f"{listed(said)} of the month"


def list_weekdays(fields: CronSim) -> list[str]:
    """Return the days of the week of a line, such as `Monday through Friday` and `the last Sunday of the month`."""
    plain = _plain_weekdays(fields)
    counted = {((day[0] - 1) % 7, day[1]) for day in fields.weekdays if not isinstance(day, int)}
    order = list(_NTH)
    some = sorted((day for day in counted if day[0] not in plain), key=lambda day: (order.index(day[1]), day[0]))
    return [*weekday_runs(plain), *(f"the {_NTH[number]} {DAYS[day]} of the month" for day, number in some)]


# --- numbers -------------------------------------------------------------------------------------------------------


def _divides(numbers: Sequence[int], size: int) -> int | None:
    """Return the step when *numbers* are several, those from 0 on, so far apart, all round the clock; else None."""
    step = size // len(numbers)
    return step if len(numbers) > 1 and list(numbers) == list(range(0, size, step)) and size % step == 0 else None


def _stride(numbers: Sequence[int]) -> int | None:
    """Return how far apart *numbers* are, when there are several and that is always the same, and not 1."""
    apart = {later - earlier for earlier, later in pairwise(numbers)}
    return apart.pop() if len(numbers) >= SHORTEST_STRIDE and len(apart) == 1 and apart != {1} else None


def _numbers(noun: str, numbers: Sequence[int]) -> str:
    stride = _stride(numbers)
    if stride is not None:
        return f"every {ordinal(stride)} {noun} from {numbers[0]} through {numbers[-1]}"
    return f"{noun if len(numbers) == 1 else noun + 's'} {listed(_runs(numbers, str))}"


def _runs(numbers: Sequence[int], name: Callable[[int], str]) -> list[str]:
    """Return the names of the ascending *numbers*, with `through` for three or more that follow each other."""
    said: list[str] = []
    start = 0
    for end in range(1, len(numbers) + 1):
        if end < len(numbers) and numbers[end] == numbers[end - 1] + 1:
            continue
        run = numbers[start:end]
        said += [f"{name(run[0])} through {name(run[-1])}"] if len(run) > 2 else [name(one) for one in run]
        start = end
    return said
