"""A profile store that was emptied, deleted or put back from a backup: history knows what was in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connrunner.answers.workspace_view import open_view
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, ProfileModel, Run
from connrunner.doctor.profile_store import check_profile_store
from connrunner.errors import RunError
from connrunner.profiles.stores.beginning import begin_store
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.state.store_changes import list_store_changes
from tests.conftest import Place
from tests.made import ended_run
from tests.test_profiles_open import AT, Shelf, import_of, shelf  # noqa: F401

WORK = import_of("id", "name")


def change(run: int, connection: str = "c", **facts: Any) -> Run:
    """Return an ended import with rows."""
    known: dict[str, Any] = {"kind": "import", "outcome": Outcome.SUCCEEDED, "counts": Counts(read=1, skipped=1)}
    known |= {"due_at": AT, "queued_at": AT, "trigger": "manual", "started_at": AT, "commit": None, "config": ""}
    known |= {"title": "", "ended_at": AT + timedelta(seconds=1)}
    return ended_run(connection=connection, run=run, **(known | facts))


# --- which runs the store must have ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        ({}, True),
        ({"kind": "export"}, True),
        ({"outcome": Outcome.PARTIAL}, True),
        ({"kind": "command"}, False),
        ({"outcome": Outcome.FAILED}, False),
        ({"counts": Counts()}, False),
    ],
)
def test_what_history_expects_of_the_store(tmp_path: Path, facts: dict[str, Any], counts: bool) -> None:
    state = StateFolder(tmp_path)
    run_files.append_history(state, change(1, **facts))
    assert {name: [run.run for run in runs] for name, runs in list_store_changes(state).items()} == (
        {"c": [1]} if counts else {}
    )


# --- opening -----------------------------------------------------------------------------------------------------


def nothing(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def emptied_beside_a_log(path: Path) -> None:
    path.write_bytes(b"")
    path.with_name(f"{path.name}.wal").write_bytes(b"what DuckDB left")


def without_tables(path: Path) -> None:
    path.unlink()
    duckdb.connect(str(path)).close()


def without_runs(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM runs")


def of_another_workspace(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE runs SET connection = 'theirs', started = '2020-01-01'")


LOSSES = [nothing, emptied, emptied_beside_a_log, without_tables, without_runs, of_another_workspace]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("lose", LOSSES)
def test_a_lost_store_is_not_taken_for_a_new_one(shelf: Shelf, lose: Callable[[Path], None], read_only: bool) -> None:  # noqa: F811
    shelf.take(WORK, "id,name\n1,Ann\n")
    lose(shelf.path)
    for _ in range(2):  # nor is it the second time
        with pytest.raises(RunError) as caught, shelf.open(read_only=read_only, expected={"c": iter([change(1)])}):
            pass
        assert caught.value.code == "store-unusable"
        assert "the last of them run 1 of c (import" in caught.value.message
        assert "connrunner reset --profiles" in caught.value.hint


def test_an_older_store_is_told_with_the_first_run_that_it_lacks(shelf: Shelf) -> None:  # noqa: F811
    shelf.take(WORK, "id,name\n1,Ann\n")
    expected = {"c": [change(3), change(2), change(1)], "never-again": [change(1, "never-again", ended_at=AT)]}
    with shelf.open(expected=expected) as store:
        assert store.count() == 1
    [(_, text)] = [said for said in shelf.said.messages if said[0] == "warning"]
    assert "does not have run 1 of never-again" in text
    assert "nor 2 later runs" in text


def test_runs_of_an_earlier_store_are_not_missed(shelf: Shelf) -> None:  # noqa: F811
    shelf.take(WORK, "id,name\n1,Ann\n")
    before = change(9, "gone", ended_at=AT - timedelta(days=1))
    with shelf.open(expected={"c": [change(1)], "gone": [before]}):
        pass
    assert shelf.said.messages == [] or all(level == "info" for level, _ in shelf.said.messages)


def test_a_beginning_on_purpose_keeps_what_was_there(shelf: Shelf) -> None:  # noqa: F811
    shelf.take(WORK, "id,name\n1,Ann\n")
    log = shelf.path.with_name("profiles.duckdb.wal")
    log.write_bytes(b"")
    scratch = shelf.folder / "scratch"
    scratch.mkdir()
    moved = begin_store(shelf.path, temp=scratch, numbers={"c": 4})
    assert [path.name for path in moved] == ["profiles.before-1.duckdb", "profiles.before-1.duckdb.wal"]
    assert all(path.exists() for path in moved)
    with shelf.open(expected={"c": [change(4)]}) as store:
        assert store.count() == 0
    with pytest.raises(RunError, match="run 5 of c"), shelf.open(expected={"c": [change(5)]}):
        pass


# --- by the commands ---------------------------------------------------------------------------------------------

IMPORT = """\
schedule: {type: manual}
import: {from: {type: files, path: "in/*.csv"}, match: [id], fields: {id: id, name: name}}
"""
EXPORT = """\
schedule: {type: manual}
export: {to: {type: files, path: "out/{run}.csv"}, fields: {Id: id}}
"""


@pytest.mark.thorough
@pytest.mark.slow
def test_every_command_says_that_the_store_is_lost(place: Place) -> None:
    place.write("connections/people.yaml", IMPORT)
    place.write("connections/audience.yaml", EXPORT)
    place.write("in/a.csv", "id,name\n1,Ann\n")
    place.run("run", "people")
    copy = place.state.root / "copy"
    shutil.copy(place.state.profiles, copy)
    place.state.profiles.write_bytes(b"")

    for name in ("people", "audience"):
        place.run("run", name, check=1)
        assert place.runs(name)[0]["code"] == "store-unusable"
    for command in (("profiles",), ("profiles", "erase", "1"), ("state", "people"), ("reset", "people", "--yes")):
        assert "connrunner reset --profiles" in place.run(*command, check=1).err
    said = place.run("doctor", check=1).out
    assert "failure  profile store:" in said
    assert place.state.profiles.read_bytes() == b""

    assert "profiles.before-1.duckdb" in place.run("reset", "--profiles", "--yes").out
    [check] = check_profile_store(place.state, profile_of(place))
    assert check.level == "ok"
    assert "0 profiles" in place.run("profiles").out
    place.run("run", "people")
    assert place.runs("people")[0]["counts"]["created"] == 1

    shutil.copy(copy, place.state.profiles)  # a store of before: the newest run is missing
    [check] = check_profile_store(place.state, profile_of(place))
    assert (check.level, "run 3 of people" in check.found) == ("warning", True)
    place.run("reset", "people", "--profiles", check=2)
    place.run("reset", check=2)


def profile_of(place: Place) -> ProfileModel:
    return open_view(place.folder).workspace.profile
