"""A plan in words: what becomes of each connection, and what the plan takes for granted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from connrunner.answers.plan import Plan, mask
from connrunner.answers.plan_files import FileChange
from connrunner.answers.shared_blackouts import describe_shared_blackouts
from connrunner.core import instant
from connrunner.core.model import Connection
from connrunner.core.planning.changes import ConnectionChange, KeyDifference, Slots, find_differences
from connrunner.core.schedules import notation
from connrunner.text.words import escape, find_common_runs, plural

WORDS = {"added": "added", "mended": "fixed", "switched-on": "switched on"}
LISTED = 3  # slots of one connection that are written out
WIDE = 90  # characters of a value that is shown whole beside another one
WIDEST = 600  # characters of a value, or of what differs in one
AROUND = 24  # characters that are shown before and behind what differs
MOST_PARTS = 5  # places in which one value differs
MOST_PIECES = 600  # words and characters that are compared one by one: the time grows with their square


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
            schedule = notation.describe(after.schedule, plan.shared_blackouts)
            lines.append(f"{WORDS[change.kind]}: {after.kind}, {schedule}, lane {after.lane}{state}")
        case "removed":
            lines.append("removed: its queue and its promise are forgotten, its history stays")
        case "switched-off":
            lines.append("switched off: what runs ends, what waits is dropped, and nothing is caught up later")
        case "broken":
            lines.append("broken: its slots are skipped until its file is fixed")
    if before is None and after is not None:
        lines += _work_lines(after)
    lines += _key_lines(plan, change, before, after)
    slots = plan.preview.slots.get(change.connection, Slots())
    return [*lines, *_slot_lines(slots, plan.zone)] or ["changed"]


def _work_lines(connection: Connection) -> Iterator[str]:
    """Yield what a connection that comes runs, reads or writes."""
    for steps in (("command",), ("import", "from"), ("export", "to")):
        found: Any = connection.document
        for step in steps:
            found = found.get(step) or {}
        for shown in find_differences({}, found, ".".join(steps)):
            if shown.after is not None:
                yield f"{escape(shown.key)}: {_start(_words(shown, shown.after))}"


def _key_lines(
    plan: Plan, change: ConnectionChange, before: Connection | None, after: Connection | None
) -> Iterator[str]:
    is_told = False
    if before is not None and after is not None and before.schedule != after.schedule:
        was, will_be = (notation.describe(one.schedule, plan.shared_blackouts) for one in (before, after))
        is_told = True
        if was != will_be:
            yield _compared("schedule", was, will_be)
        elif notation.describe(before.schedule) != notation.describe(after.schedule):
            yield "schedule: other blackouts of the workspace"
        else:
            is_told = False
    for difference in change.keys:
        if not (is_told and difference.key.startswith("schedule.")):
            yield describe_difference(difference)


def describe_difference(difference: KeyDifference) -> str:
    """Return what becomes of one key: both values, or where they differ when they are long."""
    key, before, after = escape(difference.key), difference.before, difference.after
    if before is None:
        return f"{key}: {_start(_words(difference, after))} is new"
    if after is None:
        return f"{key}: {_start(_words(difference, before))} is gone"
    return _compared(key, _words(difference, before), _words(difference, after))


def _compared(key: str, before: str, after: str) -> str:
    if max(len(before), len(after)) <= WIDE:
        return f"{key}: {before} -> {after}"
    parts = differing_parts(before, after)
    more = f"; and {len(parts) - MOST_PARTS} more places: --format json has all" if len(parts) > MOST_PARTS else ""
    return f"{key}: " + "; ".join(f"{_short(old)} -> {_short(new)}" for old, new in parts[:MOST_PARTS]) + more


def describe_blackouts(plan: Plan) -> str:
    """Return the blackouts of the whole workspace, which no schedule repeats; empty when there are none."""
    was, will_be = (describe_shared_blackouts(found) for found in (plan.blackouts_before, plan.blackouts_after))
    if was == will_be:
        return escape(will_be)
    return escape(f"{was or 'no blackouts of the workspace'} -> {will_be.partition(': ')[2] or 'none'}")


def describe_file(changed: FileChange) -> str:
    """Return what becomes of a file that something in the workspace uses."""
    return f"{escape(changed.path)}: the file is {changed.change}"


def _words(difference: KeyDifference, value: Any) -> str:
    masked = mask(difference, value)
    words = masked if isinstance(masked, str) else json.dumps(masked, ensure_ascii=False, default=str)
    return escape(words)


def _start(words: str) -> str:
    """Return *words*, or the beginning of very many."""
    more = len(words) - WIDEST
    return words if more <= 0 else f"{words[:WIDEST]}... ({more:,} more characters: --format json has all)"


def _short(part: str) -> str:
    """Return *part* of a value, or its beginning and its end."""
    more = len(part) - WIDEST
    if more <= 0:
        return part
    return f"{part[: WIDEST // 2]}... ({more:,} more characters: --format json has all) ...{part[-WIDEST // 2 :]}"


def differing_parts(before: str, after: str) -> list[tuple[str, str]]:
    """Return where two texts differ, with a little around it; dots say that there is more of the text."""
    start = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
    start = min(len(before), len(after)) if start is None else start
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    middle = [re.findall(r"\w+|.", text[start : len(text) - end], re.DOTALL) for text in (before, after)]
    blocks: list[tuple[int, int, int]] = []
    if max(map(len, middle)) <= MOST_PIECES:
        blocks = find_common_runs(middle[0], middle[1])
    long = [block for block in blocks if sum(map(len, middle[0][block[0] : block[0] + block[2]])) > 2 * AROUND]
    found, one, other = [], (start, 0), (start, 0)
    for first, second, size in [*long, (len(middle[0]), len(middle[1]), 0)]:
        ends = one[0] + sum(map(len, middle[0][one[1] : first])), other[0] + sum(map(len, middle[1][other[1] : second]))
        found.append((_around(before, one[0], ends[0]), _around(after, other[0], ends[1])))
        same = sum(map(len, middle[0][first : first + size]))
        one, other = (ends[0] + same, first + size), (ends[1] + same, second + size)
    return found


def _around(text: str, start: int, end: int) -> str:
    first, last = max(0, start - AROUND), min(len(text), end + AROUND)
    return ("..." if first else "") + text[first:last] + ("..." if last < len(text) else "")


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
