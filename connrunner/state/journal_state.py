"""The state that the records of the journal fold into: promises, the queue, started runs, owed mail, alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from connrunner.core import held_runs, instant, run_records
from connrunner.core.alerts import alert_state, rules
from connrunner.core.alerts import notice as notices
from connrunner.core.alerts.alert_state import AlertState
from connrunner.core.alerts.notice import Notice
from connrunner.core.held_runs import HeldRun
from connrunner.core.model import GRACE, Notify, QueuedRun, Run, RunIntent
from connrunner.core.planning.due import Promise, TickPlan
from connrunner.core.planning.stretches import Stretch
from connrunner.lazy_dataclasses import dataclass, field, fields, replace

KEPT_DEAD_LETTERS = 100
KEPT_ANSWERS = 200
TOO_LATE = "too-late"  # the code of a run that was not started for that reason


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedRun:
    """A run whose intent is recorded and whose end is not. The lock of its lane says whether it lives."""

    entry: QueuedRun
    intent: RunIntent
    lane: str
    mark: str = ""  # what every process of the run carries in its environment
    grace: int = GRACE  # seconds that its processes have to end
    notify: tuple[Notify, ...] | None = None  # who is told how it ends; None: an older version did not say
    executor: Mapping[str, Any] | None = None  # where it lives, as its file said then; None: on this machine

    @property
    def connection(self) -> str:
        return self.entry.connection

    @property
    def run(self) -> int:
        return self.intent.run

    @property
    def started_at(self) -> datetime:
        assert self.intent.started_at is not None, "its record has been read"
        return self.intent.started_at


@dataclass(frozen=True, kw_only=True, slots=True)
class OwedNotice:
    """A notice that is owed, with what is known of its delivery."""

    notice: Notice
    at: str  # when it became owed
    run: Run | None = None  # the run whose end owes it
    deliveries: tuple[Mapping[str, Any], ...] = ()


SlotKey = tuple[str, str, datetime]


def key_of_slot(entry: QueuedRun) -> SlotKey:
    """Return what no two entries of the queue share: connection, trigger, and when it was due."""
    return entry.connection, entry.trigger, entry.due_at


class MissedSlot(NamedTuple):
    """A slot that it was too late for, and why."""

    entry: QueuedRun
    reason: str


class DeclinedChange(NamedTuple):
    """What somebody declined last of a connection: a run that would change the same is not held for it again."""

    digest: str
    words: str  # who declined which run, and why


class OffSince(NamedTuple):
    """When a tick first saw a connection switched off, and by which commit of the workspace."""

    at: str
    commit: str | None


@dataclass(slots=True)
class JournalState:
    """The state after all records of the journal."""

    promises: dict[str, Promise] = field(default_factory=dict)
    former: dict[str, Promise] = field(default_factory=dict)  # the last ones of connections that are OFF or gone
    seen: datetime | None = None  # the newest instant of a tick that recorded something, by the clock as it is now
    waiting: dict[str, QueuedRun] = field(default_factory=dict)  # by connection: one at most [R9]
    started: dict[str, StartedRun] = field(default_factory=dict)  # by connection
    skipped: dict[SlotKey, QueuedRun] = field(default_factory=dict)  # without a start; their end is not recorded yet
    missed: dict[str, MissedSlot] = field(default_factory=dict)  # the same, for slots that it was too late for
    numbers: dict[str, int] = field(default_factory=dict)  # the newest run number of each connection
    owed: dict[str, OwedNotice] = field(default_factory=dict)  # by notice id
    dead: list[dict[str, Any]] = field(default_factory=list)  # mail that was given up: the newest ones
    broken_seen: dict[str, str] = field(default_factory=dict)  # connection -> the problems that a tick printed
    broken_mailed: dict[str, str] = field(default_factory=dict)  # connection -> the problems that were mailed
    ended_told: list[str] = field(default_factory=list)  # connections of which it was told that their schedule ended
    last_outcome: dict[str, str] = field(default_factory=dict)
    damaged: list[int] = field(default_factory=list)  # where the journal has damage that was reported
    lost_at: str = ""  # when the journal before this one was found gone; a rotated journal does not know it any more
    alerts: AlertState = field(default_factory=AlertState)
    off: dict[str, OffSince] = field(default_factory=dict)  # the connections that a tick has seen switched off
    held: dict[str, HeldRun] = field(default_factory=dict)  # by connection: what waits for a decision
    declined: dict[str, DeclinedChange] = field(default_factory=dict)  # by connection
    answered: list[str] = field(default_factory=list)  # the newest requests taken in: none is taken in twice

    def awaits_end_of(self, run: Run) -> bool:
        """Tell whether history has *run* because a crash came between history and the record of its end."""
        if run.intent.started_at is not None:
            return False
        entries = (*self.waiting.values(), *self.skipped.values(), *(one.entry for one in self.missed.values()))
        return any(key_of_slot(entry) == key_of_slot(run.entry) for entry in entries)


def copy_state(state: JournalState) -> JournalState:
    """Return *state* as it is now: what is applied to it later does not change the copy.

    Values that are replaced as a whole are shared.
    """
    alerts = AlertState(**{key: _copy_containers(value) for key, value in state.alerts.as_dict().items()})
    own = {each.name: _copy_container(getattr(state, each.name)) for each in fields(JournalState)}
    return JournalState(**{**own, "alerts": alerts})


def _copy_container(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value


def _copy_containers(value: Any) -> Any:
    """Copy a mapping and what it holds: alarms and windows are changed where they are."""
    return {key: _copy_container(item) for key, item in value.items()} if isinstance(value, dict) else value


def apply_record(state: JournalState, record: Mapping[str, Any]) -> None:
    """Add one *record*. Unknown types are left out: they come from a newer version of the same format."""
    match record.get("type"):
        case "planned":
            _planned(state, record)
        case "noticed":
            _told(state, record)
            _remind(state, record)
            _owes(state, record)
        case "started":
            started = _started_from(record)
            state.started[started.connection] = started
            if started.entry.is_decision:  # it never stood in the queue
                _answer(state, started.entry.request)
            else:
                state.waiting.pop(started.connection, None)
            state.numbers[started.connection] = max(started.run, state.numbers.get(started.connection, 0))
        case "ended":
            _ended(state, record)
        case "delivered":
            _delivered(state, record)
        case "damaged":
            state.damaged.append(record["offset"])
            if not record["length"]:
                state.lost_at = record.get("at", "")
        case "retried":
            _retried(state, record)
            _delivered(state, record)
        case "dropped":
            _delivered(state, record)
            _forget_dead(state, record)
        case "snapshot":
            _restore(state, record)


def _answer(state: JournalState, request: str) -> None:
    if request not in state.answered[-1:]:  # one may ask for many connections
        state.answered.append(request)
        del state.answered[:-KEPT_ANSWERS]


def _planned(state: JournalState, record: Mapping[str, Any]) -> None:
    for name, promise in record.get("promises", {}).items():
        if promise is not None:
            state.promises[name] = promise_from(promise)
            state.off.pop(name, None)
            state.former.pop(name, None)
            state.off.pop(name, None)
        elif name in state.promises:
            state.former[name] = state.promises.pop(name)
    for name in record.get("off", ()):
        state.off[name] = OffSince(record["at"], record.get("commit"))
    _see(state, record)
    for name, number in record.get("histories", {}).items():
        state.numbers[name] = max(number, state.numbers.get(name, 0))
    if "broken" in record:
        state.broken_seen = record["broken"]
    _told(state, record)
    for name, digest in record.get("digests", {}).items():
        if digest is None:
            state.alerts.digests.pop(name, None)
        else:
            state.alerts.digests[name] = digest
    _owes(state, record)
    for slot in record.get("slots", ()):
        name = slot["connection"]
        if slot.get("request"):
            _answer(state, slot["request"])
        match slot["result"]:
            case "queued":
                state.waiting[name] = run_records.entry_from(slot)
            case "merged" if name in state.waiting:
                state.waiting[name] = _merge(state.waiting[name], slot)
            case "merged" if name in state.started:
                started = state.started[name]
                state.started[name] = replace(started, entry=_merge(started.entry, slot))
            case "skipped":
                if _is_waiting(state, slot):
                    state.waiting.pop(name)
                entry = run_records.entry_from(slot)
                state.skipped[key_of_slot(entry)] = entry
            case "dropped" if _is_waiting(state, slot):  # not a request that came to nothing while another run waits
                state.waiting.pop(name)
            case "missed":
                if _is_waiting(state, slot):
                    state.waiting.pop(name)
                state.missed[name] = MissedSlot(run_records.entry_from(slot), slot["reason"])


def _told(state: JournalState, record: Mapping[str, Any]) -> None:
    if "broken_told" in record:
        state.broken_mailed = record["broken_told"]
    if "ended_told" in record:
        state.ended_told = record["ended_told"]


def _see(state: JournalState, record: Mapping[str, Any]) -> None:
    """Note the instant of a tick; one that found the clock set back goes by the clock as it is now."""
    at = instant.parse(record["at"])
    if state.seen is None or at > state.seen or record.get("clock_was"):
        state.seen = at


def _is_waiting(state: JournalState, slot: Mapping[str, Any]) -> bool:
    """Tell whether *slot* is the one in the queue: a newer or a manual run may wait instead."""
    entry = state.waiting.get(slot["connection"])
    if entry is None:
        return False
    said = (slot["trigger"], slot["due_at"], slot.get("request", ""))
    return (entry.trigger, instant.text(entry.due_at), entry.request) == said


def _merge(entry: QueuedRun, slot: Mapping[str, Any]) -> QueuedRun:
    notify = entry.notify
    if slot["trigger"] == "manual":  # people asked for what waited by its schedule
        notify = rules.from_list(slot.get("notify", ())) or notify or ()
    return replace(entry, merged=entry.merged + 1 + slot.get("missed", 0), notify=notify)


def _ended(state: JournalState, record: Mapping[str, Any]) -> None:
    run = run_records.from_mapping(record["run"])
    started = state.started.get(run.connection)
    if started is not None and started.run == run.run:
        del state.started[run.connection]
    elif record.get("dequeued"):  # it ended without a start: its connection could not be used
        state.waiting.pop(run.connection, None)
    elif run.result.code == TOO_LATE:
        state.missed.pop(run.connection, None)
    else:
        state.skipped.pop(key_of_slot(run.entry), None)
    if "answers" in record:  # a request of which nothing has started
        _answer(state, record["answers"])
    state.numbers[run.connection] = max(run.run, state.numbers.get(run.connection, 0))
    _hold(state, run)
    if run.is_about_health:
        state.last_outcome[run.connection] = str(run.outcome)
    if record.get("broken"):  # an older release told of it so
        state.broken_mailed[run.connection] = record["broken"]
    _owes(state, record, run)
    alert_state.record_run(state.alerts, run)


def _hold(state: JournalState, run: Run) -> None:
    """Note what *run* holds, or that it leaves nothing to decide about."""
    name = run.connection
    known = state.held.get(name)
    if (held := held_runs.held_from(run, known)) is not None:
        state.held[name] = held
        state.declined.pop(name, None)
    elif run.entry.trigger == "decline":
        if run.result.code == held_runs.DECLINED and known is not None and known.run == run.result.detail["declined"]:
            state.declined[name] = DeclinedChange(known.digest, run.result.message)
            del state.held[name]
    elif held_runs.settles(run):
        state.held.pop(name, None)
        state.declined.pop(name, None)


def _remind(state: JournalState, record: Mapping[str, Any]) -> None:
    for name, run in record.get("reminded", {}).items():
        if (held := state.held.get(name)) is not None and held.run == run:
            state.held[name] = replace(held, reminded=instant.parse(record["at"]))


def _owes(state: JournalState, record: Mapping[str, Any], run: Run | None = None) -> None:
    at = record["at"]
    for data in record.get("owes", ()):
        notice = notices.from_mapping(data)
        state.owed[notice.id] = OwedNotice(notice=notice, at=at, run=run)
        alert_state.record_notice(state.alerts, notice, at)
    for data in record.get("folds", ()):
        alert_state.record_notice(state.alerts, notices.from_mapping(data), at, folded=True, message=data["message"])


def _delivered(state: JournalState, record: Mapping[str, Any]) -> None:
    owed = state.owed.get(record["notice"])
    if owed is None:
        return
    delivery = {key: value for key, value in record.items() if key not in ("v", "type")}
    delivery.setdefault("result", record["type"])
    owed = replace(owed, deliveries=(*owed.deliveries, delivery))
    state.owed[owed.notice.id] = owed
    ledger = notices.fold_deliveries(owed.notice, owed.deliveries, instant.parse(record["at"]))
    if ledger.settled:
        del state.owed[owed.notice.id]
        state.dead.extend(
            {
                "connection": owed.notice.connection,
                "run": owed.notice.run,
                "recipient": dead_letter.recipient,
                "reason": dead_letter.reason,
                "at": instant.text(dead_letter.at),
                "attempts": dead_letter.attempts,
                "owed_at": owed.at,
                "notice": owed.notice.as_dict(),
            }
            for dead_letter in ledger.dead
        )
        del state.dead[:-KEPT_DEAD_LETTERS]


def _retried(state: JournalState, record: Mapping[str, Any]) -> None:
    """Owe a notice that was given up once more, to the one recipient."""
    for dead_letter in _forget_dead(state, record):
        if record["notice"] not in state.owed:
            notice = replace(notices.from_mapping(dead_letter["notice"]), recipients=(dead_letter["recipient"],))
            state.owed[notice.id] = OwedNotice(notice=notice, at=dead_letter["owed_at"])


def _forget_dead(state: JournalState, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    def is_meant(dead_letter: Mapping[str, Any]) -> bool:
        identity = dead_letter.get("notice", {}).get("id")
        return bool(identity == record["notice"] and dead_letter["recipient"] == record["recipient"])

    found = [dead_letter for dead_letter in state.dead if is_meant(dead_letter)]
    state.dead = [dead_letter for dead_letter in state.dead if not is_meant(dead_letter)]
    return found


def next_attempt(owed: OwedNotice, now: datetime) -> datetime | None:
    """Return when the next attempt of an owed mail is due: *now* when one is due already."""
    ledger = notices.fold_deliveries(owed.notice, owed.deliveries, now)
    return now if ledger.due else ledger.next_at


def as_snapshot(state: JournalState) -> dict[str, Any]:
    """Return *state* as the snapshot that a journal can begin with."""
    return {
        "promises": {name: promise_as_dict(promise) for name, promise in state.promises.items()},
        "former": {name: promise_as_dict(promise) for name, promise in state.former.items()},
        "seen": state.seen and instant.text(state.seen),
        "waiting": [run_records.entry_as_dict(entry) for entry in state.waiting.values()],
        "started": [started_as_dict(entry) for entry in state.started.values()],
        "skipped": [run_records.entry_as_dict(entry) for entry in state.skipped.values()],
        "missed": [{**run_records.entry_as_dict(entry), "reason": reason} for entry, reason in state.missed.values()],
        "numbers": dict(state.numbers),
        "owed": [
            {
                "notice": owed.notice.as_dict(),
                "at": owed.at,
                "run": owed.run and run_records.as_dict(owed.run),
                "deliveries": [dict(delivery) for delivery in owed.deliveries],
            }
            for owed in state.owed.values()
        ],
        "dead": list(state.dead),
        "broken_seen": dict(state.broken_seen),
        "broken_mailed": dict(state.broken_mailed),
        "ended_told": list(state.ended_told),
        "last_outcome": dict(state.last_outcome),
        "told": state.alerts.as_dict(),
        "off": {name: list(since) for name, since in state.off.items()},
        **({"held": [held.as_dict() for held in state.held.values()]} if state.held else {}),
        **({"declined": {name: list(one) for name, one in state.declined.items()}} if state.declined else {}),
        "answered": list(state.answered),
    }


def _restore(state: JournalState, record: Mapping[str, Any]) -> None:
    state.promises = {name: promise_from(data) for name, data in record["promises"].items()}
    state.former = {name: promise_from(data) for name, data in record.get("former", {}).items()}
    state.seen = instant.parse(record["seen"]) if record.get("seen") else None
    state.waiting = {data["connection"]: run_records.entry_from(data) for data in record["waiting"]}
    state.started = {data["connection"]: _started_from(data) for data in record["started"]}
    skipped = map(run_records.entry_from, record.get("skipped", ()))
    state.skipped = {key_of_slot(entry): entry for entry in skipped}
    missed = record.get("missed", ())
    state.missed = {data["connection"]: MissedSlot(run_records.entry_from(data), data["reason"]) for data in missed}
    state.numbers = dict(record["numbers"])
    state.owed = {}
    for data in record["owed"]:
        notice = notices.from_mapping(data["notice"])
        run = run_records.from_mapping(data["run"]) if data["run"] else None
        at = data.get("at") or data["run"]["ended_at"]
        state.owed[notice.id] = OwedNotice(notice=notice, at=at, run=run, deliveries=tuple(data["deliveries"]))
    state.dead = list(record["dead"])
    state.broken_seen = dict(record["broken_seen"])
    state.broken_mailed = dict(record["broken_mailed"])
    state.ended_told = list(record.get("ended_told", ()))
    state.last_outcome = dict(record["last_outcome"])
    state.alerts = alert_state.from_mapping(record.get("told", {}))
    state.off = {name: OffSince(*since) for name, since in record.get("off", {}).items()}
    state.held = {data["connection"]: held_runs.from_mapping(data) for data in record.get("held", ())}
    state.declined = {name: DeclinedChange(*one) for name, one in record.get("declined", {}).items()}
    state.answered = list(record["answered"])


def promise_as_dict(promise: Promise) -> dict[str, Any]:
    return {
        "on_since": instant.text(promise.on_since),
        "schedule": dict(promise.schedule),
        "next_due": instant.text(promise.next_due) if promise.next_due else None,
        "last_due": instant.text(promise.last_due) if promise.last_due else None,
        "zones": promise.zones,
        **({"left_out": instant.text(promise.left_out)} if promise.left_out else {}),
        **({} if promise.recorded is None else {"recorded": [_stretch_as_list(each) for each in promise.recorded]}),
    }


def _stretch_as_list(stretch: Stretch) -> list[str]:
    return [instant.text(stretch.first), instant.text(stretch.last)]


def promise_from(data: Mapping[str, Any]) -> Promise:
    return Promise(
        on_since=instant.parse(data["on_since"]),
        schedule=data["schedule"],
        next_due=instant.parse(data["next_due"]) if data["next_due"] else None,
        last_due=instant.parse(data["last_due"]) if data["last_due"] else None,
        zones=data["zones"],
        left_out=instant.parse(data["left_out"]) if data.get("left_out") else None,
        recorded=_stretches_from(data["recorded"]) if "recorded" in data else None,
    )


def _stretches_from(data: Iterable[Iterable[str]]) -> tuple[Stretch, ...]:
    return tuple(Stretch(*map(instant.parse, each)) for each in data)


def plan_as_record(
    plan: TickPlan, *, at: str, before: datetime | None = None, clock_was: datetime | None = None
) -> dict[str, Any]:
    """Return the one record that holds all that a tick decided: slots and new promises cannot part.

    *before* is when the tick before this one looked; *clock_was* is what the clock had shown before it went back.
    """
    return {
        "type": "planned",
        "at": at,
        "before": instant.text(before) if before else None,
        **({"clock_was": instant.text(clock_was)} if clock_was else {}),
        "promises": {name: promise and promise_as_dict(promise) for name, promise in plan.promises.items()},
        "slots": [
            {
                **run_records.entry_as_dict(slot.entry),
                "result": slot.result,
                "reason": slot.reason,
                "missed_until": instant.text(slot.missed_until) if slot.missed_until else None,
            }
            for slot in plan.slots
        ],
    }


def started_as_dict(started: StartedRun) -> dict[str, Any]:
    """Return the intent as its record says it."""
    intent = run_records.intent_as_dict(started.intent)
    run = intent.pop("run")
    return {
        **run_records.entry_as_dict(started.entry),
        "run": run,
        "lane": started.lane,
        **intent,
        "mark": started.mark,
        **({"grace": started.grace} if started.grace != GRACE else {}),
        **({} if started.notify is None else {"notify": rules.as_list(started.notify)}),
        **({} if started.executor is None else {"executor": dict(started.executor)}),
    }


def _started_from(data: Mapping[str, Any]) -> StartedRun:
    intent = run_records.intent_from(data)
    if intent.started_at is None:
        raise ValueError("a run that has started says when")
    return StartedRun(
        entry=run_records.entry_from(data),
        intent=intent,
        lane=data["lane"],
        mark=data.get("mark", ""),
        grace=int(data.get("grace", GRACE)),
        notify=rules.from_list(data["notify"]) if "notify" in data else None,
        executor=data.get("executor"),
    )
