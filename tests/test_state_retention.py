"""What of the past is kept: never less than the last run, never a number twice, whatever cuts the work off."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connrunner.config import load
from connrunner.core import instant, retention_policy
from connrunner.core.counts import Counts
from connrunner.core.model import Keep, Outcome
from connrunner.errors import ArgumentError, BusyError, StateError
from connrunner.scheduler import idle
from connrunner.state import archive, locks, run_files
from connrunner.state import retention as keeping
from connrunner.state.folder import StateFolder
from connrunner.text import files
from tests.conftest import Place
from tests.made import changed_run, ended_run
from tests.test_cli import typed

NOW = instant.parse("2026-11-22T06:00:00Z")
DAY = timedelta(days=1)

GONE = [
    # days ago, oldest first; bytes of each,  limits,                       how many go
    ([5, 4, 3, 2, 1], 10,                     Keep(),                       0),
    ([5, 4, 3, 2, 1], 10,                     Keep(runs=2),                 3),
    ([5, 4, 3, 2, 1], 10,                     Keep(runs=9),                 0),
    ([5, 4, 3, 2, 1], 10,                     Keep(days=3),                 2),
    ([5, 4, 3, 2, 1], 10,                     Keep(bytes=30),               2),
    ([5, 4, 3, 2, 1], 10,                     Keep(bytes=29),               3),
    ([5, 4, 3, 2, 1], 10,                     Keep(bytes=1),                4),
    ([5, 4, 3, 2, 1], 10,                     Keep(runs=4, days=2, bytes=40), 3),
    ([900, 800],      10,                     Keep(days=1),                 1),
    ([900],           10,                     Keep(days=1, runs=1, bytes=1), 0),
    ([],              10,                     Keep(runs=1),                 0),
]  # fmt: skip


@pytest.mark.parametrize(("ages", "size", "keep", "gone"), GONE)
def test_what_goes(ages: list[int], size: int, keep: Keep, gone: int) -> None:
    past = [(NOW - age * DAY, size) for age in ages]
    assert retention_policy.count_expired(past, keep, runs=len(past), size=size * len(past), now=NOW) == gone


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def past(state: StateFolder, name: str, count: int, *, log: bytes = b"x" * 100) -> None:
    """Let *name* have run once a day, the last time an hour ago."""
    for number in range(1, count + 1):
        at = NOW - (count - number) * DAY - timedelta(hours=1)
        run = ended_run(
            connection=name, run=number, outcome=Outcome.SUCCEEDED, trigger="schedule", due_at=at, queued_at=at,
            started_at=at, ended_at=at, seconds=1, counts=Counts(),
        )  # fmt: skip
        state.run(name, number).mkdir(parents=True)
        state.log(name, number).write_bytes(log)
        run_files.append_history(state, run)


def folders(state: StateFolder, name: str) -> list[int]:
    return sorted(int(path.name) for path in state.connection(name).iterdir() if path.name.isdigit())


def kept(state: StateFolder, name: str) -> list[int]:
    return [run.run for run in run_files.read_history(state, name)]


def test_runs_beyond_the_limits_go_and_numbers_go_on(state: StateFolder) -> None:
    past(state, "a", 10)
    past(state, "b", 3)
    keeping.prune_runs(state, lambda name: Keep(runs=2) if name == "a" else Keep(), {}, now=NOW)
    assert (folders(state, "a"), kept(state, "a")) == ([9, 10], [10, 9])
    assert (folders(state, "b"), kept(state, "b")) == ([1, 2, 3], [3, 2, 1])
    keeping.prune_runs(state, lambda _: Keep(days=1, bytes=1), {}, now=NOW + 800 * DAY)
    assert (folders(state, "a"), kept(state, "a")) == ([10], [10])
    shutil.rmtree(state.run("a", 10))
    assert run_files.create_run(state, "a", after=0) == 11, "not even when every folder is gone and the journal lost"


def test_a_limit_of_bytes_counts_what_is_there(state: StateFolder) -> None:
    past(state, "a", 10, log=b"x" * 1000)
    keeping.prune_runs(state, lambda _: Keep(bytes=3500), {}, now=NOW)
    assert kept(state, "a") == [10, 9, 8]


def test_a_run_that_works_and_lines_that_are_no_record_stay_out_of_it(state: StateFolder) -> None:
    past(state, "a", 5)
    history = state.history("a")
    history.write_bytes(b"garbage\n" + history.read_bytes() + b'{"torn')
    keeping.prune_runs(state, lambda _: Keep(runs=1), {"a": 2}, now=NOW)
    assert folders(state, "a")[0] == 2
    assert kept(state, "a")[0] == 5


def test_one_pass_a_day_in_parts(state: StateFolder) -> None:
    for name in ("a", "b", "c"):
        past(state, name, 3)
    limit = lambda _: Keep(runs=1)  # noqa: E731
    parts = 0
    while keeping.find_next_pass(state) is None:
        keeping.prune_runs(state, limit, {}, now=NOW, budget=0)
        parts += 1
        assert parts < 50
    assert parts > 3, "each part is small"
    assert [folders(state, name) for name in ("a", "b", "c")] == [[3], [3], [3]]
    past(state, "d", 3)
    keeping.prune_runs(state, limit, {}, now=NOW + DAY / 2)
    assert folders(state, "d") == [1, 2, 3], "not before a day is over"
    keeping.prune_runs(state, limit, {}, now=NOW - 30 * DAY)
    assert folders(state, "d") == [3], "the clock was set back"


@pytest.mark.parametrize("calls", range(1, 9))
def test_a_crash_anywhere_leaves_work_for_the_next_pass_and_loses_nothing_else(
    state: StateFolder, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    past(state, "a", 6)

    class Crash(BaseException):
        pass

    left = calls

    def crashing(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: Any, **kwargs: Any) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", crashing(shutil.rmtree))
        patch.setattr("os.fsync", crashing(os.fsync))
        patch.setattr(keeping, "replace_file", crashing(files.replace_file))
        with contextlib.suppress(Crash):
            keeping.prune_runs(state, lambda _: Keep(runs=2), {}, now=NOW)
    assert kept(state, "a") in ([6, 5, 4, 3, 2, 1], [6, 5])
    assert set(folders(state, "a")) >= {5, 6}
    (state.root / "retention.json").unlink(missing_ok=True)
    keeping.prune_runs(state, lambda _: Keep(runs=2), {}, now=NOW)
    assert (kept(state, "a"), folders(state, "a")) == ([6, 5], [5, 6])
    assert sorted(path.name for path in state.connection("a").iterdir()) == ["5", "6", "history.jsonl"]


def test_a_run_that_ends_meanwhile_is_not_lost(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    past(state, "a", 6)
    (last,) = run_files.read_recent(state, "a", 1)
    at = keeping.find_cut_off(state, "a", Keep(runs=2), now=NOW)
    assert at is not None
    real = os.fsync
    ends = iter([7])

    def fsync(descriptor: int) -> None:
        real(descriptor)
        for number in ends:  # after the first copy, before the state lock is taken
            run_files.append_history(state, changed_run(last, run=number))

    monkeypatch.setattr(os, "fsync", fsync)
    keeping.rewrite_history(state, at)
    assert kept(state, "a") == [7, 6, 5]


@pytest.mark.long
def test_kill_9_at_any_moment(state: StateFolder) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom connrunner.state import retention\n"
        "from connrunner.state.folder import StateFolder\nfrom connrunner.core.model import Keep\n"
        "from connrunner.core import instant\nstate = StateFolder(Path(sys.argv[1]))\n"
        f"print('go', flush=True)\n"
        f"retention.prune_runs(state, lambda name: Keep(runs=3), {{}}, now=instant.parse('{instant.text(NOW)}'), budget=60)\n"
    )
    for attempt in range(40):
        shutil.rmtree(state.runs)
        state.prepare()
        (state.root / "retention.json").unlink(missing_ok=True)
        for name in ("a", "b", "c"):
            past(state, name, 60)
        process = subprocess.Popen([sys.executable, "-c", code, str(state.root)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(attempt / 1000)
        process.kill()
        process.wait()
        process.stdout.close()
        for name in ("a", "b", "c"):
            assert kept(state, name)[:3] == [60, 59, 58]
            assert kept(state, name) in ([60, 59, 58], list(range(60, 0, -1)))
            assert set(folders(state, name)) >= {58, 59, 60}
        (state.root / "retention.json").unlink(missing_ok=True)
        keeping.prune_runs(state, lambda _: Keep(runs=3), {}, now=NOW, budget=60)
        assert [folders(state, name) for name in ("a", "b", "c")] == [[58, 59, 60]] * 3
        assert [kept(state, name) for name in ("a", "b", "c")] == [[60, 59, 58]] * 3


def test_what_cannot_be_removed_keeps_nothing_else(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    past(state, "a", 3)
    past(state, "b", 3)

    def refuse(path: Path) -> None:
        if "/a/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        real(path)

    real = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(StateError, match="Permission denied"):
        keeping.prune_runs(state, lambda _: Keep(runs=1), {}, now=NOW)
    assert (folders(state, "a"), folders(state, "b")) == ([1, 2, 3], [3])
    assert keeping.find_next_pass(state) == NOW + DAY


def test_only_one_at_a_time(state: StateFolder) -> None:
    with locks.hold_lock(state, keeping.LOCK, wait=0), pytest.raises(BusyError):
        keeping.prune_runs(state, lambda _: Keep(runs=1), {}, now=NOW)


# --- the YAML and the tick ---------------------------------------------------------------------------------------


def test_the_yaml(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ndefaults: {keep: {runs: 5, bytes: 2GB}}\n")
    place.command("a", "print()")
    place.command("b", "print()", more="keep: {days: 9}\n")
    workspace = load.load(place.folder)
    assert workspace.default_keep == workspace.connections["a"].keep == Keep(runs=5, bytes=2_000_000_000)
    assert workspace.connections["b"].keep == Keep(days=9)
    place.command("b", "print()", more="keep: {bytes: 9, day: 1}\n")
    assert [problem.code for problem in load.load(place.folder).problems] == ["wrong-type", "unknown-key"]


def test_a_tick_keeps_the_past_short_and_the_next_one_is_quiet(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.command("a", "print()")
    place.write("connections/broken.yaml", "schedule: {type: manual}\n")
    typed(place, "tick")
    for name in ("a", "broken", "gone"):
        past(place.state, name, 4)
    place.write("connrunner.yaml", "version: 1\ndefaults: {keep: {runs: 2}}\n")
    typed(place, "tick", "--now", "2026-11-22T06:00:00Z")
    assert kept(place.state, "a") == [4, 3, 2, 1], "not by a clock that somebody made up"
    monkeypatch.setattr(idle, "RACY", 0.0)
    assert typed(place, "tick")[:2] == (0, "")
    assert (kept(place.state, "a"), kept(place.state, "gone")) == ([4, 3], [4, 3])
    assert kept(place.state, "broken") == [4, 3, 2, 1], "nobody knows what its file means to say"
    assert idle.nothing_to_do(["--workspace", str(place.folder)])
    assert typed(place, "log", "a", "1")[0] == 2


# --- archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.zst"])
def test_an_archive_is_a_state_folder_of_its_own(place: Place, tmp_path: Path, suffix: str) -> None:
    place.command("a", "print()")
    place.state.prepare()
    past(place.state, "a", 6)
    past(place.state, "b", 1)
    to = tmp_path / f"old{suffix}"
    code, out, _ = typed(place, "history", "archive", "--before", "2026-11-20", "--to", str(to), "--format", "json")
    assert (code, json.loads(out)["runs"]) == (0, 3)
    assert (kept(place.state, "a"), folders(place.state, "a"), kept(place.state, "b")) == ([6, 5, 4], [4, 5, 6], [1])
    with archive._packed(to, "rb", like=to) as packed, tarfile.open(fileobj=packed) as taken:
        taken.extractall(tmp_path / "unpacked", filter="data")
    unpacked = StateFolder(tmp_path / "unpacked")
    assert (kept(unpacked, "a"), folders(unpacked, "a")) == ([3, 2, 1], [1, 2, 3])
    assert unpacked.log("a", 2).read_bytes() == b"x" * 100
    assert to.stat().st_mode & 0o777 == 0o600


def test_an_archive_that_is_not_sound_removes_nothing(
    state: StateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past(state, "a", 4)

    def take(to: Path, before: datetime = NOW) -> archive.ArchiveSummary:
        return archive.archive_runs(state, ["a"], to, before=before, started={})

    real = archive._write

    def damage(*args: Any, **kwargs: Any) -> Any:
        written = real(*args, **kwargs)
        path = args[3]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        return written

    monkeypatch.setattr(archive, "_write", damage)
    with pytest.raises((StateError, ArgumentError)):
        take(tmp_path / "a.tar.gz")
    monkeypatch.setattr(archive, "_write", real)
    (tmp_path / "there.tar.gz").touch()
    for to in (tmp_path / "there.tar.gz", tmp_path / "a.zip", tmp_path / "no" / "a.tar.gz"):
        with pytest.raises(ArgumentError):
            take(to)
    assert (kept(state, "a"), folders(state, "a")) == ([4, 3, 2, 1], [1, 2, 3, 4])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "there.tar.gz"]
    assert take(tmp_path / "none.tar.gz", NOW - 99 * DAY) == archive.ArchiveSummary()
    assert not (tmp_path / "none.tar.gz").exists()
