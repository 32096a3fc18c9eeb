"""`connrunner replay`: what does a tick decide from a state, without doing any of it?"""

from __future__ import annotations

import click

from connrunner.answers.replay import as_dict, describe, replay_tick
from connrunner.cli import text
from connrunner.cli.options import CommandContext, with_context


@click.command()
@with_context(reads=True, now=True)
def replay_command(context: CommandContext) -> None:
    """Decide a tick anew from --state, a copy of a state folder, at --now; do nothing of it.

    Prints what is due, merged, missed and skipped, and who would be told. Nothing runs, no mail goes out, and the state
    is not written: the decision is made in a copy that is gone afterwards. Without options: what would a tick do now?
    """
    replay = replay_tick(context.view)
    if context.json:
        context.echo_json(as_dict(replay))
        return
    for line in describe(replay):
        click.echo(text.clean(line))
