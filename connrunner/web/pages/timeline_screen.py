"""Timeline: where do runs collide, what will tonight look like, and what does the clock change do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from connrunner.answers.active_runs import ActiveRun, list_active_runs
from connrunner.answers.lane_forecast import LaneForecast, forecast_lanes
from connrunner.answers.past_runs import MissedSlots, PastRun, list_past
from connrunner.answers.shared_blackouts import describe_shared_blackouts, find_shared_blackouts
from connrunner.answers.status import WaitingRun, list_waiting
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.model import Blackout
from connrunner.core.planning.forecast import PredictedRun
from connrunner.core.schedules.blackout import list_spans
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations
from connrunner.text.words import plural
from connrunner.web.pages.axis import (
    choose_step,
    describe_long_days,
    draw_axis,
    draw_grid,
    find_clock_changes,
    midnight,
)
from connrunner.web.pages.lane_picture import ALONE, COLUMNS, LaneContent, LanePicture, Window, draw_lane
from connrunner.web.pages.moments import Moments
from connrunner.web.pages.shapes import Shape, rectangle

NEAR = timedelta(hours=6)
STEP_OF_NEAR = timedelta(hours=3)  # Earlier and Later
SLOW = timedelta(minutes=5)  # a wait that is worth a row
ROWS = 25
MOST_ALONE = 64  # blocks that are drawn by themselves, in all lanes together, and half as many waits
LEAST_ALONE = 4  # of each lane, however many there are
MOST_BLACKOUTS = 50  # in one picture
VIEWS = ("6h", "24h", "3d", "7d")
VIEW_WORDS = {"6h": "6 h", "24h": "24 h", "3d": "3 days", "7d": "7 days"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelinePicture:
    """All lanes in one window."""

    lanes: tuple[tuple[LanePicture, str], ...]  # each with how many connections it has
    grid: tuple[Shape, ...]  # behind every lane: drawn once, and used by each
    axis: tuple[Shape, ...]
    axis_height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneData:
    """What is known of the lanes."""

    lanes: Mapping[str, int]  # and how many connections each has
    active: tuple[ActiveRun, ...]
    waiting: tuple[WaitingRun, ...]
    past: Mapping[str, Sequence[PastRun]]
    missed: Mapping[str, Sequence[MissedSlots]]
    blackouts: Sequence[Blackout]  # of the whole workspace
    coming: LaneForecast


def choose_window(chosen: str, moments: Moments) -> tuple[datetime, datetime]:
    """Return the window that *chosen* of VIEWS names."""
    now, zone = moments.now, moments.zone
    match chosen:
        case "6h":
            return now - timedelta(hours=2), now + timedelta(hours=4)
        case "24h":
            return now - timedelta(hours=6), now + timedelta(hours=18)
        case "7d":
            return midnight(now, zone, -3), midnight(now, zone, 4)
        case _:
            return midnight(now, zone, -1), midnight(now, zone, 2)


def show_timeline(view: WorkspaceView, asked: Mapping[str, str], moments: Moments) -> dict[str, Any]:
    """Return the values of the screen."""
    chosen = asked.get("view", "") if asked.get("view", "") in VIEWS else "3d"
    start, end = choose_window(chosen, moments)
    near = _near_start(asked.get("from", ""), moments)
    data = _read(view, min(start, near), max(end, near + NEAR), moments)
    far_window = Window(start=start, end=end, height=58, block=(16, 22))
    near_window = Window(start=near, end=near + NEAR, height=72, block=(11, 22), named=True)
    slow = _slow(data, moments.now, end)
    missed = sorted((one for lane in data.missed.values() for one in lane), key=lambda one: one.first, reverse=True)
    return {
        "views": [(one, VIEW_WORDS[one], one == chosen) for one in VIEWS],
        "chosen": chosen,
        "far": _picture(data, far_window, moments, days=end - start > timedelta(hours=25)),
        "near": _picture(data, near_window, moments, days=False),
        "near_from": near,
        "near_until": near + NEAR,
        "earlier": instant.text(near - STEP_OF_NEAR),
        "later": instant.text(near + STEP_OF_NEAR),
        "lede": _lede(start, end, moments),
        "blackouts": describe_shared_blackouts(data.blackouts),
        "has_blackout": bool(list_spans(data.blackouts, min(start, near), max(end, near + NEAR))),
        "missed": missed[:ROWS],
        "more_missed": max(0, len(missed) - ROWS),
        "columns": COLUMNS,
        "slow": slow[:ROWS],
        "more_slow": max(0, len(slow) - ROWS),
        "slow_words": durations.exactly(int(SLOW.total_seconds())),
        "forecast_until": data.coming.until,
        "is_cut": data.coming.until < min(end, max(end, near + NEAR)),
        "bad": _bad(data, start),
        "has_change": bool(find_clock_changes(start, end, moments.zone)),
        "wait_of": lambda run: durations.in_words(run.wait.total_seconds()),
    }


def _near_start(text: str, moments: Moments) -> datetime:
    """Return where the close-up begins: where it is asked for, within a week, else an hour and a half ago."""
    usual = (moments.now - timedelta(minutes=90)).replace(minute=0, second=0, microsecond=0)
    try:
        found = instant.parse(text)
    except (ValueError, OverflowError):
        return usual
    return found if abs(found - moments.now) < timedelta(days=7) else usual


def _read(view: WorkspaceView, start: datetime, end: datetime, moments: Moments) -> LaneData:
    active = list_active_runs(view)
    waiting = list_waiting(view, active)
    lanes: dict[str, int] = {}
    for connection in view.workspace.connections.values():
        lanes[connection.lane] = lanes.get(connection.lane, 0) + 1
    past, missed = list_past(view, start, moments.now)
    for lane in (*past, *missed, *(run.lane for run in active)):
        lanes.setdefault(lane, 0)
    return LaneData(
        lanes=dict(sorted(lanes.items(), key=lambda one: (one[0] != "main", one[0]))),
        active=active,
        waiting=waiting,
        past=past,
        missed=missed,
        blackouts=find_shared_blackouts(view.workspace),
        coming=forecast_lanes(view, end, active=active, waiting=waiting),
    )


def _picture(data: LaneData, window: Window, moments: Moments, *, days: bool) -> TimelinePicture:
    step = choose_step(window)
    grid = [*_draw_blackouts(data.blackouts, window), *draw_grid(window, moments.zone, step=step)]
    alone = max(LEAST_ALONE, min(ALONE, MOST_ALONE // max(1, len(data.lanes))))
    lanes = []
    for lane, count in data.lanes.items():
        content = LaneContent(
            lane=lane,
            past=data.past.get(lane, ()),
            missed=data.missed.get(lane, ()),
            active=[run for run in data.active if run.lane == lane],
            expected=data.coming.runs.get(lane, ()),
        )
        lanes.append((draw_lane(content, window, (), moments, alone=alone), plural(count, "connection")))
    axis = draw_axis(window, moments, step=step, days=days)
    return TimelinePicture(lanes=tuple(lanes), grid=tuple(grid), axis=tuple(axis), axis_height=40 if days else 24)


def _draw_blackouts(blackouts: Sequence[Blackout], window: Window) -> list[Shape]:
    return [
        rectangle("f-blackout", window.x(begin), 0, window.x(end) - window.x(begin), window.height, title=words)
        for begin, end, words in list_spans(blackouts, window.start, window.end)[:MOST_BLACKOUTS]
    ]


def _slow(data: LaneData, now: datetime, end: datetime) -> list[PredictedRun]:
    runs = (run for runs in data.coming.runs.values() for run in runs)
    found = [run for run in runs if run.wait >= SLOW and run.starts_at >= now and run.due_at <= end]
    return sorted(found, key=lambda run: (run.due_at, run.connection))


def _bad(data: LaneData, start: datetime) -> list[PastRun]:
    """Return the runs of the window that did not succeed, newest first."""
    runs = (run for runs in data.past.values() for run in runs)
    bad = [run for run in runs if run.outcome != "succeeded" and run.ended_at >= start]
    return sorted(bad, key=lambda run: run.ended_at, reverse=True)[:ROWS]


def _lede(start: datetime, end: datetime, moments: Moments) -> str:
    days = []
    begin = midnight(start, moments.zone)
    while begin < end:
        days.append(begin)
        begin = midnight(begin + timedelta(hours=1), moments.zone, 1)
    notes = describe_long_days(days, moments)
    return " ".join(["What ran, what runs, and what is expected, lane by lane.", *notes])
