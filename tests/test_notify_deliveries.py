"""The outbox as people see it, and what a crash between two records does to what is owed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connrunner.core import instant, run_records
from connrunner.core.alerts.notice import Notice
from connrunner.core.counts import Counts
from connrunner.core.model import Command, Connection, Manual, Notify, Outcome, QueuedRun, Result, Target
from connrunner.scheduler.recorder import RunRecorder
from connrunner.state import locks, run_files
from connrunner.state.deliveries import list_deliveries, list_folded, select_deliveries
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.journal_state import JournalState, apply_record, as_snapshot
from tests.conftest import Place
from tests.made import changed_run
from tests.test_cli import typed
from tests.test_core_on_run_end import RUN

AT = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)


def text(minutes: float = 0) -> str:
    return instant.text(AT + timedelta(minutes=minutes))


def owes(*recipients: str, notice: str = "crm.1.failed.t", connection: str = "crm") -> dict[str, Any]:
    run = changed_run(RUN, connection=connection, run=1, ended_at=AT)
    one = Notice(id=notice, connection=connection, run=1, event="failed", recipients=recipients)
    return {"type": "ended", "at": text(), "run": run_records.as_dict(run), "owes": [one.as_dict()]}


def settled(
    kind: str, recipient: str, minutes: float, result: str = "", notice: str = "crm.1.failed.t"
) -> dict[str, Any]:
    more = {"result": result} if result else {}
    return {
        "type": kind,
        "at": text(minutes),
        "notice": notice,
        "recipient": recipient,
        "reason": f"why {minutes}",
        **more,
    }


DEFERRED_A = settled("delivered", "a@x", 0, "deferred")
REFUSED_A = settled("delivered", "a@x", 0, "refused")
SENT_B = settled("delivered", "b@x", 0, "sent")
LETTERS = [
    # records                                                        recipient, state, attempts, next in minutes
    ([], []),
    ([owes("a@x", "b@x")], [("a@x", "waiting", 0, 2), ("b@x", "waiting", 0, 2)]),
    ([owes("a@x", "b@x"), SENT_B], [("a@x", "waiting", 0, 2)]),
    ([owes("a@x", "b@x"), SENT_B, settled("delivered", "a@x", 1.5, "deferred")], [("a@x", "waiting", 1, 2.5)]),
    ([owes("a@x", "b@x"), REFUSED_A], [("b@x", "waiting", 0, 2), ("a@x", "dead", 1, None)]),
    ([owes("a@x", "b@x"), REFUSED_A, SENT_B], [("a@x", "dead", 1, None)]),
    ([owes("a@x", "b@x"), REFUSED_A, SENT_B, settled("retried", "a@x", 1)], [("a@x", "waiting", 0, 2)]),
    (
        [owes("a@x", "b@x"), REFUSED_A, settled("retried", "a@x", 1)],
        [("a@x", "waiting", 1, 2), ("b@x", "waiting", 0, 2)],
    ),
    ([owes("a@x", "b@x"), REFUSED_A, SENT_B, settled("dropped", "a@x", 1)], []),
    ([owes("a@x"), DEFERRED_A, settled("dropped", "a@x", 1)], []),
    ([owes("a@x", "b@x"), settled("dropped", "a@x", 1)], [("b@x", "waiting", 0, 2)]),
    (
        [owes("a@x"), REFUSED_A, settled("retried", "a@x", 1), settled("delivered", "a@x", 1.5, "refused")],
        [("a@x", "dead", 1, None)],
    ),
    ([owes("a@x"), REFUSED_A, settled("retried", "a@x", 1), settled("delivered", "a@x", 1.5, "sent")], []),
]


@pytest.mark.parametrize(("records", "there"), LETTERS)
def test_every_letter_is_listed_until_it_is_sent_or_dropped(
    records: list[dict[str, Any]], there: list[tuple[str, str, int, float | None]]
) -> None:
    journal_state = JournalState()
    for record in records:
        apply_record(journal_state, record)
    again = JournalState()  # what a rotation keeps says the same
    apply_record(again, {"type": "snapshot", **json.loads(json.dumps(as_snapshot(journal_state)))})
    now = AT + timedelta(minutes=2)
    for one in (journal_state, again):
        assert [
            (each.recipient, each.state, each.attempts, each.next_at and (each.next_at - AT) / timedelta(minutes=1))
            for each in list_deliveries(one, now)
        ] == there


CHOSEN = [
    ((), "", 4),
    (("crm",), "", 2),
    (("crm.1",), "", 2),
    (("crm.1.failed.t",), "", 2),
    (("crm", "crm-b"), "", 3),
    (("cr",), "", 0),
    (("crm",), "A@", 1),
    ((), "a@x", 3),
]


@pytest.mark.parametrize(("names", "to", "count"), CHOSEN)
def test_which_letters_an_id_or_an_address_means(names: tuple[str, ...], to: str, count: int) -> None:
    journal_state = JournalState()
    for record in (
        owes("a@x", "b@x"),
        owes("a@x", notice="crm-b.1.failed.t", connection="crm-b"),
        owes("a@x", notice="d.1.failed.t", connection="d"),
    ):
        apply_record(journal_state, record)
    assert len(select_deliveries(list(list_deliveries(journal_state, AT)), names, to=to)) == count


# --- the commands ------------------------------------------------------------------------------------------------


def test_what_waits_can_be_listed_sent_again_and_dropped(place: Place) -> None:
    place.state.prepare()
    with locks.hold_state_lock(place.state):
        Journal(place.state).append(owes("a@x", "b@x"), REFUSED_A, settled("delivered", "b@x", 0, "deferred"))
    now = ("--now", text(0.5))

    def listed(*more: str) -> list[tuple[str, str]]:
        code, out, _ = typed(place, "notify", "list", "--format", "json", *now, *more)
        assert code == 0
        return [(each["recipient"], each["state"]) for each in json.loads(out)]

    assert listed() == [("b@x", "waiting"), ("a@x", "dead")]
    assert listed("--dead") == [("a@x", "dead")]
    code, out, _ = typed(place, "notify", "list", *now)
    assert code == 0
    assert "b@x  2026-11-22 10:15      1  again at 10:16  why 0" in out
    assert "a@x  2026-11-22 10:15      1  given up        why 0" in out

    code, out, _ = typed(place, "notify", "retry", "crm", "--to", "a@x")
    assert (code, out) == (0, "crm.1.failed.t: the next tick tells a@x\n")
    assert listed() == [("a@x", "waiting"), ("b@x", "waiting")]
    code, out, _ = typed(place, "notify", "drop", "crm.1.failed.t")
    assert (code, out.splitlines()) == (0, ["crm.1.failed.t: a@x is not told", "crm.1.failed.t: b@x is not told"])
    assert listed() == []
    assert "no mail waits, and none was given up" in typed(place, "notify", "list")[1]
    assert Journal(place.state).read().owed == {}


MISTAKES = [
    (["retry"], "say which mail: an ID of `connrunner notify list`, --to ADDRESS, or --all"),
    (["drop", "crm.1.faild.t"], "no mail 'crm.1.faild.t' waits or was given up; did you mean 'crm.1.failed.t'?"),
    (["drop", "crm", "zzz"], "no mail 'zzz' waits or was given up; see `connrunner notify list`"),
]


@pytest.mark.parametrize(("arguments", "complaint"), MISTAKES)
def test_a_mistake_changes_nothing(place: Place, arguments: list[str], complaint: str) -> None:
    place.state.prepare()
    with locks.hold_state_lock(place.state):
        Journal(place.state).append(owes("a@x"))
    code, _, err = typed(place, "notify", *arguments)
    assert (code, complaint in err) == (2, True), err
    assert len(list(list_deliveries(Journal(place.state).read(), AT))) == 1


# --- crashes -----------------------------------------------------------------------------------------------------

TEAM = Target(name="team", to=("team@x",), limit=3)
RULES = (Notify(to=(TEAM,), when="change"), Notify(to=(Target(to=("all@x",)),), when="always"))
CRM = Connection(
    name="crm",
    title="crm",
    schedule=Manual(),
    work=Command(run=("true",)),
    notify=RULES,
    timeout=60,
    document={},
    fingerprint="",
)
OUTCOMES = "FFSFS"


def lived(folder: Path, crash: int | None) -> list[tuple[str, int]]:
    """Let runs end as OUTCOMES says, and return what was owed; the run number *crash* ends in a crash."""
    state = StateFolder(folder)
    state.prepare()
    owed: dict[str, tuple[str, int]] = {}
    for number, letter in enumerate(OUTCOMES):
        at = AT + timedelta(hours=number)
        journal = Journal(state)
        records = RunRecorder(state=state, journal=journal, clock=lambda at=at: at)  # type: ignore[misc]
        with locks.hold_state_lock(state):
            journal.open()
            entry = QueuedRun(connection="crm", due_at=at, queued_at=at)
            started = records.start(entry, replace(CRM, notify=RULES), commit=None)
        outcome = Outcome.FAILED if letter == "F" else Outcome.SUCCEEDED
        if number == crash:  # between the history and the journal
            ended = changed_run(RUN, connection="crm", run=started.run, outcome=outcome, ended_at=at)
            run_files.append_history(state, ended)
            journal = Journal(state)
            RunRecorder(state=state, journal=journal, clock=lambda: AT).recover(started, RULES)
        else:
            records.finish(started, Result(outcome=outcome, counts=Counts()), seconds=1)
        owed |= {one.notice.id: (one.notice.event, one.notice.run) for one in Journal(state).read().owed.values()}
    return list(owed.values())


def test_a_crash_between_history_and_journal_neither_loses_nor_doubles_a_notice(tmp_path: Path) -> None:
    whole = lived(tmp_path / "whole", None)
    changes = [event for event, _ in whole if event not in ("failed", "succeeded")]
    assert changes == ["failing", "recovered", "failing", "recovered"]
    for crash in range(len(OUTCOMES)):
        assert lived(tmp_path / str(crash), crash) == whole


def test_what_is_too_much_within_an_hour_is_held_back_by_the_journal(place: Place) -> None:
    place.state.prepare()
    journal = Journal(place.state)
    for number in range(5):
        at = AT + timedelta(minutes=number)
        records = RunRecorder(state=place.state, journal=journal, clock=lambda at=at: at)  # type: ignore[misc]
        with locks.hold_state_lock(place.state):
            journal.open()
            entry = QueuedRun(connection="crm", due_at=at, queued_at=at)
            told = replace(CRM, notify=(Notify(to=(TEAM,), when="always"),))
            started = records.start(entry, told, commit=None)
        failed = Result(outcome=Outcome.FAILED, counts=Counts(), message="why")
        records.finish(started, failed, seconds=1)
    journal_state = Journal(place.state).read()
    assert [owed.notice.run for owed in journal_state.owed.values()] == [1, 2, 3]
    (window,) = journal_state.alerts.windows.values()
    assert [(line["run"], line["message"]) for line in window["folded"]] == [(4, "why"), (5, "why")]
    assert [(one.target, one.count, one.until) for one in list_folded(journal_state)] == [
        ("team", 2, AT + timedelta(hours=1))
    ]
    code, out, _ = typed(place, "notify", "list")
    assert code == 0
    assert out.startswith("team: 2 notices too many within an hour, in one mail at 11:15\n")
