"""How a run is judged whose worker is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, QueuedRun, Result, RunIntent
from connrunner.core.planning.due import StopRequest
from connrunner.core.run_records import LogSummary
from connrunner.executors.contract import Task
from connrunner.executors.local import AdoptedWorker
from connrunner.scheduler.supervision import ITS_OWN_END, OVERTIME, SupervisedRun
from connrunner.state.folder import StateFolder
from connrunner.state.handovers import CopiedLog, Handover
from connrunner.state.journal_state import StartedRun
from connrunner.state.locks import LaneLock, SupervisorLock, WorkerLock

NOW = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
STOP = StopRequest(connection="a", run=1, asked_at=NOW, asked_by="ann@here", reason="wrong list")
COUNTS = Counts(read=3, checked=3, created=3)


class Worker:
    def __init__(self, status: int | None) -> None:
        self.exit_status = status
        self.is_alive = True
        self.told: list[int] = []

    def tell(self, number: signal.Signals) -> None:
        self.told.append(number)

    def fileno(self) -> int | None:
        return None

    outlives_us = False
    verdict: Result | None = None

    @property
    def left(self) -> list[str]:
        return []

    def end_leftovers(self, *, grace: float | None) -> bool:
        return True

    def give_up(self) -> None: ...

    def forget(self) -> None: ...

    def close(self) -> None: ...


def working(tmp_path: Path, status: int | None = 0, **more: Any) -> SupervisedRun:
    state = StateFolder(tmp_path)
    state.prepare()
    return SupervisedRun(
        lane=LaneLock(state, "main"),
        supervisor=SupervisorLock(state, "main"),
        started=StartedRun(
            entry=QueuedRun(connection="a", due_at=NOW, queued_at=NOW),
            intent=RunIntent(run=1, started_at=NOW),
            lane="main",
            mark="m",
        ),
        worker=Worker(status),
        timeout=60,
        errors=tmp_path / "worker.txt",
        **more,
    )


def said(outcome: Outcome) -> LogSummary:
    return LogSummary(result=Result(outcome=outcome, counts=COUNTS, message="said"))


CASES = [
    # what its log says           how it ended               status  outcome, code
    (said(Outcome.SUCCEEDED),     {},                        0,      ("succeeded", "", "said")),
    (said(Outcome.SUCCEEDED),     {"stop": STOP},            0,      ("succeeded", "", "said")),  # it was faster
    (said(Outcome.PARTIAL),       {"timed_out": True},       0,      ("partial", "", "said")),
    (said(Outcome.INTERRUPTED),   {},                        0,      ("interrupted", "", "said")),
    (said(Outcome.INTERRUPTED),   {"stop": STOP},            0,      ("stopped", "stopped", "stopped by ann@here: wrong list")),
    (said(Outcome.INTERRUPTED),   {"timed_out": True},       0,      ("failed", "timeout", "it did not end at its timeout of 60 s and was ended")),
    (LogSummary(counts=COUNTS),        {"stop": STOP},            -9,     ("stopped", "stopped", "stopped by ann@here: wrong list")),
    (LogSummary(counts=COUNTS),        {"timed_out": True},       -9,     ("failed", "timeout", "it did not end at its timeout of 60 s and was ended")),
    (LogSummary(counts=COUNTS),        {},                        -9,     ("failed", "crashed", "its process ended by signal 9 before it said how it went")),
    (LogSummary(counts=COUNTS),        {},                        4,      ("failed", "crashed", "its process ended with exit status 4 before it said how it went")),
    (LogSummary(counts=COUNTS),        {"adopted": True},         None,   ("interrupted", "interrupted", "its process was killed, and the connrunner that had started it was gone")),
]  # fmt: skip


@pytest.mark.parametrize(("story", "facts", "status", "expected"), CASES)
def test_how_it_went(
    story: LogSummary, facts: dict[str, Any], status: int | None, expected: tuple[str, str, str], tmp_path: Path
) -> None:
    result = working(tmp_path, status, **facts).result(story)
    assert (str(result.outcome), result.code, result.message) == expected
    assert result.counts == COUNTS  # true also if it never came to its end


class Question:
    """What the store is asked, with the answer that it has after a while."""

    def __init__(self, answer: dict[str, Any] | ValueError | None) -> None:
        self.has_ended = False
        self._answer = answer
        self.closed = False
        self.was_killed = False

    def answer(self) -> dict[str, Any] | None:
        if isinstance(self._answer, ValueError):
            raise self._answer
        return self._answer

    def close(self) -> None:
        self.closed = True


IN_STORE = {"kind": "import", "counts": COUNTS.as_dict(), "detail": {"files": []}}
REFUSED = {**IN_STORE, "counts": Counts(read=1, checked=1, invalid=1).as_dict()}
ANSWERS = [
    # what the store has        how it ended         outcome, code, message
    (IN_STORE,                  {},                  ("succeeded", "", "3 created; all is in the profile store; afterwards its process ended by signal 9 before it said how it went")),
    (REFUSED,                   {"timed_out": True}, ("partial", "", "1 refused; all is in the profile store; afterwards its process ended by signal 9 before it said how it went")),
    (IN_STORE,                  {"stop": STOP},      ("succeeded", "", "3 created; all is in the profile store; afterwards its process ended by signal 9 before it said how it went (stopped by ann@here: wrong list)")),
    (None,                      {},                  ("failed", "crashed", "its process ended by signal 9 before it said how it went")),
    (ValueError("cannot open"), {"stop": STOP},      ("stopped", "stopped", "stopped by ann@here: wrong list")),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "facts", "expected"), ANSWERS)
def test_the_store_is_asked_when_nobody_said_how_it_went(
    answer: dict[str, Any] | ValueError | None, facts: dict[str, Any], expected: tuple[str, str, str], tmp_path: Path
) -> None:
    question = Question(answer)
    run = working(tmp_path, -9, ask_store=lambda: question, **facts)
    assert isinstance(run.worker, Worker)
    run.worker.is_alive = False
    assert not run.has_ended()  # a run of another lane has the store open
    question.has_ended = True
    assert run.has_ended()
    assert question.closed
    result = run.result(LogSummary())
    assert (str(result.outcome), result.code, result.message) == expected


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_the_store_is_asked_again_when_who_asks_is_killed(deaths: int, tmp_path: Path) -> None:
    """Thrice in all: a damaged store may kill whoever opens it."""
    questions = [Question(ValueError("killed")) for _ in range(deaths)] + [Question(IN_STORE)] * (deaths < 3)
    for place, question in enumerate(questions):
        question.has_ended, question.was_killed = True, place < deaths
    asked = iter(questions)
    run = working(tmp_path, -9, ask_store=lambda: next(asked))
    assert isinstance(run.worker, Worker)
    run.worker.is_alive = False
    looks = 1
    while not run.has_ended():
        looks += 1
    assert looks == min(3, deaths + 1)
    assert list(asked) == []
    assert str(run.result(LogSummary()).outcome) == ("succeeded" if deaths < 3 else "failed")


def test_what_its_interpreter_said_is_kept_only_if_it_said_something(tmp_path: Path) -> None:
    run = working(tmp_path, 1)
    run.errors.write_text("one\nMemoryError\n")
    assert run.result(LogSummary()).message.endswith("before it said how it went: MemoryError")
    assert run.errors.exists()
    run.errors.write_text("\n")
    run.result(LogSummary())
    assert not run.errors.exists()


@pytest.mark.parametrize("grace", [0, 10, 3600])
def test_one_that_outlives_its_timeout_is_told_and_then_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: int
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    run = working(tmp_path, began=now)
    run.started = replace(run.started, grace=grace)
    worker = run.worker
    assert isinstance(worker, Worker)
    now += 60 + grace + OVERTIME
    assert (run.has_ended(), worker.told) == (False, [])
    now += 1
    assert (run.has_ended(), worker.told, run.timed_out) == (False, [signal.SIGTERM], True)
    now += grace + ITS_OWN_END
    assert (run.has_ended(), worker.told) == (False, [signal.SIGTERM])
    now += 1
    assert (run.has_ended(), worker.told) == (False, [signal.SIGTERM, signal.SIGKILL])


@pytest.mark.slow
def test_another_ticks_lane_is_not_taken_for_a_leftover(tmp_path: Path) -> None:
    """Somebody emptied `locks/` while the run worked, and another tick has made and locked the lane's file anew."""
    run = working(tmp_path)
    state = StateFolder(tmp_path)
    task = Task(
        id="a-1-m",
        job={},
        settings={},
        mark="m",
        grace=0,
        timeout=60,
        lane=run.lane,
        alive=WorkerLock(tmp_path / "worker.txt"),
        log=CopiedLog(tmp_path / "log.jsonl"),
        handover=Handover(state, "a-1-m"),
    )
    run.worker = AdoptedWorker(task)
    assert run.lane.take()
    run.lane.path.unlink()
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    other = [sys.executable, "-S", "-c", code, str(run.lane.path)]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        assert run.has_ended()
        assert process.poll() is None
        process.stdin.close()
        assert process.wait() == 0
