"""No two profiles have one number, whatever the file they came from held beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import duckdb
import pytest

from connrunner.core.model import Export, Format
from connrunner.profiles.jobs import ExportJob, RunStamp
from tests.test_profiles_open import AT, Shelf, import_of

NUMBERS = "SELECT id, _id FROM store.profiles ORDER BY length(id), id"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("csv", "id,name\n ,\n1,Ann\n,\n ,\n2,Bob\n"),
        ("csv", "id,name\n \n1,Ann\n \n \n2,Bob\n"),
        ("jsonl", ' \n{"id": "1"}\n \n \n{"id": "2"}\n'),
    ],
)
def test_lines_without_a_record_make_no_number_twice(shelf: Shelf, form: Literal["csv", "jsonl"], text: str) -> None:
    shelf.take(replace(import_of("id", "name"), format=Format(type=form)), text)
    shelf.take(import_of("id"), "id\n3\n4\n5\n6\n")
    numbers = [number for _, number in shelf.sql(NUMBERS)]
    assert sorted(set(numbers)) == numbers
    assert len(numbers) == 6


def export(shelf: Shelf) -> list[str]:
    shelf.runs += 1
    stamp = RunStamp(connection="out", run=shelf.runs, at=AT)
    path = shelf.folder / f"out-{shelf.runs}.csv"
    with shelf.open() as store:
        work = Export(destination={}, fields={"Id": "id"}, format=Format(), rows="changed")
        store.export(ExportJob(work=work, stamp=stamp, path=path))
        store.confirm_export(stamp)
    return path.read_text().split()[1:] if path.exists() else []


def test_numbers_that_an_older_version_gave_twice_are_given_anew_once(shelf: Shelf) -> None:
    shelf.take(import_of("id"), "id\n1\n2\n3\n")
    assert export(shelf) == ["1", "2", "3"]
    shelf.take(import_of("id"), "id\n4\n5\n")
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store")
        connection.execute("""
            UPDATE store.profiles SET _id = 2 WHERE id = '4';
            UPDATE store.about SET value = '4' WHERE key = 'next_profile';
            DELETE FROM store.about WHERE key = 'numbering'""")

    assert export(shelf) == ["2", "5", "4"]
    (told,) = [text for _, text in shelf.said.messages if "the number of another profile" in text]
    assert "to 1 profile, which" in told
    assert shelf.sql(NUMBERS) == [("1", 1), ("2", 2), ("3", 3), ("4", 6), ("5", 5)]
    shelf.take(import_of("id"), "id\n6\n")
    assert shelf.sql(NUMBERS)[-1] == ("6", 7)
    assert export(shelf) == ["6"]
    assert len([text for _, text in shelf.said.messages if "the number of another profile" in text]) == 1
