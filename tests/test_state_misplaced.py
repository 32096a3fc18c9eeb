"""Pipes, links, devices and folders where files of connrunner belong: told in a line, and no command waits for them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from connrunner.text.regular_files import NotAFileError, open_regular, read_regular
from tests.conftest import Finished, Place

PATIENCE = 20  # seconds, in which every command ends on the slowest machine; a pipe is waited for without an end
DAILY = '{type: days_of_week, days: [saturday], time: "06:00", timezone: UTC}'
DUE, LATER = "2026-11-21T06:00:00Z", "2026-11-28T06:00:00Z"


class WaitedError(Exception):
    """A command waited for something that never comes."""


@contextmanager
def patience() -> Iterator[None]:
    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise WaitedError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def put_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("x")


Kind = Callable[[Path], object]
KINDS: dict[str, Kind] = {
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "folder": put_folder,
}
# Each file of a state folder after a run: what a person has to replace is an error, what else stands there gives way.
MATTERS = [
    "format",
    "journal.jsonl",
    "profiles.duckdb",
    "locks/state",
    "locks/lane-main",
    "locks/supervisor-main",
    "runs/job/history.jsonl",
    "runs/job/1/log.jsonl",
    "runs/job/1/rejects.jsonl",
    "runs/job/1/worker.txt",
]
GIVES_WAY = [
    "journal.snapshot",
    "journal.damaged",
    "decisions/00000001-abcdefabcdef.jsonl.gz",
    "last-tick",
    "heartbeat",
    "retention.json",
    "erasing.json",
    "requests/x.json",
    "requests/stop-x.json",
    "compiled/workspace",
    "compiled/quiet",
    "compiled/seal",
    "compiled/last-good",
    "locks/mail",
    "locks/retention",
    "locks/erase",
]
COMMANDS = [
    ("tick", "--now", LATER),
    ("status", "--now", LATER),
    ("next",),
    ("runs", "job"),
    ("log", "job"),
    ("rejects", "job"),
    ("explain", "job"),
    ("run", "job"),
    ("stop", "job"),
    ("doctor",),
    ("metrics",),
    ("profiles",),
    ("notify", "list"),
    ("tick", "--now", LATER),
]


def table(rows: list[str], usual: set[str]) -> list[Any]:
    """Return each of *rows* with each kind; all but the *usual* ones as a pipe and a folder are for the finer sieve."""
    return [
        pytest.param(row, kind, marks=[] if row in usual and kind in ("pipe", "folder") else pytest.mark.thorough)
        for row in rows
        for kind in KINDS
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose connection has run once, with a limit of what is kept."""
    place = Place(tmp_path_factory.mktemp("finished"))
    place.write("connrunner.yaml", "version: 1\ndefaults: {keep: {days: 3000}}\n")
    place.command("job", "print('done')", schedule=DAILY)
    place.run("tick", "--now", "2026-11-21T05:00:00Z")
    place.run("tick", "--now", DUE)
    return place.folder


def type_patiently(place: Place, *arguments: str) -> Finished:
    with patience():
        done = place.run(*arguments, check=None)
    assert "bug" not in done.err, done.err
    assert done.code in (0, 1, 2, 74, 75), done
    return done


def errors_of(done: Finished) -> list[str]:
    """Return the errors among what was said: that the workspace has moved, as copies have, is none."""
    return [line for line in done.err.splitlines() if line.startswith("error: ")]


def put(place: Place, path: str, kind: str) -> Path:
    misplaced = place.state.root / path
    misplaced.parent.mkdir(mode=0o700, exist_ok=True)
    misplaced.unlink(missing_ok=True)
    KINDS[kind](misplaced)
    return misplaced


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", MATTERS + GIVES_WAY)
def test_no_command_waits_for_what_is_no_file(finished: Path, tmp_path: Path, path: str, kind: str) -> None:
    for number, command in enumerate(COMMANDS):
        place = Place(shutil.copytree(finished, tmp_path / str(number)))
        misplaced = put(place, path, kind)
        done = type_patiently(place, *command)
        if done.code == 74:
            assert str(misplaced) in done.err, (command, done)
            assert len(errors_of(done)) == 1, (command, done)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "kind"), table(GIVES_WAY, {"requests/x.json", "last-tick", "compiled/quiet"}))
def test_what_is_no_truth_gives_way_and_that_is_told_once(finished: Path, tmp_path: Path, path: str, kind: str) -> None:
    place = Place(shutil.copytree(finished, tmp_path / "here"))
    misplaced = put(place, path, kind)
    first = type_patiently(place, "tick", "--now", LATER)
    if path.startswith("locks/"):  # none that a tick cannot do without
        return
    assert first.code == 0, first
    assert not os.path.lexists(misplaced) or (misplaced.is_file() and not misplaced.is_symlink())
    is_told = f"{misplaced} is none of connrunner's files" in first.out + first.err
    assert is_told == (not path.startswith("compiled/")), first
    assert str(misplaced) not in type_patiently(place, "tick", "--now", LATER).err
    assert [run["run"] for run in place.runs("job")] == [2, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "kind"), table(MATTERS[:7], {"journal.jsonl", "runs/job/history.jsonl"}))
def test_what_is_truth_stops_with_one_line(finished: Path, tmp_path: Path, path: str, kind: str) -> None:
    place = Place(shutil.copytree(finished, tmp_path / "here"))
    misplaced = put(place, path, kind)
    command = ("profiles",) if path == "profiles.duckdb" else ("tick", "--now", LATER)
    done = type_patiently(place, *command)
    if path == "runs/job/history.jsonl":  # which stops its own connection alone
        assert (done.code, str(misplaced) in done.err) == (0, True), done
        return
    assert done.code in (1, 74), done
    (line,) = errors_of(done)
    assert str(misplaced) in line


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), table(["tick", "status", "validate", "doctor", "run"], {"tick"}))
def test_a_settings_file_that_is_none_is_a_problem_of_it(finished: Path, tmp_path: Path, name: str, kind: str) -> None:
    command = (name, "job") if name == "run" else (name,)
    place = Place(shutil.copytree(finished, tmp_path / "here"))
    (place.folder / "connrunner.yaml").unlink()
    KINDS[kind](place.folder / "connrunner.yaml")
    for more in ((), ("--workspace", str(place.folder))):
        done = type_patiently(place, *command, *more)
        assert done.code in (1, 2), done
        assert "connrunner.yaml" in done.out + done.err
        assert "connrunner init" not in done.out + done.err, "there is one"


# --- one file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT])
def test_only_a_regular_file_is_opened(tmp_path: Path, kind: str, flags: int) -> None:
    path = tmp_path / "file"
    KINDS[kind](path)
    with patience(), pytest.raises(NotAFileError, match="it is a (pipe|link|folder), and no file") as caught:
        open_regular(path, flags)
    assert caught.value.filename == str(path)


def test_a_file_that_is_made_is_ours_alone(tmp_path: Path) -> None:
    os.close(open_regular(tmp_path / "file", os.O_WRONLY | os.O_CREAT))
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "other")


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="it is too long"):
        read_regular(path, 99)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # nothing of it is on the disk
    with pytest.raises(OSError, match="it is too long"):
        read_regular(path, 1 << 20)
