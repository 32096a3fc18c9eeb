"""`connrunner status`: what runs, what waits, what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from connrunner import quiet
from connrunner.cli import text
from connrunner.cli.home import Home, uncommitted_words, with_home
from connrunner.core import instant, plan
from connrunner.core.model import Outcome
from connrunner.state import locks
from connrunner.state import runs as run_files

FAILING = {str(outcome) for outcome in Outcome if outcome.is_failure}


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A run that works now, or whose end nobody has recorded yet."""

    connection: str
    run: int
    lane: str
    started_at: datetime
    seconds: float
    lives: bool
    stage: str
    done: int | None
    of: int | None
    words: str


def running_facts(home: Home, name: str) -> Running | None:
    """Return how far the run of *name* is that has started and not ended; None when none has."""
    started = home.standing.started.get(name)
    if started is None:
        return None
    progress = run_files.story(home.state, name, started.run).progress
    started_at = instant.parse(started.started_at)
    lives = locks.is_lane_busy(home.state, started.lane)
    words = ""
    if progress:
        share = f" of {progress.of:,} ({100 * progress.done // progress.of} %)" if progress.of else ""
        words = f"{progress.stage}: {progress.done:,}{share}"
    if not lives:
        words = "cut off; the next tick records its end"
    return Running(
        connection=name,
        run=started.run,
        lane=started.lane,
        started_at=started_at,
        seconds=max(0.0, (home.clock() - started_at).total_seconds()),
        lives=lives,
        stage=progress.stage if progress else "",
        done=progress.done if progress else None,
        of=progress.of if progress else None,
        words=words,
    )


@click.command()
@click.option("--limit", type=click.IntRange(min=0), default=10, show_default=True, help="How many coming runs.")
@with_home(reads=True, now=True)
def status_command(home: Home, limit: int) -> None:
    """Show what runs now, what waits and why, what comes next, and what failed last."""
    stands = home.standing
    running = [facts for name in sorted(stands.started) if (facts := running_facts(home, name))]
    waiting = plan.in_order(stands.waiting.values())
    coming = sorted(
        (promise.next_due, name) for name, promise in stands.promises.items() if promise.next_due is not None
    )
    failing = sorted(name for name, outcome in stands.last_outcome.items() if outcome in FAILING)
    ticked = quiet.last_tick(str(home.state.root))
    last_tick = None if ticked is None else datetime.fromtimestamp(ticked, UTC)
    data: dict[str, Any] = {
        "at": instant.text(home.clock()),
        "last_tick": instant.text(last_tick) if last_tick else None,
        "running": [
            {
                "connection": facts.connection,
                "run": facts.run,
                "lane": facts.lane,
                "started_at": instant.text(facts.started_at),
                "seconds": round(facts.seconds, 3),
                "lives": facts.lives,
                "stage": facts.stage,
                "done": facts.done,
                "of": facts.of,
            }
            for facts in running
        ],
        "waiting": [
            {
                "connection": entry.connection,
                "due_at": instant.text(entry.due_at),
                "queued_at": instant.text(entry.queued_at),
                "trigger": entry.trigger,
                "merged": entry.merged,
                "missed": entry.missed,
            }
            for entry in waiting
        ],
        "next": [{"connection": name, "due_at": instant.text(due)} for due, name in coming],
        "failing": [{"connection": name, "outcome": stands.last_outcome[name]} for name in failing],
        "broken": sorted(home.workspace.broken),
        "trouble": home.workspace.trouble,
        "uncommitted": home.uncommitted,
        "mail": {"owed": len(stands.owed), "dead": len(stands.dead)},
    }
    if home.json:
        home.echo_json(data)
        return
    zone = home.zone()
    if running:
        rows = [
            [f"{one.connection} #{one.run}", text.local(one.started_at, zone), text.duration(one.seconds), one.words]
            for one in running
        ]
        click.echo(text.table(("Running", "Since", "Run time", "Progress"), rows) + "\n")
    if waiting:
        ahead = {facts.lane: f"{facts.connection} #{facts.run}" for facts in running if facts.lives}
        rows = []
        for place, entry in enumerate(waiting, 1):
            known = home.workspace.connections.get(entry.connection)
            lane = known.lane if known else "main"
            behind = f"behind {ahead[lane]}" if lane in ahead else "for the next tick"
            rows.append([f"{place}. {entry.connection}", text.local(entry.due_at, zone), behind])
            ahead[lane] = entry.connection
        click.echo(text.table(("Waiting", "Due", "Waits"), rows) + "\n")
    if coming:
        now = home.clock()
        rows = [[name, text.local_minute(due, zone), f"in {_until(due, now)}"] for due, name in coming[:limit]]
        click.echo(text.table(("Next", "Due", ""), rows))
        if len(coming) > limit:
            click.echo(f"and {len(coming) - limit} more: `connrunner next`")
        click.echo()
    if failing:
        rows = [[name, stands.last_outcome[name], f"connrunner runs {name}"] for name in failing]
        click.echo(text.table(("Failing", "Last run", "See"), rows) + "\n")
    if home.workspace.broken:
        names = ", ".join(sorted(home.workspace.broken))
        click.echo(f"{len(home.workspace.broken)} broken: {names}; see `connrunner validate`")
    if home.workspace.trouble:
        click.echo(f"the last good version of the workspace is in use: {text.clean(home.workspace.trouble)}")
    if home.uncommitted:
        click.echo(text.clean(uncommitted_words(home.workspace, home.uncommitted)))
    if stands.owed or stands.dead:
        click.echo(f"mail: {len(stands.owed)} owed, {len(stands.dead)} given up")
    if last_tick is None:
        click.echo("no tick yet: `connrunner tick` does one; cron or a timer calls it every minute")
    else:
        age = max(0.0, (home.clock() - last_tick).total_seconds())
        click.echo(
            f"last tick {text.duration(age)} ago" + ("; is cron calling `connrunner tick`?" if age > 180 else "")
        )


def _until(due: datetime, now: datetime) -> str:
    seconds = (due - now).total_seconds()
    if seconds <= 0:
        return "0 s: the next tick starts it"
    if seconds >= 48 * 3600:
        return f"{round(seconds / 86400)} days"
    return text.duration(seconds)
