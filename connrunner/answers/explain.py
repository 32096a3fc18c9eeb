"""Why a connection runs when it does, and why it ran, or did not, at an instant: the answer of `connrunner explain`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from connrunner.answers import predecessors, reasons, yaml_history
from connrunner.answers.active_runs import ActiveRun, find_active_run
from connrunner.answers.coming_slots import list_slots, usual_durations
from connrunner.answers.predecessors import Predecessor, list_predecessors
from connrunner.answers.run_history import NextRun, find_next_run
from connrunner.answers.shared_blackouts import describe_shared_blackouts, find_shared_blackouts
from connrunner.answers.status import find_last_tick, held_as_dict
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.answers.yaml_history import YamlInForce
from connrunner.config import zones
from connrunner.config.documents import places
from connrunner.core import instant, run_records, schedules
from connrunner.core.held_runs import HeldRun
from connrunner.core.model import Connection, Run, TimesPerDay
from connrunner.core.planning import decisions as deciding
from connrunner.core.planning import outlook
from connrunner.core.planning.decisions import Decision, Explanation, LaneHolder
from connrunner.core.planning.forecast import RunDurations, TightSchedule
from connrunner.core.planning.tight import describe_tight_schedule, find_tight_schedule
from connrunner.errors import ArgumentError, Problem
from connrunner.lazy_dataclasses import asdict, dataclass
from connrunner.state import journal_segments, run_files
from connrunner.text import durations
from connrunner.text.words import plural

LATEST = 10  # lines about decisions, and slots that blackouts leave out
ENOUGH = 10  # decisions that one such line may stand for


@dataclass(frozen=True, kw_only=True, slots=True)
class NotedSlot:
    """A slot to come, and what clocks do to it."""

    due_at: datetime
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOutSlot:
    """A slot that a blackout leaves out."""

    due_at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredConnection:
    """What the file of a connection declares, in words."""

    connection: Connection
    schedule: str  # without the blackouts of the workspace
    blackouts: str  # of the workspace; empty when it has none
    counted_from: datetime | None  # the first slot of times_per_day
    path: str
    line: int  # of the schedule
    version: str  # which commit the file is of, and whether it was edited after; empty without one
    slots: tuple[NotedSlot, ...]
    left_out: tuple[LeftOutSlot, ...]  # before the last of the slots
    months_without: tuple[date, ...]  # the first day of each month that lacks the date


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionExplanation:
    """All that is known of one connection."""

    name: str
    zone: str  # for times that people read
    declared: DeclaredConnection | None  # None when its file is broken or gone
    problems: tuple[Problem, ...]  # of its file
    after: tuple[Predecessor, ...]  # what it starts behind
    usual: RunDurations
    tight: TightSchedule | None  # its schedule is shorter than its runs
    active: ActiveRun | None
    next: NextRun
    last: Run | None
    held: HeldRun | None  # what waits for somebody to approve or decline it
    decisions: tuple[Decision, ...]  # oldest first
    lately: tuple[tuple[datetime, str], ...]  # the newest of them, in words


@dataclass(frozen=True, kw_only=True, slots=True)
class InstantExplanation:
    """Why a connection ran, or did not, at an instant."""

    name: str
    zone: str
    at: datetime
    answer: Explanation
    sentences: tuple[str, ...]


# --- a connection ------------------------------------------------------------------------------------------------


def explain_connection(view: WorkspaceView, name: str, *, count: int) -> ConnectionExplanation:
    """Return what *name* is, its next *count* slots, and what was decided about it."""
    zone = view.zone(name)
    connection = view.workspace.connections.get(name)
    decided = read_decisions(view, name)
    return ConnectionExplanation(
        name=name,
        zone=zone,
        declared=describe_declared(view, connection, count) if connection else None,
        problems=tuple(view.workspace.broken.get(name, ())),
        after=list_predecessors(view, connection) if connection else (),
        usual=(usual := usual_durations(view, name)),
        tight=_tight(view, connection, usual) if connection else None,
        active=find_active_run(view, name),
        next=find_next_run(view, name),
        last=run_files.read_last_run(view.state, name),
        held=view.journal_state.held.get(name),
        decisions=decided,
        lately=tuple(reasons.summarize_decisions(decided[-LATEST * ENOUGH :], zone)[-LATEST:]),
    )


def _tight(view: WorkspaceView, connection: Connection, usual: RunDurations) -> TightSchedule | None:
    promise = view.journal_state.promises.get(connection.name)
    return find_tight_schedule(connection, promise, usual, now=view.clock(), zones=zones.version())


def describe_tight(tight: TightSchedule) -> str:
    """Return by how much a schedule is shorter than its runs."""
    return describe_tight_schedule(tight.gap.total_seconds(), tight.usual.p95)


def read_decisions(view: WorkspaceView, name: str) -> tuple[Decision, ...]:
    """Return what the journal records about the connection *name*, oldest first."""
    return deciding.read_decisions(journal_segments.read_records(view.state, name), name)


def describe_declared(view: WorkspaceView, connection: Connection, count: int) -> DeclaredConnection:
    """Return what the file of *connection* declares, and its next *count* slots."""
    name, schedule, now = connection.name, connection.schedule, view.clock()
    zone, promise = view.zone(name), view.journal_state.promises.get(name)
    slots = tuple(islice(list_slots(view, connection), count))
    path, line = places.place_of(str(view.folder), name, ("schedule",))
    left_out: tuple[LeftOutSlot, ...] = ()
    months: tuple[date, ...] = ()
    shared = find_shared_blackouts(view.workspace)
    if slots:
        since = promise.on_since if promise else now
        found = schedules.left_out_between(schedule, now, slots[-1], on_since=since)
        left_out = tuple(
            LeftOutSlot(due_at=slot, reason=schedules.explain_left_out(schedule, slot))
            for slot in islice(found, LATEST)
        )
        months = outlook.find_lacking_months(schedule, now, slots[-1])
    return DeclaredConnection(
        connection=connection,
        schedule=schedules.describe(schedule, shared),
        blackouts=describe_shared_blackouts(shared),
        counted_from=promise.on_since if promise and isinstance(schedule, TimesPerDay) else None,
        path=path,
        line=line,
        version=_version(view, name),
        slots=tuple(
            NotedSlot(due_at=slot, note=outlook.explain_clock_change(schedule, slot, timezone=zone)) for slot in slots
        ),
        left_out=left_out,
        months_without=months,
    )


def _version(view: WorkspaceView, name: str) -> str:
    found = yaml_history.read_committed(view.folder, name, view.workspace.commit)
    if found is None:
        return ""
    words = "edited after" if found.lines != yaml_history.read_current(view.folder, name) else "as in"
    return f"{words} commit {found.commit.hash[:12]} by {found.commit.author}: {found.commit.subject}"


def describe_usual(usual: RunDurations) -> str:
    """Return how long runs take."""
    if not usual.runs:
        return "nobody knows yet: no run has come to its end"
    runs, most = plural(usual.runs, "run"), durations.in_words(usual.p95)
    if usual.runs == 1:
        return f"{most} ({runs})"
    share = " in 19 of 20" if usual.has_percentile else ""
    return f"usually {durations.in_words(usual.median)}, at most {most}{share} ({runs})"


def describe_schedule(declared: DeclaredConnection, zone: str) -> str:
    """Return when a connection runs."""
    since = declared.counted_from
    counted = f", counted from {instant.local_minute(since, zone)}, when it was switched on" if since else ""
    return f"{declared.schedule}{counted}{'' if declared.connection.enabled else '; switched off'}"


# --- an instant --------------------------------------------------------------------------------------------------


def parse_instant(view: WorkspaceView, name: str, text: str) -> datetime:
    """Return the instant that a person means: RFC 3339, a local time of *name*, or the newest such time of day.

    ArgumentError for anything else.
    """
    zone, now = ZoneInfo(view.zone(name)), view.clock()
    try:
        if re.fullmatch("[0-2][0-9]:[0-5][0-9]", text):
            time = datetime.fromisoformat(f"2000-01-01 {text}").time()
            found = datetime.combine(now.astimezone(zone).date(), time, zone)
            return (found if found <= now else found - timedelta(days=1)).astimezone(UTC)
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = 'write it as 2026-11-22T09:15:00Z, as "2026-11-22 09:15" (local), or as 09:15 (the newest one)'
        raise ArgumentError(f"{text!r} is no instant", hint=hint) from None
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def explain_instant(view: WorkspaceView, name: str, at: datetime) -> InstantExplanation:
    """Return why *name* ran, or did not, at *at*."""
    zone = view.zone(name)
    answer = deciding.explain_instant(read_decisions(view, name), at, now=view.clock())
    known = reasons.Circumstances(
        zone=zone,
        last_tick=find_last_tick(view),
        recorded_since=journal_segments.find_oldest_instant(view.state),
        holders=_holders(view, name, answer),
    )
    return InstantExplanation(
        name=name,
        zone=zone,
        at=at,
        answer=answer,
        sentences=tuple(reasons.explain_decision(answer, known)),
    )


def _holders(view: WorkspaceView, name: str, answer: Explanation) -> tuple[LaneHolder, ...]:
    """Return the runs that the run of *answer* waited for."""
    decision, started = answer.decision, answer.started
    if decision is None or started is None or decision.kind != "queued" or started.at <= decision.at:
        return ()
    records = journal_segments.read_records(view.state)
    found = deciding.find_lane_holders(records, started.lane, start=decision.at, end=started.at)
    return tuple(holder for holder in found if (holder.connection, holder.run) != (name, started.run))


def find_yaml_in_force(view: WorkspaceView, explained: InstantExplanation) -> YamlInForce | None:
    """Return which lines of YAML held for what was decided; None when nothing was decided yet."""
    name, answer = explained.name, explained.answer
    decision = answer.started or answer.ended or answer.decision
    if decision is None or answer.verdict == "ahead":
        return None
    if answer.verdict in ("no-slot", "off"):
        return yaml_history.read_in_force(view.folder, name, decision.commit, of_run=False)
    before = _run_before(view, name, decision)
    return yaml_history.read_in_force(
        view.folder, name, decision.commit, of_run=True, config=decision.config, before=before
    )


def _run_before(view: WorkspaceView, name: str, decision: Decision) -> Run | None:
    """Return the newest ended run that began before *decision*."""
    if decision.run is not None:
        return next(run_files.read_history(view.state, name, until=decision.run - 1), None)
    return next((run for run in run_files.read_history(view.state, name) if run.ended_at <= decision.at), None)


# --- JSON --------------------------------------------------------------------------------------------------------


def as_dict(explanation: ConnectionExplanation, explained: InstantExplanation | None = None) -> dict[str, Any]:
    """Return what is known of a connection, and of an instant, as `explain --format json` shows it."""
    declared, usual = explanation.declared, explanation.usual
    data: dict[str, Any] = {
        "topic": "connection",
        "connection": explanation.name,
        "schedule": schedules.describe(declared.connection.schedule) if declared else None,
        "enabled": declared.connection.enabled if declared else None,
        "usual": {"runs": usual.runs, "median": usual.median, "p95": usual.p95} if usual.runs else None,
        "tight": _tight_as_dict(explanation.tight) if explanation.tight else None,
        "last": run_records.as_dict(explanation.last) if explanation.last else None,
        "held": held_as_dict(explanation.held) if explanation.held else None,
        "after": [predecessors.as_dict(one) for one in explanation.after],
        "next": [{"due_at": instant.text(slot.due_at), "note": slot.note} for slot in declared.slots]
        if declared
        else [],
        "decisions": [_decision_as_dict(decision) for decision in explanation.decisions],
    }
    if explained is not None:
        answer = explained.answer
        data["answer"] = {
            "at": instant.text(explained.at),
            "verdict": answer.verdict,
            "words": list(explained.sentences),
            "decision": answer.decision and _decision_as_dict(answer.decision),
            "started": answer.started and _decision_as_dict(answer.started),
            "ended": answer.ended and _decision_as_dict(answer.ended),
            "earlier": instant.text(answer.earlier) if answer.earlier else None,
            "later": instant.text(answer.later) if answer.later else None,
        }
    return data


def _tight_as_dict(tight: TightSchedule) -> dict[str, Any]:
    gap = tight.gap.total_seconds()
    return {"gap_seconds": gap, "p95_seconds": tight.usual.p95, "at": instant.text(tight.at)}


def _decision_as_dict(decision: Decision) -> Mapping[str, Any]:
    return {
        key: instant.text(value) if isinstance(value, datetime) else value for key, value in asdict(decision).items()
    }
