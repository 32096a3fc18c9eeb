"""`connrunner log` and `connrunner rejects`: what one run said, and which rows it refused."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import click

from connrunner.cli import text
from connrunner.cli.home import Home, with_home
from connrunner.core import instant
from connrunner.errors import ArgumentError
from connrunner.state import run_files

COLOURS = {"error": "red", "warning": "yellow"}
FILE = click.Path(path_type=Path, dir_okay=False)
FOLLOW = 0.3  # seconds between two looks at a growing log


@click.command()
@click.argument("name")
@click.argument("run", type=int, required=False)
@click.option("--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--output", "target", type=FILE, help="Save the log (JSON lines) here.")
@with_home(reads=True)
def log_command(home: Home, name: str, run: int | None, follow: bool, target: Path | None) -> None:
    """Show the log of connection NAME's newest run, or of run number RUN.

    With --format json, and in the file of --output: the log's own JSON lines.
    """
    number = chosen_run(home, name, run)
    path = home.state.log(name, number)
    if target is not None:
        copy(path, target)
        click.echo(f"the log of {name} #{number} is in {target}")
        return
    zone, offset = home.zone(name), 0
    while True:
        # Looked at before the log is read: what the run says last is read after it has ended.
        running = number == _running(home, name)
        for behind, event in run_files.read_events_from(path, offset):
            offset = behind
            if home.json:
                click.echo(text.as_json(event))
            elif line := _line(event, zone):
                click.echo(line)
        if not follow or not running:
            break
        time.sleep(FOLLOW)


def _line(event: dict[str, Any], zone: str) -> str:
    at = instant.local(instant.parse(event["at"]), zone)
    match event.get("type", "message"):
        case "message":
            level = event.get("level", "info")
            words = text.clean(str(event["message"]))
            lines = f"{at}  {click.style(level.ljust(7), fg=COLOURS.get(level))}  {words}"
            return f"{lines}\n{text.clean(event['traceback'])}" if "traceback" in event else lines
        case "started":
            return f"{at}  started  {event['connection']} #{event['run']}, process {event['pid']}"
        case "ended":
            message = f": {event['message']}" if event["message"] else ""
            return f"{at}  ended    {event['outcome']}{text.clean(message)}"
        case _:
            return ""


@click.command()
@click.argument("name")
@click.argument("run", type=int, required=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many to show.")
@click.option("--code", help="Only those with this code.")
@click.option("--output", "target", type=FILE, help="Save all (JSON lines) here.")
@with_home(reads=True)
def rejects_command(home: Home, name: str, run: int | None, limit: int, code: str | None, target: Path | None) -> None:
    """Show the rows that connection NAME's newest run, or run number RUN, did not accept, with line and reason."""
    number = chosen_run(home, name, run)
    path = home.state.rejects(name, number)
    if target is not None:
        copy(path, target)
        click.echo(f"the rejects of {name} #{number} are in {target}")
        return
    total = 0
    shown: list[dict[str, Any]] = []
    for reject in run_files.read_events(path):
        if code is None or reject.get("code") == code:
            total += 1
            if len(shown) < limit:
                shown.append(reject)
    if home.json:
        home.echo_json(shown)
        return
    if not shown:
        click.echo(f"{name} #{number} refused no rows" + (f" with code {code}" if code else ""))
        return
    several = len({reject.get("file") for reject in shown}) > 1
    rows = [
        [
            *([str(reject.get("file"))] if several else []),
            str(reject.get("line") or "-"),
            str(reject.get("field") or "-"),
            str(reject.get("code") or "-"),
            str(reject.get("value") or "-"),
            str(reject.get("message") or ""),
        ]
        for reject in shown
    ]
    head = (*(("File",) if several else ()), "Line", "Field", "Code", "Value", "Why")
    click.echo(text.table(head, rows, right={head.index("Line")}))
    if total > len(shown):
        click.echo(f"and {total - len(shown):,} more: --limit {total} shows all, --output FILE saves them")


def chosen_run(home: Home, name: str, number: int | None) -> int:
    """Return *number* if there is such a run, or the newest run's number, the running one's included."""
    home.require(name)
    newest = max(_running(home, name) or 0, getattr(run_files.read_last_run(home.state, name), "run", 0))
    if not newest:
        raise ArgumentError(f"{name} has not run yet", hint=f"`connrunner run {name}` runs it now")
    if number is None:
        return newest
    if not home.state.run(name, number).is_dir():
        if run_files.read_run(home.state, name, number):
            raise ArgumentError(
                f"the log of {name} #{number} is not kept any more", hint="see `keep`, or an archive of it"
            )
        raise ArgumentError(f"{name} has no run {number}", hint=f"its newest is {newest}; see `connrunner runs {name}`")
    return number


def copy(path: Path, target: Path) -> None:
    """Save a file of a run elsewhere; a run that wrote none gives an empty file."""
    try:
        if path.exists():
            shutil.copyfile(path, target)
        else:
            target.write_bytes(b"")
    except OSError as error:
        raise ArgumentError(f"{target} cannot be written: {error.strerror}") from error


def _running(home: Home, name: str) -> int | None:
    started = home.journal_state.started.get(name)
    return started.run if started else None
