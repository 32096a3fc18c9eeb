"""`connrunner profiles move`: all profiles go from the state folder to a database, or back."""

from __future__ import annotations

import click

from connrunner.answers.store_move import as_dict, list_lanes, move_store
from connrunner.cli.options import CommandContext, with_context
from connrunner.cli.state import hold_lanes
from connrunner.text.words import listed, plural


@click.command("move")
@click.option(
    "--to",
    "to",
    type=click.Choice(["postgresql", "duckdb"]),
    required=True,
    help="Where the profiles go: the database that `store` names, or a file in the state folder.",
)
@with_context(reads=True)
def move_command(context: CommandContext, to: str) -> None:
    """Copy everything that is remembered of people to the other kind of store, and compare it there.

    Profiles, consents, what was read, kept and sent, and the tombstones of the erased. `store` in connrunner.yaml names
    the database for both ways; runs wait meanwhile. Whoever is interrupted begins anew. The earlier store stays: a file
    of the state folder is renamed, and a schema is yours to drop.
    Exit codes: 0 done and equal, 75 a run is at work.
    """
    view = context.view
    view.refuse_other_state()
    view.prepare_state()
    with hold_lanes(view, list_lanes(view)):
        moved = move_store(view, to)
    if context.json:
        context.echo_json(as_dict(moved, to))
        return
    rows = [plural(moved.rows[table], word) for table, word in (("profiles", "profile"), ("runs", "run"))]
    were = "were there already" if moved.was_done else "were copied"
    click.echo(f"{listed(rows)} {were}, and every row of {len(moved.rows)} tables is the same in both stores")
    for path in moved.aside:
        click.echo(f"the earlier store is {path} now; it holds personal data, and nothing removes it")
    if to == "duckdb":
        click.echo("now take `store` out of connrunner.yaml, before the next run; the schema is yours to drop")
