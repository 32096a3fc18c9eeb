"""Run numbers, histories, logs and lane locks."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Result, Run
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.state.locks import LaneLock, is_lane_busy
from connrunner.state.run_files import RunLog
from tests.made import changed_run, ended_run, write_history

AT = instant.parse("2026-11-22T06:00:00Z")


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def ended(number: int, **more: object) -> Run:
    facts = {
        "connection": "a", "run": number, "outcome": Outcome.SUCCEEDED, "trigger": "schedule", "due_at": AT,
        "queued_at": AT, "started_at": AT, "ended_at": AT, "seconds": 1.5, "counts": Counts(read=2, checked=2, created=2),
    }  # fmt: skip
    return ended_run(**{**facts, **more})


def test_numbers_go_up_and_never_repeat(state: StateFolder) -> None:
    assert [run_files.create_run(state, "a", after=0) for _ in range(3)] == [1, 2, 3]
    assert run_files.create_run(state, "b", after=0) == 1
    assert run_files.create_run(state, "a", after=41) == 42


def test_a_run_is_found_in_history_behind_newer_ones(state: StateFolder) -> None:
    for number in (1, 3, 2, 2, 4, 4):
        run_files.append_history(state, ended(number))

    assert [run.run for run in run_files.read_history(state, "a")] == [4, 2, 3, 1]
    assert [run.run for number in (2, 4, 5) if (run := run_files.read_run(state, "a", number))] == [2, 4]


def test_numbers_survive_a_lost_journal_and_lost_run_folders(state: StateFolder) -> None:
    run_files.append_history(state, ended(17))

    assert run_files.create_run(state, "a", after=0) == 18


def _number(root: Path) -> int:
    return run_files.create_run(StateFolder(root), "a", after=0)


@pytest.mark.slow
@pytest.mark.thorough
def test_numbers_of_many_processes_at_once_differ(state: StateFolder) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        numbers = pool.map(_number, [state.root] * 200)

    assert sorted(numbers) == list(range(1, 201))


def test_history_is_read_from_its_end(state: StateFolder) -> None:
    for number in range(1, 1200):
        run_files.append_history(state, ended(number, message="x" * 100))

    assert [run.run for run in run_files.read_history(state, "a")] == list(range(1199, 0, -1))
    assert [run.run for run in islice(run_files.read_history(state, "a"), 2)] == [1199, 1198]
    assert list(run_files.read_history(state, "unknown")) == []
    assert [run.run for run in run_files.read_recent(state, "a", 2)] == [1199, 1198]
    assert [run.run for run in run_files.read_recent(state, "a", 2, until=400)] == [400, 399]
    assert [run.run for run in run_files.read_recent(state, "a", 2, until=1)] == [1]
    assert run_files.read_recent(state, "unknown", 2) == []


QUESTIONS = [
    lambda state: run_files.read_last_run(state, "a"),
    lambda state: run_files.read_run(state, "a", 20_000),
    lambda state: run_files.read_run(state, "a", 20_001),
    lambda state: run_files.read_run(state, "a", 12_345),
    lambda state: run_files.read_run(state, "a", 1),
    lambda state: run_files.read_run(state, "a", 0),
    lambda state: run_files.read_recent(state, "a", 30),
    lambda state: run_files.read_recent(state, "a", 30, until=9_000),
    lambda state: run_files.append_history(state, ended(20_001)),
    lambda state: run_files.create_run(state, "a", after=3),
]


@pytest.mark.parametrize("ask", QUESTIONS)
def test_what_is_read_of_a_history_does_not_grow_with_the_past(
    state: StateFolder, history_reads: list[int], ask: Callable[[StateFolder], object]
) -> None:
    write_history(state, ended(0), runs=20_000)  # 11 MB

    ask(state)

    assert sum(history_reads) < 1_000_000


def test_any_run_is_found_in_a_long_history(state: StateFolder) -> None:
    write_history(state, ended(0), runs=2_000)

    found = [run_files.read_run(state, "a", number) for number in (0, *range(1, 2_000, 37), 2_000, 2_001)]

    assert [run and run.run for run in found] == [None, *range(1, 2_000, 37), 2_000, None]


def test_a_run_is_found_beside_damage_and_among_runs_out_of_order(state: StateFolder) -> None:
    write_history(state, ended(0), runs=2_000)
    lines = state.history("a").read_bytes().splitlines(keepends=True)
    lines[500:800] = [b"\0" * len(line) for line in lines[500:800]]  # more than is looked at in one go
    lines[900:905] = reversed(lines[900:905])
    lines[999] = b'{"connection": "a"\n'
    state.history("a").write_bytes(b"".join(lines))

    found = [
        run_files.read_run(state, "a", number) for number in (1, 500, 600, 801, 802, *range(901, 906), 999, 1000, 1001)
    ]

    assert [run and run.run for run in found] == [1, 500, None, None, 802, *range(901, 906), 999, None, 1001]


def test_a_run_is_in_history_once_and_unchanged(state: StateFolder) -> None:
    run_files.append_history(state, ended(1))
    run_files.append_history(state, ended(1, message="told again"))

    assert list(run_files.read_history(state, "a")) == [ended(1)]


TIMES = [
    # outcome, code and seconds of each run, oldest first            the run times that count
    ([], []),
    ([("succeeded", "", 5), ("partial", "", 7)], [7, 5]),
    ([("stopped", "stopped", 7)], []),
    ([("interrupted", "interrupted", 7), ("skipped", "config-error", 0)], []),
    ([("failed", "timeout", 99), ("failed", "crashed", 3)], []),
    ([("failed", "timeout", 99), ("failed", "exit-status", 3)], [3]),
    ([("succeeded", "", 5), ("failed", "exit-status", 3), ("stopped", "stopped", 2), ("failed", "timeout", 99)], [5]),
]


@pytest.mark.parametrize(("runs", "seconds"), TIMES)
def test_what_was_cut_off_is_no_usual_run_time(
    state: StateFolder, runs: list[tuple[str, str, float]], seconds: list[float]
) -> None:
    for number, (outcome, code, took) in enumerate(runs, start=1):
        run_files.append_history(state, changed_run(ended(number), outcome=Outcome(outcome), code=code, seconds=took))
    assert run_files.read_durations(state, "a") == seconds


def test_a_torn_history_line_costs_only_itself(state: StateFolder) -> None:
    run_files.append_history(state, ended(1))
    with state.history("a").open("ab") as file:
        file.write(b'{"connection":"a","run":2,"outco')
    run_files.append_history(state, ended(3))

    assert [run.run for run in run_files.read_history(state, "a")] == [3, 1]


def test_a_log_tells_how_far_a_run_is_and_how_it_ended(state: StateFolder) -> None:
    run_files.create_run(state, "a", after=0)
    log = RunLog(state.log("a", 1))
    log.write_start({"connection": "a", "run": 1, "pid": 1})
    log.progress("reading", 10, 20)
    log.message("half way\nthere \ud800", level="warning", rows=10)

    story = run_files.read_log_summary(state, "a", 1)
    assert story.progress is not None
    assert (story.progress.stage, story.progress.done, story.progress.of) == ("reading", 10, 20)
    assert story.result is None

    log.write_end(Result(outcome=Outcome.PARTIAL, counts=Counts(read=2, checked=2, invalid=2), message="2 invalid"))
    log.close()
    story = run_files.read_log_summary(state, "a", 1)
    assert story.result is not None
    assert (story.result.outcome, story.result.counts.invalid, story.last_message[:8]) == (
        Outcome.PARTIAL,
        2,
        "half way",
    )
    assert len(state.log("a", 1).read_bytes().splitlines()) == 4
    for line in state.log("a", 1).read_bytes().splitlines():
        json.loads(line)


def test_a_half_written_event_is_left_for_later(state: StateFolder) -> None:
    run_files.create_run(state, "a", after=0)
    state.log("a", 1).write_bytes(b'{"at":"x","message":"one"}\n{"at":"x","mess')

    (offset, event), *more = run_files.read_events_from(state.log("a", 1), 0)

    assert (offset, event["message"], more) == (27, "one", [])


def test_one_holds_a_lane(state: StateFolder) -> None:
    first, second = LaneLock(state, "main"), LaneLock(state, "main")

    assert first.take()
    assert not second.take()
    assert is_lane_busy(state, "main")
    assert not is_lane_busy(state, "other")
    first.release()
    assert second.take()
    second.release()
    assert not is_lane_busy(state, "main")


@pytest.mark.slow
def test_a_lane_is_held_by_what_its_holder_started(state: StateFolder) -> None:
    """[P3] The tick may let go or die: the lane is busy until the last process of the run has ended."""
    lane = LaneLock(state, "main")
    assert lane.take()
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[lane.descriptor]
    )
    lane.release()
    try:
        assert not LaneLock(state, "main").take()
    finally:
        child.communicate()
    other = LaneLock(state, "main")
    assert other.take()
    other.release()


def test_a_lock_file_that_was_replaced_guards_nothing(state: StateFolder) -> None:
    first = LaneLock(state, "main")
    assert first.take()
    first.path.unlink()

    second = LaneLock(state, "main")
    assert second.take()
    assert second.path.stat().st_ino == os.fstat(second.descriptor).st_ino
    first.release()
    second.release()


def test_a_log_on_a_full_disk_stops_nothing_and_says_what_it_lost(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog(path)
    log.message("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        log.message("lost")
        log.progress("import", 1)
        with pytest.raises(OSError, match="File too large"):
            log.write_end(Result(outcome=Outcome.SUCCEEDED))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.message("after")
    log.write_end(Result(outcome=Outcome.SUCCEEDED))
    log.close()

    told = [event.get("message") for event in run_files.read_events(path)]
    assert told == ["before", "2 events could not be written: File too large", "after", ""]
