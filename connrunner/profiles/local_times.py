"""
From the time that the clocks of a zone show to the instant, as an SQL expression.

The rules are those of `zoneinfo`, which schedules follow, too: the database's own know another year's zones. A time
that the clocks skip is no time; one that comes twice is the first one.
"""

from __future__ import annotations

from calendar import isleap
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from connrunner.core.schedules.zone import load_zone

FIRST, LAST = 1850, 2100  # the years whose changes are listed one by one; before and after them no rule changes
STEP = timedelta(days=1)  # in which no zone changes twice
NEVER = 10**9  # a second that no year has


def convert_local(local: str, zone: str) -> str:
    """Return the expression of the instant at which the clocks of *zone* show *local*, a timestamp; else NULL."""
    offsets, width = list_offsets(zone)
    begin = "date_trunc('year', t)"
    kind = f"{LAST - FIRST + 1} + 2 * (isodow({begin}) - 1) + (day({begin} + INTERVAL 59 DAY) = 29)::BIGINT"
    year = f"CASE WHEN year(t) <= {LAST} THEN greatest(year(t) - {FIRST}, 0) ELSE {kind} END"
    second = f"(epoch_us(t) - epoch_us({begin})) // 1000000"
    passed = " + ".join(f"(({offsets})[q.year + {place}] <= q.second)::BIGINT" for place in range(2, width + 1))
    offset = f"({offsets})[q.year + {width + 1} + {passed or 0}]"
    # A lambda is how an expression gets names for its parts, which would be worked out at each mention else.
    parts = f"{{local: epoch_us(t), year: ({year}) * {2 * width}, second: {second}}}"
    named = f"list_transform([{local}], lambda t: {parts})"
    return f"list_transform({named}, lambda q: make_timestamptz(q.local - 1000000 * {offset}))[1]"


@cache
def list_offsets(zone: str) -> tuple[str, int]:
    """
    Return a list of years, as SQL, and how many places each has: seconds of the year, then as many offsets.

    Each offset, in seconds, holds from its second on; it is NULL while the clocks skip. After the years one by one come
    the 14 kinds of years that there are, by the weekday of their first day and whether they are leap years: what is a
    rule for ever depends on nothing else.
    """
    changes = _find_changes(load_zone(zone), datetime(FIRST - 1, 12, 1), datetime(LAST + 40, 2, 1))
    kinds = {(datetime(year, 1, 1).weekday(), isleap(year)): year for year in range(LAST + 1, LAST + 40)}
    numbers = [*range(FIRST, LAST + 1), *(kinds[day, leap] for day in range(7) for leap in (False, True))]
    years = [_describe_year(year, changes) for year in numbers]
    width = max(map(len, years))
    cells: list[int | None] = []
    for year in years:
        places = year + [(NEVER, None)] * (width - len(year))
        cells += [second for second, _ in places] + [offset for _, offset in places]
    return f"[{', '.join('NULL' if cell is None else str(cell) for cell in cells)}]::BIGINT[]", width


def _describe_year(year: int, changes: list[tuple[datetime, int | None]]) -> list[tuple[int, int | None]]:
    begin = datetime(year, 1, 1)
    before = [offset for local, offset in changes if local <= begin][-1]
    within = [(local, offset) for local, offset in changes if begin < local < datetime(year + 1, 1, 1)]
    return [(_seconds(local - begin), offset) for local, offset in [(begin, before), *within]]


def _seconds(length: timedelta) -> int:
    return length // timedelta(seconds=1)


def _find_changes(zone: ZoneInfo, start: datetime, end: datetime) -> list[tuple[datetime, int | None]]:
    """Return from which local time on which offset holds, in order; None while the clocks skip."""
    at = start
    offset = _offset(zone, at)
    found: list[tuple[datetime, int | None]] = [(datetime.min, _seconds(offset))]
    while at < end:
        at += STEP
        if (new := _offset(zone, at)) != offset:
            moment = _find_moment(zone, at - STEP, at)
            if new > offset:
                found += [(moment + offset, None), (moment + new, _seconds(new))]
            else:
                # What the clocks show twice is the first one: the old offset holds to its end.
                found.append((moment + offset, _seconds(new)))
            offset = new
    return found


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    """Return the offset at the instant *at*, a time of UTC."""
    return at.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()


def _find_moment(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the first second that has the offset of *after*."""
    offset = _offset(zone, after)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=_seconds(after - before) // 2)
        if _offset(zone, middle) == offset:
            after = middle
        else:
            before = middle
    return after
