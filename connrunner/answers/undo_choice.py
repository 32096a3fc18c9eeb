"""Which run may be undone, as far as history knows."""

from __future__ import annotations

from connrunner.answers.decided_run import require_ended_run
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.model import Connection, Outcome
from connrunner.core.planning.due import DecisionRequest
from connrunner.errors import ArgumentError
from connrunner.state import run_files


def choose_undo(view: WorkspaceView, name: str, number: int, *, asked_by: str, reason: str) -> DecisionRequest:
    """Return the request to undo run *number* of *name*; ArgumentError when it cannot be undone, and why.

    The connection has to be usable, and may be switched off. Whether what the run overwrote is still kept, only the
    profile store knows.
    """
    connection: Connection = view.connection(name)
    run = require_ended_run(view, name, number)
    match run.intent.kind:
        case "export":
            raise ArgumentError(
                f"{name} #{number} is an export: it cannot be undone", hint="its next run sends the difference"
            )
        case "command":
            raise ArgumentError(f"{name} #{number} ran a program, and only the program knows what it did")
        case "undo":
            raise ArgumentError(f"{name} #{number} is an undo itself", hint=f"`connrunner run {name}` imports again")
    if connection.kind != "import":
        raise ArgumentError(
            f"{name} is no import any more, and an undo is a run of an import",
            hint="put back the file that it had then; it may be switched off",
        )
    if (by := _find_undoing(view, name, number)) is not None:
        raise ArgumentError(f"{name} #{number} has been undone already, by #{by}")
    if run.outcome not in (Outcome.SUCCEEDED, Outcome.PARTIAL) or not run.result.counts.read:
        ended = f"{run.outcome} at {instant.local(run.ended_at, view.zone(name))}"
        raise ArgumentError(f"{name} #{number} changed no profile: it {ended}", hint="there is nothing to undo")
    return DecisionRequest(
        kind="undo",
        connection=name,
        run=number,
        asked_at=view.clock(),
        asked_by=asked_by,
        reason=reason,
        notify=connection.notify,
    )


def _find_undoing(view: WorkspaceView, name: str, number: int) -> int | None:
    """Return the run that has undone run *number*; None without one."""
    for run in run_files.read_history(view.state, name):
        if run.run <= number:
            return None
        if run.intent.kind == "undo" and run.outcome is Outcome.SUCCEEDED and run.result.detail.get("undone") == number:
            return run.run
    return None
