"""Which run a request to stop means."""

from __future__ import annotations

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.model import QueuedRun, Run
from connrunner.core.planning.due import StopRequest
from connrunner.errors import ArgumentError
from connrunner.state import requests, run_files


def choose_stop(view: WorkspaceView, name: str, number: int | None, *, asked_by: str, reason: str) -> StopRequest:
    """Return the request to stop the run of *name* that works, number *number* if given, or else the one that waits.

    ArgumentError when there is none.
    """
    journal_state, at = view.journal_state, view.clock()
    started, waiting = journal_state.started.get(name), _find_waiting(view, name)
    if started is not None and number in (None, started.run):
        return StopRequest(connection=name, asked_at=at, asked_by=asked_by, reason=reason, run=started.run)
    if number is not None:
        if found := run_files.read_run(view.state, name, number):
            raise ArgumentError(f"{name} #{number} has ended already: {_outcome(view, found)}")
        hint = f"{name} #{started.run} runs" if started else "see `connrunner status`"
        raise ArgumentError(f"{name} has no run {number} that works", hint=hint)
    if waiting is not None:
        return StopRequest(connection=name, asked_at=at, asked_by=asked_by, reason=reason, due_at=waiting.due_at)
    last = run_files.read_last_run(view.state, name)
    known = f"; its last run, #{last.run}, ended {_outcome(view, last)}" if last else ""
    raise ArgumentError(f"no run of {name} works or waits{known}")


def choose_removal(view: WorkspaceView, name: str, *, asked_by: str, reason: str) -> StopRequest:
    """Return the request to take the waiting run of *name* out of its queue; ArgumentError without one."""
    waiting = _find_waiting(view, name)
    if waiting is None:
        raise ArgumentError(f"no run of {name} waits", hint="see `connrunner status`")
    due_at = waiting.due_at
    return StopRequest(connection=name, asked_at=view.clock(), asked_by=asked_by, reason=reason, due_at=due_at)


def _find_waiting(view: WorkspaceView, name: str) -> QueuedRun | None:
    """Return what waits of *name*: a decision about a run goes before what stands in the queue."""
    for decision in requests.read_decisions(view.state):
        if decision.connection == name and decision.id not in view.journal_state.answered:
            return decision.as_entry()
    return view.journal_state.waiting.get(name)


def _outcome(view: WorkspaceView, run: Run) -> str:
    return f"{run.outcome} at {instant.local(run.ended_at, view.zone(run.connection))}"
