"""Imports beyond the plain file: what sources hand over once, packed files, workbooks, documents, expectations."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connrunner.core.model import (
    Expect,
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
from connrunner.core.report import Level
from connrunner.errors import RunError
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ImportJob, RunStamp
from connrunner.profiles.readers import compression, excel
from connrunner.profiles.readers import json as document
from connrunner.profiles.readers.normalize import NormalizedFile
from connrunner.profiles.results import Difference, ImportResult
from connrunner.text import json_stream, unpacking
from tests.stores import BOTH as BOTH_STORES
from tests.stores import open_store

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.usefixtures("store_kind"),
    pytest.mark.parametrize("store_kind", BOTH_STORES, indirect=True),
]

TYPES = {
    "id": "text",
    "email": "email",
    "name": "text",
    "age": "integer",
    "spent": "decimal",
    "member": "boolean",
    "born": "date",
    "seen": "datetime",
}
MODEL = ProfileModel(
    properties={
        **{
            name: Property(name=name, type=PropertyType(kind), identifier=name in ("id", "email"), personal=False)
            for name, kind in TYPES.items()
        },
        "tags": Property(name="tags", many=True, personal=False),
    },
    objectives={"news": Objective(name="news")},
)

JSONL = Format(type="jsonl")


class Report:
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        self.said.append(text)

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


class Bench:
    """A store in a folder, files beside it, and runs of one connection, numbered from 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = 0
        self.report = Report()

    def open(self) -> Any:
        return open_store(self.folder / "store.duckdb", MODEL, temp=self.folder / "temp", report=self.report)

    def ask(self, question: Callable[[ProfileStore], Any]) -> Any:
        with self.open() as store:
            return question(store)

    def file(self, name: str, data: str | bytes, *, modified: str = "v1", **more: Any) -> LocalFile:
        path = self.folder / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return LocalFile(path=str(path), name=name, size=path.stat().st_size, modified=modified, **more)

    def take(self, work: Import, *files: LocalFile, connection: str = "people", **more: Any) -> ImportResult:
        self.run += 1
        with self.open() as store:
            done: ImportResult = store.import_files(
                ImportJob(
                    work=work,
                    files=files,
                    stamp=RunStamp(connection=connection, run=self.run, at=datetime(2026, 11, 22, tzinfo=UTC)),
                    rejects=self.folder / f"rejects-{self.run}.jsonl",
                    **more,
                )
            )
        assert done.counts.imbalance() == ""
        return done

    def rejects(self) -> list[tuple[str, int, str]]:
        """Return file, line and code of what the newest run refused."""
        path = self.folder / f"rejects-{self.run}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(one["file"], one["line"], one["code"]) for one in map(json.loads, lines)]

    def profiles(self, *names: str) -> list[tuple[Any, ...]]:
        found = self.ask(lambda store: list(store.select(names)))
        return [tuple(one[name] for name in names) for one in found]

    def kept(self) -> int:
        count: int = self.ask(lambda store: store.describe_connection("people"))["kept_rows"]
        return count


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def importing(*names: str, match: Any = (("id",),), write: Any = None, **more: Any) -> Import:
    fields = (write or {}).get
    return Import(
        source={"type": "files"},
        format=more.pop("format", Format()),
        match=match,
        fields=tuple(
            Field(property=name, column=more.get("columns", {}).get(name, name), write=fields(name, Write.SET))
            for name in names
        ),
        **{key: value for key, value in more.items() if key != "columns"},
    )


WORK = importing("id", "name", "age")
HEADER = "id,name,age\n"


def numbers(done: ImportResult) -> dict[str, int]:
    return {name: number for name, number in done.counts.as_dict().items() if number}


# --- files that are known -----------------------------------------------------------------------------------------


def test_a_file_is_known_when_all_of_it_was_imported(bench: Bench) -> None:
    bench.take(WORK, bench.file("a.csv", HEADER + "1,Ann,30\n"), bench.file("b.csv", HEADER + "2,Bob,no\n"))
    bench.take(WORK, bench.file("c.csv", HEADER + "3,Cy,3\n", modified=""))

    other = importing("id", "name")
    with bench.open() as store:
        known = store.load_known_files(WORK, connection="people")
        of_another_mapping = store.load_known_files(other, connection="people")
        of_another_connection = store.load_known_files(WORK, connection="others")
    # The store is closed: what was known stays known.
    table = [
        (("a.csv", 21, "v1"), True),
        (("a.csv", 22, "v1"), False),
        (("a.csv", 21, "v2"), False),
        (("a.csv", 21, ""), False),
        (("b.csv", 21, "v1"), False),  # a row was refused
        (("c.csv", 19, ""), False),  # no stamp tells its version
        (("d.csv", 21, "v1"), False),
    ]
    assert [known(*asked) for asked, _ in table] == [answer for _, answer in table]
    assert not of_another_mapping("a.csv", 21, "v1")
    assert not of_another_connection("a.csv", 21, "v1")


def test_a_known_file_need_not_be_fetched(bench: Bench) -> None:
    bench.take(WORK, bench.file("a.csv", HEADER + "1,Ann,30\n2,Bob,31\n"))

    done = bench.take(WORK, LocalFile(path="", name="a.csv", size=30, modified="v1"))

    assert numbers(done) == {"read": 2, "skipped": 2}
    assert done.files[0].status == "skipped"


@pytest.mark.parametrize(
    "file",
    [
        LocalFile(path="", name="a.csv", size=30, modified="v2"),
        LocalFile(path="", name="b.csv", size=30, modified="v1"),
        LocalFile(path="", name="refused.csv", size=21, modified="v1"),
    ],
)
def test_a_file_that_is_not_known_must_be_fetched(bench: Bench, file: LocalFile) -> None:
    bench.take(
        WORK, bench.file("a.csv", HEADER + "1,Ann,30\n2,Bob,31\n"), bench.file("refused.csv", HEADER + "3,Cy,no\n")
    )

    with pytest.raises(RunError, match=r"was not fetched") as error:
        bench.take(WORK, file)

    assert error.value.code == "not-fetched"


def test_a_file_of_a_form_of_its_own(bench: Bench) -> None:
    file = bench.file("a.jsonl", '{"id": "1", "name": "Ann", "age": 30}\n', format=JSONL)

    first, again = bench.take(WORK, file), bench.take(WORK, file)
    as_csv = bench.take(WORK, bench.file("b.csv", HEADER + "2,Bob,31\n"))

    assert (numbers(first), numbers(as_csv)) == ({"read": 1, "checked": 1, "created": 1},) * 2
    assert numbers(again) == {"read": 1, "skipped": 1}
    assert bench.profiles("id", "name", "age") == [("1", "Ann", 30), ("2", "Bob", 31)]


# --- the mark of a source -----------------------------------------------------------------------------------------


def test_the_mark_moves_with_the_rows(bench: Bench) -> None:
    def mark() -> Any:
        return bench.ask(lambda store: store.read_mark("people"))

    good, bad = bench.file("a.csv", HEADER + "1,Ann,30\n"), bench.file("b.csv", "x,y\n1,2\n")
    seen = [mark()]
    takes: list[tuple[list[LocalFile], dict[str, Any]]] = [
        ([good], {"mark": {"cursor": 1, "list": [None, "é"]}}),
        ([good], {}),
        ([], {"mark": "dry", "dry_run": True}),
        ([], {"mark": 2}),
    ]
    for files, more in takes:
        bench.take(WORK, *files, **more)
        seen.append(mark())
    with pytest.raises(RunError):
        bench.take(WORK, bad, mark="failed")
    strict = importing("id", "name", "age", expect=Expect(min_rows=9))
    with pytest.raises(RunError):
        bench.take(strict, bench.file("c.csv", HEADER + "1,Ann,30\n"), mark="not as expected")
    bench.take(WORK, connection="others", mark="theirs")

    first = {"cursor": 1, "list": [None, "é"]}
    assert [*seen, mark()] == [None, first, first, first, 2, 2]


# --- rows that are handed over once -------------------------------------------------------------------------------


def test_refused_rows_that_come_once_are_kept_until_they_are_accepted(bench: Bench) -> None:
    file = bench.file("spool", HEADER + "1,Ann,30\n2,Bob,no\n,Cy,3\n", once=True)

    first = bench.take(WORK, file)
    kept = bench.kept()
    again = bench.take(WORK)
    wrong_column = importing("id", "name")
    mended = bench.take(wrong_column)

    assert numbers(first) == {"read": 3, "checked": 3, "created": 1, "invalid": 2}
    assert (kept, bench.kept()) == (2, 1)
    assert numbers(again) == {"read": 2, "checked": 2, "invalid": 2}
    assert [(one.name, one.status) for one in again.files] == [("kept rows", "retried")]
    assert numbers(mended) == {"read": 2, "checked": 2, "created": 1, "invalid": 1}
    assert bench.rejects() == [("kept rows", 2, "missing-key")]
    assert bench.profiles("id", "name", "age") == [("1", "Ann", 30), ("2", "Bob", None)]
    assert bench.ask(lambda store: store.describe_connection("people"))["files"] == []


def test_rows_that_come_once_are_read_whenever_they_come(bench: Bench) -> None:
    file = bench.file("spool", HEADER + "1,Ann,30\n", once=True)

    assert numbers(bench.take(WORK, file)) == {"read": 1, "checked": 1, "created": 1}
    assert numbers(bench.take(WORK, file)) == {"read": 1, "checked": 1, "unchanged": 1}


def test_the_columns_of_a_kept_row_are_those_of_its_file(bench: Bench) -> None:
    """A mapping that was wrong is mended: the kept rows have the column that it should have named."""
    bench.take(
        importing("id", "age", columns={"age": "name"}), bench.file("spool", "id,name,years\n1,Ann,30\n", once=True)
    )

    bench.take(importing("id", "age", columns={"age": "years"}))

    assert (bench.profiles("id", "age"), bench.kept()) == ([("1", 30)], 0)


def _parquet(rows: str) -> bytes:
    with duckdb.connect() as connection:
        path = Path("rows.parquet")
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()


TORN = 'id,name,age,tags\n1,"An\nn",3,"a;b"\n2,Bob,no,"c;d"\n3,Cy\n"4"x,D,4,e\n'
KINDS: list[tuple[str, Format, Callable[[], str | bytes], list[str]]] = [
    ("csv", Format(), lambda: "id,name,age,tags\n1,Ann,3,a;b\n2,Bob,no,c;d\n3,Cy\n", ["too-few-columns"]),
    ("quoted csv", Format(), lambda: TORN, ["bad-quoting", "too-few-columns"]),
    ("jsonl", JSONL, lambda: '{"id":1,"age":3}\n{"id":2,"age":"no","tags":["c","d"]}\n{"id":\n', ["bad-json"]),
    ("json", Format(type="json"), lambda: '[{"id":1},\n{"id":2,\n"age":"no","tags":["c","d"]}, 7]', ["bad-json"]),
    ("parquet", Format(type="parquet"), lambda: _parquet("SELECT 2 AS id, 'Bob' AS name, 'no' AS age, ['c', 'd'] AS tags"), []),
    ("excel", Format(type="excel"), lambda: workbook([("id", "name", "age", "tags"), (2, "Bob", "no", "c;d"), (3, "Cy", "#N/A")]), ["formula-error"]),
]  # fmt: skip


@pytest.mark.parametrize(("form", "data", "broken"), [case[1:] for case in KINDS], ids=[case[0] for case in KINDS])
def test_rows_are_kept_from_every_format(
    bench: Bench,
    form: Format,
    data: Callable[[], str | bytes],
    broken: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    work = importing("id", "age", "tags", format=form)
    first = bench.take(work, bench.file("spool", data(), once=True))
    codes = sorted(code for _, _, code in bench.rejects())
    again = bench.take(work)
    assert sorted(code for _, _, code in bench.rejects()) == codes == sorted(["wrong-type", *broken])
    assert again.counts.read == first.counts.invalid == bench.kept()

    bench.take(importing("id", "tags", format=form))

    assert sorted(code for _, _, code in bench.rejects()) == broken
    assert ("2", ["c", "d"]) in bench.profiles("id", "tags")
    assert bench.kept() == len(broken)


@pytest.mark.parametrize("form", [Format(), JSONL], ids=["csv", "jsonl"])
def test_the_rows_that_are_kept_are_the_ones_that_were_refused(bench: Bench, form: Format) -> None:
    """DuckDB reads a large file in parts, in several threads."""
    ages = {number: "no" if number % 7919 == 5 else str(number % 90) for number in range(400_000)}
    if form.type == "csv":
        text = HEADER + "".join(f"p{number},Person {number},{age}\n" for number, age in ages.items())
    else:
        text = "".join(f'{{"id":"p{number}","name":"Person {number}","age":"{age}"}}\n' for number, age in ages.items())
    bench.take(WORK, bench.file("spool", text, once=True, format=form))
    bench.take(importing("id", "name"))

    wanted = [(f"p{number}", f"Person {number}") for number, age in ages.items() if age == "no"]
    found = bench.ask(lambda store: list(store.select(["id", "name"], where="age IS NULL")))
    assert [(one["id"], one["name"]) for one in found] == wanted


def test_a_newer_row_comes_on_top_of_a_kept_one(bench: Bench) -> None:
    bench.take(WORK, bench.file("first", HEADER + "1,Old,no\n2,Bob,no\n", once=True))
    work = importing("id", "name", "age", columns={"age": "years"})

    done = bench.take(work, bench.file("next", "id,name,years\n1,New,\n", once=True))

    # The rows say nothing about `years`, so they are sound now, and older than what comes next.
    assert numbers(done) == {"read": 3, "checked": 3, "created": 2, "updated": 1}
    assert (bench.profiles("id", "name"), bench.kept()) == ([("1", "New"), ("2", "Bob")], 0)


BOTH = importing("id", "email", "age", match=(("id",), ("email",)))
ROWS = "id,email,age\n"
SUPERSEDED = [
    # what                          kept rows                        newer rows                    kept afterwards, duplicates
    ("the same key",                "1,a@example.com,no\n",          "1,,5\n",                      0, 1),
    ("the other key",               "1,a@example.com,no\n",          ",a@example.com,5\n",          0, 1),
    ("another key",                 "1,a@example.com,no\n",          "2,b@example.com,5\n",         1, 0),
    ("the same profile",            "7,,no\n",                       ",seven@example.com,5\n",      0, 1),
    ("another profile",             "7,,no\n",                       ",eight@example.com,5\n",      1, 0),
    ("a newer one that is refused", "1,a@example.com,no\n",          "1,,nope\n",                   1, 1),
    ("no key at all",               ",,5\n",                         "1,,5\n",                      1, 0),
    ("two of them",                 "1,,no\n1,a@example.com,nil\n",  "1,,5\n",                      0, 2),
    ("ambiguous",                   "7,eight@example.com,5\n",       "8,,6\n",                      0, 1),
    ("still ambiguous",             "7,eight@example.com,5\n",       "9,,6\n",                      1, 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "kept", "duplicates"), [case[1:] for case in SUPERSEDED], ids=[case[0] for case in SUPERSEDED]
)
def test_a_kept_row_gives_way_to_a_newer_one(bench: Bench, old: str, new: str, kept: int, duplicates: int) -> None:
    bench.take(BOTH, bench.file("before", ROWS + "7,seven@example.com,1\n8,eight@example.com,1\n"))
    bench.take(BOTH, bench.file("first", ROWS + old, once=True))

    done = bench.take(BOTH, bench.file("next", ROWS + new, once=True))

    count = old.count("\n")
    assert done.files[0].counts.duplicate == duplicates
    assert done.files[0].counts.refused == count - duplicates
    assert [code for file, _, code in bench.rejects() if file == "kept rows"].count("duplicate") == duplicates
    assert bench.kept() == kept


def test_a_row_of_an_unchanged_file_is_not_newer(bench: Bench) -> None:
    stays = bench.file("stays.csv", HEADER + "1,Ann,no\n")
    bench.take(WORK, stays)
    bench.take(WORK, bench.file("spool", HEADER + "1,Ann,nil\n", once=True))

    done = bench.take(WORK, stays)

    assert numbers(done) == {"read": 2, "checked": 2, "invalid": 2}
    assert bench.kept() == 1


def test_a_file_that_stayed_and_now_comes_once_is_not_added_again(bench: Bench) -> None:
    work = importing("id", "age", write={"age": Write.INCREMENT})
    bench.take(work, bench.file("a.csv", "id,age\n1,5\n2,no\n"))

    done = bench.take(work, bench.file("a.csv", "id,age\n1,5\n2,no\n", once=True))

    assert numbers(done) == {"read": 2, "skipped": 1, "checked": 1, "invalid": 1}
    assert bench.profiles("id", "age") == [("1", 5)]
    assert (bench.kept(), bench.ask(lambda store: store.describe_connection("people"))["files"]) == (1, [])


def test_a_dry_run_and_a_failed_one_leave_the_kept_rows(bench: Bench) -> None:
    bench.take(WORK, bench.file("spool", HEADER + "1,Ann,no\n", once=True))
    newer = bench.file("next", HEADER + "1,Ann,5\n2,Bob,no\n", once=True)

    tried = bench.take(WORK, newer, dry_run=True)
    with pytest.raises(RunError):
        bench.take(importing("id", "name", "age", expect=Expect(max_rows=1)), newer)

    assert numbers(tried) == {"read": 3, "checked": 3, "created": 1, "duplicate": 1, "invalid": 1}
    assert (bench.kept(), bench.profiles("id")) == (1, [])


# --- JSON documents -----------------------------------------------------------------------------------------------


def _json(bench: Bench, text: str, rows: str = "") -> ImportResult:
    return bench.take(importing("id", "name"), bench.file("a.json", text, format=Format(type="json", rows=rows)))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]', ""),
        ('\ufeff [\n  {\n    "id": 1,\r\n    "name": "a"\n  },\n  {"id": 2, "name": "b"}\n]\n', ""),
        ('{"data": {"n": 1, "items": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], "z": [[]]}, "m": {"a": {}}}', "data.items"),
        ('{"": {"é": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}}', ".é"),
        ('{"skip": [[1, "]"], {"items": []}], "items": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}', "items"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_list_within_a_document(
    bench: Bench, text: str, rows: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)

    assert numbers(_json(bench, text, rows)) == {"read": 2, "checked": 2, "created": 2}
    assert bench.profiles("id", "name") == [("1", "a"), ("2", "b")]


def test_what_stands_in_a_document_is_taken_as_it_stands(bench: Bench) -> None:
    work = importing("id", "name", "spent", "tags", "member")
    text = '[{"id": 12345678901234567890, "name": "a\\nb \\u00e9 \\u2028", "spent": 1.10, "tags": ["x", "y"], "member": true}]'
    bench.take(work, bench.file("a.json", text, format=Format(type="json")))

    found = bench.profiles("id", "name", "spent", "tags", "member")
    assert found == [("12345678901234567890", "a\nb é \u2028", "1.1", ["x", "y"], True)]


def test_items_that_are_no_objects_are_invalid_rows(bench: Bench) -> None:
    done = _json(bench, '[{"id": 1, "name": "a"}, 7, "x", null, [{"id": 2}], {"id": 3, "name": "c"}]')

    assert numbers(done) == {"read": 6, "checked": 6, "created": 2, "invalid": 4}
    assert bench.rejects() == [("a.json", line, "bad-json") for line in (2, 3, 4, 5)]


MALFORMED = [
    # document                               rows          code              what the message says
    ("",                                     "",           "empty-file",     "empty"),
    (" \n ",                                 "",           "empty-file",     "empty"),
    ('[{"id": 1},\n {"id": 2}',              "",           "malformed-json", "ends before its end in line 2, at character 23"),
    ('[{"id": 1},\n {"id: 2}]',              "",           "malformed-json", "in line 2, at character 15"),
    ('[{"id": 1}\n {"id": 2}]',              "",           "malformed-json", "',' or ']' is expected in line 2, at character 13"),
    ('[{"id": 1},\n {"id": 2,}]',            "",           "malformed-json", "in line 2"),
    ("[{'id': 1}]",                          "",           "malformed-json", "double quotes in line 1, at character 3"),
    ('[{"id": 1}]\n[]',                      "",           "malformed-json", "follows the end"),
    ('{"data": [{"id": 1}], "x": }',         "data",       "malformed-json", "at character 28"),
    ('{"data": [{"id": 1}]',                 "data",       "malformed-json", "ends before its end"),
    ("id,name\n1,a\n",                       "",           "malformed-json", "in line 1, at character 1"),
    ("[" * 100_000,                          "",           "malformed-json", "nested too deeply"),
    ('[{"id": ' + "[" * 128 + "1" + "]" * 128 + "}]", "",  "malformed-json", "nested too deeply"),
    ('[{"id": ' + "[" * 128 + "1 1",         "",           "malformed-json", "nested too deeply"),
    ('[{"id": ' + "[" * 127 + "1 1",         "",           "malformed-json", "',' delimiter in line 1"),
    ('{"data": [{"id": 1}]}',                "",           "missing-rows",   "an object, not a list"),
    ('{"data": [{"id": 1}]}',                "dta",        "missing-rows",   "did you mean 'data'?"),
    ('{"data": {"items": []}}',              "data.rows",  "missing-rows",   "data has no 'rows'; it has 'items'"),
    ('{"data": {"items": {}}}',              "data.items", "missing-rows",   "data.items is no list"),
    ('{"a": [{"id": 1}], "a": []}',          "a",          "malformed-json", "a stands there twice in line 1"),
    ('{"a": {"b": [{"id": 1}]}, "a": {}}',   "a.b",        "malformed-json", "a.b stands there twice in line 1"),
    ('[{"id": 1}]',                          "data",       "missing-rows",   "the document is no object"),
    ('"text"',                               "",           "missing-rows",   "no list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rows", "code", "said"), MALFORMED)
@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_a_document_that_is_none(
    bench: Bench, text: str, rows: str, code: str, said: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)

    with pytest.raises(RunError) as error:
        _json(bench, text, rows)

    assert error.value.code == code
    assert said in str(error.value)


def test_a_document_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", 1000)
    path = tmp_path / "a.json"
    items = [{"id": number, "name": "x" * (number % 300)} for number in range(5000)]
    path.write_text(json.dumps({"before": [["y" * 50] * 3] * 2000, "items": items, "after": items}, indent=1))
    parts: list[int] = []
    more = json_stream.JsonStream._read_more

    def watched(self: Any) -> bool:
        parts.append(len(self._part))
        return more(self)

    monkeypatch.setattr(json_stream.JsonStream, "_read_more", watched)
    plain = NormalizedFile(path=path, name="a.json", size=path.stat().st_size)
    lines, count = document.copy_items(plain, "items", tmp_path, lambda done, about: None)

    assert count == 5000
    assert [json.loads(line) for line in lines.path.read_text().splitlines()] == items
    assert max(parts) < 10_000


def test_a_value_that_is_longer_than_a_line_may_be(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "LONGEST_LINE", 1000)

    with pytest.raises(RunError, match="longer than") as error:
        _json(bench, json.dumps([{"id": 1, "name": "x" * 2000}]))

    assert error.value.code == "too-long"


# --- Excel --------------------------------------------------------------------------------------------------------


def workbook(*sheets: list[tuple[Any, ...]]) -> bytes:
    """Return a workbook with the sheets Sheet1, Sheet2..."""
    import openpyxl

    book = openpyxl.Workbook()
    assert book.active is not None
    book.remove(book.active)
    for number, rows in enumerate(sheets, 1):
        sheet = book.create_sheet(f"Sheet{number}")
        for row in rows:
            sheet.append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


EXCEL = Format(type="excel")
moment = datetime.fromisoformat  # a workbook knows no time zones


def test_the_values_of_a_workbook(bench: Bench) -> None:
    names = ("id", "email", "name", "age", "spent", "member", "born", "seen", "tags")
    rows = [
        (1, "Ann@Example.com", "Ann", 30, 12.5, True, date(2000, 2, 29), moment("2026-11-22T09:15:00"), "a;b"),
        (2.0, None, 42, 31.0, 1e-7, False, moment("1999-12-31"), moment("2026-11-22"), None),
        (None,) * 9,
        ("x3", None, "line\nbreak", 2**53, 0.1 + 0.2, "yes", "2001-02-03", "2026-11-22T10:15:00+01:00", "c"),
        ("x4", None, moment("2026-01-02T03:04:05")),
        ("x5", None, time(3, 4)),
    ]

    done = bench.take(importing(*names, format=EXCEL), bench.file("a.xlsx", workbook([names, *rows])))

    assert numbers(done) == {"read": 5, "checked": 5, "created": 5}
    assert bench.profiles(*names) == [
        ("1", "ann@example.com", "Ann", 30, "12.5", True, "2000-02-29", "2026-11-22T09:15:00Z", ["a", "b"]),
        ("2", None, "42", 31, "0.0000001", False, "1999-12-31", "2026-11-22T00:00:00Z", None),
        ("x3", None, "line\nbreak", 2**53, "0.3", True, "2001-02-03", "2026-11-22T09:15:00Z", ["c"]),
        ("x4", None, "2026-01-02 03:04:05", None, None, None, None, None, None),
        ("x5", None, "03:04:00", None, None, None, None, None, None),
    ]


def test_the_flaws_of_a_workbook(bench: Bench) -> None:
    rows = [
        ("id", "age", "note"),
        (1, 12.7),
        (2, "#N/A"),
        (3, 3, "fine", "surplus"),
        (4, 4, "#REF!"),
        (5, moment("2026-01-01")),
        (6, 6),
    ]

    done = bench.take(importing("id", "age", format=EXCEL), bench.file("a.xlsx", workbook(rows)))

    assert numbers(done) == {"read": 6, "checked": 6, "created": 2, "invalid": 4}
    assert bench.rejects() == [
        ("a.xlsx", 2, "wrong-type"),
        ("a.xlsx", 3, "formula-error"),
        ("a.xlsx", 4, "too-many-columns"),
        ("a.xlsx", 6, "wrong-type"),
    ]


def test_a_formula_counts_as_the_value_that_was_kept_of_it(bench: Bench) -> None:
    data = workbook([("id", "age"), (1, 5)])
    mended = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(mended, "w") as new:
        for part in old.infolist():
            content = old.read(part)
            if part.filename == "xl/worksheets/sheet1.xml":
                assert b"<v>5</v>" in content
                content = content.replace(b"<v>5</v>", b"<f>2+3</f><v>5</v>")
                # A size that the sheet claims, and does not have.
                content = content.replace(b'<dimension ref="A1:B2"', b'<dimension ref="A1"')
            new.writestr(part, content)

    bench.take(importing("id", "age", format=EXCEL), bench.file("a.xlsx", mended.getvalue()))

    assert bench.profiles("id", "age") == [("1", 5)]


def test_the_sheets_of_a_workbook(bench: Bench) -> None:
    file = bench.file("a.xlsx", workbook([("id",), (1,)], [(None,), ("id",), (2,), (3,)], []))

    def take(sheet: str) -> ImportResult:
        return bench.take(importing("id", format=Format(type="excel", sheet=sheet)), file)

    assert [take("").counts.created, take("Sheet2").counts.created] == [1, 2]
    with pytest.raises(RunError, match="did you mean 'Sheet2'") as error:
        take("sheet2")
    assert error.value.code == "unknown-sheet"
    with pytest.raises(RunError, match="not even a header"):
        take("Sheet3")


def test_workbooks_that_cannot_be_read(bench: Bench) -> None:
    def said(data: bytes, work: Import | None = None) -> tuple[str, str]:
        with pytest.raises(RunError) as error:
            bench.take(work or importing("id", format=EXCEL), bench.file("a.xlsx", data))
        return error.value.code, str(error.value)

    good = workbook([("id", "Id", "Id"), (1, 2, 3)])
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "no workbook")
    assert said(b"id\n1\n")[0] == "wrong-format"
    assert "password" in said(b"\xd0\xcf\x11\xe0 and so on")[1]
    assert said(good[: len(good) // 2])[0] == "damaged-file"
    assert said(other.getvalue())[0] == "damaged-file"
    assert said(good, importing("id", columns={"id": "mail"}, format=EXCEL))[0] == "missing-column"
    assert said(good, importing("id", columns={"id": "Id"}, format=EXCEL))[0] == "duplicate-column"
    assert "type: excel" in said(good, importing("id"))[1]


def test_numbers_have_the_digits_that_excel_shows() -> None:
    table = [(0.1 + 0.2, "0.3"), (1e22, "1" + "0" * 22), (-2.5, "-2.5"), (1e-7, "0.0000001"), (42.0, "42"), (7, "7")]

    assert [excel.format_cell(value) for value, _ in table] == [text for _, text in table]


# --- packed files -------------------------------------------------------------------------------------------------


def zst(data: bytes, folder: Path) -> bytes:
    """Return *data* as another program compresses it: DuckDB."""
    path = folder / "packed.zst"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT ?::BLOB) TO '{path}' (FORMAT blob, COMPRESSION zstd)", [data])
    return path.read_bytes()


PACKED: list[tuple[str, bytes]] = [
    ("line feeds", b"a,b\n1,2\n"),
    ("empty lines", b"\n\na,b\n\n\n1,2\n\n"),
    ("pairs", b"a,b\r\n\r\n1,2\r\n"),
    ("no end", b"a,b\n1,2"),
    (
        "any sign but line ends",
        "".join(chr(sign) for sign in range(0x2100) if chr(sign) not in "\r\n").encode() * 5 + b"\n",
    ),
    ("any byte", bytes(range(256)) * 50),
    ("mixed line ends", b"id\n1\r\n2\r3"),
    ("many", b"".join(b"%d,row\n" % number for number in range(50_000))),
    ("many pairs", b"".join(b"%d,row\r\n" % number for number in range(50_000))),
    ("a long line", b"x" * 5_000_000 + b"\n" + b"y\n"),
    ("nothing", b""),
]


@pytest.mark.parametrize("data", [case[1] for case in PACKED], ids=[case[0] for case in PACKED])
def test_zstandard_is_unpacked_byte_by_byte(tmp_path: Path, data: bytes) -> None:
    source = tmp_path / "a.zst"
    source.write_bytes(zst(data, tmp_path) * 2)
    target = io.BytesIO()

    compression.decompress(source, "a.zst", "zstd", target)

    assert target.getvalue() == data * 2


BOOK = 'id,name\n1,"A\n\n\nnn"\n2,Jörg\n'


@pytest.mark.parametrize(
    ("form", "text", "encoding"),
    [
        (Format(), BOOK, "utf-8"),
        (Format(), BOOK.replace("\n", "\r\n"), "utf-8"),
        (Format(encoding="latin-1"), BOOK, "latin-1"),
        (Format(encoding="cp1252", compression="zstd"), BOOK, "cp1252"),
        (JSONL, '{"id":1,"name":"A\\n\\n\\nnn"}\n{"id":2,"name":"Jörg"}\n', "utf-8"),
        (Format(type="json"), '[{"id":1,"name":"A\\n\\n\\nnn"},\n{"id":2,"name":"Jörg"}]', "utf-8"),
    ],
)
@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_packed_files_are_read_like_plain_ones(
    bench: Bench, form: Format, text: str, encoding: str, kind: str, tmp_path: Path
) -> None:
    data = text.encode(encoding)
    if kind == "gzip":
        form = Format(type=form.type, encoding=form.encoding)
    packed_data = zst(data, tmp_path) if kind == "zstd" else gzip.compress(data)

    done = bench.take(importing("id", "name", format=form), bench.file("a[1]*.csv", packed_data))

    assert numbers(done) == {"read": 2, "checked": 2, "created": 2}
    breaks = "\r\n\r\n\r\n" if "\r" in text else "\n\n\n"
    assert bench.profiles("id", "name") == [("1", f"A{breaks}nn"), ("2", "Jörg")]


def test_damaged_zstandard_is_no_shorter_file(bench: Bench, tmp_path: Path) -> None:
    """DuckDB itself takes the rows before the cut for all there are."""
    data = HEADER.encode() + b"".join(b"%d,%d,%d\n" % (n, n * 7919, n % 90) for n in range(100_000))
    whole = zst(data, tmp_path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2 : len(whole) // 2 + 4] = b"XXXX"
    damaged = [whole[: len(whole) // 2], whole[:-1], whole[:6], whole + b"more", bytes(flipped)]

    for bad in damaged:
        with pytest.raises(RunError) as error:
            bench.take(WORK, bench.file("a.csv.zst", bad))
        assert error.value.code == "damaged-file", str(error.value)
    assert bench.ask(lambda store: store.count()) == 0


@pytest.mark.parametrize("data", [b"id\r1\r2\r", b"id\n1\r\n2\n", b"id\r\n1\n2\r\n"])
def test_every_line_end_is_read_in_zstandard(bench: Bench, data: bytes, tmp_path: Path) -> None:
    done = bench.take(importing("id"), bench.file("a.csv.zst", zst(data, tmp_path)))

    assert numbers(done) == {"read": 2, "checked": 2, "created": 2}


def test_zstandard_in_another_encoding_is_told_as_such(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="byte 3 .0x80. in line 2 is not utf-8") as error:
        bench.take(importing("id"), bench.file("a.csv.zst", zst(b"id\n\x80\n", tmp_path)))

    assert error.value.code == "wrong-encoding"


@pytest.mark.parametrize(
    ("compression", "kind", "code"),
    [("zstd", "gzip", "not-zstd"), ("gzip", "zstd", "not-gzip"), ("zstd", "", "not-zstd"), ("none", "zstd", "wrong-format")],
)  # fmt: skip
def test_a_file_that_is_packed_otherwise(bench: Bench, compression: Any, kind: str, code: str, tmp_path: Path) -> None:
    data = b"id\n1\n"
    stored = {"gzip": gzip.compress(data), "zstd": zst(data, tmp_path), "": data}[kind]

    with pytest.raises(RunError) as error:
        bench.take(importing("id", format=Format(compression=compression)), bench.file("a.csv", stored))

    assert error.value.code == code


def test_how_far_a_file_may_unpack() -> None:
    table = [
        (0, 64 << 20),
        (1000, 64 << 20),
        (1 << 20, 200 << 20),
        (50_000_000, 10_000_000_000),
        (1 << 40, 10_000_000_000),
    ]

    assert [unpacking.limit_size(size) for size, _ in table] == [most for _, most in table]


def test_a_real_bomb_is_refused(bench: Bench) -> None:
    bomb = gzip.compress(b"id\n" + b"1\n" * (40 << 20), 9)

    with pytest.raises(RunError, match="unpacks to more than") as error:
        bench.take(importing("id"), bench.file("a.csv.gz", bomb))

    assert error.value.code == "too-large"
    assert bench.ask(lambda store: store.describe_connection("people"))["files"] == []


@pytest.mark.parametrize("kind", ["gzip", "zstd", "excel"])
def test_bombs_of_every_kind(bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = b"id\n" + b"1234567890\n" * 100_000
    data = {
        "gzip": lambda: gzip.compress(rows),
        "zstd": lambda: zst(rows, tmp_path),
        "excel": lambda: workbook([("id",), *[("same",)] * 20_000]),
    }[kind]()
    file = bench.file("a", data)
    work = importing("id", format=EXCEL if kind == "excel" else Format())
    monkeypatch.setattr(unpacking, "UNDOUBTED", 5000)
    monkeypatch.setattr(unpacking, "RATIO", 2)
    with pytest.raises(RunError) as error:
        bench.take(work, file)
    assert error.value.code == "too-large"

    monkeypatch.setattr(unpacking, "RATIO", 10_000)
    bench.take(work, file)
    monkeypatch.setattr(unpacking, "LARGEST", 5001)
    with pytest.raises(RunError, match="10 GB"):
        bench.take(work, bench.file("b", data))


def test_the_texts_of_a_workbook_fit_in_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "IN_MEMORY", 1000)
    texts = workbook([("id",), *((f"text {number}",) for number in range(1000))])

    with pytest.raises(RunError, match="texts and styles") as error:
        bench.take(importing("id", format=EXCEL), bench.file("a.xlsx", texts))

    assert error.value.code == "too-large"


# --- expectations -------------------------------------------------------------------------------------------------

STORED = "".join(f"{number},Name {number},30\n" for number in range(40))
EXPECTED: list[tuple[Expect, str, str]] = [
    # expect                          rows that come                                 what the message says, if it fails
    (Expect(min_rows=3),              "1,Ann,1\n2,Bob,2\n",                          "2 rows were read; expected are 3 or more"),
    (Expect(min_rows=2),              "1,Ann,1\n2,Bob,2\n",                          ""),
    (Expect(max_rows=1),              "1,Ann,1\n2,Bob,2\n",                          "2 rows were read; expected are 1 at most"),
    (Expect(max_rows=2),              "1,Ann,1\n2,Bob,2\n",                          ""),
    (Expect(max_rows=0),              "",                                            ""),
    (Expect(max_invalid_pct=2),       "1,A,1\n2,B,x\n" + "3,C,1\n" * 38,             "2.5 % of 40 rows were refused, at most 2 % are expected"),
    (Expect(max_invalid_pct=2.5),     "1,A,1\n2,B,x\n" + "3,C,1\n" * 38,             ""),
    (Expect(max_invalid_pct=0),       "1,A,x\n",                                     "100 % of 1 row was refused, at most 0 % are expected"),
    (Expect(max_invalid_pct=33.3),    "1,A,x\n2,B,2\n3,C,3\n",                       "33.33 % of 3 rows were refused, at most 33.3 % are expected"),
    (Expect(max_change_pct=5),        "1,A,30\n2,B,30\n3,Name 3,30\n99,New,1\n",     "7.5 % of 40 profiles would change, at most 5 % are expected"),
    (Expect(max_change_pct=7.5),      "1,A,30\n2,B,30\n3,Name 3,30\n99,New,1\n",     ""),
    (Expect(columns=("age", "id")),   "1,A,30\n",                                    ""),
    (Expect(columns=("age", "nam")),  "1,A,30\n",                                    "has no column 'nam', which the import expects; nothing was imported; did you mean 'name'?"),
    (Expect(min_rows=9, max_invalid_pct=1), "1,A,x\n",                               "(min_rows); 100 % of 1 row"),
]  # fmt: skip


@pytest.mark.parametrize(("expect", "rows", "said"), EXPECTED)
def test_what_is_expected_of_an_import(bench: Bench, expect: Expect, rows: str, said: str) -> None:
    bench.take(WORK, bench.file("before", HEADER + STORED))
    before = bench.profiles("id", "name", "age")
    work = importing("id", "name", "age", expect=expect)
    file = bench.file("a.csv", HEADER + rows)
    if not said:
        bench.take(work, file)
        return

    for dry_run in (True, False):
        with pytest.raises(RunError) as error:
            bench.take(work, file, dry_run=dry_run)
        assert error.value.code == "expectation"
        assert said in str(error.value)
    assert bench.profiles("id", "name", "age") == before
    assert [one["name"] for one in bench.ask(lambda store: store.describe_connection("people"))["files"]] == ["before"]
    if "refused" in said:
        assert bench.rejects()


def test_an_empty_store_has_no_share_that_changes(bench: Bench) -> None:
    work = importing("id", "name", "age", expect=Expect(max_change_pct=1))

    assert bench.take(work, bench.file("a.csv", HEADER + STORED)).counts.created == 40


def test_rows_that_were_there_before_are_not_judged_again(bench: Bench) -> None:
    stays = bench.file("stays.csv", HEADER + "1,Ann,no\n" + STORED)
    once = bench.file("once", HEADER + "99,Zoe,no\n", once=True)
    bench.take(WORK, stays, once)
    work = importing("id", "name", "age", expect=Expect(min_rows=2, max_invalid_pct=10))

    again = bench.take(work, stays)
    more = bench.take(work, stays, bench.file("new.csv", HEADER + "77,Eve,1\n78,Max,2\n"))

    assert numbers(again) == {"read": 42, "skipped": 40, "checked": 2, "invalid": 2}
    assert more.counts.created == 2
    with pytest.raises(RunError, match="0 rows were read"):
        bench.take(work)
    bad = "".join(f"{number},Name,1\n" for number in range(80, 87)) + "87,Name,no\n"
    with pytest.raises(RunError, match="12.5 % of 8 rows"):
        bench.take(work, stays, bench.file("bad.csv", HEADER + bad))


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (JSONL, '{"id": 1, "x": null}\n{"id": 2, "y": 3}\n'),
        (Format(type="json"), '[{"id": 1, "x": null}, {"id": 2, "y": 3}]'),
        (EXCEL, workbook([("id", "x", "y"), (1,)])),
    ],
)
def test_columns_are_expected_of_every_format(bench: Bench, form: Format, data: str | bytes) -> None:
    file = bench.file("a", data)

    bench.take(importing("id", format=form, expect=Expect(columns=("x", "y"))), file)
    with pytest.raises(RunError, match="'zz', which the import expects"):
        bench.take(importing("id", "name", columns={"name": "x"}, format=form, expect=Expect(columns=("zz",))), file)


# --- what a dry run shows -----------------------------------------------------------------------------------------


def test_a_dry_run_tells_the_first_differences(bench: Bench) -> None:
    names = ("id", "name", "age", "tags", "spent", "seen")
    work = importing(*names, write={"age": Write.INCREMENT, "tags": Write.ADD}, consent={"news": "news"})
    header = ",".join(names) + ",news\n"
    bench.take(work, bench.file("a.csv", header + "1,Ann,5,b;a,1.50,,yes\n2,Bob,6,,,,\n"))
    rows = "2,Bob,,,,,\n1,Anna,3,c;a,1.5,2026-11-22T10:00:00+01:00,no\nnew,,,x,,,\n"

    done = bench.take(work, bench.file("b.csv", header + rows), dry_run=True)
    kept = bench.take(work, bench.file("c.csv", header + rows))

    assert done.differences == (
        Difference(profile="id=1", property="name", old="Ann", new="Anna"),
        Difference(profile="id=1", property="age", old="5", new="8"),
        Difference(profile="id=1", property="tags", old="a; b", new="a; b; c"),
        Difference(profile="id=1", property="seen", old=None, new="2026-11-22T09:00:00Z"),
        Difference(profile="id=1", property="consent to news", old="true", new="false"),
        Difference(profile="id=new", property="id", old=None, new="new"),
        Difference(profile="id=new", property="tags", old=None, new="x"),
    )
    assert kept.differences == ()
    assert done.counts == kept.counts


def test_a_dry_run_tells_no_more_than_twenty(bench: Bench) -> None:
    rows = [f"{number},Name {number},{number}\n" for number in range(30)]
    done = bench.take(
        WORK, bench.file("a.csv", HEADER + rows[0] + rows[1]), bench.file("b.csv", HEADER + "".join(rows)), dry_run=True
    )

    assert len(done.differences) == 20
    assert [one.profile for one in done.differences[:9]] == ["id=0"] * 3 + ["id=1"] * 3 + ["id=2"] * 3
    assert bench.ask(lambda store: store.count()) == 0


# --- what is remembered -------------------------------------------------------------------------------------------


def test_what_is_remembered_can_be_forgotten(bench: Bench) -> None:
    bench.take(WORK, bench.file("a.csv", HEADER + "1,Ann,1\n2,Bob,no\n"), connection="others", mark=0)
    bench.take(WORK, bench.file("a.csv", HEADER + "1,Ann,1\n2,Bob,no\n"), mark=[1, {"x": None}])
    bench.take(WORK, bench.file("b.csv", HEADER, modified="v7"), bench.file("s", HEADER + "9,Z,no\n", once=True))

    assert bench.ask(lambda store: store.describe_connection("people")) == {
        "files": [
            {"name": "b.csv", "size": 12, "modified": "v7", "rows": 0, "refused": 0, "run": 3},
            {"name": "a.csv", "size": 29, "modified": "v1", "rows": 2, "refused": 1, "run": 2},
        ],
        "mark": [1, {"x": None}],
        "kept_rows": 1,
        "sent": 0,
    }
    others = bench.ask(lambda store: store.describe_connection("others"))
    bench.ask(lambda store: store.forget_connection("people"))

    nothing: dict[str, Any] = {"files": [], "mark": None, "kept_rows": 0, "sent": 0}
    assert bench.ask(lambda store: store.describe_connection("people")) == nothing
    assert bench.ask(lambda store: store.describe_connection("others")) == others
    again = bench.take(WORK, bench.file("a.csv", HEADER + "1,Ann,1\n2,Bob,no\n"))
    assert numbers(again) == {"read": 2, "checked": 2, "unchanged": 1, "invalid": 1}


@pytest.mark.parametrize(
    "data", [b"id,name\r\n1,A\r\n2,B\n3,C\r4,D\r\n5,E\r\n", b"id,name\n1,A\r\r\n2,B\n\r3,C\r4,D\n5,E"]
)
def test_no_sign_is_lost_at_a_carriage_return(bench: Bench, data: bytes) -> None:
    bench.take(importing("id", "name"), bench.file("a.csv", data))

    assert bench.profiles("id", "name") == [("1", "A"), ("2", "B"), ("3", "C"), ("4", "D"), ("5", "E")]
