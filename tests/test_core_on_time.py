"""What is told because time went by: reminders, late slots, digests, and that no tick came."""

from __future__ import annotations

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
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


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


@pytest.mark.parametrize("there", [(), (connection("crm", rule("a@x", reminder=60), enabled=False),)])
def test_nobody_is_reminded_of_what_is_switched_off_or_gone(there: tuple[Connection, ...]) -> None:
    desk = Desk((rule("a@x", reminder=60),))
    desk.end("F")
    assert tick(desk.alerts, workspace(*there), desk.at + HOUR) == []


# --- late --------------------------------------------------------------------------------------------------------

LATE = rule("a@x", when="late", late_after=1800)


def waits(due_at: datetime, **more: Any) -> QueuedRun:
    return QueuedRun(connection="crm", due_at=due_at, **{"queued_at": due_at + timedelta(seconds=1), **more})


STATES = [
    # what became of the slot                                                       state
    (PromisedSlot(entry=waits(NOON)), "waiting"),
    (PromisedSlot(entry=waits(NOON), run=7), "running"),
    (PromisedSlot(entry=waits(NOON, queued_at=NOON + 40 * MINUTE)), "not-started"),
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


def test_each_rule_has_its_own_patience() -> None:
    told, place = AlertState(), workspace(connection("crm", LATE, rule("b@x", when="failure", late_after=3600)))
    one = (PromisedSlot(entry=waits(NOON)),)
    said = [[n.recipients for n in tick(told, place, NOON + number * 30 * MINUTE, promised=one)] for number in range(4)]
    assert said == [[], [("a@x",)], [("b@x",)], []]


def test_what_a_person_asked_for_is_never_late_and_a_broken_file_is_the_workspaces() -> None:
    manual = PromisedSlot(entry=waits(NOON, trigger="manual"))
    assert tick(AlertState(), workspace(connection("crm", LATE)), NOON + HOUR, promised=(manual,)) == []
    (notice,) = tick(AlertState(), workspace(default=(LATE,)), NOON + HOUR, promised=(PromisedSlot(entry=waits(NOON)),))
    assert notice.recipients == ("a@x",)


# --- outages -----------------------------------------------------------------------------------------------------


def slot(
    name: str, due_at: datetime, *, missed: int = 0, until: datetime | None = None, result: Any = "queued"
) -> Slot:
    entry = QueuedRun(connection=name, due_at=due_at, queued_at=NOON, missed=missed)
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
]


@pytest.mark.parametrize(("ago", "slots", "missed"), HOLES)
def test_slots_that_passed_while_no_tick_came(
    ago: timedelta | None, slots: tuple[Slot, ...], missed: dict[str, int]
) -> None:
    since = NOON - ago if ago else None
    assert on_time.count_slots_in_outage(slots, since=since, now=NOON + timedelta(seconds=9)) == missed


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
    assert notice.facts["missed"][:2] == [{"connection": "c0", "missed": 2}, {"connection": "c1", "missed": 2}]
    assert tick(told, place, NOON + 29 * MINUTE, promised=promised, since=NOON) == []
    assert len(tick(told, place, NOON + 30 * MINUTE, promised=promised, since=NOON)) == 20


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


def test_a_clock_that_went_back_begins_a_digest_anew() -> None:
    told, place = AlertState(), workspace(team=Target(name="team", to=("a@x",), digest=daily(7)))
    tick(told, place, NOON + 9000 * HOUR)
    tick(told, place, NOON)
    assert told.digests["team"]["next"] == "2026-11-23T06:00:00Z"


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
        "failed": 2,
        "late": 1,
        "missed": 2,
        "counts": {"read": 66, "checked": 66, "created": 66},
        "last_outcome": "stopped",
    }
    assert [one["run"] for one in trend] == list(range(9, 19))
    assert trend[-1] == {"run": 18, "outcome": "stopped", "seconds": 18, "read": 18}
