"""Which runs changed the profile store, by what is recorded outside of it: a store without them is not whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from connrunner.core import run_records
from connrunner.core.model import Outcome, Run
from connrunner.state.folder import StateFolder
from connrunner.state.run_files import read_any_history
from connrunner.text.files import open_own
from connrunner.text.nesting import parse_json

LOOKED_AT = 1000  # runs of each connection: a store that is older than that has lost younger ones, too


def list_store_changes(folder: StateFolder) -> dict[str, Iterator[Run]]:
    """
    Return, by connection, the runs that came to their end and had rows for the store, newest first, as they are read.

    From the histories; when they know of none, from the journal. Runs without a row need not be in the store.
    """
    found: dict[str, Iterator[Run]] = {}
    for name in _recorded_connections(folder):
        changes = filter(_changed_the_store, islice(read_any_history(folder, name), LOOKED_AT))
        if (newest := next(changes, None)) is not None:
            found[name] = _resume(newest, changes)
    return found or _read_journal(folder)


def _recorded_connections(folder: StateFolder) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder.runs) if folder.history(entry.name).is_file())
    except FileNotFoundError:
        return []


def _resume(first: Run, others: Iterator[Run]) -> Iterator[Run]:
    yield first
    yield from others


def _changed_the_store(run: Run) -> bool:
    came_to_its_end = run.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL)
    return came_to_its_end and run.intent.kind in ("import", "export", "undo") and run.result.counts.read > 0


def _read_journal(folder: StateFolder) -> dict[str, Iterator[Run]]:
    runs: dict[str, list[Run]] = {}
    with suppress(FileNotFoundError), open_own(folder.journal) as lines:
        for line in lines:
            if b'"ended"' not in line:
                continue
            with suppress(*run_records.MALFORMED):
                record = parse_json(line)
                run = run_records.from_mapping(record["run"])
                if record["type"] == "ended" and _changed_the_store(run):
                    runs.setdefault(run.connection, []).insert(0, run)
    return {name: iter(ended) for name, ended in runs.items()}
