"""Files of every kind, sound and flawed: which records there are, and what is said about those that cannot be read."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.core.model import Field, Format, LocalFile
from connrunner.errors import RunError
from connrunner.profiles.readers import csv as delimited
from connrunner.profiles.readers.normalize import normalize_file
from tests.effort import examples
from tests.test_profiles_open import Shelf, counted, fields, import_of, names_of, shelf

pytestmark = pytest.mark.thorough

__all__ = ["shelf"]

WORK = import_of("id", "name")


def read(shelf: Shelf, data: str | bytes, *, work: Any = WORK, **form: Any) -> tuple[dict[str, int], Any, Any]:
    """Import *data* and return counters, the profiles' ids and names, and lines and codes of the rejects."""
    if form:
        work = import_of("id", "name", format=Format(**form))
    result = shelf.take(work, data)
    told = [(one["line"], one["code"]) for one in shelf.told()]
    return counted(result), shelf.profiles("id", "name"), told


SOUND = [
    # what, bytes, settings of the format
    ("plain", b"id,name\n1,Ann\n2,Bob\n", {}),
    ("no end", b"id,name\n1,Ann\n2,Bob", {}),
    ("Windows", b"id,name\r\n1,Ann\r\n2,Bob\r\n", {}),
    ("old Mac", b"id,name\r1,Ann\r2,Bob\r", {}),
    ("both", b"id,name\r\n1,Ann\n2,Bob\r\n", {}),
    ("mark", b"\xef\xbb\xbfid,name\n1,Ann\n2,Bob\n", {}),
    ("empty lines", b"\n\nid,name\n\n1,Ann\n\n\n2,Bob\n\n", {}),
    ("more columns", b"x,name,y,id,z\n,Ann,,1,\n,Bob,,2,\n", {}),
    ("quotes", b'"id","name"\n"1","Ann"\n"2",Bob\n', {}),
    ("quoted line ends", b'id,name,note\n1,Ann,"a\nb"\n2,Bob,"\n\n"\n', {}),
    ("quoted Windows line ends", b'id,name,note\r\n1,Ann,"a\r\nb"\r\n2,Bob,""\r\n', {}),
    ("header of two lines", b'id,name,"a\nnote"\n1,Ann,\n2,Bob,\n', {}),
    ("semicolons", b"id;name\n1;Ann\n2;Bob\n", {"delimiter": ";"}),
    ("tabs", b"id\tname\n1\tAnn\n2\tBob\n", {"delimiter": "\t"}),
    ("other quotes", b"id,name\n'1','Ann'\n2,Bob\n", {"quote": "'"}),
    ("no quotes", b"id,name\n1,Ann\n2,Bob\n", {"quote": ""}),
    ("no header", b"1,Ann\n2,Bob\n", {"header": False, "columns": ("id", "name")}),
    ("gzip", gzip.compress(b"id,name\n1,Ann\n2,Bob\n"), {}),
    ("gzip twice", gzip.compress(b"id,name\n1,Ann\n") + gzip.compress(b"2,Bob\n"), {"compression": "gzip"}),
    ("UTF-16", "id,name\n1,Ann\n2,Bob\n".encode("utf-16"), {"encoding": "utf-16"}),
    ("UTF-16-LE, gzip", gzip.compress("id,name\n1,Ann\n2,Bob\n".encode("utf-16-le")), {"encoding": "utf-16-le"}),
    ("JSON lines", b'{"id": 1, "name": "Ann"}\n\n{"name": "Bob", "id": "2", "x": []}', {"type": "jsonl"}),
    ("JSON lines, Windows", b'\xef\xbb\xbf{"id":"1","name":"Ann"}\r\n{"id":2,"name":"Bob"}\r\n', {"type": "jsonl"}),
]


@pytest.mark.parametrize(("data", "form"), [one[1:] for one in SOUND], ids=[one[0] for one in SOUND])
def test_one_truth_in_many_spellings(shelf: Shelf, data: bytes, form: dict[str, Any]) -> None:
    assert read(shelf, data, **form) == ({"created": 2}, [("1", "Ann"), ("2", "Bob")], [])


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "utf-16", "utf-8-sig", "mac-roman"])
def test_signs_beyond_ascii(shelf: Shelf, encoding: str) -> None:
    rows = 'id,name\n1,Jörg Müller\n2,"Zoë ""Z"" é"\n3,naïve\n'
    assert read(shelf, rows.encode(encoding), encoding=encoding)[1] == [
        ("1", "Jörg Müller"),
        ("2", 'Zoë "Z" é'),
        ("3", "naïve"),
    ]


FLAWED = [
    # what, rows after the header, lines and codes of the rejects, ids that come through
    ("short", "1,Ann,x\n2,Bob\n3\n4,Eva,x\n", [(3, "too-few-columns"), (4, "too-few-columns")], "14"),
    ("long", "1,Ann,x,\n2,Bob,x,y,z,1,2,3,4,5,6,7,8,9\n3,Eva,x\n", [(2, "too-many-columns"), (3, "too-many-columns")], "3"),
    ("long, with quotes", '1,"Ann",x,\n2,Bob,x,y,z,1,2,3,4,5,6,7,8,9\n3,Eva,x\n', [(2, "too-many-columns"), (3, "too-many-columns")], "3"),
    ("text after a quote", '1,"Ann"a,x\n2,Bob,x\n', [(2, "bad-quoting")], "2"),
    ("a quote that never closes", '1,Ann,x\n2,"Bob,x\n3,Eva,x\n4,Jan,x\n', [(3, "bad-quoting")], "134"),
    ("one at the end", '1,Ann,x\n2,Bob,"', [(3, "bad-quoting")], "1"),
    ("two that never close", '1,"Ann,x\n2,Bob,x\n3,"Eva,x\n4,Jan,x\n', [(2, "bad-quoting"), (4, "bad-quoting")], "24"),
    ("quotes inside are no quotes", '1,4" pipe,x\n2,a"b"c,x\n', [], "12"),
    ("blanks", "1,Ann,x\n \n2,Bob,x\n", [(3, "too-few-columns")], "12"),
    ("no key", ",Ann,x\n  ,Bob,x\n3,Eva,x\n", [(2, "missing-key"), (3, "missing-key")], "3"),
    ("NUL", "1,A\0n,x\n\x002,Bob,x\n3,Eva,\0\n", [(2, "nul"), (3, "nul")], "3"),
    ("long text", f"1,{'x' * 65_000},x\n2,{'y' * 65_001},x\n", [(3, "too-long")], "1"),
    ("a line of three megabytes", f'1,Ann,{"x" * 3_000_000}\n2,Bob,x\n', [], "12"),
    ("quoted, three megabytes", f'1,Ann,"{"x" * 3_000_000}"\n2,Bob,x\n', [], "12"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "told", "ids"), [one[1:] for one in FLAWED], ids=[one[0] for one in FLAWED])
def test_a_flawed_record_refuses_itself_alone(shelf: Shelf, rows: str, told: list[tuple[int, str]], ids: str) -> None:
    counts, profiles, rejects = read(shelf, f"id,name,note\n{rows}")
    assert rejects == told
    assert "".join(str(one[0]) for one in profiles) == ids
    assert counts.get("invalid", 0) == len(told)


FLAWED_LINES = [
    ('{"id": 1}\n{"id": 2\n{"id": 3}', [(2, "bad-json")]),
    ('{"id": 1}\n[2]\n"3"\nnull\n4\n', [(2, "bad-json"), (3, "bad-json"), (4, "bad-json"), (5, "bad-json")]),
    ('{"id": 1}\n{"id": 2}{"id": 3}\n', [(2, "bad-json")]),
    ('{"id": 1}\n{"id": "a\x01b"}\n', [(2, "bad-json")]),
    ('{"id": 1}\n{"name": "Bob"}\n{"id": null}\n{"id": ""}\n', [(2, "missing-key"), (3, "missing-key"), (4, "missing-key")]),
    ('{"id": 1}\n{"id": "a\\u0000"}\n', [(2, "nul")]),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "told"), FLAWED_LINES)
def test_a_flawed_line_of_json_refuses_itself_alone(shelf: Shelf, rows: str, told: list[tuple[int, str]]) -> None:
    assert read(shelf, rows, type="jsonl")[2] == told


REFUSED = [
    # what, bytes, settings of the format, the code, a word of the message
    ("nothing", b"", {}, "empty-file", "not even a header"),
    ("empty lines", b"\n\r\n\n", {}, "empty-file", "not even a header"),
    ("packed nothing", gzip.compress(b""), {}, "empty-file", "not even a header"),
    ("another delimiter", b"id;name\n1;Ann\n", {}, "wrong-delimiter", "delimiter: ';'"),
    ("tabs", b"id\tname\n1\tAnn\n", {}, "wrong-delimiter", 'delimiter: "\\t"'),
    ("no such column", b"id,nmae\n1,Ann\n", {}, "missing-column", "did you mean 'nmae'? its columns: id, nmae"),
    ("another case", b"ID,Name\n1,Ann\n", {}, "missing-column", "did you mean 'ID'?"),
    ("one column twice", b"id,name,id\n1,Ann,2\n", {}, "duplicate-column", "2 columns called 'id'"),
    ("Latin-1", "id,name\n1,Ann\n2,Jörg\n".encode("latin-1"), {}, "wrong-encoding", "byte 17 (0xf6) in line 3"),
    ("Latin-1, quoted", 'id,name\n1,"Jörg"\n'.encode("latin-1"), {}, "wrong-encoding", "byte 12 (0xf6) in line 2"),
    ("cut UTF-8", "id,name\n1,Jö".encode()[:-1], {}, "wrong-encoding", "line 2"),
    ("UTF-16", "id,name\n1,Ann\n".encode("utf-16"), {}, "wrong-encoding", "utf-16"),
    ("UTF-16 without a mark", "id,name\n1,Ann\n".encode("utf-16-le"), {}, "wrong-format", "utf-16"),
    ("not cp1252", b"id,name\n1,\x81\n", {"encoding": "cp1252"}, "wrong-encoding", "byte 10 (0x81) in line 2"),
    ("no encoding", b"id,name\n", {"encoding": "utf9"}, "unknown-encoding", "did you mean 'utf-8'?"),
    ("no text encoding", b"id,name\n", {"encoding": "rot13"}, "unknown-encoding", "rot13"),
    ("Excel", b"PK\x03\x04abc", {}, "wrong-format", "Excel"),
    ("Parquet", b"PAR1abc", {}, "wrong-format", "Parquet"),
    ("binary", bytes(range(256)) * 20, {}, "wrong-encoding", "line"),
    ("not packed", b"id,name\n", {"compression": "gzip"}, "not-gzip", "not packed with gzip"),
    ("packed", gzip.compress(b"id,name\n"), {"compression": "none"}, "wrong-format", "packed with gzip"),
    ("half a packed file", gzip.compress(b"id,name\n" * 100)[:-10], {}, "damaged-file", "is damaged"),
    ("damaged", gzip.compress(b"id,name\n" * 100)[:-6] + b"abcdef", {}, "damaged-file", "is damaged"),
    ("a list", b'[{"id": 1}]', {"type": "jsonl"}, "wrong-format", "one JSON list"),
    ("not Parquet", b"id,name\n", {"type": "parquet"}, "wrong-format", "not a Parquet file"),
    ("half a Parquet file", b"PAR1\0\0", {"type": "parquet"}, "damaged-file", "cannot be read as Parquet"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "form", "code", "word"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
def test_a_file_that_cannot_be_read_is_one_error(
    shelf: Shelf, data: bytes, form: dict[str, Any], code: str, word: str
) -> None:
    file = shelf.file(data, name="in/rows.csv")
    with pytest.raises(RunError) as caught:
        shelf.take(import_of("id", "name", format=Format(**form)), file)
    assert caught.value.code == code
    assert word in str(caught.value)
    assert "in/rows.csv" in str(caught.value) or code == "unknown-encoding"
    assert str(shelf.folder) not in str(caught.value)
    assert shelf.profiles("id") == []


def test_one_bad_file_stops_its_good_neighbours(shelf: Shelf) -> None:
    with pytest.raises(RunError):
        shelf.take(WORK, "id,name\n1,Ann\n", b"", "id,name\n2,Bob\n")
    assert shelf.profiles("id") == []


def test_a_file_that_is_gone_is_one_error(shelf: Shelf) -> None:
    gone = LocalFile(path=str(shelf.folder / "gone"), name="rows.csv", size=3, modified="x")
    with pytest.raises(RunError, match=r"cannot read rows\.csv: No such file"):
        shelf.take(WORK, gone)


@pytest.mark.parametrize("form", [{"type": "jsonl"}, {"header": False, "columns": ("id", "name")}])
def test_no_rows_at_all_are_sound_where_no_header_is_due(shelf: Shelf, form: dict[str, Any]) -> None:
    assert read(shelf, b"", **form) == ({}, [], [])


def test_a_header_alone_is_a_file_of_no_rows(shelf: Shelf) -> None:
    assert read(shelf, "id,name\n") == ({}, [], [])


def test_a_column_that_no_object_has_is_worth_a_warning(shelf: Shelf) -> None:
    read(shelf, '{"id": 1, "nmae": "Ann"}', type="jsonl")
    assert ("warning", "rows-1-0.csv: no record says anything about 'name'") in shelf.said.messages


def test_progress_is_told(shelf: Shelf) -> None:
    read(shelf, "id,name\n1,Ann\n")
    assert list(dict.fromkeys(shelf.said.stages)) == ["reading", "checking", "writing"]


def test_values_of_json_keep_their_spelling(shelf: Shelf) -> None:
    rows = [
        '{"id": 1, "name": {"a": [1, null]}, "spent": 12.50, "visits": -7, "member": true, "tags": ["b", null, " a ", ""]}',
        '{"id": 2, "name": "x", "spent": "0.000000001", "visits": 12345678901234567890, "tags": "solo"}',
        '{"id": "3", "name": 1.0, "spent": 12345678901234, "visits": 1e2, "tags": []}',
    ]
    work = import_of("id", "name", "spent", "visits", "member", "tags", format=Format(type="jsonl"))
    shelf.take(work, "\n".join(rows))
    assert shelf.profiles("id", "name", "spent", "visits", "member", "tags") == [
        ("1", '{"a":[1,null]}', "12.5", -7, True, ["a", "b"]),
    ]
    assert [(one["line"], one["field"]) for one in shelf.told()] == [(2, "visits"), (3, "visits")]


def test_names_of_members_are_no_paths(shelf: Shelf) -> None:
    work = import_of(
        *(Field(property=name, column=column) for name, column in (("id", "a/b"), ("name", "$.x[0]~"))),
        format=Format(type="jsonl"),
    )
    shelf.take(work, '{"a/b": 1, "$.x[0]~": "Ann", "a": {"b": 2}, "x": [3]}')
    assert shelf.profiles("id", "name") == [("1", "Ann")]


def test_parquet_keeps_its_types(shelf: Shelf) -> None:
    path = shelf.folder / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"""
            SET TimeZone = 'America/New_York';
            COPY (SELECT * FROM (VALUES
                (1::BIGINT, 'Ann', DATE '2001-02-03', TIMESTAMPTZ '2026-01-01 10:00:00+02', 12.50::DECIMAL(9,2), 3.0::DOUBLE,
                    true, ['b', 'a', NULL], [2, 1]),
                (2, 'Bob', NULL, NULL, NULL, NULL, NULL, NULL, []),
                (3, 'Eva', '2001-02-03', NULL, 1, 3.5, false, ['x'], [1])
            ) rows (id, name, born, seen, spent, visits, member, tags, scores)) TO '{path}' (FORMAT parquet)""")
    names = ("id", "name", "born", "seen", "spent", "visits", "member", "tags", "scores")
    work = import_of(*names, format=Format(type="parquet"))
    file = LocalFile(path=str(path), name="rows.parquet", size=path.stat().st_size, modified="1")
    assert counted(shelf.take(work, file)) == {"created": 2, "invalid": 1}
    assert shelf.profiles(*names) == [
        ("1", "Ann", "2001-02-03", "2026-01-01T08:00:00Z", "12.5", 3, True, ["a", "b"], [1, 2]),
        ("2", "Bob", None, None, None, None, None, None, None),
    ]
    assert [(one["line"], one["field"], one["value"]) for one in shelf.told()] == [(3, "visits", "3.5")]


def test_parquet_days_and_floats_of_data_frames(shelf: Shelf) -> None:
    path = shelf.folder / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"""
            COPY (SELECT * FROM (VALUES
                ('1', TIMESTAMP '2001-02-03 00:00:00', TIMESTAMP '2001-02-03 00:00:00', 0.0000001::DOUBLE),
                ('2', TIMESTAMP '2001-02-03 00:00:01', NULL, 'nan'::DOUBLE)
            ) rows (id, born, seen, spent)) TO '{path}' (FORMAT parquet)""")
    file = LocalFile(path=str(path), name="rows.parquet", size=path.stat().st_size, modified="1")
    shelf.take(import_of("id", "born", "seen", "spent", format=Format(type="parquet")), file)
    assert [(one["line"], one["field"]) for one in shelf.told()] == [(1, "seen"), (2, "born"), (2, "spent")]
    shelf.take(import_of("id", "born", format=Format(type="parquet")), file)
    assert shelf.profiles("id", "born") == [("1", "2001-02-03")]


def test_parquet_without_a_column(shelf: Shelf) -> None:
    path = shelf.folder / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS id, 2 AS nam) TO '{path}' (FORMAT parquet)")
    with pytest.raises(RunError, match="did you mean 'nam'"):
        shelf.take(
            import_of("id", "name", format=Format(type="parquet")),
            LocalFile(path=str(path), name="rows.parquet", size=1, modified="1"),
        )


# --- DuckDB reads as the csv module does -------------------------------------------------------------------------

PIECES = st.sampled_from(["a", "b1", "é", ",", ",", "\n", "\r\n", "\r", '"', '""', '"x"', '"x,y"', '"x\ny"', ",,"])


@settings(max_examples=examples(8), deadline=None)
@given(pieces=st.lists(PIECES, max_size=14))
def test_where_duckdb_reads_a_file_it_reads_it_as_the_csv_module_does(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    text = "h1,h2,h3\n" + "".join(pieces)
    path = folder / "rows"
    path.write_bytes(text.encode())
    file = LocalFile(path=str(path), name="rows", size=1, modified="")
    opened = normalize_file(file, Format(), folder)
    records = delimited.find_records(opened, Format(), ("h1", "h2", "h3"), 1, about=1)
    cells = ", ".join(records.cell(name) for name in ("h1", "h2", "h3"))
    with duckdb.connect() as connection:
        try:
            found = connection.execute(f"SELECT {records.error}, {cells} FROM {records.relation}").fetchall()
        except duckdb.Error:
            return  # rewritten by the csv module then
    wanted = []
    for record in csv.reader(io.StringIO(text, newline=""), strict=True):
        flaw = "too-few-columns" if len(record) < 3 else "too-many-columns" if len(record) > 3 else None
        if record:
            wanted.append((flaw, *(record + [None] * 3)[:3]))
    assert found == wanted[1:]


# --- the order of a file -----------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("quote", ["", '"'])
def test_each_line_of_a_large_file_has_its_number(tmp_path: Path, quote: str) -> None:
    """More rows than DuckDB reads in one piece, and every thousandth of them flawed."""
    shelf = Shelf(tmp_path)
    count = 600_000
    flawed = {number for number in range(count) if number * 7919 % 1000 == 0}
    name = "A rather long name, so that the file is read in pieces".replace(", ", "; ") * 2
    rows = "".join(
        f"{number},{quote}{name}{quote},{'x' if number in flawed else number % 100}\n" for number in range(count)
    )
    assert counted(shelf.take(import_of("id", "name", "visits"), f"id,name,visits\n{rows}")) == {
        "created": count - len(flawed),
        "invalid": len(flawed),
    }
    assert set(names_of(shelf.told())) == {number + 2 for number in flawed}
    assert {one["key"] for one in shelf.told()} == {f"id={number}" for number in flawed}


def test_a_reading_that_might_lose_the_order_is_refused(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB makes a join of a long list after IN; a join hands rows on in any order."""
    was = delimited.find_records

    def reordering(*arguments: Any, **more: Any) -> Any:
        rows = was(*arguments, **more)
        listed = ", ".join(f"'{number}'" for number in range(20))
        return type(rows)(
            **{name: getattr(rows, name) for name in rows.__dataclass_fields__ if name != "relation"},
            relation=f"(SELECT * FROM {rows.relation} WHERE c0 IN ({listed}))",
        )

    monkeypatch.setattr(delimited, "find_records", reordering)
    with pytest.raises(RunError) as caught:
        shelf.take(import_of("id"), "id\n1\n")
    assert caught.value.code == "unordered"


def test_fields_may_share_a_column(shelf: Shelf) -> None:
    shared = Field(property="name", column="id")
    assert fields("id", shared)[1] is shared
    shelf.take(import_of("id", shared), "id\n1\n")
    assert shelf.profiles("id", "name") == [("1", "1")]
