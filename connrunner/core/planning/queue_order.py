"""In which order do the runs of a lane start?

The oldest slot goes first. Of what is due at one instant, imports go before commands and commands before exports, so
that an export has the rows of its night; then the name decides. `after` goes above all of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby

from connrunner.core.model import Connection, QueuedRun
from connrunner.core.planning.forecast import PredictedSlot

RANKS = {"import": 0, "command": 1, "export": 2}

Slot = tuple[datetime, str]  # when it is due, and the connection
Key = tuple[datetime, int, str]


def rank(connection: Connection | None) -> int:
    """Return where *connection* stands among those that are due at one instant; without a sound file in the middle."""
    return RANKS[connection.kind if connection else "command"]


def sort_queue(waiting: Iterable[QueuedRun], connections: Mapping[str, Connection]) -> list[QueuedRun]:
    """Return the queue, one run of each connection, in the order in which it is run."""
    entries = {(entry.due_at, entry.connection): entry for entry in waiting}
    return [entries[slot] for slot in _sort(entries, connections)]


def sort_slots(slots: Iterable[Slot], connections: Mapping[str, Connection]) -> list[Slot]:
    """Return *slots* to come in the order in which they start if none has to wait."""
    return [
        slot
        for _, together in groupby(sorted(slots), key=lambda slot: slot[0])
        for slot in _sort(together, connections)
    ]


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
    """Return *slots*, one of each connection, each behind those that its connection names in `after`."""
    due = {name: due_at for due_at, name in slots}
    before = {name: {*_after(name, connections)} & {*due} - {name} for name in due}
    behind: dict[str, list[str]] = {}
    for name, others in before.items():
        for other in others:
            behind.setdefault(other, []).append(name)
    free = [_key(name, due, connections) for name in due if not before[name]]
    heapq.heapify(free)
    found: list[Slot] = []
    while free:
        due_at, _, name = heapq.heappop(free)
        found.append((due_at, name))
        for other in behind.get(name, ()):
            before[other].discard(name)
            if not before[other]:
                heapq.heappush(free, _key(other, due, connections))
    return found


def _key(name: str, due: Mapping[str, datetime], connections: Mapping[str, Connection]) -> Key:
    return due[name], rank(connections.get(name)), name


def _after(name: str, connections: Mapping[str, Connection]) -> tuple[str, ...]:
    return connections[name].after if name in connections else ()
