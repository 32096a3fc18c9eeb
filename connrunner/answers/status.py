"""What runs, waits, comes next, is late or fails, and whether all is well: the facts of `connrunner status`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.core.alerts import alert_state
from connrunner.core.model import Outcome, QueuedRun, Run
from connrunner.core.planning import due as plan
from connrunner.core.planning import forecast
from connrunner.core.planning.forecast import PredictedRun, PredictedSlot, RunDurations
from connrunner.core.run_records import Progress
from connrunner.scheduler import idle
from connrunner.state import locks, run_files

FAILING = {str(outcome) for outcome in Outcome if outcome.is_failure}
SEEN_WITHIN = timedelta(minutes=3)  # a slot that nobody has seen by then: no tick comes
STARTED_WITHIN = timedelta(minutes=10)  # a run that waits longer is late
TICK_WITHIN = timedelta(minutes=5)
PREDICTED = 200  # runs whose start is predicted; each costs a look into a history
MINUTE = 60.0  # seconds that a run is given which works longer than any before


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveRun:
    """A run that works now, or whose end nobody has recorded yet."""

    connection: str
    run: int
    lane: str
    started_at: datetime
    seconds: float
    lives: bool
    progress: Progress | None
    usual: RunDurations
    ends_at: datetime | None  # expected; None when it is slower than ever, or was cut off


@dataclass(frozen=True, kw_only=True, slots=True)
class FailingConnection:
    """A connection whose newest run was no success."""

    connection: str
    outcome: str
    since: datetime | None  # when the first failure in a row ended
    failures: int  # in a row
    last: Run | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LateSlot:
    """A slot that should have a run by now."""

    connection: str
    due_at: datetime
    waits: bool  # else no tick has seen it


def running_facts(view: WorkspaceView, name: str) -> ActiveRun | None:
    """Return how far the run of *name* is that has started and not ended; None when none has."""
    started = view.journal_state.started.get(name)
    if started is None:
        return None
    progress = run_files.read_log_summary(view.state, name, started.run).progress
    started_at = started.started_at
    lives = locks.is_lane_busy(view.state, started.lane)
    usual = forecast.summarize_durations(run_files.read_durations(view.state, name))
    elapsed = max(0.0, (view.clock() - started_at).total_seconds())
    left = forecast.estimate_remaining(usual, elapsed) if usual.runs else _left(progress)
    return ActiveRun(
        connection=name,
        run=started.run,
        lane=started.lane,
        started_at=started_at,
        seconds=elapsed,
        lives=lives,
        progress=progress,
        usual=usual,
        ends_at=view.clock() + timedelta(seconds=left) if lives and left is not None else None,
    )


def _left(progress: Progress | None) -> float | None:
    if progress is None or not progress.of or not progress.rate:
        return None
    return max(0, progress.of - progress.done) / progress.rate


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionFilter:
    """Which connections are shown."""

    names: tuple[str, ...] = ()  # names or patterns; all when empty
    owner: str = ""
    labels: tuple[tuple[str, str | None], ...] = ()  # None: whatever it says

    def __bool__(self) -> bool:
        return bool(self.names or self.owner or self.labels)


class Overview:
    """The facts, each gathered when it is asked for."""

    def __init__(self, view: WorkspaceView, choice: ConnectionFilter) -> None:
        self.view, self.choice = view, choice
        self.now = view.clock()
        self.journal_state = view.journal_state
        self._unknown: set[str] = set()  # lanes of connections that nobody has seen run

    def is_shown(self, name: str) -> bool:
        """Tell whether *name* is chosen."""
        return not self.choice or self._fits(name)

    def _fits(self, name: str) -> bool:
        choice = self.choice
        if choice.names and not any(fnmatchcase(name, pattern) for pattern in choice.names):
            return False
        if not (choice.owner or choice.labels):
            return True
        connection = self.view.workspace.connections.get(name)
        if connection is None or (choice.owner and connection.owner != choice.owner):
            return False
        labels = connection.labels
        return all(key in labels and value in (None, labels[key]) for key, value in choice.labels)

    def _chosen(self, names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if self.is_shown(name))

    # --- what there is -------------------------------------------------------------------------------------------

    @cached_property
    def all_running(self) -> list[ActiveRun]:
        return [facts for name in sorted(self.journal_state.started) if (facts := running_facts(self.view, name))]

    @property
    def running(self) -> list[ActiveRun]:
        return [facts for facts in self.all_running if self.is_shown(facts.connection)]

    @cached_property
    def queue(self) -> list[QueuedRun]:
        """All that waits, in the order in which it is run."""
        return plan.sort_queue(self.journal_state.waiting.values())

    @property
    def waiting(self) -> list[tuple[int, QueuedRun]]:
        """What is chosen of the queue, each with its place in its lane."""
        places: dict[str, int] = {}
        found = []
        for entry in self.queue:
            lane = self.lane_of(entry.connection)
            places[lane] = places.get(lane, 0) + 1
            if self.is_shown(entry.connection):
                found.append((places[lane], entry))
        return found

    @cached_property
    def all_coming(self) -> list[tuple[datetime, str]]:
        promises = self.journal_state.promises.items()
        return sorted((promise.next_due, name) for name, promise in promises if promise.next_due is not None)

    @property
    def coming(self) -> list[tuple[datetime, str]]:
        return [(due, name) for due, name in self.all_coming if self.is_shown(name)]

    @cached_property
    def failing(self) -> list[FailingConnection]:
        return [self._failing(name) for name in self._chosen(self._failed())]

    def _failed(self) -> Iterator[str]:
        return (name for name, outcome in self.journal_state.last_outcome.items() if outcome in FAILING)

    def _failing(self, name: str) -> FailingConnection:
        streak = alert_state.current_streak(self.journal_state.alerts, name, alert_state.USUAL)
        return FailingConnection(
            connection=name,
            outcome=self.journal_state.last_outcome[name],
            since=instant.parse(streak["since"]) if streak else None,
            failures=streak["failures"] if streak else 1,
        )

    def last_of(self, name: str) -> Run | None:
        """Return the newest ended run of *name*."""
        return run_files.read_last_run(self.view.state, name)

    @cached_property
    def late(self) -> list[LateSlot]:
        found = [
            LateSlot(connection=entry.connection, due_at=entry.due_at, waits=True)
            for _, entry in self.waiting
            if self.now - entry.due_at > STARTED_WITHIN
        ]
        for due, name in self.coming:
            if self.now - due <= SEEN_WITHIN:
                break
            found.append(LateSlot(connection=name, due_at=due, waits=False))
        return found

    @cached_property
    def broken(self) -> list[str]:
        return self._chosen(self.view.workspace.broken)

    @cached_property
    def last_tick(self) -> datetime | None:
        ticked = idle.find_last_look(str(self.view.state.root))
        return None if ticked is None else datetime.fromtimestamp(ticked, UTC)

    def lane_of(self, name: str) -> str:
        known = self.view.workspace.connections.get(name)
        return known.lane if known else "main"

    # --- what is to be expected ----------------------------------------------------------------------------------

    @cached_property
    def predicted(self) -> dict[tuple[str, datetime], PredictedRun]:
        """The predicted runs of what waits and of the slots to come, by connection and slot; the next ones only.

        What nobody has seen run takes no time here, so `starts_at` says nothing of its lane.
        """
        queue = ((entry.connection, entry.due_at) for entry in self.queue)
        ahead = list(chain(queue, ((name, due) for due, name in self.all_coming)))[:PREDICTED]
        arrivals = [PredictedSlot(connection=name, lane=self.lane_of(name), due_at=due) for name, due in ahead]
        self._unknown |= {facts.lane for facts in self.all_running if facts.lives and facts.ends_at is None}
        busy = {
            facts.lane: (f"{facts.connection} #{facts.run}", facts.ends_at or self.now + timedelta(seconds=MINUTE))
            for facts in self.all_running
            if facts.lives
        }
        usual = {
            name: forecast.summarize_durations(run_files.read_durations(self.view.state, name), guess=0)
            for name, _ in ahead
        }
        self._unknown |= {self.lane_of(name) for name in usual if not usual[name].runs}
        seconds = {name: usual[name].median for name in usual}
        visits = forecast.simulate(arrivals, seconds, now=self.now, busy=busy)
        return {(visit.connection, visit.due_at): visit for visit in visits}

    def starts_at(self, name: str, due: datetime) -> datetime | None:
        """Return when the run for a slot will start; None when it is too far ahead, or what it waits for is unknown."""
        visit = self.predicted.get((name, due))
        return None if visit is None or visit.lane in self._unknown else visit.starts_at

    # --- is all well? --------------------------------------------------------------------------------------------

    @cached_property
    def complaints(self) -> list[str]:
        """What is not well, in words; nothing when all is."""
        found = []
        for count, words in ((len(self.failing), "failing"), (len(self.late), "late"), (len(self.broken), "broken")):
            if count:
                found.append(f"{count:,} {words}")
        if self.view.workspace.trouble:
            found.append("the newest version of the workspace cannot be used")
        if self.last_tick is None:
            found.append("no tick yet")
        elif self.now - self.last_tick > TICK_WITHIN:
            found.append("no tick lately")
        return found
