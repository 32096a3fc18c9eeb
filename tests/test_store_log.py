"""The log of a large store stays beside it while it is short, and nothing that it says is lost."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from connrunner.core.model import Format
from connrunner.profiles import checkpoints
from tests.test_profiles_open import Shelf, import_of, shelf

__all__ = ["shelf"]

WORK = import_of("id", "name")


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "LARGE", 1)


def take(shelf: Shelf, name: str) -> None:
    shelf.take(WORK, "id,name\n" + "".join(f"{number},{name}\n" for number in range(50)))


def log_of(shelf: Shelf) -> Path:
    return checkpoints.find_log(shelf.path)


def test_a_small_store_has_no_log_after_a_run(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "LARGE", 1 << 30)
    for name in "ab":
        take(shelf, name)
        assert not log_of(shelf).exists()


def test_a_short_log_stays_and_is_read(shelf: Shelf, tmp_path: Path) -> None:
    take(shelf, "a")
    size = shelf.path.stat().st_size
    for name in "bcd":
        take(shelf, name)
        assert set(shelf.profiles("name")) == {(name,)}
    assert log_of(shelf).stat().st_size < checkpoints.SHORT
    assert shelf.path.stat().st_size == size
    with shelf.open(read_only=True) as store:
        assert store.write(tmp_path / "all.csv", Format(), ["name"]) == 50
    assert log_of(shelf).exists(), "who only reads changes neither of them"
    assert {(tmp_path / "all.csv").read_text()} == {"name\n" + "d\n" * 50}


def test_a_long_log_is_brought_in(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    take(shelf, "a")
    take(shelf, "b")
    assert log_of(shelf).exists()
    monkeypatch.setattr(checkpoints, "SHORT", 10)
    take(shelf, "c")
    assert not log_of(shelf).exists()
    assert set(shelf.profiles("name")) == {("c",)}


def test_a_store_that_shrank_below_the_limit_takes_its_log_in(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does one that an earlier version left its log."""
    take(shelf, "a")
    take(shelf, "b")
    monkeypatch.setattr(checkpoints, "LARGE", 1 << 30)
    take(shelf, "c")
    assert not log_of(shelf).exists()
    assert set(shelf.profiles("name")) == {("c",)}


def test_a_property_that_is_new_is_in_the_log(shelf: Shelf) -> None:
    take(shelf, "a")
    shelf.take(import_of("id", "tags", "spent"), "id,tags,spent\n1,x;y,12.5\n")
    shelf.take(import_of("id", "tags"), "id,tags\n2,z\n")
    assert log_of(shelf).exists()
    found = {one[0]: one[1:] for one in shelf.profiles("id", "tags", "spent")}
    assert (found["1"], found["2"]) == ((["x", "y"], "12.5"), (["z"], None))


def test_a_log_that_ends_in_the_middle_loses_whole_runs_only(shelf: Shelf) -> None:
    """A power cut leaves what was durable; each run was, before the next one began."""
    take(shelf, "a")
    take(shelf, "b")
    after_b = log_of(shelf).stat().st_size
    take(shelf, "c")
    os.truncate(log_of(shelf), (after_b + log_of(shelf).stat().st_size) // 2)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store (READ_ONLY)")
        assert connection.execute("SELECT DISTINCT name FROM store.profiles").fetchall() == [("b",)]
