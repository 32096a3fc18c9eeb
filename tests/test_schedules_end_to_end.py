"""Blackouts, lists of schedules and late runs, as ticks see them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.model import QueuedRun
from connrunner.scheduler.tick import Tick
from connrunner.state import locks, run_files
from connrunner.state.journal import Journal
from connrunner.state.journal_state import JournalState, MissedSlot, apply_record, as_snapshot
from tests.conftest import Place

HOURLY = """
  - {type: cron, expression: "@hourly"}
  - {type: times_per_day, times: 1}
"""


@pytest.mark.slow
@pytest.mark.thorough
def test_a_night_with_a_blackout_and_without_ticks(place: Place) -> None:
    place.write("connrunner.yaml", 'version: 1\nblackout: [{dates: ["12-25"], reason: Christmas}]\n')
    place.command("often", "print('hello')", schedule=HOURLY, more="start_within: 30m\n")
    place.run("tick", "--now", "2026-12-24T22:30:00Z")  # switched on: the times per day begin
    place.run("tick", "--now", "2026-12-25T01:10:00Z")
    said = place.run("tick", "--now", "2026-12-26T02:10:00Z").out

    assert "often: not due at 2026-12-25T02:00:00Z, and 22 after it: blackout: Christmas (12-25)\n" in said
    assert [(run["outcome"], run["code"], run["due_at"], run["missed"]) for run in place.runs("often")] == [
        ("succeeded", "", "2026-12-26T02:00:00Z", 0),
        ("skipped", "too-late", "2026-12-26T00:00:00Z", 1),
        ("skipped", "too-late", "2026-12-24T23:00:00Z", 0),
        ("succeeded", "", "2026-12-24T22:30:00Z", 0),
    ]
    told = [
        (slot["due_at"], slot["missed"], slot["missed_until"])
        for record in place.journal()
        for slot in record.get("slots", ())
        if slot["result"] == "left_out"
    ]
    assert told == [
        ("2026-12-25T00:00:00Z", 1, "2026-12-25T01:00:00Z"),
        ("2026-12-25T02:00:00Z", 22, "2026-12-25T23:00:00Z"),
    ]


def at(text: str) -> Any:
    return instant.parse(f"2026-11-22T{text}:00Z")


LATE = QueuedRun(connection="a", due_at=at("05:00"), queued_at=at("05:00"), merged=1)


def missed(entry: QueuedRun = LATE) -> dict[str, Any]:
    shown = {
        "connection": entry.connection,
        "due_at": instant.text(entry.due_at),
        "queued_at": instant.text(entry.queued_at),
    }
    slot = {**shown, "trigger": entry.trigger, "merged": entry.merged, "result": "missed", "reason": "it waited"}
    return {"type": "planned", "at": "2026-11-22T08:00:00Z", "slots": [slot]}


def test_what_came_too_late_leaves_the_queue_and_waits_for_its_record() -> None:
    journal_state = JournalState(waiting={"a": LATE})
    apply_record(journal_state, missed())
    assert journal_state.waiting == {}
    assert journal_state.missed == {"a": MissedSlot(LATE, "it waited")}

    again = JournalState()
    apply_record(again, {"type": "snapshot", **json.loads(json.dumps(as_snapshot(journal_state)))})
    assert again.missed == journal_state.missed


def test_a_manual_run_that_waits_stays_in_the_queue() -> None:
    request = QueuedRun(connection="a", due_at=at("07:00"), queued_at=at("07:00"), trigger="manual")
    journal_state = JournalState(waiting={"a": request})
    apply_record(journal_state, missed())
    assert journal_state.waiting == {"a": request}


def test_a_tick_that_died_before_the_record_is_made_good(place: Place) -> None:
    """The slot is in the journal; its run is recorded by the next tick, once."""
    place.command("a", "print(1)", more="start_within: 1h\n")
    Tick(place.folder, place.state, say=lambda _: None).take_in()
    with locks.hold_state_lock(place.state):
        Journal(place.state).append(missed())

    for _ in range(2):
        Tick(place.folder, place.state, say=lambda _: None).take_in()
    (run,) = run_files.read_history(place.state, "a")
    assert (run.outcome, run.result.code, run.result.message, run.entry.merged) == (
        "skipped",
        "too-late",
        "it waited",
        1,
    )


def test_a_run_that_is_in_history_already_is_adopted(place: Place) -> None:
    """The crash came between history and journal."""
    place.command("a", "print(1)", more="start_within: 1h\n")
    Tick(place.folder, place.state, say=lambda _: None).take_in()
    with locks.hold_state_lock(place.state):
        Journal(place.state).append(missed())
    before = place.state.journal.read_bytes()
    Tick(place.folder, place.state, say=lambda _: None).take_in()
    place.state.journal.write_bytes(before)

    Tick(place.folder, place.state, say=lambda _: None).take_in()
    assert len(list(run_files.read_history(place.state, "a"))) == 1
    assert Journal(place.state).read().missed == {}
