"""Held runs: who is told of them, when a tick wakes for one, and what ends the waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connrunner.core import held_runs
from connrunner.core.alerts import alert_state, on_run_end
from connrunner.core.alerts.alert_state import AlertState
from connrunner.core.held_runs import HeldRun
from connrunner.core.model import Notify, Outcome, QueuedRun, Result, Run, RunIntent, Target, Trigger
from connrunner.state import journal_state
from connrunner.state.journal_state import JournalState

AT = datetime(2026, 12, 1, 6, tzinfo=UTC)
DAY = timedelta(days=1)
CHANGE = {
    "digest": "a",
    "parts": {},
    "reasons": ["too much"],
    "counts": {"updated": 2},
    "properties": {},
    "expires": 259_200,
}
RULES = tuple(
    Notify(to=(Target(to=(f"{when}@example.com",)),), when=when) for when in ("always", "failure", "change", "late")
)


def run(
    number: int, outcome: Outcome, trigger: Trigger = "schedule", code: str = "", days: float = 0, **detail: Any
) -> Run:
    at = AT + days * DAY
    return Run(
        entry=QueuedRun(connection="crm", due_at=at, queued_at=at, trigger=trigger),
        intent=RunIntent(run=number, started_at=at, kind="import"),
        result=Result(outcome=outcome, code=code, detail=detail),
        ended_at=at,
    )


def hold(number: int, digest: str = "a", days: float = 0) -> Run:
    return run(number, Outcome.HELD, code="held", days=days, held={**CHANGE, "digest": digest})


DECLINE = run(9, Outcome.STOPPED, "decline", "declined", declined=2)
TELLS: list[tuple[Run, bool, dict[str, str]]] = [
    # what ended, whether it was told before, and who is told of which event
    (hold(2), False, {"always": "held", "failure": "held", "change": "held"}),
    (hold(2), True, {"always": "held"}),
    (DECLINE, False, {"always": "declined", "failure": "declined", "change": "declined"}),
    (run(3, Outcome.SUCCEEDED, "approve"), False, {"always": "succeeded", "failure": "succeeded", "change": "succeeded"}),
    (run(3, Outcome.FAILED, "approve"), False, {"always": "failed", "failure": "failed", "change": "failing"}),
    (run(3, Outcome.STOPPED, code="declined"), False, {"always": "stopped"}),
]  # fmt: skip


@pytest.mark.parametrize(("ended", "is_known", "told"), TELLS)
def test_who_is_told(ended: Run, is_known: bool, told: dict[str, str]) -> None:
    notices = on_run_end.decide_notices(RULES, ended, AlertState(), token="t", is_known=is_known)
    found = {recipient.partition("@")[0]: notice.event for notice in notices for recipient in notice.recipients}
    assert found == told


def test_an_approved_run_ends_an_alarm() -> None:
    alerts = AlertState()
    for ended in (run(1, Outcome.FAILED), run(2, Outcome.SUCCEEDED, "approve")):
        notices = on_run_end.decide_notices(RULES, ended, alerts, token="t")
        for notice in notices:
            alert_state.record_notice(alerts, notice, "2026-12-01T06:00:00Z")
        alert_state.record_run(alerts, ended)
    assert "recovered" in [notice.event for notice in notices]
    assert (alerts.alarms, alerts.streaks) == ({}, {})


def state_after(*runs: Run) -> JournalState:
    state = JournalState()
    for one in runs:
        journal_state.apply_record(state, journal_record(one))
    return state


def journal_record(one: Run) -> dict[str, Any]:
    from connrunner.core import run_records

    return {"type": "ended", "at": "2026-12-01T06:00:00Z", "run": run_records.as_dict(one)}


FOLDS: list[tuple[list[Run], int | None, bool]] = [
    # what ended, oldest first; the run that is held then, and whether something is remembered as declined
    ([hold(2)], 2, False),
    ([hold(2), hold(3)], 3, False),
    ([hold(2), run(3, Outcome.FAILED)], 2, False),
    ([hold(2), run(3, Outcome.INTERRUPTED, "approve")], 2, False),
    ([hold(2), run(3, Outcome.SUCCEEDED, "undo")], 2, False),
    ([hold(2), run(3, Outcome.SUCCEEDED)], None, False),
    ([hold(2), run(3, Outcome.PARTIAL, "approve")], None, False),
    ([hold(2), DECLINE], None, True),
    ([hold(2), hold(3), DECLINE], 3, False),
    ([hold(2), run(3, Outcome.STOPPED, "decline", "not-held")], 2, False),
    ([hold(2), DECLINE, run(10, Outcome.STOPPED, code="declined")], None, True),
    ([hold(2), DECLINE, hold(10, "b")], 10, False),
    ([hold(2), DECLINE, run(10, Outcome.SUCCEEDED)], None, False),
]


@pytest.mark.parametrize(("runs", "held", "is_declined"), FOLDS)
def test_what_is_held_and_what_is_declined(runs: list[Run], held: int | None, is_declined: bool) -> None:
    state = state_after(*runs)
    assert (state.held["crm"].run if "crm" in state.held else None) == held
    assert ("crm" in state.declined) == is_declined


def test_the_same_change_waits_since_the_first_time() -> None:
    held = state_after(hold(2), hold(3, days=2)).held["crm"]
    assert (held.run, held.since, held.expires_at) == (3, AT, AT + 3 * DAY)
    assert state_after(hold(2), hold(3, "b", days=2)).held["crm"].expires_at == AT + 5 * DAY


@pytest.mark.parametrize(("reminded", "wakes"), [(None, 1.0), (1.0, 2.0), (2.5, 3.0)])
def test_when_a_tick_wakes(reminded: float | None, wakes: float) -> None:
    held = HeldRun(
        connection="crm", run=2, at=AT, since=AT, difference=CHANGE, reminded=None if reminded is None else AT + reminded * DAY
    )  # fmt: skip
    assert held.wakes_at == AT + wakes * DAY
    assert held_runs.from_mapping(held.as_dict()) == held
