"""Damage of the state is told once, by the tick and by mail, and by status and doctor as long as it is there."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from connrunner.state import record_check
from connrunner.state.folder import StateFolder

pytestmark = pytest.mark.real_clock  # the kernel stamps the files that are looked at

LINE = b'{"at":"2026-12-01T10:00:00Z","message":"x"}\n'
END = b'{"at":"2026-12-01T10:00:00Z","type":"ended","outcome":"succeeded"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    for number in (1, 2):
        state.run("a", number).mkdir(parents=True)
        state.log("a", number).write_bytes(LINE + END)
    return state


def check(folder: StateFolder, **working: int) -> list[str]:
    return [
        f"{one.name}: {one.words.split(' ', 1)[1]}" for one in record_check.check_records(folder, working, budget=9)
    ]


NO_RECORD = "has 1 line without a record, the first at byte"
CASES = [
    # what the log of run 1 holds                        what is said of it
    (LINE + END,                                         ""),
    (b"",                                                ""),
    (LINE + b"garbage\n" + END,                          f"{NO_RECORD} 44"),
    (b"\0" * 40 + b"\n" + LINE + END,                    f"{NO_RECORD} 0"),
    (b"[1]\n" + LINE + END,                              f"{NO_RECORD} 0"),
    (LINE + b"\0" * 7 + b"\n" + b"x\n" + END,            "has 2 lines without a record, the first at byte 44"),
    (LINE + b'{"at":"20',                                ""),  # a crash cut it off
    (LINE + b'{"at":"20\n' + END,                        ""),  # and the tick said how it ended
    (LINE + b'{"at":"20\n' + LINE + END,                 ""),  # and how many events were lost
    (b'{"at":"20\n' + LINE * 3 + END,                    f"{NO_RECORD} 0"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "said"), CASES)
def test_what_is_no_record_is_found_once_and_what_a_crash_cut_off_is_no_damage(
    folder: StateFolder, content: bytes, said: str
) -> None:
    folder.log("a", 1).write_bytes(content)
    assert check(folder) == ([f"runs/a/1/log.jsonl: {said}"] if said else [])
    assert check(folder) == []
    assert [one.name for one in record_check.list_known_damage(folder)] == (["runs/a/1/log.jsonl"] if said else [])


def _segment(state: StateFolder, data: bytes) -> Path:
    state.decisions.mkdir(exist_ok=True)
    path = state.decisions / "00000001-0123456789ab.jsonl.gz"
    path.write_bytes(data)
    return path


def _pipe(state: StateFolder) -> None:
    state.log("a", 2).unlink(missing_ok=True)
    os.mkfifo(state.log("a", 2))


FILES: list[tuple[Callable[[StateFolder], object], str]] = [
    (lambda state: state.rejects("a", 2).write_bytes(LINE + b"x\n" * 4), "runs/a/2/rejects.jsonl: has 4 lines"),
    (_pipe, "runs/a/2/log.jsonl: cannot be used: is no file but a pipe"),
    (lambda state: _segment(state, gzip.compress(LINE)[:-9]), "decisions/00000001-0123456789ab.jsonl.gz: cannot be"),
    (lambda state: _segment(state, gzip.compress(LINE + b"x\n")), "decisions/00000001-0123456789ab.jsonl.gz: has 1"),
    (lambda state: (state.root / "journal.snapshot").write_bytes(b"x\n"), "journal.snapshot: holds no snapshot"),
]


@pytest.mark.parametrize(("spoil", "said"), FILES)
def test_each_kind_of_file_is_looked_at_and_what_was_put_right_is_forgotten(
    folder: StateFolder, spoil: Callable[[StateFolder], object], said: str
) -> None:
    spoil(folder)
    found = check(folder)
    assert [one[: len(said)] for one in found] == [said]
    assert check(folder) == []
    name = said.partition(":")[0]
    (folder.root / name).unlink()
    assert record_check.list_known_damage(folder) == []
    assert check(folder) == []
    spoil(folder)
    assert len(check(folder)) == 1  # it is damaged anew


def test_a_run_that_works_is_left_alone(folder: StateFolder) -> None:
    folder.log("a", 2).write_bytes(b"x\n" * 5 + LINE)
    assert check(folder, a=2) == []
    assert len(check(folder)) == 1


def test_a_pass_goes_on_where_time_was_up_and_looks_at_every_file_once(folder: StateFolder) -> None:
    """Names of which one begins as another does, and a log that is longer than a part of a pass."""
    for name in ("a-b", "a.b", "b"):
        for number in (1, 9, 10):
            folder.run(name, number).mkdir(parents=True)
            folder.log(name, number).write_bytes(LINE * 450 + b"x\n" + LINE * 3 + END)
    found: list[str] = []
    for _ in range(200):
        found += [one.name for one in record_check.check_records(folder, {}, budget=0)]
    assert sorted(found) == sorted(
        f"runs/{name}/{number}/log.jsonl" for name in ("a-b", "a.b", "b") for number in (1, 9, 10)
    )


def test_what_has_not_changed_is_not_read_again(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_check, "SLACK", -(10**9))  # or what was written a moment ago would count as changed
    check(folder)
    read: list[bytes] = []
    monkeypatch.setattr("connrunner.state.record_check._is_record", read.append)
    check(folder)
    assert read == []


def test_a_note_that_is_damaged_costs_a_pass(folder: StateFolder) -> None:
    folder.log("a", 1).write_bytes(b"x\n" * 5)
    assert len(check(folder)) == 1
    for text in ("", "{", json.dumps({"since": []}), json.dumps([])):
        (folder.root / "records.checked").write_text(text)
        assert len(check(folder)) == 1
