"""`connrunner state` and `connrunner reset`: how far a connection has come, and forgetting it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import click

from connrunner.answers.fresh_store import begin_anew, list_lanes
from connrunner.answers.profile_lookup import open_profiles, refuse_database
from connrunner.answers.sync_state import as_dict, read_sync_state
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.cli import text
from connrunner.cli.options import CommandContext, ask_first, with_context
from connrunner.errors import ArgumentError, BusyError
from connrunner.state import locks
from connrunner.text.words import agree

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
        mark = state.mark if isinstance(state.mark, str) else json.dumps(state.mark, ensure_ascii=False)
        click.echo(f"mark: {text.clean(mark)}")
    if state.retained_rows:
        are_kept = agree(state.retained_rows, "refused row", "is", "are")
        click.echo(f"{are_kept} kept and offered again by the next run")
    if state.sent:
        click.echo(f"{agree(state.sent, 'profile', 'was', 'were')} sent by its exports")
    if state.is_empty:
        click.echo(f"{name} remembers nothing: its next run begins at the beginning")


@click.command()
@click.argument("name", required=False)
@click.option("--profiles", "everything", is_flag=True, help="Begin anew with an empty profile store.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_context()
def reset_command(context: CommandContext, name: str | None, everything: bool, yes: bool) -> None:
    """Forget how far connection NAME has come: its next run reads, or sends, everything again.

    Profiles, history and schedule stay as they are. With --profiles, and no NAME, an empty profile store takes the
    place of one that is lost or damaged: no profile, no consent and nothing that was read or sent is known any more.
    What is left of the earlier store is renamed, not removed.
    """
    if everything == (name is not None):
        raise ArgumentError("reset is for one connection, or for all profiles", hint="`connrunner reset NAME`")
    if name is None:
        _begin_anew(context, yes=yes)
        return
    view = context.view
    connection = view.connection(name)
    view.refuse_other_state()
    if not yes:
        ask_first(f"Forget which files, rows and profiles {name} has dealt with?")
    view.prepare_state()
    with (
        hold_lanes(view, {connection.lane}),
        open_profiles(view, view.workspace.profile, read_only=False) as store,
    ):
        store.forget_connection(name)
        view.state.doubt_ledger(name)
    click.echo(f"{name} remembers nothing any more: its next run begins at the beginning")


def _begin_anew(context: CommandContext, *, yes: bool) -> None:
    view = context.view
    view.refuse_other_state()
    refuse_database(view, "reset --profiles", "name another `schema` under `store`, or drop the one that there is")
    if not yes:
        ask_first("Begin with an empty profile store, without the profiles and consents of today?")
    view.prepare_state()
    with hold_lanes(view, list_lanes(view)):
        moved = begin_anew(view)
    for path in moved:
        click.echo(f"the earlier store is {path} now; it holds personal data, and nothing removes it")
    click.echo("the profile store is empty: the next imports read everything again, the next exports send everything")


@contextmanager
def hold_lanes(view: WorkspaceView, lanes: Iterable[str]) -> Iterator[None]:
    """Keep runs of *lanes* from starting; BusyError when one is at work."""
    with ExitStack() as held:
        for lane in sorted(lanes):
            for kind in (locks.SupervisorLock, locks.LaneLock):
                lock = kind(view.state, lane)
                if not lock.take():
                    raise BusyError(f"lane {lane} is at work", hint="try again when its run has ended")
                held.callback(lock.release)
        yield
