"""Queue: what runs, how far is it, when does mine start, and why not now?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from connrunner.answers.active_runs import ActiveRun, list_active_runs
from connrunner.answers.lane_forecast import LaneForecast, forecast_lanes
from connrunner.answers.past_runs import list_past_runs
from connrunner.answers.status import STARTED_WITHIN, WaitingRun, list_waiting
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.model import QueuedRun
from connrunner.core.planning.forecast import PredictedRun
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations
from connrunner.text.words import agree
from connrunner.web.pages.axis import draw_axis, draw_grid
from connrunner.web.pages.lane_picture import COLUMNS, LaneContent, LanePicture, Window, draw_lane
from connrunner.web.pages.moments import Moments

AGO, AHEAD = timedelta(minutes=30), timedelta(hours=3)
SHOWN_WAITING, SHOWN_NEXT = 50, 5
WHOLE_LANES = 8  # lanes that are shown whole although nothing runs or waits in them
WORTH = 60  # seconds of a wait that are worth telling


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneOnQueue:
    """One lane of the screen."""

    lane: str
    running: tuple[tuple[ActiveRun, QueuedRun], ...]
    waiting: tuple[dict[str, Any], ...]
    more: int  # that wait and are not shown
    count_waiting: int
    empty_at: datetime | None  # when nothing runs and waits any more
    next: tuple[PredictedRun, ...]
    takes: Mapping[str, str]  # how long a run of each connection usually takes
    picture: LanePicture
    axis: tuple[Any, ...]
    span: str

    @property
    def is_idle(self) -> bool:
        return not self.running and not self.count_waiting


def show_queue(view: WorkspaceView, moments: Moments) -> dict[str, Any]:
    """Return the values of the screen."""
    active = list_active_runs(view)
    waiting = list_waiting(view, active)
    now = moments.now
    coming = forecast_lanes(view, now + AHEAD, active=active, waiting=waiting)
    past = list_past_runs(view, now - AGO, now)
    lanes = sorted(
        {*(one.lane for one in view.workspace.connections.values()), *(run.lane for run in active)},
        key=lambda lane: (lane != "main", lane),
    )
    made = [_lane(view, lane, active, waiting, coming, past.get(lane, []), moments) for lane in lanes]
    whole = [one for one in made if not one.is_idle or len(made) <= WHOLE_LANES]
    late = sum(now - run.entry.due_at > STARTED_WITHIN for run in waiting)
    return {
        "columns": COLUMNS,
        "lanes": whole,
        "idle_lanes": [one for one in made if one not in whole],
        "counts": (len(active), len(waiting), late),
        "lede": ", ".join(
            [
                agree(len(active), "run", "works", "work"),
                agree(len(waiting), "run", "waits", "wait"),
                *([f"{late:,} late"] if late else []),
            ]
        ),
    }


def _lane(
    view: WorkspaceView,
    lane: str,
    active: tuple[ActiveRun, ...],
    waiting: tuple[WaitingRun, ...],
    coming: LaneForecast,
    past: list[Any],
    moments: Moments,
) -> LaneOnQueue:
    own = [run for run in active if run.lane == lane]
    queue = [run for run in waiting if run.lane == lane]
    expected = coming.runs.get(lane, ())
    waits_now = {(run.entry.connection, run.entry.due_at) for run in queue}
    ends = [run.ends_at for run in expected if (run.connection, run.due_at) in waits_now]
    ends += [run.ends_at for run in own if run.ends_at]
    window = Window(start=moments.now - AGO, end=moments.now + AHEAD, height=34, block=(10, 18), waits=False)
    content = LaneContent(lane=lane, past=past, active=own, waiting=queue, expected=expected)
    grid = draw_grid(window, moments.zone, step=1)
    return LaneOnQueue(
        lane=lane,
        running=tuple((run, view.journal_state.started[run.connection].entry) for run in own),
        waiting=tuple(_waiting(run, coming, moments) for run in queue[:SHOWN_WAITING]),
        more=max(0, len(queue) - SHOWN_WAITING),
        count_waiting=len(queue),
        empty_at=max(ends, default=None) if lane not in coming.unsure else None,
        next=tuple(run for run in expected if (run.connection, run.due_at) not in waits_now)[:SHOWN_NEXT],
        takes={name: durations.in_words(usual.median) for name, usual in coming.usual.items() if usual.runs},
        picture=draw_lane(content, window, grid, moments),
        axis=tuple(draw_axis(window, moments, step=1, days=False)),
        span=f"from {moments.hour(window.start)} to {moments.hour(window.end)}",
    )


def _explain(entry: QueuedRun) -> str:
    """Return why a run waits at all."""
    match entry.trigger:
        case "manual":
            return f"Run now, asked for by {entry.asked_by}"
        case "approve":
            return f"Run {entry.held} as approved by {entry.asked_by}"
        case "decline":
            return f"Run {entry.held} is declined by {entry.asked_by}"
        case "undo":
            return f"Undo run {entry.undo}, asked for by {entry.asked_by}"
        case "schedule":
            return "its schedule"


def _waiting(run: WaitingRun, coming: LaneForecast, moments: Moments) -> dict[str, Any]:
    entry, expected = run.entry, run.expected
    seconds = max(0.0, (moments.now - entry.queued_at).total_seconds())
    usual = coming.usual.get(entry.connection)
    return {
        "run": run,
        "name": entry.connection,
        "why": _explain(entry),
        "is_late": moments.now - entry.due_at > STARTED_WITHIN,
        "waits": durations.in_words(seconds) if seconds else "now",
        "behind": expected.behind if expected else "many others",
        "starts_at": expected.starts_at if expected and expected.behind else None,
        "at_once": bool(expected and not expected.behind),
        "takes": durations.in_words(usual.median) if usual and usual.runs else "",
    }


def say_start(run: PredictedRun, moments: Moments) -> str:
    """Return when an expected run starts, in words behind its slot."""
    wait = run.wait.total_seconds()
    if wait < WORTH:
        return "at once"
    behind = f" behind {run.behind}" if run.behind else ""
    return f"about {moments.hour(run.starts_at)}: will wait {durations.in_words(wait)}{behind}"
