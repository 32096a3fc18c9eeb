"""The slots to come of each connection: the answer of `connrunner next`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from connrunner.answers.shared_blackouts import describe_shared_blackouts, find_shared_blackouts
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.config import zones
from connrunner.core import instant, schedules
from connrunner.core.connection_index import MANUAL, OFF, find_with
from connrunner.core.model import Blackout, Connection
from connrunner.core.planning import forecast, outlook, queue_order
from connrunner.core.planning.ended import EndedSchedule, find_ended_schedules
from connrunner.core.planning.forecast import RunDurations
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files


@dataclass(frozen=True, kw_only=True, slots=True)
class ComingSlot:
    """A slot to come."""

    connection: str
    due_at: datetime
    zone: str  # of the schedule
    schedule: str  # in words
    usual: RunDurations  # of the runs so far


@dataclass(frozen=True, kw_only=True, slots=True)
class ComingSlots:
    """The slots to come, soonest first, and why some connections have none."""

    slots: tuple[ComingSlot, ...]
    without: tuple[tuple[str, str], ...]  # connection and reason
    blackouts: str = ""  # of the whole workspace, in words


def read_soonest(view: WorkspaceView, limit: int) -> ComingSlots:
    """Return the next slots of the *limit* connections that are due first: what is promised says which these are."""
    due = {name: promise.next_due for name, promise in view.journal_state.promises.items() if promise.next_due}
    sound = view.workspace.connections
    slots = queue_order.sort_slots(((due[name], name) for name in due if name in sound), sound)
    return _read_coming(view, [sound[name] for _, name in slots[:limit]], count=1)


def read_coming(view: WorkspaceView, name: str | None = None, *, count: int = 1) -> ComingSlots:
    """Return the next *count* slots of the connection *name*; without a name those of every one."""
    chosen = [view.connection(name)] if name else list(view.workspace.connections.values())
    return _read_coming(view, chosen, count=count)


def _read_coming(view: WorkspaceView, chosen: list[Connection], *, count: int) -> ComingSlots:
    shared = find_shared_blackouts(view.workspace)
    slots = [slot for connection in chosen for slot in _slots(view, connection, shared, count)]
    found = {slot.connection for slot in slots}
    ended = {one.connection: one for one in list_ended_schedules(view)}
    by_slot = {(slot.due_at, slot.connection): slot for slot in slots}
    return ComingSlots(
        slots=tuple(by_slot[slot] for slot in queue_order.sort_slots(by_slot, view.workspace.connections)),
        without=tuple(
            (one.name, _explain_without(view, one, shared, ended.get(one.name)))
            for one in chosen
            if one.name not in found
        ),
        blackouts=describe_shared_blackouts(shared),
    )


def list_ended_schedules(view: WorkspaceView) -> list[EndedSchedule]:
    """Return the connections that are on and whose schedule has ended."""
    known, promises = view.workspace.connections, view.journal_state.promises
    promised = {name for name, one in promises.items() if one.next_due is not None}
    endless = {*promised, *find_with(known, OFF), *find_with(known, MANUAL)}
    connections = (known[name] for name in known if name not in endless)
    return list(find_ended_schedules(connections, promises, now=view.clock(), zones=zones.version()))


def describe_end(ended: EndedSchedule, zone: str) -> str:
    """Return that a schedule has ended, and when."""
    return f"has ended; the last slot was {instant.local_minute(ended.last, zone)}"


def list_slots(view: WorkspaceView, connection: Connection) -> Iterator[datetime]:
    """Yield the slots to come of *connection*; there can be very many of them."""
    promise = view.journal_state.promises.get(connection.name)
    return outlook.iter_upcoming_slots(connection, promise, now=view.clock(), zones=zones.version())


def usual_durations(view: WorkspaceView, name: str) -> RunDurations:
    """Return how long runs of *name* took so far."""
    return forecast.summarize_durations(run_files.read_durations(view.state, name))


def _explain_without(
    view: WorkspaceView, connection: Connection, shared: tuple[Blackout, ...], ended: EndedSchedule | None
) -> str:
    if not connection.enabled:
        return "switched off"
    words = schedules.describe(connection.schedule, shared)
    return f"{words}; {describe_end(ended, view.zone(connection.name))}" if ended else words


def _slots(
    view: WorkspaceView, connection: Connection, shared: tuple[Blackout, ...], count: int
) -> Iterator[ComingSlot]:
    zone, usual = view.zone(connection.name), usual_durations(view, connection.name)
    schedule = schedules.describe(connection.schedule, shared)
    for due_at in islice(list_slots(view, connection), count):
        yield ComingSlot(connection=connection.name, due_at=due_at, zone=zone, schedule=schedule, usual=usual)


def as_list(coming: ComingSlots) -> list[dict[str, Any]]:
    """Return the slots as `next --format json` shows them."""
    return [
        {
            "connection": slot.connection,
            "due_at": instant.text(slot.due_at),
            "local": slot.due_at.astimezone(ZoneInfo(slot.zone)).isoformat(timespec="minutes"),
            "timezone": slot.zone,
            "usual": _usual_as_dict(slot.usual),
        }
        for slot in coming.slots
    ]


def _usual_as_dict(usual: RunDurations) -> dict[str, float] | None:
    """Return run times in seconds; None before the first run."""
    if not usual.runs:
        return None
    return {"runs": usual.runs, "median": round(usual.median, 3), "p95": round(usual.p95, 3)}
