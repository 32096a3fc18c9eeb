"""The runs that have started and not ended: how far each is, and when it will be over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.planning import forecast
from connrunner.core.planning.due import find_stop_of_run
from connrunner.core.planning.forecast import RunDurations
from connrunner.core.run_records import Progress, RunPlace
from connrunner.lazy_dataclasses import asdict, dataclass
from connrunner.state import locks, requests, run_files
from connrunner.state.journal_state import StartedRun
from connrunner.text import durations


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveRun:
    """A run that works now, or one that was cut off and whose end is not recorded yet."""

    connection: str
    run: int
    lane: str
    started_at: datetime
    seconds: float
    lives: bool
    progress: Progress | None
    usual: RunDurations
    ends_at: datetime | None  # expected; None when it is slower than ever, or was cut off
    killed_at: datetime | None = None  # when what it started is killed, once it is asked to end
    place: RunPlace | None = None  # where it lives, when not on the machine that ticks


def find_active_run(view: WorkspaceView, name: str) -> ActiveRun | None:
    """Return how far the run of *name* is that has started and not ended; None when none has."""
    started = view.journal_state.started.get(name)
    if started is None:
        return None
    story = run_files.read_log_summary(view.state, name, started.run)
    progress = story.progress
    started_at = started.started_at
    # What lives elsewhere holds no lock here: it lives until its end is recorded.
    lives = started.executor is not None or locks.is_lane_busy(view.state, started.lane)
    usual = forecast.summarize_durations(run_files.read_durations(view.state, name))
    killed_at = _find_killed_at(view, started) if lives else None
    elapsed = max(0.0, (view.clock() - started_at).total_seconds())
    left = forecast.estimate_remaining(usual, elapsed) if usual.runs else _seconds_left(progress)
    return ActiveRun(
        connection=name,
        run=started.run,
        lane=started.lane,
        started_at=started_at,
        seconds=elapsed,
        lives=lives,
        progress=progress,
        usual=usual,
        ends_at=view.clock() + timedelta(seconds=left) if lives and left is not None and killed_at is None else None,
        killed_at=killed_at,
        place=story.place,
    )


def list_active_runs(view: WorkspaceView) -> tuple[ActiveRun, ...]:
    """Return every run that has started and not ended, by the name of its connection."""
    return tuple(run for name in sorted(view.journal_state.started) if (run := find_active_run(view, name)))


def _find_killed_at(view: WorkspaceView, started: StartedRun) -> datetime | None:
    """Return when the grace of a run that was asked to end is over; None while it was not."""
    asked = [
        stop.asked_at
        for stop in requests.read_stop_requests(view.state)
        if find_stop_of_run([stop], started.connection, started.run, started.entry.due_at)
    ]
    connection = view.workspace.connections.get(started.connection)
    timeout = started.started_at + timedelta(seconds=connection.timeout) if connection else None
    if timeout is not None and timeout <= view.clock():
        asked.append(timeout)
    return min(asked) + timedelta(seconds=started.grace) if asked else None


def _seconds_left(progress: Progress | None) -> float | None:
    if progress is None or not progress.of or not progress.rate:
        return None
    return max(0, progress.of - progress.done) / progress.rate


def describe_progress(run: ActiveRun, zone: str) -> str:
    """Return how far a run is and when it will be over."""
    if not run.lives:
        return "cut off; the next tick records its end"
    parts = [run.place.description] if run.place else []
    progress = run.progress
    if progress:
        share = f" of {progress.of:,} ({100 * progress.done // progress.of} %)" if progress.of else ""
        rate = f", {progress.rate:,.0f}/s" if progress.rate and progress.rate >= 1 else ""
        parts.append(f"{progress.stage}: {progress.done:,}{share}{rate}")
    if run.killed_at is not None:
        left = (run.killed_at - run.started_at).total_seconds() - run.seconds
        parts.append(f"is asked to end, killed in {durations.in_words(left)}" if left > 0 else "is being killed")
    elif run.ends_at:
        usual = f"usually {durations.in_words(run.usual.median)}, " if run.usual.runs else ""
        parts.append(f"{usual}ends about {time_of_day(run.ends_at, zone)}")
    elif run.usual.runs:
        parts.append(f"slower than usual: {_describe_most(run.usual)}")
    return "; ".join(parts)


def _describe_most(usual: RunDurations) -> str:
    most = durations.in_words(usual.p95)
    if usual.has_percentile:
        return f"19 of 20 runs take at most {most}"
    return f"the only one took {most}" if usual.runs == 1 else f"none of {usual.runs} runs took more than {most}"


def as_dict(run: ActiveRun) -> dict[str, Any]:
    """Return *run* as `status --format json` shows it."""
    progress = run.progress
    return {
        "connection": run.connection,
        "run": run.run,
        "lane": run.lane,
        "started_at": instant.text(run.started_at),
        "seconds": round(run.seconds, 3),
        "lives": run.lives,
        "stage": progress.stage if progress else "",
        "done": progress.done if progress else None,
        "of": progress.of if progress else None,
        "rate": round(progress.rate, 3) if progress and progress.rate else None,
        "ends_at": instant.text(run.ends_at) if run.ends_at else None,
        "killed_at": instant.text(run.killed_at) if run.killed_at else None,
        "place": asdict(run.place) if run.place else None,
    }


def time_of_day(when: datetime, zone: str) -> str:
    """Return `HH:MM` of *when* in *zone*."""
    return instant.local(when, zone)[11:16]
