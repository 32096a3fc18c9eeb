"""A row of failures as history tells it: since when, how many, and what lay between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from connrunner.core import instant
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
    row = list(takewhile(lambda run: run.outcome is not Outcome.SUCCEEDED, rest))
    failures = [run for run in row if run.outcome.is_failure]
    if not failures:
        return {}
    first = failures[-1]
    return {
        "since": instant.text(first.ended_at),
        "failures": len(failures),
        "first_run": first.run,
        "between": dict(Counter(run.outcome.value for run in row)) if event == "recovered" else {},
    }
