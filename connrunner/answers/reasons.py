"""What decisions say to people: one line for each, and the whole answer to "why did it run, or not?"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from connrunner.answers.active_runs import time_of_day
from connrunner.core import instant, schedules
from connrunner.core.instant import minute
from connrunner.core.planning.decisions import Decision, Explanation, LaneHolder, Verdict
from connrunner.core.schedules import notation
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations
from connrunner.text.words import plural


def summarize_decisions(decisions: Sequence[Decision], zone: str) -> list[tuple[datetime, str]]:
    """Return decisions in words, oldest first: what became of one entry of the queue is one line."""
    found: list[tuple[datetime, str]] = []
    taken: set[Decision] = set()
    for place, decision in enumerate(decisions):
        if decision in taken:
            continue
        words = [describe_decision(decision, zone)]
        if decision.kind in ("queued", "skipped", "started"):
            for later in decisions[place + 1 :]:
                if later.due_at != decision.due_at or later.kind not in ("started", "ended", "dropped", "missed"):
                    continue
                taken.add(later)
                if later.kind != "started":
                    words.append(describe_decision(later, zone))
                    break
        found.append((decision.at, "; ".join(words)))
    return found


def describe_decision(decision: Decision, zone: str) -> str:
    """Return one decision in words."""
    match decision.kind:
        case "queued":
            return "; ".join([_cause(decision, zone), *_lateness(decision, zone)])
        case "merged" | "skipped" | "dropped" | "missed" | "left_out":
            return _slot_line(decision, zone)
        case "started":
            return f"run {decision.run} started{_by(decision)}"
        case "ended":
            message = f": {decision.message}" if decision.message else ""
            return f"run {decision.run} ended {decision.outcome}{message}"
        case _:
            return _file_line(decision)


def _file_line(decision: Decision) -> str:
    """Return what became of the connection's file, or of its schedule."""
    match decision.kind:
        case "on":
            began = "switched on" if decision.on_since == minute(decision.at) else "on"
            return f"{began}: {_schedule(decision)}{_by(decision)}"
        case "schedule":
            return f"another schedule: {_schedule(decision)}{_by(decision)}"
        case "off":
            return f"switched off{_by(decision)}"
        case "broken":
            return f"its file is broken{_by(decision)}: its slots are skipped until it is fixed"
        case _:
            return f"its file is fixed{_by(decision)}"


def _slot_line(decision: Decision, zone: str) -> str:
    """Return what became of a slot that has no run of its own."""
    if decision.kind == "left_out":
        until = f" (and {decision.missed:,} more)" if decision.missed else ""
        return f"no slot at {_at(decision.due_at, zone)}{until}: {decision.reason}"
    slot = "the request" if decision.trigger == "manual" else f"the slot of {_at(decision.due_at, zone)}"
    return "; ".join([f"{slot} was {decision.kind}: {decision.reason}", *_lateness(decision, zone)])


# --- why it ran, or did not --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What the sentences about an explanation need beside it."""

    zone: str  # for times
    last_tick: datetime | None = None
    recorded_since: str | None = None  # the oldest instant about which decisions are kept
    holders: tuple[LaneHolder, ...] = ()  # the runs that it waited for


def explain_decision(answer: Explanation, known: Circumstances) -> list[str]:
    """Return the answer to "why did it run, or not?" in sentences, the shortest first."""
    of_verdict = SENTENCES.get(answer.verdict)
    found = list(of_verdict(answer, known)) if of_verdict else []
    decision = answer.decision
    if decision is not None and answer.verdict in ("ran", "merged", "skipped"):
        if decision.nobody_looked:
            found.append(f"It was seen {_late(decision)} late. {_gap(decision, known.zone)}")
        if decision.missed:
            until = _at(decision.missed_until, known.zone)
            found.append(f"{_later(decision.missed)} passed unseen meanwhile, until {until}.")
    return [*found, *_waited(answer, known)]


def _ran(answer: Explanation, known: Circumstances) -> Iterator[str]:
    started, ended, zone = answer.started, answer.ended, known.zone
    assert started is not None
    why = f"asked for by {started.asked_by}" if started.trigger == "manual" else f"due for {_at(started.due_at, zone)}"
    yield f"It ran: run {started.run}, {why}, started at {instant.local(started.at, zone)}."
    if ended is None:
        yield "Its end is not recorded: it works, or was cut off (see `connrunner status`)."
        return
    message = f": {ended.message}" if ended.message else ""
    yield f"It ended {ended.outcome} at {instant.local(ended.at, zone)}{message}"
    if ended.merged:
        were = "was" if ended.merged == 1 else "were"
        yield f"{plural(ended.merged, 'slot')} that fell due meanwhile {were} merged into it."


def _waits(_answer: Explanation, _known: Circumstances) -> Iterator[str]:
    yield "It is in the queue: it was due, and has not started."


def _merged(answer: Explanation, _known: Circumstances) -> Iterator[str]:
    if decision := answer.decision:
        yield f"It had no run of its own: the slot was merged, for {decision.reason}.{_stands_for(answer)}"


def _missed(answer: Explanation, known: Circumstances) -> Iterator[str]:
    if decision := answer.decision:
        yield f"It did not run then: nobody looked. {_gap(decision, known.zone)}"
        run = answer.started or answer.ended
        which = f"run {run.run}" if run is not None else f"what it {decision.kind} then"
        slots = f"the slot of {_at(decision.due_at, known.zone)} and {_later(decision.missed)}"
        yield f"The tick at {_at(decision.at, known.zone)} found it: {which} stands for {slots}."


def _too_late(answer: Explanation, known: Circumstances) -> Iterator[str]:
    if decision := answer.decision:
        yield f"It did not run, for it was too late: {decision.reason} (`start_within`)."
        if decision.nobody_looked:
            yield _gap(decision, known.zone)


def _left_out(answer: Explanation, known: Circumstances) -> Iterator[str]:
    if decision := answer.decision:
        schedule = "" if decision.kind == "left_out" else f" Its schedule was {_schedule(decision)}."
        yield f"It was left out: {decision.reason or 'a blackout of its schedule'}.{schedule}"
        yield from _near(answer, known.zone)


def _skipped(answer: Explanation, _known: Circumstances) -> Iterator[str]:
    decision, ended = answer.decision, answer.ended
    if decision is not None and decision.reason:
        yield f"It could not run: {decision.reason}."
        if ended and ended.message:
            yield ended.message
    elif ended is not None:
        yield f"It was {ended.outcome} before it started: {ended.message or 'nobody knows why'}"


def _dropped(answer: Explanation, known: Circumstances) -> Iterator[str]:
    if decision := answer.decision:
        when = _at(decision.at, known.zone)
        yield f"It waited and was taken out of the queue at {when}: {decision.reason}."


def _off(answer: Explanation, known: Circumstances) -> Iterator[str]:
    if decision := answer.decision:
        when = _at(decision.at, known.zone)
        yield f"It was off: switched off at {when}{_by(decision)}. Nothing is caught up."


def _no_slot(answer: Explanation, known: Circumstances) -> Iterator[str]:
    if decision := answer.decision:
        yield f"It had no slot then. Its schedule was {_schedule(decision)}."
        yield from _near(answer, known.zone)


def _unseen(_answer: Explanation, known: Circumstances) -> Iterator[str]:
    last = known.last_tick
    looked = f"the last one looked at {_at(last, known.zone)}" if last else "none has ever looked"
    yield f"It was due, and no tick has seen it: {looked}. Is cron, or a timer, calling `connrunner tick`?"


def _ahead(_answer: Explanation, _known: Circumstances) -> Iterator[str]:
    yield "It will be due then."


def _unknown(_answer: Explanation, known: Circumstances) -> Iterator[str]:
    if known.recorded_since is None:
        yield "Nobody knows: no tick has decided anything yet."
    else:
        since = _at(instant.parse(known.recorded_since), known.zone)
        yield f"Nobody knows: what was decided is kept since {since}."


SENTENCES: Mapping[Verdict, Callable[[Explanation, Circumstances], Iterator[str]]] = {
    "ran": _ran,
    "waits": _waits,
    "merged": _merged,
    "missed": _missed,
    "too-late": _too_late,
    "left-out": _left_out,
    "skipped": _skipped,
    "dropped": _dropped,
    "off": _off,
    "no-slot": _no_slot,
    "unseen": _unseen,
    "ahead": _ahead,
    "unknown": _unknown,
}


def _near(answer: Explanation, zone: str) -> Iterator[str]:
    near = [("the slot before", answer.earlier), ("the one after", answer.later)]
    if slots := [f"{words}: {_at(slot, zone)}" for words, slot in near if slot is not None]:
        yield "; ".join(slots) + "."


def _stands_for(answer: Explanation) -> str:
    if answer.started is not None:
        return f" Run {answer.started.run} stands for it."
    return "" if answer.ended is None else f" Run {answer.ended.run} stands for it."


def _waited(answer: Explanation, known: Circumstances) -> Iterator[str]:
    decision, started = answer.decision, answer.started
    if decision is None or started is None or decision.kind != "queued":
        return
    seconds = (started.at - decision.at).total_seconds()
    if seconds < 1:
        return
    names = [f"{one.connection} #{one.run} (from {time_of_day(one.started_at, known.zone)})" for one in known.holders]
    behind = f" behind {', '.join(names)}" if names else ""
    yield f"It waited {durations.in_words(seconds)} in lane {started.lane}{behind}."


# --- parts of sentences ------------------------------------------------------------------------------------------


def _cause(decision: Decision, zone: str) -> str:
    if decision.trigger == "manual":
        return f"asked for by {decision.asked_by}"
    return f"due for {_at(decision.due_at, zone)}"


def _lateness(decision: Decision, zone: str) -> Iterator[str]:
    if decision.nobody_looked:
        yield f"seen {_late(decision)} late: {_gap(decision, zone)[:1].lower()}{_gap(decision, zone)[1:].rstrip('.')}"
    if decision.missed:
        yield f"{_later(decision.missed)} missed"


def _late(decision: Decision) -> str:
    assert decision.due_at is not None, "only a slot can be late"
    return durations.in_words((decision.at - decision.due_at).total_seconds())


def _later(count: int) -> str:
    return plural(count, "later slot")


def _gap(decision: Decision, zone: str) -> str:
    if decision.before is None:
        return f"No tick is known before {_at(decision.at, zone)}."
    return f"No tick between {_at(decision.before, zone)} and {_at(decision.at, zone)}."


def _schedule(decision: Decision) -> str:
    return notation.describe(schedules.parse(decision.schedule, "UTC"))


def _by(decision: Decision) -> str:
    return f", by commit {decision.commit[:12]}" if decision.commit else ""


def _at(when: datetime | None, zone: str) -> str:
    return instant.local_minute(when, zone) if when is not None else "?"
