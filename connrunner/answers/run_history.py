"""The runs of a connection: those that ended, the one that works, and the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice, takewhile
from typing import Any, Literal

from connrunner.answers.active_runs import ActiveRun, find_active_run
from connrunner.answers.shared_blackouts import find_shared_blackouts
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant, run_records, schedules
from connrunner.core.model import Run
from connrunner.state import run_files


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
        ended=list_ended(view, name, limit=limit, since=since),
    )


def list_ended(view: WorkspaceView, name: str, *, limit: int, since: datetime | None = None) -> tuple[Run, ...]:
    """Return the last *limit* ended runs of *name*, newest first, those that ended before *since* left out."""
    newest = takewhile(lambda run: since is None or run.ended_at >= since, run_files.read_history(view.state, name))
    return tuple(islice(newest, limit))


def list_matching(view: WorkspaceView, pattern: str, *, limit: int, since: datetime | None = None) -> tuple[Run, ...]:
    """Return what `list_ended` does for each connection that *pattern* fits; ArgumentError when it fits none."""
    names = [name for name in view.known_names() if fnmatchcase(name, pattern)] or [view.require(pattern)]
    return tuple(run for name in names for run in list_ended(view, name, limit=limit, since=since))


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
        why = "its file has problems: `connrunner validate`" if is_broken else "it has no file any more"
        return NextRun(state="promised", due_at=promise.next_due if promise and is_broken else None, words=why)
    if not connection.enabled:
        return NextRun(state="promised", due_at=None, words="switched off")
    words = schedules.describe(connection.schedule, find_shared_blackouts(view.workspace))
    if promise is None or promise.schedule != schedules.as_document(connection.schedule):
        return NextRun(state="promised", due_at=None, words=f"{words}; the next tick will promise an instant")
    return NextRun(state="promised", due_at=promise.next_due, words=words)


def as_list(ended: tuple[Run, ...]) -> list[dict[str, Any]]:
    """Return ended runs as `runs --format json` shows them."""
    return [run_records.as_dict(run) for run in ended]
