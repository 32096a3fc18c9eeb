"""Every connection with what is known of it at a glance, chosen and paged."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from typing import Any

from connrunner.answers.connection_filter import ALL, ConnectionFilter
from connrunner.answers.shared_blackouts import find_shared_blackouts
from connrunner.answers.status import FAILING
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant, schedules
from connrunner.core.model import Connection, Run
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionEntry:
    """A connection that is declared, sound or broken."""

    name: str
    connection: Connection | None  # None for a broken one
    schedule: str  # in words; empty for a broken one
    next_due: datetime | None
    waits: bool
    running: int | None  # the number of the run that works
    last_outcome: str  # empty before the first run
    last: Run | None  # the newest ended run

    @property
    def is_failing(self) -> bool:
        """True when its newest run was no success, or its file is broken."""
        return self.connection is None or self.last_outcome in FAILING


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionPage:
    """Some of the chosen connections, by name."""

    connections: tuple[ConnectionEntry, ...]
    total: int  # of all that were chosen
    next_after: str | None  # the name after which the next page begins; None on the last one


def list_entries(
    view: WorkspaceView,
    choice: ConnectionFilter = ALL,
    *,
    words: str = "",
    only_failing: bool = False,
    limit: int = 100,
    after: str = "",
) -> ConnectionPage:
    """Return the first *limit* of the chosen connections whose names come behind *after*, by name.

    *words* have to stand in name or title, in whatever case. The histories of those on the page are read, and no other.
    """
    names = choice.select(view, [*view.workspace.connections, *view.workspace.broken])
    chosen = [name for name in names if _has_words(view, name, words) and (not only_failing or _is_failing(view, name))]
    start = bisect_right(chosen, after)
    page = chosen[start : start + limit]
    return ConnectionPage(
        connections=tuple(_listed(view, name) for name in page),
        total=len(chosen),
        next_after=page[-1] if page and start + limit < len(chosen) else None,
    )


def _listed(view: WorkspaceView, name: str) -> ConnectionEntry:
    state, connection = view.journal_state, view.workspace.connections.get(name)
    promise, started = state.promises.get(name), state.started.get(name)
    shared = find_shared_blackouts(view.workspace)
    return ConnectionEntry(
        name=name,
        connection=connection,
        schedule=schedules.describe(connection.schedule, shared) if connection else "",
        next_due=promise.next_due if promise else None,
        waits=name in state.waiting,
        running=started.run if started else None,
        last_outcome=state.last_outcome.get(name, ""),
        last=run_files.read_last_run(view.state, name),
    )


def _is_failing(view: WorkspaceView, name: str) -> bool:
    return name in view.workspace.broken or view.journal_state.last_outcome.get(name) in FAILING


def _has_words(view: WorkspaceView, name: str, words: str) -> bool:
    if not words:
        return True
    connection = view.workspace.connections.get(name)
    return words.casefold() in f"{name}\n{connection.title if connection else ''}".casefold()


def as_list(page: ConnectionPage) -> list[dict[str, Any]]:
    """Return the connections of *page* as plain data; it is only ever added to."""
    return [
        {
            "connection": one.name,
            "title": one.connection.title if one.connection else None,
            "owner": one.connection.owner if one.connection else None,
            "labels": dict(one.connection.labels) if one.connection else {},
            "kind": one.connection.kind if one.connection else None,
            "lane": one.connection.lane if one.connection else None,
            "enabled": one.connection.enabled if one.connection else None,
            "broken": one.connection is None,
            "failing": one.is_failing,
            "schedule": one.schedule or None,
            "next_due": instant.text(one.next_due) if one.next_due else None,
            "waiting": one.waits,
            "running": one.running,
            "last": _last_as_dict(one.last) if one.last else None,
        }
        for one in page.connections
    ]


def _last_as_dict(run: Run) -> dict[str, Any]:
    return {
        "run": run.run,
        "outcome": str(run.outcome),
        "started_at": instant.text(run.intent.started_at) if run.intent.started_at else None,
        "ended_at": instant.text(run.ended_at),
        "seconds": run.seconds,
    }
