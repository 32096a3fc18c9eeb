"""All that is worth knowing of one connection while it is looked at: how it did, what comes, what is in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from connrunner.answers import yaml_history
from connrunner.answers.active_runs import ActiveRun, find_active_run
from connrunner.answers.coming_slots import usual_durations
from connrunner.answers.explain import DeclaredConnection, describe_declared, describe_tight
from connrunner.answers.run_history import NextRun, find_next_run
from connrunner.answers.run_mail import SentMail, list_mail_of_run
from connrunner.answers.status import WaitingRun, list_waiting
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.config import zones
from connrunner.config.versions import remote
from connrunner.core.alerts import alert_state
from connrunner.core.alerts.alert_state import Streak
from connrunner.core.model import Connection, Notify, Outcome, Run, Target
from connrunner.core.planning.forecast import RunDurations
from connrunner.core.planning.tight import find_tight_schedule
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files
from connrunner.text import durations
from connrunner.text.words import listed

COUNTED = 1000  # runs whose outcomes are counted, and that are looked through for those that did not succeed


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsPage:
    """Some of the ended runs of a connection."""

    runs: tuple[Run, ...]  # newest first
    counts: Counter[str]  # of the last COUNTED, by outcome
    older: int | None  # the number before which the next page begins; None when this is the last


@dataclass(frozen=True, kw_only=True, slots=True)
class FileInForce:
    """The file of a connection as it is, and where it is read on the web."""

    path: str
    lines: tuple[str, ...]  # secrets blanked
    commit: str
    link: str  # to the file in its repository; empty when the address is not known


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionAccount:
    """One connection."""

    name: str
    zone: str
    connection: Connection | None  # None when its file is broken or gone
    declared: DeclaredConnection | None
    problems: tuple[Problem, ...]
    off_since: datetime | None
    on_since: datetime | None
    active: ActiveRun | None
    waiting: WaitingRun | None
    next: NextRun
    last: Run | None
    streak: Streak | None  # failures in a row
    recent: tuple[Run, ...]  # newest first
    page: RunsPage
    usual: RunDurations
    tight: str  # that its slots come closer than its runs take; empty when they do not
    file: FileInForce
    tells: tuple[str, ...]  # who is told, and when
    told: tuple[SentMail, ...]  # the mail that its last run caused


def read_account(
    view: WorkspaceView, name: str, *, slots: int, recent: int, per_page: int, before: int | None, unsuccessful: bool
) -> ConnectionAccount:
    """Return what is known of *name*, with *slots* to come, its *recent* runs, and a page of runs *before* a number."""
    workspace, journal_state = view.workspace, view.journal_state
    connection = workspace.connections.get(name)
    usual = usual_durations(view, name)
    promise, off = journal_state.promises.get(name), journal_state.off.get(name)
    newest = tuple(run_files.read_recent(view.state, name, recent))
    tight = (
        find_tight_schedule(connection, promise, usual, now=view.clock(), zones=zones.version()) if connection else None
    )
    waiting = {run.entry.connection: run for run in list_waiting(view)} if name not in journal_state.started else {}
    return ConnectionAccount(
        name=name,
        zone=view.zone(name),
        connection=connection,
        declared=describe_declared(view, connection, slots) if connection else None,
        problems=tuple(workspace.broken.get(name, ())),
        off_since=datetime.fromisoformat(off.at) if off else None,
        on_since=promise.on_since if promise else None,
        active=find_active_run(view, name),
        waiting=waiting.get(name),
        next=find_next_run(view, name),
        last=newest[0] if newest else None,
        streak=alert_state.current_streak(journal_state.alerts, name, alert_state.USUAL),
        recent=newest,
        page=page_runs(view, name, per_page=per_page, before=before, unsuccessful=unsuccessful),
        usual=usual,
        tight=describe_tight(tight) if tight else "",
        file=read_file_in_force(view, name),
        tells=tuple(describe_rules(connection.notify)) if connection else (),
        told=list_mail_of_run(view, newest[0]) if newest else (),
    )


def page_runs(view: WorkspaceView, name: str, *, per_page: int, before: int | None, unsuccessful: bool) -> RunsPage:
    """Return runs of *name* before number *before*, newest first; *unsuccessful*: only those of the last COUNTED."""
    runs: Iterable[Run] = run_files.read_history(view.state, name, until=before - 1 if before else None)
    if unsuccessful:
        runs = (run for run in islice(runs, COUNTED) if run.outcome is not Outcome.SUCCEEDED)
    found = tuple(islice(runs, per_page + 1))
    return RunsPage(
        runs=found[:per_page],
        counts=run_files.tally_outcomes(view.state, name, most=COUNTED),
        older=found[per_page - 1].run if len(found) > per_page else None,
    )


def read_file_in_force(view: WorkspaceView, name: str) -> FileInForce:
    """Return the file of *name* as ticks read it."""
    path, commit = f"connections/{name}.yaml", view.workspace.commit
    lines: tuple[str, ...] = ()
    if view.workspace.source == "git" and (committed := yaml_history.read_committed(view.folder, name, commit)):
        lines = committed.lines
    return FileInForce(
        path=path,
        lines=lines or yaml_history.read_current(view.folder, name),
        commit=commit or "",
        link=remote.link_file(view.folder, commit, path) if commit else "",
    )


# --- who is told ---------------------------------------------------------------------------------------------------


def describe_rules(rules: Iterable[Notify]) -> list[str]:
    """Return who is told, and when: a sentence for each rule."""
    return [f"{listed(_name(target) for target in rule.to)}: {_when(rule)}" for rule in rules]


def _name(target: Target) -> str:
    return target.name or listed(target.recipients)


def _when(rule: Notify) -> str:
    """Return when a rule tells somebody, in words."""
    if rule.when == "late":
        return f"when a run is not over {durations.exactly(rule.late_after)} after its slot"
    times = f" {rule.after} times in a row" if rule.after > 1 else ""
    match rule.when:
        case "always":
            return "after each run"
        case "failure":
            return f"when a run fails{times}"
        case _:
            again = f", again every {durations.exactly(rule.reminder)} meanwhile" if rule.reminder else ""
            return f"when it begins to fail{times and f' ({times.strip()})'} and when it works again{again}"
