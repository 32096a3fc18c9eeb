"""Coming and past runs as events of a calendar: the answer of `connrunner calendar`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice, takewhile

from connrunner import __version__
from connrunner.answers.coming_slots import list_slots, usual_durations
from connrunner.answers.run_summary import describe_result
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import schedules
from connrunner.core.formats import icalendar
from connrunner.core.formats.icalendar import CalendarEvent
from connrunner.core.model import Connection, Run
from connrunner.state import run_files
from connrunner.text import durations

MOST = 200  # coming slots, and past runs, of one connection
SHORTEST = timedelta(minutes=5)  # a shorter event cannot be seen in a calendar


def read_events(view: WorkspaceView, names: Sequence[str], *, days: int, past: int) -> list[CalendarEvent]:
    """Return the runs of the last *past* days and the slots of the next *days*, by start, of *names*, or of all."""
    now = view.clock()
    events: list[CalendarEvent] = []
    for name in [view.require(name) for name in names] or view.known_names():
        events += _past(view, name, since=now - timedelta(days=past))
        if (connection := view.workspace.connections.get(name)) is not None:
            events += _coming(view, connection, until=now + timedelta(days=days))
    latest = {event.id: event for event in sorted(events, key=lambda event: event.revision)}
    return sorted(latest.values(), key=lambda event: (event.start, event.id))


def as_icalendar(view: WorkspaceView, events: Sequence[CalendarEvent]) -> str:
    """Return *events* as an iCalendar file (RFC 5545)."""
    title = f"connrunner: {view.folder.name}"
    return icalendar.format_calendar(title, events, product=f"-//connrunner//connrunner {__version__}//EN")


def _coming(view: WorkspaceView, connection: Connection, *, until: datetime) -> Iterator[CalendarEvent]:
    usual = usual_durations(view, connection.name)
    lasts = timedelta(seconds=usual.median) if usual.runs else SHORTEST
    words = f"usually takes {durations.in_words(usual.median)}" if usual.runs else "nobody has seen it run"
    slots = islice(list_slots(view, connection), MOST)
    for slot in takewhile(lambda slot: slot <= until, slots):
        yield CalendarEvent(
            id=_slot_id(view, connection.name, slot),
            start=slot,
            end=slot + max(lasts, SHORTEST),
            summary=connection.title,
            description=f"{schedules.describe(connection.schedule)}; {words}",
            category=connection.name,
            changed_at=view.clock(),
        )


def _past(view: WorkspaceView, name: str, *, since: datetime) -> Iterator[CalendarEvent]:
    ended = takewhile(lambda run: run.ended_at >= since, run_files.read_any_history(view.state, name))
    return (_run_event(view, run) for run in islice(ended, MOST))


def _run_event(view: WorkspaceView, run: Run) -> CalendarEvent:
    start = run.intent.started_at or run.entry.due_at
    by_schedule = run.entry.trigger == "schedule"
    name = run.connection
    return CalendarEvent(
        id=_slot_id(view, name, run.entry.due_at) if by_schedule else _id(view, name, f"run-{run.run}"),
        start=start,
        end=max(run.ended_at, start + SHORTEST) if run.intent.started_at else start + SHORTEST,
        summary=f"{run.intent.title or name} #{run.run}: {run.outcome}",
        description=describe_result(run),
        category=name,
        changed_at=run.ended_at,
        revision=1,
    )


def _slot_id(view: WorkspaceView, name: str, slot: datetime) -> str:
    return _id(view, name, f"{slot:%Y%m%dT%H%M%SZ}")


def _id(view: WorkspaceView, name: str, what: str) -> str:
    return f"{what}.{name}.{view.folder.name}@connrunner"
