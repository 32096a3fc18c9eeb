"""The runs of all lanes between two instants, from the journal: what a day looked like, and no history is read."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from sys import intern
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from connrunner.answers.status import lane_of
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant, run_records
from connrunner.state import journal_segments
from connrunner.state.journal_segments import RecordedPart
from connrunner.text.nesting import parse_json

KEPT_PARTS = 64  # whose ended runs are remembered: a complete part never changes


class PastRun(NamedTuple):
    """A run that has ended."""

    connection: str
    run: int
    due_at: datetime
    started_at: datetime | None  # None: it ended without a start
    ended_at: datetime
    outcome: str


def list_past_runs(view: WorkspaceView, since: datetime, until: datetime) -> dict[str, list[PastRun]]:
    """Return the runs that ended after *since* and began before *until*, by lane, in the order of their ends.

    The lane is that of the connection now.
    """
    found: dict[str, list[PastRun]] = {}
    for run in _read_ended(view, since):
        began = run.started_at or run.ended_at
        if run.ended_at > since and began < until:
            found.setdefault(lane_of(view, run.connection), []).append(run)
    for runs in found.values():
        runs.sort(key=lambda one: one.ended_at)
    return found


def list_ended_today(view: WorkspaceView) -> list[PastRun]:
    """Return the runs of the workspace that ended since midnight in its zone, newest first."""
    now = view.clock()
    midnight = now.astimezone(ZoneInfo(view.zone())).replace(hour=0, minute=0, second=0, microsecond=0)
    found = [run for run in _read_ended(view, midnight) if midnight <= run.ended_at <= now]
    return sorted(found, key=lambda run: run.ended_at, reverse=True)


def count_ended_today(view: WorkspaceView) -> Counter[str]:
    """Return how many of these there are, by outcome."""
    return Counter(run.outcome for run in list_ended_today(view))


def _read_ended(view: WorkspaceView, since: datetime) -> Iterator[PastRun]:
    for part in journal_segments.list_parts_since(view.state, since):
        yield from _ended_of_kept(part) if part.is_complete else _parse(part.read_lines())


@functools.lru_cache(maxsize=KEPT_PARTS)
def _ended_of_kept(part: RecordedPart) -> tuple[PastRun, ...]:
    return tuple(_parse(part.read_lines()))


def _parse(lines: Iterable[bytes]) -> Iterator[PastRun]:
    for line in lines:
        if b'"ended"' not in line:
            continue
        try:
            record = parse_json(line)
            if record.get("type") == "ended":
                yield _past_run(record["run"])
        except run_records.MALFORMED:
            continue


def _past_run(run: Mapping[str, Any]) -> PastRun:
    return PastRun(
        connection=intern(str(run["connection"])),
        run=int(run["run"]),
        due_at=instant.parse(run["due_at"]),
        started_at=instant.parse(run["started_at"]) if run.get("started_at") else None,
        ended_at=instant.parse(run["ended_at"]),
        outcome=intern(str(run["outcome"])),
    )
