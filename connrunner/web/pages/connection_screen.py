"""One connection: how has it been doing, when is it next, and what exactly is in force?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from connrunner.answers.connection_account import COUNTED, ConnectionAccount, read_account
from connrunner.answers.explain import describe_schedule, explain_instant, parse_instant
from connrunner.answers.run_log import has_refused
from connrunner.answers.run_summary import describe_run_briefly
from connrunner.answers.status import describe_wait
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.held_runs import describe_held_change
from connrunner.core.model import Outcome, Run
from connrunner.errors import ArgumentError, StateError
from connrunner.lazy_dataclasses import dataclass
from connrunner.web.pages.charts import draw_rows, draw_run_times
from connrunner.web.pages.connections_screen import read_number
from connrunner.web.pages.counter_bar import CounterBar, draw_counters
from connrunner.web.pages.moments import Moments, run_time

SLOTS, RECENT, PER_PAGE = 5, 30, 20
WORTH = timedelta(seconds=5)  # a wait that is worth telling


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """One ended run in the table."""

    run: Run
    details: str
    waited: str  # empty when it did not wait
    bar: CounterBar | None  # of the run that comes open
    is_open: bool
    has_rejects: bool


def show_connection(
    view: WorkspaceView, name: str, asked: Mapping[str, str], moments: Moments, *, pages_older: bool = True
) -> dict[str, Any]:
    """Return the values of the screen of *name*, which is known."""
    unsuccessful = asked.get("show") == "unsuccessful"
    before = read_number(asked.get("before", ""), 0) or None
    account = read_account(
        view, name, slots=SLOTS, recent=RECENT, per_page=PER_PAGE, before=before, unsuccessful=unsuccessful
    )
    connection, counts = account.connection, account.page.counts
    return {
        "one": account,
        "title_words": connection.title if connection else "",
        "kind": _kind(account),
        "schedule": describe_schedule(account.declared, account.zone) if account.declared else "",
        "trouble": _trouble(account),
        "held": view.journal_state.held.get(name),
        "describe_held": describe_held_change,
        "times": draw_run_times(account.recent, account.usual, moments),
        "row_chart": draw_rows(account.recent) if any(run.result.counts.read for run in account.recent) else None,
        "shown_outcomes": [outcome for outcome in Outcome if any(run.outcome is outcome for run in account.recent)],
        "rows": _rows(view, account),
        "first_page": before is None and not unsuccessful,
        "unsuccessful": unsuccessful,
        "count_all": counts.total(),
        "count_bad": counts.total() - counts["succeeded"],
        "is_counted_whole": counts.total() < COUNTED,
        "older": account.page.older if pages_older else None,
        "older_hidden": account.page.older is not None and not pages_older,
        "waits": describe_wait(account.waiting, account.zone) if account.waiting else "",
        "explained": _explain(view, name, asked.get("at", "")),
        "asked_at": asked.get("at", "")[:60],
        "can_run": connection is not None and connection.enabled and account.active is None and account.waiting is None,
    }


def _kind(account: ConnectionAccount) -> str:
    """Return what it does and with what: `import from sftp`."""
    connection = account.connection
    if connection is None:
        return ""
    system = connection.settings.get("type", "") if connection.kind != "command" else ""
    way = {"import": "from", "export": "to"}.get(connection.kind, "")
    return f"{connection.kind} {way} {system}" if system and way else connection.kind


def _trouble(account: ConnectionAccount) -> dict[str, Any] | None:
    """Return what is to be said of the last run when it was not good."""
    last, streak = account.last, account.streak
    if last is None or last.outcome is Outcome.SUCCEEDED:
        return None
    return {
        "run": last,
        "words": describe_run_briefly(last),
        "failures": streak["failures"] if streak else 0,
        "style": "warn" if last.outcome in (Outcome.PARTIAL, Outcome.STOPPED, Outcome.HELD) else "bad",
    }


def _rows(view: WorkspaceView, account: ConnectionAccount) -> list[RunRow]:
    runs = account.page.runs
    opened = next((run.run for run in runs if run.outcome is not Outcome.SUCCEEDED), None)
    return [_row(view, run, is_open=run.run == opened) for run in runs]


def _row(view: WorkspaceView, run: Run, *, is_open: bool) -> RunRow:
    started = run.intent.started_at
    waited = started - run.entry.due_at if started else timedelta(0)
    counts = run.result.counts
    return RunRow(
        run=run,
        details=describe_run_briefly(run),
        waited=run_time(waited.total_seconds()) if waited >= WORTH else "",
        bar=draw_counters(counts) if is_open and counts.read else None,
        is_open=is_open,
        has_rejects=has_refused(view, run.connection, run.run),
    )


def _explain(view: WorkspaceView, name: str, text: str) -> dict[str, Any] | None:
    """Return why it ran, or did not, at the instant that *text* names; None when none is asked for."""
    if not text.strip():
        return None
    try:
        answer = explain_instant(view, name, parse_instant(view, name, text.strip()[:60]))
    except (ArgumentError, StateError) as error:
        return {"at": None, "sentences": [error.message, error.hint]}
    return {"at": answer.at, "sentences": list(answer.sentences)}
