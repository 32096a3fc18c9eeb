"""What a template sees of a run: plain dicts, lists, texts and numbers, and no secret among them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from connrunner.core import zone
from connrunner.core.model import Outcome, Run
from connrunner.notify import plain

SHOWN = 10  # rejects that a mail lists
COUNTED = 4 * 1024 * 1024  # bytes of rejects that are counted by code: a mail is not worth reading gigabytes
LONGEST = 65_536  # bytes of one line

REJECT = ("file", "line", "field", "code", "message", "value")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # the host's language is not the reader's
MEANING = {
    Outcome.SUCCEEDED: "The run did all its work.",
    Outcome.PARTIAL: "The run did its work, but refused some rows.",
    Outcome.FAILED: "The run failed.",
    Outcome.STOPPED: "Somebody stopped the run.",
    Outcome.INTERRUPTED: "The run broke off, and nobody knows how far it came. It does not start again by itself.",
    Outcome.SKIPPED: "The run was due, but could not start.",
}


def context(
    run: Run,
    *,
    title: str,
    description: str = "",
    owner: str = "",
    timezone: str = "UTC",
    next_run: datetime | None = None,
    rejects: Path | None = None,
    workspace: str = "",
) -> dict[str, Any]:
    """
    Return what the templates see of *run*. Times are texts in *timezone*; *rejects* is the run's `rejects.jsonl`;
    *workspace* is the name of its folder.
    """

    def local(instant: datetime | None) -> str | None:
        return None if instant is None else wall(instant, timezone)

    shown, by_code, more = _rejects(rejects)
    name = shlex.quote(plain.line(run.connection))
    return {
        "workspace": plain.line(workspace),
        "connection": {
            "name": plain.line(run.connection),
            "title": plain.line(title or run.connection),
            "description": plain.lines(description),
            "owner": plain.line(owner),
            "kind": plain.line(run.kind),
        },
        "run": {
            "number": run.run,
            "outcome": run.outcome.value,
            "is_failure": run.outcome.is_failure,
            "meaning": MEANING[run.outcome],
            "trigger": run.trigger,
            "asked_by": plain.line(run.asked_by),
            "due_at": local(run.due_at),
            "started_at": local(run.started_at),
            "ended_at": local(run.ended_at),
            "seconds": run.seconds,
            "run_time": in_words(run.seconds),
            "message": plain.lines(run.message),
            "code": plain.line(run.code),
            "missed": run.missed,
            "merged": run.merged,
            "refused": run.counts.refused,
            "commit": None if run.commit is None else plain.line(run.commit),
            "timezone": timezone,
        },
        "counts": run.counts.as_dict(),
        "rejects": shown,
        "rejects_total": by_code,
        "rejects_more": more,
        "next_run": local(next_run),
        "commands": {
            "log": f"connrunner log {name} {run.run}",
            "rejects": f"connrunner rejects {name} {run.run}",
        },
    }


def wall(instant: datetime, timezone: str) -> str:
    """Return *instant* as the clock on the wall shows it there: `Mon 2026-11-23 01:30:00 +01:00`."""
    try:
        there = instant.astimezone(zone.load(timezone))
    except ValueError:  # a zone that is gone must not keep a mail back
        there = instant.astimezone(zone.load("UTC"))
    text = there.isoformat(sep=" ", timespec="seconds")
    return f"{DAYS[there.weekday()]} {text[:19]} {text[19:]}"


def in_words(seconds: float) -> str:
    """Return a length of time with its two largest units: `1 h 2 min`, `3 min 0 s`, `0.4 s`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for large, small, size, part in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size} {large} {whole % size // part} {small}"
    return f"{whole} s"


def _rejects(path: Path | None) -> tuple[list[dict[str, Any]], dict[str, int], bool]:
    """Return the first rejects, how many there are by code, and whether the counting was cut short."""
    shown: list[dict[str, Any]] = []
    by_code: dict[str, int] = {}
    if path is None:
        return shown, by_code, False
    try:
        with path.open("rb") as file:
            while file.tell() < COUNTED and (row := file.readline(LONGEST)):
                if reject := _reject(row):
                    code = plain.line(reject.get("code", "")) or "unknown"
                    by_code[code] = by_code.get(code, 0) + 1
                    if len(shown) < SHOWN:
                        shown.append({key: _cell(reject.get(key)) for key in REJECT})
            more = bool(file.read(1))
    except OSError:  # a mail without the rows is better than none
        return shown, by_code, False
    return shown, dict(sorted(by_code.items(), key=lambda item: (-item[1], item[0]))), more


def _reject(row: bytes) -> Mapping[str, Any] | None:
    # A torn or over-long line is no reject, and no reason to keep the mail back.
    try:
        data = json.loads(row)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _cell(value: Any) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return value
    return "" if value is None else plain.line(value, limit=120)
