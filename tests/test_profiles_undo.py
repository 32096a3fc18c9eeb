"""An import that is undone: beside a model of plain dicts, and case by case."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connrunner.core.counts import Counts
from connrunner.core.model import (
    Field,
    Format,
    Import,
    LocalFile,
    Objective,
    ProfileModel,
    Property,
    PropertyType,
    Write,
)
from connrunner.errors import RunError
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ImportJob, RunStamp, UndoJob
from connrunner.profiles.results import ImportResult, UndoResult
from connrunner.profiles.stores.duckdb import open_store
from tests.effort import examples
from tests.test_store_values import AT, Quiet

MODEL = ProfileModel(
    properties={
        "id": Property(name="id", identifier=True, personal=False),
        "email": Property(name="email", type=PropertyType.EMAIL, identifier=True),
        "name": Property(name="name"),
        "first": Property(name="first"),
        "visits": Property(name="visits", type=PropertyType.INTEGER),
        "tags": Property(name="tags", many=True),
        "marks": Property(name="marks", many=True),
    },
    objectives={"news": Objective(name="news")},
)
FIELDS = (
    Field(property="id", column="id"),
    Field(property="email", column="email", empty="clear"),
    Field(property="name", column="name", empty="clear"),
    Field(property="first", column="name", write=Write.SET_IF_EMPTY),
    Field(property="visits", column="visits", write=Write.INCREMENT),
    Field(property="tags", column="tags", write=Write.ADD),
    Field(property="marks", column="tags", write=Write.REMOVE),
)
WORK = Import(
    source={"type": "files"}, format=Format(), match=(("id",),), fields=FIELDS, objectives=("news",),
    consent={"news": "news"},
)  # fmt: skip
SEED = replace(WORK, objectives=(), fields=(*FIELDS[:6], Field(property="marks", column="tags", write=Write.ADD)))
COLUMNS = ("id", "email", "name", "visits", "tags", "news")
Row = tuple[str, ...]
ROWS = st.tuples(
    st.sampled_from(["1", "2", "3", "4", "5"]),
    st.sampled_from(["a@x.nl", "b@x.nl", "c@x.nl", "", ""]),
    st.sampled_from(["Ann", "Bob", ""]),
    st.sampled_from(["1", "-2", "", "x"]),
    st.sampled_from(["", "a", "a;b", "c"]),
    st.sampled_from(["yes", "yes", "no", ""]),
)
FILES = st.lists(st.lists(ROWS, max_size=5), min_size=1, max_size=2)


class Stand:
    """A store, and runs of one connection in it."""

    def __init__(self, store: ProfileStore, folder: Path) -> None:
        self.store, self.folder, self.runs = store, folder, 0

    def stamp(self, *, days: float = 0) -> RunStamp:
        self.runs += 1
        return RunStamp(connection="c", run=self.runs, at=AT + timedelta(days=days, seconds=self.runs))

    def bring(self, *files: Sequence[Row], work: Import = SEED, days: float = 0) -> ImportResult:
        """Import *files*, in one run."""
        stamp = self.stamp(days=days)
        found = [_file(self.folder / f"{stamp.run}-{number}.csv", rows) for number, rows in enumerate(files)]
        return self.store.import_files(ImportJob(work=work, files=found, stamp=stamp, rejects=self.folder / "r"))

    def undo(self, run: int, *, dry_run: bool = False, days: float = 0) -> UndoResult:
        self.rejects.unlink(missing_ok=True)
        return self.store.undo(UndoJob(run=run, stamp=self.stamp(days=days), rejects=self.rejects, dry_run=dry_run))

    @property
    def rejects(self) -> Path:
        return self.folder / "rejects.jsonl"

    def state(self) -> dict[str, Any]:
        """All profiles by their ids, in plain values."""
        found = {}
        for one in self.store.select():
            found[one["id"]] = {name: one[name] for name in MODEL.properties}
            (known,) = self.store.find("id", one["id"])
            found[one["id"]]["news"] = known["consents"].get("news")
        return found


@contextmanager
def opened(folder: Path) -> Iterator[Stand]:
    with open_store(folder / "profiles.duckdb", MODEL, temp=folder, report=Quiet()) as store:
        yield Stand(store, folder)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with opened(tmp_path) as found:
        yield found


def row(key: str, *, email: str = "", name: str = "", visits: str = "", tags: str = "", news: str = "") -> Row:
    return key, email, name, visits, tags, news


def _file(path: Path, rows: Sequence[Row]) -> LocalFile:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return LocalFile(path=str(path), name=path.name, size=path.stat().st_size, modified=path.name)


# --- beside a model ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(
    max_examples=examples(2, long=300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(runs=st.lists(FILES, min_size=1, max_size=4), order=st.randoms(use_true_random=False))
def test_what_is_undone_has_never_been(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[list[Row]]], order: Any
) -> None:
    """
    Undone from the newest to the oldest, each leaves exactly the state before it.

    In any order, once all are undone, nothing is left of any of them; each counter is of profiles that there were.
    """
    folder = tmp_path_factory.mktemp("undo")
    seed = [row("1", email="a@x.nl", name="Old", visits="7", tags="a;b;c", news="yes"), row("2", tags="c")]
    with opened(folder) as one:
        one.bring(seed)
        states = [one.state()]
        for files in runs:
            one.bring(*files, work=WORK)
            states.append(one.state())
        numbers = list(range(2, one.runs + 1))
        for run in reversed(numbers):
            before = one.state()
            done = one.undo(run)
            after = one.state()
            assert after == states[run - 2], f"run {run}"
            assert done.superseded == 0
            assert done.counts.deleted == len(before.keys() - after.keys())
            assert done.counts.updated == sum(before[key] != after[key] for key in after)
    other = tmp_path_factory.mktemp("shuffled")
    with opened(other) as two:
        two.bring(seed)
        for files in runs:
            two.bring(*files, work=WORK)
        order.shuffle(numbers)
        taken = False
        for run in numbers:
            two.undo(run)
            taken |= two.rejects.exists() and "identifier-taken" in two.rejects.read_text()
        # An address that somebody else had at that moment is not given back: then it may be another one now.
        left_out = {"email"} if taken else set()
        assert _without(two.state(), left_out) == _without(states[0], left_out), numbers


def _without(state: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: {name: value for name, value in one.items() if name not in names} for key, one in state.items()}


# --- case by case ------------------------------------------------------------------------------------------------


def test_each_kind_of_write_comes_back(stand: Stand) -> None:
    stand.bring([row("1", email="a@x.nl", visits="7", tags="a;b", news="yes"), row("2", name="Bob", news="yes")])
    before = stand.state()
    done = stand.bring(
        [
            row("1", email="new@x.nl", name="Ann", visits="5", tags="b;z", news="yes"),
            row("2", news="no"),  # blocked, and remembered
            row("3", name="Cy", news="yes"),
        ],
        work=WORK,
    )
    assert (done.counts.updated, done.counts.created, done.counts.consent_blocked) == (1, 1, 1)
    assert stand.state() != before
    undone = stand.undo(2)
    assert stand.state() == before
    assert undone.counts == Counts(read=3, checked=3, updated=2, deleted=1)
    assert (undone.superseded, stand.rejects.exists()) == (0, False)


def test_what_a_later_run_changed_stays_and_is_listed(stand: Stand) -> None:
    stand.bring([row("1", name="Ann", visits="1")])
    stand.bring([row("1", name="Wrong", visits="10"), row("2", name="New"), row("3", name="Other")])
    stand.bring([row("1", name="Right"), row("2", tags="a")])
    done = stand.undo(2)
    state = stand.state()
    assert (state["1"]["name"], state["1"]["visits"]) == ("Right", 1)
    assert state.keys() == {"1", "2"}
    assert done.counts == Counts(read=3, checked=3, updated=1, deleted=1, unchanged=1)
    assert done.superseded == 2
    lines = stand.rejects.read_text()
    assert '"key":"id=1","field":"name","stage":"undo","code":"superseded"' in lines
    assert '"key":"id=2","field":"","stage":"undo","code":"superseded"' in lines
    assert "Wrong" not in lines


def test_one_after_the_other_in_any_order(stand: Stand) -> None:
    stand.bring([row("1", name="Ann")])
    before = stand.state()
    stand.bring([row("1", name="Bob"), row("2", name="New")])
    stand.bring([row("1", name="Cy"), row("2", name="Newer")])
    stand.undo(2)
    assert stand.state()["1"]["name"] == "Cy"
    stand.undo(3)
    assert stand.state() == before


def test_a_profile_of_two_files_of_one_run_is_as_before_the_first(stand: Stand) -> None:
    stand.bring([row("1", name="Ann")])
    before = stand.state()
    stand.bring([row("1", name="Bob")], [row("1", name="Cy", visits="3"), row("2", name="New")], [row("2", name="N")])
    stand.undo(2)
    assert stand.state() == before


def test_an_identifier_that_another_profile_has_by_now_does_not_come_back(stand: Stand) -> None:
    stand.bring([row("1", email="a@x.nl", name="Ann")])
    stand.bring([row("1", email="b@x.nl", name="Bob")])
    stand.bring([row("2", email="a@x.nl")])
    done = stand.undo(2)
    state = stand.state()
    assert (state["1"]["email"], state["1"]["name"], state["2"]["email"]) == ("b@x.nl", "Ann", "a@x.nl")
    assert done.superseded == 1
    assert '"code":"identifier-taken"' in stand.rejects.read_text()
    assert "a@x.nl" not in stand.rejects.read_text()


def test_a_dry_run_says_what_would_come_back_and_changes_nothing(stand: Stand) -> None:
    stand.bring([row("1", name="Ann", tags="a;b")])
    stand.bring([row("1", name="Bob", tags="c"), row("2")])
    before = stand.state()
    done = stand.undo(2, dry_run=True)
    assert stand.state() == before
    told = {(one.profile, one.property, one.old, one.new) for one in done.differences}
    assert ("id=1", "name", "Bob", "Ann") in told
    assert ("id=1", "tags", "a; b; c", "a; b") in told
    assert ("id=2", "the profile", "it is there", None) in told
    assert stand.undo(2).counts == done.counts


@pytest.mark.parametrize(
    ("run", "words"),
    [(9, "changed nothing"), (3, "was an undo itself"), (2, "has been undone already, by run 3")],
)
def test_what_cannot_be_undone_says_why(stand: Stand, run: int, words: str) -> None:
    stand.bring([row("1", name="Ann")])
    stand.bring([row("1", name="Bob")])
    stand.undo(2)
    before = stand.state()
    with pytest.raises(RunError, match=words) as failure:
        stand.undo(run)
    assert failure.value.code == "no-undo"
    assert stand.state() == before


def test_values_are_kept_as_long_as_the_connection_says(stand: Stand) -> None:
    stand.bring([row("1", name="Ann")])
    stand.bring([row("1", name="Bob")])
    with pytest.raises(RunError, match="is not kept any more"):
        stand.undo(2, days=15)
    stand.undo(2, days=13)
    assert stand.state()["1"]["name"] == "Ann"
    stand.bring([row("1", name="Cy")], work=replace(SEED, undo_keep=None))
    with pytest.raises(RunError, match="is not kept any more"):
        stand.undo(stand.runs)


def test_a_run_without_values_still_supersedes(stand: Stand) -> None:
    stand.bring([row("1", name="Ann")])
    stand.bring([row("1", name="Bob")])
    stand.bring([row("1", name="Cy")], work=replace(SEED, undo_keep=None))
    assert stand.undo(2).superseded == 1
    assert stand.state()["1"]["name"] == "Cy"


def test_what_is_too_old_leaves_the_store(stand: Stand, tmp_path: Path) -> None:
    stand.bring([row("1", name="Ann")])
    stand.bring([row("1", name="Bob")])
    stand.bring([row("1", name="Cy")], work=replace(SEED, undo_keep=60), days=1)
    stand.bring([row("1", name="Di")], days=2)  # the second run needs the flags of the third, nobody its values
    session = stand.store._session  # type: ignore[attr-defined]
    assert session.execute('SELECT run, "was name" FROM store.before ORDER BY run').fetchall() == [
        (2, "Ann"), (3, None), (4, "Cy"),
    ]  # fmt: skip
    stand.bring([row("1", name="Ed")], days=20)
    assert session.execute("SELECT run FROM store.before").fetchall() == [(5,)]


def test_refused_rows_of_an_undone_run_are_not_offered_again(stand: Stand) -> None:
    stand.bring([row("1", name="Ann")])
    stand.bring([row("2", name="New"), row("3", visits="x")])
    stand.undo(2)
    known = stand.store.load_known_files(SEED, connection="c")
    file = stand.folder / "2-0.csv"
    assert known(file.name, file.stat().st_size, file.name)
