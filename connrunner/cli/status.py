"""`connrunner status`: what runs, what waits, what comes next, what is late or failing."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from connrunner.answers.status import PREDICTED, ActiveRun, ConnectionFilter, FailingConnection, Overview
from connrunner.cli import text
from connrunner.cli.home import Home, leave, uncommitted_words, with_home
from connrunner.core import instant
from connrunner.errors import ArgumentError
from connrunner.text import durations

WORTH_TELLING = 60  # seconds that a run will wait
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
@with_home(reads=True, now=True)
def status_command(
    home: Home,
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
    choice = ConnectionFilter(names=names, owner=owner, labels=tuple(_label(label) for label in labels))
    _require(home, names)
    if check:
        leave(_checked(home, Overview(home, choice)))
    while True:
        shown = Overview(home, choice)
        if home.json:
            home.echo_json(as_json(shown))
        else:
            lines = "\n".join(as_text(shown, limit, only_failing=only_failing))
            if watch and not home.json:
                click.clear()
            click.echo(lines)
        if not watch:
            return
        try:
            time.sleep(EVERY)
        except KeyboardInterrupt:
            return
        home = replace(home)  # what was read of the workspace and the journal is read anew


def _label(words: str) -> tuple[str, str | None]:
    key, equals, value = words.partition("=")
    if not key:
        raise ArgumentError(f"--label takes KEY or KEY=VALUE, not {words!r}")
    return key, value if equals else None


def _require(home: Home, names: tuple[str, ...]) -> None:
    """Refuse a name that is no pattern and that nobody knows."""
    for name in names:
        if not any(char in name for char in "*?["):
            home.require(name)


def _checked(home: Home, shown: Overview) -> int:
    complaints = shown.complaints
    if home.json:
        home.echo_json({"healthy": not complaints, "complaints": complaints, **as_json(shown)})
    elif complaints:
        names = [*(one.connection for one in shown.failing), *(one.connection for one in shown.late), *shown.broken]
        which = ", ".join(dict.fromkeys(names[:5])) + (" ..." if len(names) > 5 else "")
        click.echo(text.clean(f"not well: {', '.join(complaints)}" + (f" ({which})" if which else "")))
    else:
        assert shown.last_tick is not None
        click.echo(f"all is well; last tick {_ago(shown)} ago")
    return 1 if complaints else 0


# --- JSON --------------------------------------------------------------------------------------------------------


def as_json(shown: Overview) -> dict[str, Any]:
    """Return the overview as plain data; it is only ever added to."""
    journal_state, home = shown.journal_state, shown.view
    return {
        "at": instant.text(shown.now),
        "last_tick": instant.text(shown.last_tick) if shown.last_tick else None,
        "running": [_running_plain(facts) for facts in shown.running],
        "waiting": [
            {
                "connection": entry.connection,
                "due_at": instant.text(entry.due_at),
                "queued_at": instant.text(entry.queued_at),
                "trigger": entry.trigger,
                "merged": entry.merged,
                "missed": entry.missed,
                "lane": shown.lane_of(entry.connection),
                "place": place,
                **_predicted_plain(shown, entry.connection, entry.due_at),
            }
            for place, entry in shown.waiting
        ],
        "next": [
            {"connection": name, "due_at": instant.text(due), **_predicted_plain(shown, name, due)}
            for due, name in shown.coming
        ],
        "failing": [
            {
                "connection": one.connection,
                "outcome": one.outcome,
                "failures": one.failures,
                "since": instant.text(one.since) if one.since else None,
            }
            for one in shown.failing
        ],
        "late": [
            {"connection": one.connection, "due_at": instant.text(one.due_at), "waits": one.waits} for one in shown.late
        ],
        "broken": shown.broken,
        "trouble": home.workspace.trouble,
        "uncommitted": home.uncommitted,
        "mail": {"owed": len(journal_state.owed), "dead": len(journal_state.dead)},
    }


def _running_plain(facts: ActiveRun) -> dict[str, Any]:
    progress = facts.progress
    return {
        "connection": facts.connection,
        "run": facts.run,
        "lane": facts.lane,
        "started_at": instant.text(facts.started_at),
        "seconds": round(facts.seconds, 3),
        "lives": facts.lives,
        "stage": progress.stage if progress else "",
        "done": progress.done if progress else None,
        "of": progress.of if progress else None,
        "rate": round(progress.rate, 3) if progress and progress.rate else None,
        "ends_at": instant.text(facts.ends_at) if facts.ends_at else None,
    }


def _predicted_plain(shown: Overview, name: str, due: datetime) -> dict[str, Any]:
    visit, starts_at = shown.predicted.get((name, due)), shown.starts_at(name, due)
    return {"starts_at": instant.text(starts_at) if starts_at else None, "behind": visit.behind if visit else ""}


# --- text --------------------------------------------------------------------------------------------------------


def as_text(shown: Overview, limit: int, *, only_failing: bool) -> list[str]:
    """Return the overview for people, most urgent last: the end of a long output is what a terminal shows."""
    lines = []
    if not only_failing:
        lines += [*_running(shown), *_waiting(shown, limit), *_coming(shown, limit)]
    lines += [*_late(shown, limit), *_failing(shown, limit)]
    if shown.broken:
        names = ", ".join(shown.broken[:limit]) + (" ..." if len(shown.broken) > limit else "")
        lines.append(f"{len(shown.broken)} broken: {names}; see `connrunner validate`")
    home = shown.view
    if home.workspace.trouble:
        lines.append(f"the last good version of the workspace is in use: {home.workspace.trouble}")
    if home.uncommitted:
        lines.append(uncommitted_words(home.workspace, home.uncommitted))
    if shown.journal_state.owed or shown.journal_state.dead:
        lines.append(f"mail: {len(shown.journal_state.owed)} owed, {len(shown.journal_state.dead)} given up")
    if shown.last_tick is None:
        lines.append("no tick yet: `connrunner tick` does one; cron or a timer calls it every minute")
    else:
        quiet = "no tick lately" in shown.complaints
        advice = ": is cron, or a timer, calling `connrunner tick`? `connrunner install` sets one up" if quiet else ""
        lines.append(f"last tick {_ago(shown)} ago{advice}")
    return [text.clean(line) for line in lines]


def _running(shown: Overview) -> list[str]:
    zone = shown.view.zone()
    rows = [
        [
            f"{one.connection} #{one.run}",
            instant.local(one.started_at, zone),
            durations.in_words(one.seconds),
            words_of(one, zone),
        ]
        for one in shown.running
    ]
    return [text.table(("Running", "Since", "Run time", "Progress"), rows), ""] if rows else []


def words_of(facts: ActiveRun, zone: str) -> str:
    """Return how far a run is and when it will be over."""
    if not facts.lives:
        return "cut off; the next tick records its end"
    parts = []
    progress = facts.progress
    if progress:
        share = f" of {progress.of:,} ({100 * progress.done // progress.of} %)" if progress.of else ""
        rate = f", {progress.rate:,.0f}/s" if progress.rate and progress.rate >= 1 else ""
        parts.append(f"{progress.stage}: {progress.done:,}{share}{rate}")
    if facts.ends_at:
        usual = f"usually {durations.in_words(facts.usual.median)}, " if facts.usual.runs else ""
        parts.append(f"{usual}ends about {_clock(facts.ends_at, zone)}")
    elif facts.usual.runs:
        parts.append(f"slower than usual: 19 of 20 runs take at most {durations.in_words(facts.usual.p95)}")
    return "; ".join(parts)


def _waiting(shown: Overview, limit: int) -> list[str]:
    zone, waiting = shown.view.zone(), shown.waiting
    rows = []
    for place, entry in waiting[:limit]:
        visit = shown.predicted.get((entry.connection, entry.due_at))
        lane = shown.lane_of(entry.connection)
        if visit is None:
            words = f"behind more than {PREDICTED} others"
        elif visit.behind:
            starts_at = shown.starts_at(entry.connection, entry.due_at)
            words = f"behind {visit.behind}" + (f", starts about {_clock(starts_at, zone)}" if starts_at else "")
        else:
            words = "for the next tick"
        waits = (
            durations.in_words((shown.now - entry.queued_at).total_seconds()) if shown.now > entry.queued_at else "0 s"
        )
        where = f"{place}." if lane == "main" else f"{place}. in {lane}"
        rows.append([where, entry.connection, instant.local_minute(entry.due_at, zone), waits, words])
    if not rows:
        return []
    lines = [text.table(("", "Waiting", "Due", "For", "Waits"), rows)]
    return [*lines, *_more(len(waiting) - limit, "--limit shows more"), ""]


def _coming(shown: Overview, limit: int) -> list[str]:
    zone, now = shown.view.zone(), shown.now
    rows = []
    coming = shown.coming
    for due, name in coming[:limit]:
        visit = shown.predicted.get((name, due))
        words = _until(due, now)
        starts_at = shown.starts_at(name, due)
        wait = (starts_at - max(due, now)).total_seconds() if starts_at else 0
        if visit and visit.behind and wait >= WORTH_TELLING:
            words += f"; will wait {durations.in_words(wait)} behind {visit.behind}"
        rows.append([name, instant.local_minute(due, zone), words])
    if not rows:
        return []
    return [text.table(("Next", "Due", ""), rows), *_more(len(coming) - limit, "`connrunner next`"), ""]


def _until(due: datetime, now: datetime) -> str:
    seconds = (due - now).total_seconds()
    if seconds <= 0:
        return "now: the next tick starts it"
    if seconds >= 48 * 3600:
        return f"in {round(seconds / 86400)} days"
    return f"in {durations.in_words(seconds)}"


def _late(shown: Overview, limit: int) -> list[str]:
    zone = shown.view.zone()
    rows = [
        [
            one.connection,
            instant.local_minute(one.due_at, zone),
            durations.in_words((shown.now - one.due_at).total_seconds()),
            "it waits in its queue" if one.waits else "no tick has seen it",
        ]
        for one in shown.late[:limit]
    ]
    return [text.table(("Late", "Due", "By", "Why"), rows), *_more(len(shown.late) - limit), ""] if rows else []


def _failing(shown: Overview, limit: int) -> list[str]:
    rows = [[one.connection, *_failure(shown, one)] for one in shown.failing[:limit]]
    if not rows:
        return []
    more = _more(len(shown.failing) - limit, "`connrunner status --failing --limit 100`")
    name = shown.failing[0].connection
    return [
        text.table(("Failing", "Since", "Last run"), rows),
        *more,
        f"why: `connrunner explain {name}`, `connrunner log {name}`",
        "",
    ]


def _failure(shown: Overview, one: FailingConnection) -> list[str]:
    zone, last = shown.view.zone(), shown.last_of(one.connection)
    since = instant.local_minute(one.since, zone) if one.since else ""
    row = f"{one.failures} in a row; " if one.failures > 1 else ""
    if last is None:
        return [since, f"{row}{one.outcome}"]
    said = text.told(last)
    return [since, f"{row}#{last.run} {one.outcome}" + (f": {said}" if said else "")]


def _more(count: int, how: str = "--limit shows more") -> list[str]:
    return [f"and {count:,} more: {how}"] if count > 0 else []


def _ago(shown: Overview) -> str:
    assert shown.last_tick is not None
    return durations.in_words(max(0.0, (shown.now - shown.last_tick).total_seconds()))


def _clock(when: datetime, zone: str) -> str:
    return instant.local(when, zone)[11:16]
