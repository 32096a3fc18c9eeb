"""Why did it run, or not? What was decided about one connection, read from the records of the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from connrunner.core import instant, schedules
from connrunner.core.instant import minute
from connrunner.core.planning import due
from connrunner.lazy_dataclasses import dataclass, field

DecisionKind = Literal[
    "on",
    "schedule",
    "off",
    "broken",
    "mended",
    "queued",
    "merged",
    "skipped",
    "dropped",
    "missed",
    "left_out",
    "started",
    "ended",
]
Verdict = Literal[
    "ran",
    "waits",
    "merged",
    "missed",  # no tick looked in time
    "too-late",  # it may not start so long after its slot
    "left-out",  # by a blackout
    "skipped",
    "dropped",
    "off",
    "no-slot",
    "unseen",  # due, and no tick has looked since
    "ahead",
    "unknown",
]

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One thing that was decided, or that happened, at an instant."""

    at: datetime
    kind: DecisionKind
    due_at: datetime | None = None
    missed: int = 0  # slots after *due_at* that passed unseen
    missed_until: datetime | None = None
    merged: int = 0
    run: int | None = None
    lane: str = "main"
    trigger: str = "schedule"
    asked_by: str = ""
    reason: str = ""
    outcome: str = ""
    message: str = ""
    commit: str | None = None
    config: str = ""
    before: datetime | None = None  # when the tick before this one looked
    schedule: Mapping[str, Any] = field(default_factory=dict, hash=False)
    on_since: datetime | None = None

    @property
    def is_late(self) -> bool:
        """True when the slot was seen minutes after it was due, because no tick looked in time."""
        return self.due_at is not None and self.trigger == "schedule" and self.at - self.due_at >= 2 * MINUTE

    @property
    def nobody_looked(self) -> bool:
        """True when no tick looked between the slot and the one that saw it."""
        return self.is_late and (self.before is None or (self.due_at is not None and self.before < self.due_at))

    def covers(self, slot: datetime) -> bool:
        """True when *slot* is one of those that passed unseen behind this one."""
        return self.due_at is not None and self.missed_until is not None and self.due_at < slot <= self.missed_until


def read_decisions(records: Iterable[Mapping[str, Any]], name: str) -> tuple[Decision, ...]:
    """Return what *records*, oldest first, say about the connection *name*."""
    return tuple(_about(records, name))


def _about(records: Iterable[Mapping[str, Any]], name: str) -> Iterator[Decision]:
    known: Mapping[str, Any] | None = None  # the schedule that was promised by
    broken: str | None = None  # a word for the problems of its file
    for record in records:
        match record.get("type"):
            case "planned":
                facts: dict[str, Any] = {
                    "at": instant.parse(record["at"]),
                    "commit": record.get("commit"),
                    "before": instant.parse(record["before"]) if record.get("before") else None,
                }
                if (word := record.get("broken", {}).get(name)) != broken:
                    if word is not None or name in record.get("mended", ()):
                        yield Decision(kind="broken" if word else "mended", **facts)
                    broken = word
                if name in record.get("promises", {}):
                    promise = record["promises"][name]
                    if promise is None:
                        yield Decision(kind="off", **facts)
                    elif promise["schedule"] != known:
                        on_since = instant.parse(promise["on_since"])
                        is_new = on_since == minute(facts["at"])
                        kind: DecisionKind = "on" if is_new or known is None else "schedule"
                        yield Decision(kind=kind, schedule=promise["schedule"], on_since=on_since, **facts)
                    known = promise and promise["schedule"]
                for slot in record.get("slots", ()):
                    if slot["connection"] == name:
                        yield _slot(slot, facts)
            case "started" if record["connection"] == name:
                yield Decision(
                    kind="started",
                    at=instant.parse(record["started_at"]),
                    due_at=instant.parse(record["due_at"]),
                    run=record["run"],
                    lane=record["lane"],
                    trigger=record["trigger"],
                    asked_by=record.get("asked_by", ""),
                    commit=record.get("commit"),
                    config=record.get("config", ""),
                )
            case "ended" if record["run"]["connection"] == name:
                run = record["run"]
                yield Decision(
                    kind="ended",
                    at=instant.parse(run["ended_at"]),
                    due_at=instant.parse(run["due_at"]),
                    run=run["run"],
                    outcome=run["outcome"],
                    message=run.get("message", ""),
                    trigger=run["trigger"],
                    merged=run.get("merged", 0),
                    commit=run.get("commit"),
                )


def _slot(slot: Mapping[str, Any], facts: Mapping[str, Any]) -> Decision:
    return Decision(
        kind=slot["result"],
        due_at=instant.parse(slot["due_at"]),
        missed=slot.get("missed", 0),
        missed_until=instant.parse(slot["missed_until"]) if slot.get("missed_until") else None,
        trigger=slot.get("trigger", "schedule"),
        asked_by=slot.get("asked_by", ""),
        reason=slot.get("reason", ""),
        **facts,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a connection ran, or did not, at an instant."""

    at: datetime
    verdict: Verdict
    decision: Decision | None = None  # what was decided about the slot, or the switching that held
    started: Decision | None = None  # the start of the run that stands for it
    ended: Decision | None = None
    slot: datetime | None = None  # the slot at that instant, if there was one
    earlier: datetime | None = None  # the slots around it when there was none
    later: datetime | None = None


OF_SLOTS = ("queued", "merged", "skipped", "dropped", "missed", "left_out")
WITHOUT_A_RUN: Mapping[str, Verdict] = {"missed": "too-late", "left_out": "left-out"}


def explain_instant(decisions: Iterable[Decision], at: datetime, *, now: datetime) -> Explanation:
    """Return why it ran, or did not, at *at*: what was decided about the slot of that minute, else about its run.

    *now* tells slots to come from those that no tick has looked at.
    """
    known = list(decisions)
    slot = minute(at)
    of_slots = [one for one in known if one.kind in OF_SLOTS and one.trigger == "schedule"]
    # What a tick counted whose clock was ahead has been decided by itself since: that one says what became of it.
    for decision in of_slots:
        if decision.due_at == slot:
            return _decided(known, decision, slot)
    for decision in of_slots:
        if decision.covers(slot) and _is_among(known, slot, decision):
            started, ended = _run_of(known, decision)
            verdict = WITHOUT_A_RUN.get(decision.kind, "missed")
            return Explanation(at=at, verdict=verdict, decision=decision, started=started, ended=ended, slot=slot)
    working = _working(known, at)
    if working is not None:
        queued = _queued_for(known, working)
        return Explanation(at=at, verdict="ran", decision=queued, started=working, ended=_end_of(known, working))
    state = _state_at(known, at)
    if state is None:
        return Explanation(at=at, verdict="unknown")
    if state.kind == "off":
        return Explanation(at=at, verdict="off", decision=state)
    schedule = schedules.parse(state.schedule, "UTC")
    if slot in schedules.between(schedule, slot - MINUTE, slot, on_since=state.on_since):
        return Explanation(at=at, verdict="ahead" if slot > now else "unseen", decision=state, slot=slot)
    since = state.on_since or state.at
    earlier = due.last_between(schedule, since - MINUTE, slot - MINUTE, since)
    later = schedules.next_after(schedule, slot, on_since=since)
    is_left_out = any(schedules.left_out_between(schedule, slot - MINUTE, slot, on_since=since))
    verdict = "left-out" if is_left_out else "no-slot"
    return Explanation(at=at, verdict=verdict, decision=state, earlier=earlier, later=later)


def _decided(known: list[Decision], decision: Decision, slot: datetime) -> Explanation:
    if decision.kind in WITHOUT_A_RUN:
        return Explanation(at=slot, verdict=WITHOUT_A_RUN[decision.kind], decision=decision, slot=slot)
    started, ended = _run_of(known, decision)
    verdict: Verdict
    match decision.kind:
        case "merged" | "skipped" | "dropped":
            verdict = decision.kind
        case _:
            gone = None if started else _first(known, decision, "dropped") or _first(known, decision, "missed")
            if gone is not None:
                return Explanation(at=slot, verdict=WITHOUT_A_RUN.get(gone.kind, "dropped"), decision=gone, slot=slot)
            verdict = "ran" if started else "skipped" if ended else "waits"
    return Explanation(at=slot, verdict=verdict, decision=decision, started=started, ended=ended, slot=slot)


def _run_of(known: list[Decision], decision: Decision) -> tuple[Decision | None, Decision | None]:
    """Return the start and the end of the run that stands for the slot of *decision*."""
    if decision.kind == "merged":
        working = _working(known, decision.at)
        if working is not None:
            return working, _end_of(known, working)
    if decision.kind in ("queued", "merged"):
        for later in known[known.index(decision) + 1 :]:
            if later.kind == "started":
                return later, _end_of(known, later)
            if later.kind == "dropped":
                return None, None
            if later.kind == "ended" and later.due_at == decision.due_at:
                return None, later
    if decision.kind == "skipped":
        ends = (one for one in known[known.index(decision) :] if one.kind == "ended" and one.due_at == decision.due_at)
        return None, next(ends, None)
    return None, None


def _first(known: list[Decision], decision: Decision, kind: DecisionKind) -> Decision | None:
    """Return the first *kind* behind *decision* that is about the same entry of the queue."""
    later = known[known.index(decision) + 1 :]
    return next((one for one in later if one.kind == kind and one.due_at == decision.due_at), None)


def _working(known: list[Decision], at: datetime) -> Decision | None:
    """Return the start of the run that worked at *at*; of those that did within its minute the newest, else."""
    ends = {one.run: one for one in known if one.kind == "ended"}
    starts = [(one, ends.get(one.run)) for one in known if one.kind == "started"]
    exact = [start for start, end in starts if start.at <= at and (end is None or at <= end.at)]
    near = [start for start, end in starts if minute(start.at) <= minute(at) and (end is None or minute(at) <= end.at)]
    same = [start for start, _ in starts if minute(start.at) == minute(at)]
    return next((found[-1] for found in (exact, near, same) if found), None)


def _end_of(known: list[Decision], start: Decision) -> Decision | None:
    return next((one for one in known if one.kind == "ended" and one.run == start.run), None)


def _queued_for(known: list[Decision], start: Decision) -> Decision | None:
    """Return the decision by which the run that *start* began came into the queue."""
    before = known[: known.index(start)]
    return next((one for one in reversed(before) if one.kind == "queued" and one.due_at == start.due_at), None)


def _state_at(known: list[Decision], at: datetime) -> Decision | None:
    """Return the newest switching or schedule at *at*."""
    states = [one for one in known if one.kind in ("on", "off", "schedule")]
    return next((one for one in reversed(states) if minute(one.at) <= at), None)


def _is_among(known: list[Decision], slot: datetime, decision: Decision) -> bool:
    """Tell whether *slot* is one of those that *decision* counts: a slot, or what a blackout left out."""
    state = _state_at(known, decision.at)
    if state is None or state.kind == "off":
        return False
    schedule = schedules.parse(state.schedule, "UTC")
    look = schedules.left_out_between if decision.kind == "left_out" else schedules.between
    return slot in look(schedule, slot - MINUTE, slot, on_since=state.on_since)


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneHolder:
    """A run that held a lane for a while."""

    connection: str
    run: int
    started_at: datetime
    ended_at: datetime | None


def find_lane_holders(
    records: Iterable[Mapping[str, Any]], lane: str, *, start: datetime, end: datetime
) -> tuple[LaneHolder, ...]:
    """Return the runs that held *lane* between two instants, by their start: what a waiting run waited for."""
    found: dict[tuple[str, int], LaneHolder] = {}
    for record in records:
        if record.get("type") == "started" and record["lane"] == lane:
            at = instant.parse(record["started_at"])
            if at < end:
                key = (record["connection"], record["run"])
                found[key] = LaneHolder(connection=key[0], run=key[1], started_at=at, ended_at=None)
        elif record.get("type") == "ended":
            key = (record["run"]["connection"], record["run"]["run"])
            ended_at = instant.parse(record["run"]["ended_at"])
            if key in found and ended_at <= start:
                del found[key]
            elif key in found:
                began = found[key].started_at
                found[key] = LaneHolder(connection=key[0], run=key[1], started_at=began, ended_at=ended_at)
    return tuple(sorted(found.values(), key=lambda holder: holder.started_at))
