"""Files of every kind, sound and flawed: which records there are, and what is said about those that cannot be read."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connrunner.core.model import Field, Format, LocalFile
from connrunner.errors import RunError
from connrunner.profiles.readers import csv as delimited
from connrunner.profiles.readers import jsonlines
from connrunner.profiles.readers.normalize import normalize_file
from connrunner.profiles.readers.record_source import NO_RECORD, RecordSource
from connrunner.text.zstandard import zstd
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


PASSED_OVER = (
    b"\x5e\x2a\x4d\x18\x03\x00\x00\x00abc"  # a frame of Zstandard that says nothing, as parallel packers write
)

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
    (
        "Zstandard, frames to pass over",
        PASSED_OVER + zstd.compress(b"id,name\n1,Ann\n") + PASSED_OVER + zstd.compress(b"2,Bob\n"),
        {"compression": "zstd"},
    ),
    ("Zstandard, unsaid", PASSED_OVER + zstd.compress(b"id,name\n1,Ann\n2,Bob\n"), {}),
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
    ("nothing", '1,Ann,x\n \n,,\n" ",\t,""\n2,Bob\n', [(6, "too-few-columns")], "1"),
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
        ("3", "1.0", "12345678901234", 100, None, None),
    ]
    assert [(one["line"], one["field"]) for one in shelf.told()] == [(2, "visits")]


# text of a number in JSON, as a text, as a decimal, as an integer; None: refused
NUMBERS = [
    ("1234567890123.456789", "1234567890123.456789", "1234567890123.456789", None),
    ("1.10", "1.10", "1.1", None),
    ("1.0", "1.0", "1", 1),
    ("-2.00", "-2.00", "-2", -2),
    ("1.5e3", "1.5e3", "1500", 1500),
    ("1.5E-3", "1.5E-3", "0.0015", None),
    ("1e400", "1e400", None, None),
    ("0.1", "0.1", "0.1", None),
    ("0.000000001", "0.000000001", "0.000000001", None),
    ("0.00001", "0.00001", "0.00001", None),
    ("-0", "-0", "0", 0),
    ("-0.0", "-0.0", "0", 0),
    ("9007199254740993", "9007199254740993", "9007199254740993", 9007199254740993),
    ("9223372036854775807", "9223372036854775807", "9223372036854775807", 9223372036854775807),
    ("9223372036854775808", "9223372036854775808", "9223372036854775808", None),
    ("12345678901234567890123", "12345678901234567890123", "12345678901234567890123", None),
    ("12345678901234567890.123456789", "12345678901234567890.123456789", "12345678901234567890.123456789", None),
]


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize("beside", ["", '\n{"id": "z", "name": 2.50}'])
def test_a_number_of_json_keeps_its_digits(shelf: Shelf, kind: str, beside: str) -> None:
    lines = "\n".join(f'{{"id": "t{number}", "name": {one[0]}}}' for number, one in enumerate(NUMBERS)) + beside
    lines += "".join(f'\n{{"id": "d{number}", "spent": {one[0]}}}' for number, one in enumerate(NUMBERS))
    lines += "".join(f'\n{{"id": "n{number}", "visits": {one[0]}}}' for number, one in enumerate(NUMBERS))
    lines += "".join(f'\n{{"id": "m{number}", "tags": [{one[0]}, "x"]}}' for number, one in enumerate(NUMBERS))
    data = lines if kind == "jsonl" else "[" + lines.replace("\n", ",\n") + "]"
    work = import_of("id", "name", "spent", "visits", "tags", format=Format(type=kind))  # type: ignore[arg-type]
    shelf.take(work, data)
    stored = {one[0]: one[1:] for one in shelf.profiles("id", "name", "spent", "visits", "tags")}
    for number, (spelt, text, decimal, integer) in enumerate(NUMBERS):
        assert stored[f"t{number}"][0] == text, spelt
        assert stored.get(f"d{number}", (None, None))[1] == decimal, spelt
        assert stored.get(f"n{number}", (None,) * 3)[2] == integer, spelt
        assert stored[f"m{number}"][3] == sorted([text, "x"]), spelt


LINES = [
    # a line beside a sound one, what becomes of it: the name that is stored, or the code
    ('{"id": "a", "name": NaN}', "bad-json"),
    ('{"id": "a", "name": -Infinity}', "bad-json"),
    ('{"id": "a", "name": [1, nan]}', "bad-json"),
    ('{"id": "a", "name": {"x": NaN}}', "bad-json"),
    ('{"id": "a", "name": "NaN, Infinity"}', None),
    ('{"id": "a", "name": "1", "name": "2"}', "2"),
    ('{"id": "b", "name": "2", "id": "a"}', "2"),
    ('{"id": "a", "name": "1", "n\\u0061me": "2"}', "2"),
    ('{"id": "a", "name": {"x": 1.10, "y": [2.0, {"z": 1, "z": 2}]}}', '{"x":1.10,"y":[2.0,{"z":2}]}'),
    ('{"id": "a", "name": [1.10, null, "x", true, {"y": 2.0}]}', '[1.10,null,"x",true,{"y":2.0}]'),
    ('{"id": "a", "name": "2",}', "bad-json"),
    ('{"id": "a", "name": ' + "[" * 100 + "]" * 100 + "}", "[" * 100 + "]" * 100),
    ('{"id": "a", "name": ' + "[" * 300 + "]" * 300 + "}", "too-deep"),
    ('{"id": "a", "other": ' + "[" * 300 + "]" * 300 + "}", "too-deep"),
    ('{"id": "a", "name": "\\ud800"}', "bad-json"),
    ('{"id":\r"a",\r"name"\r: "2"}\r', "2"),
    ('{"id": "a", "name": "2"}\r', "2"),
    ("  \r", None),
    ('{"id": "a", "name": "' + "x" * 40_000_000 + '"}', "too-long"),
    ('{"id": "a", "name": "2", "other": "' + "x" * 10_000_000 + '"}', "2"),
]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(("line", "becomes"), LINES, ids=range(len(LINES)))
def test_one_line_of_json_is_one_record(shelf: Shelf, line: str, becomes: str | None, last: bool) -> None:
    work = import_of("id", "name", format=Format(type="jsonl"))
    sound = '{"id": "s", "name": "t"}\n'
    shelf.take(work, sound + line if last else line + "\n" + sound)
    told = [(one["line"], one["code"]) for one in shelf.told()]
    stored = dict(shelf.profiles("id", "name"))
    assert stored.pop("s") == "t"
    if becomes and "-" in becomes and " " not in becomes:
        assert told == [(2 if last else 1, becomes)]
    else:
        assert told == []
        wanted = "NaN, Infinity" if "NaN," in line else becomes
        assert stored == ({} if wanted is None else {"a": wanted})


@pytest.mark.parametrize("value", ["[1,2]", '["x",true]', '[null,{"y":[1]}]', "[]", "[[]]", "{}"])
def test_a_list_that_fills_one_text_is_its_json_whatever_stands_beside_it(shelf: Shelf, value: str) -> None:
    work = import_of("id", "name", format=Format(type="jsonl"))
    line = f'{{"id": "a", "name": {value}}}\n'
    shelf.take(work, line)
    assert dict(shelf.profiles("id", "name")) == {"a": value}
    shelf.take(work, line.replace('"a"', '"b"') + '{"id": "z", "name": 1e1}\n')
    assert dict(shelf.profiles("id", "name")) == {"a": value, "b": value, "z": "1e1"}


def test_json_in_another_encoding(shelf: Shelf) -> None:
    line = '{"id": "secret-4711", "name": "Zoë"}\n'
    work = import_of("id", "name", format=Format(type="jsonl"))
    with pytest.raises(RunError, match="line 1 is not utf-8") as caught:
        shelf.take(work, line.encode("latin-1"))
    assert caught.value.code == "wrong-encoding"
    assert not any("4711" in text for _, text in shelf.said.messages)
    for kind, data in (("jsonl", line), ("json", f"[{line}]")):
        for encoding in ("latin-1", "utf-16"):
            read(shelf, data.encode(encoding), type=kind, encoding=encoding)
            assert shelf.profiles("id", "name") == [("secret-4711", "Zoë")]


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


# --- a record depends on itself alone ------------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["a", "b1", "é", ",", ",", "\n", "\r\n", "\r", '"', '""', '"x"', '"x,y"', '"x\ny"', ",,", " ", "\t", ' "x"', '"x" ', '"x" "y"']
)  # fmt: skip


@settings(max_examples=examples(8), deadline=None)
@given(pieces=st.lists(PIECES, max_size=14))
@example(pieces=["\r", ",", "\n"])
@example(pieces=['"', "\r", '"'])
def test_where_duckdb_reads_a_file_it_reads_it_as_the_csv_module_does(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    names = ("h1", "h2", "h3")
    path = folder / "rows"
    path.write_bytes(("h1,h2,h3\n" + "".join(pieces)).encode())
    opened = normalize_file(LocalFile(path=str(path), name="rows", size=1, modified=""), Format(), folder)
    if opened.survey.spaced_quotes:
        return  # rewritten by the csv module, as what DuckDB cannot read or what it reads in part
    with duckdb.connect() as connection:

        def load(records: RecordSource) -> tuple[list[Any], bool]:
            cells = ", ".join(records.cell(name) for name in names)
            rows = connection.execute(f"SELECT {records.error}, {cells} FROM {records.relation}").fetchall()
            return [row[:1] if row[0] == NO_RECORD else row for row in rows], records.is_whole(len(rows))

        try:
            found, is_whole = load(delimited.find_records(opened, Format(), names, 1, about=1))
        except duckdb.Error:
            return
        careful, all_of_them = load(delimited.copy_records(opened, Format(), names, 1, names, folder))
    assert all_of_them
    assert not is_whole or found == careful


ALONE = [
    '1, "a"',
    '2, "b,c"',
    '3,"d" ',
    '4,"e"\t',
    '5,"f" "g"',
    '\t"6",h',
    '7,"say ""x"" "',
    '8,a "b" c',
    '"9","j"',
    " ",
    ",",
    '"",""',
    "10,k,l",
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("row", ALONE)
def test_what_a_record_says_does_not_depend_on_another(tmp_path: Path, row: str, end: str) -> None:
    found: list[Any] = []
    for more in ("", f'99,"x{end}y"{end}', f"99,xy\n98,xy{end}", f"99,{'x' * 3_000_000}{end}"):
        shelf = Shelf(tmp_path / str(len(found)))
        shelf.folder.mkdir()
        told = read(shelf, f"id,name{end}{row}{end}{more}")
        found.append(([one for one in told[1] if one[0] not in ("98", "99")], [one for one in told[2] if one[0] == 2]))
    assert found == [found[0]] * 4


SIZES = [1_999_000, 2_000_001, 3_900_000, 4_000_001, 10_000_000, 33_000_000]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("size", SIZES)
def test_no_record_is_lost_for_its_length(shelf: Shelf, size: int, quote: str, last: bool) -> None:
    rows = f"id,name\n1,Ann\n2,Bob,{quote}{'y' * size}{quote}" + ("" if last else "\n3,Eva\n")
    rows = rows.replace("name\n1,Ann\n", "name,note\n1,Ann,\n").replace("3,Eva", "3,Eva,")
    counts, profiles, told = read(shelf, rows)
    fits = size < 4_000_000
    assert told == ([] if fits else [(3, "too-long")])
    assert [one[0] for one in profiles] == ["1", *(["2"] if fits else []), *([] if last else ["3"])]
    assert counts.get("invalid", 0) == len(told)


def test_what_stands_behind_the_rows_is_looked_at(shelf: Shelf) -> None:
    rows = "id,name\n" + "".join(f"{number},n\n" for number in range(2000)) + "\0" * 33_000_000
    counts, _, told = read(shelf, rows)
    assert counts == {"created": 2000, "invalid": 1}
    assert told == [(2002, "too-long")]


def test_rows_that_are_not_there_any_more_are_missed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that ends early, at whatever limit of its own, is found out before anything is written."""
    for module, work, data in (
        (delimited, WORK, "id,name\n1,Ann\n2,Bob\n"),
        (jsonlines, import_of("id", "name", format=Format(type="jsonl")), '{"id":1}\n{"id":2}\n'),
    ):
        for name in ("find_records", "copy_records"):
            was = getattr(module, name)
            monkeypatch.setattr(
                module,
                name,
                lambda *a, was=was, **k: replace(one := was(*a, **k), relation=f"(FROM {one.relation} LIMIT 1)"),
            )
        with pytest.raises(RunError) as caught:
            shelf.take(work, data)
        assert caught.value.code == "damaged-file"
    assert shelf.profiles("id") == []


SKIPPED = [
    ("sep=;\nid;name\n1;Ann\n2;Bob", {"delimiter": ";", "skip": 1}),
    ('a "title,\n\nid,name\n1,Ann\n2,Bob', {"skip": 2}),
    ("# x\rid,name\r1,Ann\r2,Bob", {"skip": 1}),
    ("\ufeffsep=,\r\nid,name\r\n1,Ann\r\n2,Bob\r\n", {"skip": 1}),
    ("x\ny\n1,Ann\n2,Bob\n", {"skip": 2, "header": False, "columns": ("id", "name")}),
    ("id,name\n1,Ann\n2,Bob\n", {"skip": 0}),
]


@pytest.mark.parametrize(("data", "form"), SKIPPED)
def test_lines_before_the_header_are_passed_over(shelf: Shelf, data: str, form: dict[str, Any]) -> None:
    assert read(shelf, data, **form) == ({"created": 2}, [("1", "Ann"), ("2", "Bob")], [])
    assert read(shelf, gzip.compress(data.encode("utf-16")), encoding="utf-16", **form)[0] == {"unchanged": 2}


def test_lines_that_are_passed_over_count_in_the_numbers_of_lines(shelf: Shelf) -> None:
    assert read(shelf, "sep=,\n\nid,name\n,Ann\n", skip=2)[2] == [(4, "missing-key")]


def test_more_lines_are_skipped_than_there_are(shelf: Shelf) -> None:
    with pytest.raises(RunError, match="fewer lines than the 3 that `skip`"):
        read(shelf, "id,name\n1,Ann\n", skip=3)


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


@pytest.mark.thorough
@settings(max_examples=examples(8), deadline=None)
@given(
    lines=st.lists(
        st.tuples(*[st.sampled_from(['"x"', '""', r'"a\u00e9\n"', r'"\ud800"', '"{[1.50]"', '": 1.50,"', "1", "-0", "1.5", "1.50",
            "0.0001", "12345678901234567", "1e5", "999999999.99999", "true", "null", "[1]", '{"a":1}', "01", "7.3"])] * 3,
            st.sampled_from(['{{"a":{},"b":{},"é.k":{}}}'] * 4 + [' {{ "a" : {} , "b" :{},\t"é.k":{} }} ', '{{"b":{},"a":{},"a":{}}}'])),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_json_lines_that_look_plain_are_read_as_with_care(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str, str, str]]
) -> None:
    folder, names = tmp_path_factory.mktemp("lines"), ("a", "b", "é.k")
    path = folder / "rows"
    path.write_text("".join(f"{shape.format(*values)}\n" for *values, shape in [("1", "2", "3", lines[0][3]), *lines]))
    opened = normalize_file(LocalFile(path=str(path), name="rows", size=1, modified=""), Format(type="jsonl"), folder)
    with duckdb.connect() as connection:

        def load(records: RecordSource) -> list[Any]:
            cells = ", ".join([records.error, *map(records.cell, names), *map(records.present, names)])
            return connection.execute(f"SELECT {cells} FROM {records.relation}").fetchall()

        found = load(jsonlines.find_records(opened, names, about=1))
        careful = load(jsonlines.copy_records(opened, names, folder))
    assert len(found) == len(careful)
    assert [(one, other) for one, other in zip(found, careful, strict=True) if one[0] is None and one != other] == []
