"""Connections: is all well? If not, what is wrong, and whose is it?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast, get_args

from connrunner.answers.active_runs import ActiveRun
from connrunner.answers.connection_filter import ConnectionFilter, parse_label
from connrunner.answers.connection_standings import (
    ConnectionQuery,
    Group,
    ListedConnection,
    Order,
    StandingsPage,
    Which,
    page_connections,
)
from connrunner.answers.past_runs import count_ended_today
from connrunner.answers.run_summary import describe_briefly
from connrunner.answers.shared_blackouts import find_shared_blackouts
from connrunner.answers.status import Health, describe_wait
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import schedules
from connrunner.core.model import Connection, Outcome, Run
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.web.pages.moments import Moments, run_time
from connrunner.web.pages.strip import Strip, draw_strip

PER_PAGE = 25
OPTIONS = 200  # of one choice: more are reached by their address
TITLES: Mapping[Group, str] = {
    "attention": "Needs attention",
    "running": "Running",
    "waiting": "Waiting",
    "next": "By next run",
    "without": "Without a next run",
    "off": "Switched off",
}
TABS: Mapping[Which, tuple[str, str]] = {  # colour and icon
    "all": ("", ""),
    "failing": ("bad", "failed"),
    "late": ("warn", "late"),
    "broken": ("bad", "broken"),
    "running": ("run", "running"),
    "waiting": ("", ""),
    "off": ("", ""),
}
ORDER_WORDS: Mapping[Order, str] = {"trouble": "Trouble first", "next": "Next run", "time": "Run time", "name": "Name"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionRow:
    """One row of the list."""

    name: str
    about: str  # title, kind and owner
    schedule: str
    lane: str
    style: str  # bad, warn, off or empty
    broken: str  # what of it cannot be used; empty when all can
    last: Run | None
    why: str
    strip: Strip
    usual: str
    active: ActiveRun | None
    waiting: bool
    is_late: bool
    waits: str
    behind: str
    next_due: datetime | None
    no_next: str
    can_run: bool

    @property
    def moves(self) -> bool:
        """True for a row that changes while somebody looks."""
        return self.active is not None or self.waiting


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows under one title."""

    title: str
    count: int
    rows: tuple[ConnectionRow, ...]


def read_query(asked: Mapping[str, str]) -> ConnectionQuery:
    """Return what the parameters of an address ask for; what is not known is as if it were not said."""
    which, order = asked.get("show", ""), asked.get("order", "")
    outcome = asked.get("outcome", "")
    try:
        labels = (parse_label(asked["label"]),) if asked.get("label") else ()
    except ArgumentError:
        labels = ()
    return ConnectionQuery(
        which=cast("Which", which) if which in get_args(Which) else "all",
        search=asked.get("q", "")[:200],
        choice=ConnectionFilter(owner=asked.get("owner", ""), labels=labels),
        outcome=outcome if outcome in set(Outcome) else "",
        order=cast("Order", order) if order in get_args(Order) else "trouble",
        page=read_number(asked.get("page", ""), 1),
        per_page=PER_PAGE,
    )


def read_number(text: str, otherwise: int) -> int:
    """Return the number that *text* is, of nine digits at most; *otherwise* for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def show_connections(
    view: WorkspaceView, asked: Mapping[str, str], health: Health, moments: Moments, *, combines: bool = True
) -> dict[str, Any]:
    """Return the values of the screen; *combines*: the tabs keep what else is chosen."""
    query = read_query(asked)
    page = page_connections(view, query, health)
    kept = {key: asked.get(key, "") for key in ("q", "owner", "label", "outcome", "order")}
    rows = [show_row(view, one, moments) for one in page.rows]
    return {
        "lede": _lede(page, health),
        "today": _today(view),
        "tabs": [_tab(which, page, query, kept if combines else {}) for which in TABS],
        "choices": _choices(page, query, asked),
        "asked_query": {"q": query.search, "show": "" if query.which == "all" else query.which},
        "groups": _group(page, rows, query),
        "rows": rows,
        "page": page,
        "per_page": PER_PAGE,
        "total": page.counts["all"],
        "nothing": _nothing(query),
        "ordered": ORDER_WORDS[query.order].lower(),
        "turned": lambda number: {**kept, "show": asked.get("show", ""), "page": number if number > 1 else ""},
    }


def _lede(page: StandingsPage, health: Health) -> str:
    attention, total = page.groups["attention"], page.found
    if not attention:
        words = "No connection needs attention." if health.complaints else "All is well."  # the banner says of what
        return words if total else ""
    return f"{attention:,} of {total:,} {'needs' if attention == 1 else 'need'} attention."


def _today(view: WorkspaceView) -> tuple[int, list[tuple[str, int]]] | None:
    counts = count_ended_today(view)
    return (counts.total(), counts.most_common()) if counts else None


def _tab(which: Which, page: StandingsPage, query: ConnectionQuery, kept: Mapping[str, str]) -> dict[str, Any]:
    style, icon = TABS[which]
    count = page.counts[which]
    return {
        "name": which,
        "count": count,
        "style": style if count else "",
        "icon": icon,
        "chosen": query.which == which,
        "query": {**kept, "outcome": "", "show": "" if which == "all" else which},
    }


def _choices(page: StandingsPage, query: ConnectionQuery, asked: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what can be chosen from lists; a list without a choice is left out."""
    outcomes = [(str(outcome), f"Last run {outcome}") for outcome in Outcome]
    lists = [
        ("owner", "Owner", asked.get("owner", ""), "Every owner", [(one, one) for one in page.owners[:OPTIONS]]),
        ("label", "Label", asked.get("label", ""), "Every label", [(one, one) for one in page.labels[:OPTIONS]]),
        ("outcome", "Outcome of the last run", query.outcome, "Every outcome", outcomes),
    ]
    found = [
        {"name": name, "words": words, "chosen": chosen, "options": [("", every), *_with(options, chosen)]}
        for name, words, chosen, every, options in lists
        if options or chosen
    ]
    orders = [("" if order == "trouble" else order, words) for order, words in ORDER_WORDS.items()]
    chosen = "" if query.order == "trouble" else query.order
    return [*found, {"name": "order", "words": "Order", "chosen": chosen, "options": orders}]


def _with(options: list[tuple[str, str]], chosen: str) -> list[tuple[str, str]]:
    return options if not chosen or any(chosen == value for value, _ in options) else [*options, (chosen, chosen)]


def _nothing(query: ConnectionQuery) -> str:
    """Return which filter leaves nothing."""
    parts = [f"is {query.which}"] if query.which != "all" else []
    if query.search:
        parts.append(f"has {query.search!r} in its name, title or file")
    if query.choice.owner:
        parts.append(f"is of {query.choice.owner}")
    parts += [f"has the label {key}{'' if value is None else f'={value}'}" for key, value in query.choice.labels]
    if query.outcome:
        parts.append(f"ended {query.outcome} the last time")
    return f"No connection {' and '.join(parts) or 'is declared'}."


def _group(page: StandingsPage, rows: list[ConnectionRow], query: ConnectionQuery) -> list[RowGroup]:
    if query.order != "trouble":
        return [RowGroup("", 0, tuple(rows))]
    found: list[RowGroup] = []
    for group, title in TITLES.items():
        own = tuple(row for row, one in zip(rows, page.rows, strict=True) if one.standing.group == group)
        if own:
            found.append(RowGroup(title, page.groups[group], own))
    return found


def show_row(view: WorkspaceView, one: ListedConnection, moments: Moments) -> ConnectionRow:
    """Return the row of one connection."""
    standing, connection = one.standing, one.standing.connection
    known = one.last.intent if one.last else None  # of one whose file cannot be read, what its last run was
    former = (known.title, known.kind) if known else ()
    parts = (connection.title, connection.kind, connection.owner) if connection else former
    waiting, name = one.waiting, standing.name
    is_off = connection is not None and not connection.enabled
    words = describe_schedule_here(view, connection, moments.zone) if connection else ""
    return ConnectionRow(
        name=name,
        about=" · ".join(part for part in parts if part and part != name),
        schedule=words,
        lane=connection.lane if connection else "main",
        style=_style(one, is_off),
        broken={"broken": "file is broken", "unusable": "history cannot be used"}.get(standing.trouble, ""),
        last=one.last,
        why=view.unusable_histories.get(name) or _why(one),
        strip=draw_strip(one.recent),
        usual=run_time(one.usual.median) if one.usual.runs else "",
        active=one.active,
        waiting=waiting is not None,
        is_late=standing.is_late,
        waits=_waits(one, moments),
        behind=describe_wait(waiting, moments.zone) if waiting else "",
        next_due=standing.next_due if not is_off and standing.trouble != "broken" else None,
        no_next="skipped until it is fixed" if standing.trouble == "broken" else one.next.words if is_off else "none",
        can_run=connection is not None and not is_off and one.active is None and waiting is None,
    )


def describe_schedule_here(view: WorkspaceView, connection: Connection, zone: str) -> str:
    """Return when *connection* runs; the page's own zone, which stands at its top, is not said again."""
    words = schedules.describe(connection.schedule, find_shared_blackouts(view.workspace))
    return words.replace(f" ({zone})", "")


def _style(one: ListedConnection, is_off: bool) -> str:
    match one.standing.trouble:
        case "":
            return "off" if is_off else ""
        case "partial" | "late" | "held":
            return "warn"
        case _:
            return "bad"


def _why(one: ListedConnection) -> str:
    if one.problems:
        more = f" (and {len(one.problems) - 1:,} more)" if len(one.problems) > 1 else ""
        return f"{one.problems[0]}{more}"
    if one.last is None:
        return ""
    row = f"failed {one.failures} times in a row; " if one.failures > 1 and one.last.outcome.is_failure else ""
    return f"{row}{describe_briefly(one.last)}"


def _waits(one: ListedConnection, moments: Moments) -> str:
    if one.waiting is None:
        return ""
    seconds = max(0.0, (moments.now - one.waiting.entry.queued_at).total_seconds())
    words = run_time(seconds) if seconds else "now"
    return f"late, waits {words}" if one.standing.is_late else f"waits {words}"
