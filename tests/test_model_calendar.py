"""The schedules beside a walk over every minute that knows nothing but clocks and calendars.

The walk asks a zone one thing only: what its clock shows at an instant. From that it learns by itself which times are
skipped and which come twice.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connrunner.core import schedules

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

# Half hours, quarters, midnight changes, the other half of the year, a change by half an hour, none at all.
ZONES = (
    "Europe/Amsterdam America/New_York America/Santiago Australia/Lord_Howe Asia/Kathmandu Pacific/Chatham "
    "America/Nuuk Africa/Cairo Asia/Beirut Australia/Adelaide Africa/Casablanca UTC"
).split()
YEARS = range(2024, 2031)
WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
WEEKS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}


@dataclass(frozen=True)
class Walk:
    """Every minute of a stretch of UTC, with what the clock of one zone shows."""

    zone: str
    start: datetime
    minutes: int

    def wall_times(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield (instant, the wall time that it stands for): shown by the clock for the first time, or skipped by it.

        A skipped time stands at its distance behind the last one shown: 02:30 in a gap from 02:00 to 03:00 comes half
        an hour after 02:00 would have come.
        """
        zone = ZoneInfo(self.zone)
        instant = self.start - 2 * DAY
        shown = instant.astimezone(zone).replace(tzinfo=None)
        newest = shown  # every wall time up to here has had its instant
        skipped: dict[datetime, list[datetime]] = {}
        end = self.start + self.minutes * MINUTE
        while instant < end:
            for wall in (*skipped.pop(instant, ()), shown) if shown >= newest else skipped.pop(instant, ()):
                if instant >= self.start:
                    yield instant, wall
            newest = max(newest, shown + MINUTE)
            instant += MINUTE
            now = instant.astimezone(zone).replace(tzinfo=None)
            # A jump forward: the skipped minutes come at the pace of the old clock.
            behind, at = shown + MINUTE, instant
            while behind < now and now - behind <= DAY and behind >= newest:
                skipped.setdefault(at, []).append(behind)
                behind, at = behind + MINUTE, at + MINUTE
            shown = now


def matches(document: dict[str, Any], wall: datetime) -> bool:
    """Tell whether a calendar schedule names this wall time."""
    if f"{wall:%H:%M}" != document["time"]:
        return False
    last = calendar.monthrange(wall.year, wall.month)[1]
    match document["type"]:
        case "days_of_week":
            return WEEKDAYS[wall.weekday()] in document["days"]
        case "day_of_month":
            return wall.day == (last if document["day"] == "last" else document["day"])
        case _:
            if WEEKDAYS[wall.weekday()] != document["weekday"]:
                return False
            if document["week"] == "last":
                return wall.day + 7 > last
            return (wall.day - 1) // 7 + 1 == WEEKS[document["week"]]


def documents() -> list[dict[str, Any]]:
    """Return calendar schedules of every kind, at the times around which clocks change."""
    times = ("00:00", "00:30", "01:30", "01:59", "02:00", "02:15", "02:30", "02:59", "03:00", "03:30", "12:00", "23:30")
    kinds: list[dict[str, Any]] = [{"type": "days_of_week", "days": WEEKDAYS}]
    kinds += [{"type": "days_of_week", "days": ["sunday"]}, {"type": "days_of_week", "days": ["monday", "saturday"]}]
    kinds += [{"type": "day_of_month", "day": day} for day in (1, 29, 30, 31, "last")]
    kinds += [
        {"type": "weekday_of_month", "week": week, "weekday": weekday}
        for week in (*WEEKS, "last")
        for weekday in ("sunday", "friday")
    ]
    return [{**kind, "time": time} for kind in kinds for time in times]


def differences(walk: Walk) -> list[str]:
    """Return where `between` and `next_after` do not say what the walk found."""
    wanted: dict[int, set[datetime]] = {number: set() for number in range(len(DOCUMENTS))}
    by_time: dict[str, list[int]] = {}
    for number, document in enumerate(DOCUMENTS):
        by_time.setdefault(document["time"], []).append(number)
    for instant, wall in walk.wall_times():
        for number in by_time.get(f"{wall:%H:%M}", ()):
            if matches(DOCUMENTS[number], wall):
                wanted[number].add(instant)
    found = []
    end = walk.start + (walk.minutes - 1) * MINUTE
    for number, document in enumerate(DOCUMENTS):
        kind = schedules.parse({**document, "timezone": walk.zone}, "UTC")
        slots = schedules.between(kind, walk.start - MINUTE, end)
        if list(slots) != sorted(wanted[number]):
            odd = sorted(set(slots) ^ wanted[number])[:3]
            found.append(f"{walk.zone} {document}: {[f'{slot:%F %R}' for slot in odd]}")
        before = walk.start - MINUTE
        for slot in slots[:40]:
            if schedules.next_after(kind, before) != slot or schedules.next_after(kind, slot - MINUTE) != slot:
                found.append(f"{walk.zone} {document}: after {before}")
            before = slot
    return found


DOCUMENTS = documents()


def changes(zone: str) -> list[datetime]:
    """Return the day of each change of the clock in `YEARS`, found by looking at each hour."""
    info, found = ZoneInfo(zone), []
    instant = datetime(YEARS[0], 1, 1, tzinfo=UTC)
    before = instant.astimezone(info).utcoffset()
    while instant.year < YEARS[-1] + 1:
        instant += timedelta(hours=1)
        offset = instant.astimezone(info).utcoffset()
        if offset != before:
            found.append(instant.replace(hour=0))
            before = offset
    return found


def test_a_walk_through_one_change_each() -> None:
    """Spring in Amsterdam, autumn at Lord Howe, by half an hour."""
    for zone, day in (("Europe/Amsterdam", (2026, 3, 28)), ("Australia/Lord_Howe", (2026, 4, 4))):
        assert differences(Walk(zone, datetime(*day, tzinfo=UTC), 2 * 1440)) == []


def test_the_walk_finds_a_rule_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A negative control: skipped times counted with the offset after the gap."""
    real = schedules.between
    monkeypatch.setattr(
        schedules, "between", lambda *facts, **more: tuple(slot.replace(minute=0) for slot in real(*facts, **more))
    )

    assert differences(Walk("Europe/Amsterdam", datetime(2026, 3, 28, tzinfo=UTC), 2 * 1440))


@pytest.mark.long
@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_every_year(zone: str) -> None:
    """Three days around each change of the clock from 2024 to 2030."""
    for day in changes(zone):
        assert differences(Walk(zone, day - DAY, 3 * 1440)) == []


@pytest.mark.long
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("year", [2024, 2027])
def test_months_of_minutes(zone: str, year: int) -> None:
    """With the changes above, over two million minutes: 60 days from the end of January, of a leap year too."""
    assert differences(Walk(zone, datetime(year, 1, 25, tzinfo=UTC), 60 * 1440)) == []


@pytest.mark.long
@pytest.mark.parametrize("times", [1, 2, 3, 5, 7, 11, 24, 96, 1000, 1439, 1440])
def test_times_per_day_for_a_month(times: int) -> None:
    """[R4] Slot k is the first whole minute at or after k * 24 h / N."""
    since = datetime(2026, 3, 20, 11, 17, tzinfo=UTC)
    kind = schedules.parse({"type": "times_per_day", "times": times}, "UTC")
    wanted: list[datetime] = []
    number = 0
    for minute in range(30 * 1440):
        while number * 1440 <= minute * times:
            if not wanted or wanted[-1] != since + minute * MINUTE:
                wanted.append(since + minute * MINUTE)
            number += 1
    end = since + (30 * 1440 - 1) * MINUTE

    assert list(schedules.between(kind, since - MINUTE, end, on_since=since)) == wanted
