"""`connrunner notify`: the mail that waits and the mail that was given up."""

from __future__ import annotations

from typing import Any, Literal

import click

from connrunner.answers.account import read_user_name
from connrunner.answers.deliveries import Outbox, as_list, describe_folded, describe_next_try, read_outbox
from connrunner.cli import text
from connrunner.cli.notify_preview import preview_command
from connrunner.cli.options import Callback, CommandContext, with_context
from connrunner.core import instant
from connrunner.errors import ArgumentError
from connrunner.state.deliveries import Delivery
from connrunner.state.delivery_decisions import decide_deliveries


@click.group(name="notify")
def notify_command() -> None:
    """Show the mail that waits or was given up; send it again, or give it up."""


notify_command.add_command(preview_command)


@notify_command.command(name="list")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--dead", is_flag=True, help="Only what was given up.")
@with_context(reads=True, now=True)
def list_command(context: CommandContext, ids: tuple[str, ...], dead: bool) -> None:
    """Show who is still to be told, of what, and why it has not worked yet; and who will not be told.

    An ID is that of a notice, or its beginning: the name of a connection, say.
    """
    outbox = read_outbox(context.view, ids, dead=dead)
    if context.json:
        context.echo_json(as_list(outbox))
        return
    for folded in outbox.folded:
        click.echo(text.clean(describe_folded(folded, outbox.zone)))
    if not outbox.deliveries:
        click.echo("no mail was given up" if dead else "no mail waits, and none was given up")
        return
    rows = [_row(delivery, outbox) for delivery in outbox.deliveries]
    click.echo(text.table(("ID", "To", "Since", "Tried", "State", "Why"), rows, right={3}))


def _row(delivery: Delivery, outbox: Outbox) -> list[text.Cell]:
    words = describe_next_try(delivery, outbox)
    state = text.ColouredCell(words, "red") if delivery.state == "dead" else words
    owed = instant.local(instant.parse(delivery.owed_at), outbox.zone)[:16]
    return [delivery.notice.id, delivery.recipient, owed, str(delivery.attempts), state, delivery.reason]


def with_choice(callback: Callback) -> Callback:
    """Give a command what says which mail is meant: IDs, an address, or all."""
    command: Any = with_context()(callback)
    command = click.option("--all", "everything", is_flag=True, help="All that waits or was given up.")(command)
    command = click.option("--to", default="", metavar="ADDRESS", help="Only what goes to this address.")(command)
    return click.argument("ids", nargs=-1, metavar="[ID]...")(command)  # type: ignore[no-any-return]


@notify_command.command(name="retry")
@with_choice
def retry_command(context: CommandContext, ids: tuple[str, ...], to: str, everything: bool) -> None:
    """Have mail sent again by the next tick, also what was given up.

    An ID is that of a notice, or its beginning: the name of a connection, say. See `connrunner notify list`.
    """
    for delivery in _settle(context, "retried", ids, to=to, everything=everything):
        click.echo(f"{delivery.notice.id}: the next tick tells {text.clean(delivery.recipient)}")


@notify_command.command(name="drop")
@with_choice
def drop_command(context: CommandContext, ids: tuple[str, ...], to: str, everything: bool) -> None:
    """Take mail out of the outbox: nobody is told, and it is listed no more.

    An ID is that of a notice, or its beginning: the name of a connection, say. See `connrunner notify list`.
    """
    for delivery in _settle(context, "dropped", ids, to=to, everything=everything):
        click.echo(f"{delivery.notice.id}: {text.clean(delivery.recipient)} is not told")


def _settle(
    context: CommandContext, what: Literal["retried", "dropped"], ids: tuple[str, ...], *, to: str, everything: bool
) -> list[Delivery]:
    """Record *what* was decided about the deliveries meant; ArgumentError for an unknown ID."""
    view = context.view
    if not (ids or to or everything):
        raise ArgumentError("say which mail: an ID of `connrunner notify list`, --to ADDRESS, or --all")
    view.prepare_state()
    found = decide_deliveries(view.state, what, ids, to=to, at=view.clock(), by=read_user_name())
    if not found:
        click.echo("no such mail waits, and none was given up")
    return found
