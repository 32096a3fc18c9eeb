"""`connrunner decline`: a held run is not to be done."""

from __future__ import annotations

import click

from connrunner.cli.decision import decide
from connrunner.cli.options import CommandContext, with_context


@click.command()
@click.argument("name")
@click.argument("number", type=click.IntRange(min=1), metavar="[RUN]", required=False)
@click.option("--reason", default="", help="Why, for the record and the mail.")
@click.option("--detach", is_flag=True, help="Only ask for it; the next tick does it.")
@with_context(reads=True)
def decline_command(context: CommandContext, name: str, number: int | None, reason: str, detach: bool) -> None:
    """Decline what the held run of connection NAME showed: it is held no longer, and nothing is changed.

    Later runs that would change the very same end `stopped` and say so, without a mail about a failure, until the
    source has something else. RUN makes sure that it is the run that you looked at. Who declined it and why is recorded
    in a run of its own and told. Exit codes: 0 it is declined, 1 it was not held any more, 2 there is nothing to
    decline.
    """
    decide(context, "decline", name, number, reason, detach=detach)
