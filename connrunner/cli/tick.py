"""`connrunner tick`: one line for each thing done, nothing when nothing was due."""

from __future__ import annotations

from typing import Any

import click

from connrunner.cli import text
from connrunner.cli.options import CommandContext, with_context
from connrunner.cli.plain_tick import say_plainly
from connrunner.scheduler import tick


@click.command()
@click.option("--moved", is_flag=True, help="This workspace has moved here: the state folder is that of this one now.")
@with_context(reads=True, now=True)
def tick_command(context: CommandContext, moved: bool) -> None:
    """Run everything that is due; for cron, every minute.

    Records what is due, runs the queue, sees that mail is sent. Quiet when nothing is due. When another tick is at
    work, says so and ends at once. Exit codes: 0 done, also when a run failed (that is told by mail and history);
    2 the workspace cannot be used; 74 the state cannot be written; 75 busy.
    """
    say = say_json if context.json else say_plainly
    tick.tick(context.view.folder, context.view.state, now=context.view.now, say=say, moved=moved)


def say_json(event: dict[str, Any]) -> None:
    """Print one event as a line of JSON."""
    click.echo(text.as_json(event))
