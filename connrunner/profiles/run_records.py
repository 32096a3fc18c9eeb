"""The runs that changed the store: each once, with its counters, in the transaction of its changes."""

from __future__ import annotations

import json
from datetime import datetime

from connrunner.core import counts as core_counts
from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.errors import RunError
from connrunner.profiles.session import StoreSession


def begin(session: StoreSession, connection: str, run: int, kind: str, at: datetime) -> int:
    """Record a new run and return its number in this store. RunError when it is there already."""
    if counts(session, connection, run) is not None:
        raise RunError(
            f"run {run} of {connection} is in the profile store already",
            hint="its changes were kept; the next run has another number",
            code="already-recorded",
        )
    number = int(session.one("SELECT value FROM store.about WHERE key = 'next_run'"))
    session.execute("UPDATE store.about SET value = ? WHERE key = 'next_run'", [str(number + 1)])
    session.execute(
        "INSERT INTO store.runs VALUES (?, ?, ?, ?, ?::TIMESTAMPTZ, '{}')",
        [number, connection, run, kind, instant.text(at)],
    )
    return number


def end(session: StoreSession, number: int, total: Counts) -> None:
    """Record the counters of run *number*."""
    session.execute("UPDATE store.runs SET counts = ? WHERE id = ?", [json.dumps(total.as_dict()), number])


def counts(session: StoreSession, connection: str, run: int) -> Counts | None:
    """Return the counters of a recorded run, or None."""
    found = session.one("SELECT counts FROM store.runs WHERE connection = ? AND run = ?", [connection, run])
    return None if found is None else core_counts.from_mapping(json.loads(found))
