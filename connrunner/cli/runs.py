"""`connrunner runs`: histories as people read them, of one connection or of many."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import click

from connrunner.answers import runs_table
from connrunner.answers.active_runs import ActiveRun, describe_progress
from connrunner.answers.connection_filter import is_pattern, list_named
from connrunner.answers.run_history import NextRun, explain_unusable, list_ended, list_newest, read_history
from connrunner.answers.run_summary import describe_run
from connrunner.cli import text
from connrunner.cli.options import CommandContext, Since, resolve_since, with_context
from connrunner.core import instant, run_records
from connrunner.core.model import Run
from connrunner.errors import ArgumentError
from connrunner.text import durations
from connrunner.text.files import saving

HEAD = ("Run", "Start", "Run time", "Outcome", "Details")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many ended runs.")
@click.option("--output", "path", type=click.Path(path_type=Path, dir_okay=False), help="A file for csv or parquet.")
@click.option("--since", type=Since(), help="Only runs that ended since: 24h back (s, m, h, d, w), or an instant.")
@with_context(reads=True, now=True, forms=("csv", "parquet"))
def runs_command(
    context: CommandContext,
    names: tuple[str, ...],
    limit: int,
    since: datetime | timedelta | None,
    path: Path | None,
) -> None:
    """Show the newest runs of all connections, or of those that NAMEs say: names, or patterns such as 'crm-*'.

    Newest first; of one NAME headed by the running and the next run. With --format json: a list of the ended runs, one
    object each. With csv or parquet: a table with a column for each counter; --limit counts for each connection then.
    """
    view = context.view
    start = resolve_since(since, view.clock())
    chosen = list_named(view, names)
    is_one = len(names) == 1 and not is_pattern(names[0])
    if not is_one:
        for reason in (unusable := explain_unusable(view, chosen)).values():
            click.echo(text.clean(f"not shown: {reason}"), err=True)
        chosen = [name for name in chosen if name not in unusable]
    if context.output in ("csv", "parquet"):
        each = (run for name in chosen for run in list_ended(view, name, limit=limit, since=start))
        _write(each, path, form=context.output)
        return
    if path is not None:
        raise ArgumentError("--output is for csv and parquet", hint="add `--format csv`")
    if context.json:
        found = (
            list_ended(view, chosen[0], limit=limit, since=start)
            if is_one
            else list_newest(view, chosen, limit=limit, since=start)
        )
        context.echo_json_list(run_records.as_dict(run) for run in found)
    elif is_one:
        history = read_history(view, chosen[0], limit=limit, since=start)
        rows = [next_row(history.next, history.zone)]
        if history.active is not None:
            rows.append(active_row(history.active, history.zone))
        rows += [run_row(run, history.zone) for run in history.ended]
        click.echo(text.table(HEAD, rows, right={0, 2}))
    else:
        click.echo(format_runs(list_newest(view, chosen, limit=limit, since=start), view.zone()))


def format_runs(runs: Iterable[Run], zone: str) -> str:
    """Return the table of runs of many connections; words when there are none."""
    rows = [[run.connection, *run_row(run, zone)] for run in runs]
    return text.table(("Connection", *HEAD), rows, right={1, 3}) if rows else "no run ended"


def _write(found: Iterable[Run], path: Path | None, *, form: str) -> None:
    """Write runs as a table: CSV may go to standard output."""
    if form == "parquet":
        if path is None:
            raise ArgumentError("a Parquet file goes into a file", hint="add `--output runs.parquet`")
        runs_table.write_parquet(found, path)
    elif path is None:
        for line in runs_table.format_csv(found):
            click.echo(line, nl=False)
    else:
        try:
            with saving(path) as file:
                file.writelines(line.encode("utf-8", "backslashreplace") for line in runs_table.format_csv(found))
        except OSError as error:
            raise ArgumentError(f"{path} cannot be written: {error.strerror}") from error


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
