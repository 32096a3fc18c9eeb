"""Something else than a history in the place of one: that connection waits until it is put right, the others go on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable
from email.message import EmailMessage
from pathlib import Path

import pytest

from connrunner.core import instant
from connrunner.core.model import Outcome
from connrunner.doctor.state_folder import check_state_folder
from connrunner.errors import HistoryError
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.web import live_view
from connrunner.web.live_view import LiveView
from tests.conftest import Place
from tests.test_cli import typed
from tests.test_notify_end_to_end import ticked

EACH_MINUTE = '{type: cron, expression: "* * * * *"}'


def put_folder(path: Path) -> None:
    path.mkdir()


def put_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (put_folder, "a folder"),
    "pipe": (os.mkfifo, "a pipe"),
    "link": (put_link, "a link"),
}


@pytest.fixture
def pair(place: Place) -> Place:
    """Two connections of one lane that are due each minute, and have run once."""
    place.write("connrunner.yaml", "version: 1\ndefaults: {notify: [{to: [ops@example.com], when: change}]}\n")
    for name in ("a", "b"):
        place.command(name, "pass", schedule=EACH_MINUTE)
    ticked(place, "2026-11-20T09:00:00Z")
    return place


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def numbers(place: Place, name: str) -> list[int]:
    return [run.run for run in run_files.read_history(place.state, name)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param(name, marks=pytest.mark.thorough if name != "folder" else ()) for name in KINDS]
)
def test_a_history_that_is_none_stops_its_connection_alone_and_is_told_once(pair: Place, kind: str) -> None:
    put, words = KINDS[kind]
    history, aside = pair.state.history("a"), pair.folder / "aside"
    history.rename(aside)
    put(history)

    said, mails = ticked(pair, "2026-11-20T09:01:00Z")
    problems = [str(event["message"]) for event in said if event["event"] == "problem"]
    assert [event["connection"] for event in said if event["event"] == "ended"] == ["b"]
    assert len(problems) == 1
    assert problems[0].startswith(f"a does not run: {history} is no file but {words}, ")
    (mail,) = mails.values()
    assert mail["Subject"] == "workspace: 1 file cannot be used: a"
    assert str(history) in text_of(mail)
    assert "whose history cannot be used waits until that is put right" in text_of(mail)
    assert "last good version" not in text_of(mail)
    assert "connrunner doctor" in text_of(mail)

    said, mails = ticked(pair, "2026-11-20T09:02:00Z")
    assert [event for event in said if event["event"] == "problem"] == []
    assert mails == {}
    at = ("--now", "2026-11-20T09:02:10Z")
    code, out, _ = typed(pair, "status", *at)
    assert (code, f"\na does not run: {history} is no file" in out) == (0, True)
    code, out, _ = typed(pair, "status", *at, "--check")
    assert (code, out.startswith("not well: 1 with an unusable history"), "(a)" in out) == (1, True, True)
    found = json.loads(typed(pair, "status", *at, "--format", "json")[1])
    assert [one["connection"] for one in found["unusable"]] == ["a"]
    code, out, err = typed(pair, "runs")
    assert (code, out.count("\nb "), err.startswith(f"not shown: {history} is no file")) == (0, 3, True)
    assert "connrunner_unusable_histories 1\n" in typed(pair, "metrics")[1]
    code, _, err = typed(pair, "run", "a")
    assert (code, str(history) in err) == (74, True)
    for command in (("next",), ("calendar",), ("plan",), ("runs", "b"), ("explain", "b")):
        assert typed(pair, *command)[0] in (0, 1), command
    (check,) = (one for one in check_state_folder(pair.state) if one.name == "history")
    assert (check.level, str(history) in check.found) == ("failure", True)

    history.rmdir() if kind == "folder" else history.unlink()
    aside.rename(history)
    said, mails = ticked(pair, "2026-11-20T09:03:00Z")
    assert sorted(str(event["connection"]) for event in said if event["event"] == "ended") == ["a", "b"]
    (run,) = [run for run in run_files.read_history(pair.state, "a") if run.run == 2]
    assert (run.entry.due_at, run.entry.missed) == (instant.parse("2026-11-20T09:01:00Z"), 2)
    (mail,) = mails.values()
    assert mail["Subject"] == "workspace: recovered, 1 file can be used again: a"


@pytest.mark.slow
def test_a_run_whose_history_is_lost_while_it_works_is_recorded_once_it_is_back(pair: Place) -> None:
    history, aside = pair.state.history("a"), pair.folder / "aside"
    pair.command(
        "a", f"import os; os.rename({str(history)!r}, {str(aside)!r}); os.mkdir({str(history)!r})", schedule=EACH_MINUTE
    )

    said, _ = ticked(pair, "2026-11-20T09:01:00Z")
    assert [event["connection"] for event in said if event["event"] == "ended"] == ["b"], "it waited in the same lane"
    (told,) = [str(event["message"]) for event in said if event["event"] == "problem"]
    assert told.startswith("the end of a #2 is not recorded yet: ")
    assert list(Journal(pair.state).read().started) == ["a"]
    ticked(pair, "2026-11-20T09:02:00Z")
    assert numbers(pair, "b") == [3, 2, 1]

    history.rmdir()
    aside.rename(history)
    pair.command("a", "pass", schedule=EACH_MINUTE)
    ticked(pair, "2026-11-20T09:03:00Z")
    assert numbers(pair, "a") == [3, 2, 1]
    assert {run.outcome for run in run_files.read_history(pair.state, "a")} == {Outcome.SUCCEEDED}


@pytest.mark.slow
@pytest.mark.thorough
def test_what_is_asked_of_it_waits(pair: Place) -> None:
    history, aside = pair.state.history("a"), pair.folder / "aside"
    typed(pair, "run", "a", "--detach")
    history.rename(aside)
    history.mkdir()
    ticked(pair, "2026-11-20T09:01:00Z")
    assert len(list(pair.state.requests.iterdir())) == 1
    shutil.rmtree(history)
    aside.rename(history)
    ticked(pair, "2026-11-20T09:02:00Z")
    assert (len(list(pair.state.requests.iterdir())), len(numbers(pair, "a"))) == (0, 2)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EISDIR, errno.EIO, errno.ENOTDIR])
def test_what_the_system_says_of_one_file_is_said_with_its_path(tmp_path: Path, code: int) -> None:
    state = StateFolder(tmp_path)
    with pytest.raises(HistoryError) as caught, run_files.opening_history(state, "a"):
        raise OSError(code, os.strerror(code))
    assert caught.value.message == f"{state.history('a')} cannot be read and written: {os.strerror(code)}"
    assert (caught.value.connection, caught.value.exit_code) == ("a", 74)


def test_a_full_disk_is_the_trouble_of_all(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"), run_files.opening_history(StateFolder(tmp_path), "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_page_opens_some_histories_with_each_question_and_all_of_them_in_turn(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_view, "OPENED", 2)
    place.write("connrunner.yaml", "version: 1\n")
    for name in "abcde":
        place.command(name, "pass")
    state = StateFolder(place.folder / ".connrunner")
    state.prepare()
    live = LiveView(place.folder, state.root)
    opened: list[list[str]] = []
    real = run_files.find_unusable

    def noted(folder: StateFolder, names: Iterable[str]) -> dict[str, HistoryError]:
        opened.append(sorted(names))
        return real(folder, opened[-1])

    monkeypatch.setattr(run_files, "find_unusable", noted)
    assert live.look().unusable_histories == {}
    history = state.history("c")
    history.mkdir(parents=True)
    found = ["c" in live.look().unusable_histories for _ in range(4)]
    history.rmdir()
    found += ["c" in live.look().unusable_histories for _ in range(3)]
    assert opened[:4] == [["a", "b", "c", "d", "e"], ["a", "b"], ["c", "d"], ["e"]]
    assert all(len(names) <= 2 for names in opened[1:])
    assert found == [False, True, True, True, False, False, False]
