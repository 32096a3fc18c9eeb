"""Every connection in the order in which people have to care: what is wrong first, then what works, waits, comes next.

What is known of all of them comes from the journal; histories are read for the connections of one page alone.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal, NamedTuple

from connrunner.answers.active_runs import ActiveRun, find_active_run
from connrunner.answers.coming_slots import usual_durations
from connrunner.answers.connection_filter import ALL, ConnectionFilter
from connrunner.answers.run_history import NextRun, find_next_run
from connrunner.answers.status import FAILING, Health, WaitingRun, check_health, list_waiting
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.alerts import alert_state
from connrunner.core.model import Connection, Run
from connrunner.core.planning.forecast import RunDurations
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.state import run_files
from connrunner.state.run_files import RunMark

RECENT = 30  # runs of a connection that are shown as a strip

Group = Literal["attention", "running", "waiting", "next", "without", "off"]
Which = Literal["all", "failing", "late", "broken", "running", "waiting", "off"]
WHICH: tuple[Which, ...] = ("all", "failing", "late", "broken", "running", "waiting", "off")
Order = Literal["trouble", "next", "time", "name"]
ORDERS: tuple[Order, ...] = ("trouble", "next", "time", "name")
GROUPS: tuple[Group, ...] = ("attention", "running", "waiting", "next", "without", "off")
PLACES = {group: place for place, group in enumerate(GROUPS)}
SORTED_IN_PART = 500  # rows before a page: behind more, all are sorted
# Of trouble.
RANKS = {"broken": 0, "unusable": 0, "failed": 1, "interrupted": 1, "skipped": 1, "partial": 2, "held": 2, "late": 3}
FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionQuery:
    """Which connections are asked for, and in which order; *page* counts from 1."""

    which: Which = "all"
    search: str = ""  # in name, title and path of the file
    choice: ConnectionFilter = ALL
    outcome: str = ""  # of the newest run
    order: Order = "trouble"
    page: int = 1
    per_page: int = 25


class ConnectionStanding(NamedTuple):
    """What the journal knows of one connection; ten thousand of these are made for a page."""

    name: str
    connection: Connection | None  # None when its file is broken or gone
    group: Group
    trouble: str  # broken, the failing outcome, late or held; empty when there is none
    since: datetime | None  # of the trouble
    is_late: bool
    is_running: bool
    is_waiting: bool
    last_outcome: str
    next_due: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedConnection:
    """One connection of the page, with its past."""

    standing: ConnectionStanding
    problems: tuple[Problem, ...]
    last: Run | None
    recent: tuple[RunMark, ...]  # newest first, RECENT at most
    failures: int  # in a row
    usual: RunDurations
    active: ActiveRun | None
    waiting: WaitingRun | None
    next: NextRun


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingsPage:
    """One page of the connections that were asked for."""

    at: datetime
    rows: tuple[ListedConnection, ...]
    found: int  # on all pages
    page: int
    pages: int
    counts: dict[Which, int]  # of all connections that owner, label and search choose
    groups: dict[Group, int]  # of all that were found
    owners: tuple[str, ...]  # of the whole workspace
    labels: tuple[str, ...]  # KEY=VALUE, of the whole workspace
    first: int = field(default=0)  # the number of the first row, from 0


def page_connections(view: WorkspaceView, query: ConnectionQuery, health: Health | None = None) -> StandingsPage:
    """Return the page of connections that *query* asks for; the last one when there are fewer pages.

    *health* is that of the whole workspace, where somebody knows it already.
    """
    chosen = _stand(view, health or check_health(view))
    if query.search.strip() or query.choice:
        chosen = [one for one in chosen if _is_searched(view, one, query)]
    counts = _count(chosen)
    found = chosen if query.which == "all" else [one for one in chosen if query.which in _kinds(one)]
    if query.outcome:
        found = [one for one in found if one.last_outcome == query.outcome]
    pages = max(1, -(-len(found) // query.per_page))
    page = min(max(1, query.page), pages)
    first = (page - 1) * query.per_page
    groups = Counter(one.group for one in found)
    waiting = {run.entry.connection: run for run in list_waiting(view)}
    sound = view.workspace.connections.values()
    return StandingsPage(
        at=view.clock(),
        rows=tuple(_listed(view, one, waiting) for one in _cut(view, found, query.order, first, query.per_page)),
        found=len(found),
        page=page,
        pages=pages,
        counts=counts,
        groups={group: groups[group] for group in GROUPS},
        owners=tuple(sorted({one.owner for one in sound if one.owner})),
        labels=tuple(sorted({f"{key}={value}" for one in sound for key, value in one.labels.items()})),
        first=first,
    )


def find_troubles(view: WorkspaceView, health: Health) -> dict[str, tuple[str, datetime | None]]:
    """Return the connections that need attention: what is wrong (broken, unusable, how it ended, late), and since when.

    One that fails and is switched off needs none.
    """
    connections = view.workspace.connections
    found: dict[str, tuple[str, datetime | None]] = {
        name: ("held", one.since) for name, one in view.journal_state.held.items()
    }
    found |= {one.connection: ("late", one.due_at) for one in health.late}
    for failing in health.failing:
        connection = connections.get(failing.connection)
        if connection is None or connection.enabled:
            found[failing.connection] = (failing.outcome, failing.since)
    found |= {one.connection: ("unusable", None) for one in health.unusable}
    return found | dict.fromkeys(health.broken, ("broken", None))


def _stand(view: WorkspaceView, health: Health) -> list[ConnectionStanding]:
    """Return where every connection stands, by name."""
    workspace, journal_state = view.workspace, view.journal_state
    troubles, late = find_troubles(view, health), {one.connection for one in health.late}
    connections, promises, outcomes = workspace.connections, journal_state.promises, journal_state.last_outcome
    started, queued = journal_state.started, journal_state.waiting
    none = ("", None)
    found = []
    for name in view.known_names():
        connection, promise = connections.get(name), promises.get(name)
        trouble, since = troubles.get(name, none)
        next_due = promise.next_due if promise is not None else None
        is_running, is_waiting = name in started, name in queued
        group: Group = (
            "attention"
            if trouble
            else "running"
            if is_running
            else "waiting"
            if is_waiting
            else "off"
            if connection is not None and not connection.enabled
            else "without"
            if connection is None or next_due is None
            else "next"
        )
        # By place: names cost half as much again.
        found.append(
            ConnectionStanding(
                name,
                connection,
                group,
                trouble,
                since,
                name in late,
                is_running,
                is_waiting,
                outcomes.get(name, ""),
                next_due,
            )
        )
    return found


def _is_searched(view: WorkspaceView, one: ConnectionStanding, query: ConnectionQuery) -> bool:
    if not query.choice.includes(view, one.name):
        return False
    title = one.connection.title if one.connection else ""
    wanted = query.search.strip().casefold()
    return wanted in f"{one.name}\n{title}\nconnections/{one.name}.yaml".casefold()


def _kinds(one: ConnectionStanding) -> list[Which]:
    """Return which of the tabs list it, beside the one of all."""
    found: list[Which] = []
    if one.last_outcome in FAILING:
        found.append("failing")
    if one.is_late:
        found.append("late")
    if one.trouble == "broken":
        found.append("broken")
    if one.group == "running" or one.is_running:
        found.append("running")
    if one.is_waiting:
        found.append("waiting")
    if one.connection is not None and not one.connection.enabled:
        found.append("off")
    return found


def _count(chosen: list[ConnectionStanding]) -> dict[Which, int]:
    counts = Counter(chain.from_iterable(map(_kinds, chosen)))
    return {which: len(chosen) if which == "all" else counts[which] for which in WHICH}


def _cut(
    view: WorkspaceView, found: list[ConnectionStanding], order: Order, first: int, count: int
) -> list[ConnectionStanding]:
    """Return *count* of *found* behind the *first* ones of that order, without sorting all for the first pages."""
    key: Callable[[ConnectionStanding], tuple[Any, ...]] = _urgency
    if order == "name":
        return found[first : first + count]  # they come by name
    if order == "next":
        key = _next
    if order == "time":
        usual = {one.name: usual_durations(view, one.name).median for one in found}
        key = lambda one: (-usual[one.name], one.name)  # noqa: E731
    ordered = heapq.nsmallest(first + count, found, key) if first < SORTED_IN_PART else sorted(found, key=key)
    return ordered[first : first + count]


def _next(one: ConnectionStanding) -> tuple[datetime, str]:
    return one.next_due or FAR, one.name


def _urgency(one: ConnectionStanding) -> tuple[int, int, datetime, str]:
    """Trouble by its kind, the oldest first; then what works, waits, comes next; of one time by name."""
    when = one.since if one.trouble else one.next_due
    return PLACES[one.group], RANKS.get(one.trouble, 0), when or FAR, one.name


def _listed(view: WorkspaceView, one: ConnectionStanding, waiting: dict[str, WaitingRun]) -> ListedConnection:
    streak = alert_state.current_streak(view.journal_state.alerts, one.name, alert_state.USUAL)
    return ListedConnection(
        standing=one,
        problems=tuple(view.workspace.broken.get(one.name, ())),
        last=next(run_files.read_any_history(view.state, one.name), None),
        recent=tuple(run_files.read_marks(view.state, one.name, RECENT)),
        failures=streak["failures"] if streak else 0,
        usual=usual_durations(view, one.name),
        active=find_active_run(view, one.name),
        waiting=waiting.get(one.name),
        next=find_next_run(view, one.name),
    )
