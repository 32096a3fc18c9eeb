"""`connrunner calendar`: coming and past runs for a calendar."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path

import click

from connrunner import __version__
from connrunner.cli import text
from connrunner.cli.home import Home, with_home
from connrunner.cli.metrics import write_page
from connrunner.config import zones
from connrunner.core import schedules
from connrunner.core.formats import icalendar
from connrunner.core.formats.icalendar import CalendarEvent
from connrunner.core.model import Connection, Run
from connrunner.core.planning import forecast, outlook
from connrunner.state import run_files
from connrunner.text import durations

MOST = 200  # coming slots, and past runs, of one connection
SHORTEST = timedelta(minutes=5)  # below that nobody sees an event


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--days", type=click.IntRange(0, 366), default=14, show_default=True, help="How far ahead.")
@click.option("--past", type=click.IntRange(0, 3660), default=7, show_default=True, help="How many days back.")
@click.option("--write", "path", type=click.Path(path_type=Path, dir_okay=False), help="Into this file, in one step.")
@with_home(now=True)
def calendar_command(home: Home, names: tuple[str, ...], days: int, past: int, path: Path | None) -> None:
    """Print the coming and the past runs of all connections, or of NAMEs, as an iCalendar file (RFC 5545).

    A coming slot lasts as long as runs usually take. Its event keeps its id when it becomes a run. Of each connection
    there are at most 200 of both.
    """
    chosen = [home.require(name) for name in names] or home.known_names()
    now = home.clock()
    events: list[CalendarEvent] = []
    for name in chosen:
        connection = home.workspace.connections.get(name)
        ended = takewhile(
            lambda run: run.ended_at >= now - timedelta(days=past), run_files.read_history(home.state, name)
        )
        events += [_past(home, run) for run in islice(ended, MOST)]
        if connection is not None:
            events += _coming(home, connection, until=now + timedelta(days=days))
    latest = {event.id: event for event in sorted(events, key=lambda event: event.revision)}
    ordered = sorted(latest.values(), key=lambda event: (event.start, event.id))
    title = f"connrunner: {home.folder.name}"
    page = icalendar.format_calendar(title, ordered, product=f"-//connrunner//connrunner {__version__}//EN")
    if path is None:
        click.echo(page, nl=False)
    else:
        write_page(path, page)


def _coming(home: Home, connection: Connection, *, until: datetime) -> Iterator[CalendarEvent]:
    now = home.clock()
    usual = forecast.summarize_durations(run_files.read_durations(home.state, connection.name))
    lasts = timedelta(seconds=usual.median) if usual.runs else SHORTEST
    words = f"usually takes {durations.in_words(usual.median)}" if usual.runs else "nobody has seen it run"
    promise = home.journal_state.promises.get(connection.name)
    slots = outlook.iter_upcoming_slots(connection, promise, now=now, zones=zones.version())
    for slot in takewhile(lambda slot: slot <= until, islice(slots, MOST)):
        yield CalendarEvent(
            id=_slot_id(home, connection.name, slot),
            start=slot,
            end=slot + max(lasts, SHORTEST),
            summary=connection.title,
            description=f"{schedules.describe(connection.schedule)}; {words}",
            category=connection.name,
            changed_at=now,
        )


def _past(home: Home, run: Run) -> CalendarEvent:
    start = run.intent.started_at or run.entry.due_at
    by_schedule = run.entry.trigger == "schedule"
    return CalendarEvent(
        id=_slot_id(home, run.connection, run.entry.due_at)
        if by_schedule
        else _id(home, run.connection, f"run-{run.run}"),
        start=start,
        end=max(run.ended_at, start + SHORTEST) if run.intent.started_at else start + SHORTEST,
        summary=f"{run.intent.title or run.connection} #{run.run}: {run.outcome}",
        description=text.told(run),
        category=run.connection,
        changed_at=run.ended_at,
        revision=1,
    )


def _slot_id(home: Home, name: str, slot: datetime) -> str:
    return _id(home, name, f"{slot:%Y%m%dT%H%M%SZ}")


def _id(home: Home, name: str, what: str) -> str:
    return f"{what}.{name}.{home.folder.name}@connrunner"
