"""What a template sees: plain dicts, lists, texts and numbers, and no secret among them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from connrunner.core.counts import Counts
from connrunner.core.model import Commit, ConnectionUse, Outcome, Run
from connrunner.lazy_dataclasses import dataclass
from connrunner.notify import event_facts
from connrunner.notify.language import Language, language_of
from connrunner.notify.rejects_excerpt import read_excerpt as read_rejects
from connrunner.notify.sanitize import clean_line, clean_lines

RECENT = 10  # runs that a mail compares
MEANING = {
    Outcome.SUCCEEDED: "The run did all its work.",
    Outcome.PARTIAL: "The run did its work, but refused some rows.",
    Outcome.FAILED: "The run failed.",
    Outcome.STOPPED: "Somebody stopped the run.",
    Outcome.INTERRUPTED: "The run broke off, and nobody knows how far it came. It does not start again by itself.",
    Outcome.SKIPPED: "The run was due, but could not start.",
    Outcome.HELD: "The run has changed nothing: what it would change waits for somebody to approve it.",
}
USES: Mapping[ConnectionUse, str] = {
    "on": "",
    "off": "switched off",
    "broken": "its file cannot be used",
    "gone": "gone from the workspace",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Background:
    """What a mail tells beside an event and its run: of the connection, the reader and the workspace."""

    connection: str = ""  # its name, for an event without a run
    title: str = ""
    description: str = ""
    owner: str = ""
    use: ConnectionUse = "on"  # how the workspace has the connection now: what is gone or broken cannot be run again
    next_run: datetime | None = None
    rejects: Path | None = None  # the run's rejects.jsonl
    recent: Sequence[Run] = ()  # the last runs of the connection, newest first
    commit: Commit | None = None  # the version of the workspace that the run used
    target: str = ""
    timezone: str = "UTC"  # in which times are written
    language: str = ""  # of dates and numbers
    workspace: str = ""  # the name of its folder


def build_context(
    run: Run | None,
    background: Background,
    *,
    event: str = "",
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Return what the templates see of *event*, the outcome of *run* when it says nothing; *facts* are the event's own.

    Every key is always there; what an event has not is None or empty.
    """
    event = event or (run.outcome.value if run else "")
    name = run.connection if run else background.connection
    timezone, spoken = background.timezone, language_of(background.language)
    shown, by_code, more = read_rejects(background.rejects)
    return {
        "event": event,
        "workspace": clean_line(background.workspace),
        "target": clean_line(background.target),
        "language": clean_line(background.language),
        "timezone": timezone,
        "connection": _connection(name, run, background) if name else None,
        "run": _run(run, spoken, timezone) if run else None,
        "counts": (run.result.counts if run else Counts()).as_dict(),
        "rejects": shown,
        "rejects_total": by_code,
        "rejects_more": more,
        "recent": _recent(background.recent, run, spoken, timezone),
        "next_run": None if background.next_run is None else spoken.instant(background.next_run, timezone),
        "commit": _commit(background.commit, spoken, timezone) if background.commit else None,
        **event_facts.describe_event(event, facts or {}, spoken, timezone),
        "commands": _commands(name, run, background.use),
    }


def _connection(name: str, run: Run | None, background: Background) -> dict[str, Any]:
    return {
        "name": clean_line(name),
        "title": clean_line(background.title or name),
        "description": clean_lines(background.description),
        "owner": clean_line(background.owner),
        "use": background.use,
        "use_meaning": USES[background.use],
        "kind": clean_line(run.intent.kind) if run else "",
    }


def _run(run: Run, spoken: Language, timezone: str) -> dict[str, Any]:
    return {
        "number": run.run,
        "outcome": run.outcome.value,
        "is_failure": run.outcome.is_failure,
        "meaning": MEANING[run.outcome],
        "trigger": run.entry.trigger,
        "asked_by": clean_line(run.entry.asked_by),
        "due_at": spoken.instant(run.entry.due_at, timezone),
        "started_at": None if run.intent.started_at is None else spoken.instant(run.intent.started_at, timezone),
        "ended_at": spoken.instant(run.ended_at, timezone),
        "seconds": run.seconds,
        "run_time": spoken.duration(run.seconds),
        "message": clean_lines(run.result.message),
        "code": clean_line(run.result.code),
        "missed": run.entry.missed,
        "merged": run.entry.merged,
        "refused": run.result.counts.refused,
        "commit": None if run.intent.commit is None else clean_line(run.intent.commit),
        "timezone": timezone,
    }


def _recent(recent: Sequence[Run], run: Run | None, spoken: Language, timezone: str) -> list[dict[str, Any]]:
    """The last runs, oldest first, with how each compares to the largest of them."""
    runs = [one for one in recent if run is None or one.run <= run.run][:RECENT][::-1]
    longest = max((one.seconds for one in runs), default=0)
    most = max((one.result.counts.read for one in runs), default=0)
    return [
        {
            "number": one.run,
            "outcome": one.outcome.value,
            "is_failure": one.outcome.is_failure,
            "day": spoken.day(one.intent.started_at or one.ended_at, timezone),
            "seconds": one.seconds,
            "run_time": spoken.duration(one.seconds),
            "read": one.result.counts.read,
            "refused": one.result.counts.refused,
            "time_share": event_facts.percent_of(one.seconds, longest),
            "rows_share": event_facts.percent_of(one.result.counts.read, most),
        }
        for one in runs
    ]


def _commit(commit: Commit, spoken: Language, timezone: str) -> dict[str, Any]:
    return {
        "id": clean_line(commit.id),
        "short": clean_line(commit.id)[:8],
        "author": clean_line(commit.author),
        "at": spoken.instant(commit.at, timezone),
        "subject": clean_line(commit.subject),
    }


def _commands(name: str, run: Run | None, use: ConnectionUse) -> dict[str, str]:
    quoted = shlex.quote(clean_line(name))
    number = f" {run.run}" if run else ""
    is_held = run is not None and run.outcome is Outcome.HELD
    about = {
        "log": f"connrunner log {quoted}{number}",
        "rejects": f"connrunner rejects {quoted}{number}",
        "run": {"on": f"connrunner run {quoted}", "off": f"connrunner run {quoted} --force"}.get(use, ""),
        "runs": f"connrunner runs {quoted}",
        "approve": f"connrunner approve {quoted}{number} --reason TEXT" if is_held else "",
        "decline": f"connrunner decline {quoted}{number} --reason TEXT" if is_held else "",
    }
    for_all = {"status": "connrunner status", "validate": "connrunner validate"}
    return (about if name else dict.fromkeys(about, "")) | for_all
