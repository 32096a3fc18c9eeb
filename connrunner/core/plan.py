"""What is due, and what is promised next?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from connrunner.core import schedule as schedules
from connrunner.core.instant import minute
from connrunner.core.model import Connection, Schedule, TimesPerDay, Trigger

MINUTE = timedelta(minutes=1)
SET_BACK = timedelta(hours=1)  # a clock that goes back no further repeats no slot, however often a connection is due


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """What connrunner remembers of a connection that is ON [R5]."""

    on_since: datetime
    schedule: Mapping[str, Any]  # the schedule's document: its fingerprint, and the last good one of a broken file [R8]
    next_due: datetime | None  # shown as "Next"; None for manual
    last_due: datetime | None = None  # the newest slot that was recorded, missed ones too; no slot is due twice
    zones: str = ""  # version of the time-zone database that next_due was computed with [R7]


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """One slot that is due now, with those that passed unseen behind it."""

    due_at: datetime  # the promise, however late it is
    missed: int = 0  # later slots that passed too; they have no run of their own
    missed_until: datetime | None = None  # the newest of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The outcome of one tick for one connection."""

    promise: Promise | None
    due: Due | None = None


def advance(promise: Promise | None, schedule: Schedule | None, *, now: datetime, zones: str = "") -> Step:
    """Bring one connection up to *now* (a whole minute, aware UTC): its new promise, and the slot that is due.

    *schedule* is None for a connection that is OFF or gone: it forgets its promise, and time spent OFF is not
    caught up [R6]. *zones* names the time-zone database in use [R7].
    """
    if schedule is None:
        return Step(promise=None)
    promise = _current(promise, schedule, now=now, zones=zones)
    if promise.next_due is None or promise.next_due > now:
        return Step(promise=promise)
    due_at, on_since = promise.next_due, promise.on_since
    missed = schedules.count_between(schedule, due_at, now, on_since=on_since)
    due = Due(
        due_at=due_at,
        missed=missed,
        missed_until=_last_between(schedule, due_at, now, on_since) if missed else None,
    )
    following = schedules.next_after(schedule, now, on_since=on_since)
    return Step(promise=replace(promise, next_due=following, last_due=due.missed_until or due_at), due=due)


def _current(promise: Promise | None, schedule: Schedule, *, now: datetime, zones: str) -> Promise:
    """Return the promise that holds before anything falls due: made anew where [R6] and [R7] ask for it."""
    document = schedules.document(schedule)
    if promise is None:
        first = now if isinstance(schedule, TimesPerDay) else _first_from(schedule, now, now)
        return Promise(on_since=now, schedule=document, next_due=first, zones=zones)

    # The clock went back behind the switching on: elapsed time starts again here.
    on_since = min(promise.on_since, now)
    gap = schedules.longest_gap(schedule)
    horizon = now + gap
    last_due = promise.last_due if promise.last_due and promise.last_due <= now + max(gap, SET_BACK) else None
    kept = replace(promise, on_since=on_since, schedule=document, zones=zones, last_due=last_due)

    edited = promise.schedule != document
    overdue = promise.next_due is not None and promise.next_due <= now
    # An overdue promise is honoured even when the time-zone database changed meanwhile: upgrades happen in downtime.
    outdated = not overdue and (promise.zones != zones or on_since != promise.on_since)
    beyond = promise.next_due is not None and promise.next_due > horizon
    if edited or outdated or beyond:
        start = max(now - MINUTE, last_due) if last_due else now - MINUTE
        return replace(kept, next_due=schedules.next_after(schedule, start, on_since=on_since))
    return kept


def _first_from(schedule: Schedule, now: datetime, on_since: datetime) -> datetime | None:
    return schedules.next_after(schedule, now - MINUTE, on_since=on_since)


def _last_between(schedule: Schedule, start: datetime, end: datetime, on_since: datetime) -> datetime | None:
    """Return the newest slot in (start, end]; looks back from *end* so that a year of minutes costs nothing."""
    span = MINUTE
    while end - span > start:
        found = list(schedules.between(schedule, end - span, end, on_since=on_since))
        if found:
            return found[-1]
        span *= 4
    found = list(schedules.between(schedule, start, end, on_since=on_since))
    return found[-1] if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A run in the queue. Its number is given when it starts."""

    connection: str
    due_at: datetime
    queued_at: datetime
    trigger: Trigger = "schedule"
    missed: int = 0
    merged: int = 0
    asked_by: str = ""
    request: str = ""  # the wish that asked for it


def in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Return the queue in the order in which it is run: oldest slot first, then by name."""
    return sorted(waiting, key=lambda entry: (entry.due_at, entry.connection))


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """Somebody asked for a run now."""

    id: str
    connection: str
    asked_at: datetime
    asked_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """What became of one due slot or wish: recorded once [P1]."""

    connection: str
    result: Literal["queued", "merged", "skipped", "dropped"]
    entry: Waiting  # as it stands in the queue, or would have stood
    reason: str = ""
    missed_until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What one tick decides: the promises that changed, and what became of every slot that is due."""

    promises: Mapping[str, Promise | None]
    slots: tuple[Slot, ...]


def plan(
    *,
    promises: Mapping[str, Promise],
    waiting: Mapping[str, Waiting],
    running: Collection[str],
    connections: Mapping[str, Connection],
    broken: Collection[str],
    wishes: Sequence[Wish],
    at: datetime,
    zones: str,
    due: bool = True,
) -> Plan:
    """Decide what is due at *at* for every connection that is known, was known, or is wished for.

    Without *due* only the wishes are answered.
    """
    now = minute(at)
    changed: dict[str, Promise | None] = {}
    slots: list[Slot] = []
    queued = set(waiting)

    for name in sorted({*promises, *connections}) if due else ():
        promise, connection = promises.get(name), connections.get(name)
        if name in broken:
            if promise is None:
                continue
            schedule: Schedule | None = schedules.parse(promise.schedule, "UTC")  # the last good one [R8]
        else:
            schedule = connection.schedule if connection is not None and connection.enabled else None
        step = advance(promise, schedule, now=now, zones=zones)
        if step.promise != promise:
            changed[name] = step.promise
        if schedule is None and name in waiting:
            why = "switched off while it waited" if connection else "removed while it waited"
            slots.append(Slot(connection=name, result="dropped", entry=waiting[name], reason=why))
            queued.discard(name)
        if step.due is None:
            continue
        entry = Waiting(connection=name, due_at=step.due.due_at, queued_at=at, missed=step.due.missed)
        slot = Slot(connection=name, result="queued", entry=entry, missed_until=step.due.missed_until)
        # Before its file is asked for: a run that is under way is not ended by a second one that never started.
        if name in queued:
            slot = replace(slot, result="merged", reason="it waits already")
        elif name in running:
            slot = replace(slot, result="merged", reason="it runs")
        elif name in broken:
            slot = replace(slot, result="skipped", reason="its file has problems")
        else:
            queued.add(name)
        slots.append(slot)

    for wish in wishes:
        name, connection = wish.connection, connections.get(wish.connection)
        entry = Waiting(
            connection=name,
            due_at=wish.asked_at,
            queued_at=at,
            trigger="manual",
            asked_by=wish.asked_by,
            request=wish.id,
        )
        slot = Slot(connection=name, result="queued", entry=entry)
        if connection is None or not connection.enabled:
            why = "its file has problems" if name in broken else "switched off" if connection else "no such connection"
            slot = replace(slot, result="dropped", reason=why)
        elif name in queued:
            slot = replace(slot, result="merged", reason="it waits already")
        else:
            queued.add(name)  # while it runs, too: a person wants the data of now
        slots.append(slot)
    return Plan(promises=changed, slots=tuple(slots))
