"""A plan in words: what becomes of each connection, and what the plan takes for granted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from connrunner.answers.plan import Plan, mask
from connrunner.core import instant
from connrunner.core.model import Connection
from connrunner.core.planning.changes import ConnectionChange, KeyDifference, Slots
from connrunner.core.schedules import notation
from connrunner.text.words import plural

WORDS = {"added": "added", "mended": "fixed", "switched-on": "switched on"}
LISTED = 3  # slots of one connection that are written out
WIDE = 90  # characters of a value


def describe_span(plan: Plan) -> str:
    """Return which versions are compared, and over which days."""
    found = plan.preview
    days = plural(max(1, round((found.until - found.start) / timedelta(days=1))), "day")
    return f"{plan.base} -> {plan.head}; {days} from {instant.local_minute(found.start, plan.zone)}"


def describe_change(plan: Plan, change: ConnectionChange) -> list[str]:
    """Return what becomes of one connection, in lines."""
    before, after = plan.before.get(change.connection), plan.after.get(change.connection)
    lines = []
    match change.kind:
        case "added" | "mended" | "switched-on" if after is not None:
            state = "" if after.enabled else ", switched off"
            schedule = notation.describe(after.schedule)
            lines.append(f"{WORDS[change.kind]}: {after.kind}, {schedule}, lane {after.lane}{state}")
        case "removed":
            lines.append("removed: its queue and its promise are forgotten, its history stays")
        case "switched-off":
            lines.append("switched off: what runs ends, what waits is dropped, and nothing is caught up later")
        case "broken":
            lines.append("broken: its slots are skipped until its file is fixed")
    lines += _key_lines(change, before, after)
    slots = plan.preview.slots.get(change.connection, Slots())
    return [*lines, *_slot_lines(slots, plan.zone)] or ["changed"]


def _key_lines(change: ConnectionChange, before: Connection | None, after: Connection | None) -> Iterator[str]:
    if before is not None and after is not None and before.schedule != after.schedule:
        yield f"schedule: {notation.describe(before.schedule)} -> {notation.describe(after.schedule)}"
    for difference in change.keys:
        if not difference.key.startswith("schedule."):
            yield describe_difference(difference)


def describe_difference(difference: KeyDifference) -> str:
    """Return what becomes of one key."""
    key, before, after = difference.key, difference.before, difference.after
    if before is None:
        return f"{key}: {_value(difference, after)} is new"
    if after is None:
        return f"{key}: {_value(difference, before)} is gone"
    return f"{key}: {_value(difference, before)} -> {_value(difference, after)}"


def _value(difference: KeyDifference, value: Any) -> str:
    masked = mask(difference, value)
    words = masked if isinstance(masked, str) else json.dumps(masked, ensure_ascii=False, default=str)
    words = " ".join(words.split())
    return words if len(words) <= WIDE else f"{words[:WIDE]}..."


def _slot_lines(slots: Slots, zone: str) -> Iterator[str]:
    if slots.moved:
        pairs = [_move(before, after, zone) for before, after in slots.moved[:LISTED]]
        yield _listed(f"{plural(len(slots.moved), 'slot')} moved", pairs, len(slots.moved))
    for times, words in ((slots.added, "more"), (slots.removed, "less")):
        if times:
            listed = [short_time(slot, zone) for slot in times[:LISTED]]
            yield _listed(f"{plural(len(times), 'slot')} {words}", listed, len(times))


def short_time(slot: datetime, zone: str) -> str:
    """Return *slot* in *zone* to the minute, without its offset."""
    return instant.local_minute(slot, zone)[:-7]


def _move(before: datetime, after: datetime, zone: str) -> str:
    old, new = short_time(before, zone), short_time(after, zone)
    return f"{old} -> {new[15:] if old[:14] == new[:14] else new}"


def describe_assumptions(plan: Plan) -> Iterator[str]:
    """Yield what the plan takes for granted."""
    found = plan.preview
    if guessed := found.guessed:
        names = ", ".join(guessed[:5]) + (f" and {len(guessed) - 5} more" if len(guessed) > 5 else "")
        yield f"run times: median of the last runs; a guess of {plan.guess} (--guess) for {names}"
    elif found.after.visits:
        yield "run times: median of the last runs"
    if not plan.has_durations:
        yield "no state folder: times_per_day counts from now; --state or --durations brings real run times"
    asked = timedelta(days=round((found.until - found.start) / timedelta(days=1)))
    if found.until - found.start < asked:
        until = instant.local_minute(found.until, plan.zone)
        yield f"looked ahead until {until} only: there are very many slots"


def _listed(what: str, listed: Sequence[str], total: int) -> str:
    more = f" and {total - len(listed)} more" if total > len(listed) else ""
    return f"{what}: {', '.join(listed)}{more}"
