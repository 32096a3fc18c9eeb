"""Behind which connections one starts (`after`), and which of them it would wait for now."""

from __future__ import annotations

from typing import Any, Literal

from connrunner.answers.active_runs import ActiveRun, find_active_run, time_of_day
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.model import Connection
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import listed


@dataclass(frozen=True, kw_only=True, slots=True)
class Predecessor:
    """A connection that another one starts behind when both are queued."""

    connection: str
    state: Literal["idle", "waiting", "running"]
    active: ActiveRun | None = None  # its run that works


def list_predecessors(view: WorkspaceView, connection: Connection) -> tuple[Predecessor, ...]:
    """Return those that *connection* names under `after`, as it names them, and how each stands now."""
    waiting = view.journal_state.waiting

    def describe(name: str) -> Predecessor:
        if (active := find_active_run(view, name)) is not None:
            return Predecessor(connection=name, state="running", active=active)
        return Predecessor(connection=name, state="waiting" if name in waiting else "idle")

    return tuple(map(describe, connection.after))


def describe_predecessors(found: tuple[Predecessor, ...], zone: str) -> tuple[str, str]:
    """Return in words what is waited for, and what that means now; two empty texts without any."""
    if not found:
        return "", ""
    rule = f"{listed(one.connection for one in found)}: behind what of these is queued or runs, however it ends"
    busy = [_describe_busy(one, zone) for one in found if one.state != "idle"]
    return rule, f"now {listed(busy)}" if busy else "now none of them is queued or runs: it waits for nothing"


def _describe_busy(one: Predecessor, zone: str) -> str:
    if one.active is None:
        return f"{one.connection} is queued"
    ends = f" until about {time_of_day(one.active.ends_at, zone)}" if one.active.ends_at else ""
    return f"{one.connection} #{one.active.run} runs{ends}"


def as_dict(one: Predecessor) -> dict[str, Any]:
    """Return *one* as `explain --format json` shows it."""
    active = one.active
    return {
        "connection": one.connection,
        "state": one.state,
        "run": active.run if active else None,
        "ends_at": instant.text(active.ends_at) if active and active.ends_at else None,
    }
