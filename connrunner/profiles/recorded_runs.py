"""The runs that changed the store: each recorded once, with its counters, in the transaction of its changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connrunner.core import instant
from connrunner.core.counts import Counts, from_mapping
from connrunner.errors import RunError
from connrunner.profiles.jobs import RunStamp
from connrunner.profiles.results import RecordedRun
from connrunner.profiles.session import StoreSession


def start_record(session: StoreSession, stamp: RunStamp, kind: str) -> int:
    """Record a new run and return its number in this store. RunError when it is there already."""
    if read_counts(session, stamp.connection, stamp.run) is not None:
        raise RunError(
            f"run {stamp.run} of {stamp.connection} is in the profile store already",
            hint="its changes were kept; the next run has another number",
            code="already-recorded",
        )
    number = int(session.one("SELECT value FROM store.about WHERE key = 'next_run'"))
    session.execute("UPDATE store.about SET value = ? WHERE key = 'next_run'", [str(number + 1)])
    session.execute(
        "INSERT INTO store.runs VALUES (?, ?, ?, ?, ?::TIMESTAMPTZ, '{}')",
        [number, stamp.connection, stamp.run, kind, instant.text(stamp.at)],
    )
    return number


def finish_record(session: StoreSession, number: int, total: Counts, detail: Mapping[str, Any]) -> None:
    """Record the counters of the run that has *number* in this store, and *detail*, plain JSON for its history."""
    facts = json.dumps({**total.as_dict(), "detail": detail})
    session.execute("UPDATE store.runs SET counts = ? WHERE id = ?", [facts, number])


def read_recorded(session: StoreSession, stamp: RunStamp) -> RecordedRun | None:
    """Return what the transaction of a run recorded of it, or None: one of that number may be of another backup."""
    found = session.execute(
        "SELECT kind, counts FROM store.runs WHERE connection = ? AND run = ? AND started = ?::TIMESTAMPTZ",
        [stamp.connection, stamp.run, instant.text(stamp.at)],
    ).fetchone()
    if found is None:
        return None
    facts = json.loads(found[1])
    return RecordedRun(kind=found[0], counts=from_mapping(facts), detail=facts.get("detail", {}))


def read_counts(session: StoreSession, connection: str, run: int) -> Counts | None:
    """Return the counters of a recorded run, or None."""
    found = session.one("SELECT counts FROM store.runs WHERE connection = ? AND run = ?", [connection, run])
    return None if found is None else from_mapping(json.loads(found))
