"""The runs of a connection, those that ended, the one that works and the next one; the newest runs of many."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain, islice, takewhile
from typing import Literal

from connrunner.answers.active_runs import ActiveRun, find_active_run
from connrunner.answers.shared_blackouts import find_shared_blackouts
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant, schedules
from connrunner.core.model import Run
from connrunner.core.outcome_counts import OutcomeCounts, count_outcomes
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files

DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class NextRun:
    """The run that waits in its queue, or the promised one, or why there is none."""

    state: Literal["waiting", "promised"]
    due_at: datetime | None  # None when no instant is promised
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunHistory:
    """The runs of one connection."""

    connection: str
    zone: str  # for times that people read
    next: NextRun
    active: ActiveRun | None
    ended: tuple[Run, ...]  # newest first


def read_history(view: WorkspaceView, name: str, *, limit: int, since: datetime | None = None) -> RunHistory:
    """Return the last *limit* ended runs of *name*, those that ended before *since* left out, and what comes next."""
    return RunHistory(
        connection=name,
        zone=view.zone(name),
        next=find_next_run(view, name),
        active=find_active_run(view, name),
        ended=tuple(list_ended(view, name, limit=limit, since=since)),
    )


def list_ended(
    view: WorkspaceView, name: str, *, limit: int, since: datetime | None = None, before: int | None = None
) -> Iterator[Run]:
    """Yield the last *limit* ended runs of *name*, newest first, those that ended before *since* left out.

    Of those with a number below *before*, where it is given.
    """
    history = run_files.read_history(view.state, name, until=None if before is None else before - 1)
    return islice(takewhile(lambda run: since is None or run.ended_at >= since, history), limit)


def list_newest(
    view: WorkspaceView, names: Iterable[str], *, limit: int, since: datetime | None = None
) -> tuple[Run, ...]:
    """Return the *limit* runs of all *names* that ended last, newest first, those that ended before *since* left out.

    Reads of each history what may belong to them, one file at a time; one that cannot be read is passed over.
    """
    newest: list[tuple[datetime, int, int, Run]] = []  # a heap, the oldest on top; of one instant the last name's
    for place, name in enumerate(names):
        history = run_files.read_any_history(view.state, name)
        for run in islice(takewhile(lambda run: since is None or run.ended_at >= since, history), limit):
            if len(newest) < limit:
                heapq.heappush(newest, (run.ended_at, -place, run.run, run))
            elif run.ended_at > newest[0][0]:
                heapq.heapreplace(newest, (run.ended_at, -place, run.run, run))
            else:
                break
    return tuple(run for *_, run in sorted(newest, key=lambda one: one[:3], reverse=True))


def explain_unusable(view: WorkspaceView, names: Iterable[str]) -> dict[str, str]:
    """Return those of *names* of which nothing can be shown since their history cannot be used, and why."""
    return {name: str(error) for name, error in run_files.find_unusable(view.state, names).items()}


def count_last_day(view: WorkspaceView, names: Iterable[str]) -> OutcomeCounts:
    """Return how the runs of *names* went that ended in the 24 hours before the view's instant."""
    now = view.clock()
    newest = (
        takewhile(lambda end: end[0] > now - DAY, run_files.read_ends(view.state, name))
        for name in run_files.choose_with_past(view.state, names)
    )
    return count_outcomes(outcome for at, outcome in chain.from_iterable(newest) if at <= now)


def find_next_run(view: WorkspaceView, name: str) -> NextRun:
    """Return the run of *name* that waits, or the promised one, or the reason why there is none."""
    waiting = view.journal_state.waiting.get(name)
    if waiting:
        since = instant.local(waiting.queued_at, view.zone(name))
        return NextRun(state="waiting", due_at=waiting.due_at, words=f"in the queue since {since}")
    connection = view.workspace.connections.get(name)
    promise = view.journal_state.promises.get(name)
    if connection is None:
        is_broken = name in view.workspace.broken
        why = (
            "skipped until it is fixed: its file has problems (`connrunner validate`)"
            if is_broken
            else "it has no file any more"
        )
        return NextRun(state="promised", due_at=promise.next_due if promise and is_broken else None, words=why)
    if not connection.enabled:
        return NextRun(state="promised", due_at=None, words="switched off")
    words = schedules.describe(connection.schedule, find_shared_blackouts(view.workspace))
    if promise is None or promise.schedule != schedules.as_document(connection.schedule):
        return NextRun(state="promised", due_at=None, words=f"{words}; the next tick will promise an instant")
    return NextRun(state="promised", due_at=promise.next_due, words=words)
