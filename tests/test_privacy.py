"""docs/privacy.md names every file of the state folder, and `keep` reaches the refused rows that hold people."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from connrunner.core.model import Keep, Outcome
from connrunner.core.retention_policy import RetainedRows, is_expired
from connrunner.scheduler import tick
from connrunner.state import retention
from connrunner.state.folder import StateFolder
from tests.conftest import Place
from tests.crashes import STATE_PAGE, list_paths, list_strangers
from tests.test_cli import AT, ended
from tests.test_erasure_end_to_end import ANN, Story
from tests.test_profiles_erasure import HEADER, WORK, kept, once
from tests.test_profiles_open import Shelf

PAGE = STATE_PAGE.with_name("privacy.md")
DAY = timedelta(days=1)


def test_the_page_names_what_the_page_of_the_state_folder_names() -> None:
    assert set(list_paths(PAGE)) == set(list_paths(STATE_PAGE))


def test_the_pages_name_every_file_that_there_is(tmp_path: Path) -> None:
    story = Story(tmp_path)
    place = story.place
    place.write(
        "connrunner.yaml", "version: 1\ndefaults: {notify: [{to: a@example.com, when: always}], keep: {days: 9}}\n"
    )
    place.command("works", "print('x')", schedule="{type: times_per_day, times: 1}")
    story.begin()
    story.offer("b", ANN.replace("Ann", "\0"), "9,wrong,Eve\n")
    place.run("tick")
    place.run("run", "people", check=None)
    place.run("notify", "preview", "works")
    place.run("profiles", "erase", "1")
    place.run("run", "works", "--detach")
    found = {path.relative_to(story.state.root).parts[0] for path in story.state.root.rglob("*") if path.is_file()}
    assert found >= {
        "mail",
        "preview",
        "runs",
        "journal.jsonl",
        "erasure.key",
        "requests",
        "last-tick",
        "retention.json",
    }
    for page in (PAGE, STATE_PAGE):
        assert list_strangers(story.state.root, page) == []
    for path in story.state.root.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path
    (story.state.root / "unknown.txt").touch()
    assert list_strangers(story.state.root, PAGE) == ["unknown.txt"]


ROWS = RetainedRows(connection="c", run=5, started_at=AT, rows=2)
EXPIRED = [
    # keep                first  age      goes
    (Keep(),                 9,  900 * DAY, False),
    (Keep(runs=3),           5,  900 * DAY, False),
    (Keep(runs=3),           6,  1 * DAY,   True),
    (Keep(days=3),           1,  3 * DAY,   False),
    (Keep(days=3),           1,  4 * DAY,   True),
    (Keep(days=3),           6,  1 * DAY,   True),
    (Keep(bytes=10),         6,  1 * DAY,   True),
    (Keep(bytes=10),         0,  900 * DAY, False),
]  # fmt: skip


@pytest.mark.parametrize(("keep", "first", "age", "goes"), EXPIRED)
def test_which_kept_rows_go(keep: Keep, first: int, age: timedelta, goes: bool) -> None:
    assert is_expired(ROWS, keep, first=first, now=AT + age) is goes


def test_ticks_drop_kept_rows_beyond_keep(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for connection in ("c", "other"):
        shelf.take(WORK, once(shelf, HEADER + "1,a@example.com,Ann,many\n"), connection=connection)
        shelf.take(WORK, once(shelf, HEADER + "2,b@example.com,Bob,many\n"), connection=connection)
    place = Place(tmp_path / "workspace")
    state = StateFolder(tmp_path / "state")
    place.write("connrunner.yaml", "version: 1\ndefaults: {keep: {runs: 1}}\n")
    place.write("profile.yaml", "properties:\n  id: {type: text, identifier: true}\n")
    state.run("c", 2).mkdir(parents=True)
    said: list[dict[str, object]] = []
    for _ in range(2):
        tick.tick(place.folder, state, say=said.append)
    assert [event["message"] for event in said if event["event"] == "kept-rows-removed"] == [
        "c: 1 kept row of #1 went, as `keep` says"
    ]
    assert [("a@example" in record) for record in kept(shelf)] == [False, True, False]
    assert list_strangers(state.root) == []


@pytest.mark.parametrize(("age", "stays"), [(8 * DAY, True), (10 * DAY, False)])
def test_refused_rows_of_the_last_run_go_after_their_days(place: Place, age: timedelta, stays: bool) -> None:
    place.state.prepare()
    ended(place, "a", 1, outcome=Outcome.PARTIAL)
    place.state.rejects("a", 1).write_text("{}\n")
    assert retention.prune_runs(place.state, lambda _: Keep(days=9), {}, now=AT + age)
    assert place.state.rejects("a", 1).exists() is stays
    assert place.state.history("a").exists()
