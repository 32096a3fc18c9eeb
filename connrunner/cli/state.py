"""`connrunner state` and `connrunner reset`: how far a connection has come, and forgetting it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from connrunner.cli import text
from connrunner.cli.home import Home, with_home
from connrunner.cli.profiles import WAIT, NullReport
from connrunner.errors import BusyError
from connrunner.profiles import ProfileStore
from connrunner.state import locks

SHOWN = 20  # files


@click.command()
@click.argument("name")
@with_home(reads=True)
def state_command(home: Home, name: str) -> None:
    """Show how far connection NAME has come: the files it has read, its mark, the rows it will offer again."""
    home.require(name)
    with _store(home, read_only=True) as store:
        known = store.describe_connection(name)
    if home.json:
        home.echo_json(known)
        return
    files = known["files"]
    if files:
        rows = [
            [file["name"], f"{file['rows']:,}", f"{file['refused']:,}", str(file["run"]), file["modified"]]
            for file in files[:SHOWN]
        ]
        click.echo(text.table(("File", "Rows", "Refused", "Run", "Version"), rows, right={1, 2, 3}))
        if len(files) > SHOWN:
            click.echo(f"and {len(files) - SHOWN:,} more: --format json shows all")
    if known["mark"] is not None:
        click.echo(f"mark: {text.clean(str(known['mark']))}")
    if known["kept_rows"]:
        click.echo(f"{known['kept_rows']:,} refused rows are kept and offered again by the next run")
    if known["sent"]:
        click.echo(f"{known['sent']:,} profiles were sent by its exports")
    if not any((files, known["mark"] is not None, known["kept_rows"], known["sent"])):
        click.echo(f"{name} remembers nothing: its next run begins at the beginning")


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_home()
def reset_command(home: Home, name: str, yes: bool) -> None:
    """Forget how far connection NAME has come: its next run reads, or sends, everything again.

    Profiles, history and schedule stay as they are.
    """
    connection = home.connection(name)
    if not yes:
        click.confirm(f"Forget which files, rows and profiles {name} has dealt with?", abort=True)
    lane, supervisor = (lock(home.state, connection.lane) for lock in (locks.LaneLock, locks.SupervisorLock))
    home.state.prepare()
    if not supervisor.take() or not lane.take():
        raise BusyError(f"lane {connection.lane} is at work", hint="try again when its run has ended")
    try:
        with _store(home, read_only=False) as store:
            store.forget_connection(name)
    finally:
        lane.release()
        supervisor.release()
    click.echo(f"{name} remembers nothing any more: its next run begins at the beginning")


@contextmanager
def _store(home: Home, *, read_only: bool) -> Iterator[ProfileStore]:
    from connrunner.profiles.stores.duckdb import open_store

    with (
        tempfile.TemporaryDirectory() as temp,
        open_store(
            home.state.profiles,
            home.workspace.profile,
            temp=Path(temp),
            report=NullReport(),
            read_only=read_only,
            wait=WAIT,
        ) as store,
    ):
        yield store
