"""What a change of the workspace does over the coming days: two versions of it played through."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connrunner.core import schedules
from connrunner.core.model import Connection, Workspace
from connrunner.core.planning import preview
from connrunner.core.planning.changes import KeyDifference, Slots
from connrunner.core.planning.due import Promise
from connrunner.core.planning.forecast import RunDurations
from connrunner.core.planning.preview import Preview, preview_change
from connrunner.errors import Problem
from tests.test_core_on_time import connection, workspace

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)  # a Sunday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
QUICK = RunDurations(median=60, p95=120, runs=9)
GUESSED = RunDurations(median=300, p95=300, runs=0)


def daily(name: str, time: str, *, lane: str = "main", **more: Any) -> Connection:
    document = {"type": "cron", "expression": f"{int(time[3:])} {int(time[:2])} * * *", "timezone": "UTC"}
    return replace(connection(name), schedule=schedules.parse(document, "UTC"), lane=lane, **more)


def every(name: str, *, times: int) -> Connection:
    return replace(connection(name), schedule=schedules.parse({"type": "times_per_day", "times": times}, "UTC"))


def play(base: Workspace, head: Workspace, *, days: int = 2, **more: Any) -> Preview:
    facts = {"promises": {}, "durations": dict.fromkeys("abc", QUICK), "now": NOW, "zones": "z", **more}
    return preview_change(base, head, days=days, **facts)


def test_a_slot_that_moves_and_one_that_stays() -> None:
    base = workspace(daily("a", "12:00"), daily("b", "12:00"))
    seen = play(base, workspace(daily("a", "13:00"), daily("b", "12:00")))

    noon = NOW + 3 * HOUR
    moved = ((noon, noon + HOUR), (noon + DAY, noon + DAY + HOUR))
    assert seen.slots == {"a": Slots(moved=moved)}
    assert (seen.start, seen.until) == (NOW, NOW + 2 * DAY)
    assert [(run.connection, run.starts_at) for run in seen.before.visits] == [
        ("a", noon), ("b", noon + timedelta(minutes=1)),
        ("a", noon + DAY), ("b", noon + DAY + timedelta(minutes=1)),
    ]  # fmt: skip
    assert [(run.connection, run.starts_at) for run in seen.after.visits] == [
        ("b", noon), ("a", noon + HOUR), ("b", noon + DAY), ("a", noon + DAY + HOUR)
    ]  # fmt: skip
    assert seen.before.slots == {"a": [noon, noon + DAY], "b": [noon, noon + DAY]}
    assert seen.before.tight == ()


@pytest.mark.parametrize(("base", "head"), [("a", ""), ("", "a")])
def test_a_connection_that_comes_or_goes(base: str, head: str) -> None:
    seen = play(*(workspace(*(daily(name, "12:00") for name in side)) for side in (base, head)), days=1)

    come, gone = ((NOW + 3 * HOUR,) if side else () for side in (head, base))
    assert seen.slots == {"a": Slots(added=come, removed=gone)}
    assert [change.kind for change in seen.changes] == ["added" if head else "removed"]


def test_the_last_instant_of_the_days_counts() -> None:
    seen = play(workspace(), workspace(daily("a", "09:00")), days=1)

    assert seen.slots["a"].added == (NOW, NOW + DAY)


def test_a_lane_works_for_itself_and_a_day_is_one_of_the_new_version() -> None:
    base = workspace(daily("a", "23:30"), daily("b", "23:30", lane="side"))
    seen = play(base, replace(base, timezone="Europe/Amsterdam"), days=1)

    for version in (seen.before, seen.after):
        assert [(day.lane, f"{day.day:%d}", day.runs, day.overlaps) for day in version.days] == [
            ("main", "23", 1, 0),
            ("side", "23", 1, 0),
        ]
    assert seen.around == (KeyDifference(key="timezone", before="UTC", after="Europe/Amsterdam"),)


def test_slots_move_by_the_days_of_the_new_version() -> None:
    """22:30 and 23:30 in UTC are two times of one day, also where it is tomorrow by then."""
    base = workspace(daily("a", "22:30"))
    head = replace(workspace(daily("a", "23:30"), daily("b", "12:00")), timezone="America/New_York")

    assert len(play(base, head, days=1).slots["a"].moved) == 1


def test_a_schedule_that_is_shorter_than_its_run_is_found_in_the_version_that_has_it() -> None:
    slow = {"a": RunDurations(median=60, p95=9000, runs=3)}
    seen = play(workspace(every("a", times=4)), workspace(every("a", times=24)), durations=slow)

    assert [(one.connection, one.gap) for one in seen.after.tight] == [("a", HOUR)]
    assert seen.before.tight == ()
    assert seen.durations == slow


def test_what_a_state_folder_promised_goes_on_and_without_one_it_counts_from_now() -> None:
    one = every("a", times=4)
    since = NOW - 2 * HOUR
    document = schedules.as_document(one.schedule)
    promise = Promise(on_since=since, schedule=document, next_due=since + 6 * HOUR, zones="z")

    kept = play(workspace(one), workspace(one), promises={"a": promise}, days=1)
    new = play(workspace(one), workspace(one), days=1)

    assert [slot.hour for slot in kept.after.slots["a"]] == [13, 19, 1, 7]
    assert [slot.hour for slot in new.after.slots["a"]] == [9, 15, 21, 3, 9]
    assert kept.slots == new.slots == {}


def test_a_promise_of_another_time_zone_database_is_made_anew() -> None:
    one = daily("a", "12:00")
    document = schedules.as_document(one.schedule)
    wrong = Promise(on_since=NOW - DAY, schedule=document, next_due=NOW + HOUR, zones="old")

    def first(zones: str) -> datetime:
        return play(workspace(one), workspace(one), promises={"a": wrong}, zones=zones).after.slots["a"][0]

    assert (first("old"), first("new")) == (NOW + HOUR, NOW + 3 * HOUR)


def test_with_too_many_slots_fewer_days_are_looked_at_in_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "MOST", 5)
    few, many = workspace(every("a", times=24)), workspace(every("a", times=24), every("b", times=24))

    for seen in (play(few, many), play(many, few)):
        # In 9:00, 10:00 and 11:00 the versions with two connections have six slots: the last minute before counts.
        assert seen.until == NOW + 2 * HOUR - timedelta(minutes=1)
        assert [slot.hour for slot in seen.before.slots["a"]] == [9, 10]
        assert list(seen.slots) == ["b"]
    alone = play(few, few)
    assert (alone.until, len(alone.after.slots["a"])) == (NOW + 5 * HOUR - timedelta(minutes=1), 5)


def problem(message: str, path: str = "connections/a.yaml") -> Problem:
    return Problem(path=path, line=1, column=1, message=message)


def test_only_the_problems_that_are_new() -> None:
    base = replace(workspace(), problems=(problem("old"), problem("also", "settings.yaml")))
    head = replace(workspace(), problems=(replace(problem("old"), line=7), problem("new"), problem("also")))

    assert [each.message for each in play(base, head).problems] == ["new", "also"]


EMPTY = [
    # what differs                                                        is anything done
    ({}, True),
    ({"timezone": "Europe/Amsterdam"}, False),
    ({"problems": (problem("new"),)}, False),
    ({"connections": {"a": daily("a", "13:00")}}, False),
    ({"connections": {"a": daily("a", "12:00", document={"title": "A"})}}, False),
]


@pytest.mark.parametrize(("differs", "empty"), EMPTY)
def test_a_change_that_does_nothing(differs: dict[str, Any], empty: bool) -> None:
    base = workspace(daily("a", "12:00"))

    assert play(base, replace(base, **differs)).is_empty is empty


def test_connections_that_will_run_and_whose_run_times_nobody_has_seen() -> None:
    there = workspace(daily("b", "12:00"), daily("a", "12:00"), daily("c", "12:00"), daily("d", "12:00", enabled=False))
    seen = play(workspace(), there, durations={"a": GUESSED, "b": GUESSED, "c": QUICK, "d": GUESSED})

    assert seen.guessed == ["a", "b"]
