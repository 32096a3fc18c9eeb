"""Exports beyond the plain case: refusals, deletions, formats, formulas, expectations, and their counters."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connrunner.connectors import Refusal
from connrunner.core.counts import Counts
from connrunner.core.model import (
    Expect,
    Export,
    Field,
    Format,
    Import,
    LocalFile,
    Objective,
    ProfileModel,
    Property,
    PropertyType,
)
from connrunner.errors import RunError
from connrunner.profiles import ProfileStore
from connrunner.profiles.exporting import refusals
from connrunner.profiles.jobs import ExportJob, ImportJob, RunStamp
from connrunner.profiles.results import ExportResult
from connrunner.text.zstandard import zstd
from tests.effort import examples
from tests.stores import BOTH, execute, open_store

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.usefixtures("store_kind"),
    pytest.mark.parametrize("store_kind", BOTH, indirect=True),
]

AT = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
MODEL = ProfileModel(
    properties={
        one.name: one
        for one in (
            Property(name="id", identifier=True, personal=False),
            Property(name="email", type=PropertyType.EMAIL, identifier=True),
            Property(name="name"),
            Property(name="age", type=PropertyType.INTEGER),
            Property(name="score", type=PropertyType.DECIMAL),
            Property(name="born", type=PropertyType.DATE),
            Property(name="vip", type=PropertyType.BOOLEAN),
            Property(name="tags", many=True),
            Property(name="marks", type=PropertyType.INTEGER, many=True),
        )
    },
    objectives={"news": Objective(name="news")},
)

WORK = Export(destination={}, format=Format(), fields={"Id": "id", "Mail": "email", "Name": "name", "Age": "age"})
TELLING = replace(WORK, deleted="send")
ADULTS = "age >= 18"


class Log:
    """A report that keeps its messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str, **_: object) -> None:
        self.said.append(text)

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        pass


@dataclass
class Shop:
    """An open store, its folder, and numbers for the runs."""

    store: ProfileStore
    folder: Path
    log: Log
    run: int = 0
    last: Path = field(default_factory=Path)

    @property
    def stamp(self) -> RunStamp:
        """That of the newest run of the export."""
        return RunStamp(connection="audience", run=self.run, at=AT)

    def put(self, *rows: Mapping[str, str | None]) -> Counts:
        """Make profiles of *rows*, found by `id`; None clears a property, and `news` is a consent."""
        self.run += 1
        path = self.folder / f"in-{self.run}.csv"
        names = [*MODEL.properties, "news"]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows([row.get(name) or "" for name in names] for row in rows)
        fields = tuple(Field(property=name, column=name, empty="clear") for name in MODEL.properties)
        work = Import(source={}, format=Format(), match=(("id",),), fields=fields, consent={"news": "news"})
        local = LocalFile(path=str(path), name=path.name, size=path.stat().st_size, modified=str(self.run))
        stamp = RunStamp(connection="people", run=self.run, at=AT)
        rejects = self.folder / "import-rejects"
        done = self.store.import_files(ImportJob(work=work, files=[local], stamp=stamp, rejects=rejects))
        return done.counts

    def drop(self, number: str) -> None:
        """Take a profile out of the store, as nothing in the product does yet."""
        execute(self.store, "DELETE FROM store.profiles WHERE id = ?", [number])

    def write(self, work: Export = WORK, *, name: str = "out.csv", **more: Any) -> ExportResult:
        self.run += 1
        self.last = self.folder / f"{self.run}-{name}"
        done = self.store.export(ExportJob(work=work, stamp=self.stamp, path=self.last, **more))
        assert not done.counts.imbalance()
        assert self.last.exists() == done.written
        return done

    def confirm(self, *refused: int, rejects: Path | None = None, message: str = "no") -> Counts:
        told = [Refusal(row=row, code="not-wanted", message=message) for row in refused]
        counts = self.store.confirm_export(self.stamp, refused=told, rejects=rejects)
        assert not counts.imbalance()
        assert self.store.read_counts(connection="audience", run=self.run) == counts
        return counts

    def send(self, work: Export = WORK, *refused: int) -> dict[str, int]:
        """Export, let the partner refuse rows, and return the final counters that are not zero."""
        self.write(work)
        return some(self.confirm(*refused))

    def rows(self) -> list[list[str]]:
        """Return the records of the CSV file that was written last, without the header."""
        with self.last.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))[1:]

    def identifiers(self) -> list[str | None]:
        """Return the identifiers that the store keeps for the partner's sake."""
        return [row[0] for row in execute(self.store, "SELECT identifiers FROM store.sent ORDER BY profile")]


def some(counts: Counts) -> dict[str, int]:
    return {name: number for name, number in counts.as_dict().items() if number and name not in ("read", "checked")}


def person(number: int, **more: str | None) -> dict[str, str | None]:
    return {"id": str(number), "email": f"p{number}@example.com", "name": f"P{number}", "age": "30", **more}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    log = Log()
    with open_store(tmp_path / "profiles.duckdb", MODEL, temp=tmp_path / "temp", report=log) as store:
        yield Shop(store, tmp_path, log)


# --- refused rows ------------------------------------------------------------------------------------------------


def test_refused_rows_count_as_rejected_and_are_offered_again(shop: Shop) -> None:
    shop.put(*map(person, (1, 2, 3)))

    assert shop.send(WORK, 0, 2) == {"created": 1, "rejected": 2}
    assert shop.send() == {"created": 2, "unchanged": 1}
    assert [row[0] for row in shop.rows()] == ["1", "3"]
    assert shop.send() == {"unchanged": 3}


def test_a_refused_change_is_offered_again_even_when_it_was_taken_back(shop: Shop) -> None:
    shop.put(person(1), person(2))
    shop.send()
    shop.put(person(1, name="Ann"), person(2, name="Bob"))
    assert shop.send(WORK, 0) == {"rejected": 1, "updated": 1}

    shop.put(person(1))

    assert shop.send() == {"updated": 1, "unchanged": 1}
    assert shop.rows() == [["1", "p1@example.com", "P1", "30"]]
    assert shop.send() == {"unchanged": 2}


def test_a_refused_row_that_did_not_change_is_offered_again(shop: Shop) -> None:
    shop.put(person(1), person(2))
    shop.send()

    assert shop.send(replace(WORK, rows="all"), 1) == {"unchanged": 1, "rejected": 1}
    assert shop.send() == {"unchanged": 1, "updated": 1}
    assert [row[0] for row in shop.rows()] == ["2"]


def test_a_refused_deletion_is_told_again(shop: Shop) -> None:
    work = replace(TELLING, where=ADULTS)
    shop.put(person(1), person(2))
    shop.send(work)
    shop.put(person(1, age="17"))

    assert shop.send(work, 0) == {"rejected": 1, "unchanged": 1}
    assert shop.send(work) == {"deleted": 1, "unchanged": 1}
    assert shop.send(work) == {"filtered": 1, "unchanged": 1}


def test_a_refused_deletion_of_a_profile_that_comes_back(shop: Shop) -> None:
    work = replace(TELLING, where=ADULTS)
    shop.put(person(1))
    shop.send(work)
    shop.put(person(1, age="17"))
    shop.send(work, 0)
    shop.put(person(1))

    assert shop.send(work) == {"unchanged": 1}  # the partner has it as it is


def test_refusals_are_told_with_line_key_code_and_message(shop: Shop) -> None:
    shop.put(*map(person, (1, 2, 3)))
    shop.write(name="audience.csv.gz")
    path = shop.folder / "rejects.jsonl"

    shop.confirm(2, 0, rejects=path, message='said "no"\n\ud800')

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["line"] for one in lines] == [1, 3]
    assert lines[1] == {
        "line": 3, "key": "id=3, email=p…m (14)", "field": None, "stage": "write", "code": "not-wanted",
        "message": 'said "no"\n?', "value": None, "file": shop.last.name, "profile": 3,
    }  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_refusals_there_are_no_rejects(shop: Shop) -> None:
    shop.put(person(1))
    shop.write()
    path = shop.folder / "rejects.jsonl"
    assert some(shop.confirm(rejects=path)) == {"created": 1}
    assert not path.exists()


def test_refusals_of_profiles_that_are_gone_say_who_they_were(shop: Shop) -> None:
    shop.put(person(1), person(2))
    shop.send(TELLING)
    shop.drop("1")
    shop.write(TELLING)
    shop.confirm(0, rejects=shop.folder / "r")
    assert json.loads((shop.folder / "r").read_text())["key"] == "id=1, email=p…m (14)"


def test_many_refusals_are_not_all_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MOST", 2)
    monkeypatch.setattr(refusals, "LONGEST", 5)
    shop.put(*map(person, (1, 2, 3)))
    shop.write()

    counts = shop.confirm(2, 1, 0, rejects=shop.folder / "r", message="0123456789")

    lines = [json.loads(line) for line in (shop.folder / "r").read_text().splitlines()]
    assert [(one["line"], one["message"]) for one in lines] == [(1, "01234…"), (2, "01234…")]
    assert counts.rejected == 3
    assert "1 more are left out" in shop.log.said[-1]


def test_a_row_that_is_refused_twice_counts_once_and_is_told_twice(shop: Shop) -> None:
    shop.put(person(1), person(2))
    shop.write()
    assert some(shop.confirm(1, 1, rejects=shop.folder / "r")) == {"created": 1, "rejected": 1}
    assert len((shop.folder / "r").read_text().splitlines()) == 2


@pytest.mark.parametrize("row", [-1, 2, 10**12])
def test_a_row_that_was_not_sent_cannot_be_refused(shop: Shop, row: int) -> None:
    shop.put(person(1), person(2))
    shop.write()

    with pytest.raises(RunError, match="of 2 rows that it was sent") as caught:
        shop.confirm(row)

    assert caught.value.code == "unknown-row"
    assert shop.store.read_counts(connection="audience", run=shop.run) is None
    assert some(shop.confirm(0)) == {"created": 1, "rejected": 1}  # the connector may say it again, and better


def test_an_export_that_failed_cannot_be_confirmed(shop: Shop) -> None:
    shop.put(person(1))
    shop.write()
    first = shop.run
    with pytest.raises(RunError):
        shop.write(replace(WORK, expect=Expect(min_rows=2)))
    with pytest.raises(RunError) as caught:
        shop.store.confirm_export(RunStamp(connection="audience", run=first, at=AT))
    assert caught.value.code == "not-exported"


# --- deleted profiles --------------------------------------------------------------------------------------------


def test_a_profile_that_left_the_selection_is_told_once_with_its_values(shop: Shop) -> None:
    work = replace(TELLING, where=ADULTS)
    shop.put(*map(person, (1, 2, 3)))
    assert shop.send(work) == {"created": 3}
    assert [row[-1] for row in shop.rows()] == ["false"] * 3

    shop.put(person(1, age="17", name="Ann"), person(3, name="Cy"), person(4, age="3"))

    assert shop.send(work) == {"deleted": 1, "updated": 1, "unchanged": 1, "filtered": 1}
    assert shop.rows() == [
        ["3", "p3@example.com", "Cy", "30", "false"],
        ["1", "p1@example.com", "Ann", "17", "true"],
    ]
    assert shop.send(work) == {"unchanged": 2, "filtered": 2}
    shop.put(person(1))
    assert shop.send(work) == {"created": 1, "unchanged": 2, "filtered": 1}


def test_of_a_profile_that_lost_its_consent_nothing_but_identifiers_leaves(shop: Shop) -> None:
    work = replace(TELLING, objectives=("news",), where=ADULTS)
    shop.put(person(1, news="yes"), person(2, news="yes"), person(3, news="no"))
    assert shop.send(work) == {"created": 2, "consent_blocked": 1}

    shop.put(person(1, news="no", name="Secret"), person(2, news="no", name="Secret", age="3"))

    assert shop.send(work) == {"deleted": 2, "consent_blocked": 1}
    assert shop.rows() == [["1", "p1@example.com", "", "", "true"], ["2", "p2@example.com", "", "", "true"]]
    assert shop.send(work) == {"consent_blocked": 2, "filtered": 1}


def test_a_profile_that_is_gone_is_told_under_the_identifiers_that_were_sent(shop: Shop) -> None:
    shop.put(*map(person, (1, 2)))
    shop.send(TELLING)
    shop.drop("1")

    done = shop.write(TELLING)

    assert (done.counts.read, some(done.counts)) == (2, {"deleted": 1, "unchanged": 1})
    assert shop.rows() == [["1", "p1@example.com", "", "", "true"]]
    shop.confirm()
    assert shop.write(TELLING).counts.read == 1


def test_a_deleted_profile_is_told_under_the_identifiers_that_the_partner_knows(shop: Shop) -> None:
    work = replace(TELLING, where=ADULTS)
    shop.put(person(1))
    shop.send(work)
    shop.put(person(1, age="17", email="new@example.com"))
    shop.send(work)
    assert shop.rows() == [["1", "p1@example.com", "P1", "17", "true"]]


def test_a_new_identifier_counts_when_the_partner_took_it(shop: Shop) -> None:
    work = replace(TELLING, where=ADULTS)
    shop.put(person(1), person(2))
    shop.send(work)
    shop.put(person(1, email="new1@example.com"), person(2, email="new2@example.com"))
    shop.send(work, 0)
    shop.put(person(1, age="17"), person(2, age="17"))
    assert shop.send(work) == {"deleted": 2}
    assert [row[1] for row in shop.rows()] == ["p1@example.com", "new2@example.com"]


def test_a_person_who_is_here_again_is_not_deleted_at_the_partner(shop: Shop) -> None:
    shop.put(person(1), person(2), person(3))
    shop.send(TELLING)
    for number in ("1", "2"):
        shop.drop(number)
    shop.put(person(1), person(2, email="other@example.com"))

    assert shop.send(TELLING) == {"created": 2, "deleted": 1, "unchanged": 1}
    assert shop.rows()[-1] == ["", "p2@example.com", "", "", "true"]  # id 2 belongs to the new profile
    assert shop.send(TELLING) == {"unchanged": 3}


def test_somebody_whom_no_identifier_names_is_not_told_of(shop: Shop) -> None:
    work = replace(TELLING, fields={"Mail": "email", "Name": "name"}, where=ADULTS)
    shop.put(person(1, email=None), person(2))
    shop.send(work)
    shop.put(person(1, email=None, age="17"), person(2, age="17"))
    assert shop.send(work) == {"filtered": 1, "deleted": 1}
    assert shop.send(work) == {"filtered": 2}


def test_deletions_that_are_skipped_are_forgotten(shop: Shop) -> None:
    work = replace(WORK, where=ADULTS, objectives=("news",))
    shop.put(person(1, news="yes"), person(2, news="yes"), person(3, news="yes"))
    shop.send(work)
    shop.put(person(1, news="yes", age="17"), person(2, news="no"))
    shop.drop("3")

    assert shop.send(work) == {"filtered": 1, "consent_blocked": 1}
    assert shop.rows() == []
    shop.put(person(1, news="yes"), person(2, news="yes"))
    assert shop.send(work) == {"created": 2}


def test_all_rows_and_deletions(shop: Shop) -> None:
    work = replace(TELLING, where=ADULTS, rows="all")
    shop.put(person(1), person(2))
    shop.send(work)
    shop.put(person(1, age="17"))
    assert shop.send(work) == {"deleted": 1, "unchanged": 1}
    assert [(row[0], row[-1]) for row in shop.rows()] == [("2", "false"), ("1", "true")]
    assert shop.send(work) == {"filtered": 1, "unchanged": 1}
    assert [(row[0], row[-1]) for row in shop.rows()] == [("2", "false")]


def test_identifiers_are_kept_only_for_deletions(shop: Shop) -> None:
    shop.put(person(1), person(2))
    shop.send(WORK)
    assert shop.identifiers() == [None, None]
    assert shop.send(TELLING) == {"unchanged": 2}  # what is kept changes, what was sent does not
    assert json.loads(shop.identifiers()[0] or "") == {"id": "1", "email": "p1@example.com"}
    shop.send(WORK)
    assert shop.identifiers() == [None, None]


def test_deletions_may_begin_later(shop: Shop) -> None:
    shop.put(person(1), person(2))
    shop.send(replace(WORK, where=ADULTS))
    shop.put(person(1, age="17"))
    assert shop.send(replace(TELLING, where=ADULTS)) == {"deleted": 1, "unchanged": 1}
    assert shop.rows() == [["1", "p1@example.com", "P1", "17", "true"]]


def test_connections_do_not_mix(shop: Shop) -> None:
    shop.put(person(1))
    shop.send(TELLING)
    shop.drop("1")
    other = RunStamp(connection="other", run=1, at=AT)
    done = shop.store.export(ExportJob(work=TELLING, stamp=other, path=shop.folder / "other.csv"))
    assert done.counts == Counts()


@pytest.mark.parametrize(
    ("name", "form"), [("out.jsonl", Format(type="jsonl")), ("out.parquet", Format(type="parquet"))]
)
def test_the_mark_is_a_boolean_where_there_are_such(shop: Shop, name: str, form: Format) -> None:
    work = replace(TELLING, format=form, where=ADULTS, fields={"Id": "id", "Tags": "tags"})
    shop.put(person(1), person(2))
    shop.write(work)
    shop.confirm()
    shop.put(person(2, age="17"), person(3, tags="a;b"))
    shop.write(work, name=name)
    with duckdb.connect() as connection:
        found = connection.execute(f"FROM '{shop.last}'").fetchall()
    assert found == [("3", ["a", "b"], False), ("2", None, True)]


BAD_DELETIONS = [
    ({"Name": "name"}, "needs an identifier"),
    ({"Id": "id", "Deleted": "vip"}, "adds a column 'deleted'"),
]


@pytest.mark.parametrize(("fields", "words"), BAD_DELETIONS)
def test_deletions_need_an_identifier_and_a_column(shop: Shop, fields: dict[str, str], words: str) -> None:
    with pytest.raises(RunError, match=words) as caught:
        shop.write(replace(TELLING, fields=fields))
    assert caught.value.code == "mapping"
    assert not shop.last.exists()
    shop.write(replace(WORK, fields=fields))  # without `deleted: send` they may be so


# --- nothing to send ---------------------------------------------------------------------------------------------

EMPTY = [
    ("out.csv", Format(), b"Id,Mail,Name,Age\n"),
    ("out.csv", Format(header=False), b""),
    ("out.csv.gz", Format(), b"Id,Mail,Name,Age\n"),
    ("out.jsonl", Format(type="jsonl"), b""),
    ("out.json", Format(type="json"), b"[]"),
]


@pytest.mark.parametrize(("name", "form", "content"), EMPTY)
def test_an_empty_file(shop: Shop, name: str, form: Format, content: bytes) -> None:
    done = shop.write(replace(WORK, format=form), name=name)
    assert (done.written, done.rows_written) == (True, 0)
    found = shop.last.read_bytes()
    found = gzip.decompress(found) if name.endswith(".gz") else found
    assert b"".join(found.split()) == b"".join(content.split())


def test_an_empty_parquet_file_has_its_columns(shop: Shop) -> None:
    shop.write(replace(WORK, format=Format(type="parquet")))
    with duckdb.connect() as connection:
        found = connection.execute(f"DESCRIBE FROM read_parquet('{shop.last}')").fetchall()
    assert [(name, kind) for name, kind, *_ in found] == [
        ("Id", "VARCHAR"), ("Mail", "VARCHAR"), ("Name", "VARCHAR"), ("Age", "BIGINT"),
    ]  # fmt: skip


def test_an_empty_file_can_be_left_out_and_what_left_is_forgotten_all_the_same(shop: Shop) -> None:
    work = replace(WORK, when_empty="skip", where=ADULTS)
    shop.put(person(1))
    assert shop.write(work).written
    shop.confirm()
    shop.put(person(1, age="17"))

    done = shop.write(work)
    assert (done.written, done.rows_written, some(done.counts)) == (False, 0, {"filtered": 1})
    shop.confirm()

    shop.put(person(1))
    assert shop.send(work) == {"created": 1}


# --- formulas ----------------------------------------------------------------------------------------------------

FORMULAS = [
    ("=1+1", "'=1+1"),
    ("+31 20 1234567", "'+31 20 1234567"),
    ("-2", "'-2"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("a\t=b", "a\t'=b"),
    ("x;=1+1", "x;'=1+1"),
    ("x,=1", "x,'=1"),
    ("x|@a", "x|'@a"),
    ('x;"=1', "x;\"'=1"),
    ("x; \u3000+1", "x; \u3000'+1"),
    ("x;\uff1d1", "x;'\uff1d1"),
    ("x\r\n-1;=2,,@3", "x\r\n'-1;'=2,,'@3"),
    ("x\u2028=1", "x\u2028'=1"),
    ("x;'=1", "x;'=1"),
    (";=1", ";'=1"),
    ("=1;=2", "'=1;'=2"),
    ("x - y, z + 1", "x - y, z + 1"),
    ("a-b", "a-b"),
    ("'=1", "'=1"),
    ('"=1"', '"=1"'),
    ("=1,2", "'=1,2"),
    ("\t=1", "'\t'=1"),
    ("\rx", "'\rx"),
    ("\nx", "'\nx"),
    ("  =1", "'  =1"),
    ("\u00a0=1", "'\u00a0=1"),
    ("\uff1d1", "'\uff1d1"),
    ("\uff20x", "'\uff20x"),
    ("x", "x"),
]
SPREADSHEET = Format(spreadsheet=True)


@pytest.mark.parametrize(("text", "cell"), FORMULAS)
def test_formulas_are_made_texts_for_spreadsheets_only(shop: Shop, text: str, cell: str) -> None:
    work = replace(WORK, fields={"Name": "name", "Id": "id"}, format=SPREADSHEET)
    shop.put(person(1, name=text))
    shop.write(work)
    assert shop.rows() == [[cell, "1"]]
    for form in (Format(), Format(type="jsonl", spreadsheet=True)):
        shop.write(replace(work, format=form))
        found = shop.rows() if form.type == "csv" else [list(json.loads(shop.last.read_text()).values())]
        assert found == [[text, "1"]]


def test_numbers_stay_numbers_and_names_of_columns_are_made_safe(shop: Shop) -> None:
    fields = {"=Age": "age", "-Score": "score", "+Tags": "tags", "@Marks": "marks", "Mail": "email", "Id": "id"}
    row = person(1, age="-5", score="-0.5", tags="=x;+y", marks="-3;-2", email="+a@example.com")
    shop.put(row)
    shop.write(replace(WORK, fields=fields, format=SPREADSHEET))
    with shop.last.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["'=Age", "'-Score", "'+Tags", "'@Marks", "Mail", "Id"],
            ["-5", "-0.5", "'+y;'=x", "-3;-2", "'+a@example.com", "1"],
        ]


def test_names_that_become_the_same(shop: Shop) -> None:
    with pytest.raises(RunError, match="two columns are called"):
        shop.write(replace(WORK, fields={"=A": "id", "'=a": "age"}, format=SPREADSHEET))


# --- formats -----------------------------------------------------------------------------------------------------

FIELDS = {
    "Id": "id",
    "Näme": "name",
    "Age": "age",
    "Score": "score",
    "Born": "born",
    "Vip": "vip",
    "Tags": "tags",
    "Marks": "marks",
}
PEOPLE = [
    {"id": "1", "name": 'Zoë "x", y\nz; |', "age": "-5", "score": "12345678901234567890.123456789", "born": "1990-02-28",
     "vip": "no", "tags": "b;a", "marks": "3;-1"},
    {"id": "2"},
    {"id": "3", "name": "a\rb"},
]  # fmt: skip
CELLS = [
    ["1", 'Zoë "x", y\nz; |', "-5", "12345678901234567890.123456789", "1990-02-28", "false", "a;b", "-1;3"],
    ["2", "", "", "", "", "", "", ""],
    ["3", "a\rb", "", "", "", "", "", ""],
]
JSON_1 = {"Id": "1", "Näme": 'Zoë "x", y\nz; |', "Age": -5, "Score": "12345678901234567890.123456789", "Born": "1990-02-28", "Vip": False, "Tags": ["a", "b"], "Marks": [-1, 3]}  # fmt: skip
CSV_FORMS = [
    ("out.csv", Format()),
    ("out.csv", Format(delimiter=";", quote="'")),
    ("out.tsv", Format(delimiter="\t")),
    ("out.csv", Format(header=False)),
    ("out.csv.gz", Format()),
    ("out.csv.gz", Format(compression="none")),
    ("out.csv", Format(compression="gzip")),
    ("out.csv.zst", Format()),
    ("out.csv", Format(compression="zstd")),
    ("out.csv", Format(encoding="latin-1")),
    ("out.csv", Format(encoding="utf-16")),
    ("out.csv", Format(encoding="utf-8-sig")),
    ("out.csv.gz", Format(encoding="cp1252")),
    ("out.csv.zst", Format(encoding="cp1252")),
    ("out.csv.zst", Format(encoding="utf-16", spreadsheet=True)),
]


def unpacked(path: Path, form: Format) -> bytes:
    packing = {"auto": path.suffix, "gzip": ".gz", "zstd": ".zst", "none": ""}[form.compression]
    if packing == ".gz":
        return gzip.decompress(path.read_bytes())
    return zstd.decompress(path.read_bytes()) if packing == ".zst" else path.read_bytes()


@pytest.mark.parametrize(("name", "form"), CSV_FORMS)
def test_csv_files(shop: Shop, name: str, form: Format) -> None:
    shop.put(*PEOPLE)
    shop.write(replace(WORK, fields=FIELDS, format=Format(type="parquet")), name=name, form=form)
    text = unpacked(shop.last, form).decode(form.encoding)
    records = list(csv.reader(text.splitlines(keepends=True), delimiter=form.delimiter, quotechar=form.quote))
    assert records == ([list(FIELDS)] if form.header else []) + CELLS
    if form.encoding == "utf-8-sig":
        assert shop.last.read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    "name", ["out.json", "out.json.gz", "out.json.zst", "out.jsonl", "out.jsonl.gz", "out.jsonl.zst"]
)
def test_json_files(shop: Shop, name: str) -> None:
    form = Format(type="jsonl" if "jsonl" in name else "json")
    shop.put(*PEOPLE)
    shop.write(replace(WORK, fields=FIELDS, format=form), name=name)
    text = unpacked(shop.last, form).decode()
    found = (
        [json.loads(line, parse_float=str) for line in text.splitlines()]
        if form.type == "jsonl"
        else json.loads(text, parse_float=str)
    )
    assert found == [JSON_1, {**dict.fromkeys(JSON_1), "Id": "2"}, {**dict.fromkeys(JSON_1), "Id": "3", "Näme": "a\rb"}]


def test_a_large_file_in_another_encoding_is_packed_whole(shop: Shop) -> None:
    shop.put(*(person(number, name=f"Zoë {number} " + "x" * 3000) for number in range(1500)))
    for name, encoding in (("out.csv.zst", "cp1252"), ("out.csv.gz", "cp1252"), ("out.csv", "cp1252")):
        form = Format(encoding=encoding)
        shop.write(replace(WORK, format=form), name=name)
        records = list(csv.reader(unpacked(shop.last, form).decode(encoding).splitlines(keepends=True)))
        assert [record[2] for record in records[1:]] == [f"Zoë {number} " + "x" * 3000 for number in range(1500)]


def test_one_empty_column_is_still_a_record(shop: Shop) -> None:
    shop.put(person(1, name=None), person(2, name="Bob"))
    shop.write(replace(WORK, fields={"Name": "name"}))
    assert shop.last.read_text() == 'Name\n""\nBob\n'


def test_parquet_for_a_destination_that_wants_it(shop: Shop) -> None:
    shop.put(*PEOPLE)
    shop.write(replace(WORK, fields=FIELDS), form=Format(type="parquet"))
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT Age, Tags, Vip, Born::VARCHAR FROM read_parquet('{shop.last}')").fetchall()
    assert found == [(-5, ["a", "b"], False, "1990-02-28"), (None,) * 4, (None,) * 4]


@pytest.mark.parametrize(
    ("form", "refused"),
    [
        (Format(encoding="ascii"), [3, 4]),
        (Format(encoding="ascii", header=False, quote="'", delimiter=";"), [3, 4]),
        (Format(encoding="latin-1"), [4]),
        (Format(encoding="latin-1", compression="zstd"), [4]),
        (Format(encoding="utf-16"), []),
    ],
)
def test_a_character_that_the_encoding_does_not_have_refuses_its_row(
    shop: Shop, form: Format, refused: list[int]
) -> None:
    shop.put(person(1, name="a\nb\n;,'\""), person(2, name="x\ry"), person(3, name="\nZoë"), person(4, name="\n\n☃"))
    shop.write(replace(WORK, format=form))
    rejects = shop.folder / "rejects"
    assert some(shop.confirm(rejects=rejects)) == some(Counts(created=4 - len(refused), rejected=len(refused)))
    told = [json.loads(line) for line in rejects.read_text().splitlines()] if refused else []
    assert [(one["code"], one["profile"]) for one in told] == [("unwritable-format", number) for number in refused]
    for one in told:
        assert one["message"] == f"a value of 'Name' holds a character, which {form.encoding} does not have"
    assert some(shop.write(replace(WORK, format=Format())).counts) == some(
        Counts(created=len(refused), unchanged=4 - len(refused))
    )


def test_a_selection_that_a_person_saves_names_the_character_and_its_row(shop: Shop) -> None:
    shop.put(person(1, name="a\nb"), person(2, name="Zoë"), person(3, name="☃"))
    with pytest.raises(RunError, match="'☃' in column 'name' of row 3 cannot be written in latin-1") as caught:
        shop.store.write(shop.folder / "some.csv", Format(encoding="latin-1"))
    assert caught.value.code == "wrong-encoding"
    with pytest.raises(RunError, match="the value of column 'name' in row 1 holds a line break") as caught:
        shop.store.write(shop.folder / "some.csv", Format(quote=""))
    assert caught.value.code == "unwritable-format"


def test_a_name_of_a_column_that_the_encoding_does_not_have(shop: Shop) -> None:
    with pytest.raises(RunError, match="'☃' in the name of column 'a☃' cannot be written in latin-1"):
        shop.write(replace(WORK, fields={"Id": "id", "a☃": "name"}, format=Format(encoding="latin-1")))


UNWRITABLE = [
    (Format(type="excel"), "Excel workbooks are read, but not written"),
    (Format(delimiter="§"), "the `delimiter` '§' cannot be written"),
    (Format(quote="«"), "the `quote` '«' cannot be written"),
    (Format(encoding="klingon"), "unknown encoding 'klingon'"),
]


@pytest.mark.parametrize(("form", "words"), UNWRITABLE)
def test_formats_that_cannot_be_written_are_refused_at_once(shop: Shop, form: Format, words: str) -> None:
    shop.put(person(1))
    with pytest.raises(RunError, match=words):
        shop.write(replace(WORK, format=form, expect=Expect(min_rows=9)))  # before any profile is looked at
    with pytest.raises(RunError, match=words):
        shop.write(form=form)
    with pytest.raises(RunError, match=words):
        shop.store.write(shop.folder / "some.csv", form)
    assert not list(shop.folder.glob("*out.csv"))
    assert not (shop.folder / "some.csv").exists()


UNQUOTED = [
    ({"name": "a;b"}, "a value of 'Name' holds the delimiter, and `format` says that there are no quotes around it"),
    ({"name": "a\nb"}, "a value of 'Name' holds a line break, and `format` says that there are no quotes around it"),
    (
        {"name": "a\rb"},
        "a value of 'Name' holds a carriage return, and `format` says that there are no quotes around it",
    ),
    ({"tags": "a;b"}, "a value of 'Tags' holds the delimiter, and `format` says that there are no quotes around it"),
    ({"name": 'a"b,c'}, ""),
]


@pytest.mark.parametrize(("more", "words"), UNQUOTED)
def test_without_quotes_a_value_that_would_fall_apart_refuses_its_row(
    shop: Shop, more: dict[str, str], words: str
) -> None:
    work = replace(WORK, fields={"Id": "id", "Name": "name", "Tags": "tags"}, format=Format(delimiter=";", quote=""))
    shop.put(person(1, age="17"), person(2), person(3, **more))
    work = replace(work, where=ADULTS)
    shop.write(work)
    assert shop.last.read_text() == "Id;Name;Tags\n2;P2;\n" + ("" if words else '3;a"b,c;\n')
    rejects = shop.folder / "rejects"
    shop.confirm(rejects=rejects)
    told = [json.loads(line) for line in rejects.read_text().splitlines()] if words else []
    assert [(one["code"], one["profile"], one["message"]) for one in told] == [("unwritable-format", 3, words)] * len(
        told
    )
    with pytest.raises(RunError, match="the name of the column 'a;b' holds the delimiter"):
        shop.write(replace(work, fields={"Id": "id", "a;b": "age"}))


@given(
    names=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=4
    ),
    delimiter=st.sampled_from(",;|\t"),
    quote=st.sampled_from("\"'"),
    spreadsheet=st.booleans(),
)
@settings(max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_texts_is_read_back(
    shop: Shop, names: list[str], delimiter: str, quote: str, spreadsheet: bool
) -> None:
    sound = [name for name in names if name.strip("\t\n\v\f\r ")]
    execute(shop.store, "DELETE FROM store.profiles")
    shop.put(*(person(number, name=name) for number, name in enumerate(sound)))
    form = Format(delimiter=delimiter, quote=quote, spreadsheet=spreadsheet)
    shop.write(replace(WORK, rows="all"), form=form)
    with shop.last.open(newline="", encoding="utf-8") as file:
        cells = [record[2] for record in csv.reader(file, delimiter=delimiter, quotechar=quote)][1:]
    if spreadsheet:
        assert [cell.replace("'", "") for cell in cells] == [name.replace("'", "") for name in sound]
    else:
        assert cells == sound
    if spreadsheet:
        assert not any(
            cell.lstrip().startswith(("=", "+", "-", "@")) or cell.startswith(("\t", "\r", "\n")) for cell in cells
        )


SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@given(
    texts=st.lists(st.text(st.sampled_from(",;|\t\r\n\"' =+-@\uff1d\u2028\x0b\u00a0ab1"), max_size=12), max_size=8),
    delimiter=st.sampled_from(",;|\t"),
    many=st.booleans(),
)
@settings(
    max_examples=examples(8, long=200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_wherever_a_spreadsheet_splits_no_formula_begins(
    shop: Shop, texts: list[str], delimiter: str, many: bool
) -> None:
    sound = [text for text in texts if text.strip()]
    execute(shop.store, "DELETE FROM store.profiles")
    field = {"tags" if many else "name": "tags" if many else "name"}
    shop.put(*(person(number, **dict.fromkeys(field, text)) for number, text in enumerate(sound)))
    shop.write(
        replace(WORK, rows="all", fields={"id": "id", **field}), form=Format(delimiter=delimiter, spreadsheet=True)
    )
    with shop.last.open(newline="", encoding="utf-8") as file:
        text = file.read()
    for separator in ",;|\t":
        as_csv = [
            cell for record in csv.reader(io.StringIO(text, newline=None), delimiter=separator) for cell in record
        ]
        naively = [cell for line in text.splitlines() for cell in line.split(separator)]
        for cell in (*as_csv, *naively):
            assert not cell.strip().startswith(SIGNS), (text, cell)


# --- expectations ------------------------------------------------------------------------------------------------

EXPECTATIONS: list[tuple[Expect, bool, str]] = [
    # after three were sent: one changed, one new, one left           later       what it says
    (Expect(min_rows=3),                                              True,       ""),
    (Expect(min_rows=4),                                              True,       "3 rows would be sent, fewer than 4"),
    (Expect(max_rows=3),                                              True,       ""),
    (Expect(max_rows=2),                                              True,       "3 rows would be sent, more than 2"),
    (Expect(max_change_pct=100),                                      True,       ""),
    (Expect(max_change_pct=99.9),                                     True,       r"3 changes among 3 .*: 100.0 %, more than 99.9 %"),
    (Expect(max_change_pct=0),                                        False,      ""),
    (Expect(min_rows=4, max_change_pct=1),                            True,       r"fewer than 4 \(min_rows\); 3 changes among 3"),
    (Expect(min_rows=9),                                              False,      "3 rows would be sent, fewer than 9"),
]  # fmt: skip


@pytest.mark.parametrize(("expect", "later", "words"), EXPECTATIONS)
def test_expectations(shop: Shop, expect: Expect, later: bool, words: str) -> None:
    work = replace(TELLING, where=ADULTS)
    shop.put(*map(person, (1, 2, 3)))
    if later:
        shop.send(work)
        shop.put(person(1, name="Ann"), person(2, age="17"), person(4))
    work = replace(work, expect=expect)
    if not words:
        assert shop.write(work).rows_written == 3
        return
    with pytest.raises(RunError, match=words) as caught:
        shop.write(work)
    assert caught.value.code == "expectation"
    assert not shop.last.exists()


# --- samples -----------------------------------------------------------------------------------------------------


def test_samples_show_what_would_change_for_the_partner(shop: Shop) -> None:
    work = replace(TELLING, where=ADULTS, rows="all", fields={"Id": "id", "Name": "name", "Tags": "tags"})
    shop.put(*map(person, (1, 2, 3)))
    shop.send(work)
    shop.put(person(1, age="17"), person(2, name="Bob", tags="b;a"), person(4, name=None))

    done = shop.write(work, samples=20)

    assert [(one.counted_as, one.profile, dict(one.values)) for one in done.samples] == [
        ("updated", "id=2, email=p2@example.com", {"Id": "2", "Name": "Bob", "Tags": "a; b", "deleted": "false"}),
        ("created", "id=4, email=p4@example.com", {"Id": "4", "Name": None, "Tags": None, "deleted": "false"}),
        ("deleted", "id=1, email=p1@example.com", {"Id": "1", "Name": "P1", "Tags": None, "deleted": "true"}),
    ]
    assert [one.counted_as for one in shop.write(work, samples=1).samples] == ["updated"]
    assert shop.write(work).samples == ()


def test_writing_alone_changes_nothing(shop: Shop) -> None:
    shop.put(person(1), person(2))
    before = shop.write(samples=5)
    assert shop.write(samples=5) == before
    assert shop.store.read_counts(connection="audience", run=shop.run) is None
    assert shop.send() == {"created": 2}


# --- against a model in plain Python -----------------------------------------------------------------------------


@dataclass
class Person:
    """One profile of the model."""

    id: str
    email: str
    name: str
    age: int
    news: bool | None

    @property
    def values(self) -> list[str]:
        return [self.id, self.email, self.name, str(self.age)]


@dataclass
class Partner:
    """What the partner was sent: by the profile's number the values (None: refused) and the identifiers (None: not kept)."""

    sent: dict[int, tuple[list[str] | None, tuple[str, str] | None]] = field(default_factory=dict)


Row = tuple[str, int, list[str]]  # what it counts as, whose it is, its cells


def decided(people: Mapping[int, Person], partner: Partner, work: Export) -> tuple[dict[str, int], list[Row]]:
    """Return the counters and the rows that an export should have."""
    counts: dict[str, int] = {}
    rows: list[Row] = []
    left: list[tuple[int, str, tuple[str, str], list[str]]] = []
    telling = work.deleted == "send"
    for number, one in people.items():
        matches, allowed = one.age >= 18 or work.where is None, one.news is True or not work.objectives
        if not (matches and allowed):
            verdict = "consent_blocked" if matches else "filtered"
            if telling and number in partner.sent:
                kept = partner.sent[number][1] or (one.id, one.email)
                left.append((number, verdict, kept, [one.name, str(one.age)] if allowed else ["", ""]))
            else:
                counts[verdict] = counts.get(verdict, 0) + 1
            continue
        if number not in partner.sent:
            verdict = "created"
        else:
            verdict = "unchanged" if partner.sent[number][0] == one.values else "updated"
        counts[verdict] = counts.get(verdict, 0) + 1
        if verdict != "unchanged" or work.rows == "all":
            rows.append((verdict, number, [*one.values, *(["false"] if telling else [])]))
    chosen = [
        one for one in people.values() if (one.age >= 18 or work.where is None) and (one.news or not work.objectives)
    ]
    if telling:
        left += [
            (number, "", kept, ["", ""]) for number, (_, kept) in partner.sent.items() if number not in people and kept
        ]
    for number, verdict, (key, email), rest in sorted(left):
        key = "" if key in [one.id for one in chosen] else key
        email = "" if email in [one.email for one in chosen] else email
        if key or email:
            verdict = "deleted"
            rows.append((verdict, number, [key, email, *rest, "true"]))
        if verdict:
            counts[verdict] = counts.get(verdict, 0) + 1
    return counts, rows


def told(partner: Partner, people: Mapping[int, Person], work: Export, rows: Sequence[Row], refused: set[int]) -> None:
    """Let the partner know what was sent, but for the refused rows."""
    kept = work.deleted == "send"
    refusals_of = {rows[row][1]: rows[row][0] for row in refused}
    after: dict[int, tuple[list[str] | None, tuple[str, str] | None]] = {}
    for number, one in people.items():
        matches, allowed = one.age >= 18 or work.where is None, one.news is True or not work.objectives
        if matches and allowed and number not in refusals_of:
            after[number] = (one.values, (one.id, one.email) if kept else None)
    for number, verdict in refusals_of.items():
        if verdict == "deleted":
            after[number] = partner.sent[number]
        elif verdict != "created":
            after[number] = (None, partner.sent[number][1])
    partner.sent = after


IDS = st.sampled_from("123")
STEPS = st.one_of(
    st.tuples(
        st.just("put"),
        st.lists(
            st.tuples(IDS, st.sampled_from("ab"), st.sampled_from("XY"), st.sampled_from((17, 30)), st.sampled_from(("yes", "no", ""))),
            min_size=1, max_size=3, unique_by=lambda row: row[0],
        ),
    ),
    st.tuples(st.just("drop"), IDS),
    st.tuples(
        st.just("send"),
        st.tuples(
            st.sampled_from(("skip", "send", "send")),
            st.sampled_from(("changed", "changed", "all")),
            st.sampled_from(("write", "skip")),
            st.booleans(),  # adults only
            st.booleans(),  # consent is asked for
            st.booleans(),  # it arrives
            st.sets(st.integers(0, 3)),  # rows that are refused
        ),
    ),
)  # fmt: skip


@given(st.lists(STEPS, max_size=9))
@settings(max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_counters_and_rows_are_those_of_the_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    people: dict[int, Person] = {}
    partner, number = Partner(), 0
    with open_store(folder / "profiles.duckdb", MODEL, temp=folder / "temp", report=Log()) as store:
        shop = Shop(store, folder, Log())
        for step, what in steps:
            if step == "put":
                shop.put(*(person(int(key), email=f"{key}{letter}@example.com", name=name, age=str(age), news=news)
                           for key, letter, name, age, news in what))  # fmt: skip
                for key, letter, name, age, news in what:
                    said = {"yes": True, "no": False, "": None}[news]
                    known = next((one for one in people.values() if one.id == key), None)
                    made = Person(key, f"{key}{letter}@example.com", name, age, said)
                    if known:
                        made.news = known.news if said is None else said
                        people = {place: made if one is known else one for place, one in people.items()}
                    else:
                        number += 1
                        people[number] = made
            elif step == "drop":
                shop.drop(what)
                people = {place: one for place, one in people.items() if one.id != what}
            else:
                deleted, rows, when_empty, adults, asks, arrives, refused = what
                work = replace(WORK, deleted=deleted, rows=rows, when_empty=when_empty)
                work = replace(work, where=ADULTS if adults else None, objectives=("news",) if asks else ())
                counts, expected = decided(people, partner, work)
                done = shop.write(work)
                assert some(done.counts) == counts
                assert done.written == bool(expected or when_empty == "write")
                assert done.rows_written == len(expected)
                if done.written:
                    assert shop.rows() == [cells for _, _, cells in expected]
                if arrives:
                    refused = {row for row in refused if row < len(expected)}
                    for row in refused:
                        counts[expected[row][0]] -= 1
                        counts["rejected"] = counts.get("rejected", 0) + 1
                    assert some(shop.confirm(*refused)) == {name: count for name, count in counts.items() if count}
                    told(partner, people, work, expected, refused)


# --- a delivery that was cut off ---------------------------------------------------------------------------------


def cut(shop: Shop, work: Export = WORK) -> None:
    """Export, and confirm nothing."""
    shop.write(work, can_settle=True)


def settle(shop: Shop, refused: Sequence[int] = (), unknown: Sequence[int] = ()) -> None:
    rows = shop.store.find_unconfirmed("audience")
    assert rows is not None
    assert (rows.stamp.run, rows.stamp.at) == (shop.run, AT)
    shop.store.settle_export(rows, refused=refused, unknown=unknown)
    assert shop.store.find_unconfirmed("audience") is None


def test_what_a_cut_delivery_brought_is_known_afterwards(shop: Shop) -> None:
    shop.put(*({"id": str(number), "name": "Ann"} for number in range(5)))
    cut(shop, TELLING)
    settle(shop, refused=[1], unknown=[3])
    assert shop.send(TELLING) == {"created": 1, "updated": 1, "unchanged": 3}
    shop.put({"id": "0", "name": "Bob"}, {"id": "1", "name": "Cy"})
    cut(shop, TELLING)
    settle(shop, refused=[0])
    assert shop.send(TELLING) == {"updated": 1, "unchanged": 4}


def test_who_leaves_after_a_cut_delivery_is_deleted(shop: Shop) -> None:
    """Also when nobody knows whether the profile has arrived; not when the partner refused it."""
    shop.put(*({"id": str(number), "age": "20"} for number in range(3)))
    adults = replace(TELLING, where=ADULTS)
    cut(shop, adults)
    settle(shop, refused=[1], unknown=[2])
    shop.put(*({"id": str(number), "age": "10"} for number in range(3)))
    cut(shop, adults)
    assert [row[0] for row in shop.rows()] == ["0", "2"]
    settle(shop, refused=[1])
    assert shop.send(adults) == {"filtered": 2, "deleted": 1}
    assert [row[0] for row in shop.rows()] == ["2"]


def test_a_later_run_knows_better(shop: Shop) -> None:
    shop.put({"id": "1"})
    cut(shop)
    assert shop.store.find_unconfirmed("people") is None
    shop.write()  # a connector that cannot say what became of rows
    shop.confirm()
    assert shop.store.find_unconfirmed("audience") is None
    shop.put({"id": "1", "name": "Ann"})
    cut(shop)
    shop.store.forget_connection("audience")
    assert shop.store.find_unconfirmed("audience") is None
    cut(shop)
    rows = shop.store.find_unconfirmed("audience")
    assert rows is not None
    with pytest.raises(RunError, match="speaks of row 2 of run"):
        shop.store.settle_export(rows, refused=[1], unknown=[])
    execute(
        shop.store, "INSERT INTO store.runs SELECT max(id) + 1, 'audience', 9, 'export', now(), '{}' FROM store.runs"
    )
    assert shop.store.find_unconfirmed("audience") is None, "an older version has confirmed a run since"
