"""`connrunner next`: the coming slots."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import click

from connrunner.cli import text
from connrunner.cli.home import Home, with_home
from connrunner.config import zones
from connrunner.core import instant, plan
from connrunner.core import schedule as schedules
from connrunner.core.model import Connection


@click.command()
@click.argument("name", required=False)
@click.option("--count", type=click.IntRange(min=1), default=5, show_default=True, help="How many slots of each.")
@with_home(reads=True, now=True)
def next_command(home: Home, name: str | None, count: int) -> None:
    """Show the coming slots of every connection, or of NAME, in the schedule's zone and in UTC."""
    chosen = [home.connection(name)] if name else list(home.workspace.connections.values())
    coming = []
    for connection in chosen:
        zone = home.zone(connection.name)
        slots = islice(_slots(home, connection), count if name else 1)
        coming += [(slot, connection, zone) for slot in slots]
    coming.sort(key=lambda item: (item[0], item[1].name))
    if home.json:
        home.echo_json(
            [
                {
                    "connection": connection.name,
                    "due_at": instant.text(slot),
                    "local": slot.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"),
                    "timezone": zone,
                }
                for slot, connection, zone in coming
            ]
        )
        return
    rows = [
        [connection.name, text.local_minute(slot, zone), instant.text(slot), schedules.describe(connection.schedule)]
        for slot, connection, zone in coming
    ]
    if rows:
        click.echo(text.table(("Connection", "Due", "UTC", "Schedule"), rows))
    for connection in chosen:
        if not connection.enabled:
            click.echo(f"{connection.name}: switched off")
        elif not any(item[1] is connection for item in coming):
            click.echo(f"{connection.name}: {schedules.describe(connection.schedule)}")


def _slots(home: Home, connection: Connection) -> Iterator[datetime]:
    """Yield the slots to come: the promise first, or what the next tick would promise."""
    if not connection.enabled:
        return
    promise = home.standing.promises.get(connection.name)
    now = instant.minute(home.clock())
    step = plan.advance(promise, connection.schedule, now=now, zones=zones.version())
    assert step.promise is not None
    if step.due:
        yield step.due.due_at
    slot = step.promise.next_due
    while slot is not None:
        yield slot
        slot = schedules.next_after(connection.schedule, slot, on_since=step.promise.on_since)
