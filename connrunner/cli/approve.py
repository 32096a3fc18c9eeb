"""`connrunner approve`: do exactly what a held run showed."""

from __future__ import annotations

import click

from connrunner.cli.decision import decide
from connrunner.cli.options import CommandContext, with_context


@click.command()
@click.argument("name")
@click.argument("number", type=click.IntRange(min=1), metavar="[RUN]", required=False)
@click.option("--reason", required=True, help="Why, for the run's record, its log and the mail.")
@click.option("--detach", is_flag=True, help="Only ask for it; the next tick does it.")
@with_context(reads=True)
def approve_command(context: CommandContext, name: str, number: int | None, reason: str, detach: bool) -> None:
    """Do what the held run of connection NAME showed, in a run of its own that goes before what waits.

    It reads its source again and does exactly what was shown. If that would be anything else by now, because the
    source, the profiles or the connection's file changed, nothing is changed, and the new run is held in its place. RUN
    makes sure that it is the run that you looked at. Who approved it and why stands in the run's record, its log and
    the mail. Exit codes: 0 it is done, 1 it failed or is held again, 2 there is nothing to approve.
    """
    decide(context, "approve", name, number, reason, detach=detach)
