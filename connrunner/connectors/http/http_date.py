"""Dates in the headers of an answer, which a partner wrote (RFC 9110, 5.6.7)."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime

LONGEST = 100  # characters; the longest form of a date has 33


def parse_http_date(text: str) -> datetime | None:
    """Return the instant, in UTC, that *text* names; None when it is no date, or one that no calendar has."""
    if len(text) > LONGEST:
        return None
    try:
        found = email.utils.parsedate_to_datetime(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, LookupError):
        # Not only ValueError: the parser slices, adds and converts before it looks whether a part can be.
        return None
