"""The answer of `connrunner metrics`: figures of the workspace, and a bounded number for each connection."""

from __future__ import annotations

import math
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain, islice

from connrunner import __version__
from connrunner.answers.active_runs import list_active_runs
from connrunner.answers.status import check_health, lane_of
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.connection_index import OFF, find_lanes, find_with
from connrunner.core.counts import NAMES
from connrunner.core.formats.prometheus import Metric
from connrunner.core.model import Outcome, Run
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import run_files

UNKNOWN = -1  # rows, of a run that counts none
LOOKED_AT = 100  # runs, for the last one that succeeded


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionFigures:
    """What is known of one connection."""

    name: str
    last: Run | None
    succeeded_at: datetime | None  # when the last run that did ended
    failures: int  # in a row
    next_due: datetime | None
    waits_since: datetime | None
    started_at: datetime | None  # of the run that works now


# Each figure of a connection: its name, what it is, and where it comes from.
LAST_RUN_FIGURES: tuple[tuple[str, str, Callable[[Run], float | None]], ...] = (
    ("last_run_number", "Number of the last ended run.", lambda run: run.run),
    ("last_run_success", "1 when the last ended run succeeded, else 0.", lambda run: run.outcome is Outcome.SUCCEEDED),
    (
        "last_run_start_timestamp_seconds",
        "When the last ended run started.",
        lambda run: _timestamp(run.intent.started_at),
    ),
    ("last_run_end_timestamp_seconds", "When the last run ended.", lambda run: _timestamp(run.ended_at)),
    ("last_run_duration_seconds", "How long it took.", lambda run: run.seconds if run.intent.started_at else None),
    ("last_run_missed_slots", "Slots that passed unseen before the last run.", lambda run: run.entry.missed),
    ("last_run_merged_slots", "Slots that the last run stands for too.", lambda run: run.entry.merged),
)
CURRENT_FIGURES: tuple[tuple[str, str, Callable[[ConnectionFigures], float | None]], ...] = (
    (
        "last_success_timestamp_seconds",
        "When the last run that succeeded ended.",
        lambda figures: _timestamp(figures.succeeded_at),
    ),
    ("failures_in_a_row", "Failed runs since the last one that did not.", lambda figures: figures.failures),
    ("next_due_timestamp_seconds", "The next slot that is promised.", lambda figures: _timestamp(figures.next_due)),
    (
        "waiting_since_timestamp_seconds",
        "Due, and in the queue since.",
        lambda figures: _timestamp(figures.waits_since),
    ),
    ("running_since_timestamp_seconds", "Working since.", lambda figures: _timestamp(figures.started_at)),
)


def read_metrics(view: WorkspaceView) -> Iterator[Metric]:
    """Yield the figures of the workspace, then those of its connections."""
    health, journal_state, workspace = check_health(view), view.journal_state, view.workspace
    yield _single("info", "The version of connrunner.", 1, version=__version__)
    yield _single("last_tick_timestamp_seconds", "When a tick last looked.", _timestamp(health.last_tick))
    off = len(find_with(workspace.connections, OFF))
    states = Counter(on=len(workspace.connections) - off, off=off)
    states = +states  # without those that there are none of
    states["broken"] = len(workspace.broken)
    yield _by_label("connections", "Connections by what can be done with them.", "state", states)
    yield _single(
        "workspace_trouble", "1 while the last good version of the workspace is in use.", bool(workspace.trouble)
    )
    lanes = Counter(dict.fromkeys(find_lanes(workspace.connections), 0))
    lanes.update(lane_of(view, name) for name in journal_state.waiting)
    yield _by_label("queue_length", "Runs that are due and wait, by lane.", "lane", lanes)
    yield _single("running", "Runs that work now.", sum(run.lives for run in list_active_runs(view)))
    yield _single("late", "Slots that no tick has seen, or that wait too long.", len(health.late))
    yield _single("failing", "Connections whose last run was no success.", len(health.failing))
    yield _single("partial", "Those of them whose last run did its work, and refused rows.", health.partial)
    yield _single("held", "Held runs that wait for somebody to approve or decline them.", len(journal_state.held))
    yield _single("unusable_histories", "Connections that do not run: their history is unusable.", len(health.unusable))
    yield _single("mail_owed", "Mails that wait to be sent.", len(journal_state.owed))
    yield _single("mail_dead", "Mails that were given up.", len(journal_state.dead))
    if view.state.root.is_dir():
        room = os.statvfs(view.state.root)
        yield _single("state_free_bytes", "Free on the file system of the state folder.", room.f_bavail * room.f_frsize)
    yield from _of_connections(view, {failing.connection: failing.failures for failing in health.failing})


def _of_connections(view: WorkspaceView, failures: dict[str, int]) -> Iterator[Metric]:
    names = sorted({*view.workspace.connections, *view.workspace.broken})
    # Columns of numbers: ten thousand runs in memory at once would be many times as large.
    columns = {name: array("d") for name, *_ in (*LAST_RUN_FIGURES, *CURRENT_FIGURES)}
    counters = {counter: array("q") for counter in NAMES}
    outcomes: list[str] = []
    for figures in (_read_figures(view, name, failures.get(name, 0)) for name in names):
        last = figures.last
        for name, _, of_run in LAST_RUN_FIGURES:
            columns[name].append(_or_nan(of_run(last) if last else None))
        for name, _, of_now in CURRENT_FIGURES:
            columns[name].append(_or_nan(of_now(figures)))
        outcomes.append(last.outcome.value if last else "")
        counts = last.result.counts if last and last.intent.kind != "command" else None
        for counter, column in counters.items():
            column.append(getattr(counts, counter) if counts else UNKNOWN)
    for name, words, _ in (*LAST_RUN_FIGURES, *CURRENT_FIGURES):
        yield _by_connection(name, words, names, columns[name])
    known = (
        ({"connection": name, "outcome": outcome}, 1) for name, outcome in zip(names, outcomes, strict=True) if outcome
    )
    yield Metric("connrunner_last_run_outcome", "1, with the outcome of the last ended run.", known)
    rows = (
        ({"connection": name, "counter": counter}, column[place])
        for place, name in enumerate(names)
        for counter, column in counters.items()
        if column[place] > 0 or (counter == "read" and column[place] == 0)
    )
    words = "Rows of the last ended run by counter; those that are 0 are left out, but for read."
    yield Metric("connrunner_last_run_rows", words, rows)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _read_figures(view: WorkspaceView, name: str, failures: int) -> ConnectionFigures:
    journal_state = view.journal_state
    runs = run_files.read_any_history(view.state, name)
    last = next(runs, None)
    newest = chain([last] if last else [], islice(runs, LOOKED_AT))
    succeeded = next((run for run in newest if run.outcome is Outcome.SUCCEEDED), None)
    promise, waiting, started = (
        journal_state.promises.get(name),
        journal_state.waiting.get(name),
        journal_state.started.get(name),
    )
    return ConnectionFigures(
        name=name,
        last=last,
        succeeded_at=succeeded.ended_at if succeeded else None,
        failures=failures,
        next_due=promise.next_due if promise else None,
        waits_since=waiting.due_at if waiting else None,
        started_at=started.started_at if started else None,
    )


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else round(moment.timestamp(), 3)


def _by_connection(metric: str, words: str, names: list[str], values: Iterable[float]) -> Metric:
    samples = (
        ({"connection": name}, value) for name, value in zip(names, values, strict=True) if not math.isnan(value)
    )
    return Metric(f"connrunner_{metric}", words, samples)


def _single(name: str, words: str, value: float | None, **labels: str) -> Metric:
    return Metric(f"connrunner_{name}", words, () if value is None else ((labels, value),))


def _by_label(name: str, words: str, label: str, values: Counter[str]) -> Metric:
    return Metric(f"connrunner_{name}", words, tuple(({label: key}, value) for key, value in sorted(values.items())))
