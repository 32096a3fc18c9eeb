"""Profiles stand in the store in the order of their numbers, and go out in it whether they do or not."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from connrunner.core.model import Export, Format
from connrunner.profiles import scan_order
from connrunner.profiles.importing import merge
from connrunner.profiles.jobs import ExportJob, RunStamp
from connrunner.profiles.session import StoreSession
from tests.test_profiles_open import AT, Shelf, import_of, shelf

__all__ = ["shelf"]

WORK = Export(destination={}, format=Format(), fields={"id": "id"})


def rows(numbers: range) -> str:
    return "id,name\n" + "".join(f"{number},a\n" for number in numbers)


def session_of(store: object) -> StoreSession:
    session: StoreSession = store._session  # type: ignore[attr-defined]
    return session


def exported(shelf: Shelf, path: Path, work: Export = WORK) -> list[int]:
    shelf.runs += 1
    stamp = RunStamp(connection="out", run=shelf.runs, at=AT)
    with shelf.open() as store:
        store.export(ExportJob(work=work, path=path, stamp=stamp))
        store.confirm_export(stamp)
    return [int(line) for line in path.read_text().split()[1:]]


def test_new_profiles_are_written_in_the_order_of_the_file(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the rows are new, and none of them goes through a join, which hands rows on in any order."""
    inserts: list[str] = []
    execute = merge._execute_exactly

    def watch(session: StoreSession, statement: str, rows: int) -> None:
        if statement.startswith("INSERT"):
            inserts.append(scan_order.find_detour(session, statement[statement.index("SELECT") :]))
        execute(session, statement, rows)

    monkeypatch.setattr(merge, "_execute_exactly", watch)
    shelf.take(import_of("id", "name"), rows(range(0, 600, 3)), rows(range(600)))
    assert inserts == ["", ""]
    with shelf.open(read_only=True) as store:
        assert scan_order.order_by_number(session_of(store), "SELECT _id FROM store.profiles p") == ""
        assert [one["id"] for one in store.select(["id"])] == [
            *map(str, range(0, 600, 3)),
            *(str(number) for number in range(600) if number % 3),
        ]


def test_profiles_in_any_order_go_out_in_that_of_their_numbers(shelf: Shelf, tmp_path: Path) -> None:
    shelf.take(import_of("id", "name"), rows(range(100)))
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store")
        connection.execute(
            "CREATE TEMP TABLE back AS FROM store.profiles ORDER BY _id DESC; DELETE FROM store.profiles"
        )
        connection.execute("INSERT INTO store.profiles FROM back")
        connection.execute("DETACH store")
    with shelf.open(read_only=True) as store:
        store.write(tmp_path / "all.csv", Format(), ["id"])
    assert (tmp_path / "all.csv").read_text().split() == ["id", *map(str, range(100))]
    assert exported(shelf, tmp_path / "sent.csv") == list(range(100))


def test_some_profiles_go_out_in_the_order_of_their_numbers(shelf: Shelf, tmp_path: Path) -> None:
    shelf.take(import_of("id", "name"), rows(range(100)))
    assert exported(shelf, tmp_path / "first.csv") == list(range(100))
    shelf.take(import_of("id", "name"), "id,name\n" + "".join(f"{number},b\n" for number in range(99, -1, -7)))
    changed = Export(destination={}, format=Format(), fields={"id": "id", "name": "name"}, rows="changed")
    assert exported(shelf, tmp_path / "again.csv") == []
    assert (tmp_path / "again.csv").read_text() == "id\n"
    shelf.runs += 1
    stamp = RunStamp(connection="other", run=shelf.runs, at=AT)
    with shelf.open() as store:
        store.export(ExportJob(work=changed, path=tmp_path / "other.csv", stamp=stamp))
        store.confirm_export(stamp)
    shelf.take(import_of("id", "name"), "id,name\n" + "".join(f"{number},c\n" for number in range(99, -1, -9)))
    shelf.runs += 1
    stamp = RunStamp(connection="other", run=shelf.runs, at=AT)
    with shelf.open() as store:
        store.export(ExportJob(work=changed, path=tmp_path / "other.csv", stamp=stamp))
    assert (tmp_path / "other.csv").read_text().split()[1:] == [f"{number},c" for number in range(0, 100, 9)]


def test_a_condition_that_becomes_a_join_is_sorted(shelf: Shelf) -> None:
    shelf.take(import_of("id", "name"), rows(range(10)))
    listed = ", ".join(f"'{number}'" for number in range(20))
    with shelf.open(read_only=True) as store:
        query = f"SELECT p._id FROM store.profiles p WHERE p.id IN ({listed})"
        assert scan_order.order_by_number(session_of(store), query) == " ORDER BY p._id"
