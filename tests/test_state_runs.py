"""Run numbers, histories, logs and lane locks."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from connrunner.core import instant
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Result, Run
from connrunner.errors import StateError
from connrunner.state import end_reserve, locks, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
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


@contextmanager
def limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond *size* bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_log_on_a_full_disk_stops_nothing_and_says_what_it_lost(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog(path)
    log.message("before")
    with limited_to(path.stat().st_size + 10):
        log.message("lost")
        log.progress("import", 1)
        with pytest.raises(OSError, match="File too large"):
            log.write_end(Result(outcome=Outcome.SUCCEEDED))
    log.message("after")
    log.write_end(Result(outcome=Outcome.SUCCEEDED))
    log.close()

    told = [event.get("message") for event in run_files.read_events(path)]
    assert told == ["before", "2 events could not be written: File too large", "after", ""]


def test_the_end_of_a_log_takes_the_room_of_its_last_events(tmp_path: Path) -> None:
    """A limit of the process as a full disk: what was lost is told, and every line is whole."""
    path = tmp_path / "log.jsonl"
    log = RunLog(path)
    for number in range(50):
        log.message(f"line {number}")
    with limited_to(path.stat().st_size + 40):
        log.message("lost" * 10)
        log.write_end(Result(outcome=Outcome.SUCCEEDED, message="done"))
    log.close()

    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    *lines, warning, end = events
    assert [event["message"] for event in lines] == [f"line {number}" for number in range(len(lines))]
    assert warning["message"] == f"{51 - len(lines)} events could not be written: File too large"
    assert (end["type"], end["message"]) == ("ended", "done")
    assert 30 < len(lines) < 50


def test_a_log_that_a_killed_process_left_torn_goes_on_in_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"at":"x","message":"one"}\n{"at":"x","mess')
    log = RunLog(path)
    log.message("two")
    log.close()
    assert [event["message"] for event in run_files.read_events(path)] == ["one", "two"]


# --- room that is kept for the end ------------------------------------------------------------------------------------


def result_with(files: int) -> Result:
    return Result(outcome=Outcome.PARTIAL, message="m" * 3000, detail={"files": ["f" * 100] * files})


@pytest.mark.parametrize(("files", "is_whole"), [(0, True), (100, True), (2000, False)])
def test_the_end_of_a_run_stands_where_room_was_kept_for_it(state: StateFolder, files: int, is_whole: bool) -> None:
    run_files.create_run(state, "a", after=0)
    end_reserve.keep_room(state, "a", 1)
    reserve = state.reserve("a", 1)
    assert reserve.stat().st_blocks * 512 >= end_reserve.SIZE
    assert run_files.read_log_summary(state, "a", 1).result is None

    end_reserve.write_end(state, "a", 1, result_with(files))
    assert reserve.stat().st_size == end_reserve.SIZE, "nothing new was taken from the disk"
    end_reserve.free_room(state, "a", 1)
    assert reserve.stat().st_size < end_reserve.SIZE / 2

    said = run_files.read_log_summary(state, "a", 1).result
    assert said is not None
    assert said.outcome is Outcome.PARTIAL
    assert len(said.detail.get("files", ())) == (files if is_whole else 0)

    end_reserve.settle_reserve(state, "a", 1)
    assert not reserve.exists()
    assert run_files.read_log_summary(state, "a", 1).result == said, "the log has it now"


def test_room_that_was_not_needed_is_given_back(state: StateFolder) -> None:
    run_files.create_run(state, "a", after=0)
    end_reserve.keep_room(state, "a", 1)
    end_reserve.free_room(state, "a", 1)
    assert not state.reserve("a", 1).exists()
    end_reserve.free_room(state, "a", 1)
    end_reserve.settle_reserve(state, "a", 1)
    assert not state.log("a", 1).exists()


def test_nothing_starts_that_a_limit_lets_nobody_record(state: StateFolder) -> None:
    run_files.create_run(state, "a", after=0)
    state.history("a").write_bytes(b"x" * 60_000)
    with limited_to(65_536), pytest.raises(StateError, match="no file of this process may have more than 65,536"):
        end_reserve.keep_room(state, "a", 1)
    state.history("a").write_bytes(b"x" * 1000)
    with limited_to(65_536):
        end_reserve.keep_room(state, "a", 1)
    assert state.reserve("a", 1).stat().st_size == 65_536


def test_an_append_that_fails_half_way_leaves_nothing(state: StateFolder) -> None:
    """Neither the journal nor a history takes a full disk for damage later."""
    journal = Journal(state)
    with locks.hold_state_lock(state):
        journal.append({"type": "planned", "at": "2026-11-21T06:00:00Z"})
    run_files.append_history(state, ended(1))
    before = state.journal.read_bytes(), state.history("a").read_bytes()
    with limited_to(max(map(len, before)) + 20), locks.hold_state_lock(state):
        with pytest.raises(StateError, match="File too large"):
            journal.append({"type": "planned", "at": "2026-11-21T06:00:00Z", "commit": "c" * 1000})
        with pytest.raises(StateError, match="File too large"):
            run_files.append_history(state, replace(ended(2), result=result_with(3)))
    assert (state.journal.read_bytes(), state.history("a").read_bytes()) == before


# --- what pictures of many runs need -----------------------------------------------------------------------------


def test_what_a_picture_needs_of_each_run_is_what_the_whole_record_says(state: StateFolder) -> None:
    kinds = [
        ended(1),
        ended(2, outcome=Outcome.PARTIAL, seconds=0.125),
        ended(3, outcome=Outcome.FAILED, code="source-failed", message='"outcome":"succeeded","seconds":9,}'),
        ended(4, outcome=Outcome.FAILED, code="timeout"),
        ended(5, outcome=Outcome.SKIPPED, started_at=None, seconds=0.0),
        ended(6, outcome=Outcome.SUCCEEDED, started_at=None),
        ended(7, message="}"),
    ]
    for run in kinds:
        run_files.append_history(state, run)
    lines = state.history("a").read_bytes().splitlines()
    other = json.dumps(dict(reversed(json.loads(lines[0]).items()))).encode()  # of another program: in another order
    torn = lines[1][: lines[1].index(b'"counts"') + 9]
    state.history("a").write_bytes(b"\n".join([*lines, other, torn, b"", b"no record", b""]))

    marks = list(run_files.read_marks(state, "a", 30))
    assert [(mark.outcome, mark.seconds) for mark in marks] == [
        (run.outcome, run.seconds) for run in run_files.read_history(state, "a")
    ]
    assert [mark.is_whole for mark in marks] == [True, True, False, False, False, True, True, True]
    assert len(list(run_files.read_marks(state, "a", 2))) == 2
    assert list(run_files.read_marks(state, "nobody", 2)) == []
    ends = list(run_files.read_ends(state, "a"))
    assert ends == [(run.ended_at, run.outcome) for run in run_files.read_history(state, "a")]
    assert list(run_files.read_ends(state, "nobody")) == []
