"""What would a change of the workspace do over the coming days? Two versions of it played through side by side."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from connrunner.core.model import Connection, Workspace
from connrunner.core.planning import changes, forecast, outlook, queue_order
from connrunner.core.planning.changes import ConnectionChange, KeyDifference, Slots
from connrunner.core.planning.due import Promise
from connrunner.core.planning.forecast import LaneDay, PredictedRun, RunDurations, TightSchedule
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import dataclass

MOST = 200_000  # slots of one version that are looked at; a workspace with more is looked at for fewer days


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkspacePreview:
    """One version of the workspace, played through."""

    slots: Mapping[str, Sequence[datetime]]  # of every connection that is on
    visits: tuple[PredictedRun, ...]
    days: tuple[LaneDay, ...]
    tight: tuple[TightSchedule, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a change does."""

    start: datetime
    until: datetime  # sooner than asked for when there are too many slots to look at
    changes: tuple[ConnectionChange, ...]
    around: tuple[KeyDifference, ...]  # what connections share
    slots: Mapping[str, Slots]  # by connection, where any differ
    problems: tuple[Problem, ...]  # that only the new version has
    before: WorkspacePreview
    after: WorkspacePreview
    durations: Mapping[str, RunDurations]

    @property
    def is_empty(self) -> bool:
        """True when the change does nothing."""
        return not (self.changes or self.around or self.slots or self.problems)

    @property
    def guessed(self) -> list[str]:
        """Connections that will run and whose run times are not known yet."""
        return [name for name in sorted(self.after.slots) if self.after.slots[name] and not self.durations[name].runs]


def preview_change(
    base: Workspace,
    head: Workspace,
    *,
    promises: Mapping[str, Promise],
    durations: Mapping[str, RunDurations],
    now: datetime,
    days: int,
    zones: str,
) -> Preview:
    """Return what the change from *base* to *head* does in *days* days from *now*.

    *promises* are those of the state folder, empty without one: `times_per_day` then counts from *now*. *durations* has
    every connection of both versions.
    """
    start, until = now, now + timedelta(days=days)
    coming = []
    for workspace in (base, head):
        slots, until = _coming(workspace, promises, start, until, zones)
        coming.append(slots)
    first, second = (
        {name: [slot for slot in slots if slot <= until] for name, slots in side.items()} for side in coming
    )
    names = sorted({*first, *second})
    moved = {
        name: found
        for name in names
        if (found := changes.compare_slots(first.get(name, ()), second.get(name, ()), timezone=head.timezone))
    }
    known = {(problem.path, problem.message) for problem in base.problems}
    return Preview(
        start=start,
        until=until,
        changes=changes.find_changes(base, head),
        around=changes.find_shared_differences(base, head),
        slots=moved,
        problems=tuple(problem for problem in head.problems if (problem.path, problem.message) not in known),
        before=_played(base, first, durations, now, head.timezone),
        after=_played(head, second, durations, now, head.timezone),
        durations=durations,
    )


def _coming(
    workspace: Workspace, promises: Mapping[str, Promise], start: datetime, until: datetime, zones: str
) -> tuple[dict[str, list[datetime]], datetime]:
    """Return the slots of each connection that is on, and until when all of them were looked at."""

    def named(connection: Connection) -> Iterator[tuple[datetime, str]]:
        promise = promises.get(connection.name)
        for slot in outlook.iter_upcoming_slots(connection, promise, now=start, zones=zones):
            yield slot, connection.name

    slots: defaultdict[str, list[datetime]] = defaultdict(list)
    for count, (slot, name) in enumerate(heapq.merge(*map(named, workspace.connections.values()))):
        if slot > until:
            break
        if count >= MOST:
            return dict(slots), slot - timedelta(minutes=1)
        slots[name].append(slot)
    return dict(slots), until


def _played(
    workspace: Workspace,
    slots: Mapping[str, Sequence[datetime]],
    durations: Mapping[str, RunDurations],
    now: datetime,
    timezone: str,
) -> WorkspacePreview:
    arrivals = [
        queue_order.predict_slot(name, slot, workspace.connections) for name, times in slots.items() for slot in times
    ]
    visits = forecast.simulate(arrivals, {name: durations[name].median for name in slots}, now=now)
    return WorkspacePreview(
        slots=slots,
        visits=visits,
        days=forecast.summarize_days(visits, durations, timezone=timezone),
        tight=forecast.find_tight_schedules(slots, durations),
    )
