"""The small rules that every room shares: each is a table here, and stands in one place of the source."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connrunner.text import durations

# --- durations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("1s", 1), ("90s", 90), ("15m", 900), ("6h", 21_600), ("2d", 172_800), ("999999d", 86_399_913_600)],
)
def test_a_written_duration(text: str, seconds: int) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "s", "5", "-5m", "1.5h", "5 m", "5m\n", "5w", "5M", "1_0s", "٣s", "1000000s"]
)
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        durations.parse(text)


WORDS = [
    # words               seconds  text
    (durations.in_words,     0.04, "0.0 s"),
    (durations.in_words,     0.44, "0.4 s"),
    (durations.in_words,     9.96, "10.0 s"),
    (durations.in_words,     12.3, "12 s"),
    (durations.in_words,     59.6, "1 min 00 s"),
    (durations.in_words,      185, "3 min 05 s"),
    (durations.in_words,     3725, "1 h 02 min"),
    (durations.in_words,  100_000, "27 h 46 min"),
    (durations.in_two_units,   -1, "0.0 s"),
    (durations.in_two_units, 59.6, "1 min 0 s"),
    (durations.in_two_units, 3725, "1 h 2 min"),
    (durations.in_two_units, 90_000, "1 d 1 h"),
    (durations.roughly,       0.9, "0 seconds"),
    (durations.roughly,       119, "119 seconds"),
    (durations.roughly,     2_400, "40 minutes"),
    (durations.roughly,     7_200, "2 hours"),
    (durations.roughly, 1_000 * 86_400, "1,000 days"),
    (durations.exactly,        90, "90 s"),
    (durations.exactly,       900, "15 min"),
    (durations.exactly,     5_400, "90 min"),
    (durations.exactly,   172_800, "2 d"),
    (durations.in_minutes,    119, "1 min 59 s"),
    (durations.in_minutes, 86_400, "1,440 min"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "seconds", "text"), WORDS)
def test_a_duration_in_words(words: Callable[[float], str], seconds: float, text: str) -> None:
    assert words(seconds) == text
