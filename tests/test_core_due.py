"""What one tick decides: promises and slots by the rules [R4] to [R9]."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connrunner.core import instant, schedules
from connrunner.core.connection_index import ConnectionIndex, traits_of
from connrunner.core.model import Command, Connection, QueuedRun, Schedule
from connrunner.core.planning.due import (
    Promise,
    RunRequest,
    Slot,
    StopRequest,
    TickFacts,
    advance,
    find_stop_of_entry,
    find_stop_of_run,
    is_too_late,
    last_between,
    plan_tick,
)

MONDAY_FRIDAY = schedules.parse({"type": "days_of_week", "days": ["monday", "friday"], "time": "01:30"}, "UTC")
DAILY = schedules.parse(
    {"type": "days_of_week", "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
     "time": "06:00"}, "UTC",
)  # fmt: skip
HOURLY = schedules.parse({"type": "times_per_day", "times": 24}, "UTC")
MANUAL = schedules.parse({"type": "manual"}, "UTC")


def at(text: str) -> datetime:
    """`22T09:15` is in November 2026."""
    return instant.parse(f"2026-11-{text}:00Z")


def promise(kind: Schedule, next_due: str | None, *, on_since: str = "20T00:00", **more: Any) -> Promise:
    return Promise(
        on_since=at(on_since), schedule=schedules.as_document(kind), next_due=at(next_due) if next_due else None, **more
    )


CASES = [
    # what                                promise                        schedule  now         due, missed       next
    ("new, calendar: no run by itself",   None,                          DAILY,   "22T09:00", None,             "23T06:00"),
    ("new, calendar, in its minute",      None,                          DAILY,   "22T06:00", ("22T06:00", 0),  "23T06:00"),
    ("new, times per day: runs at once",  None,                          HOURLY,  "22T09:17", ("22T09:17", 0),  "22T10:17"),
    ("new, manual",                       None,                          MANUAL,  "22T09:00", None,             None),
    ("not yet",                           promise(DAILY, "22T06:00"),    DAILY,   "22T05:59", None,             "22T06:00"),
    ("due",                               promise(DAILY, "22T06:00"),    DAILY,   "22T06:00", ("22T06:00", 0),  "23T06:00"),
    ("late: labelled with the promise",   promise(DAILY, "22T06:00"),    DAILY,   "22T17:03", ("22T06:00", 0),  "23T06:00"),
    ("three days down: one run",          promise(DAILY, "19T06:00"),    DAILY,   "22T07:00", ("19T06:00", 3),  "23T06:00"),
    ("hours down",                        promise(HOURLY, "22T05:00"),   HOURLY,  "22T09:30", ("22T05:00", 4),  "22T10:00"),
    ("edited: never fires for the past",  promise(HOURLY, "22T05:00"),   DAILY,   "22T09:30", None,             "23T06:00"),
    ("edited: the new one is due now, with a slot behind it", promise(HOURLY, "22T05:00", last_due=at("22T04:00")),
                                                                         DAILY,   "22T06:00", ("22T06:00", 0),  "23T06:00"),
    ("edited: the new one is due now",    promise(HOURLY, "22T05:00"),   DAILY,   "22T06:00", ("22T06:00", 0),  "23T06:00"),
    ("made manual",                       promise(HOURLY, "22T05:00"),   MANUAL,  "22T06:00", None,             None),
    ("switched off, overdue",             promise(DAILY, "22T06:00"),    None,    "22T07:00", None,             None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "kind", "now", "due", "following"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_one_tick(
    before: Promise | None, kind: Schedule | None, now: str, due: tuple[str, int] | None, following: str | None
) -> None:
    step = advance(before, kind, now=at(now))

    assert (step.due and (step.due.due_at, step.due.missed)) == (due and (at(due[0]), due[1]))
    assert (step.promise and step.promise.next_due) == (following and at(following))
    assert (step.promise is None) == (kind is None)
    assert step.promise is None or (step.promise.schedule, step.promise.zones) == (
        schedules.as_document(kind or MANUAL),
        "",
    )


def test_an_edit_keeps_the_phase_of_times_per_day() -> None:
    before = promise(HOURLY, "22T09:10", on_since="20T00:10")
    four = schedules.parse({"type": "times_per_day", "times": 4}, "UTC")

    step = advance(before, four, now=at("22T08:00"))

    assert step.promise is not None
    assert (step.promise.on_since, step.promise.next_due) == (at("20T00:10"), at("22T12:10"))
    assert step.due is None


def test_missed_slots_are_counted_to_the_newest_also_after_a_year() -> None:
    every_minute = schedules.parse({"type": "times_per_day", "times": 1440}, "UTC")
    before = promise(every_minute, "20T00:00")

    step = advance(before, every_minute, now=at("20T00:00") + timedelta(days=365, minutes=7))

    assert step.due is not None
    assert step.due.missed == 365 * 1440 + 7
    assert step.due.missed_until == at("20T00:00") + timedelta(days=365, minutes=7)


def test_a_new_zone_database_moves_future_promises_and_honours_overdue_ones() -> None:
    wrong = replace(promise(DAILY, "22T07:00"), zones="old")  # computed with rules that have changed since

    future = advance(wrong, DAILY, now=at("22T05:00"), zones="new")

    assert future.promise is not None
    assert (future.due, future.promise.next_due, future.promise.zones) == (None, at("22T06:00"), "new")
    for now in ("22T07:00", "22T08:00"):
        overdue = advance(wrong, DAILY, now=at(now), zones="new")
        assert overdue.due is not None
        assert overdue.due.due_at == at("22T07:00")


def test_no_slot_is_due_twice_when_the_clock_goes_back() -> None:
    first = advance(promise(HOURLY, "22T09:00"), HOURLY, now=at("22T09:00"))
    assert first.due is not None

    again = advance(first.promise, HOURLY, now=at("22T08:59"))
    later = advance(again.promise, HOURLY, now=at("22T09:00"))

    assert (again.due, later.due) == (None, None)
    assert later.promise is not None
    assert later.promise.next_due == at("22T10:00")


EVERY_MINUTE = schedules.parse({"type": "times_per_day", "times": 1440}, "UTC")
CRON_MINUTE = schedules.parse({"type": "cron", "expression": "* * * * *"}, "UTC")
WEEKLY_RULE = schedules.parse({"type": "rrule", "rule": "FREQ=WEEKLY;BYDAY=TU", "time": "06:00"}, "UTC")
ANCHORED = schedules.parse({"type": "times_per_day", "times": 24, "anchor": "00:00", "timezone": "UTC"}, "UTC")
LAST_DAY = schedules.parse({"type": "day_of_month", "day": "last", "time": "06:00"}, "UTC")
SECOND_TUESDAY = schedules.parse(
    {"type": "weekday_of_month", "week": "second", "weekday": "tuesday", "time": "06:00"}, "UTC"
)
MIXED = schedules.parse(
    {
        "type": "any_of",
        "schedules": [{"type": "cron", "expression": "0 6 1 * *"}, {"type": "times_per_day", "times": 4}],
    },
    "UTC",
)
NOT_AT_NIGHT = schedules.parse(
    {"type": "cron", "expression": "*/10 * * * *", "blackout": [{"from": "20:00", "to": "06:00"}]}, "UTC"
)
EVERY_KIND = {
    "times per day": HOURLY, "every minute": EVERY_MINUTE, "anchored": ANCHORED, "days of the week": DAILY,
    "two days of the week": MONDAY_FRIDAY, "day of the month": LAST_DAY, "weekday of the month": SECOND_TUESDAY,
    "cron": CRON_MINUTE, "rule": WEEKLY_RULE, "any of": MIXED, "blackout": NOT_AT_NIGHT,
}  # fmt: skip
JUMPS = {
    "minutes": timedelta(minutes=7), "an hour": timedelta(hours=1), "0.9 days": timedelta(hours=21, minutes=36),
    "days": timedelta(days=3, hours=5), "weeks": timedelta(weeks=5),
}  # fmt: skip


def follow(kind: Schedule, minutes: list[datetime], before: Promise | None = None) -> tuple[Promise, list[datetime]]:
    """Return the promise after ticks at *minutes*, and the slots that got a run."""
    ran = []
    for now in minutes:
        step = advance(before, kind, now=now)
        assert step.promise is not None
        before = step.promise
        ran += [step.due.due_at] if step.due else []
    assert before is not None
    return before, ran


def ticks(start: datetime, count: int) -> list[datetime]:
    return [start + timedelta(minutes=number) for number in range(count)]


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
@pytest.mark.parametrize("kind", EVERY_KIND.values(), ids=EVERY_KIND)
@pytest.mark.parametrize("wrong", [1, 3])
def test_after_a_clock_that_was_ahead_the_promise_is_the_next_slot_of_the_clock_as_it_is(
    kind: Schedule, jump: timedelta, wrong: int
) -> None:
    """[R7] One tick in the wrong time, or several; a run was due at each slot that the ticks saw by itself."""
    right = at("22T10:00")
    before, ran = follow(kind, [at("21T23:50"), right])
    on_since = before.on_since

    ahead, more = follow(kind, ticks(right + jump, wrong), before)
    back, _ = follow(kind, [right + timedelta(minutes=1)], ahead)

    slot: datetime | None = right + timedelta(minutes=1)  # what is due in this minute has a run by now
    while slot is not None and (slot == right + timedelta(minutes=1) or slot in {*ran, *more}):
        slot = schedules.next_after(kind, slot, on_since=on_since)
    expected = slot
    assert back.next_due == expected


@pytest.mark.parametrize("kind", EVERY_KIND.values(), ids=EVERY_KIND)
@pytest.mark.parametrize("wrong", [1, 3, 20])
def test_no_slot_runs_twice_and_none_is_left_out_when_the_clock_was_ahead(kind: Schedule, wrong: int) -> None:
    """Until the wrong time has come, and beyond: each slot by the right clock has one run."""
    right, jump = at("22T10:00"), timedelta(hours=9)
    before, ran = follow(kind, [at("21T23:50"), *ticks(at("22T09:30"), 31)])
    ahead, more = follow(kind, ticks(right + jump, wrong), before)
    end = right + jump + timedelta(hours=2)
    _, later = follow(kind, ticks(right + timedelta(minutes=1), 1 + (end - right) // timedelta(minutes=1) - 1), ahead)

    every = [*ran, *more, *later]
    assert len(set(every)) == len(every)
    slots = schedules.between(kind, right, end, on_since=before.on_since)
    assert set(slots) <= set(every)


@pytest.mark.parametrize("kind", EVERY_KIND.values(), ids=EVERY_KIND)
@pytest.mark.parametrize("jump", [timedelta(minutes=5), timedelta(hours=2), timedelta(hours=7)])
def test_no_slot_runs_twice_when_the_clock_goes_back(kind: Schedule, jump: timedelta) -> None:
    """[R7] Also when it stays there for a while, and comes right again."""
    right = at("22T15:00")
    before, ran = follow(kind, ticks(at("22T02:00"), 13 * 60 + 1))
    assert before.recorded is not None
    assert len(before.recorded) <= 1
    behind, more = follow(kind, ticks(right - jump, 90), before)
    _, later = follow(kind, ticks(right + timedelta(minutes=1), 60), behind)

    every = [*ran, *more, *later]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("back", [1, 2, 30, 60])
def test_a_slot_that_was_only_counted_runs_when_the_clock_comes_to_it_once_more(back: int) -> None:
    """A tick that finds many at once may go by a clock that is ahead: only the one with a run has been dealt with."""
    state = advance(promise(EVERY_MINUTE, "22T08:00"), EVERY_MINUTE, now=at("22T09:00"))
    start = at("22T09:00") - timedelta(minutes=back)

    _, due = follow(EVERY_MINUTE, ticks(start, back + 2), state.promise)

    assert due == [minute for minute in ticks(start, back + 2) if minute != at("22T08:00")]


@pytest.mark.parametrize("kind", [HOURLY, DAILY, LAST_DAY, SECOND_TUESDAY, WEEKLY_RULE])
def test_a_clock_that_was_years_ahead(kind: Schedule) -> None:
    right = at("22T10:00")
    before, _ = follow(kind, [at("21T23:50"), right])
    ahead, _ = follow(kind, ticks(right + timedelta(days=9 * 365 + 11), 3), before)

    back, _ = follow(kind, [right + timedelta(minutes=1)], ahead)

    assert ahead.next_due is not None
    assert back.next_due is not None
    assert ahead.next_due - right > timedelta(days=9 * 365)
    assert back.next_due - right < timedelta(days=60)


def test_a_promise_of_an_older_version_is_compared_with_the_clock_once() -> None:
    """It does not say what was recorded before its last slot."""
    stuck = replace(promise(CRON_MINUTE, "23T07:37", last_due=at("23T07:36")), recorded=None)

    step = advance(stuck, CRON_MINUTE, now=at("22T10:01"), clock_may_be_back=False)

    assert step.promise is not None
    assert (step.due and step.due.due_at, step.promise.next_due) == (at("22T10:01"), at("22T10:02"))
    assert step.promise.recorded is not None
    assert step.was_ahead


def test_a_rule_that_was_over_by_a_clock_that_was_ahead_goes_on() -> None:
    rule = schedules.parse(
        {"type": "rrule", "rule": "FREQ=DAILY;UNTIL=20261201", "time": "06:00", "start": "2026-11-01"}, "UTC"
    )
    ahead, _ = follow(rule, [at("22T06:00"), at("22T06:00") + timedelta(days=90)])
    assert ahead.next_due is None

    step = advance(ahead, rule, now=at("22T09:00"))

    assert step.promise is not None
    assert (step.promise.next_due, step.was_ahead) == (at("24T06:00"), True)


def test_what_a_blackout_leaves_out_is_looked_for_by_the_clock_as_it_is() -> None:
    ahead, _ = follow(NO_SUNDAYS, [at("21T22:30"), at("27T22:30")])

    back, _ = follow(NO_SUNDAYS, [at("21T22:31")], ahead)

    assert (back.next_due, back.left_out) == (at("22T12:00"), at("22T00:00"))


def test_a_promise_from_a_clock_that_was_a_year_ahead_heals() -> None:
    ahead = advance(promise(DAILY, "22T06:00"), DAILY, now=at("22T06:00") + timedelta(days=365))
    back = advance(ahead.promise, DAILY, now=at("22T09:00"))

    assert ahead.due is not None
    assert ahead.due.due_at == at("22T06:00")
    assert back.due is None
    assert back.promise is not None
    assert back.promise.next_due == at("23T06:00")
    assert (ahead.was_ahead, back.was_ahead) == (False, True)


GOING = [
    # what happens between two ticks in the minute of a slot     ticks: minute, and whether it is there and on
    ("off and on within its minute",                             [("22T06:00", True), ("22T06:00", False), ("22T06:00", True)]),
    ("off twice",                                                [("22T06:00", True), ("22T06:00", False), ("22T06:00", True),
                                                                  ("22T06:00", False), ("22T06:00", True)]),
    ("off, and on a minute later",                               [("22T06:00", True), ("22T06:00", False), ("22T06:01", True)]),
]  # fmt: skip


@pytest.mark.parametrize("kind", [DAILY, CRON_MINUTE, EVERY_MINUTE, HOURLY], ids=["daily", "cron", "minutes", "hourly"])
@pytest.mark.parametrize("ticks", [case[1] for case in GOING], ids=[case[0] for case in GOING])
def test_a_slot_that_was_recorded_before_the_switching_off_is_not_due_again(
    kind: Schedule, ticks: list[tuple[str, bool]]
) -> None:
    """[R6] What OFF forgets is the promise: `former` still knows what was recorded."""
    promises: dict[str, Promise] = {}
    former: dict[str, Promise] = {}
    ran = []
    for now, on in ticks:
        decided = decide(now, connections={"a": connection("a", kind, enabled=on)}, promises=promises, former=former)
        for name, after in decided.promises.items():
            if after is None:
                former[name] = promises.pop(name)
            else:
                promises[name] = after
        ran += [slot.entry.due_at for slot in decided.slots if slot.result == "queued"]

    assert len(set(ran)) == len(ran)
    if kind is DAILY:
        assert ran == [at("22T06:00")]


def test_a_catch_up_within_the_minute_of_a_slot_stands_for_it_when_the_connection_comes_back() -> None:
    caught_up = advance(promise(DAILY, "21T06:00"), DAILY, now=at("22T06:00")).promise

    step = advance(None, DAILY, now=at("22T06:00"), former=caught_up)

    assert (step.due, step.promise and step.promise.next_due) == (None, at("23T06:00"))


def test_most_ticks_spend_no_time_on_promises_that_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(schedules, "next_after", lambda *facts, **more: asked.append(facts))
    facts: dict[str, Any] = {"promises": {"a": promise(DAILY, "23T06:00")}, "connections": A}

    assert decide("22T06:01", **facts, seen=at("22T06:00")).promises == {}
    assert asked == []


def test_a_switching_on_in_the_future_of_the_clock_starts_here() -> None:
    step = advance(promise(HOURLY, "22T12:00", on_since="22T11:00"), HOURLY, now=at("22T09:00"))

    assert step.promise is not None
    assert step.promise.on_since == at("22T09:00")
    assert step.promise.next_due == at("22T09:00") or step.due is not None


@given(
    kind=st.sampled_from([MONDAY_FRIDAY, DAILY, HOURLY]),
    steps=st.lists(st.integers(0, 4000), min_size=1, max_size=20),
)
def test_every_slot_is_told_exactly_once(kind: Schedule, steps: list[int]) -> None:
    """[P1] Whatever the gaps between ticks: due or missed, each slot since the switching on, once."""
    now = start = at("02T00:00")
    state = advance(None, kind, now=now)
    told = int(state.due is not None)
    for minutes in steps:
        now += timedelta(minutes=minutes)
        state = advance(state.promise, kind, now=now)
        if state.due:
            told += 1 + state.due.missed
    assert told == schedules.count_between(kind, start - timedelta(minutes=1), now, on_since=start)


ONCE_A_DAY = schedules.parse({"type": "times_per_day", "times": 1}, "UTC")
NEWEST = [
    # schedule     after       up to       the newest slot, switched on at 20T00:10
    (ONCE_A_DAY,   "21T23:00", "22T23:30", "22T00:10"),
    (ONCE_A_DAY,   "22T00:09", "22T00:10", "22T00:10"),
    (ONCE_A_DAY,   "22T00:10", "22T23:30", None),
    (DAILY,        "20T05:00", "25T05:00", "24T06:00"),
    (EVERY_MINUTE, "22T00:10", "22T00:10", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "start", "end", "newest"), NEWEST)
def test_the_newest_slot_between_two_instants(kind: Schedule, start: str, end: str, newest: str | None) -> None:
    assert last_between(kind, at(start), at(end), at("20T00:10")) == (newest and at(newest))


def test_the_newest_slot_is_found_without_a_look_at_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    spans, between = [], schedules.between

    def watched(kind: Schedule, start: datetime, end: datetime, **more: Any) -> Any:
        spans.append(end - start)
        return between(kind, start, end, **more)

    monkeypatch.setattr(schedules, "between", watched)
    end = at("22T00:00")
    assert last_between(EVERY_MINUTE, end - timedelta(days=365), end, at("20T00:00") - timedelta(days=400)) == end
    assert spans == [timedelta(minutes=1)]


# --- many connections ------------------------------------------------------------------------------------------------


def connection(name: str, kind: Schedule, *, enabled: bool = True) -> Connection:
    return Connection(
        name=name, title=name, schedule=kind, enabled=enabled, work=Command(run=("true",)), timeout=60, document={},
        fingerprint="",
    )  # fmt: skip


def waiting(name: str, due: str = "22T05:00") -> QueuedRun:
    return QueuedRun(connection=name, due_at=at(due), queued_at=at(due))


def decide(now: str = "22T06:00", **facts: Any) -> Any:
    known: dict[str, Any] = {
        "promises": {}, "waiting": {}, "running": (), "connections": {}, "broken": (), "zones": "",
    }  # fmt: skip
    requests, due = facts.pop("requests", ()), facts.pop("due", True)
    return plan_tick(TickFacts(**{**known, **facts}, at=at(now)), requests, due=due)


def results(decided: Any) -> list[tuple[str, str]]:
    return [(slot.connection, slot.result) for slot in decided.slots]


DUE = {"a": promise(DAILY, "22T06:00")}
A = {"a": connection("a", DAILY)}
REQUEST = RunRequest(id="w1", connection="a", asked_at=at("22T05:59"), asked_by="jo")

MANY = [
    # what                                   facts                                                              results
    ("due and free",                         {"promises": DUE, "connections": A},                               [("a", "queued")]),
    ("due while it waits [R9]",              {"promises": DUE, "connections": A, "waiting": {"a": waiting("a")}}, [("a", "merged")]),
    ("due while it runs [R9]",               {"promises": DUE, "connections": A, "running": ("a",)},            [("a", "merged")]),
    ("due, its file broken [R8]",            {"promises": DUE, "broken": ("a",)},                               [("a", "skipped")]),
    ("due while it runs, its file broken",   {"promises": DUE, "broken": ("a",), "running": ("a",)},            [("a", "merged")]),
    ("due while it waits, its file broken",  {"promises": DUE, "broken": ("a",), "waiting": {"a": waiting("a")}}, [("a", "merged")]),
    ("broken and never seen",                {"broken": ("a",)},                                                []),
    ("removed while it waits",               {"promises": DUE, "waiting": {"a": waiting("a")}},                 [("a", "dropped")]),
    ("off while it waits",                   {"promises": DUE, "connections": {"a": connection("a", DAILY, enabled=False)},
                                              "waiting": {"a": waiting("a")}},                                  [("a", "dropped")]),
    ("a request",                            {"connections": {"a": connection("a", MANUAL)}, "requests": (REQUEST,)}, [("a", "queued")]),
    ("a request while it runs is a run more",{"connections": {"a": connection("a", MANUAL)}, "requests": (REQUEST,),
                                              "running": ("a",)},                                               [("a", "queued")]),
    ("a request while it waits",             {"connections": {"a": connection("a", MANUAL)}, "requests": (REQUEST,),
                                              "waiting": {"a": waiting("a")}},                                  [("a", "merged")]),
    ("a request and a slot are one run",     {"promises": DUE, "connections": A, "requests": (REQUEST,)},            [("a", "queued"), ("a", "merged")]),
    ("a request for nothing",                {"requests": (REQUEST,)},                                               [("a", "dropped")]),
    ("a request for one that is off",        {"connections": {"a": connection("a", DAILY, enabled=False)},
                                              "requests": (REQUEST,)},                                               [("a", "skipped")]),
    ("a request for one that is broken",     {"broken": ("a",), "requests": (REQUEST,)},                             [("a", "skipped")]),
    ("a request for one that is gone",       {"promises": DUE, "requests": (REQUEST,), "due": False},                [("a", "skipped")]),
    ("a request for one that was off",       {"former": DUE, "requests": (REQUEST,)},                                [("a", "skipped")]),
    ("a request that was accepted",          {"requests": (replace(REQUEST, notify=()),)},                           [("a", "skipped")]),
    ("a request for no name",                {"requests": (replace(REQUEST, connection="../a", notify=()),)},        [("../a", "dropped")]),
    ("two requests for one that is broken",  {"broken": ("a",), "requests": (REQUEST, replace(REQUEST, id="w2"))},   [("a", "skipped"), ("a", "skipped")]),
    ("off while it waits, asked for",        {"connections": {"a": connection("a", DAILY, enabled=False)},
                                              "waiting": {"a": replace(waiting("a"), trigger="manual")}},            [("a", "skipped")]),
    ("removed, asked for while it waited",   {"promises": DUE, "waiting": {"a": replace(waiting("a"), notify=())}},  [("a", "skipped")]),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "expected"), [case[1:] for case in MANY], ids=[case[0] for case in MANY])
def test_what_becomes_of_a_slot(facts: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert results(decide(**facts)) == expected


OFF, BY_HAND = {"a": connection("a", DAILY, enabled=False)}, {"a": connection("a", MANUAL)}
REASONS = [
    # what is known                                                                         why, slot by slot
    ({"promises": DUE, "connections": A},                                                   [""]),
    ({"promises": DUE, "connections": A, "waiting": {"a": waiting("a")}},                   ["it waits already"]),
    ({"promises": DUE, "connections": A, "running": ("a",)},                                ["it runs"]),
    ({"promises": DUE, "broken": ("a",)},                                                   ["its file has problems"]),
    ({"promises": DUE, "connections": OFF, "waiting": {"a": waiting("a")}},                 ["switched off while it waited"]),
    ({"promises": DUE, "waiting": {"a": waiting("a")}},                                     ["removed while it waited"]),
    ({"connections": BY_HAND, "requests": (REQUEST,)},                                            [""]),
    ({"connections": BY_HAND, "requests": (REQUEST, REQUEST)},                                    ["", "it waits already"]),
    ({"connections": BY_HAND, "requests": (REQUEST,), "waiting": {"a": waiting("a")}},            ["it waits already"]),
    ({"connections": OFF, "requests": (REQUEST,)},                                          ["switched off"]),
    ({"requests": (REQUEST,)},                                                              ["no such connection"]),
    ({"broken": ("a",), "requests": (REQUEST,)},                                            ["its file has problems"]),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "reasons"), REASONS)
def test_what_is_said_of_a_slot(facts: dict[str, Any], reasons: list[str]) -> None:
    assert [slot.reason for slot in decide(**facts).slots] == reasons


def test_a_slot_of_a_schedule_and_one_of_a_request() -> None:
    decided = decide("22T06:01", promises={"b": DUE["a"]}, connections={**A, "b": A["a"]}, requests=(REQUEST,))

    due = QueuedRun(connection="b", due_at=at("22T06:00"), queued_at=at("22T06:01"))
    asked = QueuedRun(
        connection="a", due_at=at("22T05:59"), queued_at=at("22T06:01"), trigger="manual", asked_by="jo", request="w1"
    )
    assert decided.slots == (
        Slot(connection="b", result="queued", entry=due),
        Slot(connection="a", result="queued", entry=asked),
    )
    dropped = decide("22T06:01", requests=(REQUEST,)).slots
    assert dropped == (Slot(connection="a", result="dropped", entry=asked, reason="no such connection"),)


def test_one_that_is_broken_and_was_never_seen_keeps_no_other_from_its_slot() -> None:
    assert results(decide(promises={"b": DUE["a"]}, connections={"b": A["a"]}, broken=("a",))) == [("b", "queued")]
    one = replace(A["a"], name="a")
    assert results(decide(promises={"b": DUE["a"]}, connections={"a": one, "b": A["a"]}, broken=("a",))) == [
        ("b", "queued")
    ]


def test_without_what_is_due_only_requests_are_answered() -> None:
    facts = TickFacts(
        promises={"b": DUE["a"]}, waiting={}, running=(), connections={**BY_HAND, "b": A["a"]}, broken=(), zones="z",
        at=at("22T06:00"),
    )  # fmt: skip

    assert results(plan_tick(facts, [REQUEST], due=False)) == [("a", "queued")]
    assert plan_tick(facts, [REQUEST], due=False).promises == {}
    assert results(plan_tick(facts, [REQUEST])) == [("b", "queued"), ("a", "queued")]
    assert {name: promise and promise.zones for name, promise in plan_tick(facts, []).promises.items()} == {
        "a": "z",
        "b": "z",
    }


def test_a_broken_connection_keeps_its_promise_and_goes_on_promising() -> None:
    decided = decide(promises=DUE, broken=("a",))

    assert decided.promises["a"].next_due == at("23T06:00")
    assert decided.promises["a"].on_since == DUE["a"].on_since


def test_a_wish_moves_no_promise() -> None:
    known = {"a": promise(DAILY, "23T06:00", last_due=at("22T06:00"))}

    assert decide(promises=known, connections=A, requests=(REQUEST,)).promises == {}


# --- blackouts, and runs that come too late --------------------------------------------------------------------------

NO_SUNDAYS = schedules.parse(
    {"type": "times_per_day", "times": 24, "anchor": "00:00", "timezone": "UTC",
     "blackout": [{"days": ["sunday"], "to": "12:00", "reason": "maintenance"}]}, "UTC",
)  # fmt: skip


def left_out(decided: Any) -> list[tuple[str, int, str]]:
    return [
        (f"{slot.entry.due_at:%d %H:%M}", slot.entry.missed, slot.reason)
        for slot in decided.slots
        if slot.result == "left_out"
    ]


def test_what_a_blackout_leaves_out_is_told_once_and_is_no_slot() -> None:
    """22 November 2026 is a Sunday."""
    known = {"a": connection("a", NO_SUNDAYS)}
    promises: dict[str, Promise] = {}
    told, ran = [], []
    for now in ("21T22:30", "21T23:00", "22T00:00", "22T00:01", "22T05:30", "22T11:00", "22T12:00", "22T12:01"):
        decided = decide(now, connections=known, promises=promises)
        promises |= decided.promises
        told += left_out(decided)
        ran += [f"{slot.entry.due_at:%d %H:%M}" for slot in decided.slots if slot.result == "queued"]
        assert promises["a"].next_due is not None
        assert not schedules.explain_left_out(NO_SUNDAYS, promises["a"].next_due)

    reason = "blackout: maintenance (Sunday from 00:00 to 12:00)"
    assert ran == ["21 23:00", "22 12:00"]
    assert told == [("22 00:00", 0, reason), ("22 01:00", 4, reason), ("22 06:00", 5, reason)]


FROM_SWITCHING_ON = schedules.parse(
    {"type": "times_per_day", "times": 24, "timezone": "UTC",
     "blackout": [{"days": ["sunday"], "to": "12:00", "timezone": "UTC"}]}, "UTC",
)  # fmt: skip
LEFT_OUT = [
    # schedule            its promise, on since 20T00:10       now         left out: first, others, newest of them
    (NO_SUNDAYS,          None,                                "22T00:00", ("22T00:00", 0, None)),      # switched on in that minute
    (NO_SUNDAYS,          None,                                "22T00:01", None),
    (NO_SUNDAYS,          ("22T12:00", "22T00:00"),            "21T23:59", None),
    (NO_SUNDAYS,          ("22T12:00", "22T00:00"),            "22T00:00", ("22T00:00", 0, None)),
    (NO_SUNDAYS,          ("22T12:00", "22T00:00"),            "22T01:00", ("22T00:00", 1, "22T01:00")),
    (NO_SUNDAYS,          ("22T12:00", "22T00:00"),            "22T02:30", ("22T00:00", 2, "22T02:00")),
    (FROM_SWITCHING_ON,   ("22T12:10", "22T00:10"),            "22T01:30", ("22T00:10", 1, "22T01:10")),
    (FROM_SWITCHING_ON,   ("22T12:10", "22T00:10"),            "22T13:30", ("22T00:10", 11, "22T11:10")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "known", "now", "expected"), LEFT_OUT)
def test_what_a_blackout_has_left_out_by_now(
    kind: Schedule, known: tuple[str, str] | None, now: str, expected: tuple[str, int, str | None] | None
) -> None:
    before = known and promise(kind, known[0], on_since="20T00:10", left_out=at(known[1]))
    step = advance(before or None, kind, now=at(now))

    found = step.left_out and (step.left_out.due_at, step.left_out.missed, step.left_out.missed_until)
    assert found == (expected and (at(expected[0]), expected[1], expected[2] and at(expected[2])))


def test_what_will_be_left_out_next_is_known_before_it_is() -> None:
    for kind, minute in ((NO_SUNDAYS, 0), (FROM_SWITCHING_ON, 30)):
        step = advance(None, kind, now=at("21T22:30"))
        assert step.promise is not None
        # In a run of slots the next one comes first: what is left out is looked for up to it.
        later = advance(step.promise, kind, now=at("21T23:30"))
        assert later.promise is not None
        assert later.promise.left_out == at("22T00:00") + timedelta(minutes=minute)


def test_a_schedule_that_a_blackout_leaves_nothing_of() -> None:
    never = schedules.parse(
        {"type": "days_of_week", "days": ["sunday"], "time": "06:00", "blackout": [{"days": ["sunday"]}]}, "UTC"
    )
    step = advance(None, never, now=at("21T05:00"))
    assert step.promise is not None
    assert (step.promise.next_due, step.promise.left_out) == (None, at("22T06:00"))


def test_what_is_left_out_while_no_tick_comes_is_told_beside_the_late_run() -> None:
    before = advance(None, NO_SUNDAYS, now=at("21T22:30")).promise
    step = advance(before, NO_SUNDAYS, now=at("22T13:30"))

    assert step.due is not None
    assert (step.due.due_at, step.due.missed) == (at("21T23:00"), 2)  # 12:00 and 13:00
    assert step.left_out is not None
    assert (step.left_out.due_at, step.left_out.missed) == (at("22T00:00"), 11)
    assert step.left_out.missed_until == at("22T11:00")


@given(steps=st.lists(st.integers(0, 4000), min_size=1, max_size=20))
def test_every_instant_of_a_schedule_with_blackouts_is_told_once(steps: list[int]) -> None:
    """[P1] As a slot (due or missed), or as left out."""
    whole = schedules.parse({**schedules.as_document(NO_SUNDAYS), "blackout": [{"dates": ["1999-01-01"]}]}, "UTC")
    now = start = at("02T00:00")
    state = advance(None, NO_SUNDAYS, now=now)
    told = int(state.due is not None)
    for minutes in steps:
        now += timedelta(minutes=minutes)
        state = advance(state.promise, NO_SUNDAYS, now=now)
        told += sum(1 + each.missed for each in (state.due, state.left_out) if each)
    assert told == schedules.count_between(whole, start - timedelta(minutes=1), now)


IN_TIME = {"a": replace(connection("a", HOURLY), start_within=1800)}
TOO_LATE = [
    # due since   now         missed (first, others)   queued (due, missed behind it)
    ("22T05:00", "22T05:30", None,                     ("22T05:00", 0)),
    ("22T05:00", "22T05:31", ("22T05:00", 0),          None),
    ("22T05:00", "22T09:10", ("22T05:00", 3),          ("22T09:00", 0)),
    ("22T05:00", "22T09:45", ("22T05:00", 4),          None),
    ("22T05:00", "22T09:30", ("22T05:00", 3),          ("22T09:00", 0)),
    ("22T05:00", "22T09:31", ("22T05:00", 4),          None),
    ("22T05:00", "22T09:00", ("22T05:00", 3),          ("22T09:00", 0)),
]  # fmt: skip


@pytest.mark.parametrize(("due", "now", "missed", "queued"), TOO_LATE)
def test_slots_that_no_tick_saw_in_time(
    due: str, now: str, missed: tuple[str, int] | None, queued: tuple[str, int] | None
) -> None:
    decided = decide(now, promises={"a": promise(HOURLY, due)}, connections=IN_TIME)

    found = {slot.result: (slot.entry.due_at, slot.entry.missed) for slot in decided.slots}
    expected = {"missed": missed, "queued": queued}
    assert found == {result: (at(each[0]), each[1]) for result, each in expected.items() if each}
    for slot in decided.slots:
        others = timedelta(hours=slot.entry.missed)
        assert slot.missed_until == (slot.entry.due_at + others if others else None)
        assert slot.reason == ("no tick came within 30 min after it was due" if slot.result == "missed" else "")


def test_a_run_that_waited_too_long_gives_way_to_the_slot_of_now() -> None:
    facts = {"connections": IN_TIME, "waiting": {"a": replace(waiting("a", "22T05:00"), merged=2)}}
    decided = decide("22T08:00", promises={"a": promise(HOURLY, "22T08:00")}, **facts)

    assert results(decided) == [("a", "missed"), ("a", "queued")]
    assert decided.slots[0].reason == "it waited in the queue for more than 30 min"
    assert decided.slots[0].entry.merged == 2
    assert decided.slots[1].entry.due_at == at("22T08:00")


def test_what_waited_too_long_and_what_nobody_saw_are_one_record() -> None:
    facts = {"connections": IN_TIME, "waiting": {"a": waiting("a", "22T05:00")}}
    decided = decide("22T08:10", promises={"a": promise(HOURLY, "22T06:00")}, **facts)

    assert results(decided) == [("a", "missed"), ("a", "queued")]
    assert (decided.slots[0].entry.due_at, decided.slots[0].entry.missed) == (at("22T05:00"), 2)
    assert decided.slots[0].missed_until == at("22T07:00")


def test_a_wish_is_never_too_late() -> None:
    entry = replace(waiting("a", "20T05:00"), trigger="manual")

    assert not is_too_late(entry, IN_TIME["a"], at("22T08:00"))
    assert ("a", "missed") not in results(decide("22T08:00", connections=IN_TIME, waiting={"a": entry}))


def test_a_run_that_waits_is_too_late_after_start_within_and_not_at_it() -> None:
    entry, end = waiting("a", "22T05:00"), at("22T05:30")

    assert not is_too_late(entry, IN_TIME["a"], end)
    assert is_too_late(entry, IN_TIME["a"], end + timedelta(milliseconds=1))
    assert not is_too_late(entry, A["a"], end + timedelta(days=9))
    assert not is_too_late(entry, None, end + timedelta(days=9))


STOPS = [
    # the request names           stops number 7, due 06:00    takes out what waits for 06:00
    (("a", 7, None),              True,                        False),
    (("a", 6, None),              False,                       False),
    (("b", 7, None),              False,                       False),
    (("a", None, "22T06:00"),     True,                        True),   # it waited, and started meanwhile
    (("a", None, "22T07:00"),     False,                       False),
    (("b", None, "22T06:00"),     False,                       False),
    (("a", 6, "22T06:00"),        False,                       False),  # a number is the last word
]  # fmt: skip


@pytest.mark.parametrize(("named", "runs", "waits"), STOPS)
def test_a_wish_to_stop_names_one_run(named: tuple[str, int | None, str | None], runs: bool, waits: bool) -> None:
    connection, run, due = named
    stop = StopRequest(
        connection=connection, run=run, due_at=at(due) if due else None, asked_at=at("22T08:00"), asked_by="ann@here"
    )
    assert (find_stop_of_run([stop], "a", 7, at("22T06:00")) is stop) == runs
    assert (find_stop_of_entry([stop], waiting("a", "22T06:00")) is stop) == waits


def test_who_stopped_it_and_why() -> None:
    stop = StopRequest(connection="a", run=1, asked_at=at("22T08:00"), asked_by="ann@here")
    assert stop.description == "stopped by ann@here"
    assert replace(stop, reason="wrong list").description == "stopped by ann@here: wrong list"


# --- an index of connections ---------------------------------------------------------------------------------------


def as_index(connections: dict[str, Connection], asked: list[str]) -> ConnectionIndex:
    def build(name: str) -> Connection:
        asked.append(name)
        return connections[name]

    return ConnectionIndex(
        {name: traits_of(one) for name, one in connections.items()},
        build,
        lambda name: schedules.as_document(connections[name].schedule),
        {},
    )


OF_THREE = st.fixed_dictionaries(
    {name: st.sampled_from([DAILY, HOURLY, MONDAY_FRIDAY, MANUAL, None, "off", "broken"]) for name in "abc"}
)


@given(st.lists(st.tuples(st.integers(-90, 2000), OF_THREE, st.sampled_from(["", "2026b"])), min_size=1, max_size=6))
def test_an_index_of_connections_leads_to_the_same_decisions(steps: list[tuple[int, dict[str, Any], str]]) -> None:
    """However the files change, the clock goes, and the time-zone database with it."""
    promises: dict[str, Promise] = {}
    former: dict[str, Promise] = {}
    now, seen = at("20T00:00"), None
    queued: dict[str, QueuedRun] = {}
    for minutes, kinds, zones in steps:
        now += timedelta(minutes=minutes)
        known = {
            name: connection(name, DAILY if kind == "off" else kind, enabled=kind != "off")
            for name, kind in kinds.items()
            if kind not in (None, "broken")
        }
        broken = [name for name, kind in kinds.items() if kind == "broken"]
        asked: list[str] = []
        decided = [
            plan_tick(
                TickFacts(
                    promises=promises, waiting=queued, running=(), connections=connections, broken=broken, at=now,
                    zones=zones, former=former, seen=seen,
                ),
                [],
            )
            for connections in (known, as_index(known, asked))
        ]  # fmt: skip
        assert decided[0] == decided[1]
        former |= {name: promises[name] for name, one in decided[0].promises.items() if one is None}
        promises = {name: one for name, one in {**promises, **decided[0].promises}.items() if one is not None}
        queued = {slot.connection: slot.entry for slot in decided[0].slots if slot.result == "queued"}
        seen = max(now, seen or now)


def test_connections_about_which_nothing_is_to_be_decided_are_not_built() -> None:
    kinds = {"a": DAILY, "b": HOURLY, "c": MANUAL}
    known = {name: connection(name, kind) for name, kind in kinds.items()} | {
        "off": connection("off", DAILY, enabled=False)
    }
    before = {name: promise(kind, "23T06:00" if kind != MANUAL else None) for name, kind in kinds.items()}
    asked: list[str] = []

    def plan(**more: Any) -> set[str]:
        asked.clear()
        decide(promises=before, connections=as_index(known, asked), seen=at("22T05:00"), **more)
        return set(asked)

    assert plan() == set()
    assert plan(now="23T06:00") == {"a", "b"}, "due"
    assert plan(zones="2027a") == {"a", "b", "c"}, "another time-zone database"
    assert plan(waiting={"c": waiting("c")}) == {"c"}
    known["a"] = connection("a", MONDAY_FRIDAY)
    assert plan() == {"a"}, "edited"
    del before["b"]
    assert plan() == {"a", "b"}, "new"
