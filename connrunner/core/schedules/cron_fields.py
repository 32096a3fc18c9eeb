"""The five fields of a cron line, and the values that each takes."""

from __future__ import annotations

import re

from connrunner.core.schedules.fields import DAYS, MONTHS
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CronField:
    """One of the five fields."""

    name: str
    first: int
    last: int
    takes: str
    names: tuple[str, ...] = ()  # of `first` and those that follow

    def number(self, word: str) -> int | None:
        """Return the number of *word*, a number or a name; None when the field has no such value."""
        if word in self.names:
            return self.first + self.names.index(word)
        if not re.fullmatch("[0-9]{1,4}", word) or not self.first <= int(word) <= self.last:
            return None
        return int(word)


FIELDS = (
    CronField("minute", 0, 59, "0 to 59"),
    CronField("hour", 0, 23, "0 to 23"),
    CronField("day-of-month", 1, 31, "1 to 31, L (the last day) or LW (the last weekday)"),
    CronField("month", 1, 12, "1 to 12 or JAN to DEC", tuple(month[:3].upper() for month in MONTHS)),
    CronField(
        "day-of-week",
        0,
        7,
        "0 to 7 (0 and 7 are Sunday), SUN to SAT, 5#3 (the third Friday) or 5L (the last Friday)",
        tuple(day[:3].upper() for day in (DAYS[-1], *DAYS[:-1])),
    ),
)
