"""`connrunner log` and `connrunner rejects`: what one run said, and which rows it refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from connrunner.answers.log_lines import describe_event
from connrunner.answers.run_log import (
    RefusedRows,
    choose_run,
    find_running,
    read_log,
    read_refused,
    save_log,
    save_refused,
)
from connrunner.cli import text
from connrunner.cli.options import CommandContext, with_context

COLOURS = {"error": "red", "warning": "yellow"}
FILE = click.Path(path_type=Path, dir_okay=False)
FOLLOW = 0.3  # seconds between two looks at a growing log


@click.command()
@click.argument("name")
@click.argument("run", type=int, required=False)
@click.option("--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--output", "target", type=FILE, help="Save the log (JSON lines) here.")
@with_context(reads=True)
def log_command(context: CommandContext, name: str, run: int | None, follow: bool, target: Path | None) -> None:
    """Show the log of connection NAME's newest run, or of run number RUN.

    With --format json, and in the file of --output: the log's own JSON lines.
    """
    view = context.view
    number = choose_run(view, name, run)
    if target is not None:
        save_log(view, name, number, target)
        click.echo(f"the log of {name} #{number} is in {target}")
        return
    zone, offset = view.zone(name), 0
    while True:
        # Looked at before the log is read: what the run says last is read after it has ended.
        running = number == find_running(view, name)
        for behind, event in read_log(view, name, number, offset):
            offset = behind
            if context.json:
                click.echo(text.as_json(event))
            elif line := _line(event, zone):
                click.echo(line)
        if not follow or not running:
            break
        time.sleep(FOLLOW)


def _line(event: dict[str, Any], zone: str) -> str:
    found = describe_event(event, zone)
    if found is None:
        return ""
    words = text.clean(found.words)
    if not found.at:
        return words
    line = f"{found.at}  {click.style(text.clean(found.kind).ljust(7), fg=COLOURS.get(found.kind))}  {words}"
    return f"{line}\n{text.clean(found.traceback)}" if found.traceback else line


@click.command()
@click.argument("name")
@click.argument("run", type=int, required=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many to show.")
@click.option("--code", help="Only those with this code.")
@click.option("--output", "target", type=FILE, help="Save all (JSON lines) here.")
@with_context(reads=True)
def rejects_command(
    context: CommandContext, name: str, run: int | None, limit: int, code: str | None, target: Path | None
) -> None:
    """Show the rows that connection NAME's newest run, or run number RUN, did not accept, with line and reason."""
    view = context.view
    number = choose_run(view, name, run)
    if target is not None:
        save_refused(view, name, number, target)
        click.echo(f"the rejects of {name} #{number} are in {target}")
        return
    refused = read_refused(view, name, number, limit=limit, code=code)
    if context.json:
        context.echo_json(list(refused.rows))
    elif not refused.rows:
        click.echo(f"{name} #{number} refused no rows" + (f" with code {code}" if code else ""))
    else:
        _show_refused(refused)


def _show_refused(refused: RefusedRows) -> None:
    several = len({row.get("file") for row in refused.rows}) > 1
    cells = [
        [
            *([str(row.get("file"))] if several else []),
            str(row.get("line") or "-"),
            str(row.get("profile") or row.get("key") or "-"),
            *(str(row.get(key) or "-") for key in ("field", "code", "value")),
            str(row.get("message") or ""),
        ]
        for row in refused.rows
    ]
    head = (*(("File",) if several else ()), "Line", "Key", "Field", "Code", "Value", "Why")
    click.echo(text.table(head, cells, right={head.index("Line")}))
    if any(row.get("profile") for row in refused.rows):
        click.echo("a number in the column KEY is that of a profile: connrunner profiles --id NUMBER shows it")
    if refused.total > len(refused.rows):
        more = refused.total - len(refused.rows)
        click.echo(f"and {more:,} more: --limit {refused.total} shows all, --output FILE saves them")
