"""What decisions say to people: one line for each, and the whole answer to "why did it run, or not?"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from connrunner.core import instant, schedules
from connrunner.core.instant import minute
from connrunner.core.planning.decisions import Decision, Explanation, LaneHolder
from connrunner.core.schedules import notation
from connrunner.text import durations
from connrunner.text.words import plural


def lately(decisions: Sequence[Decision], zone: str) -> list[tuple[datetime, str]]:
    """Return decisions in words, oldest first: what became of one entry of the queue is one line."""
    found: list[tuple[datetime, str]] = []
    taken: set[Decision] = set()
    for place, decision in enumerate(decisions):
        if decision in taken:
            continue
        words = [line(decision, zone)]
        if decision.kind in ("queued", "skipped", "started"):
            for later in decisions[place + 1 :]:
                if later.due_at != decision.due_at or later.kind not in ("started", "ended", "dropped", "missed"):
                    continue
                taken.add(later)
                if later.kind != "started":
                    words.append(line(later, zone))
                    break
        found.append((decision.at, "; ".join(words)))
    return found


def line(decision: Decision, zone: str) -> str:
    """Return one decision in words."""
    match decision.kind:
        case "on":
            began = "switched on" if decision.on_since == minute(decision.at) else "on"
            return f"{began}: {_schedule(decision)}{_by(decision)}"
        case "schedule":
            return f"another schedule: {_schedule(decision)}{_by(decision)}"
        case "off":
            return f"switched off{_by(decision)}"
        case "queued":
            return "; ".join([_asked(decision, zone), *_lateness(decision, zone)])
        case "left_out":
            until = f" (and {decision.missed:,} more)" if decision.missed else ""
            return f"no slot at {_at(decision.due_at, zone)}{until}: {decision.reason}"
        case "merged" | "skipped" | "dropped" | "missed":
            slot = "the request" if decision.trigger == "manual" else f"the slot of {_at(decision.due_at, zone)}"
            parts = [f"{slot} was {decision.kind}: {decision.reason}", *_lateness(decision, zone)]
            return "; ".join(parts)
        case "broken":
            return f"its file is broken{_by(decision)}: its slots are skipped until it is fixed"
        case "mended":
            return f"its file is fixed{_by(decision)}"
        case "started":
            return f"run {decision.run} started{_by(decision)}"
        case "ended":
            message = f": {decision.message}" if decision.message else ""
            return f"run {decision.run} ended {decision.outcome}{message}"


def told(
    answer: Explanation, zone: str, *, last_tick: datetime | None, since: str | None, holders: tuple[LaneHolder, ...]
) -> list[str]:
    """Return the answer in sentences, the shortest first."""
    return list(_told(answer, zone, last_tick, since, holders))


def _told(
    answer: Explanation, zone: str, last_tick: datetime | None, since: str | None, holders: tuple[LaneHolder, ...]
) -> Iterator[str]:
    decision = answer.decision
    match answer.verdict:
        case "ran":
            yield from _ran(answer, zone)
        case "waits":
            yield "It is in the queue: it was due, and has not started."
        case "merged" if decision is not None:
            yield f"It had no run of its own: the slot was merged, for {decision.reason}.{_stands_for(answer)}"
        case "missed" if decision is not None:
            yield f"It did not run then: nobody looked. {_gap(decision, zone)}"
            run = answer.started or answer.ended
            which = f"run {run.run}" if run is not None else f"what it {decision.kind} then"
            slots = f"the slot of {_at(decision.due_at, zone)} and {_later(decision.missed)}"
            yield f"The tick at {_at(decision.at, zone)} found it: {which} stands for {slots}."
        case "too-late" if decision is not None:
            yield f"It did not run, for it was too late: {decision.reason} (`start_within`)."
            yield from [_gap(decision, zone)] if decision.nobody_looked else []
        case "left-out" if decision is not None:
            when = "" if decision.kind == "left_out" else f" Its schedule was {_schedule(decision)}."
            yield f"It was left out: {decision.reason or 'a blackout of its schedule'}.{when}"
            yield from _near(answer, zone)
        case "skipped" if decision is not None and decision.reason:
            yield f"It could not run: {decision.reason}."
            yield from [answer.ended.message] if answer.ended and answer.ended.message else []
        case "skipped" if answer.ended is not None:
            yield f"It was {answer.ended.outcome} before it started: {answer.ended.message or 'nobody knows why'}"
        case "dropped" if decision is not None:
            yield f"It waited and was taken out of the queue at {_at(decision.at, zone)}: {decision.reason}."
        case "off" if decision is not None:
            yield f"It was off: switched off at {_at(decision.at, zone)}{_by(decision)}. Nothing is caught up."
        case "no-slot" if decision is not None:
            yield f"It had no slot then. Its schedule was {_schedule(decision)}."
            yield from _near(answer, zone)
        case "unseen":
            looked = f"the last one looked at {_at(last_tick, zone)}" if last_tick else "none has ever looked"
            yield f"It was due, and no tick has seen it: {looked}. Is cron, or a timer, calling `connrunner tick`?"
        case "ahead":
            yield "It will be due then."
        case "unknown" if since is None:
            yield "Nobody knows: no tick has decided anything yet."
        case "unknown":
            yield f"Nobody knows: what was decided is kept since {_at(instant.parse(since or ''), zone)}."
    if decision is not None and answer.verdict in ("ran", "merged", "skipped"):
        if decision.nobody_looked:
            yield f"It was seen {_late(decision)} late. {_gap(decision, zone)}"
        if decision.missed:
            yield f"{_later(decision.missed)} passed unseen meanwhile, until {_at(decision.missed_until, zone)}."
    yield from _waited(answer, zone, holders)


def _near(answer: Explanation, zone: str) -> Iterator[str]:
    near = [("the slot before", answer.earlier), ("the one after", answer.later)]
    if shown := [f"{words}: {_at(slot, zone)}" for words, slot in near if slot is not None]:
        yield "; ".join(shown) + "."


def _ran(answer: Explanation, zone: str) -> Iterator[str]:
    started, ended = answer.started, answer.ended
    assert started is not None
    why = f"asked for by {started.asked_by}" if started.trigger == "manual" else f"due for {_at(started.due_at, zone)}"
    yield f"It ran: run {started.run}, {why}, started at {instant.local(started.at, zone)}."
    if ended is None:
        yield "Its end is not recorded: it works, or was cut off (see `connrunner status`)."
        return
    message = f": {ended.message}" if ended.message else ""
    yield f"It ended {ended.outcome} at {instant.local(ended.at, zone)}{message}"
    if ended.merged:
        yield f"{ended.merged:,} slots that fell due meanwhile were merged into it."


def _stands_for(answer: Explanation) -> str:
    if answer.started is not None:
        return f" Run {answer.started.run} stands for it."
    return "" if answer.ended is None else f" Run {answer.ended.run} stands for it."


def _waited(answer: Explanation, zone: str, holders: tuple[LaneHolder, ...]) -> Iterator[str]:
    decision, started = answer.decision, answer.started
    if decision is None or started is None or decision.kind != "queued":
        return
    seconds = (started.at - decision.at).total_seconds()
    if seconds < 1:
        return
    names = [f"{one.connection} #{one.run} (from {instant.local(one.started_at, zone)[11:16]})" for one in holders]
    behind = f" behind {', '.join(names)}" if names else ""
    yield f"It waited {durations.in_words(seconds)} in lane {started.lane}{behind}."


def _asked(decision: Decision, zone: str) -> str:
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
