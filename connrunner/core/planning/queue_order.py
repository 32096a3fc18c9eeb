"""In which order do the runs of a lane start?

The oldest slot goes first. Of what is due at one instant, imports go before commands and commands before exports, so
that an export has the rows of its night; then the name decides. `after` goes above all of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import groupby

from connrunner.core.connection_index import BEHIND, EXPORT, IMPORT, has_trait, read_traits
from connrunner.core.model import Connection, QueuedRun
from connrunner.core.planning.forecast import PredictedSlot

RANKS = {"import": 0, "command": 1, "export": 2}

Slot = tuple[datetime, str]  # when it is due, and the connection
Key = tuple[datetime, int, str]


def rank(connection: Connection | None) -> int:
    """Return where *connection* stands among those that are due at one instant; without a sound file in the middle."""
    return RANKS[connection.kind if connection else "command"]


def sort_queue(waiting: Iterable[QueuedRun], connections: Mapping[str, Connection]) -> list[QueuedRun]:
    """Return the queue in the order in which it is run."""
    entries: dict[Slot, list[QueuedRun]] = {}
    for entry in waiting:
        entries.setdefault((entry.due_at, entry.connection), []).append(entry)
    return [entry for slot in _sort(entries, connections) for entry in entries[slot]]


def sort_slots(slots: Iterable[Slot], connections: Mapping[str, Connection]) -> list[Slot]:
    """Return *slots* to come in the order in which they start if none has to wait."""
    slots = {*slots}
    if (ordered := _sort_free(slots, connections)) is not None:
        return ordered
    by_instant = groupby(sorted(slots), key=lambda slot: slot[0])
    return [slot for _, together in by_instant for slot in _sort(together, connections)]


def predict_slot(name: str, due_at: datetime, connections: Mapping[str, Connection]) -> PredictedSlot:
    """Return the slot of *name* at *due_at* as a forecast needs it; without a sound file it is in lane main."""
    known = connections.get(name)
    return PredictedSlot(
        connection=name,
        lane=known.lane if known else "main",
        due_at=due_at,
        rank=rank(known),
        after=_after(name, connections),
    )


def _sort(slots: Iterable[Slot], connections: Mapping[str, Connection]) -> list[Slot]:
    """Return *slots*, each once, each behind those of the connections that its own names in `after`."""
    slots = list(slots)
    if (ordered := _sort_free(slots, connections)) is not None:
        return ordered
    of: dict[str, list[Slot]] = {}
    for slot in slots:
        of.setdefault(slot[1], []).append(slot)
    before = {name: {*_after(name, connections)} & {*of} - {name} for name in of}
    behind: dict[str, list[str]] = {}
    for name, others in before.items():
        for other in others:
            behind.setdefault(other, []).append(name)

    free: list[Key] = []

    def release(name: str) -> None:
        for due_at, _ in of[name]:
            heapq.heappush(free, (due_at, _rank_by(read_traits(connections, name)), name))

    for name in of:
        if not before[name]:
            release(name)
    left = {name: len(slots) for name, slots in of.items()}
    found: list[Slot] = []
    while free:
        due_at, _, name = heapq.heappop(free)
        found.append((due_at, name))
        left[name] -= 1
        for other in behind.get(name, ()) if not left[name] else ():
            before[other].discard(name)
            if not before[other]:
                release(other)
    return found


def _sort_free(slots: Collection[Slot], connections: Mapping[str, Connection]) -> list[Slot] | None:
    """Return *slots* in order when none of their connections names another in `after`; else None.

    Nearly all are like that, and a workspace can have thousands: each is asked about once, and sorted by what it is.
    """
    keys: list[Key] = []
    for due_at, name in slots:
        traits = read_traits(connections, name)
        if BEHIND in traits:
            return None
        keys.append((due_at, _rank_by(traits), name))
    return [(due_at, name) for due_at, _, name in sorted(keys)]


def _rank_by(traits: str) -> int:
    """Return what `rank` does, without building the connection that has *traits*."""
    return RANKS["import" if IMPORT in traits else "export" if EXPORT in traits else "command"]


def _after(name: str, connections: Mapping[str, Connection]) -> tuple[str, ...]:
    return connections[name].after if has_trait(connections, name, BEHIND) else ()
