"""Schedules that are shorter than their runs, and lanes with too much work for a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from connrunner.core import schedules
from connrunner.core.model import Connection
from connrunner.core.planning.due import advance
from connrunner.core.planning.forecast import RunDurations
from connrunner.core.planning.tight import describe_tight_schedule, find_full_lanes, find_tight_schedule
from tests.test_core_on_time import connection as connected

NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
MINUTELY = {"type": "cron", "expression": "* * * * *"}
HOURLY = {"type": "cron", "expression": "0 * * * *"}
UNEVEN = {"type": "cron", "expression": "0,10 9 * * *"}


def made(document: dict[str, Any], name: str = "a", **more: Any) -> Connection:
    return replace(connected(name), schedule=schedules.parse(document, "UTC"), **more)


def took(seconds: float, runs: int = 1) -> RunDurations:
    return RunDurations(median=seconds, p95=seconds, runs=runs)


TIGHT = [
    # schedule, how long runs take      the gap in seconds that is too short
    (MINUTELY, took(66), 60),
    (MINUTELY, took(60), None),
    (MINUTELY, took(99, runs=0), None),  # nobody has seen it run
    (HOURLY, took(3601), 3600),
    (HOURLY, took(3599), None),
    (UNEVEN, took(700), 600),
    ({"type": "times_per_day", "times": 24}, took(3700), 3600),
    ({"type": "manual"}, took(99_999), None),
]


@pytest.mark.parametrize(("document", "usual", "gap"), TIGHT)
def test_a_schedule_that_is_shorter_than_its_run(
    document: dict[str, Any], usual: RunDurations, gap: int | None
) -> None:
    for promise in (None, advance(None, made(document).schedule, now=NOW).promise):
        found = find_tight_schedule(made(document), promise, usual, now=NOW, zones="")
        assert (found.gap.total_seconds() if found else None) == gap
    assert find_tight_schedule(made(document, enabled=False), None, usual, now=NOW, zones="") is None


def test_what_is_said_of_it() -> None:
    said = describe_tight_schedule(60, 66)
    assert (
        said == "its slots come 1 min 00 s apart, and its runs take up to 1 min 06 s: slots are merged; give it fewer"
    )


def test_a_lane_with_more_work_than_a_day_has_hours() -> None:
    places = [made(HOURLY, "a"), made(HOURLY, "b"), made(HOURLY, "c", lane="side"), made(HOURLY, "off", enabled=False)]
    usual = {"a": took(2400), "b": took(1300), "c": took(3500), "off": took(9999)}
    (lane,) = find_full_lanes(places, {}, usual, now=NOW)
    assert (lane.lane, lane.seconds) == ("main", 24 * 3700)
    assert list(find_full_lanes(places, {}, {**usual, "b": took(1100)}, now=NOW)) == []
    assert list(find_full_lanes(places, {}, {**usual, "b": took(99_999, runs=0)}, now=NOW)) == []
