"""What runs, waits, comes next, is late or fails, and whether all is well: the answer of `connrunner status`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Literal

from connrunner.answers import active_runs
from connrunner.answers.active_runs import ActiveRun, list_active_runs, time_of_day
from connrunner.answers.coming_slots import list_ended_schedules
from connrunner.answers.connection_filter import ALL, ConnectionFilter
from connrunner.answers.run_history import count_last_day
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.alerts import alert_state
from connrunner.core.connection_index import OFF, find_with
from connrunner.core.held_runs import HeldRun, describe_held_change
from connrunner.core.model import Outcome, QueuedRun, Run
from connrunner.core.outcome_counts import OutcomeCounts
from connrunner.core.planning import due as planning
from connrunner.core.planning import forecast, queue_order
from connrunner.core.planning.ended import EndedSchedule
from connrunner.core.planning.forecast import PredictedRun
from connrunner.lazy_dataclasses import dataclass
from connrunner.scheduler import idle
from connrunner.state import misplaced, owner, requests, run_files
from connrunner.state.damage import KnownDamage
from connrunner.state.journal_state import JournalState
from connrunner.text import durations

FAILING = {str(outcome) for outcome in Outcome if outcome.is_failure}
SEEN_WITHIN = timedelta(minutes=3)  # a slot that no tick has seen by then: no tick comes
STARTED_WITHIN = timedelta(minutes=10)  # a run that waits longer is late
TICK_WITHIN = timedelta(minutes=5)
PREDICTED = 200  # runs whose start is predicted; each costs a look into a history
MINUTE = 60.0  # seconds that a run is given which works longer than any before
WORTH_TELLING = 60  # seconds that a run will wait


# --- is all well? ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class FailingConnection:
    """A connection of the workspace whose newest run was no success."""

    connection: str
    outcome: str
    since: datetime | None  # when the first failure in a row ended
    failures: int  # in a row
    others: tuple[tuple[str, int], ...] = ()  # how many of these ended otherwise than the newest, by outcome
    last: Run | None = None  # the newest ended run, where it was asked for


@dataclass(frozen=True, kw_only=True, slots=True)
class LateSlot:
    """A slot that should have a run by now."""

    connection: str
    due_at: datetime
    waits: bool  # else no tick has seen it

    @property
    def reason(self) -> str:
        return "it waits in its queue" if self.waits else "no tick has seen it"


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusableHistory:
    """A connection that ticks leave alone: what stands in the place of its history cannot be used."""

    connection: str
    reason: str  # with its path, and what to do


Standing = Literal[
    "last good", "refused", "blocked", "no state"
]  # what ticks make of a workspace that they cannot use as it is

COMPLAINTS: Mapping[Standing, str] = {
    "last good": "the newest version of the workspace cannot be used",
    "refused": "ticks refuse the workspace",
    "blocked": "profile.yaml cannot be used",
    "no state": "the state folder cannot be used",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """Whether all is well with the chosen connections, and with what calls tick."""

    at: datetime
    last_tick: datetime | None
    failing: tuple[FailingConnection, ...]
    late: tuple[LateSlot, ...]
    broken: tuple[str, ...]
    unusable: tuple[UnusableHistory, ...] = ()
    trouble: str  # why the workspace is not used as it is; empty when it is
    standing: Standing = "last good"

    @property
    def lacks_ticks(self) -> bool:
        """True when ticks came and come no more."""
        return self.last_tick is not None and self.at - self.last_tick > TICK_WITHIN

    @property
    def partial(self) -> int:
        """How many of the failing connections did their work, and refused rows."""
        return sum(one.outcome == Outcome.PARTIAL for one in self.failing)

    @property
    def complaints(self) -> list[str]:
        """What is not well, in words; empty when all is."""
        counts = (
            (len(self.failing) - self.partial, "failing"),
            (self.partial, "partial"),
            (len(self.late), "late"),
            (len(self.broken), "broken"),
            (len(self.unusable), "with an unusable history"),
        )
        found = [f"{count:,} {words}" for count, words in counts if count]
        if self.trouble:
            found.append(COMPLAINTS[self.standing])
        if self.last_tick is None:
            found.append("no tick yet")
        elif self.lacks_ticks:
            found.append("no tick lately")
        return found

    @property
    def connections(self) -> list[str]:
        """The connections that are not well: failing, late, broken, unusable; with a name for each of its reasons."""
        return [
            *(failing.connection for failing in self.failing),
            *(late.connection for late in self.late),
            *self.broken,
            *(one.connection for one in self.unusable),
        ]


def check_health(view: WorkspaceView, choice: ConnectionFilter = ALL, *, last_runs: int = 0) -> Health:
    """Return what is late, failing or broken, with the last run of the first *last_runs* failing connections."""
    journal_state = view.journal_state
    standing, trouble = judge_workspace(view)
    failed = (name for name, outcome in journal_state.last_outcome.items() if outcome in FAILING)
    if standing != "refused":  # else a connection without a file may be one whose file could not be read
        failed = (name for name in failed if view.workspace.find_use(name) not in ("gone", "off"))
    chosen = choice.select(view, failed)
    return Health(
        at=view.clock(),
        last_tick=find_last_tick(view),
        failing=tuple(_failing(view, journal_state, name, place < last_runs) for place, name in enumerate(chosen)),
        late=tuple(_late(view, choice)),
        broken=tuple(choice.select(view, view.workspace.broken)),
        unusable=tuple(_unusable(view, choice)),
        trouble=trouble,
        standing=standing,
    )


def _unusable(view: WorkspaceView, choice: ConnectionFilter) -> Iterator[UnusableHistory]:
    for name in choice.select(view, view.unusable_histories):
        yield UnusableHistory(connection=name, reason=view.unusable_histories[name])


def judge_workspace(view: WorkspaceView) -> tuple[Standing, str]:
    """Return what ticks make of the workspace, and why when they do not use it as it is."""
    workspace, promises = view.workspace, view.journal_state.promises
    for path in misplaced.list_irregular(view.state.locks):
        return "no state", f"{path} is no file, and every tick or run that needs it fails"
    if stranger := owner.describe_other(view.state, view.folder):
        return "refused", stranger
    if workspace.trouble:
        return ("last good" if workspace.connections or workspace.broken else "refused"), workspace.trouble
    if refusal := planning.explain_refusal(promises, workspace.connections, workspace.broken):
        return "refused", f"{view.folder} {refusal}"
    of_profile = [problem for problem in workspace.problems if problem.path == "profile.yaml"]
    if of_profile:
        return "blocked", str(of_profile[0])
    return "last good", ""


def find_last_tick(view: WorkspaceView) -> datetime | None:
    """Return when a tick last looked; None when none ever did."""
    ticked = idle.find_last_look(str(view.state.root))
    return None if ticked is None else datetime.fromtimestamp(ticked, UTC)


def _failing(view: WorkspaceView, journal_state: JournalState, name: str, with_last_run: bool) -> FailingConnection:
    streak = alert_state.current_streak(journal_state.alerts, name, alert_state.USUAL)
    return FailingConnection(
        connection=name,
        outcome=journal_state.last_outcome[name],
        since=instant.parse(streak["since"]) if streak else None,
        failures=streak["failures"] if streak else 1,
        others=tuple(
            (outcome, number)
            for outcome, number in (streak["between"] if streak else {}).items()
            if outcome != journal_state.last_outcome[name] and outcome in FAILING
        ),
        last=next(run_files.read_any_history(view.state, name), None) if with_last_run else None,
    )


def _late(view: WorkspaceView, choice: ConnectionFilter) -> list[LateSlot]:
    now = view.clock()
    found = [
        LateSlot(connection=entry.connection, due_at=entry.due_at, waits=True)
        for entry in _queue(view)
        if now - entry.due_at > STARTED_WITHIN and choice.includes(view, entry.connection)
    ]
    unseen = [
        (promise.next_due, name)
        for name, promise in view.journal_state.promises.items()
        if promise.next_due is not None and now - promise.next_due > SEEN_WITHIN
    ]
    for due, name in queue_order.sort_slots(unseen, view.workspace.connections):
        if choice.includes(view, name):
            found.append(LateSlot(connection=name, due_at=due, waits=False))
    return found


# --- what there is, and what is to be expected -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedStart:
    """When a run will start, and behind which one."""

    starts_at: datetime | None  # None when the length of what it waits for is not known
    behind: str  # a connection, or a connection and its run; empty when it waits for nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingRun:
    """A run in its queue, or one that was asked for and that the next tick puts there."""

    entry: QueuedRun
    is_queued: bool
    lane: str
    place: int  # in its lane, from 1
    expected: ExpectedStart | None  # None behind more than PREDICTED others


@dataclass(frozen=True, kw_only=True, slots=True)
class NextSlot:
    """The next slot of a connection."""

    connection: str
    due_at: datetime
    expected: ExpectedStart | None  # None behind more than PREDICTED others


@dataclass(frozen=True, kw_only=True, slots=True)
class OffConnection:
    """A connection that is switched off: since when ticks see it so, and which commit it was then."""

    connection: str
    since: datetime | None  # None when no tick has seen it yet
    commit: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """What works and what waits, at an instant."""

    zone: str  # for times that people read
    at: datetime
    running: tuple[ActiveRun, ...]
    waiting: tuple[WaitingRun, ...]  # in the order in which they are run


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """The chosen connections at an instant, and the workspace that they belong to."""

    zone: str  # for times that people read
    health: Health
    running: tuple[ActiveRun, ...]
    waiting: tuple[WaitingRun, ...]  # in the order in which they are run
    coming: tuple[NextSlot, ...]  # soonest first
    ended: tuple[EndedSchedule, ...]  # they are on, and have no slot to come
    off: tuple[OffConnection, ...]  # by name
    uncommitted: tuple[str, ...]  # files that differ from the commit that is obeyed
    commit: str | None
    mail_owed: int
    mail_dead: int
    last_day: OutcomeCounts
    damage: tuple[KnownDamage, ...] = ()  # of the state folder
    held: tuple[HeldRun, ...] = ()  # that wait for somebody to approve or decline them, oldest first


def read_status(view: WorkspaceView, choice: ConnectionFilter = ALL, *, last_runs: int = 0) -> Status:
    """Return how the workspace stands. *last_runs* is that of `check_health`."""
    active, promises = list_active_runs(view), _promises(view)
    queue = _list_queue(view)
    expected = _expect(view, active, queue, promises)
    return Status(
        zone=view.zone(),
        health=check_health(view, choice, last_runs=last_runs),
        running=tuple(run for run in active if choice.includes(view, run.connection)),
        waiting=tuple(
            run for run in _waiting_runs(view, queue, expected) if choice.includes(view, run.entry.connection)
        ),
        coming=tuple(
            NextSlot(connection=name, due_at=due, expected=expected.get((name, due)))
            for due, name in promises
            if choice.includes(view, name)
        ),
        ended=tuple(one for one in list_ended_schedules(view) if choice.includes(view, one.connection)),
        off=tuple(_find_off(view, choice)),
        uncommitted=tuple(view.uncommitted),
        commit=view.workspace.commit,
        mail_owed=len(view.journal_state.owed),
        mail_dead=len(view.journal_state.dead),
        last_day=count_last_day(view, choice.select(view, view.known_names())),
        damage=view.damage,
        held=list_held_runs(view, choice),
    )


def list_held_runs(view: WorkspaceView, choice: ConnectionFilter = ALL) -> tuple[HeldRun, ...]:
    """Return the held runs that nobody has decided about, oldest first."""
    held = view.journal_state.held.values()
    chosen = (one for one in held if choice.includes(view, one.connection))
    return tuple(sorted(chosen, key=lambda one: (one.since, one.connection)))


def read_queue(view: WorkspaceView, choice: ConnectionFilter = ALL) -> Queue:
    """Return what works and what waits: the first part of the status, without the past, which takes longer to read."""
    active = list_active_runs(view)
    return Queue(
        zone=view.zone(),
        at=view.clock(),
        running=tuple(run for run in active if choice.includes(view, run.connection)),
        waiting=tuple(run for run in list_waiting(view, active) if choice.includes(view, run.entry.connection)),
    )


def list_waiting(view: WorkspaceView, active: tuple[ActiveRun, ...] | None = None) -> tuple[WaitingRun, ...]:
    """Return what waits, in the order in which it is run, and what was asked for and no tick has taken up yet.

    *active* are the runs that work, where somebody knows them already.
    """
    queue = _list_queue(view)
    if not queue:
        return ()
    expected = _expect(view, list_active_runs(view) if active is None else active, queue, [])
    return tuple(_waiting_runs(view, queue, expected))


def _list_queue(view: WorkspaceView) -> list[QueuedRun]:
    return _sorted(view, [*_queue(view), *_asked_for(view)])


def _waiting_runs(
    view: WorkspaceView, queue: list[QueuedRun], expected: Mapping[tuple[str, datetime], ExpectedStart]
) -> Iterator[WaitingRun]:
    for lane, place, entry in _placed(view, queue):
        yield WaitingRun(
            entry=entry,
            is_queued=entry.connection in view.journal_state.waiting,
            lane=lane,
            place=place,
            expected=expected.get((entry.connection, entry.due_at)),
        )


def lane_of(view: WorkspaceView, name: str) -> str:
    """Return the lane of the connection *name*; that of one without a sound file is not known and taken for main."""
    known = view.workspace.connections.get(name)
    return known.lane if known else "main"


def _queue(view: WorkspaceView) -> list[QueuedRun]:
    return _sorted(view, view.journal_state.waiting.values())


def _sorted(view: WorkspaceView, waiting: Iterable[QueuedRun]) -> list[QueuedRun]:
    return queue_order.sort_queue(waiting, view.workspace.connections)


def _asked_for(view: WorkspaceView) -> Iterator[QueuedRun]:
    """Yield what people asked for and no tick has taken up; what waits already takes it in."""
    known = {*view.journal_state.answered}
    for request in requests.read_run_requests(view.state):
        if request.id not in known and request.connection not in view.journal_state.waiting:
            yield request.as_queued(request.asked_at)
    for decision in requests.read_decisions(view.state):
        if decision.id not in known:
            yield decision.as_entry()


def _find_off(view: WorkspaceView, choice: ConnectionFilter) -> Iterator[OffConnection]:
    for name in choice.select(view, find_with(view.workspace.connections, OFF)):
        seen = view.journal_state.off.get(name)
        yield OffConnection(
            connection=name,
            since=instant.parse(seen.at) if seen else None,
            commit=seen.commit if seen else view.workspace.commit,
        )


def _placed(view: WorkspaceView, queue: list[QueuedRun]) -> Iterable[tuple[str, int, QueuedRun]]:
    places: dict[str, int] = {}
    for entry in queue:
        lane = lane_of(view, entry.connection)
        places[lane] = places.get(lane, 0) + 1
        yield lane, places[lane], entry


def _promises(view: WorkspaceView) -> list[tuple[datetime, str]]:
    promises = view.journal_state.promises.items()
    slots = ((promise.next_due, name) for name, promise in promises if promise.next_due is not None)
    return queue_order.sort_slots(slots, view.workspace.connections)


def _expect(
    view: WorkspaceView, active: tuple[ActiveRun, ...], queue: list[QueuedRun], promises: list[tuple[datetime, str]]
) -> dict[tuple[str, datetime], ExpectedStart]:
    """Return when the next runs will start, by connection and slot: those that wait, then those of the slots to come.

    A connection without a past takes no time in this simulation, so no start in its lane is known.
    """
    now = view.clock()
    waiting = ((entry.connection, entry.due_at) for entry in queue)
    ahead = list(chain(waiting, ((name, due) for due, name in promises)))[:PREDICTED]
    arrivals = [queue_order.predict_slot(name, due, view.workspace.connections) for name, due in ahead]
    living = [run for run in active if run.lives]
    unknown = {run.lane for run in living if run.ends_at is None}
    busy = {
        run.lane: (f"{run.connection} #{run.run}", run.ends_at or now + timedelta(seconds=MINUTE)) for run in living
    }
    usual = {
        name: forecast.summarize_durations(run_files.read_durations(view.state, name), guess=0) for name, _ in ahead
    }
    unknown |= {lane_of(view, name) for name in usual if not usual[name].runs}
    visits = forecast.simulate(arrivals, {name: usual[name].median for name in usual}, now=now, busy=busy)
    return {(visit.connection, visit.due_at): _expected(visit, unknown) for visit in visits}


def _expected(visit: PredictedRun, unknown: set[str]) -> ExpectedStart:
    return ExpectedStart(starts_at=None if visit.lane in unknown else visit.starts_at, behind=visit.behind)


# --- in words ----------------------------------------------------------------------------------------------------


def describe_wait(run: WaitingRun, zone: str) -> str:
    """Return what a run in its queue waits for, and how long about."""
    if not run.is_queued:
        return f"asked for by {run.entry.asked_by}; the next tick takes it up"
    if run.expected is None:
        return f"behind more than {PREDICTED} others"
    if not run.expected.behind:
        return "for the next tick"
    starts_at = run.expected.starts_at
    return f"behind {run.expected.behind}" + (f", starts about {time_of_day(starts_at, zone)}" if starts_at else "")


def describe_slot(slot: NextSlot, now: datetime) -> str:
    """Return how far ahead a slot is, and how long its run will wait then."""
    words = _until(slot.due_at, now)
    expected = slot.expected
    if expected is None or expected.starts_at is None or not expected.behind:
        return words
    wait = (expected.starts_at - max(slot.due_at, now)).total_seconds()
    if wait < WORTH_TELLING:
        return words
    return f"{words}; will wait {durations.in_words(wait)} behind {expected.behind}"


def describe_held_run(held: HeldRun) -> str:
    """Return why a run is held, and what it would change."""
    return f"{'; '.join(held.difference.get('reasons', ()))}; it would be {describe_held_change(held.difference)}"


def _until(due: datetime, now: datetime) -> str:
    seconds = (due - now).total_seconds()
    if seconds <= 0:
        return "now: the next tick starts it"
    return f"in {durations.at_a_glance(seconds)}"


# --- JSON --------------------------------------------------------------------------------------------------------


def as_dict(status: Status) -> dict[str, Any]:
    """Return the status as plain data; it is only ever added to."""
    health = status.health
    return {
        "at": instant.text(health.at),
        "last_tick": instant.text(health.last_tick) if health.last_tick else None,
        "running": [active_runs.as_dict(run) for run in status.running],
        "waiting": [_waiting_as_dict(run) for run in status.waiting],
        "next": [
            {
                "connection": slot.connection,
                "due_at": instant.text(slot.due_at),
                **_expected_as_dict(slot.expected),
            }
            for slot in status.coming
        ],
        "ended": [{"connection": one.connection, "last": instant.text(one.last)} for one in status.ended],
        "off": [
            {
                "connection": one.connection,
                "since": instant.text(one.since) if one.since else None,
                "commit": one.commit,
            }
            for one in status.off
        ],
        "failing": [
            {
                "connection": one.connection,
                "outcome": one.outcome,
                "failures": one.failures,
                "since": instant.text(one.since) if one.since else None,
            }
            for one in health.failing
        ],
        "late": [
            {"connection": one.connection, "due_at": instant.text(one.due_at), "waits": one.waits}
            for one in health.late
        ],
        "broken": list(health.broken),
        "unusable": [{"connection": one.connection, "reason": one.reason} for one in health.unusable],
        "trouble": health.trouble,
        "held": [held_as_dict(one) for one in status.held],
        "damaged": [{"name": one.name, "reason": one.words} for one in status.damage],
        "uncommitted": list(status.uncommitted),
        "mail": {"owed": status.mail_owed, "dead": status.mail_dead},
        "last_24h": status.last_day.as_dict(),
    }


def held_as_dict(held: HeldRun) -> dict[str, Any]:
    """Return a held run as plain data."""
    difference = held.difference
    return {
        "connection": held.connection,
        "run": held.run,
        "since": instant.text(held.since),
        "expires_at": instant.text(held.expires_at),
        "reasons": list(difference.get("reasons", ())),
        "counts": dict(difference.get("counts", {})),
        "properties": dict(difference.get("properties", {})),
        "columns": dict(difference.get("columns", {})),
        "digest": held.digest,
    }


def queue_as_dict(queue: Queue) -> dict[str, Any]:
    """Return what works and what waits, as the status shows them."""
    return {
        "at": instant.text(queue.at),
        "running": [active_runs.as_dict(run) for run in queue.running],
        "waiting": [_waiting_as_dict(run) for run in queue.waiting],
    }


def _waiting_as_dict(run: WaitingRun) -> dict[str, Any]:
    return {
        "connection": run.entry.connection,
        "due_at": instant.text(run.entry.due_at),
        "queued_at": instant.text(run.entry.queued_at),
        "trigger": run.entry.trigger,
        "merged": run.entry.merged,
        "missed": run.entry.missed,
        "lane": run.lane,
        "place": run.place,
        "asked_by": run.entry.asked_by,
        "queued": run.is_queued,
        **_expected_as_dict(run.expected),
    }


def health_as_dict(status: Status) -> dict[str, Any]:
    """Return whether all is well, why not, and the status, as plain data."""
    complaints = status.health.complaints
    return {"healthy": not complaints, "complaints": complaints, **as_dict(status)}


def _expected_as_dict(expected: ExpectedStart | None) -> dict[str, Any]:
    if expected is None:
        return {"starts_at": None, "behind": ""}
    return {
        "starts_at": instant.text(expected.starts_at) if expected.starts_at else None,
        "behind": expected.behind,
    }
