"""One run: what became of every row, what it waited for, whom it told, and what was changed since the run before."""

from __future__ import annotations

from itertools import takewhile

from connrunner.answers import yaml_history
from connrunner.answers.active_runs import ActiveRun, find_active_run
from connrunner.answers.coming_slots import usual_durations
from connrunner.answers.past_runs import list_past_runs
from connrunner.answers.run_log import find_running
from connrunner.answers.run_mail import SentMail, list_mail_of_run
from connrunner.answers.status import lane_of
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.answers.yaml_history import YamlInForce
from connrunner.config.versions import remote
from connrunner.core.model import QueuedRun, Run, RunIntent
from connrunner.core.planning.decisions import LaneHolder
from connrunner.core.planning.forecast import RunDurations
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files

NEAR = 16  # numbers beyond a run's own among which the next run is looked for


@dataclass(frozen=True, kw_only=True, slots=True)
class RunAccount:
    """One run of a connection, that has ended or works."""

    connection: str
    number: int
    zone: str
    entry: QueuedRun
    intent: RunIntent
    run: Run | None  # None while it works
    active: ActiveRun | None
    usual: RunDurations
    holders: tuple[LaneHolder, ...]  # the runs that it waited for
    mail: tuple[SentMail, ...]
    yaml: YamlInForce
    commit_link: str  # to its commit in the repository; empty when the address is not known
    has_files: bool  # its log and refused rows are kept
    before: int | None  # the number of the run before, and behind
    behind: int | None


def read_run_account(view: WorkspaceView, name: str, number: int) -> RunAccount:
    """Return what is known of run *number* of *name*; ArgumentError, which says which there are, when it never was."""
    view.require(name)
    started = view.journal_state.started.get(name)
    active = find_active_run(view, name) if started is not None and started.run == number else None
    run = None if active else run_files.read_run(view.state, name, number)
    if active is not None and started is not None:
        entry, intent = started.entry, started.intent
    elif run is not None:
        entry, intent = run.entry, run.intent
    else:
        raise ArgumentError(f"{name} has no run {number}")
    before = next(run_files.read_history(view.state, name, until=number - 1), None)
    return RunAccount(
        connection=name,
        number=number,
        zone=view.zone(name),
        entry=entry,
        intent=intent,
        run=run,
        active=active,
        usual=usual_durations(view, name),
        holders=_find_holders(view, entry, intent),
        mail=list_mail_of_run(view, run) if run else (),
        yaml=yaml_history.read_in_force(
            view.folder, name, intent.commit, of_run=True, config=intent.config, before=before
        ),
        commit_link=remote.link_commit(view.folder, intent.commit) if intent.commit else "",
        has_files=view.state.run(name, number).is_dir(),
        before=before.run if before else None,
        behind=_find_behind(view, name, number),
    )


def find_newest_run(view: WorkspaceView, name: str) -> int | None:
    """Return the number of the newest run of *name*, the one that works among them; None when it has not run."""
    last = run_files.read_last_run(view.state, name)
    return max(find_running(view, name) or 0, last.run if last else 0) or None


def _find_behind(view: WorkspaceView, name: str, number: int) -> int | None:
    """Return the number of the run after *number*; numbers can be left out, a few at most."""
    newer = takewhile(lambda run: run.run >= number, run_files.read_history(view.state, name, until=number + NEAR))
    running = find_running(view, name)
    candidates = [run.run for run in newer if run.run > number] + ([running] if running and running > number else [])
    return min(candidates, default=None)


def _find_holders(view: WorkspaceView, entry: QueuedRun, intent: RunIntent) -> tuple[LaneHolder, ...]:
    """Return the runs that held the lane while this one waited."""
    begin, start = entry.queued_at, intent.started_at
    if start is None or (start - begin).total_seconds() < 1:
        return ()
    past = list_past_runs(view, begin, start).get(lane_of(view, entry.connection), [])
    return tuple(
        LaneHolder(connection=one.connection, run=one.run, started_at=one.started_at, ended_at=one.ended_at)
        for one in past
        if one.started_at is not None
        and one.ended_at <= start
        and (one.connection, one.run) != (entry.connection, intent.run)
    )
