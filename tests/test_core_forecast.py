"""The lanes played through: who waits for whom, which slots are merged, which days do not fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connrunner.core.planning import forecast
from connrunner.core.planning.forecast import PredictedRun, PredictedSlot, RunDurations, TightSchedule

DAY = datetime(2026, 11, 23, tzinfo=UTC)


def at(clock: str) -> datetime:
    hour, minute = clock.split(":")
    return DAY + timedelta(hours=int(hour), minutes=int(minute))


def due(clock: str, name: str, lane: str = "main") -> PredictedSlot:
    return PredictedSlot(connection=name, lane=lane, due_at=at(clock))


QUEUES = [
    # what is due                                   minutes             start, name, behind, merged
    ([("01:00", "a"), ("02:00", "b")],              {"a": 5, "b": 5},   ["01:00 a  0", "02:00 b  0"]),
    ([("01:00", "b"), ("01:00", "a")],              {"a": 5, "b": 5},   ["01:00 a  0", "01:05 b a 0"]),
    ([("01:00", "a"), ("01:10", "c"), ("01:05", "b")], {"a": 30, "b": 5, "c": 5}, ["01:00 a  0", "01:30 b a 0", "01:35 c b 0"]),
    ([("01:00", "a"), ("02:00", "a"), ("03:00", "a")], {"a": 90},       ["01:00 a  1", "03:00 a  0"]),   # merged while it runs
    ([("01:00", "b"), ("01:10", "a"), ("01:20", "a")], {"a": 5, "b": 60}, ["01:00 b  0", "02:00 a b 1"]),  # merged while it waits
    ([("01:00", "a"), ("02:00", "a")],              {"a": 60},          ["01:00 a  0", "02:00 a  0"]),   # ends as the next begins
    ([("01:00", "b"), ("01:02", "a"), ("01:05", "a")], {"a": 0, "b": 5}, ["01:00 b  0", "01:05 a b 0", "01:05 a  0"]),  # over at once
]  # fmt: skip


@pytest.mark.parametrize(("arrivals", "minutes", "runs"), QUEUES)
def test_a_lane_runs_one_after_the_other(
    arrivals: list[tuple[str, str]], minutes: dict[str, int], runs: list[str]
) -> None:
    seconds = {name: 60.0 * length for name, length in minutes.items()}

    visits = forecast.simulate([due(*one) for one in arrivals], seconds, now=DAY)

    assert [f"{one.starts_at:%H:%M} {one.connection} {one.behind} {one.merged}" for one in visits] == runs


def test_lanes_do_not_wait_for_each_other() -> None:
    visits = forecast.simulate([due("01:00", "a"), due("01:00", "b", "side")], {"a": 600, "b": 600}, now=DAY)

    assert [visit.wait for visit in visits] == [timedelta(0)] * 2


def test_who_holds_the_lane_now_is_waited_for() -> None:
    visits = forecast.simulate([due("01:00", "a")], {"a": 60}, now=at("01:02"), busy={"main": ("z", at("01:10"))})

    assert (visits[0].starts_at, visits[0].behind) == (at("01:10"), "z")


def test_what_is_overdue_starts_now() -> None:
    visits = forecast.simulate([due("01:00", "a")], {"a": 60}, now=at("09:00"))

    assert (visits[0].starts_at, visits[0].wait, visits[0].behind) == (at("09:00"), timedelta(hours=8), "")


@given(
    st.lists(st.tuples(st.integers(0, 600), st.sampled_from("abc")), max_size=30, unique=True),
    st.tuples(*[st.integers(1, 100)] * 3),
)
def test_every_slot_is_run_or_merged_and_no_two_runs_overlap(
    slots: list[tuple[int, str]], minutes: tuple[int, ...]
) -> None:
    seconds = {name: 60.0 * length for name, length in zip("abc", minutes, strict=True)}
    arrivals = [
        PredictedSlot(connection=name, lane="main", due_at=DAY + timedelta(minutes=when)) for when, name in slots
    ]

    visits = forecast.simulate(arrivals, seconds, now=DAY)

    assert sum(1 + visit.merged for visit in visits) == len(slots)
    assert all(later.starts_at >= earlier.ends_at for earlier, later in pairwise(visits))
    assert all(visit.starts_at >= visit.due_at and bool(visit.behind) == bool(visit.wait) for visit in visits)


def test_what_run_times_have_in_common() -> None:
    assert forecast.summarize_durations([]) == RunDurations(median=300, p95=300, runs=0)
    assert forecast.summarize_durations([7]) == RunDurations(median=7, p95=7, runs=1)
    assert forecast.summarize_durations([9, 1, 2]) == RunDurations(median=2, p95=9, runs=3)
    assert forecast.summarize_durations([float(n) for n in range(200)]).p95 == 189
    assert forecast.summarize_durations([3, 1]) == RunDurations(median=2, p95=3, runs=2)
    assert forecast.summarize_durations([float(n) for n in range(100, 0, -1)]) == RunDurations(
        median=50.5, p95=95, runs=100
    )


def test_a_schedule_that_is_shorter_than_the_run() -> None:
    slots = {
        "hourly": [at("01:00"), at("02:00"), at("02:59")],
        "daily": [at("01:00")],
        "quick": [at("01:00"), at("02:00")],
    }
    usual = {
        "hourly": RunDurations(median=1800, p95=74 * 60, runs=20),
        "daily": RunDurations(median=9e9, p95=9e9, runs=1),
    }

    (found,) = forecast.find_tight_schedules(slots, {**usual, "quick": RunDurations(median=60, p95=3600, runs=3)})

    assert (found.connection, found.gap, found.at) == ("hourly", timedelta(minutes=59), at("02:00"))


def test_a_day_that_does_not_fit() -> None:
    arrivals = [due("00:00", "a"), due("12:00", "b"), due("47:00", "b")]
    usual = {
        "a": RunDurations(median=20 * 3600, p95=20 * 3600, runs=5),
        "b": RunDurations(median=5 * 3600, p95=6 * 3600, runs=5),
    }
    visits = forecast.simulate(arrivals, {name: one.median for name, one in usual.items()}, now=DAY)

    first, second = forecast.summarize_days(visits, usual, timezone="UTC")

    assert (first.seconds, first.seconds_p95, first.overlaps, first.is_too_full) == (25 * 3600, 26 * 3600, 1, True)
    assert (first.longest.connection, first.longest.wait) == ("b", timedelta(hours=8))
    assert (second.runs, second.is_too_full) == (1, False)


def test_the_work_of_a_day_has_that_of_merged_slots_in_it_and_days_are_those_of_the_zone() -> None:
    usual = {"a": RunDurations(median=90 * 60, p95=100 * 60, runs=5), "b": RunDurations(median=60, p95=120, runs=5)}
    arrivals = [due("01:00", "a"), due("02:00", "a"), due("22:30", "b"), due("23:30", "b"), due("23:30", "a", "side")]
    visits = forecast.simulate(arrivals, {name: one.median for name, one in usual.items()}, now=DAY)

    days = forecast.summarize_days(visits, usual, timezone="Europe/Amsterdam")

    assert [(one.lane, one.day.day, one.runs, one.merged, one.seconds, one.seconds_p95) for one in days] == [
        ("main", 23, 2, 1, 3 * 3600 + 60, 200 * 60 + 120),
        ("main", 24, 1, 0, 60, 120),
        ("side", 24, 1, 0, 90 * 60, 100 * 60),
    ]
    assert [one.is_too_full for one in days] == [True, False, False]


REMAINING = [
    # it works for, seconds   goes on for: the median is 60, the 95th percentile 100
    (0, 60),
    (59, 1),
    (60, 40),
    (99, 1),
    (100, None),
    (101, None),
]


@pytest.mark.parametrize(("elapsed", "left"), REMAINING)
def test_how_long_a_run_goes_on(elapsed: float, left: float | None) -> None:
    assert forecast.estimate_remaining(RunDurations(median=60, p95=100, runs=5), elapsed) == left


def test_runs_come_by_their_start_then_by_lane_and_say_all_about_themselves() -> None:
    arrivals = [due("03:00", "c", "z"), due("01:00", "a"), due("01:00", "d", "z"), due("01:10", "b"), due("01:20", "b")]
    seconds = {"a": 1800.0, "b": 60.0, "c": 60.0, "d": 60.0}

    visits = forecast.simulate(arrivals, seconds, now=DAY)

    assert visits == (
        PredictedRun(connection="a", lane="main", due_at=at("01:00"), starts_at=at("01:00"), ends_at=at("01:30")),
        PredictedRun(connection="d", lane="z", due_at=at("01:00"), starts_at=at("01:00"), ends_at=at("01:01")),
        PredictedRun(
            connection="b",
            lane="main",
            due_at=at("01:10"),
            starts_at=at("01:30"),
            ends_at=at("01:31"),
            behind="a",
            merged=1,
        ),
        PredictedRun(connection="c", lane="z", due_at=at("03:00"), starts_at=at("03:00"), ends_at=at("03:01")),
    )


BUSY = [
    # who holds the lane until when       what is due                          start, name, behind, merged
    (("a", "01:10"),                      [("01:05", "a")],                    []),               # it has that slot, too
    (("a", "01:10"),                      [("01:05", "b"), ("01:06", "a")],    ["01:10 b a 0"]),
    (("a", "01:10"),                      [("01:10", "a")],                    ["01:10 a  0"]),
    (("a", "00:10"),                      [("00:05", "b")],                    ["00:30 b a 0"]),  # it should have ended: nothing starts before now
    (("a", "01:10"),                      [("01:05", "b"), ("01:10", "a")],    ["01:10 b a 0", "01:15 a b 0"]),
]  # fmt: skip


@pytest.mark.parametrize(("holder", "arrivals", "runs"), BUSY)
def test_what_becomes_due_while_a_run_holds_the_lane(
    holder: tuple[str, str], arrivals: list[tuple[str, str]], runs: list[str]
) -> None:
    busy = {"main": (holder[0], at(holder[1])), "side": ("z", at("23:00"))}

    visits = forecast.simulate([due(*one) for one in arrivals], {"a": 300, "b": 300}, now=at("00:30"), busy=busy)

    assert [f"{one.starts_at:%H:%M} {one.connection} {one.behind} {one.merged}" for one in visits] == runs


def test_which_run_of_a_day_waits_longest() -> None:
    """Of those that wait as long as each other the last one."""
    usual = {name: RunDurations(median=600, p95=600, runs=1) for name in "abc"}
    arrivals = [due("01:00", "a"), due("01:05", "b"), due("02:00", "a"), due("02:05", "c"), due("03:00", "b")]
    visits = forecast.simulate(arrivals, dict.fromkeys("abc", 600.0), now=DAY)

    (day,) = forecast.summarize_days(visits, usual, timezone="UTC")

    assert (day.longest.connection, day.runs, day.overlaps) == ("c", 5, 2)


GAPS = [
    # slots                          p95, minutes   the gap and where it is
    (["01:00", "02:00", "02:59"],    59,            None),
    (["01:00", "02:00", "02:59"],    60,            ("02:00", 59)),
    (["01:00", "02:00", "03:00"],    61,            ("01:00", 60)),   # the first of equal ones
    (["01:00"],                      9999,          None),
    ([],                             9999,          None),
]  # fmt: skip


@pytest.mark.parametrize(("clocks", "minutes", "expected"), GAPS)
def test_when_a_schedule_is_too_tight(clocks: list[str], minutes: int, expected: tuple[str, int] | None) -> None:
    usual = RunDurations(median=1, p95=minutes * 60, runs=3)
    found = forecast.find_tight_schedules(
        {"b": [at(one) for one in clocks], "a": [at("01:00")]}, {"b": usual, "a": usual}
    )

    if expected is None:
        assert found == ()
    else:
        gap = timedelta(minutes=expected[1])
        assert found == (TightSchedule(connection="b", gap=gap, at=at(expected[0]), usual=usual),)
