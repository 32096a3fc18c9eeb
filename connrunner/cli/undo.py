"""`connrunner undo`: put back what an import overwrote."""

from __future__ import annotations

import click

from connrunner.answers.account import user_and_host
from connrunner.answers.undo_choice import choose_undo
from connrunner.cli.decision import carry_out, check_reason
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.cli.run import GOOD


@click.command()
@click.argument("name")
@click.argument("number", type=click.IntRange(min=1), metavar="RUN")
@click.option("--reason", default="", help="Why, for the run's record, its log and the mail.")
@click.option("--detach", is_flag=True, help="Only ask for it; the next tick does it.")
@click.option("--dry-run", is_flag=True, help="Show what would come back and what stays; change nothing.")
@with_context(reads=True)
def undo_command(context: CommandContext, name: str, number: int, reason: str, detach: bool, dry_run: bool) -> None:
    """Put back what import run RUN of connection NAME overwrote, in a run of its own that goes before what waits.

    Values that a later run has changed since stay (`connrunner rejects NAME` lists them), and so do profiles that RUN
    created and a later run has changed. Its other new profiles go. Undo the newest run first, and all of it comes back.
    What is needed for it is kept for 14 days, or as `undo: {keep: 30d}` in the connection's file says. The files of the
    run stay known: they are not read again, a corrected file is. Exit codes: 0 it is undone, 1 it failed.
    """
    view = context.view
    check_reason(reason)
    undo = choose_undo(view, name, number, asked_by=user_and_host(), reason=reason)
    if dry_run:
        from connrunner.cli.dry_run import run_dry

        leave(run_dry(context, [view.connection(name)], is_one=True, undo=number))
    runs = carry_out(
        context,
        undo,
        detach=detach,
        left=f"the undoing of {name} #{number} is asked for; the next tick does it",
        taken_out=f"the undoing of {name} #{number} was taken out of the queue",
    )
    leave(0 if all(run.outcome in GOOD for run in runs) else 1)
