"""A day of runs in a cluster that fails, is cut in two, and whose ticks are killed: none doubled, lost or overlapped."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest

from connrunner.executors.contract import Task
from connrunner.executors.engine_executor import EngineExecutor, EngineWorker
from tests.stands.kubernetes import RUN, Log, Stand

STEP = 5  # seconds between two looks of a tick
DAY = 86_400


class Killed(BaseException):
    """The tick was killed here."""


@dataclass
class Day:
    """Runs over a day, in lanes, looked after by ticks that are killed at random: what is durable of them outlives them."""

    runs: int
    lanes: int
    partitions: int
    failing: float = 0.05  # share of the calls
    killed: float = 0.002  # share of the calls at which the tick is killed
    seed: int = 1
    seconds: int = DAY
    started: dict[int, Task] = field(default_factory=dict)  # by lane: the journal
    ended: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    kills: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.stand = Stand()
        self.start_of_day = self.stand.now
        self.queue: dict[int, list[tuple[int, str]]] = {lane: [] for lane in range(self.lanes)}
        for number in range(self.runs):
            at = self.chance.randrange(self.seconds)
            self.queue[number % self.lanes].append((at, f"c{number % self.lanes}-{number}-m"))
        for waiting in self.queue.values():
            waiting.sort(reverse=True)
        self.cuts = sorted(self.chance.randrange(self.seconds) for _ in range(self.partitions))
        self.finish_at: dict[str, float] = {}
        self.begin = self.stand.begin
        self.stand.cluster.begin = self._begin
        self.stand.cluster.fault = self._fault
        self._heals: dict[str, float] = {}

    # --- the world -------------------------------------------------------------------------------------------------

    def _begin(self, pod: dict[str, Any]) -> None:
        run = pod["metadata"]["labels"][RUN]
        lane = lane_of(run)
        assert not any(lane_of(other) == lane for other in self.stand.working), f"lane {lane}: two runs at once"
        self.begin(pod)
        if run in self.stand.working:
            self.finish_at[run] = self.stand.now + self.chance.expovariate(1 / 60)

    def _fault(self, method: str, path: str) -> int | str | None:
        if self.chance.random() < self.killed:
            self.kills += 1
            raise Killed
        if self.chance.random() < self.failing:
            return self.chance.choice((429, 500, 503, "lost", "lost", "lost"))
        return None

    def _turn(self) -> None:
        """Let the world go on by a step."""
        self.stand.now += STEP
        while self.cuts and self.start_of_day + self.cuts[0] <= self.stand.now:
            self.cuts.pop(0)
            node = self.chance.choice(sorted(self.stand.cluster.nodes))
            self.stand.cluster.nodes[node] = False
            self._heals[node] = self.stand.now + self.chance.uniform(60, 900)
        for node, at in list(self._heals.items()):
            if at <= self.stand.now:
                self.stand.cluster.nodes[node] = True
                del self._heals[node]
        for run in [run for run, at in self.finish_at.items() if at <= self.stand.now]:
            del self.finish_at[run]
            logged = self.chance.random() < 0.9
            self.stand.finish(run, logged=logged, said=not logged or self.chance.random() < 0.9)
        self.stand.cluster.step()

    # --- ticks -----------------------------------------------------------------------------------------------------

    def live(self) -> None:
        executor: EngineExecutor | None = None
        workers: dict[int, EngineWorker] = {}
        with self._clock():
            while self.stand.now < self.start_of_day + self.seconds or self.started or any(self.queue.values()):
                assert self.stand.now < self.start_of_day + 3 * DAY, "it does not come to an end"
                self._turn()
                try:
                    if executor is None:
                        executor, workers = self.stand.executor(), {}
                    self._tick(executor, workers)
                except Killed:
                    executor = None

    def _tick(self, executor: EngineExecutor, workers: dict[int, EngineWorker]) -> None:
        for lane, waiting in self.queue.items():
            worker = workers.get(lane)
            if worker is None:
                if (task := self.started.get(lane)) is not None:
                    worker = workers[lane] = executor.adopt(task)
                elif waiting and self.start_of_day + waiting[-1][0] <= self.stand.now:
                    task = self.started[lane] = self.stand.task(waiting.pop()[1])  # the durable intent
                    worker = workers[lane] = executor.start(task)
                else:
                    continue
            if not worker.is_alive and worker.end_leftovers(grace=None):
                task = self.started.pop(lane)
                assert task.id not in self.stand.working, f"{task.id} is recorded as ended, and lives"
                self.ended[task.id] += 1
                assert isinstance(task.log, Log)
                said = {str(one["outcome"]) for one in task.log.ends}
                self.outcomes["".join(sorted(said)) or str(worker.verdict and worker.verdict.outcome)] += 1
                del workers[lane]
                worker.forget()

    @contextmanager
    def _clock(self) -> Iterator[None]:
        now = mock.Mock(side_effect=lambda: self.stand.now)
        with (
            mock.patch("connrunner.executors.engine_executor.time.monotonic", now),
            mock.patch("connrunner.executors.kubernetes.api_client.time.time", now),
        ):
            yield

    @property
    def summary(self) -> str:
        worked = Counter(self.stand.worked)
        doubled = sum(count > 1 for count in worked.values())
        lost = self.runs - len(worked)
        calls = len(self.stand.cluster.calls)
        return (
            f"{len(self.ended):,} of {self.runs:,} runs ended, each once: {set(self.ended.values()) == {1}}; "
            f"{doubled} doubled, {lost} lost, 0 overlapped (or it would have stopped); {calls:,} calls, "
            f"{self.kills:,} ticks killed, {self.partitions} partitions; outcomes {dict(self.outcomes)}"
        )

    def judge(self) -> None:
        """Every run was begun once and has one end."""
        assert Counter(self.stand.worked) == Counter(dict.fromkeys(self.ended, 1)), self.summary
        assert set(self.ended.values()) == {1}, self.summary
        assert len(self.ended) == self.runs, self.summary
        assert self.outcomes == {"succeeded": self.runs}, self.summary


def lane_of(run: str) -> str:
    return run.partition("-")[0]


def test_a_day_in_small() -> None:
    day = Day(runs=60, lanes=4, partitions=8, killed=0.02, seconds=7200)
    day.live()
    day.judge()


@pytest.mark.thorough
def test_some_hours_of_many_lanes() -> None:
    day = Day(runs=1000, lanes=40, partitions=20, seconds=7200)
    day.live()
    day.judge()


@pytest.mark.long
def test_a_day_of_many_runs() -> None:
    day = Day(runs=100_000, lanes=200, partitions=20)
    day.live()
    day.judge()


if __name__ == "__main__":  # python -m tests.test_executors_simulation RUNS LANES
    with suppress(KeyboardInterrupt):
        one = Day(runs=int(sys.argv[1]), lanes=int(sys.argv[2]), partitions=20)
        one.live()
        sys.stdout.write(one.summary + "\n")
        one.judge()
