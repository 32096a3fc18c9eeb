"""Times in which nothing is due.

What counts is what the clock in the blackout's zone shows at the moment of the slot: an hour that comes twice is inside
both times. Only the ends of a span are instants, by [R2].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from connrunner.core.model import Blackout
from connrunner.core.schedules import fields, zone
from connrunner.core.schedules.fields import DAYS, WEEKDAYS, ScheduleError, abbreviate, locate_errors
from connrunner.text.words import listed

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
KEYS = ("reason", "dates", "days", "from", "to", "timezone")
MOST = 100  # of one schedule, and dates of one blackout ten times as many

_INSTANT = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}")


def parse(entries: Any, timezone: str) -> tuple[Blackout, ...]:
    """Return the blackouts of a list in YAML; *timezone* is for those that name none. ScheduleError for mistakes."""
    if not isinstance(entries, list | tuple) or not 0 < len(entries) <= MOST:
        raise ValueError(
            f"`blackout` is a list of 1 to {MOST} entries like {{dates: [...]}}, not {abbreviate(entries)}"
        )
    found = []
    for position, entry in enumerate(entries):
        with locate_errors(position):
            found.append(_blackout(entry, timezone))
    return tuple(dict.fromkeys(found))


def _blackout(data: Any, timezone: str) -> Blackout:
    if not isinstance(data, Mapping):
        raise ScheduleError(f'a blackout is a mapping like {{dates: ["2026-12-25"]}}, not {abbreviate(data)}')
    for key in data:
        if key not in KEYS:
            raise ValueError(f"unknown key {abbreviate(key)} in a blackout; its keys are {', '.join(KEYS)}")
    if not set(data) & {"dates", "days", "from", "to"}:
        raise ValueError("a blackout says when: `dates`, `days`, or `from` and `to`")
    with locate_errors("timezone"):
        zone_name = fields.parse_timezone(data.get("timezone", timezone))
    reason = data.get("reason", "")
    if not isinstance(reason, str):
        raise ScheduleError(f"`reason` is text, not {abbreviate(reason)}", ("reason",))
    begin, end = data.get("from"), data.get("to")
    if any(isinstance(each, str) and "T" in each for each in (begin, end)):
        if set(data) & {"dates", "days"}:
            raise ValueError("from one instant to another and `dates` or `days` cannot stand together")
        return Blackout(span=_span(begin, end), reason=reason, timezone=zone_name)
    if begin is not None and begin == end:
        raise ScheduleError("`from` and `to` are the same; leave both out for the whole day", ("to",))
    return Blackout(
        dates=_dates(data["dates"]) if "dates" in data else (),
        days=_days(data["days"]) if "days" in data else (),
        begin=_hour("from", begin),
        end=_hour("to", end),
        reason=reason,
        timezone=zone_name,
    )


def _span(begin: Any, end: Any) -> tuple[datetime, datetime]:
    local_times = []
    for key, value in (("from", begin), ("to", end)):
        with locate_errors(key):
            if value is None:
                raise ScheduleError(f"from one instant to another needs `{key}`; add it")
            if not isinstance(value, str) or not _INSTANT.fullmatch(value):
                raise ValueError(f'`{key}` is a quoted local time such as "2026-12-24T18:00", not {abbreviate(value)}')
            try:
                local_times.append(datetime.fromisoformat(value))
            except ValueError:
                raise ValueError(f"`{key}` names a time that does not exist: {value}") from None
    if local_times[0] >= local_times[1]:
        raise ScheduleError("`to` is not later than `from`", ("to",))
    return local_times[0], local_times[1]


def _hour(key: str, value: Any) -> time:
    with locate_errors(key):
        return time.min if value is None else fields.parse_time(value, key)


def _days(value: Any) -> tuple[int, ...]:
    with locate_errors("days"):
        return fields.parse_weekdays(value)


def _dates(value: Any) -> tuple[str, ...]:
    with locate_errors("dates"):
        if not isinstance(value, list | tuple) or not 0 < len(value) <= 10 * MOST:
            raise ValueError(f"`dates` is a list of 1 to {10 * MOST} dates, not {abbreviate(value)}")
        for position, one in enumerate(value):
            with locate_errors(position):
                if isinstance(one, str) and re.fullmatch("[0-9]{2}-[0-9]{2}", one):
                    try:
                        date.fromisoformat(f"2024-{one}")  # a leap year
                    except ValueError:
                        raise ValueError(f"`dates` names a date that does not exist: {one}") from None
                else:
                    fields.parse_date(one, "dates")
    return tuple(sorted(set(value)))


def as_document(blackout: Blackout) -> dict[str, Any]:
    """Return the one mapping of plain values that stands for *blackout*; `parse` turns it back."""
    found: dict[str, Any] = {}
    if blackout.reason:
        found["reason"] = blackout.reason
    if blackout.span is not None:
        begin, end = blackout.span
        found |= {"from": begin.isoformat(timespec="minutes"), "to": end.isoformat(timespec="minutes")}
    if blackout.dates:
        found["dates"] = list(blackout.dates)
    if blackout.days:
        found["days"] = [WEEKDAYS[day] for day in blackout.days]
    if blackout.begin != blackout.end:
        found |= {"from": f"{blackout.begin:%H:%M}", "to": f"{blackout.end:%H:%M}"}
    return {**found, "timezone": blackout.timezone}


def find_blackout(blackouts: Sequence[Blackout], instant: datetime) -> Blackout | None:
    """Return the first of *blackouts* that *instant* lies in."""
    return next((each for each in blackouts if find_end(each, instant) is not None), None)


def find_end(blackout: Blackout, instant: datetime) -> datetime | None:
    """Return when *blackout* is over, seen from *instant* inside of it; None outside.

    Around a change of the clock the answer can be too early, even *instant* itself, and never too late.
    """
    tz = zone.load_zone(blackout.timezone)
    if blackout.span is not None:
        begin, end = (each.replace(tzinfo=tz).astimezone(UTC) for each in blackout.span)
        return end if begin <= instant < end else None
    local = instant.astimezone(tz).replace(tzinfo=None, fold=0)
    for day in (local, local - DAY):
        begin = datetime.combine(day, blackout.begin)
        end = datetime.combine(day, blackout.end)
        if blackout.end <= blackout.begin:
            end += DAY
        if begin <= local < end and is_on(blackout, day):
            over = end.replace(tzinfo=tz)
            return max(instant, min(over.astimezone(UTC), over.replace(fold=1).astimezone(UTC)))
    return None


def list_spans(blackouts: Sequence[Blackout], start: datetime, end: datetime) -> list[tuple[datetime, datetime, str]]:
    """Return when some of *blackouts* are between two instants, in UTC, each with its words, by their begin."""
    found = []
    for each in blackouts:
        over = start
        for begin in (start, *_begins(each, start, end)):
            if not over <= begin < end or find_end(each, begin) is None:
                continue
            over = begin
            while over < end and (later := find_end(each, over)) is not None:
                over = later if later > over else over + MINUTE  # around a change of the clock it says too little
            found.append((begin, min(over, end), describe(each)))
    return sorted(found)


def _begins(blackout: Blackout, start: datetime, end: datetime) -> list[datetime]:
    """Return the instants between at which *blackout* may begin, ascending: also whole hours, for clocks that jump."""
    tz = zone.load_zone(blackout.timezone)
    if blackout.span is not None:
        return [blackout.span[0].replace(tzinfo=tz).astimezone(UTC)]
    found = set()
    hour = start.replace(minute=0, second=0, microsecond=0) + HOUR
    while hour < end:
        found.add(hour)
        hour += HOUR
    day, last = start.astimezone(tz).date(), end.astimezone(tz).date()
    while day <= last:
        begin = datetime.combine(day, blackout.begin, tzinfo=tz)
        found |= {begin.astimezone(UTC), begin.replace(fold=1).astimezone(UTC)}
        day += DAY
    return sorted(found)


def is_on(blackout: Blackout, day: datetime) -> bool:
    """Tell whether *blackout* begins on the local date of *day*."""
    if not blackout.dates and not blackout.days:
        return True
    text = f"{day:%m-%d}"
    return day.weekday() in blackout.days or text in blackout.dates or f"{day.year:04}-{text}" in blackout.dates


def describe(blackout: Blackout) -> str:
    """Return *blackout* in words: its reason, and when it is."""
    return f"{blackout.reason} ({_when(blackout)})" if blackout.reason else _when(blackout)


def _when(blackout: Blackout) -> str:
    if blackout.span is not None:
        begin, end = blackout.span
        return f"from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    names = [DAYS[day] for day in blackout.days]
    more = [f"{len(blackout.dates) - 4} more dates"] if len(blackout.dates) > 5 else []
    names += [*blackout.dates[:4], *more] if more else blackout.dates
    days = listed(names or ["every day"])
    if blackout.begin == blackout.end:
        return days
    return f"{days} from {blackout.begin:%H:%M} to {blackout.end:%H:%M}"
