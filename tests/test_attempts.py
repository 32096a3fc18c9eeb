"""A run that is tried again: when, how often, and what is told of it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from connrunner.config.resolved import connection_from
from connrunner.core.model import Outcome, Result, Retry
from connrunner.core.retry import decide_wait
from connrunner.state import run_files
from connrunner.state.run_files import RunLog
from connrunner.worker.retries import Attempts
from tests.conftest import Place
from tests.test_tick import eventually

LATER = Result(outcome=Outcome.FAILED, message="the server is busy", code="busy", waiting_helps=True)
NEVER = Result(outcome=Outcome.FAILED, message="the password is wrong", code="login")
DONE = Result(outcome=Outcome.SUCCEEDED, message="12 created")
PARTIAL = Result(outcome=Outcome.PARTIAL, message="1 refused", waiting_helps=True)
THREE = Retry(times=3, delay=60, backoff=2)

WAITS = [
    # retry, attempt, result, seconds left, wait
    (None, 1, LATER, 9999, None),
    (THREE, 1, LATER, 9999, 60),
    (THREE, 2, LATER, 9999, 120),
    (THREE, 3, LATER, 9999, 240),
    (THREE, 4, LATER, 9999, None),
    (THREE, 1, NEVER, 9999, None),
    (THREE, 1, DONE, 9999, None),
    (THREE, 1, PARTIAL, 9999, None),
    (THREE, 3, LATER, 240, None),  # no time would be left for the attempt itself
    (THREE, 3, LATER, 241, 240),
    (Retry(times=2, delay=5, backoff=1), 2, LATER, 10, 5),
    (Retry(times=20, delay=86400, backoff=10), 20, LATER, 9e9, None),
]


@pytest.mark.parametrize(("retry", "attempt", "result", "left", "wait"), WAITS)
def test_when_the_next_attempt_is(
    retry: Retry | None, attempt: int, result: Result, left: float, wait: float | None
) -> None:
    assert decide_wait(retry, attempt, result, left=left) == wait


class Story:
    """A clock that only waiting moves, and a log."""

    def __init__(self, *results: Result, retry: Retry | None = THREE, timeout: float = 9999) -> None:
        self.now, self.lines, self.results = 0.0, list[tuple[str, Any]](), list(results)
        self.attempts = Attempts(retry=retry, deadline=timeout, report=self, sleep=self.sleep, clock=lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.lines.append((f"{level}: {text}", facts["attempt"]))

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...

    def run(self) -> Result:
        return self.attempts.result_of(lambda: self.results.pop(0))


def test_it_goes_on_until_it_succeeds() -> None:
    story = Story(LATER, LATER, DONE)

    assert story.run().message == "12 created; attempt 3 of 4"
    assert (story.attempts.number, story.now) == (3, 180)
    assert story.lines == [
        ("warning: attempt 1 of 4 failed: the server is busy; the next one in 60 s", 1),
        ("warning: attempt 2 of 4 failed: the server is busy; the next one in 120 s", 2),
    ]


TOLD = [
    ((DONE,), THREE, 9999, "12 created"),
    ((NEVER,), THREE, 9999, "the password is wrong"),
    ((LATER,), None, 9999, "the server is busy"),
    ((LATER, NEVER), THREE, 9999, "the password is wrong; attempt 2 of 4"),
    ((LATER,) * 4, THREE, 9999, "the server is busy; attempt 4 of 4"),
    ((LATER,) * 2, THREE, 100, "the server is busy; attempt 2 of 4, its timeout leaves no time for another"),
]


@pytest.mark.parametrize(("results", "retry", "timeout", "message"), TOLD)
def test_what_is_told(results: tuple[Result, ...], retry: Retry | None, timeout: float, message: str) -> None:
    story = Story(*results, retry=retry, timeout=timeout)

    assert story.run().message == message
    assert story.results == []


def test_an_order_during_a_wait_ends_it_at_once() -> None:
    class Ordered(BaseException): ...

    def sleep(_: float) -> None:
        raise Ordered

    story = Story(LATER, DONE)
    story.attempts.sleep = sleep
    with pytest.raises(Ordered):
        story.run()
    assert story.attempts.number == 1


def test_what_yaml_says(tmp_path: Any) -> None:
    document = {
        "title": "x",
        "schedule": {"type": "manual"},
        "timeout": "6h",
        "notify": [],
        "command": {"run": ["true"]},
    }

    def retry(**said: Any) -> Retry | None:
        return connection_from("x", {**document, "retry": said}, timezone="UTC").retry

    assert retry(times=3) == Retry(times=3, delay=60, backoff=2, on_exit=(75,))
    assert retry(times=1, delay="2m", backoff=1.5, on_exit=[1, 2]) == Retry(
        times=1, delay=120, backoff=1.5, on_exit=(1, 2)
    )
    assert retry(times=0) is None
    assert connection_from("x", document, timezone="UTC").retry is None


FLAKY = """
import pathlib, sys
tries = pathlib.Path("tries")
before = tries.read_text() if tries.exists() else ""
tries.write_text(before + "x")
print('{"counts": {"created": 1}}', flush=True)
sys.exit(75 if len(before) < 2 else 0)
"""


@pytest.mark.slow
@pytest.mark.thorough
def test_a_program_that_asks_for_later_is_run_again_within_one_run(place: Place) -> None:
    place.command("flaky", FLAKY, more="retry: {times: 3, delay: 1s, backoff: 1}\n")
    place.run("run", "flaky")
    (run,) = place.runs("flaky")

    assert (run["outcome"], run["attempts"], run["message"]) == ("succeeded", 3, "attempt 3 of 4")
    assert run["counts"]["created"] == 1  # of the last attempt
    events = list(run_files.read_events(place.state.log("flaky", 1)))
    assert [event["attempt"] for event in events if "attempt" in event] == [1, 2]
    assert [event["number"] for event in events if event.get("type") == "attempt"] == [2, 3]


HANGS = """
import pathlib, sys, time
if pathlib.Path("first").exists():
    pathlib.Path("second").touch()
    time.sleep(600)
pathlib.Path("first").touch()
print('{"counts": {"created": 3}}', flush=True)
sys.exit(75)
"""


@pytest.mark.slow
def test_a_run_whose_process_is_killed_tells_of_the_attempt_at_work(place: Place) -> None:
    place.command("hangs", HANGS, schedule="{type: times_per_day, times: 1}", more="retry: {times: 3, delay: 1s}\n")
    tick = place.start("tick")
    eventually((place.folder / "second").exists)
    (pid,) = [event["pid"] for event in run_files.read_events(place.state.log("hangs", 1)) if "pid" in event]
    os.kill(pid, signal.SIGKILL)
    tick.communicate(timeout=120)
    (run,) = place.runs("hangs")

    assert (run["outcome"], run["code"], run["attempts"], run["counts"]["created"]) == ("failed", "crashed", 2, 0)


@pytest.mark.slow
def test_a_run_that_waits_for_its_next_attempt_is_ended_at_once(place: Place) -> None:
    place.command("flaky", "import sys; sys.exit(75)", more="retry: {times: 3, delay: 1h}\n")
    started = place.start("run", "flaky")
    log = place.state.log("flaky", 1)
    while not any("attempt" in event for event in run_files.read_events(log)):
        assert started.poll() is None
        time.sleep(0.05)
    started.send_signal(signal.SIGTERM)
    started.communicate(timeout=120)
    run = place.runs("flaky")[0]

    assert (run["outcome"], run["code"], run["attempts"]) == ("interrupted", "shutdown", 1)


def test_the_log_keeps_the_number_of_attempts(tmp_path: Any) -> None:
    log = RunLog(tmp_path / "log.jsonl")
    log.write_end(Result(outcome=Outcome.SUCCEEDED, attempts=3))
    log.close()
    (event,) = run_files.read_events(tmp_path / "log.jsonl")
    assert event["attempts"] == 3
    assert "waiting_helps" not in event
