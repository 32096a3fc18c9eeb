"""`connrunner runs`: the history of a connection as people read it."""

from __future__ import annotations

from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

import click

from connrunner.answers import runs_table
from connrunner.answers.status import running_facts
from connrunner.cli import text
from connrunner.cli.home import Home, Instant, with_home
from connrunner.cli.metrics import write_page
from connrunner.cli.status import words_of
from connrunner.core import instant, run_records, schedules
from connrunner.core.model import Run
from connrunner.errors import ArgumentError
from connrunner.state import run_files
from connrunner.text import durations

HEAD = ("Run", "Start", "Run time", "Outcome", "Details")


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many ended runs.")
@click.option("--output", "path", type=click.Path(path_type=Path, dir_okay=False), help="A file for csv or parquet.")
@click.option("--since", type=Instant(), help="Only runs that ended at or after this instant (RFC 3339).")
@with_home(reads=True, now=True, forms=("csv", "parquet"))
def runs_command(home: Home, name: str, limit: int, since: datetime | None, path: Path | None) -> None:
    """Show the runs of connection NAME, newest first, headed by the running and the next one.

    With --format json: a list of the ended runs, one object each. With csv or parquet: a table with a column for each
    counter; NAME may be a pattern such as '*' then, and --limit counts for each connection.
    """
    if home.output in ("csv", "parquet"):
        written(home, name, limit, since, path)
        return
    if path is not None:
        raise ArgumentError("--output is for csv and parquet", hint="add `--format csv`")
    home.require(name)
    ended = list(islice(_ended(home, name, since), limit))
    if home.json:
        home.echo_json([run_records.as_dict(run) for run in ended])
        return
    zone = home.zone(name)
    rows = [row for row in (next_row(home, name, zone), running_row(home, name, zone)) if row]
    rows += [run_row(run, zone) for run in ended]
    click.echo(text.table(HEAD, rows, right={0, 2}))


def _ended(home: Home, name: str, since: datetime | None) -> list[Run]:
    found = []
    for run in run_files.read_history(home.state, name):
        if since and run.ended_at < since:
            break
        found.append(run)
    return found


def written(home: Home, pattern: str, limit: int, since: datetime | None, path: Path | None) -> None:
    """Write the runs of the connections that *pattern* means as a table."""
    names = [name for name in home.known_names() if fnmatchcase(name, pattern)] or [home.require(pattern)]
    found = [run for name in names for run in islice(_ended(home, name, since), limit)]
    if home.output == "csv":
        page = runs_table.as_csv(found)
        if path is None:
            click.echo(page, nl=False)
        else:
            write_page(path, page, mode=0o600)
        return
    if path is None:
        raise ArgumentError("a Parquet file goes into a file", hint="add `--output runs.parquet`")
    from connrunner.profiles.parquet_conversion import write_parquet

    write_parquet(runs_table.as_csv(found), runs_table.COLUMNS, path)


def run_row(run: Run, zone: str) -> list[text.Cell]:
    """Return the row of one ended run."""
    details = [text.told(run)]
    if run.entry.trigger == "manual":
        details.append(f"asked for by {run.entry.asked_by}")
    if run.entry.missed:
        details.append(f"{run.entry.missed:,} later slots were missed")
    if run.entry.merged:
        details.append(f"{run.entry.merged:,} slots merged into it")
    start = instant.local(run.intent.started_at, zone) if run.intent.started_at else "-"
    time = durations.in_words(run.seconds) if run.intent.started_at else "-"
    return [str(run.run), start, time, text.outcome(run.outcome), "; ".join(part for part in details if part)]


def next_row(home: Home, name: str, zone: str) -> list[text.Cell] | None:
    """Return the row of the promised next run, or of the reason why there is none."""
    waiting = home.journal_state.waiting.get(name)
    if waiting:
        since = instant.local(waiting.queued_at, zone)
        return ["Waiting", instant.local(waiting.due_at, zone), "", "", f"in the queue since {since}"]
    connection = home.workspace.connections.get(name)
    promise = home.journal_state.promises.get(name)
    if connection is None:
        is_broken = name in home.workspace.broken
        why = "its file has problems: `connrunner validate`" if is_broken else "it has no file any more"
        due = promise.next_due if promise and is_broken else None
        return ["Next", instant.local(due, zone) if due else "-", "", "", why]
    if not connection.enabled:
        return ["Next", "-", "", "", "switched off"]
    words = schedules.describe(connection.schedule)
    if promise is None or promise.schedule != schedules.as_document(connection.schedule):
        return ["Next", "-", "", "", f"{words}; the next tick will promise an instant"]
    return ["Next", instant.local(promise.next_due, zone) if promise.next_due else "-", "", "", words]


def running_row(home: Home, name: str, zone: str) -> list[text.Cell] | None:
    """Return the row of the run that works now, if one does."""
    facts = running_facts(home, name)
    if facts is None:
        return None
    start = instant.local(facts.started_at, zone)
    return [f"{facts.run} Running", start, durations.in_words(facts.seconds), "", words_of(facts, zone)]
