"""Hours and days along a picture: wall times of the reader's zone, days with a clock change said in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from connrunner.lazy_dataclasses import dataclass
from connrunner.web.pages.lane_picture import Window
from connrunner.web.pages.moments import Moments
from connrunner.web.pages.shapes import Shape, label, vertical

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURS = (1, 2, 3, 6, 12)


@dataclass(frozen=True, slots=True)
class ClockChange:
    """An instant at which the clock of a zone jumps."""

    at: datetime
    shift: timedelta  # forward when positive


def midnight(at: datetime, zone: str, days: int = 0) -> datetime:
    """Return the beginning of the local day of *at*, or of that some *days* later, in UTC."""
    tz = ZoneInfo(zone)
    day = at.astimezone(tz).date() + timedelta(days=days)
    return datetime(day.year, day.month, day.day, tzinfo=tz).astimezone(UTC)


def find_clock_changes(start: datetime, end: datetime, zone: str) -> list[ClockChange]:
    """Return the jumps of the clock of *zone* between two instants, to the minute."""
    tz, found = ZoneInfo(zone), []

    def offset(at: datetime) -> timedelta:
        return at.astimezone(tz).utcoffset() or timedelta(0)

    at = start
    while at < end:
        behind = min(at + HOUR, end)
        if (shift := offset(behind) - offset(at)) != timedelta(0):
            low, high = at, behind
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                low, high = (low, middle) if offset(middle) != offset(low) else (middle, high)
            found.append(ClockChange((high + timedelta(seconds=30)).replace(second=0, microsecond=0), shift))
        at = behind
    return found


def iter_hours(start: datetime, end: datetime, zone: str, step: int) -> Iterator[datetime]:
    """Yield the instants between at which the clock of *zone* shows a whole multiple of *step* hours."""
    tz = ZoneInfo(zone)
    at = start.replace(minute=0, second=0, microsecond=0)
    while at < end:
        at += HOUR / 2  # zones with half hours, too
        local = at.astimezone(tz)
        if at < end and local.minute == 0 and local.hour % step == 0:
            yield at


def draw_grid(window: Window, zone: str, *, step: int) -> list[Shape]:
    """Return the lines behind a lane: hours, days, clock changes."""
    found = []
    for at in iter_hours(window.start, window.end, zone, step):
        is_day = at == midnight(at, zone)
        found.append(vertical("s-day" if is_day else "s-grid", window.x(at), 0, window.height))
    changes = find_clock_changes(window.start, window.end, zone)
    return found + [vertical("s-clock", window.x(one.at), 0, window.height) for one in changes]


def draw_axis(window: Window, moments: Moments, *, step: int, days: bool) -> list[Shape]:
    """Return the hours of *window*, with *days* also its days in words."""
    zone, now = moments.zone, window.x(moments.now)
    tz = ZoneInfo(zone)
    y = 34.0 if days else 18.0
    changes = find_clock_changes(window.start, window.end, zone)
    busy = [window.x(one.at) for one in changes] + ([now] if window.holds(moments.now) else [])
    found = []
    for at in iter_hours(window.start, window.end, zone, step):
        x = window.x(at)
        if (not days or at != midnight(at, zone)) and all(abs(x - other) > 2.2 for other in busy):
            found.append(label(at.astimezone(tz).strftime("%H" if days else "%H:%M"), x, y, anchor="middle"))
    if days:
        found += _days(window, moments)
    for one in changes:
        found.append(
            label(
                f"clock {'forward' if one.shift > timedelta(0) else 'back'}",
                window.x(one.at) - 0.4,
                y,
                style="t-clock",
                anchor="end",
            )
        )
    if window.holds(moments.now):
        found.append(label("now", now, y, style="t-now", anchor="middle"))
    return found


def _days(window: Window, moments: Moments) -> Iterator[Shape]:
    today = midnight(moments.now, moments.zone)
    begin = midnight(window.start, moments.zone)
    while begin < window.end:
        end = midnight(begin + HOUR, moments.zone, 1)
        x = window.x(begin)
        if window.x(end) - x > 6:
            word = {-1: "Yesterday, ", 0: "Today, ", 1: "Tomorrow, "}.get(round((begin - today) / DAY), "")
            hours = round((end - begin) / HOUR)
            length = f", {hours} hours" if hours != 24 else ""
            yield label(f"{word}{moments.minute(begin)[:14]}{length}", x + 0.2, 13, style="ink")
        begin = end


def choose_step(window: Window, most: int = 13) -> int:
    """Return after how many hours there is a line, so that there are *most* of them at most."""
    hours = (window.end - window.start) / HOUR
    return next((step for step in HOURS if hours / step <= most), 24)


def describe_long_days(days: Sequence[datetime], moments: Moments) -> list[str]:
    """Return which of the days that begin at *days* have not 24 hours, and why."""
    found = []
    for begin in days:
        end = midnight(begin + HOUR, moments.zone, 1)
        for one in find_clock_changes(begin, end, moments.zone):
            before = moments.minute(one.at - timedelta(minutes=1))[15:20]
            hours = round((end - begin) / HOUR, 1)
            shown = moments.minute(one.at)[15:20]
            way = "forward" if one.shift > timedelta(0) else "back"
            found.append(
                f"{moments.minute(begin)[:14]} has {hours:g} hours: after {before} the clock goes {way} to {shown}."
            )
    return found
