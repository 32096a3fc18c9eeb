"""Small files that are staged and merged together come to the same as one after the other, and cost less."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.core.model import Field, Import, LocalFile, Write
from connrunner.errors import RunError
from connrunner.profiles.importing import small_files
from connrunner.profiles.session import StoreSession
from tests.effort import examples
from tests.test_profiles_open import Shelf, counted, import_of, shelf

__all__ = ["shelf"]

WORK = import_of("id", "name", Field(property="visits", column="visits", write=Write.INCREMENT), "seen")


@contextmanager
def one_by_one(alone: bool) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if alone:
            patch.setattr(small_files, "can_be_together", lambda plan, file: False)
        yield


def outcome(folder: Path, runs: Sequence[Sequence[tuple[str, bytes, bool]]], work: Import, *, alone: bool) -> Any:
    """Return all that *runs* of files (name, bytes, once) leave behind; when *alone* each file is staged alone."""
    folder.mkdir()
    shelf = Shelf(folder)
    left: list[Any] = []
    with one_by_one(alone):
        for run in runs:
            files = [replace(shelf.file(data, name, "1"), once=once) for name, data, once in run]
            try:
                result = shelf.take(work, *files)
                left.append([one.as_dict() for one in result.files])
            except RunError as error:
                left.append((str(error), error.code))
            left.append(shelf.told())
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store (READ_ONLY)")
        left += [
            connection.execute(statement).fetchall()
            for statement in (
                "SELECT * EXCLUDE _id FROM store.profiles ORDER BY _id",
                "SELECT * FROM store.files ORDER BY ALL",
                "SELECT * EXCLUDE number FROM store.kept ORDER BY number",
                "SELECT * FROM store.runs ORDER BY id",
            )
        ]
    return left, [one for one in shelf.said.messages if one[0] != "debug"]


PLAIN = st.sampled_from([f"{number},N{number % 5},1,2026-01-01T00:00:00Z" for number in range(20)])
ODD = st.sampled_from(
    [
        "1,Eva,2,", "2,,x,", "3,Ann,,yesterday", ",Bob,1,", "4,a", "5,a,1,,6", '6,"a,b",1,', '7,"a""b",,', '8,"a', '"9",c"d,,',
        "", " ", ",,,", '10, "a" ,,', "11,é,1,", "é,1,1,", "12,a\0b,1,",
    ]
)  # fmt: skip
HEADS = st.sampled_from(["id,name,visits,seen", '"id",name,visits,seen', "id,name,seen,visits", "\ufeffid,name,visits,seen"])  # fmt: skip


@st.composite
def all_runs(draw: st.DrawFn) -> list[list[tuple[str, bytes, bool]]]:
    """Return runs of files that are mostly alike, and mostly about different people."""
    once, head, end = draw(st.booleans()), draw(HEADS), draw(st.sampled_from(["\n", "\r\n"]))
    odd = draw(st.lists(st.integers(0, 12), max_size=2))

    def text(number: int) -> bytes:
        rows = st.one_of(PLAIN, PLAIN, ODD) if number in odd else PLAIN
        start = draw(HEADS) if number in odd else head
        return (end.join([start, *draw(st.lists(rows, max_size=3))]) + draw(st.sampled_from(["", end]))).encode()

    return [
        [(f"{number}.csv", text(number), once) for number in range(draw(st.integers(2, 7)))]
        for _ in range(draw(st.integers(1, 2)))
    ]


@pytest.mark.thorough
@settings(max_examples=examples(40), deadline=None)
@given(runs=all_runs())
def test_together_as_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[str, bytes, bool]]]
) -> None:
    folder = tmp_path_factory.mktemp("small")
    together = outcome(folder / "together", runs, WORK, alone=False)
    assert together == outcome(folder / "alone", runs, WORK, alone=True)


def test_a_file_finds_what_the_one_before_it_wrote(tmp_path: Path) -> None:
    names = ["a.csv", "b.csv", "c.csv", "d.csv"]
    bodies = ["1,Ann,1,\n2,Bob,1,\n", "3,Eva,1,\n", "1,Ann,1,\n3,Eva,2,\nx,,y,\n", "4,Kim,1,\n4,Kim,1,\n"]
    head = "id,name,visits,seen\n"
    runs = [[(name, f"{head}{body}".encode(), False) for name, body in zip(names, bodies, strict=True)]] * 2
    together = outcome(tmp_path / "together", runs, WORK, alone=False)
    assert together == outcome(tmp_path / "alone", runs, WORK, alone=True)
    first = {one["name"]: one for one in together[0][0]}
    assert (first["c.csv"]["updated"], first["c.csv"]["invalid"], first["d.csv"]["duplicate"]) == (2, 1, 1)
    assert [(one["file"], one["line"]) for one in together[0][1]] == [("c.csv", 4), ("d.csv", 2)]


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Yield the statements that a store executes meanwhile."""
    seen: list[str] = []

    def watch(name: str) -> Callable[..., Any]:
        original = getattr(StoreSession, name)

        def execute(self: StoreSession, statement: str, *more: Any) -> Any:
            seen.append(statement)
            return original(self, statement, *more)

        return execute

    with pytest.MonkeyPatch.context() as patch:
        for name in ("one", "execute", "execute_watched"):
            patch.setattr(StoreSession, name, watch(name))
        yield seen


def people(first: int, count: int) -> str:
    return "id,name\n" + "".join(f"{number},N{number}\n" for number in range(first, first + count))


def test_statements_do_not_grow_with_rows(shelf: Shelf) -> None:
    counts = []
    for rows in (10, 1_000, 20_000):
        with shelf.open() as store, counted_statements() as seen:
            shelf.take(import_of("id", "name"), people(rows, rows), store=store)
        counts.append(len(seen))
    assert len(set(counts)) == 1, counts


def test_statements_do_not_grow_with_files(shelf: Shelf) -> None:
    counts = []
    for files in (5, 50):
        with shelf.open() as store, counted_statements() as seen:
            result = shelf.take(
                import_of("id", "name"), *(people(1000 * files + n * 3, 3) for n in range(files)), store=store
            )
        assert counted(result) == {"created": 3 * files}
        counts.append(len(seen))
    assert counts[0] == counts[1], counts


def test_one_damaged_file_of_many_is_told_as_if_it_were_alone(shelf: Shelf) -> None:
    files = [people(10 * number, 3).encode() for number in range(40)]
    files[27] += b"99,\xff\n"
    with pytest.raises(RunError, match=re.escape("rows-1-27.csv: byte")) as caught:
        shelf.take(import_of("id", "name"), *files)
    assert caught.value.code == "wrong-encoding"


def test_a_name_that_occurs_twice_is_read_twice(shelf: Shelf) -> None:
    files: list[LocalFile] = [shelf.file(people(number, 1), "same.csv", str(number)) for number in range(2)]
    assert counted(shelf.take(import_of("id", "name"), *files)) == {"created": 2}
    assert shelf.sql("SELECT count(*) FROM store.files") == [(1,)]
