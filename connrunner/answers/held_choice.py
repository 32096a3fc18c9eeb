"""Which held run may be approved or declined, as far as journal and history know."""

from __future__ import annotations

from typing import Literal

from connrunner.answers.decided_run import require_ended_run
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.config import resolved
from connrunner.core import instant
from connrunner.core.held_runs import DECLINED, HeldRun, settles
from connrunner.core.model import Connection, Outcome, Run
from connrunner.core.planning.due import DecisionRequest
from connrunner.errors import ArgumentError
from connrunner.state import requests, run_files

WORDS = {"approve": "approved", "decline": "declined"}


def choose_held_run(
    view: WorkspaceView,
    name: str,
    number: int | None,
    kind: Literal["approve", "decline"],
    *,
    asked_by: str,
    reason: str,
) -> DecisionRequest:
    """Return the request to approve or decline run *number* of *name*, or the one that is held.

    ArgumentError when there is nothing to decide about, and why. What is approved needs a connection that can be used;
    it may be switched off. What is declined does not.
    """
    connection: Connection | None = view.connection(name) if kind == "approve" else None
    view.require(name)
    held = view.journal_state.held.get(name)
    if number is None and held is None:
        raise ArgumentError(f"no run of {name} is held", hint=f"see `connrunner runs {name}`")
    number = held.run if number is None and held is not None else number
    assert number is not None
    if held is None or held.run != number:
        raise _explain(view, name, number, kind, held)
    _refuse_decided(view, name, number)
    if connection is not None:
        _refuse_edited(connection, held)
    known = connection or view.workspace.connections.get(name)
    return DecisionRequest(
        kind=kind,
        connection=name,
        run=number,
        asked_at=view.clock(),
        asked_by=asked_by,
        reason=reason,
        notify=known.notify if known else view.workspace.default_notify,
    )


def _refuse_decided(view: WorkspaceView, name: str, number: int) -> None:
    """ArgumentError when somebody has decided already, and that works or waits."""
    started = view.journal_state.started.get(name)
    if started is not None and started.entry.held == number:
        raise ArgumentError(
            f"{name} #{number} has been approved already, by {started.entry.asked_by}: run {started.run} works at it"
        )
    for request in requests.read_decisions(view.state):
        is_open = request.id not in view.journal_state.answered
        if is_open and (request.connection, request.run) == (name, number) and request.kind in WORDS:
            raise ArgumentError(
                f"{name} #{number} has been {WORDS[request.kind]} already, by {request.asked_by}; that waits",
                hint=f"`connrunner stop {name}` takes it back",
            )


def _refuse_edited(connection: Connection, held: HeldRun) -> None:
    """ArgumentError when the connection would not do what the held run showed."""
    said = connection.document.get(connection.kind)
    now = resolved.fingerprint({connection.kind: said}) if connection.kind != "command" else ""
    if held.difference.get("parts", {}).get("work") != now:
        raise ArgumentError(
            f"connections/{connection.name}.yaml was edited after run {held.run}: it would not do what was shown",
            hint=f"`connrunner run {connection.name}` shows what it would do now",
        )


def _explain(view: WorkspaceView, name: str, number: int, kind: str, held: HeldRun | None) -> ArgumentError:
    """Return why run *number*, which is not the one that is held, cannot be decided about; raise that it has no end."""
    run = require_ended_run(view, name, number)
    if run.outcome is not Outcome.HELD:
        ended = f"{run.outcome} at {instant.local(run.ended_at, view.zone(name))}"
        return ArgumentError(f"{name} #{number} is not held: it {ended}")
    now = f"; run {held.run} is held now" if held else ""
    return ArgumentError(f"{name} #{number} cannot be {WORDS[kind]}: {_find_end(view, name, number)}{now}")


def _find_end(view: WorkspaceView, name: str, number: int) -> str:
    """Return in words why a held run is not held any more."""
    found = "it is not held any more"
    for run in run_files.read_history(view.state, name):
        if run.run <= number:
            break
        found = _describe_end(run, number) or found  # the oldest one that says it
    return found


def _describe_end(run: Run, number: int) -> str:
    detail = run.result.detail
    if run.result.code == DECLINED and detail.get("declined") == number:
        return f"it has been declined by {detail['declined_by'] or 'itself, when its time was over'} (#{run.run})"
    if (approved := detail.get("approved")) and approved["run"] == number:
        return f"it has been approved by {approved['by']} already (#{run.run})"
    if run.outcome is Outcome.HELD or settles(run):
        return f"run {run.run} ran after it, by what was there then"
    return ""
