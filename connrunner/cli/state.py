"""`connrunner state` and `connrunner reset`: how far a connection has come, and forgetting it."""

from __future__ import annotations

import click

from connrunner.answers.profile_lookup import open_profiles
from connrunner.answers.sync_state import as_dict, read_sync_state
from connrunner.cli import text
from connrunner.cli.options import CommandContext, with_context
from connrunner.errors import BusyError
from connrunner.state import locks

SHOWN = 20  # files


@click.command()
@click.argument("name")
@with_context(reads=True)
def state_command(context: CommandContext, name: str) -> None:
    """Show how far connection NAME has come: the files it has read, its mark, the rows it will offer again."""
    state = read_sync_state(context.view, name)
    if context.json:
        context.echo_json(as_dict(state))
        return
    if files := state.files:
        rows = [
            [file["name"], f"{file['rows']:,}", f"{file['refused']:,}", str(file["run"]), file["modified"]]
            for file in files[:SHOWN]
        ]
        click.echo(text.table(("File", "Rows", "Refused", "Run", "Version"), rows, right={1, 2, 3}))
        if len(files) > SHOWN:
            click.echo(f"and {len(files) - SHOWN:,} more: --format json shows all")
    if state.mark is not None:
        click.echo(f"mark: {text.clean(str(state.mark))}")
    if state.retained_rows:
        click.echo(f"{state.retained_rows:,} refused rows are kept and offered again by the next run")
    if state.sent:
        click.echo(f"{state.sent:,} profiles were sent by its exports")
    if state.is_empty:
        click.echo(f"{name} remembers nothing: its next run begins at the beginning")


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_context()
def reset_command(context: CommandContext, name: str, yes: bool) -> None:
    """Forget how far connection NAME has come: its next run reads, or sends, everything again.

    Profiles, history and schedule stay as they are.
    """
    view = context.view
    connection = view.connection(name)
    if not yes:
        click.confirm(f"Forget which files, rows and profiles {name} has dealt with?", abort=True)
    lane, supervisor = (lock(view.state, connection.lane) for lock in (locks.LaneLock, locks.SupervisorLock))
    view.state.prepare()
    if not supervisor.take() or not lane.take():
        raise BusyError(f"lane {connection.lane} is at work", hint="try again when its run has ended")
    try:
        with open_profiles(view, view.workspace.profile, read_only=False) as store:
            store.forget_connection(name)
    finally:
        lane.release()
        supervisor.release()
    click.echo(f"{name} remembers nothing any more: its next run begins at the beginning")
