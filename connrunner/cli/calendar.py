"""`connrunner calendar`: coming and past runs for a calendar."""

from __future__ import annotations

from pathlib import Path

import click

from connrunner.answers.calendar import as_icalendar, read_events
from connrunner.cli.metrics import write_page
from connrunner.cli.options import CommandContext, with_context


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--days", type=click.IntRange(0, 366), default=14, show_default=True, help="How far ahead.")
@click.option("--past", type=click.IntRange(0, 3660), default=7, show_default=True, help="How many days back.")
@click.option("--write", "path", type=click.Path(path_type=Path, dir_okay=False), help="Into this file, in one step.")
@with_context(now=True)
def calendar_command(context: CommandContext, names: tuple[str, ...], days: int, past: int, path: Path | None) -> None:
    """Print the coming and the past runs of all connections, or of NAMEs, as an iCalendar file (RFC 5545).

    A coming slot lasts as long as runs usually take. Its event keeps its id when it becomes a run. Of each connection
    there are at most 200 of both.
    """
    page = as_icalendar(context.view, read_events(context.view, names, days=days, past=past))
    if path is None:
        click.echo(page, nl=False)
    else:
        write_page(path, page)
