"""What a digest tells: what ran between two instants, connection by connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from connrunner.core import instant
from connrunner.core.alerts import digest
from connrunner.core.model import Connection, Outcome, Run
from connrunner.core.planning import forecast
from connrunner.core.planning.due import Promise
from connrunner.core.planning.tight import find_tight_schedule


def digest_facts(
    target: str,
    connections: Mapping[str, Connection],
    promises: Mapping[str, Promise],
    history: Callable[[str], Iterable[Run]],
    *,
    start: datetime,
    end: datetime,
) -> dict[str, Any]:
    """Return what ran of the connections that tell *target*; those without runs are there, too.

    *history* gives the ended runs of a connection, newest first.
    """
    found = []
    for name in digest.list_covered(target, connections):
        connection, promise = connections[name], promises.get(name)
        runs = list(_since(start, history(name)))
        late_after = digest.find_late_after(connection.notify)
        found.append(
            {
                "name": name,
                "title": connection.title,
                **digest.summarize_runs(runs, start=start, end=end, late_after=late_after),
                "next_due": instant.text(promise.next_due) if promise and promise.next_due else None,
                "tight": _tight(connection, promise, runs, end),
            }
        )
    return {"connections": found}


def _tight(
    connection: Connection, promise: Promise | None, runs: Iterable[Run], now: datetime
) -> dict[str, float] | None:
    """Return by how many seconds a schedule is shorter than its runs of late; None when it is not."""
    took = [run.seconds for run in runs if run.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL)]
    usual = forecast.summarize_durations(took)
    tight = find_tight_schedule(connection, promise, usual, now=now, zones=promise.zones if promise else "")
    return {"gap": tight.gap.total_seconds(), "p95": usual.p95} if tight else None


def _since(start: datetime, newest_first: Iterable[Run]) -> Iterator[Run]:
    """Yield the runs that ended after *start*, and as many before them as a trend needs."""
    for number, run in enumerate(newest_first):
        if run.ended_at <= start and number >= digest.TREND:
            return
        yield run
