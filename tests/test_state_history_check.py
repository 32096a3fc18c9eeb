"""Damage of histories and a journal that is gone: told once, kept aside, named by doctor, and no number comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from connrunner.core.model import Outcome, Run
from connrunner.state import history_check, locks, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.history_check import check_histories, damaged_file, find_damage, following, read_note
from connrunner.state.journal import Journal
from connrunner.state.untold import read_untold
from tests.conftest import Place
from tests.made import ended_run
from tests.test_state_runs import AT

EVERY_MINUTE = '{type: cron, expression: "* * * * *"}'


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    for number in range(1, 5):
        append(folder, number)
    return folder


def ended(number: int) -> Run:
    return ended_run(
        connection="a", run=number, outcome=Outcome.SUCCEEDED, due_at=AT, queued_at=AT, started_at=AT, ended_at=AT
    )


def append(folder: StateFolder, number: int) -> None:
    folder.run("a", number).mkdir(mode=0o700, parents=True, exist_ok=True)
    with locks.hold_state_lock(folder), following(folder, "a"):
        run_files.append_history(folder, ended(number))


def told(folder: StateFolder, ended: int = 4) -> list[str]:
    return [damage.words for damage in check_histories(folder, ["a"], {"a": ended})]


def change(path: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def nul_second(lines: list[bytes]) -> list[bytes]:
    return [lines[0], bytes(len(lines[1]) - 1) + b"\n", *lines[2:]]


# what another hand does to a history of four runs; what is said of it; how many lines are kept aside
DAMAGE: list[tuple[str, Callable[[list[bytes]], list[bytes]], str, int]] = [
    ("nuls", nul_second, "1 line without a record", 1),
    ("other JSON", lambda lines: [lines[0], b"[1]\n", b'{"x": 1}\n', *lines[1:]], "2 lines without a record", 2),
    ("another's", lambda lines: [*lines, lines[0].replace(b'"a"', b'"b"')], "1 line without a record", 1),
    ("cut", lambda lines: [*lines[:3], lines[3][:40]], "lacks 1 run that it had", 1),
    ("cut at a line", lambda lines: lines[:2], "lacks 2 runs that it had", 0),
    ("a line less", lambda lines: [lines[0], *lines[2:]], "lacks 1 run that it had", 0),
    ("emptied", lambda _lines: [], "lacks 4 runs that it had", 0),
    ("noise", lambda lines: [b"\xff\x00noise", *lines], "1 line without a record", 1),
]


@pytest.mark.parametrize(("edit", "words", "kept"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_damage_is_told_once_and_kept_aside(
    state: StateFolder, edit: Callable[[list[bytes]], list[bytes]], words: str, kept: int
) -> None:
    assert told(state) == []
    path = state.history("a")
    change(path, edit)
    before = path.read_bytes()
    seen = find_damage(state, "a", 4)
    assert seen is not None
    assert words in seen.words
    (said,) = told(state)
    assert words in said
    assert str(path) in said
    aside = damaged_file(path).read_bytes().splitlines() if damaged_file(path).exists() else []
    assert len(aside) == kept
    assert all(line in before for line in aside)
    assert path.read_bytes() == before
    assert told(state) == [], "once"
    append(state, 5)
    assert told(state, 5) == [], "and not again when a run ends"


def test_a_history_that_is_gone_is_told_once(state: StateFolder) -> None:
    assert told(state) == []
    state.history("a").unlink()
    (said,) = told(state)
    assert "lacks 4 runs that it had" in said
    assert told(state) == []


def test_without_a_note_the_journal_and_the_logs_say_what_is_gone(state: StateFolder) -> None:
    state.history("a").unlink()
    (said,) = told(state)
    assert "is gone, though #4 has ended" in said
    state.history("b").parent.mkdir()
    state.run("b", 7).mkdir()
    log = run_files.RunLog(state.log("b", 7))
    log.write_end(ended(7).result)
    log.close()
    (damage,) = check_histories(state, ["b"], {})
    assert "is gone, though #7 has ended" in damage.words


def test_what_is_put_back_is_whole_again(state: StateFolder) -> None:
    assert told(state) == []
    whole = state.history("a").read_bytes()
    state.history("a").write_bytes(b"")
    assert len(told(state)) == 1
    state.history("a").write_bytes(whole)
    assert told(state) == []
    assert find_damage(state, "a", 4) is None


def test_a_history_is_read_once_and_again_after_another_hand_only(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(state) == []
    read: list[str] = []
    monkeypatch.setattr(history_check, "_read_on", lambda *_: read.append("read"))
    append(state, 5)
    append(state, 6)
    assert told(state, 6) == []
    assert read == []
    assert (read_note(state, "a").runs, read_note(state, "a").last) == (6, 6)


def test_a_long_history_is_read_in_parts(state: StateFolder) -> None:
    for number in range(5, 250):
        append(state, number)
    change(state.history("a"), nul_second)
    parts, said = 0, []
    while not read_note(state, "a").is_whole:
        said += [damage.words for damage in check_histories(state, ["a"], {}, budget=0.000001)]
        parts += 1
    assert parts > 1
    assert len(said) == 1


# --- as a person sees it ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_next_tick_tells_it_and_doctor_names_it(place: Place) -> None:
    place.command("a", "print(1)", schedule=EVERY_MINUTE)
    for minute in range(4):
        place.run("tick", "--now", f"2026-12-01T10:0{minute}:00Z")
    history = place.state.history("a")
    change(history, nul_second)

    first = place.run("tick", "--now", "2026-12-01T10:04:00Z")
    assert f"the history of a, {history}, has 1 line without a record" in first.out + first.err
    second = place.run("tick", "--now", "2026-12-01T10:05:00Z")
    assert "no record" not in second.out + second.err
    assert [run["run"] for run in place.runs("a")] == [6, 5, 4, 3, 1]
    doctor = place.run("doctor", check=None).out
    assert "warning  history: a: " in doctor
    assert str(damaged_file(history)) in doctor

    damaged_file(history).unlink()
    assert "history: a" not in place.run("doctor", check=None).out


@pytest.mark.slow
@pytest.mark.parametrize("is_empty", [False, True])
def test_a_journal_that_is_gone_beside_histories_is_damage(place: Place, is_empty: bool) -> None:
    place.command("a", "print(1)", schedule=EVERY_MINUTE)
    place.run("tick", "--now", "2026-12-01T10:00:00Z")
    place.state.journal.unlink()
    if is_empty:
        place.state.journal.touch()
    doctor = place.run("doctor", check=1).out
    assert "failure  journal: " in doctor

    first = place.run("tick", "--now", "2026-12-01T10:02:00Z")
    assert f"{place.state.journal} is gone or empty, and runs have ended before" in first.out + first.err
    assert not (place.state.root / "journal.damaged").exists(), "nothing of it was left that could be kept aside"
    second = place.run("tick", "--now", "2026-12-01T10:03:00Z")
    assert "is gone or empty" not in second.out + second.err
    assert [run["run"] for run in place.runs("a")] == [3, 2, 1]


def test_a_first_journal_is_a_beginning(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    journal = Journal(folder)
    with locks.hold_state_lock(folder):
        journal.open()
    assert read_untold(folder) == []
    assert folder.journal.read_bytes() == b""
    assert json.dumps(journal.state.damaged) == "[]"
