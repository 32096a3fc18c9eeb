"""Stretches of time whose slots were recorded one by one: none of them is due again, whatever the clock says.

A slot that was only counted, as one of many that passed unseen, lies between two stretches: the tick that counted it
may have gone by a clock that was ahead, and then the slot is still to come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from connrunner.core import schedules
from connrunner.core.model import Schedule

MINUTE = timedelta(minutes=1)
MOST = 8  # of those that are past: a time without ticks begins another one, and the two oldest become one then


class Stretch(NamedTuple):
    """From one recorded slot to another, both among them."""

    first: datetime
    last: datetime


def next_free(
    schedule: Schedule, after: datetime, stretches: Iterable[Stretch], *, on_since: datetime
) -> datetime | None:
    """Return the first slot of *schedule* after *after* that lies in none of *stretches* (ascending)."""
    slot = schedules.next_after(schedule, after, on_since=on_since)
    for stretch in stretches:
        if slot is None or slot < stretch.first:
            break
        if slot <= stretch.last:
            slot = schedules.next_after(schedule, stretch.last, on_since=on_since)
    return slot


def iter_free_spans(
    start: datetime, end: datetime, stretches: Iterable[Stretch]
) -> Iterator[tuple[datetime, datetime]]:
    """Yield what *stretches* (ascending) leave of the minutes in (*start*, *end*], in the same way, ascending."""
    for first, last in stretches:
        if first > end:
            break
        if start < first - MINUTE:
            yield start, first - MINUTE
        start = max(start, last)
    if start < end:
        yield start, end


def add_slot(
    stretches: tuple[Stretch, ...], slot: datetime, schedule: Schedule, *, on_since: datetime
) -> tuple[Stretch, ...]:
    """Return *stretches* (ascending) with *slot*: in the one before it, when *schedule* has no slot between both."""
    before = [each for each in stretches if each.first <= slot]
    behind = stretches[len(before) :]
    if before and slot <= before[-1].last:
        return stretches
    if before and before[-1].last >= on_since:
        first, last = before[-1]
        if schedules.next_after(schedule, last, on_since=on_since) == slot:
            return (*before[:-1], Stretch(first, slot), *behind)
    return (*_bounded((*before, Stretch(slot, slot))), *behind)


def _bounded(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """Return at most `MOST` of what is past. What lies ahead stays: between two of those are slots that are to come."""
    if len(stretches) <= MOST:
        return stretches
    oldest, second, *others = stretches
    return (Stretch(oldest.first, second.last), *others)
