"""A row of failures as history tells it: since when, how many, and what lay between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from connrunner.core.alerts import alert_state, recipients
from connrunner.core.alerts.alert_state import USUAL, Streak
from connrunner.core.model import Outcome, Run


def fits_event(run: Run, event: str) -> bool:
    """Whether *event* can be told about *run*."""
    match event:
        case "failing" | "reminder":
            return run.outcome.is_failure
        case "recovered":
            return run.outcome is Outcome.SUCCEEDED
        case _:
            return run.outcome.value == event


def describe_streak(runs: Sequence[Run], event: str) -> dict[str, Any]:
    """Return the facts of `failing`, `reminder` and `recovered` about the first of *runs*, newest first.

    Nothing for other events, and for a recovery that nothing came before.
    """
    if event not in ("failing", "reminder", "recovered"):
        return {}
    rest = runs[1:] if event == "recovered" else runs
    row = list(takewhile(lambda run: run.outcome is not Outcome.SUCCEEDED or alert_state.checked_no_row(run), rest))
    streak: Streak | None = None
    for run in reversed(row):
        streak = alert_state.extend_streak(streak, run, USUAL)
    if streak is None:
        return {}
    match event:
        case "failing":
            return recipients.describe_failing(streak)
        case "reminder":
            return recipients.describe_failing(streak, streak["phase"]["severity"])
    return recipients.describe_failures(streak)
