"""`connrunner runs`: the history of a connection as people read it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from connrunner.answers import runs_table
from connrunner.answers.active_runs import ActiveRun, describe_progress
from connrunner.answers.run_history import NextRun, as_list, list_ended, list_matching, read_history
from connrunner.answers.run_summary import describe_run
from connrunner.cli import text
from connrunner.cli.metrics import write_page
from connrunner.cli.options import CommandContext, Instant, with_context
from connrunner.core import instant
from connrunner.core.model import Run
from connrunner.errors import ArgumentError
from connrunner.text import durations

HEAD = ("Run", "Start", "Run time", "Outcome", "Details")


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many ended runs.")
@click.option("--output", "path", type=click.Path(path_type=Path, dir_okay=False), help="A file for csv or parquet.")
@click.option("--since", type=Instant(), help="Only runs that ended at or after this instant (RFC 3339).")
@with_context(reads=True, now=True, forms=("csv", "parquet"))
def runs_command(context: CommandContext, name: str, limit: int, since: datetime | None, path: Path | None) -> None:
    """Show the runs of connection NAME, newest first, headed by the running and the next one.

    With --format json: a list of the ended runs, one object each. With csv or parquet: a table with a column for each
    counter; NAME may be a pattern such as '*' then, and --limit counts for each connection.
    """
    if context.output in ("csv", "parquet"):
        found = list_matching(context.view, name, limit=limit, since=since)
        _write(found, path, form=context.output)
        return
    if path is not None:
        raise ArgumentError("--output is for csv and parquet", hint="add `--format csv`")
    context.view.require(name)
    if context.json:
        context.echo_json(as_list(list_ended(context.view, name, limit=limit, since=since)))
        return
    history = read_history(context.view, name, limit=limit, since=since)
    rows = [next_row(history.next, history.zone)]
    if history.active is not None:
        rows.append(active_row(history.active, history.zone))
    rows += [run_row(run, history.zone) for run in history.ended]
    click.echo(text.table(HEAD, rows, right={0, 2}))


def _write(found: tuple[Run, ...], path: Path | None, *, form: str) -> None:
    """Write runs as a table: CSV may go to standard output."""
    if form == "csv":
        page = runs_table.as_csv(found)
        if path is None:
            click.echo(page, nl=False)
        else:
            write_page(path, page, mode=0o600)
        return
    if path is None:
        raise ArgumentError("a Parquet file goes into a file", hint="add `--output runs.parquet`")
    runs_table.write_parquet(found, path)


def run_row(run: Run, zone: str) -> list[text.Cell]:
    """Return the row of one ended run."""
    start = instant.local(run.intent.started_at, zone) if run.intent.started_at else "-"
    time = durations.in_words(run.seconds) if run.intent.started_at else "-"
    return [str(run.run), start, time, text.outcome(run.outcome), describe_run(run)]


def next_row(run: NextRun, zone: str) -> list[text.Cell]:
    """Return the row of the next run, or of the reason why there is none."""
    title = "Waiting" if run.state == "waiting" else "Next"
    return [title, instant.local(run.due_at, zone) if run.due_at else "-", "", "", run.words]


def active_row(run: ActiveRun, zone: str) -> list[text.Cell]:
    """Return the row of the run that works now."""
    start = instant.local(run.started_at, zone)
    return [f"{run.run} Running", start, durations.in_words(run.seconds), "", describe_progress(run, zone)]
