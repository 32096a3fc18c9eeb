"""`connrunner next`: the coming slots."""

from __future__ import annotations

from itertools import islice
from zoneinfo import ZoneInfo

import click

from connrunner.cli import text
from connrunner.cli.home import Home, with_home
from connrunner.config import zones
from connrunner.core import instant, schedules
from connrunner.core.planning import forecast, outlook
from connrunner.core.planning.forecast import RunDurations
from connrunner.state import run_files
from connrunner.text import durations


@click.command()
@click.argument("name", required=False)
@click.option("--count", type=click.IntRange(min=1), default=5, show_default=True, help="How many slots of each.")
@with_home(reads=True, now=True)
def next_command(home: Home, name: str | None, count: int) -> None:
    """Show the coming slots of every connection, or of NAME, in the schedule's zone and in UTC.

    USUALLY is the median of the run times so far.
    """
    chosen = [home.connection(name)] if name else list(home.workspace.connections.values())
    coming = []
    promises = home.journal_state.promises
    for connection in chosen:
        zone = home.zone(connection.name)
        promise = promises.get(connection.name)
        slots = outlook.iter_upcoming_slots(connection, promise, now=home.clock(), zones=zones.version())
        coming += [(slot, connection, zone) for slot in islice(slots, count if name else 1)]
    coming.sort(key=lambda item: (item[0], item[1].name))
    usual = {one.name: forecast.summarize_durations(run_files.read_durations(home.state, one.name)) for one in chosen}
    if home.json:
        home.echo_json(
            [
                {
                    "connection": connection.name,
                    "due_at": instant.text(slot),
                    "local": slot.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"),
                    "timezone": zone,
                    "usual": _plain(usual[connection.name]),
                }
                for slot, connection, zone in coming
            ]
        )
        return
    rows = [
        [
            connection.name,
            instant.local_minute(slot, zone),
            instant.text(slot),
            durations.in_words(usual[connection.name].median) if usual[connection.name].runs else "?",
            schedules.describe(connection.schedule),
        ]
        for slot, connection, zone in coming
    ]
    if rows:
        click.echo(text.table(("Connection", "Due", "UTC", "Usually", "Schedule"), rows, right={3}))
    for connection in chosen:
        if not connection.enabled:
            click.echo(f"{connection.name}: switched off")
        elif not any(item[1] is connection for item in coming):
            click.echo(f"{connection.name}: {schedules.describe(connection.schedule)}")


def _plain(usual: RunDurations) -> dict[str, float] | None:
    """Return run times in seconds; None when nobody has seen a run."""
    if not usual.runs:
        return None
    return {"runs": usual.runs, "median": round(usual.median, 3), "p95": round(usual.p95, 3)}
