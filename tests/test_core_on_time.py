"""What is told because time went by: reminders, late slots, digests, and that no tick came."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.alerts import alert_state, on_time
from connrunner.core.alerts.alert_state import AlertState
from connrunner.core.alerts.digest import find_late_after, list_covered, summarize_runs
from connrunner.core.alerts.notice import Notice
from connrunner.core.alerts.on_time import PromisedSlot
from connrunner.core.counts import Counts
from connrunner.core.model import (
    Command,
    Connection,
    DaysOfWeek,
    Mail,
    Manual,
    Notify,
    Outcome,
    ProfileModel,
    QueuedRun,
    Target,
    Workspace,
)
from connrunner.core.planning.due import Slot
from tests.made import changed_run
from tests.test_core_on_run_end import RUN, Desk

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def rule(*to: str, when: str = "change", **more: Any) -> Notify:
    return Notify(to=(Target(to=to),), when=when, **more)  # type: ignore[arg-type]


def connection(name: str, *rules: Notify, enabled: bool = True) -> Connection:
    return Connection(
        name=name,
        title=name,
        enabled=enabled,
        schedule=Manual(),
        work=Command(run=("true",)),
        notify=rules,
        timeout=60,
        document={},
        fingerprint="",
    )


def workspace(*connections: Connection, default: tuple[Notify, ...] = (), **targets: Target) -> Workspace:
    return Workspace(
        folder="/w",
        state="s",
        timezone="UTC",
        mail=Mail(),
        profile=ProfileModel(),
        connections={one.name: one for one in connections},
        broken={},
        problems=(),
        default_notify=default,
        targets=targets,
    )


def tick(
    told: AlertState,
    place: Workspace,
    now: datetime,
    *,
    promised: tuple[PromisedSlot, ...] = (),
    slots: tuple[Slot, ...] = (),
    since: datetime | None = None,
) -> list[Notice]:
    """Do what a tick does with notices, and note what the journal would."""
    notices, digests = on_time.decide_timed_notices(
        now, workspace=place, alerts=told, promised=promised, slots=slots, since=since, token="t"
    )
    for name, promise in digests.items():
        if promise is None:
            told.digests.pop(name)
        else:
            told.digests[name] = promise
    for notice in notices:
        alert_state.record_notice(told, notice, instant.text(now))
    return list(notices)


# --- reminders ---------------------------------------------------------------------------------------------------


def test_people_are_reminded_while_it_stays_broken_and_not_after() -> None:
    desk = Desk((rule("a@x", reminder=24 * 3600),))
    (failing,) = desk.end("F")
    place = workspace(connection("crm", *desk.rules))
    (wake,) = on_time.find_wake_times(place.connections, (), (), desk.alerts)
    assert wake == desk.at + 24 * HOUR
    desk.end("F")
    assert tick(desk.alerts, place, wake - MINUTE) == []
    (reminder,) = tick(desk.alerts, place, wake)
    assert (reminder.event, reminder.run, reminder.recipients) == ("reminder", 2, ("a@x",))
    assert reminder.replies_to == failing.id
    assert reminder.facts["failures"] == 2
    assert tick(desk.alerts, place, wake + 23 * HOUR) == []
    (again,) = tick(desk.alerts, place, wake + 24 * HOUR)
    assert again.replies_to == failing.id
    (recovered,) = desk.end("S", after=50 * HOUR)
    assert recovered.replies_to == failing.id
    assert tick(desk.alerts, place, wake + 100 * HOUR) == []
    assert list(on_time.find_wake_times(place.connections, (), (), desk.alerts)) == []


def test_a_reminder_says_since_when_it_has_been_as_bad_as_it_is() -> None:
    desk = Desk((rule("a@x", after=2, reminder=3600),))
    place = workspace(connection("crm", *desk.rules))
    desk.end("P")
    (failing,) = desk.end("P")
    row_since = instant.text(desk.at - 6 * HOUR)
    desk.end("F")
    (reminder,) = tick(desk.alerts, place, desk.at + HOUR)
    facts = {"since": instant.text(desk.at), "failures": 1, "first_run": 3, "between": {"failed": 1}}
    assert reminder.facts == {**facts, "severity": "failed", "before": "partial", "row_since": row_since}
    assert desk.end("F") == [], "the reminder has said so"
    (reminder,) = tick(desk.alerts, place, desk.at + 2 * HOUR)
    facts |= {"failures": 2, "between": {"failed": 2}}
    assert reminder.facts == {**facts, "severity": "failed", "before": "", "row_since": row_since}
    assert reminder.replies_to == failing.id


@pytest.mark.parametrize("ahead", [21 * HOUR, 400 * 24 * HOUR])
def test_a_reminder_of_a_clock_that_was_ahead_keeps_no_later_one_back(ahead: timedelta) -> None:
    desk = Desk((rule("a@x", reminder=3600),))
    desk.end("F")
    place = workspace(connection("crm", *desk.rules))
    assert len(tick(desk.alerts, place, desk.at + ahead)) == 1
    right = desk.at + MINUTE
    assert len(tick(desk.alerts, place, right)) == 1
    assert tick(desk.alerts, place, right + HOUR - MINUTE) == []
    assert len(tick(desk.alerts, place, right + HOUR)) == 1


@pytest.mark.parametrize("there", [(), (connection("crm", rule("a@x", reminder=60), enabled=False),)])
def test_nobody_is_reminded_of_what_is_switched_off_or_gone(there: tuple[Connection, ...]) -> None:
    desk = Desk((rule("a@x", reminder=60),))
    desk.end("F")
    assert tick(desk.alerts, workspace(*there), desk.at + HOUR) == []


def test_reminders_come_by_connection_and_each_recipient_is_reminded_at_a_time_of_its_own() -> None:
    rules = (rule("a@x", reminder=60), rule("b@x", reminder=120), rule("c@x"), rule("d@x", when="failure", reminder=60))
    desk = Desk(rules)
    for name in ("b", "a"):
        desk.end("F", connection=name, after=timedelta(0))
    place = workspace(connection("a", *rules), connection("b", *rules))
    said = [
        [(n.id, n.recipients) for n in tick(desk.alerts, place, desk.at + number * MINUTE)] for number in (0, 1, 2, 3)
    ]
    both = [[("a.2.reminder.t", (one,)), ("b.1.reminder.t", (one,))] for one in ("a@x", "b@x")]
    two = [("a.2.reminder.t", ("a@x", "b@x")), ("b.1.reminder.t", ("a@x", "b@x"))]
    assert said == [[], both[0], two, both[0]]


def test_a_reminder_keeps_the_target_and_who_is_in_copy() -> None:
    rules = (Notify(to=(Target(name="team", to=("a@x",), cc=("b@x",)),), when="change", reminder=60),)
    desk = Desk(rules)
    desk.end("F")
    for minutes in (1, 2):
        (notice,) = tick(desk.alerts, workspace(connection("crm", *rules)), desk.at + minutes * MINUTE)
        assert (notice.target, notice.recipients, notice.cc) == ("team", ("a@x", "b@x"), ("b@x",))


def test_a_reminder_of_what_the_rule_takes_for_no_failure_any_more_counts_nothing() -> None:
    desk = Desk((rule("a@x"),))
    desk.end("P")
    place = workspace(connection("crm", rule("a@x", partial=False, reminder=60)))
    (notice,) = tick(desk.alerts, place, desk.at + HOUR)
    assert (notice.run, notice.facts) == (1, {"since": None, "failures": 0, "first_run": 0, "between": {}})
    desk.alerts.streaks.clear()  # as if no run of it were known
    (notice,) = tick(desk.alerts, place, desk.at + 2 * HOUR)
    assert (notice.run, notice.id) == (0, "crm.reminder.t")


# --- late --------------------------------------------------------------------------------------------------------

LATE = rule("a@x", when="late", late_after=1800)


def waits(due_at: datetime, **more: Any) -> QueuedRun:
    return QueuedRun(connection="crm", due_at=due_at, **{"queued_at": due_at + timedelta(seconds=1), **more})


STATES = [
    # what became of the slot                                                       state
    (PromisedSlot(entry=waits(NOON)), "waiting"),
    (PromisedSlot(entry=waits(NOON), run=7), "running"),
    (PromisedSlot(entry=waits(NOON, queued_at=NOON + 40 * MINUTE)), "not-started"),
    (PromisedSlot(entry=waits(NOON, queued_at=NOON + 30 * MINUTE)), "not-started"),
    (PromisedSlot(entry=waits(NOON, queued_at=NOON + 30 * MINUTE - timedelta(seconds=1))), "waiting"),
]


@pytest.mark.parametrize(("one", "state"), STATES)
def test_a_slot_is_late_once_when_its_run_is_not_over_in_time(one: PromisedSlot, state: str) -> None:
    told, place = AlertState(), workspace(connection("crm", LATE))
    assert list(on_time.find_wake_times(place.connections, (), (one,), told)) == [NOON + 30 * MINUTE]
    assert tick(told, place, NOON + 29 * MINUTE, promised=(one,)) == []
    (notice,) = tick(told, place, NOON + 30 * MINUTE, promised=(one,))
    assert (notice.event, notice.connection, notice.run) == ("late", "crm", one.run)
    assert notice.facts == {"due_at": instant.text(NOON), "late_seconds": 1800, "state": state}
    assert tick(told, place, NOON + 31 * MINUTE, promised=(replace(one, run=9),)) == []
    tomorrow = PromisedSlot(entry=waits(NOON + 24 * HOUR))
    assert len(tick(told, place, NOON + 25 * HOUR, promised=(tomorrow,))) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_each_rule_has_its_own_patience(order: int) -> None:
    rules = (LATE, rule("b@x", when="failure", late_after=3600))[::order]
    told, place = AlertState(), workspace(connection("crm", *rules))
    one = (PromisedSlot(entry=waits(NOON)),)
    said = [[n.recipients for n in tick(told, place, NOON + number * 30 * MINUTE, promised=one)] for number in range(4)]
    assert said == [[], [("a@x",)], [("b@x",)], []]


def test_what_a_person_asked_for_is_never_late_and_a_broken_file_is_the_workspaces() -> None:
    manual = PromisedSlot(entry=waits(NOON, trigger="manual"))
    assert tick(AlertState(), workspace(connection("crm", LATE)), NOON + HOUR, promised=(manual,)) == []
    (notice,) = tick(AlertState(), workspace(default=(LATE,)), NOON + HOUR, promised=(PromisedSlot(entry=waits(NOON)),))
    assert notice.recipients == ("a@x",)


def test_who_is_told_that_it_is_late() -> None:
    team = Target(name="team", to=("a@x",), cc=("b@x",))
    place = workspace(connection("crm", replace(LATE, to=(team, Target(to=("a@x", "c@x")))), rule("d@x")))
    alerts, one = AlertState(), PromisedSlot(entry=waits(NOON), run=3)
    said = tick(alerts, place, NOON + HOUR + timedelta(milliseconds=1900), promised=(one,))
    assert [(n.id, n.target, n.recipients, n.cc, n.facts["late_seconds"]) for n in said] == [
        ("crm.3.late.t", "team", ("a@x", "b@x"), ("b@x",), 3601),
        ("crm.3.late.t-1", "", ("c@x",), (), 3601),
    ]
    assert alerts.late == {"crm": {"due_at": instant.text(NOON), "recipients": ["a@x", "b@x", "c@x"]}}
    assert tick(alerts, place, NOON + 2 * HOUR, promised=(one,)) == []


OUTAGE_ENTRIES = [
    # due, queued, from the end of the outage                      is told with it
    (-1 * HOUR, timedelta(0), True),
    (-1 * HOUR, timedelta(seconds=-20), True),  # in the minute of the tick that ended it
    (-1 * HOUR, timedelta(seconds=-31), False),
    (-1 * HOUR, HOUR, True),
    (timedelta(0), timedelta(0), False),
    (timedelta(seconds=-1), timedelta(0), True),
]


@pytest.mark.parametrize(("due", "queued", "expected"), OUTAGE_ENTRIES)
def test_which_runs_belong_to_an_outage(due: timedelta, queued: timedelta, expected: bool) -> None:
    until = NOON + timedelta(seconds=30)
    entry = waits(until + due, queued_at=until + queued)
    assert on_time.is_part_of_outage(entry, AlertState(outage_until=instant.text(until))) is expected
    assert not on_time.is_part_of_outage(entry, AlertState())


# --- outages -----------------------------------------------------------------------------------------------------


def slot(
    name: str, due_at: datetime, *, missed: int = 0, until: datetime | None = None, result: Any = "queued", **more: Any
) -> Slot:
    entry = QueuedRun(connection=name, due_at=due_at, queued_at=NOON, missed=missed, **more)
    return Slot(connection=name, result=result, entry=entry, missed_until=until)


HOLES = [
    # since the last tick   slots                                                      missed
    (None, (slot("a", NOON - HOUR),), {}),
    (10 * MINUTE, (slot("a", NOON - 5 * MINUTE),), {}),
    (11 * MINUTE, (slot("a", NOON - 5 * MINUTE),), {"a": 1}),
    (3 * HOUR, (), {}),
    (3 * HOUR, (slot("a", NOON),), {}),  # due now, and seen now
    (3 * HOUR, (slot("a", NOON - HOUR), slot("b", NOON - 2 * HOUR, missed=4, until=NOON - MINUTE)), {"a": 1, "b": 5}),
    (3 * HOUR, (slot("b", NOON - 2 * HOUR, missed=4, until=NOON),), {"b": 4}),
    (3 * HOUR, (slot("a", NOON - HOUR, result="dropped"),), {}),
    (3 * HOUR, (slot("a", NOON - HOUR, result="left_out"),), {}),
    (3 * HOUR, (slot("a", NOON - HOUR, result="missed"),), {"a": 1}),
    (3 * HOUR, (slot("a", NOON - 4 * HOUR, result="missed", missed=2, until=NOON - HOUR),), {"a": 2}),  # it waited
    (3 * HOUR, (slot("a", NOON - HOUR, result="skipped"),), {"a": 1}),
    (3 * HOUR, (slot("a", NOON - 2 * HOUR, result="missed"), slot("a", NOON - HOUR, missed=1)), {"a": 3}),
    (3 * HOUR, (slot("a", NOON, missed=0), slot("b", NOON - HOUR), slot("a", NOON - MINUTE)), {"b": 1, "a": 1}),
    (3 * HOUR, (slot("a", NOON - 3 * HOUR), slot("b", NOON - HOUR)), {"b": 1}),  # seen by the last tick
    (3 * HOUR, (slot("a", NOON - HOUR, trigger="manual"),), {}),
    (3 * HOUR, (slot("a", NOON - 2 * HOUR, result="dropped"), slot("b", NOON - HOUR)), {"b": 1}),
    (timedelta(minutes=10, seconds=-30), (slot("a", NOON - 5 * MINUTE),), {}),  # ten minutes between the minutes
]


@pytest.mark.parametrize(("ago", "slots", "missed"), HOLES)
def test_slots_that_passed_while_no_tick_came(
    ago: timedelta | None, slots: tuple[Slot, ...], missed: dict[str, int]
) -> None:
    since = NOON - ago if ago else None
    found = on_time.find_passed_slots(slots, since=since, now=NOON + timedelta(seconds=9))
    assert {name: one.passed for name, one in found.items()} == missed


BECAME = [
    # what became of it, slots after it that were missed, until when   late, missed, merged, skipped
    ("queued", 0, None, (1, 0, 0, 0)),
    ("queued", 3, NOON - MINUTE, (1, 3, 0, 0)),
    ("queued", 3, NOON, (1, 2, 0, 0)),  # the last of them is of now
    ("merged", 0, None, (0, 0, 1, 0)),
    ("merged", 3, NOON - MINUTE, (0, 0, 4, 0)),
    ("skipped", 3, NOON - MINUTE, (0, 3, 0, 1)),
    ("missed", 3, NOON - MINUTE, (0, 3, 0, 1)),
    ("dropped", 3, NOON - MINUTE, None),
]


@pytest.mark.parametrize(("result", "missed", "until", "expected"), BECAME)
def test_what_passed_is_counted_as_history_counts_it(
    result: str, missed: int, until: datetime | None, expected: tuple[int, ...] | None
) -> None:
    one = slot("a", NOON - HOUR, missed=missed, until=until, result=result)
    found = on_time.find_passed_slots([one], since=NOON - 2 * HOUR, now=NOON).get("a")
    assert (found and (found.late, found.missed, found.merged, found.skipped)) == expected
    if found:
        assert found.missed <= one.entry.missed


def test_an_outage_is_one_mail_and_what_it_held_up_is_late_only_afterwards() -> None:
    team = Target(name="ops", to=("ops@x", "two@x"))
    place = workspace(
        *(connection(f"c{number}", replace(LATE, to=(Target(to=("own@x",)),))) for number in range(20)),
        default=(Notify(to=(team,), when="failure"), rule("ops@x", when="always")),
    )
    told = AlertState()
    slots = tuple(slot(f"c{number}", NOON - 2 * HOUR, missed=1, until=NOON - HOUR) for number in range(20))
    promised = tuple(PromisedSlot(entry=one.entry) for one in slots)
    (notice,) = tick(told, place, NOON, slots=slots, promised=promised, since=NOON - 3 * HOUR)
    assert (notice.event, notice.connection, notice.run) == ("outage", "", 0)
    assert (notice.target, notice.recipients) == ("ops", ("ops@x", "two@x"))
    assert notice.facts["from"] == "2026-11-22T09:00:00Z"
    counts = {"passed": 2, "late": 1, "missed": 1, "merged": 0, "skipped": 0}
    assert notice.facts["missed"][:2] == [{"connection": "c0", **counts}, {"connection": "c1", **counts}]
    assert tick(told, place, NOON + 29 * MINUTE, promised=promised, since=NOON) == []
    assert len(tick(told, place, NOON + 30 * MINUTE, promised=promised, since=NOON)) == 20


def test_an_outage_is_told_to_each_address_once_and_each_target_by_itself() -> None:
    team = Target(name="ops", to=("a@x",), cc=("b@x",))
    place = workspace(default=(Notify(to=(team, Target(to=("A@x", "c@x"))), when="failure"),))
    alerts = AlertState()
    said = tick(alerts, place, NOON, slots=(slot("a", NOON - HOUR),), since=NOON - 3 * HOUR)
    assert [(n.id, n.target, n.recipients, n.cc) for n in said] == [
        ("outage.t", "ops", ("a@x", "b@x"), ("b@x",)),
        ("outage.t-1", "", ("c@x",), ()),
    ]
    assert said[1].facts == {
        "from": "2026-11-22T09:00:00Z",
        "to": "2026-11-22T12:00:00Z",
        "missed": [{"connection": "a", "passed": 1, "late": 1, "missed": 0, "merged": 0, "skipped": 0}],
    }
    assert alerts.outage_until == "2026-11-22T12:00:00Z"


def test_without_anybody_to_tell_of_the_outage_late_is_late() -> None:
    one = slot("crm", NOON - 2 * HOUR)
    place = workspace(connection("crm", LATE))
    (notice,) = tick(
        AlertState(), place, NOON, slots=(one,), promised=(PromisedSlot(entry=one.entry),), since=NOON - 3 * HOUR
    )
    assert (notice.event, notice.facts["state"]) == ("late", "not-started")


# --- digests -----------------------------------------------------------------------------------------------------


def daily(hour: int, zone: str = "Europe/Amsterdam") -> DaysOfWeek:
    return DaysOfWeek(days=tuple(range(7)), time=time(hour), timezone=zone)


def test_a_digest_is_promised_sent_at_its_time_and_once_however_late() -> None:
    told, place = AlertState(), workspace(team=Target(name="team", to=("a@x",), cc=("b@x",), digest=daily(7)))
    assert tick(told, place, NOON) == []
    (wake,) = on_time.find_wake_times({}, (), (), told)
    assert wake == datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
    assert tick(told, place, wake - MINUTE) == []
    (first,) = tick(told, place, wake)
    assert (first.event, first.target, first.recipients, first.cc) == ("digest", "team", ("a@x", "b@x"), ("b@x",))
    assert first.facts == {"from": "2026-11-22T12:00:00Z", "to": "2026-11-23T06:00:00Z"}
    (late,) = tick(told, place, wake + 75 * HOUR)
    assert late.facts == {"from": "2026-11-23T06:00:00Z", "to": "2026-11-26T09:00:00Z"}
    assert tick(told, place, wake + 75 * HOUR + MINUTE) == []
    assert told.digests["team"]["next"] == "2026-11-27T06:00:00Z"


def test_digests_come_by_name_and_each_has_an_id_of_its_own() -> None:
    alerts = AlertState()
    place = workspace(
        b=Target(name="b", to=("b@x",), digest=daily(7)),
        a=Target(name="a", to=("a@x",), cc=("c@x", "a@x"), digest=daily(7)),
        Quiet=Target(name="Quiet", to=("q@x",)),
        quiet=Target(name="quiet", to=("q@x",)),
    )
    assert tick(alerts, place, NOON) == []
    assert list(alerts.digests) == ["a", "b"]
    said = tick(alerts, place, NOON + 18 * HOUR)
    assert [(n.id, n.connection, n.run, n.recipients, n.cc) for n in said] == [
        ("digest.a.t", "", 0, ("a@x", "c@x"), ("c@x",)),
        ("digest.b.t", "", 0, ("b@x",), ()),
    ]


def test_an_edited_digest_moves_and_a_removed_one_is_forgotten() -> None:
    told = AlertState()
    tick(told, workspace(team=Target(name="team", to=("a@x",), digest=daily(7))), NOON)
    tick(told, workspace(team=Target(name="team", to=("a@x",), digest=daily(18))), NOON + HOUR)
    assert told.digests["team"] == {
        "since": "2026-11-22T12:00:00Z",
        "next": "2026-11-22T17:00:00Z",
        "schedule": {
            "type": "days_of_week",
            "days": list(told.digests["team"]["schedule"]["days"]),
            "time": "18:00",
            "timezone": "Europe/Amsterdam",
        },
    }
    tick(told, workspace(team=Target(name="team", to=("a@x",))), NOON + 2 * HOUR)
    assert told.digests == {}


def test_a_digest_that_was_edited_while_the_clock_was_ahead_is_promised_anew() -> None:
    told = AlertState()
    tick(told, workspace(team=Target(name="team", to=("a@x",), digest=daily(7))), NOON)
    after = workspace(team=Target(name="team", to=("a@x",), digest=daily(18)))
    told.digests["team"] = {**told.digests["team"], "next": "2027-11-27T17:00:00Z"}

    tick(told, after, NOON + HOUR)
    again = workspace(team=Target(name="team", to=("a@x",), digest=daily(18)))
    told.digests["team"] = {**told.digests["team"], "next": "2027-11-27T17:00:00Z"}
    tick(told, again, NOON + HOUR)

    assert told.digests["team"]["next"][:10] == f"{NOON:%F}"


def test_a_clock_that_went_back_begins_a_digest_anew() -> None:
    told, place = AlertState(), workspace(team=Target(name="team", to=("a@x",), digest=daily(7)))
    tick(told, place, NOON + 9000 * HOUR)
    tick(told, place, NOON)
    assert (told.digests["team"]["since"], told.digests["team"]["next"]) == (
        "2026-11-22T12:00:00Z",
        "2026-11-23T06:00:00Z",
    )
    assert on_time.plan_digests(place.targets, told, now=NOON, token="t") == ({}, ())


# --- all of a tick -----------------------------------------------------------------------------------------------


def test_what_one_tick_tells_comes_in_one_order_and_each_has_its_time() -> None:
    team = Target(name="team", to=("t@x",), digest=daily(13, "UTC"), limit=1)
    rules = (rule("a@x", reminder=3600), replace(LATE, to=(Target(to=("l@x",)),)))
    place = workspace(connection("crm", *rules), default=(rule("ops@x"),), team=team)
    desk = Desk(rules, at=NOON)
    desk.end("F", after=timedelta(0))
    tick(desk.alerts, place, NOON)
    desk.rules = (Notify(to=(team,), when="always"),)
    for _ in range(2):  # the second is one too many in this hour
        desk.end("S", connection="other", after=timedelta(0))
    waiting = PromisedSlot(entry=waits(NOON + 30 * MINUTE, queued_at=NOON + HOUR))
    wakes = on_time.find_wake_times(place.connections, (), (waiting,), desk.alerts)
    assert list(wakes) == [NOON + HOUR] * 4

    facts: dict[str, Any] = {"promised": (waiting,), "since": NOON}
    said = tick(alert_state.from_mapping(json.loads(json.dumps(desk.alerts.as_dict()))), place, NOON + HOUR, **facts)
    assert [(n.event, n.recipients) for n in said] == [
        ("folded", ("t@x",)), ("late", ("l@x",)), ("reminder", ("a@x",)), ("digest", ("t@x",)),
    ]  # fmt: skip
    # When it was an outage, people hear of that, and not yet that the run is late.
    missed = (slot("crm", NOON + 30 * MINUTE),)
    said = tick(desk.alerts, place, NOON + HOUR, slots=missed, **facts)
    assert [n.event for n in said] == ["outage", "folded", "reminder", "digest"]


def test_a_digest_covers_the_connections_that_name_its_target_or_all() -> None:
    named = rule("a@x")
    team = Notify(to=(Target(name="team", to=("a@x",)),), when="failure")
    connections = {name: connection(name, one) for name, one in (("a", named), ("b", team), ("c", named))}
    assert list_covered("team", connections) == ["b"]
    assert list_covered("boss", connections) == ["a", "b", "c"]


def test_what_a_digest_tells_of_a_connection() -> None:
    runs = [
        changed_run(
            RUN,
            run=number,
            outcome=Outcome(outcome),
            due_at=NOON - (20 - number) * HOUR - delay,
            ended_at=NOON - (20 - number) * HOUR,
            seconds=number,
            missed=number % 2,
            counts=Counts(read=number, checked=number, created=number),
        )
        for number, outcome, delay in (
            [(number, "succeeded", MINUTE) for number in range(1, 15)]
            + [(15, "failed", MINUTE), (16, "succeeded", HOUR), (17, "partial", MINUTE), (18, "stopped", MINUTE), (19, "succeeded", MINUTE)]
        )
    ]  # fmt: skip
    told = summarize_runs(
        runs[::-1],
        start=NOON - 6 * HOUR,
        end=NOON - 2 * HOUR,
        late_after=find_late_after((LATE, rule("b@x", late_after=3600))),
    )
    trend = told.pop("trend")
    assert told == {
        "runs": 4,
        "partial": 1,
        "failed": 1,
        "late": 1,
        "missed": 2,
        "counts": {"read": 66, "checked": 66, "created": 66},
        "last_outcome": "stopped",
        "last_message": "",
    }
    assert [one["run"] for one in trend] == list(range(9, 19))
    assert trend[-1] == {"run": 18, "outcome": "stopped", "seconds": 18, "read": 18}


def test_a_digest_of_nothing() -> None:
    assert summarize_runs([], start=NOON - DAY, end=NOON, late_after=60) == {
        "runs": 0, "partial": 0, "failed": 0, "late": 0, "missed": 0, "counts": {}, "trend": [], "last_outcome": None, "last_message": "",
    }  # fmt: skip


LATE_RUNS = [
    # late after   it took     trigger    is late
    (60, 60, "schedule", 1),
    (60, 59, "schedule", 0),
    (60, 600, "manual", 0),
    (0, 600, "schedule", 0),  # no rule asks for it
]


@pytest.mark.parametrize(("limit", "took", "trigger", "late"), LATE_RUNS)
def test_which_runs_of_a_digest_were_late(limit: int, took: int, trigger: str, late: int) -> None:
    run = changed_run(RUN, due_at=NOON - timedelta(seconds=took), ended_at=NOON, trigger=trigger)
    assert summarize_runs([run], start=NOON - DAY, end=NOON, late_after=limit)["late"] == late


def test_the_strictest_rule_says_when_a_run_is_late() -> None:
    assert find_late_after((LATE, rule("b@x", late_after=3600), rule("c@x"))) == 1800
    assert find_late_after((rule("c@x"),)) == 0
    assert find_late_after(()) == 0


def test_a_digest_is_about_what_ended_after_its_beginning_and_by_its_end() -> None:
    runs = [
        changed_run(RUN, run=number, ended_at=NOON - hours * HOUR) for number, hours in ((4, 0), (3, 1), (2, 5), (1, 6))
    ]
    found = summarize_runs(runs, start=NOON - 5 * HOUR, end=NOON - HOUR, late_after=0)
    assert (found["runs"], [one["run"] for one in found["trend"]]) == (1, [1, 2, 3])
