"""`connrunner status`: what runs, what waits, what comes next, what is late or failing."""

from __future__ import annotations

import time

import click

from connrunner.answers.active_runs import describe_progress
from connrunner.answers.connection_filter import ConnectionFilter, is_pattern, parse_label
from connrunner.answers.run_summary import describe_result
from connrunner.answers.status import (
    COMPLAINTS,
    FailingConnection,
    Health,
    Status,
    as_dict,
    check_health,
    describe_held_run,
    describe_slot,
    describe_wait,
    health_as_dict,
    read_status,
)
from connrunner.answers.workspace_view import WorkspaceView, describe_uncommitted, open_anyway
from connrunner.cli import text
from connrunner.cli.options import CommandContext, leave, with_context
from connrunner.core import instant
from connrunner.core.outcome_counts import OutcomeCounts
from connrunner.lazy_dataclasses import replace
from connrunner.text import durations
from connrunner.text.words import plural

EVERY = 2.0  # seconds between two looks of --watch


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--failing", "only_failing", is_flag=True, help="Only what fails, is late or is broken.")
@click.option("--owner", default="", help="Only connections of this owner.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY[=VALUE]", help="Only connections with this label; repeatable."
)
@click.option("--limit", type=click.IntRange(min=0), default=10, show_default=True, help="How many of each.")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@click.option("--check", is_flag=True, help="For a monitor: one line, and exit code 1 unless all is well.")
@with_context(reads=True, now=True)
def status_command(
    context: CommandContext,
    names: tuple[str, ...],
    only_failing: bool,
    owner: str,
    labels: tuple[str, ...],
    limit: int,
    watch: bool,
    check: bool,
) -> None:
    """Show what runs, what waits and until when, what comes next, and what is late or failing.

    NAMEs may be patterns such as 'crm-*'. With --check the exit code is 0 when all is well, and 1 when one of
    them fails, is broken or is late (not seen 3 minutes after its slot, or not started after 10), or when no tick came
    for 5 minutes.
    """
    choice = ConnectionFilter(names=names, owner=owner, labels=tuple(map(parse_label, labels)))
    view = open_anyway(context.view)
    _require(view, names)
    if check:
        leave(_check(context, view, choice))
    while True:
        found = read_status(view, choice, last_runs=limit)
        if context.json:
            context.echo_json(as_dict(found))
        else:
            lines = "\n".join(as_text(found, limit, only_failing=only_failing))
            if watch:
                click.clear()
            click.echo(lines)
        if not watch:
            context.view.workspace  # noqa: B018 - one that cannot be used is an error, after all that is known
            return
        try:
            time.sleep(EVERY)
        except KeyboardInterrupt:
            return
        view = open_anyway(replace(context.view))  # what was read of the workspace and the journal is read anew


def _require(view: WorkspaceView, names: tuple[str, ...]) -> None:
    """Refuse a name that is not a pattern and that is not known."""
    for name in names:
        if not is_pattern(name):
            view.require(name)


def _check(context: CommandContext, view: WorkspaceView, choice: ConnectionFilter) -> int:
    """Print one line, or the JSON, for a monitor; return the exit code."""
    if context.json:
        found = read_status(view, choice)
        context.echo_json(health_as_dict(found))
        return 1 if found.health.complaints else 0
    health = check_health(view, choice)
    if not health.complaints:
        click.echo(f"all is well; last tick {_ago(health)} ago")
        return 0
    names = health.connections
    which = ", ".join(dict.fromkeys(names[:5])) + (" ..." if len(names) > 5 else "")
    click.echo(text.clean(f"not well: {', '.join(health.complaints)}" + (f" ({which})" if which else "")))
    return 1


def as_text(status: Status, limit: int, *, only_failing: bool) -> list[str]:
    """Return the status for people, most urgent last: the end of a long output is what a terminal shows."""
    lines = []
    health = status.health
    if not only_failing:
        lines += [*_running(status), *_waiting(status, limit), *_coming(status, limit)]
        lines += [*_ended(status, limit), *_off(status, limit)]
    lines += [*_held(status, limit), *_late(status, limit), *_failing(status, limit)]
    if health.broken:
        names = ", ".join(health.broken[:limit]) + (" ..." if len(health.broken) > limit else "")
        lines.append(f"{len(health.broken)} broken: {names}; see `connrunner validate`")
    lines += [f"{one.connection} does not run: {one.reason}" for one in health.unusable[:limit]]
    lines += _more(len(health.unusable) - limit)
    lines += [f"damaged: {one.name}: {one.words}; see `connrunner doctor`" for one in status.damage[:limit]]
    lines += _more(len(status.damage) - limit)
    if health.trouble and health.standing == "last good":
        lines.append(f"the last good version of the workspace is in use: {health.trouble}")
    elif health.trouble:
        lines.append(f"{COMPLAINTS[health.standing]}: {health.trouble}")
    if status.uncommitted:
        lines.append(describe_uncommitted(status.commit, status.uncommitted))
    if status.mail_owed or status.mail_dead:
        lines.append(f"mail: {status.mail_owed} owed, {status.mail_dead} given up")
    if not only_failing and (health.last_tick is not None or status.last_day.runs):
        lines.append(_last_day(status.last_day))
    if health.last_tick is None:
        lines.append("no tick yet: `connrunner tick` does one; cron or a timer calls it every minute")
    else:
        question = ": is cron, or a timer, calling `connrunner tick`? `connrunner install` sets one up"
        lines.append(f"last tick {_ago(health)} ago{question if health.lacks_ticks else ''}")
    return [text.clean(line) for line in lines]


def _running(status: Status) -> list[str]:
    rows = [
        [
            f"{run.connection} #{run.run}",
            instant.local(run.started_at, status.zone),
            durations.in_words(run.seconds),
            describe_progress(run, status.zone),
        ]
        for run in status.running
    ]
    return [text.table(("Running", "Since", "Run time", "Progress"), rows), ""] if rows else []


def _waiting(status: Status, limit: int) -> list[str]:
    if not status.waiting[:limit]:
        return []
    zone, now = status.zone, status.health.at
    rows = [
        [
            f"{run.place}." if run.lane == "main" else f"{run.place}. in {run.lane}",
            run.entry.connection,
            instant.local_minute(run.entry.due_at, zone),
            durations.in_words((now - run.entry.queued_at).total_seconds()) if now > run.entry.queued_at else "0 s",
            describe_wait(run, zone),
        ]
        for run in status.waiting[:limit]
    ]
    lines = [text.table(("", "Waiting", "Due", "For", "Waits"), rows)]
    return [*lines, *_more(len(status.waiting) - limit, "--limit shows more"), ""]


def _coming(status: Status, limit: int) -> list[str]:
    rows = [
        [slot.connection, instant.local_minute(slot.due_at, status.zone), describe_slot(slot, status.health.at)]
        for slot in status.coming[:limit]
    ]
    if not rows:
        return []
    return [text.table(("Next", "Due", ""), rows), *_more(len(status.coming) - limit, "`connrunner next`"), ""]


def _ended(status: Status, limit: int) -> list[str]:
    rows = [[one.connection, instant.local_minute(one.last, status.zone)] for one in status.ended[:limit]]
    return [text.table(("Ended", "Last slot"), rows), *_more(len(status.ended) - limit), ""] if rows else []


def _off(status: Status, limit: int) -> list[str]:
    rows = [
        [
            one.connection,
            instant.local_minute(one.since, status.zone) if one.since else "no tick has seen it yet",
            one.commit[:12] if one.commit else "",
        ]
        for one in status.off[:limit]
    ]
    if not rows:
        return []
    return [text.table(("Off", "Since", "Commit"), rows), *_more(len(status.off) - limit), ""]


def _held(status: Status, limit: int) -> list[str]:
    rows = [
        [
            f"{one.connection} #{one.run}",
            instant.local_minute(one.since, status.zone),
            instant.local_minute(one.expires_at, status.zone),
            describe_held_run(one),
        ]
        for one in status.held[:limit]
    ]
    if not rows:
        return []
    name = f"{status.held[0].connection} {status.held[0].run}"
    return [
        text.table(("Held", "Since", "Until", "What it would change"), rows),
        *_more(len(status.held) - limit),
        f"the first rows: `connrunner log {name}`; then `connrunner approve {name} --reason TEXT`, or `decline`",
        "",
    ]


def _late(status: Status, limit: int) -> list[str]:
    late = status.health.late
    rows = [
        [
            slot.connection,
            instant.local_minute(slot.due_at, status.zone),
            durations.in_words((status.health.at - slot.due_at).total_seconds()),
            slot.reason,
        ]
        for slot in late[:limit]
    ]
    return [text.table(("Late", "Due", "By", "Why"), rows), *_more(len(late) - limit), ""] if rows else []


def _failing(status: Status, limit: int) -> list[str]:
    failing = status.health.failing
    rows = [_failing_row(connection, status.zone) for connection in failing[:limit]]
    if not rows:
        return []
    name = failing[0].connection
    return [
        text.table(("Failing", "Since", "Last run"), rows),
        *_more(len(failing) - limit, "`connrunner status --failing --limit 100`"),
        f"why: `connrunner explain {name}`, `connrunner log {name}`",
        "",
    ]


def _failing_row(failing: FailingConnection, zone: str) -> list[str]:
    last = failing.last
    since = instant.local_minute(failing.since, zone) if failing.since else ""
    others = "".join(f", {number:,} of them {outcome}" for outcome, number in failing.others)
    row = f"{failing.failures} in a row{others}; " if failing.failures > 1 else ""
    if last is None:
        return [failing.connection, since, f"{row}{failing.outcome}"]
    result = describe_result(last)
    return [failing.connection, since, f"{row}#{last.run} {last.outcome}" + (f": {result}" if result else "")]


def _last_day(counts: OutcomeCounts) -> str:
    if not counts.runs:
        return "last 24 h: no run"
    partial = f", {counts.partial:,} partial" if counts.partial else ""
    return f"last 24 h: {plural(counts.runs, 'run')}, {counts.failed:,} failed{partial}"


def _more(count: int, how: str = "--limit shows more") -> list[str]:
    return [f"and {count:,} more: {how}"] if count > 0 else []


def _ago(health: Health) -> str:
    assert health.last_tick is not None
    return durations.in_words(max(0.0, (health.at - health.last_tick).total_seconds()))
