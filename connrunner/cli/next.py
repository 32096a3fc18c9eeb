"""`connrunner next`: the coming slots."""

from __future__ import annotations

import click

from connrunner.answers.coming_slots import as_list, read_coming
from connrunner.cli import text
from connrunner.cli.options import CommandContext, with_context
from connrunner.core import instant
from connrunner.text import durations

OF_ONE = 5  # slots of one connection


@click.command()
@click.argument("name", required=False)
@click.option("--count", type=click.IntRange(min=1), help="How many slots of each; without it, 5 of NAME or 1 of each.")
@with_context(reads=True, now=True)
def next_command(context: CommandContext, name: str | None, count: int | None) -> None:
    """Show the coming slots of every connection, or of NAME, in the schedule's zone and in UTC.

    USUALLY is the median of the run times so far.
    """
    coming = read_coming(context.view, name, count=count or (OF_ONE if name else 1))
    if context.json:
        context.echo_json(as_list(coming))
        return
    rows = [
        [
            slot.connection,
            instant.local_minute(slot.due_at, slot.zone),
            instant.text(slot.due_at),
            durations.in_words(slot.usual.median) if slot.usual.runs else "?",
            slot.schedule,
        ]
        for slot in coming.slots
    ]
    if rows:
        click.echo(text.table(("Connection", "Due", "UTC", "Usually", "Schedule"), rows, right={3}))
    for connection, reason in coming.without:
        click.echo(f"{connection}: {reason}")
    if coming.blackouts:
        click.echo(text.clean(coming.blackouts))
