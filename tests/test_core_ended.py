"""Schedules that have ended: which, and what their last slot was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connrunner.core import schedules
from connrunner.core.model import Connection
from connrunner.core.planning.due import advance
from connrunner.core.planning.ended import find_ended_schedules, find_last_slot
from tests.test_core_on_time import connection as connected

NOW = datetime(2026, 12, 1, 9, 30, 30, tzinfo=UTC)
EVER = {"from": "2024-03-01T00:00", "to": "9999-12-31T23:59"}
UNTIL = {"type": "rrule", "rule": "FREQ=DAILY;UNTIL=20251231", "time": "06:00", "start": "2025-01-01"}
COUNT = {"type": "rrule", "rule": "FREQ=DAILY;COUNT=3", "time": "06:00", "start": "2025-01-01"}
GOES_ON = {"type": "rrule", "rule": "FREQ=DAILY", "time": "06:00", "start": "2025-01-01"}
TODAY = {"type": "rrule", "rule": "FREQ=DAILY;UNTIL=20261201", "time": "06:00", "start": "2025-01-01"}
TONIGHT = {**TODAY, "time": "23:00"}
MINUTELY = {"type": "cron", "expression": "* * * * *"}

SCHEDULES = [
    # schedule                                                            its last slot; None when it goes on or never was
    (UNTIL, "2025-12-31T06:00:00"),
    (COUNT, "2025-01-03T06:00:00"),
    (TODAY, "2026-12-01T06:00:00"),
    (TONIGHT, None),
    (GOES_ON, None),
    ({"type": "manual"}, None),
    ({"type": "times_per_day", "times": 4}, None),
    ({"type": "any_of", "schedules": [UNTIL, COUNT]}, "2025-12-31T06:00:00"),
    ({"type": "any_of", "schedules": [UNTIL, GOES_ON]}, None),
    ({**MINUTELY, "blackout": [EVER]}, "2024-02-29T23:59:00"),
    ({**GOES_ON, "blackout": [{**EVER, "from": "2026-11-01T00:00"}]}, "2026-10-31T06:00:00"),
    ({**MINUTELY, "blackout": [{**EVER, "to": "2030-01-01T00:00"}]}, None),
]  # fmt: skip


def connection(document: dict[str, Any], *, enabled: bool = True) -> Connection:
    made = connected("a")
    return replace(made, schedule=schedules.parse(document, "UTC"), enabled=enabled)


@pytest.mark.parametrize(("document", "last"), SCHEDULES)
def test_which_schedules_have_ended(document: dict[str, Any], last: str | None) -> None:
    made = connection(document)
    found = list(find_ended_schedules([made], {}, now=NOW, zones=""))
    assert [one.last.isoformat()[:19] for one in found] == ([last] if last else [])
    assert list(find_ended_schedules([connection(document, enabled=False)], {}, now=NOW, zones="")) == []


def test_a_last_slot_that_no_tick_has_seen_is_still_to_come() -> None:
    made, begun = connection(TODAY), NOW - timedelta(days=2)
    promise = advance(None, made.schedule, now=begun.replace(second=0)).promise
    assert promise is not None
    assert list(find_ended_schedules([made], {"a": promise}, now=NOW, zones="")) == []
    seen = advance(promise, made.schedule, now=NOW.replace(second=0)).promise
    assert seen is not None
    (one,) = find_ended_schedules([made], {"a": seen}, now=NOW, zones="")
    assert one.last == NOW.replace(hour=6, minute=0, second=0)


@pytest.mark.parametrize("ago", [0, 1, 59, 60, 61, 7_777, 600_000, 12_345_678])
def test_the_last_slot_is_found_however_long_ago_it_was(ago: int) -> None:
    day = (NOW - timedelta(minutes=ago)).replace(second=0)
    until = day + timedelta(minutes=1)
    schedule = schedules.parse({**MINUTELY, "blackout": [{**EVER, "from": f"{until:%Y-%m-%dT%H:%M}"}]}, "UTC")
    assert find_last_slot(schedule, NOW, on_since=NOW) == day
