"""A run as plain data: what history and the journal hold of it stays byte for byte as it is."""

from __future__ import annotations

import json

from connrunner.core import run_records
from connrunner.state import journal_state
from connrunner.state.journal_state import JournalState

HISTORY = (
    '{"connection":"crm","run":12,"outcome":"failed","trigger":"manual","due_at":"2026-11-22T06:00:00Z",'
    '"queued_at":"2026-11-22T06:00:01Z","started_at":"2026-11-22T06:00:02.250Z","ended_at":"2026-11-22T06:01:13Z",'
    '"seconds":70.75,"counts":{"read":10,"skipped":1,"filtered":1,"not_attempted":1,"checked":7,"created":1,"updated":1,'
    '"unchanged":1,"deleted":0,"duplicate":1,"consent_blocked":0,"not_found":0,"ambiguous":1,"invalid":1,"rejected":1},'
    '"message":"exit status 3; attempt 2 of 2","code":"exit-status","commit":"3f2a9c1d","config":"c0ffee","missed":2,'
    '"merged":1,"asked_by":"ann@here","kind":"command","title":"CRM contacts","exit_status":3,"attempts":2,'
    '"detail":{"output":"a.csv"}}'
)
STARTED = (
    '{"connection":"crm","due_at":"2026-11-22T06:00:00Z","queued_at":"2026-11-22T06:00:01Z","trigger":"manual",'
    '"missed":2,"merged":1,"asked_by":"ann@here","request":"run-1","run":12,"lane":"side",'
    '"started_at":"2026-11-22T06:00:02.250Z","commit":"3f2a9c1d","config":"c0ffee","kind":"command",'
    '"title":"CRM contacts","mark":"f00d"}'
)
RESULT = (
    '{"outcome":"partial","counts":{"read":1,"skipped":0,"filtered":0,"not_attempted":0,"checked":1,"created":0,'
    '"updated":0,"unchanged":0,"deleted":0,"duplicate":0,"consent_blocked":0,"not_found":0,"ambiguous":0,"invalid":1,'
    '"rejected":0},"message":"1 refused","code":"","exit_status":null,"attempts":1,"detail":{"rows":0}}'
)


def compact(data: object) -> str:
    return json.dumps(data, separators=(",", ":"))


def test_a_record_of_history_reads_and_writes_as_the_same_bytes() -> None:
    assert compact(run_records.as_dict(run_records.from_mapping(json.loads(HISTORY)))) == HISTORY


def test_a_run_that_never_started_says_so() -> None:
    record = {**json.loads(HISTORY), "started_at": None, "exit_status": None}
    assert compact(run_records.as_dict(run_records.from_mapping(record))) == compact(record)


def test_an_intent_reads_and_writes_as_the_same_bytes() -> None:
    state = JournalState()
    journal_state.apply_record(state, {"v": 1, "type": "started", "at": "", **json.loads(STARTED)})
    assert compact(journal_state.started_as_dict(state.started["crm"])) == STARTED


def test_a_result_reads_and_writes_as_the_same_bytes() -> None:
    assert compact(run_records.result_as_dict(run_records.result_from(json.loads(RESULT)))) == RESULT


def test_what_an_older_version_did_not_write_is_empty() -> None:
    needed = ("connection", "run", "outcome", "trigger", "due_at", "queued_at", "ended_at", "seconds")
    old = {key: value for key, value in json.loads(HISTORY).items() if key in needed}
    record = run_records.as_dict(run_records.from_mapping({**old, "of a newer version": 1}))
    assert {key: record[key] for key in old} == old
    assert {key: value for key, value in record.items() if key not in old and value} == {
        "attempts": 1,
        "counts": dict.fromkeys(json.loads(HISTORY)["counts"], 0),
    }
