"""Dates, times and numbers as the reader's language writes them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from connrunner.core.schedules import zone
from connrunner.core.schedules.fields import DAYS
from connrunner.text import durations

if TYPE_CHECKING:
    from babel import Locale


class Language(Protocol):
    """How a reader's language writes what a mail tells."""

    def instant(self, instant: datetime, timezone: str) -> str:
        """Return *instant* as the clock on the wall shows it in *timezone*, with its offset."""

    def day(self, instant: datetime, timezone: str) -> str:
        """Return the date of *instant* in *timezone*."""

    def number(self, number: float) -> str:
        """Return *number* with its thousands set apart."""

    def duration(self, seconds: float) -> str:
        """Return a length of time with its two largest units."""


class NeutralLanguage:
    """What is read alike everywhere: `Mon 2026-11-23 01:30:00 +01:00`, `12,000`, `1 h 02 min`."""

    def instant(self, instant: datetime, timezone: str) -> str:
        there = _there(instant, timezone)
        text = there.isoformat(sep=" ", timespec="seconds")
        return f"{DAYS[there.weekday()][:3]} {text[:19]} {text[19:]}"

    def day(self, instant: datetime, timezone: str) -> str:
        return self.instant(instant, timezone)[:14]

    def number(self, number: float) -> str:
        return f"{number:,}"

    def duration(self, seconds: float) -> str:
        return durations.in_words(seconds)


class CldrLanguage:
    """What the Unicode CLDR says of a language: `ma 23 nov 2026 01:30:00 +01:00`, `12.000`, `1 u, 2 min`."""

    def __init__(self, locale: Locale) -> None:
        self._locale = locale

    def instant(self, instant: datetime, timezone: str) -> str:
        from babel.dates import format_time

        there = _there(instant, timezone)
        time = format_time(there, "medium", locale=self._locale)
        return f"{self.day(instant, timezone)} {time} {there.isoformat()[-6:]}"

    def day(self, instant: datetime, timezone: str) -> str:
        from babel.dates import format_date, format_skeleton

        there = _there(instant, timezone)
        try:
            return format_skeleton("yMMMEd", there, locale=self._locale)
        except KeyError:  # a language without that pattern
            return format_date(there, locale=self._locale)

    def number(self, number: float) -> str:
        from babel.numbers import format_decimal

        return format_decimal(number, locale=self._locale)

    def duration(self, seconds: float) -> str:
        from babel.units import format_unit

        parts: list[tuple[float, str]] = []
        if seconds < 10:
            parts = [(round(max(0.0, seconds), 1), "second")]
        else:
            left = timedelta(seconds=round(seconds))
            for name in ("day", "hour", "minute", "second"):
                amount, left = divmod(left, timedelta(seconds=durations.SECONDS[name[0]]))
                if parts or amount:
                    parts.append((amount, name))
        return " ".join(format_unit(amount, name, length="short", locale=self._locale) for amount, name in parts[:2])


def language_of(tag: str) -> Language:
    """Return the language that *tag* (`nl`, `de-AT`) names; the plain one for no tag, or when Babel cannot be used."""
    if not tag:
        return NeutralLanguage()
    try:
        from babel import Locale, UnknownLocaleError
    except ImportError:  # `validate` says so; a mail in plain words is better than none
        return NeutralLanguage()
    try:
        return CldrLanguage(Locale.parse(tag, sep="-"))
    except (ValueError, UnknownLocaleError):
        return NeutralLanguage()


def _there(instant: datetime, timezone: str) -> datetime:
    try:
        return instant.astimezone(zone.load_zone(timezone))
    except ValueError:  # a zone that is gone must not keep a mail back
        return instant.astimezone(zone.load_zone("UTC"))
