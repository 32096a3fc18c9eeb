"""What a digest tells of one connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from connrunner.core.counts import NAMES
from connrunner.core.model import Connection, Notify, Run
from connrunner.core.outcome_counts import count_outcomes

TREND = 10  # runs
LONGEST = 300  # characters of a message


def list_covered(target: str, connections: Mapping[str, Connection]) -> list[str]:
    """Return the connections that a digest to *target* is about: those that name it, or all when none does."""

    def names(rules: Iterable[Notify]) -> bool:
        return any(one.name == target for rule in rules for one in rule.to)

    named = sorted(name for name, connection in connections.items() if names(connection.notify))
    return named or sorted(connections)


def find_late_after(rules: Iterable[Notify]) -> int:
    """Return after how many seconds a run is late, by the strictest of *rules*; 0 when none says so."""
    return min((rule.late_after for rule in rules if rule.late_after), default=0)


def summarize_runs(newest_first: Sequence[Run], *, start: datetime, end: datetime, late_after: int) -> dict[str, Any]:
    """Return how the runs that ended after *start* and by *end* went, as plain JSON, with a trend."""
    known = [run for run in newest_first if run.ended_at <= end]
    runs = [run for run in known if run.ended_at > start]
    counts = {name: total for name in NAMES if (total := sum(getattr(run.result.counts, name) for run in runs))}
    return {
        **count_outcomes(run.outcome for run in runs).as_dict(),
        "late": sum(_is_late(run, late_after) for run in runs),
        "missed": sum(run.entry.missed for run in runs),
        "counts": counts,
        "trend": [
            {"run": run.run, "outcome": run.outcome.value, "seconds": run.seconds, "read": run.result.counts.read}
            for run in known[:TREND][::-1]
        ],
        "last_outcome": known[0].outcome.value if known else None,
        "last_message": known[0].result.message[:LONGEST] if known and known[0].outcome.is_failure else "",
    }


def _is_late(run: Run, late_after: int) -> bool:
    took = run.ended_at - run.entry.due_at
    return bool(late_after) and run.entry.trigger == "schedule" and took >= timedelta(seconds=late_after)
