"""`connrunner notify`: the mail that waits and the mail that was given up."""

from __future__ import annotations

from typing import Any

import click

from connrunner.cli import text
from connrunner.cli.home import Callback, Home, who, with_home
from connrunner.cli.notify_preview import preview_command
from connrunner.core import instant
from connrunner.errors import ArgumentError
from connrunner.state import locks
from connrunner.state.deliveries import Delivery, as_dict, list_deliveries, list_folded, select_deliveries
from connrunner.text import words


@click.group(name="notify")
def notify_command() -> None:
    """Show the mail that waits or was given up; send it again, or give it up."""


notify_command.add_command(preview_command)


@notify_command.command(name="list")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--dead", is_flag=True, help="Only what was given up.")
@with_home(reads=True, now=True)
def list_command(home: Home, ids: tuple[str, ...], dead: bool) -> None:
    """Show who is still to be told, of what, and why it has not worked yet; and who will not be told.

    An ID is that of a notice, or its beginning: the name of a connection, say.
    """
    found = [
        letter
        for letter in select_deliveries(list(list_deliveries(home.journal_state, home.clock())), ids)
        if not dead or _is_dead(letter)
    ]
    if home.json:
        home.echo_json([as_dict(letter) for letter in found])
        return
    zone = home.zone()
    for storm in [] if dead or ids else list_folded(home.journal_state):
        notices = words.plural(storm.count, "notice")
        until = instant.local(storm.until, zone)[11:16]
        click.echo(f"{text.clean(storm.target)}: {notices} too many within an hour, in one mail at {until}")
    if not found:
        click.echo("no mail was given up" if dead else "no mail waits, and none was given up")
        return
    rows: list[list[text.Cell]] = []
    for letter in found:
        state: text.Cell = text.ColouredCell("given up", "red")
        if letter.next_at is not None:
            waits = letter.next_at > home.clock()
            state = f"again at {instant.local(letter.next_at, zone)[11:16]}" if waits else "with the next tick"
        owed = instant.local(instant.parse(letter.owed_at), zone)[:16]
        rows.append([letter.notice.id, letter.recipient, owed, str(letter.attempts), state, letter.reason])
    click.echo(text.table(("ID", "To", "Since", "Tried", "State", "Why"), rows, right={3}))


def with_choice(callback: Callback) -> Callback:
    """Give a command what says which mail is meant: IDs, an address, or all."""
    command: Any = with_home()(callback)
    command = click.option("--all", "everything", is_flag=True, help="All that waits or was given up.")(command)
    command = click.option("--to", default="", metavar="ADDRESS", help="Only what goes to this address.")(command)
    return click.argument("ids", nargs=-1, metavar="[ID]...")(command)  # type: ignore[no-any-return]


@notify_command.command(name="retry")
@with_choice
def retry_command(home: Home, ids: tuple[str, ...], to: str, everything: bool) -> None:
    """Have mail sent again by the next tick, also what was given up.

    An ID is that of a notice, or its beginning: the name of a connection, say. See `connrunner notify list`.
    """
    for letter in _settle(home, "retried", ids, to=to, everything=everything):
        click.echo(f"{letter.notice.id}: the next tick tells {text.clean(letter.recipient)}")


@notify_command.command(name="drop")
@with_choice
def drop_command(home: Home, ids: tuple[str, ...], to: str, everything: bool) -> None:
    """Take mail out of the outbox: nobody is told, and it is listed no more.

    An ID is that of a notice, or its beginning: the name of a connection, say. See `connrunner notify list`.
    """
    for letter in _settle(home, "dropped", ids, to=to, everything=everything):
        click.echo(f"{letter.notice.id}: {text.clean(letter.recipient)} is not told")


def _settle(home: Home, what: str, ids: tuple[str, ...], *, to: str, everything: bool) -> list[Delivery]:
    """Record *what* was decided about the letters meant, in one durable append; ArgumentError when there are none."""
    if not (ids or to or everything):
        raise ArgumentError("say which mail: an ID of `connrunner notify list`, --to ADDRESS, or --all")
    home.state.prepare()
    with locks.hold_state_lock(home.state):
        home.journal.open()
        known = list(list_deliveries(home.journal_state, home.clock()))
        found = select_deliveries(known, ids, to=to)
        for name in ids:
            if not select_deliveries(known, [name]):
                hint = words.hint(name, {letter.notice.id for letter in known})
                raise ArgumentError(f"no mail {name!r} waits or was given up{hint or '; see `connrunner notify list`'}")
        at = instant.text(home.clock())
        about = {"type": what, "at": at, "reason": f"by {who()}"}
        if found:
            home.journal.append(
                *({**about, "notice": letter.notice.id, "recipient": letter.recipient} for letter in found)
            )
    if not found:
        click.echo("no such mail waits, and none was given up")
    return found


def _is_dead(letter: Delivery) -> bool:
    return letter.state == "dead"
