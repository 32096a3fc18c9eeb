"""One run: what became of every row, which rows were refused, what changed since the run before, and what it said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from connrunner.answers.log_page import LogPage, read_log_page
from connrunner.answers.run_account import RunAccount, read_run_account
from connrunner.answers.run_log import RefusedPage, page_refused
from connrunner.answers.run_summary import describe_ending
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.held_runs import describe_held_change
from connrunner.core.model import Outcome
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import agree, plural
from connrunner.web.pages.connections_screen import read_number
from connrunner.web.pages.counter_bar import draw_counters
from connrunner.web.pages.moments import Moments, run_time

PER_PAGE = 25
PER_FILE = 500  # refused rows on a page without a server
MESSAGES = 20
DIFFERENCE = 400  # lines of a difference that are shown
LEVELS = {"all": "everything", "info": "info", "warn": "warnings", "err": "errors"}
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of a difference: where it stood, where it stands, and its sign."""

    before: str
    now: str
    sign: str
    text: str

    @property
    def style(self) -> str:
        return {"+": "add", "-": "del", "@": "at"}.get(self.sign, "")


def show_run(
    view: WorkspaceView, name: str, number: int, asked: Mapping[str, str], moments: Moments, *, per_page: int = PER_PAGE
) -> dict[str, Any]:
    """Return the values of the screen; ArgumentError when there is no such run."""
    account = read_run_account(view, name, number)
    run = account.run
    result = run.result if run else None
    counts = result.counts if result else None
    held = view.journal_state.held.get(name)
    search = asked.get("q", "")[:200]
    after = asked.get("after", "")
    log = read_log_page(view, name, number, after=read_number(after, 0) if after else None, search=search)
    refused = _refused(view, account, asked, per_page)
    return {
        "one": account,
        "held": held if held is not None and held.run == number else None,
        "describe_held": describe_held_change,
        "lede": describe_ending(result, kind=account.intent.kind) if result else "",
        "bar": draw_counters(counts) if counts and (counts.read or counts.imbalance()) else None,
        "refused": refused,
        "several_files": refused is not None and len({row.get("file") for row in refused.rows}) > 1,
        "refused_code": asked.get("code", "")[:60],
        "first_code": int(refused.first) if refused else 0,
        "per_page": per_page,
        "log": log,
        "log_search": search,
        "log_times": {line.number: _clock(line.at, moments) for line in log.lines},
        "levels": LEVELS,
        "messages": _messages(log),
        "why": _why(account),
        "waited": _waited(account),
        "file_names": _files(account),
        "attempts": result.attempts if result else None,
        "slots": _slots(account),
        "diff": split_difference(account.yaml.difference[:DIFFERENCE]),
        "queue_behind": _behind(view, account),
        "is_done": run is not None,
        "outcome_words": "" if run is None else str(run.outcome),
        "is_success": run is not None and run.outcome is Outcome.SUCCEEDED,
    }


def _clock(at: str, moments: Moments) -> tuple[str, str]:
    return moments.clock(instant.parse(at)) if at else ("", "")


def _refused(view: WorkspaceView, account: RunAccount, asked: Mapping[str, str], per_page: int) -> RefusedPage | None:
    if not account.has_files:
        return None
    first = read_number(asked.get("row", ""), 0)
    found = page_refused(
        view, account.connection, account.number, code=asked.get("code", "")[:60], first=first, limit=per_page
    )
    return found if found.by_code else None


def _messages(log: LogPage) -> list[tuple[str, int, str]]:
    """Return level, number and text of what the log warns of."""
    found = [(line.level, line.number, line.text) for line in log.lines if line.level in ("warning", "error")]
    return [one for one in found if not one[2].startswith("ended ")][:MESSAGES]


def _why(account: RunAccount) -> str:
    return f"asked for by {account.entry.asked_by}" if account.entry.trigger != "schedule" else "its schedule"


def _waited(account: RunAccount) -> str:
    """Return how long it waited, and for what."""
    started = account.intent.started_at
    if started is None:
        return "it did not start"
    wait = started - account.entry.queued_at
    late = started - account.entry.due_at
    names = ", ".join(f"{one.connection} #{one.run}" for one in account.holders)
    if wait >= timedelta(seconds=1) and names:
        return f"started {run_time(late.total_seconds())} after its slot, behind {names}"
    if late >= timedelta(seconds=1):
        return f"started {run_time(late.total_seconds())} after its slot, nothing was in front"
    return "started at once"


def _files(account: RunAccount) -> list[str]:
    """Return the names of the files that it read or wrote, as its result tells them."""
    if account.run is None:
        return []
    detail = account.run.result.detail
    files = detail.get("files")
    found = [str(one.get("name", "")) for one in files if isinstance(one, Mapping)] if isinstance(files, list) else []
    output = detail.get("output")
    return [name for name in (*found, output if isinstance(output, str) else "") if name][:20]


def _slots(account: RunAccount) -> str:
    entry = account.entry
    parts = [f"{plural(entry.merged, 'slot')} merged into it"] if entry.merged else []
    if entry.missed:
        parts.append(f"{agree(entry.missed, 'later slot', 'was', 'were')} missed")
    return ", ".join(parts) or "no slot merged, none missed"


def _behind(view: WorkspaceView, account: RunAccount) -> list[str]:
    """Return what waits in the lane of a run that works."""
    if account.active is None:
        return []
    lane, connections = account.active.lane, view.workspace.connections
    return [
        name
        for name in view.journal_state.waiting
        if (connections[name].lane if name in connections else "main") == lane
    ]


def split_difference(lines: tuple[str, ...]) -> list[DiffLine]:
    """Return the lines of `diff -u` with the numbers of both sides."""
    found: list[DiffLine] = []
    before = now = 0
    for line in lines:
        if hunk := _HUNK.match(line):
            before, now = int(hunk[1]), int(hunk[2])
            found.append(DiffLine("", "", "@", f"lines {before} and on; now {now} and on"))
        elif line.startswith(("---", "+++")) and not found:
            continue
        elif line.startswith("+"):
            found.append(DiffLine("", str(now), "+", line[1:]))
            now += 1
        elif line.startswith("-"):
            found.append(DiffLine(str(before), "", "-", line[1:]))
            before += 1
        else:
            found.append(DiffLine(str(before), str(now), " ", line[1:]))
            before, now = before + 1, now + 1
    return found
