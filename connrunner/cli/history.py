"""`connrunner history`: old runs moved into an archive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from connrunner.cli.options import CommandContext, Instant, with_context
from connrunner.core import instant
from connrunner.state import archive, retention
from connrunner.text.words import plural

OLD = timedelta(days=90)


@click.group()
def history_command() -> None:
    """Move old runs out of the state folder; `keep` in the YAML removes them by itself."""


@history_command.command("archive")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="FILE.tar.gz or FILE.tar.zst"
)
@click.option("--before", metavar="DATE", help="Runs that ended before this day or instant. Default: 90 days ago.")
@with_context(reads=True)
def archive_command(context: CommandContext, names: tuple[str, ...], to: Path, before: str | None) -> None:
    """Move the old runs of all connections, or of NAMEs, into a new archive.

    It is written, read back and compared before anything is removed. The last run of each connection stays. Unpacked
    into an empty folder, the archive is a state folder for `runs` and `log --state FOLDER`.
    """
    chosen = [context.view.require(name) for name in names] or retention.list_connections(context.view.state)
    limit = _instant(before) if before else context.view.clock() - OLD
    started = {name: run.run for name, run in context.view.journal_state.started.items()}
    context.view.prepare_state()
    done = archive.archive_runs(context.view.state, chosen, to, before=limit, started=started)
    if context.json:
        facts = {"connections": done.connections, "runs": done.runs, "bytes": done.bytes}
        context.echo_json({"before": instant.text(limit), "file": str(to) if done.runs else None, **facts})
    elif not done.connections:
        click.echo(f"no run ended before {instant.text(limit)} that is not the last of its connection")
    else:
        runs = f"{plural(done.runs, 'run')} of {plural(done.connections, 'connection')}"
        click.echo(f"{runs} moved to {to} ({plural(done.bytes, 'byte')})")


def _instant(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return Instant().convert(text, None, None)
