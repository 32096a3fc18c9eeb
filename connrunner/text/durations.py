"""Durations as people write and read them."""

from __future__ import annotations

import re

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WRITTEN = re.compile(r"([0-9]{1,6})([smhdw])")


def parse(text: str, *, weeks: bool = False) -> int:
    """Return how many seconds `90s`, `15m`, `6h` or `2d` are, and `1w` with *weeks*; ValueError for anything else."""
    found = _WRITTEN.fullmatch(text)
    if found is None or (found[2] == "w" and not weeks):
        raise ValueError(f"{text!r} is not a duration: a whole number and s, m, h or d, like 15m")
    return int(found[1]) * (7 * SECONDS["d"] if found[2] == "w" else SECONDS[found[2]])


_UNITS = ((1, "s"), (60, "min"), (3600, "h"), (86_400, "d"))
# The larger unit, the one below it, and their seconds.
_PAIRS = (("d", "h", 86_400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1))


def in_words(seconds: float) -> str:
    """Return a measured duration in its two largest units: 0.4 s, 12 s, 3 min 05 s, 1 h 02 min, 2 d 03 h.

    The one form for tables, sentences, mails and pages. What is less than nothing, by a clock that went back, is none.
    """
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for large, small, size, part in _PAIRS:
        if whole >= size:
            return f"{whole // size} {large} {whole % size // part:02} {small}"
    return f"{whole} s"


def at_a_glance(seconds: float) -> str:
    """Return how far away something is: 10 s, 12 min, 5 h 46 min, and from 48 hours on 3 days."""
    whole = round(abs(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} days"


def roughly(seconds: float) -> str:
    """Return how long ago, in the largest unit of which there are two, rounded down: 90 s, 59 min, 47 h, 3 days."""
    whole = max(0, int(seconds))
    size, unit = next((pair for pair in reversed(_UNITS) if whole >= 2 * pair[0]), _UNITS[0])
    return f"{whole // size:,} {'days' if unit == 'd' else unit}"


def exactly(seconds: int) -> str:
    """Return a duration that somebody wrote, in the largest unit that leaves nothing over: 90 s, 15 min, 6 h, 2 d."""
    size, unit = next(pair for pair in reversed(_UNITS) if seconds % pair[0] == 0)
    return f"{seconds // size} {unit}"


def in_minutes(seconds: float) -> str:
    """Return durations that a reader compares in one unit: 2 min, 1,440 min; below two minutes as `in_words`."""
    return f"{round(seconds / 60):,} min" if seconds >= 120 else in_words(seconds)


def as_clock(microseconds: int) -> str:
    """Return a duration of data in the one spelling that it has, whatever its source: [-]HH:MM:SS[.ffffff].

    Hours have no end: a day and a half is 36:00:00.
    """
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{'-' if microseconds < 0 else ''}{clock}{f'.{fraction:06}' if fraction else ''}"
