"""What is due, and what is promised next?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime, timedelta
from typing import Any, Literal

from connrunner.core import schedules
from connrunner.core.connection_index import OFF, ConnectionIndex
from connrunner.core.instant import minute
from connrunner.core.model import Connection, Notify, QueuedRun, Run, Schedule
from connrunner.core.planning.stretches import Stretch, add_slot, iter_free_spans, next_free
from connrunner.core.workspace_files import is_name
from connrunner.lazy_dataclasses import dataclass, field, replace
from connrunner.text import durations

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
YEAR = timedelta(days=366)


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """What connrunner remembers of a connection that is ON [R5]."""

    on_since: datetime
    schedule: Mapping[str, Any]  # the schedule's document: its fingerprint, and the last good one of a broken file [R8]
    next_due: datetime | None  # shown as "Next"; None for manual
    last_due: datetime | None = None  # the slot that was recorded last, or the newest one that was counted with it
    left_out: datetime | None = None  # the next instant before next_due that a blackout keeps from being a slot
    zones: str = ""  # version of the time-zone database that next_due was computed with [R7]
    recorded: tuple[Stretch, ...] | None = ()  # no slot of them is due again; None: an older version did not say


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
    too_late: DueSlot | None = None  # what was due, and may not start any more
    left_out: DueSlot | None = None  # what would have been due, and lies in a blackout
    was_ahead: bool = False  # a clock that was ahead had made the promise [R7]


def advance(
    promise: Promise | None,
    schedule: Schedule | None,
    *,
    now: datetime,
    zones: str = "",
    former: Promise | None = None,
    unknown: Iterable[Run] = (),
    start_within: int | None = None,
    clock_may_be_back: bool = True,
) -> Step:
    """Bring one connection up to *now* (a whole minute, aware UTC): its new promise, and the slot that is due.

    *schedule* is None for a connection that is OFF or gone: it forgets its promise, and time spent OFF is not
    caught up [R6]. *former* is the promise that it had before it was switched off: what was recorded then is not due
    again, nor is what history says of runs that are *unknown* to the journal. *zones* names the time-zone database in
    use [R7]. No run starts more than *start_within* seconds after its slot. When the clock cannot have gone back since
    the promise was made, no time is spent on checking it.
    """
    if schedule is None:
        return Step(promise=None)
    before = promise
    unknown = list(unknown)
    if unknown:
        promise, former = (known and _recall(known, schedule, unknown, now) for known in _known(promise, former, now))
    promise = _current(promise, schedule, former, now=now, zones=zones, clock_may_be_back=clock_may_be_back)
    was_ahead = _was_ahead(before, promise)
    left_out = _blacked_out(promise, schedule, now)
    if left_out is not None:
        promise = _with_left_out(promise, schedule, after=now)
    if promise.next_due is None or promise.next_due > now:
        return Step(promise=promise, left_out=left_out, was_ahead=was_ahead)
    too_late, due = _in_time(promise, schedule, promise.next_due, now, start_within)
    for slot in filter(None, (too_late, due)):
        promise = _with_recorded(promise, schedule, slot)
    following = next_free(schedule, now, promise.recorded or (), on_since=promise.on_since)
    promise = _with_left_out(replace(promise, next_due=following), schedule, after=now)
    return Step(promise=promise, due=due, too_late=too_late, left_out=left_out, was_ahead=was_ahead)


def _known(promise: Promise | None, former: Promise | None, now: datetime) -> tuple[Promise | None, Promise]:
    """Return both promises; in the place of a former one that nobody knows one that has recorded nothing."""
    return promise, former or Promise(on_since=now, schedule={}, next_due=None)


def _recall(promise: Promise, schedule: Schedule, runs: Iterable[Run], now: datetime) -> Promise:
    """Return *promise* when the slots of *runs*, which the journal does not know, are recorded too."""
    recorded, latest = recorded_by(promise), promise.last_due
    for run in sorted(runs, key=lambda run: run.entry.due_at):
        if run.entry.trigger == "schedule":
            recorded = add_slot(recorded, run.entry.due_at, schedule, on_since=promise.on_since)
            seen = minute(run.ended_at if run.entry.merged else run.entry.queued_at)  # slots up to there were counted
            latest = max(seen, run.entry.due_at, latest or seen) if max(seen, run.entry.due_at) <= now else latest
    next_due = promise.next_due
    if next_due is not None and latest is not None and next_due <= latest:
        next_due = next_free(schedule, latest, recorded, on_since=promise.on_since)
    return replace(promise, recorded=recorded, last_due=latest, next_due=next_due)


def _with_recorded(promise: Promise, schedule: Schedule, slot: DueSlot) -> Promise:
    """Return *promise* when *slot* has been recorded, with those that are counted behind it."""
    recorded = add_slot(promise.recorded or (), slot.due_at, schedule, on_since=promise.on_since)
    return replace(promise, recorded=recorded, last_due=slot.missed_until or slot.due_at)


def _blacked_out(promise: Promise, schedule: Schedule, now: datetime) -> DueSlot | None:
    """Return what blackouts have left out up to *now* and is not recorded yet."""
    if promise.left_out is not None and promise.left_out <= now:
        start = promise.left_out - MINUTE
    elif promise.next_due is not None and promise.next_due <= now:
        start = promise.next_due  # what lies before it would be the promised one
    else:
        return None
    found = schedules.count_left_out(schedule, start, now, on_since=promise.on_since)
    if found is None:
        return None
    oldest, number, newest = found
    return DueSlot(due_at=oldest, missed=number - 1, missed_until=newest if number > 1 else None)


def _with_left_out(promise: Promise, schedule: Schedule, *, after: datetime) -> Promise:
    until = promise.next_due or after + YEAR
    return replace(promise, left_out=schedules.next_left_out(schedule, after, until, on_since=promise.on_since))


def _current(
    promise: Promise | None,
    schedule: Schedule,
    former: Promise | None,
    *,
    now: datetime,
    zones: str,
    clock_may_be_back: bool,
) -> Promise:
    """Return the promise that holds before anything falls due: made anew where [R6] and [R7] ask for it."""
    document = schedules.as_document(schedule)
    known = promise or former
    last_due, recorded = (known.last_due, recorded_by(known)) if known else (None, ())
    # The minute of now counts, unless its slot was recorded. What a clock that was ahead counted is still to come.
    start = max(now - MINUTE, last_due) if last_due and last_due <= now else now - MINUTE
    if promise is None:
        first = next_free(schedule, start, recorded, on_since=now)
        new = Promise(
            on_since=now, schedule=document, next_due=first, last_due=last_due, zones=zones, recorded=recorded
        )
        return _with_left_out(new, schedule, after=start)

    # The clock went back behind the switching on: elapsed time starts again here.
    on_since = min(promise.on_since, now)
    kept = replace(promise, on_since=on_since, schedule=document, zones=zones, recorded=recorded)
    edited = promise.schedule != document
    overdue = promise.next_due is not None and promise.next_due <= now
    # An overdue promise is honoured even when the time-zone database changed meanwhile: upgrades happen in downtime.
    outdated = not overdue and (promise.zones != zones or on_since != promise.on_since)
    doubtful = not overdue and (clock_may_be_back or promise.recorded is None)
    if not (edited or outdated or doubtful):
        return kept
    next_due = next_free(schedule, start, recorded, on_since=on_since)
    if edited or outdated or _is_sooner(next_due, kept.next_due):
        return _with_left_out(replace(kept, next_due=next_due), schedule, after=start)
    return kept


def _is_sooner(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one < other)


def recorded_by(promise: Promise) -> tuple[Stretch, ...]:
    """Return the slots that *promise* says were recorded; one of an older version knows only the last of them."""
    if promise.recorded is not None:
        return promise.recorded
    return (Stretch(promise.last_due, promise.last_due),) if promise.last_due else ()


def _was_ahead(before: Promise | None, after: Promise) -> bool:
    """Tell whether the promise was made anew because the clock that had made it was ahead [R7]."""
    if before is None or (before.schedule, before.zones) != (after.schedule, after.zones):
        return False
    return _is_sooner(after.next_due, before.next_due)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """A person asked for a run now."""

    id: str  # the same for all connections that were asked for together
    connection: str
    asked_at: datetime
    asked_by: str
    force: bool = False  # even if it is switched off
    notify: tuple[Notify, ...] | None = None  # who is told if it cannot be run; None: an older version asked

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
            notify=self.notify,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRequest:
    """A person decided about a run that has ended: it is undone, or what it held is approved or declined.

    It goes before what waits, and takes no place in the queue.
    """

    kind: Literal["undo", "approve", "decline"]
    connection: str
    run: int
    asked_at: datetime
    asked_by: str
    reason: str = ""
    notify: tuple[Notify, ...] = ()  # who is told if it cannot be started
    id: str = ""  # once it is left in the state folder

    def as_entry(self) -> QueuedRun:
        """Return the run that it asks for."""
        return QueuedRun(
            connection=self.connection,
            due_at=self.asked_at,
            queued_at=self.asked_at,
            trigger=self.kind,
            asked_by=self.asked_by,
            request=self.id,
            force=True,
            notify=self.notify,
            undo=self.run if self.kind == "undo" else None,
            held=None if self.kind == "undo" else self.run,
            reason=self.reason,
        )


SlotResult = Literal[
    "queued",
    "merged",  # into the run that waits or works
    "skipped",  # the connection cannot be used; what a person asked for, also when it is switched off or gone
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
    is_gone: bool = False  # that person has made sure that nothing of it lives where it cannot be seen any more

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
    made_anew: tuple[str, ...] = ()  # the connections whose promise a clock had made that was ahead


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
    former: Mapping[str, Promise] = field(default_factory=dict)  # the last ones of connections that are OFF or gone
    unknown: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)  # that history has and the journal lacks
    seen: datetime | None = None  # the newest instant of a tick that recorded something; None when that is not known

    @property
    def clock_may_be_back(self) -> bool:
        """Tell whether a promise may have been made at an instant that is still to come."""
        return self.seen is None or minute(self.at) < minute(self.seen)


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
    made_anew: list[str] = []
    queued = set(facts.waiting)

    for name, entry in sorted(facts.waiting.items()):
        if (run := _find_run_of(entry, facts)) is not None:
            queued.discard(name)
            reason = f"history has it, as #{run.run}"
            slots.append(Slot(connection=name, result="dropped", entry=entry, reason=reason))
    gone = {slot.connection for slot in slots}
    facts = replace(facts, waiting={name: facts.waiting[name] for name in facts.waiting if name not in gone})

    is_settled = _settled_by(facts)
    for name in sorted({*facts.promises, *facts.connections}) if due else ():
        promise = facts.promises.get(name)
        if (promise is None and name in facts.broken) or is_settled(name, promise):
            continue
        schedule, connection = _schedule_of(name, facts), facts.connections.get(name)
        step = advance(
            promise,
            schedule,
            now=minute(facts.at),
            zones=facts.zones,
            former=facts.former.get(name),
            unknown=facts.unknown.get(name, ()),
            start_within=connection.start_within if connection else None,
            clock_may_be_back=facts.clock_may_be_back,
        )
        if step.promise != promise:
            changed[name] = step.promise
        if step.was_ahead:
            made_anew.append(name)
        slots += _plan_connection(name, schedule, step, facts, queued)

    for request in requests:
        slots.append(_answer(request, facts, queued))
    return TickPlan(promises=changed, slots=tuple(slots), made_anew=tuple(made_anew))


def _settled_by(facts: TickFacts) -> Callable[[str, Promise | None], bool]:
    """Return what tells that `advance` would change nothing and find nothing due, without building the connection."""
    connections, now = facts.connections, minute(facts.at)
    if not isinstance(connections, ConnectionIndex) or facts.clock_may_be_back:
        return lambda *_: False
    off = set(connections.find(OFF))
    doubtful = {*facts.unknown, *facts.waiting, *facts.broken}

    def is_settled(name: str, promise: Promise | None) -> bool:
        if name in doubtful or name not in connections:
            return False
        if promise is None or name in off:
            return promise is None and name in off
        return (
            promise.on_since <= now
            and (promise.next_due is None or promise.next_due > now)
            and (promise.left_out is None or promise.left_out > now)
            and promise.zones == facts.zones
            and promise.recorded is not None
            and promise.schedule == connections.read_schedule(name)
        )

    return is_settled


def _find_run_of(entry: QueuedRun, facts: TickFacts) -> Run | None:
    """Return the run that history has of *entry* already: the journal is older, from a backup."""
    same = (run for run in facts.unknown.get(entry.connection, ()) if run.entry.trigger == entry.trigger)
    return next((run for run in same if run.entry.due_at == entry.due_at), None)


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
            # A person who asked for a run is told that there is none.
            yield Slot(connection=name, result="skipped" if entry.was_asked_for else "dropped", entry=entry, reason=why)
        return
    expired = entry if entry is not None and is_too_late(entry, connection, facts.at) else None
    if expired is not None:
        queued.discard(name)
    if step.left_out is not None:
        reason = schedules.explain_left_out(schedule, step.left_out.due_at)
        yield _slot("left_out", name, step.left_out, facts.at, reason=reason)
    missed = _missed(name, connection, expired, step.too_late, facts.at)
    if missed is not None:
        yield missed
    if step.due is not None:
        yield _queue(_slot("queued", name, step.due, facts.at), facts, queued)


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
    """Return what becomes of *request*. It is queued while its connection runs, too: a person wants the data of now.

    What was accepted and cannot be run any more is a run that was skipped, so that people are told.
    """
    name, connection = request.connection, facts.connections.get(request.connection)
    entry = request.as_queued(facts.at)
    if connection is None or not (connection.enabled or request.force):
        why = "switched off" if connection else "no such connection"
        reason = "its file has problems" if name in facts.broken else why
        was_accepted = (
            connection or request.notify is not None or name in {*facts.broken, *facts.promises, *facts.former}
        )
        result: SlotResult = "skipped" if was_accepted and is_name(name) else "dropped"
        return Slot(connection=name, result=result, entry=entry, reason=reason)
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
    promise: Promise, schedule: Schedule, due_at: datetime, now: datetime, start_within: int | None
) -> tuple[DueSlot | None, DueSlot | None]:
    """Divide what is due from *due_at* on into what may not start any more and what may."""
    oldest = now - timedelta(seconds=start_within or 0)
    if start_within is None or due_at >= oldest:
        return None, _span(promise, schedule, due_at, now)
    first = next_free(schedule, oldest - MICROSECOND, promise.recorded or (), on_since=promise.on_since)
    if first is None or first > now:
        return _span(promise, schedule, due_at, now), None
    return _span(promise, schedule, due_at, first - MINUTE), _span(promise, schedule, first, now)


def _span(promise: Promise, schedule: Schedule, first: datetime, last: datetime) -> DueSlot:
    """Return the slot *first* with those behind it that are not recorded yet, up to *last*."""
    since = promise.on_since
    spans = list(iter_free_spans(first, last, promise.recorded or ()))
    missed = sum(schedules.count_between(schedule, start, end, on_since=since) for start, end in spans)
    newest = (last_between(schedule, start, end, since) for start, end in reversed(spans)) if missed else ()
    return DueSlot(due_at=first, missed=missed, missed_until=next(filter(None, newest), None))


def _slot(result: SlotResult, name: str, due: DueSlot, at: datetime, *, reason: str = "") -> Slot:
    entry = QueuedRun(connection=name, due_at=due.due_at, queued_at=at, missed=due.missed)
    return Slot(connection=name, result=result, entry=entry, missed_until=due.missed_until, reason=reason)
