"""Two versions of a workspace compared: keys, slots, what becomes of each connection; and odd days."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import islice
from typing import Any

import pytest

from connrunner.core import instant, schedules
from connrunner.core.model import DaysOfWeek, Mail, Target, Workspace
from connrunner.core.planning import changes, outlook
from connrunner.core.planning.changes import ConnectionChange, KeyDifference, Slots
from connrunner.core.planning.due import Promise
from tests.test_core_on_time import connection, workspace

KEYS = [
    # before                          after                            key, before, after
    ({"a": 1},                        {"a": 1},                        []),
    ({"a": {"b": 1, "c": 2}},         {"a": {"b": 1, "c": 3}},         [("a.c", 2, 3)]),
    ({"a": 1},                        {"b": 1},                        [("a", 1, None), ("b", None, 1)]),
    ({"a": {"b": 1}},                 {"a": "nightly"},                [("a", {"b": 1}, "nightly")]),
    ({"a": [1, 2]},                   {"a": [2, 1]},                   [("a", [1, 2], [2, 1])]),
    ({"f": {"x": 1, "y": 2}},         {"f": {"y": 2, "x": 1}},         [("f (order)", "x, y", "y, x")]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "found"), KEYS)
def test_the_keys_that_say_something_else(before: Any, after: Any, found: list[tuple[str, Any, Any]]) -> None:
    assert changes.find_differences(before, after) == tuple(
        KeyDifference(key=k, before=b, after=a) for k, b, a in found
    )


def times(*texts: str) -> list[datetime]:
    return [instant.parse(f"2026-11-{text}:00Z") for text in texts]


MOVES = [
    # before                          after                            added, removed, moved
    ("23T05:00 24T05:00",             "23T05:00 24T05:00",             ("", "", "")),
    ("23T05:00 24T05:00",             "23T06:00 24T06:00",             ("", "", "23T05:00>23T06:00 24T05:00>24T06:00")),
    ("23T05:00",                      "24T05:00",                      ("", "", "23T05:00>24T05:00")),          # another weekday
    ("",                              "23T05:00",                      ("23T05:00", "", "")),
    ("23T05:00 24T05:00",             "",                              ("", "23T05:00 24T05:00", "")),
    ("23T05:00 23T17:00",             "23T05:00 23T13:00 23T21:00",    ("23T13:00 23T21:00", "23T17:00", "")),  # twice to three times a day
    ("23T23:30",                      "23T22:30",                      ("", "", "23T23:30>23T22:30")),          # over midnight in the zone
    ("23T23:30",                      "23T23:45",                      ("", "", "23T23:30>23T23:45")),          # of the next day in the zone
    ("23T22:30",                      "23T23:30 25T12:00",             ("23T23:30 25T12:00", "23T22:30", "")),  # two days in the zone
    ("24T05:00 23T05:00 23T05:00",    "24T06:00 23T06:00",             ("", "", "23T05:00>23T06:00 24T05:00>24T06:00")),
    ("23T05:00 23T06:00",             "23T07:00 23T08:00",             ("", "", "23T05:00>23T07:00 23T06:00>23T08:00")),
    ("23T05:00 23T06:00 24T05:00",    "23T07:00 24T06:00",             ("23T07:00", "23T05:00 23T06:00", "24T05:00>24T06:00")),
    ("23T05:00 24T05:00",             "23T06:00 25T05:00",             ("", "", "23T05:00>23T06:00 24T05:00>25T05:00")),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "found"), MOVES)
def test_what_becomes_of_slots(before: str, after: str, found: tuple[str, str, str]) -> None:
    got = changes.compare_slots(times(*before.split()), times(*after.split()), timezone="Europe/Amsterdam")

    pairs = [times(*pair.split(">")) for pair in found[2].split()]
    assert got == Slots(
        added=tuple(times(*found[0].split())),
        removed=tuple(times(*found[1].split())),
        moved=tuple((old, new) for old, new in pairs),
    )


def version(a: dict[str, Any] | None = None, *, broken: bool = False) -> Workspace:
    """Return a workspace with a connection of this document, or whose file is broken; and one that is always the same."""
    same = replace(connection("same"), document={"title": "Same"})
    one = () if a is None else (replace(connection("a"), document=a, enabled=a.get("enabled", True)),)
    return replace(workspace(same, *one), broken={"a": ()} if broken else {})


TITLE = KeyDifference(key="title", before="A", after="B")
ON, OFF = {"title": "A"}, {"title": "A", "enabled": False}
KINDS = [
    # before                      after                                  what becomes of it
    (version(),                   version(),                             None),
    (version(ON),                 version(ON),                           None),
    (version(),                   version(ON),                           ("added", ())),
    (version(ON),                 version(),                             ("removed", ())),
    (version(ON),                 version({"title": "B"}),               ("changed", (TITLE,))),
    (version(ON),                 version(OFF),                          ("switched-off", ())),
    (version(OFF),                version({**ON, "enabled": True}),      ("switched-on", ())),
    (version(OFF),                version({"title": "B"}),               ("switched-on", (TITLE,))),
    (version(OFF),                version({**OFF, "title": "B"}),        ("changed", (TITLE,))),
    (version(ON),                 version({**ON, "enabled": True}),      None),   # as good as not said
    (version(),                   version(broken=True),                  ("broken", ())),
    (version(ON),                 version(broken=True),                  ("broken", ())),
    (version(broken=True),        version(broken=True),                  None),
    (version(broken=True),        version(ON),                           ("mended", ())),
    (version(broken=True),        version(),                             ("removed", ())),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "becomes"), KINDS)
def test_what_becomes_of_a_connection(
    before: Workspace, after: Workspace, becomes: tuple[Any, tuple[KeyDifference, ...]] | None
) -> None:
    expected = () if becomes is None else (ConnectionChange(connection="a", kind=becomes[0], keys=becomes[1]),)
    assert changes.find_changes(before, after) == expected


def test_connections_come_by_name() -> None:
    before, after = workspace(connection("c"), connection("a")), workspace(connection("d"), connection("b"))

    assert [(each.connection, each.kind) for each in changes.find_changes(before, after)] == [
        ("a", "removed"), ("b", "added"), ("c", "removed"), ("d", "added"),
    ]  # fmt: skip


NOTES = [
    # schedule                                                                        slot                    note
    ({"type": "days_of_week", "days": ["sunday"], "time": "02:30"},                   "2027-03-28T01:30:00Z", "the clocks go forward: there is no 02:30 on this day"),
    ({"type": "days_of_week", "days": ["sunday"], "time": "02:30"},                   "2026-10-25T00:30:00Z", "the clocks go back: 02:30 comes twice, the first one counts"),
    ({"type": "days_of_week", "days": ["sunday"], "time": "06:00"},                   "2027-03-28T04:00:00Z", "the clocks went forward by 1 h since the day before"),
    ({"type": "days_of_week", "days": ["sunday"], "time": "06:00"},                   "2026-10-25T05:00:00Z", "the clocks went back by 1 h since the day before"),
    ({"type": "days_of_week", "days": ["sunday"], "time": "06:00"},                   "2026-11-22T05:00:00Z", ""),
    ({"type": "any_of", "schedules": [{"type": "days_of_week", "days": ["sunday"], "time": "02:30"}, {"type": "times_per_day", "times": 4, "anchor": "00:00"}]}, "2027-03-28T01:30:00Z", "the clocks go forward: there is no 02:30 on this day"),
    ({"type": "cron", "expression": "30 2 * * *"},                                    "2027-03-28T01:30:00Z", "the clocks go forward: there is no 02:30 on this day"),
    ({"type": "cron", "expression": "30 2,9 * * *"},                                  "2027-03-28T01:30:00Z", "the clocks went forward by 1 h since the day before"),
    ({"type": "rrule", "rule": "FREQ=DAILY;BYHOUR=9", "time": "06:30"},               "2026-11-22T08:30:00Z", ""),
    ({"type": "days_of_week", "days": ["sunday"], "time": "02:15", "timezone": "Australia/Lord_Howe"}, "2026-10-03T15:45:00Z", "the clocks go forward: there is no 02:15 on this day"),
    ({"type": "days_of_week", "days": ["sunday"], "time": "06:00", "timezone": "Australia/Lord_Howe"}, "2026-10-03T19:00:00Z", "the clocks went forward by 30 min since the day before"),
    ({"type": "days_of_week", "days": ["sunday"], "time": "06:00", "timezone": "Australia/Lord_Howe"}, "2027-04-03T19:30:00Z", "the clocks went back by 30 min since the day before"),
    ({"type": "any_of", "schedules": [{"type": "days_of_week", "days": ["sunday"], "time": "02:30"}, {"type": "days_of_week", "days": ["sunday"], "time": "06:00"}]}, "2027-03-28T04:00:00Z", "the clocks went forward by 1 h since the day before"),
    ({"type": "any_of", "schedules": [{"type": "days_of_week", "days": ["sunday"], "time": "01:30"}, {"type": "cron", "expression": "30 2 * * *", "blackout": [{"days": ["monday"]}]}]}, "2027-03-28T01:30:00Z", "the clocks go forward: there is no 02:30 on this day"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "slot", "words"), NOTES)
def test_clock_changes_are_noted(data: dict[str, Any], slot: str, words: str) -> None:
    parsed = schedules.parse(data, "Europe/Amsterdam")
    due = instant.parse(slot)
    assert due in schedules.between(parsed, due.replace(hour=0) - outlook.DAY, due + outlook.DAY), "the case is wrong"

    assert outlook.explain_clock_change(parsed, due, timezone="UTC") == words


def test_what_names_no_zone_goes_by_the_clocks_of_the_workspace() -> None:
    parsed = schedules.parse({"type": "times_per_day", "times": 4}, "UTC")
    due = instant.parse("2027-03-28T04:00:00Z")

    assert outlook.explain_clock_change(parsed, due, timezone="UTC") == ""
    said = "the clocks went forward by 1 h since the day before"
    assert outlook.explain_clock_change(parsed, due, timezone="Europe/Amsterdam") == said


UPCOMING = [
    # schedule                                   now                promise, on since         the next three
    ({"type": "times_per_day", "times": 4},      "23T05:00",        None,                     "23T05:00 23T11:00 23T17:00"),
    ({"type": "times_per_day", "times": 4},      "23T05:00",        ("23T04:00", "22T04:00"), "23T04:00 23T10:00 23T16:00"),
    ({"type": "times_per_day", "times": 4},      "23T05:00",        ("23T10:00", "22T04:00"), "23T10:00 23T16:00 23T22:00"),
    ({"type": "cron", "expression": "0 6 * * *"}, "23T06:00",       None,                     "23T06:00 24T06:00 25T06:00"),
    ({"type": "manual"},                         "23T06:00",        None,                     ""),
]  # fmt: skip


@pytest.mark.parametrize(("data", "now", "promised", "upcoming"), UPCOMING)
def test_the_slots_to_come(data: dict[str, Any], now: str, promised: tuple[str, str] | None, upcoming: str) -> None:
    parsed = schedules.parse(data, "UTC")
    one = replace(connection("a"), schedule=parsed)
    promise = None
    if promised:
        next_due, on_since = times(*promised)
        document = schedules.as_document(parsed)
        promise = Promise(on_since=on_since, schedule=document, next_due=next_due, zones="z")
    (at,) = times(now)

    found = outlook.iter_upcoming_slots(one, promise, now=at + timedelta(seconds=30), zones="z")

    assert list(islice(found, 3)) == times(*upcoming.split())
    assert list(outlook.iter_upcoming_slots(replace(one, enabled=False), promise, now=at, zones="z")) == []


LACKING = [
    ({"type": "day_of_month", "day": 31, "time": "06:00"}, "2-2027 4-2027 6-2027"),
    ({"type": "day_of_month", "day": 29, "time": "06:00"}, "2-2027"),
    ({"type": "day_of_month", "day": 28, "time": "06:00"}, ""),
    ({"type": "day_of_month", "day": "last", "time": "06:00"}, ""),
    ({"type": "weekday_of_month", "week": "fourth", "weekday": "monday", "time": "06:00"}, ""),
    ({"type": "weekday_of_month", "week": "fifth", "weekday": "monday", "time": "06:00"}, "12-2026 1-2027 2-2027 4-2027 6-2027"),
    ({"type": "times_per_day", "times": 4}, ""),
    ({"type": "day_of_month", "day": 30, "time": "06:00", "blackout": [{"days": ["monday"]}]}, "2-2027"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "months"), LACKING)
def test_months_without_a_slot_agree_with_the_schedule(data: dict[str, Any], months: str) -> None:
    parsed = schedules.parse(data, "Europe/Amsterdam")
    start, end = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 7, 1, tzinfo=UTC)

    lacking = outlook.find_lacking_months(parsed, start, end)

    assert [f"{month.month}-{month.year}" for month in lacking] == months.split()
    if months and "blackout" not in data:
        have = {(slot.year, slot.month) for slot in schedules.between(parsed, start, end)}
        all_months = {(2026, 12), *((2027, month) for month in range(1, 7))}
        assert {(month.year, month.month) for month in lacking} == all_months - have


def test_months_are_those_of_the_schedule_s_zone() -> None:
    """23:30 in UTC is the next day in Amsterdam, and 4:30 the day before in New York."""
    for zone, start, end, months in (
        ("Europe/Amsterdam", "2027-01-31T23:30:00Z", "2027-02-28T23:30:00Z", [2]),
        ("Europe/Amsterdam", "2027-02-28T23:30:00Z", "2027-04-15T12:00:00Z", []),
        ("America/New_York", "2027-02-01T04:30:00Z", "2027-03-01T04:30:00Z", []),
        ("America/New_York", "2027-02-01T05:30:00Z", "2027-03-01T05:30:00Z", [2]),
    ):
        parsed = schedules.parse({"type": "day_of_month", "day": 30, "time": "12:00", "timezone": zone}, "UTC")
        found = outlook.find_lacking_months(parsed, instant.parse(start), instant.parse(end))
        assert [month.month for month in found] == months


def test_who_is_told_by_a_target_is_a_change() -> None:
    before, after = (workspace(team=Target(name="team", to=("a@x", *more))) for more in ((), ("b@x",)))

    assert changes.find_shared_differences(before, after) == (
        KeyDifference(key="notifications.team.to", before=["a@x"], after=["a@x", "b@x"]),
    )
    assert changes.find_shared_differences(before, before) == ()


def everything(mark: str) -> Workspace:
    """Return a workspace in which all that connections share has *mark* in it."""
    team = Target(
        name="team", to=(f"to{mark}@x",), cc=(f"cc{mark}@x",), reply_to=f"reply{mark}@x", language=mark,
        digest=DaysOfWeek(days=(0,), time=time(7, int(mark)), timezone="UTC"), limit=int(mark),
    )  # fmt: skip
    mail = Mail(server=f"server{mark}", sender=f"from{mark}@x", username=f"user{mark}", password=f"secret{mark}")
    targets = {"team": team, f"only{mark}": Target(name=f"only{mark}", to=("a@x",))}
    there = replace(workspace(), targets=targets)
    return replace(there, timezone=mark, state=f"state{mark}", mail=mail, profile_document={"properties": mark})


def test_all_that_connections_share() -> None:
    found = changes.find_shared_differences(everything("1"), everything("2"))

    assert [(each.key, each.before, each.after) for each in found] == [
        ("timezone", "1", "2"),
        ("state", "state1", "state2"),
        ("mail.server", "server1", "server2"),
        ("mail.from", "from1@x", "from2@x"),
        ("mail.username", "user1", "user2"),
        ("mail.password", "secret1", "secret2"),
        ("notifications.team.to", ["to1@x"], ["to2@x"]),
        ("notifications.team.cc", ["cc1@x"], ["cc2@x"]),
        ("notifications.team.reply_to", "reply1@x", "reply2@x"),
        ("notifications.team.language", "1", "2"),
        ("notifications.team.digest.time", "07:01", "07:02"),
        ("notifications.team.limit", 1, 2),
        ("notifications.only1", {"to": ["a@x"], "limit": Target().limit}, None),
        ("notifications.only2", None, {"to": ["a@x"], "limit": Target().limit}),
        ("profile.properties", "1", "2"),
    ]
