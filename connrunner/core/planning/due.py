"""What is due, and what is promised next?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from connrunner.core import schedules
from connrunner.core.instant import minute
from connrunner.core.model import Connection, QueuedRun, Schedule
from connrunner.text import durations

MINUTE = timedelta(minutes=1)
SET_BACK = timedelta(hours=1)  # a clock that goes back no further repeats no slot, however often a connection is due
MICROSECOND = timedelta(microseconds=1)
YEAR = timedelta(days=366)


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """What connrunner remembers of a connection that is ON [R5]."""

    on_since: datetime
    schedule: Mapping[str, Any]  # the schedule's document: its fingerprint, and the last good one of a broken file [R8]
    next_due: datetime | None  # shown as "Next"; None for manual
    last_due: datetime | None = None  # the newest slot that was recorded, missed ones too; no slot is due twice
    left_out: datetime | None = None  # the next instant before next_due that a blackout keeps from being a slot
    zones: str = ""  # version of the time-zone database that next_due was computed with [R7]


@dataclass(frozen=True, kw_only=True, slots=True)
class DueSlot:
    """One slot that is due now, with those that passed unseen behind it."""

    due_at: datetime  # the promise, however late it is
    missed: int = 0  # later slots that passed too; they have no run of their own
    missed_until: datetime | None = None  # the newest of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The outcome of one tick for one connection."""

    promise: Promise | None
    due: DueSlot | None = None
    left_out: DueSlot | None = None  # what would have been due, and lies in a blackout


def advance(promise: Promise | None, schedule: Schedule | None, *, now: datetime, zones: str = "") -> Step:
    """Bring one connection up to *now* (a whole minute, aware UTC): its new promise, and the slot that is due.

    *schedule* is None for a connection that is OFF or gone: it forgets its promise, and time spent OFF is not
    caught up [R6]. *zones* names the time-zone database in use [R7].
    """
    if schedule is None:
        return Step(promise=None)
    promise = _current(promise, schedule, now=now, zones=zones)
    left_out = _blacked_out(promise, schedule, now)
    if left_out is not None:
        promise = _with_left_out(promise, schedule, after=now)
    if promise.next_due is None or promise.next_due > now:
        return Step(promise=promise, left_out=left_out)
    due_at, on_since = promise.next_due, promise.on_since
    due = _span(schedule, due_at, now, on_since)
    following = schedules.next_after(schedule, now, on_since=on_since)
    promise = replace(promise, next_due=following, last_due=due.missed_until or due_at)
    return Step(promise=_with_left_out(promise, schedule, after=now), due=due, left_out=left_out)


def _blacked_out(promise: Promise, schedule: Schedule, now: datetime) -> DueSlot | None:
    """Return what blackouts have left out up to *now* and is not recorded yet."""
    if promise.left_out is not None and promise.left_out <= now:
        start = promise.left_out - MINUTE
    elif promise.next_due is not None and promise.next_due <= now:
        start = promise.next_due  # what lies before it would be the promised one
    else:
        return None
    found = list(schedules.left_out_between(schedule, start, now, on_since=promise.on_since))
    if not found:
        return None
    return DueSlot(due_at=found[0], missed=len(found) - 1, missed_until=found[-1] if len(found) > 1 else None)


def _with_left_out(promise: Promise, schedule: Schedule, *, after: datetime) -> Promise:
    until = promise.next_due or after + YEAR
    return replace(promise, left_out=schedules.next_left_out(schedule, after, until, on_since=promise.on_since))


def _current(promise: Promise | None, schedule: Schedule, *, now: datetime, zones: str) -> Promise:
    """Return the promise that holds before anything falls due: made anew where [R6] and [R7] ask for it."""
    document = schedules.as_document(schedule)
    if promise is None:
        first = schedules.next_after(schedule, now - MINUTE, on_since=now)
        new = Promise(on_since=now, schedule=document, next_due=first, zones=zones)
        return _with_left_out(new, schedule, after=now - MINUTE)

    # The clock went back behind the switching on: elapsed time starts again here.
    on_since = min(promise.on_since, now)
    horizon = _horizon(schedule, now, on_since)
    last_due = promise.last_due if promise.last_due and promise.last_due <= max(horizon, now + SET_BACK) else None
    kept = replace(promise, on_since=on_since, schedule=document, zones=zones, last_due=last_due)

    edited = promise.schedule != document
    overdue = promise.next_due is not None and promise.next_due <= now
    # An overdue promise is honoured even when the time-zone database changed meanwhile: upgrades happen in downtime.
    outdated = not overdue and (promise.zones != zones or on_since != promise.on_since)
    beyond = promise.next_due is not None and promise.next_due > horizon
    if edited or outdated or beyond:
        start = max(now - MINUTE, last_due) if last_due else now - MINUTE
        kept = replace(kept, next_due=schedules.next_after(schedule, start, on_since=on_since))
        return _with_left_out(kept, schedule, after=start)
    return kept


def _horizon(schedule: Schedule, now: datetime, on_since: datetime) -> datetime:
    """Return what no promise can be beyond unless the clock was wrong when it was made [R7]."""
    gap = schedules.longest_gap(schedule)
    return now + gap if gap is not None else schedules.next_after(schedule, now, on_since=on_since) or now


def last_between(schedule: Schedule, start: datetime, end: datetime, on_since: datetime) -> datetime | None:
    """Return the newest slot in (start, end]; looks back from *end* so that a year of minutes costs nothing."""
    span = MINUTE
    while end - span > start:
        found = list(schedules.between(schedule, end - span, end, on_since=on_since))
        if found:
            return found[-1]
        span *= 4
    found = list(schedules.between(schedule, start, end, on_since=on_since))
    return found[-1] if found else None


def sort_queue(waiting: Iterable[QueuedRun]) -> list[QueuedRun]:
    """Return the queue in the order in which it is run: oldest slot first, then by name."""
    return sorted(waiting, key=lambda entry: (entry.due_at, entry.connection))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """A person asked for a run now."""

    id: str  # the same for all connections that were asked for together
    connection: str
    asked_at: datetime
    asked_by: str
    force: bool = False  # even if it is switched off

    def as_queued(self, at: datetime) -> QueuedRun:
        """Return the run as it stands in the queue from *at* on."""
        return QueuedRun(
            connection=self.connection,
            due_at=self.asked_at,
            queued_at=at,
            trigger="manual",
            asked_by=self.asked_by,
            request=self.id,
            force=self.force,
        )


SlotResult = Literal[
    "queued",
    "merged",  # into the run that waits or works
    "skipped",  # the connection cannot be used
    "dropped",  # the connection is switched off or gone
    "missed",  # it could not start within `start_within`
    "left_out",  # it lies in a blackout; not a slot, and told all the same
]


@dataclass(frozen=True, kw_only=True, slots=True)
class StopRequest:
    """A person asked for the end of one run: of number *run*, or of the one that waited, due at *due_at*."""

    connection: str
    run: int | None = None
    due_at: datetime | None = None
    asked_at: datetime
    asked_by: str  # user@host
    reason: str = ""
    id: str = ""  # once it is left in the state folder

    @property
    def description(self) -> str:
        """Who asked for it, and why, in words."""
        return f"stopped by {self.asked_by}" + (f": {self.reason}" if self.reason else "")


def find_stop_of_run(stops: Iterable[StopRequest], connection: str, run: int, due_at: datetime) -> StopRequest | None:
    """Return the first request to stop the started *run*.

    One that names a run which waited finds it when it has started.
    """
    return next((stop for stop in stops if stop.connection == connection and _names(stop, run, due_at)), None)


def _names(stop: StopRequest, run: int, due_at: datetime) -> bool:
    return stop.due_at == due_at if stop.run is None else stop.run == run


def find_stop_of_entry(stops: Iterable[StopRequest], entry: QueuedRun) -> StopRequest | None:
    """Return the first request to take *entry* out of the queue."""
    mine = (stop for stop in stops if stop.connection == entry.connection and stop.run is None)
    return next((stop for stop in mine if stop.due_at == entry.due_at), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """What became of one due slot or request: recorded once [P1]."""

    connection: str
    result: SlotResult
    entry: QueuedRun  # as it stands in the queue, or would have stood
    reason: str = ""
    missed_until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TickPlan:
    """What one tick decides: the promises that changed, and what became of every slot that is due."""

    promises: Mapping[str, Promise | None]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TickFacts:
    """All that a tick decides from."""

    promises: Mapping[str, Promise]
    waiting: Mapping[str, QueuedRun]
    running: Collection[str]
    connections: Mapping[str, Connection]  # the sound ones
    broken: Collection[str]
    at: datetime
    zones: str  # version of the time-zone database in use [R7]


def explain_refusal(promises: Sized, connections: Sized, broken: Sized) -> str:
    """Return what is wrong with a workspace that a tick refuses: all connections are gone at once. Else empty."""
    if not promises or connections or broken:
        return ""
    are_on = "1 is" if len(promises) == 1 else f"{len(promises):,} are"
    return f"has no connections any more, but {are_on} switched on"


def plan_tick(facts: TickFacts, requests: Sequence[RunRequest], *, due: bool = True) -> TickPlan:
    """Decide what is due for every connection that is known, was known, or is asked for.

    Without *due* only the *requests* are answered.
    """
    changed: dict[str, Promise | None] = {}
    slots: list[Slot] = []
    queued = set(facts.waiting)

    for name in sorted({*facts.promises, *facts.connections}) if due else ():
        promise = facts.promises.get(name)
        if promise is None and name in facts.broken:
            continue
        schedule = _schedule_of(name, facts)
        step = advance(promise, schedule, now=minute(facts.at), zones=facts.zones)
        if step.promise != promise:
            changed[name] = step.promise
        slots += _plan_connection(name, schedule, step, facts, queued)

    for request in requests:
        slots.append(_answer(request, facts, queued))
    return TickPlan(promises=changed, slots=tuple(slots))


def _schedule_of(name: str, facts: TickFacts) -> Schedule | None:
    """Return the schedule by which the connection *name* is due; None when it is OFF or gone."""
    if name in facts.broken:
        return schedules.parse(facts.promises[name].schedule, "UTC")  # the last good one [R8]
    connection = facts.connections.get(name)
    return connection.schedule if connection is not None and connection.enabled else None


def _plan_connection(
    name: str, schedule: Schedule | None, step: Step, facts: TickFacts, queued: set[str]
) -> Iterator[Slot]:
    """Yield what becomes of the run of *name* that waits, and of each slot of *step*; *queued* follows the queue."""
    connection, entry = facts.connections.get(name), facts.waiting.get(name)
    if schedule is None:
        if entry is not None and not (entry.force and connection):
            queued.discard(name)
            why = "switched off while it waited" if connection else "removed while it waited"
            yield Slot(connection=name, result="dropped", entry=entry, reason=why)
        return
    expired = entry if entry is not None and is_too_late(entry, connection, facts.at) else None
    if expired is not None:
        queued.discard(name)
    if step.left_out is not None:
        reason = schedules.explain_left_out(schedule, step.left_out.due_at)
        yield _slot("left_out", name, step.left_out, facts.at, reason=reason)
    too_late, due_now = _in_time(step, schedule, connection, minute(facts.at))
    missed = _missed(name, connection, expired, too_late, facts.at)
    if missed is not None:
        yield missed
    if due_now is not None:
        yield _queue(_slot("queued", name, due_now, facts.at), facts, queued)


def _queue(slot: Slot, facts: TickFacts, queued: set[str]) -> Slot:
    """Return *slot* as it is queued, merged or skipped."""
    name = slot.connection
    # Before its file is asked for: a run that is under way is not ended by a second one that never started.
    if name in queued:
        return replace(slot, result="merged", reason="it waits already")
    if name in facts.running:
        return replace(slot, result="merged", reason="it runs")
    if name in facts.broken:
        return replace(slot, result="skipped", reason="its file has problems")
    queued.add(name)
    return slot


def _answer(request: RunRequest, facts: TickFacts, queued: set[str]) -> Slot:
    """Return what becomes of *request*. It is queued while its connection runs, too: a person wants the data of now."""
    name, connection = request.connection, facts.connections.get(request.connection)
    entry = request.as_queued(facts.at)
    if connection is None or not (connection.enabled or request.force):
        why = "switched off" if connection else "no such connection"
        reason = "its file has problems" if name in facts.broken else why
        return Slot(connection=name, result="dropped", entry=entry, reason=reason)
    if name in queued:
        return Slot(connection=name, result="merged", entry=entry, reason="it waits already")
    queued.add(name)
    return Slot(connection=name, result="queued", entry=entry)


def is_too_late(entry: QueuedRun, connection: Connection | None, at: datetime) -> bool:
    """Tell whether *entry* may not start any more: it was due longer ago than its connection's `start_within`."""
    if connection is None or connection.start_within is None or entry.trigger != "schedule":
        return False
    return at - entry.due_at > timedelta(seconds=connection.start_within)


def explain_expiry(connection: Connection) -> str:
    """Return why a run that waits may not start any more."""
    return f"it waited in the queue for more than {durations.exactly(connection.start_within or 0)}"


def _missed(
    name: str, connection: Connection | None, expired: QueuedRun | None, late: DueSlot | None, at: datetime
) -> Slot | None:
    """Return the one record of what may not start any more: the run that waits, and slots that passed unseen."""
    if connection is None or (expired is None and late is None):
        return None
    if expired is None:
        assert late is not None
        reason = f"no tick came within {durations.exactly(connection.start_within or 0)} after it was due"
        return _slot("missed", name, late, at, reason=reason)
    if late is not None:
        expired = replace(expired, missed=expired.missed + 1 + late.missed)
    until = (late.missed_until or late.due_at) if late else None
    reason = explain_expiry(connection)
    return Slot(connection=name, result="missed", entry=expired, missed_until=until, reason=reason)


def _in_time(
    step: Step, schedule: Schedule | None, connection: Connection | None, now: datetime
) -> tuple[DueSlot | None, DueSlot | None]:
    """Divide what is due into what may not start any more, by `start_within`, and what may."""
    due = step.due
    limit = connection.start_within if connection else None
    if due is None or limit is None or schedule is None or step.promise is None:
        return None, due
    oldest = now - timedelta(seconds=limit)
    if due.due_at >= oldest:
        return None, due
    since = step.promise.on_since
    first = schedules.next_after(schedule, oldest - MICROSECOND, on_since=since)
    if first is None or first > now:
        return due, None
    return _span(schedule, due.due_at, first - MINUTE, since), _span(schedule, first, now, since)


def _span(schedule: Schedule, first: datetime, last: datetime, on_since: datetime) -> DueSlot:
    """Return the slot *first* with those behind it, up to *last*."""
    missed = schedules.count_between(schedule, first, last, on_since=on_since)
    until = last_between(schedule, first, last, on_since) if missed else None
    return DueSlot(due_at=first, missed=missed, missed_until=until)


def _slot(result: SlotResult, name: str, due: DueSlot, at: datetime, *, reason: str = "") -> Slot:
    entry = QueuedRun(connection=name, due_at=due.due_at, queued_at=at, missed=due.missed)
    return Slot(connection=name, result=result, entry=entry, missed_until=due.missed_until, reason=reason)
