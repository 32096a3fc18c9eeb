"""What each lane is expected to do: what works, what waits and the slots to come, played through in their order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta

from connrunner.answers.active_runs import ActiveRun
from connrunner.answers.coming_slots import list_slots, usual_durations
from connrunner.answers.status import MINUTE, WaitingRun
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.model import Manual
from connrunner.core.planning import forecast, queue_order
from connrunner.core.planning.forecast import PredictedRun, RunDurations
from connrunner.lazy_dataclasses import dataclass

MOST = 1000  # slots that are played through


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneForecast:
    """The runs to come by lane, in the order of their starts: those that wait now, then those of the slots."""

    until: datetime  # sooner than asked for when there are more than MOST slots
    runs: dict[str, tuple[PredictedRun, ...]]
    usual: dict[str, RunDurations]  # of each connection among them
    unsure: frozenset[str]  # lanes that have a run whose length nobody knows: it is taken for a guess


def forecast_lanes(
    view: WorkspaceView, until: datetime, *, active: tuple[ActiveRun, ...], waiting: tuple[WaitingRun, ...]
) -> LaneForecast:
    """Return what the lanes do until *until*, given what works and what waits."""
    now, connections = view.clock(), view.workspace.connections
    slots, until = _coming(view, until)
    queued = [(run.entry.connection, run.entry.due_at) for run in waiting]
    arrivals = [queue_order.predict_slot(name, due, connections) for name, due in (*queued, *slots)]
    usual = {name: usual_durations(view, name) for name in {arrival.connection for arrival in arrivals}}
    living = [run for run in active if run.lives]
    busy = {run.lane: (run.connection, run.ends_at or now + timedelta(seconds=MINUTE)) for run in living}
    visits = forecast.simulate(arrivals, {name: usual[name].median for name in usual}, now=now, busy=busy)
    runs: dict[str, list[PredictedRun]] = {}
    for visit in visits:
        runs.setdefault(visit.lane, []).append(visit)
    unsure = {visit.lane for visit in visits if not usual[visit.connection].runs}
    return LaneForecast(
        until=until,
        runs={lane: tuple(found) for lane, found in runs.items()},
        usual=usual,
        unsure=frozenset(unsure | {run.lane for run in living if run.ends_at is None}),
    )


def _coming(view: WorkspaceView, until: datetime) -> tuple[list[tuple[str, datetime]], datetime]:
    """Return the slots up to *until*, soonest first, and until when all of them are among these.

    The first slot of a connection is its promise; what comes behind it is worked out when that one has its turn.
    """
    heap = [*_first_slots(view, until)]
    heapq.heapify(heap)
    further: dict[str, Iterator[datetime]] = {}
    found: list[tuple[str, datetime]] = []
    while heap:
        slot, name = heapq.heappop(heap)
        if len(found) == MOST:
            return found, slot - timedelta(minutes=1)
        found.append((name, slot))
        if name not in further:
            further[name] = list_slots(view, view.workspace.connections[name])
        behind = next((one for one in further[name] if one > slot), None)
        if behind is not None and behind <= until:
            heapq.heappush(heap, (behind, name))
    return found, until


def _first_slots(view: WorkspaceView, until: datetime) -> Iterator[tuple[datetime, str]]:
    promises, now = view.journal_state.promises, view.clock()
    for name, connection in view.workspace.connections.items():
        if isinstance(connection.schedule, Manual):
            continue
        promise = promises.get(name)
        first = promise.next_due if promise is not None and connection.enabled else None
        if promise is None or first is None or first <= now:
            first = next(list_slots(view, connection), None)
        if first is not None and first <= until:
            yield first, name
