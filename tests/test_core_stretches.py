"""What is remembered of the slots that were recorded, when the clock has gone back and forth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connrunner.core import schedules
from connrunner.core.planning.stretches import MINUTE, MOST, Stretch, add_slot, next_free

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=365)

MINUTELY = schedules.parse({"type": "times_per_day", "times": 1440}, "UTC")


def each_hour(first: datetime, times: int = MOST) -> tuple[Stretch, ...]:
    starts = [first + number * timedelta(hours=1) for number in range(times)]
    return tuple(Stretch(start, start + 10 * MINUTE) for start in starts)


def test_what_is_past_is_remembered_by_so_many_stretches_at_most() -> None:
    known = each_hour(NOON - timedelta(days=1))

    found = add_slot(known, NOON, MINUTELY, on_since=LONG_AGO)

    assert found == (Stretch(known[0].first, known[1].last), *known[2:], Stretch(NOON, NOON))


@pytest.mark.parametrize("past", range(MOST + 1))
def test_no_slot_that_is_still_to_come_is_taken_for_recorded(past: int) -> None:
    """The clock was ahead again and again, and each time by less."""
    known = (*each_hour(NOON - timedelta(days=1), past), *each_hour(NOON + timedelta(hours=1), MOST - past))

    found = add_slot(known, NOON, MINUTELY, on_since=LONG_AGO)

    assert next_free(MINUTELY, NOON, found, on_since=LONG_AGO) == NOON + MINUTE
    for ahead in known[past:]:
        before, after = ahead.first - MINUTE, ahead.last + MINUTE
        assert next_free(MINUTELY, before - MINUTE, found, on_since=LONG_AGO) == before
        assert next_free(MINUTELY, before, found, on_since=LONG_AGO) == after
