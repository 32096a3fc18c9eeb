"""The earlier run that a decision is about: to undo, to approve, to decline."""

from __future__ import annotations

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.model import Run
from connrunner.errors import ArgumentError
from connrunner.state import run_files


def require_ended_run(view: WorkspaceView, name: str, number: int) -> Run:
    """Return run *number* of *name*; ArgumentError when there is none, and when it still runs."""
    run = run_files.read_run(view.state, name, number)
    if run is not None:
        return run
    started = view.journal_state.started.get(name)
    if started is not None and started.run == number:
        raise ArgumentError(f"{name} #{number} still runs", hint=f"`connrunner stop {name}` ends it")
    raise ArgumentError(f"{name} has no run {number}", hint=f"see `connrunner runs {name}`")
