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
    seconds, offsets, width = list_offsets(zone)
    begin = "date_trunc('year', t)"
    kind = f"{LAST - FIRST + 1} + 2 * (isodow({begin}) - 1) + (day({begin} + INTERVAL 59 DAY) = 29)::BIGINT"
    year = f"CASE WHEN year(t) <= {LAST} THEN greatest(year(t) - {FIRST}, 0) ELSE {kind} END"
    second = f"(epoch_us(t) - epoch_us({begin})) // 1000000"
    passed = "".join(
        f" + (({seconds})[q.year * {width - 1} + {place}] <= q.second)::BIGINT" for place in range(1, width)
    )
    offset = f"({offsets})[q.year * {width} + 1{passed}]"
    # A lambda is how an expression gets names for its parts, which would be worked out at each mention else.
    parts = f"{{local: epoch_us(t), year: {year}, second: {second}}}"
    named = f"list_transform([{local}], lambda t: {parts})"
    return f"list_transform({named}, lambda q: make_timestamptz(q.local - 1000000 * {offset}))[1]"


@cache
def list_offsets(zone: str) -> tuple[str, str, int]:
    """
    Return two lists, as SQL, and how many offsets each year has in the second one.

    The first has the seconds of a year from which its second, third... offset holds, the other one the offsets in
    seconds; they are NULL while the clocks skip. After the years one by one come the 14 kinds of years that there are,
    by the weekday of their first day and whether they are leap years: what is a rule for ever depends on nothing else.
    """
    changes = _find_changes(load_zone(zone), FIRST - 1, LAST + 30)
    kinds = {(_new_year(year).weekday(), isleap(year)): year for year in range(LAST + 1, LAST + 29)}
    numbers = [*range(FIRST, LAST + 1), *(kinds[day, leap] for day in range(7) for leap in (False, True))]
    years = [_describe_year(year, changes) for year in numbers]
    width = max(map(len, years))
    seconds: list[int | None] = []
    offsets: list[int | None] = []
    for year in years:
        places = year + [(NEVER, None)] * (width - len(year))
        seconds += [second for second, _ in places[1:]]
        offsets += [offset for _, offset in places]
    return _compose_list(seconds), _compose_list(offsets), width


def _compose_list(numbers: list[int | None]) -> str:
    return f"[{', '.join('NULL' if number is None else str(number) for number in numbers)}]::BIGINT[]"


def _describe_year(year: int, changes: list[tuple[datetime, int | None]]) -> list[tuple[int, int | None]]:
    begin, end = _new_year(year), _new_year(year + 1)
    before = [offset for local, offset in changes if local <= begin][-1]
    within = [(local, offset) for local, offset in changes if begin < local < end]
    return [(_seconds(local - begin), offset) for local, offset in [(begin, before), *within]]


def _seconds(length: timedelta) -> int:
    return length // timedelta(seconds=1)


def _new_year(year: int) -> datetime:
    """Return what the clocks show then, wherever they are."""
    return datetime(year, 1, 1)  # noqa: DTZ001


def _find_changes(zone: ZoneInfo, first: int, last: int) -> list[tuple[datetime, int | None]]:
    """Return from which local time on which offset holds, in order, from year to year; None while the clocks skip."""
    # Clocks are asked day by day, as they show them, which is the fastest way.
    wall, end = _new_year(first).replace(tzinfo=zone), _new_year(last).replace(tzinfo=zone)
    offset = wall.utcoffset() or timedelta()
    found: list[tuple[datetime, int | None]] = [(wall.replace(tzinfo=None), _seconds(offset))]
    while wall < end:
        wall += STEP
        if (new := wall.utcoffset() or timedelta()) != offset:
            at = wall.replace(tzinfo=None)
            moment = _find_moment(zone, at - 2 * STEP - offset, at + STEP - new)
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
