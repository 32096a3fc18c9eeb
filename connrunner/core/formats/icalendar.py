"""Events as a calendar file (RFC 5545)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import datetime

from connrunner.lazy_dataclasses import dataclass

LONGEST_LINE = 75  # bytes of UTF-8, the line end left out (section 3.1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CalendarEvent:
    """One event; instants are aware UTC."""

    id: str  # the same for the same event, however often the file is written
    start: datetime
    end: datetime
    summary: str
    description: str
    category: str
    changed_at: datetime
    revision: int = 0


def format_calendar(title: str, events: Iterable[CalendarEvent], *, product: str) -> str:
    """Return the calendar file; calendars that subscribe to it look again every hour (RFC 7986)."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{_text(product)}", "CALSCALE:GREGORIAN"]
    lines += [f"NAME:{_text(title)}", f"X-WR-CALNAME:{_text(title)}", "REFRESH-INTERVAL;VALUE=DURATION:PT1H"]
    for event in events:
        lines += _event(event)
    lines.append("END:VCALENDAR")
    return "".join(f"{part}\r\n" for line in lines for part in _folded(line))


def _event(event: CalendarEvent) -> Iterator[str]:
    yield "BEGIN:VEVENT"
    yield f"UID:{_text(event.id)}"
    yield f"DTSTAMP:{_instant(event.changed_at)}"
    yield f"SEQUENCE:{event.revision}"
    yield f"DTSTART:{_instant(event.start)}"
    yield f"DTEND:{_instant(event.end)}"
    yield f"SUMMARY:{_text(event.summary)}"
    if event.description:
        yield f"DESCRIPTION:{_text(event.description)}"
    yield f"CATEGORIES:{_text(event.category)}"
    yield "TRANSP:TRANSPARENT"  # it blocks no time
    yield "END:VEVENT"


def _instant(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}"


def _text(value: str) -> str:
    """Return *value* as TEXT (section 3.3.11); control characters, which it may not hold, are left out."""
    value = value.replace("\r\n", "\n")
    value = "".join(char for char in value if char == "\n" or unicodedata.category(char) not in ("Cc", "Cs"))
    for char in ("\\", ";", ","):
        value = value.replace(char, f"\\{char}")
    return value.replace("\n", "\\n")


def _folded(line: str) -> Iterator[str]:
    """Yield *line* in pieces that are short enough, none of which cuts a character; all but the first begin blank."""
    piece, size = "", 0
    for char in line:
        width = len(char.encode())
        if size + width > LONGEST_LINE:
            yield piece
            piece, size = " ", 1
        piece += char
        size += width
    yield piece
