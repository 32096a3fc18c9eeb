"""
Is the store the one that history speaks of? One that was emptied, deleted or replaced is not taken for a new one.

A store that begins anew on purpose remembers, in `about`, how far the history of each connection had come by then:
nothing of that is looked for in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from connrunner.core.model import Run
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.profiles import tables
from connrunner.text.words import plural

Expected = Mapping[str, Iterable[Run]]  # by connection, the runs that must be in the store, newest first
BEGIN_ANEW = "connrunner reset --profiles"  # the command
_BEGUN = "begun_after"  # the fact in `about`


def refuse_missing_store(path: Path, expected: Expected) -> None:
    """RunError when the file of the store is absent or empty, and there are *expected* runs."""
    is_there = path.exists()
    if is_there and path.stat().st_size:
        return
    if newest := max((run for runs in expected.values() for run in _first(runs)), key=_ended_at, default=None):
        raise _lost_store(path, "is empty" if is_there else "is not there", newest)


def check_runs(connection: duckdb.DuckDBPyConnection, path: Path, expected: Expected, report: Report) -> None:
    """
    RunError when the attached store has none of the *expected* runs. A warning when it is older than the newest ones.

    Runs that ended before the first run of the store belong to an earlier one.
    """
    if not tables.has_no_tables(connection):
        tables.check_format(connection, str(path))
    if lost := check_contents(connection, expected, report):
        raise _lost_store(path, "does not hold what was imported", lost)


def check_contents(connection: duckdb.DuckDBPyConnection, expected: Expected, report: Report) -> Run | None:
    """Return the newest of the *expected* runs when the attached store has none; a warning when it lacks the newest."""
    contents = _Contents(connection)
    if not tables.has_no_tables(connection):
        contents.read()
    missing = [run for name, runs in expected.items() for run in contents.find_missing(name, runs)]
    if not missing:
        return None
    if not contents.connections & expected.keys():
        return max(missing, key=_ended_at)
    first = min(missing, key=_ended_at)
    report.message(
        f"the profile store is older than history: it does not have {name_run(first)}"
        + (f", nor {plural(len(missing) - 1, 'later run')}" if len(missing) > 1 else "")
        + "; was it put back from a backup? What those runs did is gone from it",
        level="warning",
    )
    return None


def note_begin(connection: duckdb.DuckDBPyConnection, numbers: Mapping[str, int]) -> None:
    """Record in a new store the newest run of each connection that came before it."""
    connection.execute("INSERT INTO store.about VALUES (?, ?)", [_BEGUN, json.dumps(dict(numbers))])


class _Contents:
    """What the attached store knows of runs; nothing until it is read."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.connections: set[str] = set()
        self._since: datetime | None = None  # when its first run started
        self._begun: dict[str, int] = {}

    def read(self) -> None:
        rows = self._connection.execute(
            "SELECT connection, epoch_us(min(started)) FROM store.runs GROUP BY connection"
        ).fetchall()
        self.connections = {name for name, _ in rows}
        if rows:
            self._since = datetime.fromtimestamp(min(first for _, first in rows) / 1e6, UTC)
        found = self._connection.execute("SELECT value FROM store.about WHERE key = ?", [_BEGUN]).fetchone()
        self._begun = {} if found is None else json.loads(found[0])

    def find_missing(self, name: str, runs: Iterable[Run]) -> Iterator[Run]:
        """Yield those of *runs* of the connection *name*, newest first, that came after the newest one that is here."""
        for run in runs:
            if run.run <= self._begun.get(name, 0) or (self._since is not None and run.ended_at < self._since):
                return
            if name in self.connections and self._has(name, run.run):
                return
            yield run

    def _has(self, name: str, run: int) -> bool:
        statement = "SELECT 1 FROM store.runs WHERE connection = ? AND run = ?"
        return self._connection.execute(statement, [name, run]).fetchone() is not None


def _first(runs: Iterable[Run]) -> Iterator[Run]:
    for run in runs:
        yield run
        return


def _ended_at(run: Run) -> datetime:
    return run.ended_at


def name_run(run: Run) -> str:
    """Return *run* in words: which, what for, and when it ended."""
    return f"run {run.run} of {run.connection} ({run.intent.kind}, {run.ended_at:%Y-%m-%d %H:%M} UTC)"


def _lost_store(path: Path, what: str, run: Run) -> RunError:
    return RunError(
        f"the profile store {path} {what}, and history has runs that filled it, the last of them {name_run(run)}: "
        "all profiles, their consents and what was sent are missing",
        hint=f"put the file back from a backup; to begin anew without them: `{BEGIN_ANEW}`",
        code="store-unusable",
    )
