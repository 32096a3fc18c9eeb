"""Dates, times and numbers in the reader's language."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from connrunner.notify.language import NeutralLanguage, language_of

AT = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)

WORDS = [
    # tag      instant                                   number       durations
    ("", "Mon 2026-11-23 01:30:00 +01:00", "1,234,567", ("0.4 s", "12 s", "1 h 02 min", "1 d 01 h")),
    ("nl", "ma 23 nov 2026 01:30:00 +01:00", "1.234.567", ("0,4 sec", "12 sec", "1 uur 2 min", "1 dag 1 uur")),
    (
        "de-AT",
        "Mo., 23. Nov. 2026 01:30:00 +01:00",
        "1.234.567",
        ("0,4 Sek.", "12 Sek.", "1 Std. 2 Min.", "1 Tg. 1 Std."),
    ),
]


@pytest.mark.parametrize(("tag", "instant", "number", "durations"), WORDS)
def test_a_language_has_its_own_dates_and_numbers(
    tag: str, instant: str, number: str, durations: tuple[str, ...]
) -> None:
    language = language_of(tag)
    assert language.instant(AT, "Europe/Amsterdam") == instant
    assert language.number(1234567).replace("\u202f", " ") == number
    assert tuple(language.duration(seconds) for seconds in (0.44, 12, 3725, 90000)) == durations


@pytest.mark.parametrize("tag", ["zz", "not a language", "nl_NL!", "x" * 100])
def test_an_unknown_language_keeps_no_mail_back(tag: str) -> None:
    assert isinstance(language_of(tag), NeutralLanguage)


@pytest.mark.thorough
def test_every_language_that_babel_knows_can_be_written() -> None:
    from babel.localedata import locale_identifiers

    for name in locale_identifiers():
        if "_" not in name:
            language = language_of(name)
            assert "30" in language.instant(AT, "Europe/Amsterdam") or not language.instant(AT, "UTC").isascii()
            assert language.number(12_000)
            assert language.duration(3725)


def test_a_zone_that_is_gone_keeps_no_mail_back() -> None:
    assert language_of("nl").instant(AT, "Mars/Olympus") == "ma 23 nov 2026 00:30:00 +00:00"
