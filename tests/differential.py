"""Invented files of each format, read by the product and by another reader: the same rows and values, or a refusal.

The other readers share no code with the product: a CSV parser of thirty lines, `json`, openpyxl and pyarrow; and what a
value of each type is stands here a second time, as docs/data.md says it. Round trips compare the profiles that a store
exported with those that another one made of the file.
"""

from __future__ import annotations

import io
import json
import random
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from connrunner.core.model import Export, Field, Format, Import, LocalFile, ProfileModel, Property, PropertyType
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ExportJob, ImportJob, RunStamp
from connrunner.profiles.stores.duckdb import open_store

AT = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
KINDS = {"id": "text", "a": "text", "i": "integer", "d": "decimal", "m": "text"}
MODEL = ProfileModel(
    properties={
        name: Property(name=name, type=PropertyType(kind), identifier=name == "id", many=name == "m", personal=False)
        for name, kind in KINDS.items()
    }
)
FIELDS = tuple(Field(property=name, column=name) for name in KINDS)
BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200C)))

Values = tuple[Any, ...]  # of a, i, d, m
Outcome = tuple[dict[str, Values], list[str]]  # the profiles by `id`, and the codes of the rows that were refused


class Silent:
    """Hears of an import and says nothing."""

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None: ...

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


class Reader:
    """The product: a store that forgets its profiles before each file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._runs = 0
        self._open()

    def _open(self) -> None:
        self._opened = open_store(self.folder / "store.duckdb", MODEL, temp=self.folder / "temp", report=Silent())
        self.store: ProfileStore = self._opened.__enter__()

    def close(self) -> None:
        self._opened.__exit__(None, None, None)

    def take(self, data: bytes, form: Format, *, once: bool = False) -> Outcome:
        """Import the bytes of a file; whatever it raises leaves a store that is open anew."""
        self._runs += 1
        path, rejects = self.folder / "rows", self.folder / "rejects"
        path.write_bytes(data)
        rejects.unlink(missing_ok=True)
        self._execute("DELETE FROM store.profiles")
        name = f"rows-{self._runs}"
        file = LocalFile(path=str(path), name=name, size=len(data), modified=name, once=once)
        work = Import(source={}, format=form, match=(("id",),), fields=FIELDS)
        stamp = RunStamp(connection="c", run=self._runs, at=AT)
        try:
            done = self.store.import_files(ImportJob(work=work, files=(file,), stamp=stamp, rejects=rejects))
        except Exception:
            self.close()
            self._open()
            raise
        told = [json.loads(line) for line in rejects.read_text().split("\n")[:-1]] if rejects.exists() else []
        codes = {one["line"]: one["code"] for one in reversed(told)}  # the first one of each row
        assert len(codes) == done.counts.invalid + done.counts.duplicate, "a row that was refused is not told"
        return self.profiles(), [code for _, code in sorted(codes.items())]

    def profiles(self) -> dict[str, Values]:
        rows = self._execute("SELECT id, a, i, d, m FROM store.profiles").fetchall()
        return {id: (a, i, d, None if m is None else frozenset(m)) for id, a, i, d, m in rows}  # noqa: A001

    def export(self, form: Format, path: Path) -> Sequence[str]:
        """Write all profiles to *path*; return the codes of those that were refused."""
        self._runs += 1
        rejects = self.folder / "rejects"
        rejects.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        stamp = RunStamp(connection="e", run=self._runs, at=AT)
        work = Export(destination={}, format=form, fields={name: name for name in KINDS}, rows="all")
        self.store.export(ExportJob(work=work, stamp=stamp, path=path))
        self.store.confirm_export(stamp, refused=(), rejects=rejects)
        return [json.loads(line)["code"] for line in rejects.read_text().split("\n")[:-1]] if rejects.exists() else []

    def _execute(self, statement: str) -> Any:
        return self.store._session.execute(statement)  # type: ignore[attr-defined]


# --- what a value is, a second time ------------------------------------------------------------------------------


class Number(str):
    """A number as its source spells it."""


class RefusedError(Exception):
    """The row is refused; the code says why."""


def text_of(value: Any) -> str | None:
    """Return the text of a *value* of JSON."""
    if value is None or (isinstance(value, str) and not isinstance(value, Number)):
        return value
    return dump(value)


def dump(value: Any) -> str:
    match value:
        case Number():
            return str(value)
        case dict():
            return "{" + ",".join(f"{dump(key)}:{dump(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(dump, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def number_of(value: Any) -> str | None:
    """Return the text of a *value* for a property that is a number: a number written out."""
    if not isinstance(value, Number):
        return text_of(value)
    number = Decimal(value)
    if abs(number.adjusted()) > 100:
        return str(value)
    return "0" if not number else f"{number.normalize():f}"


def parse_text(text: str | None, *, trim: bool) -> str | None:
    if text is None or not text.strip(BLANKS):
        return None
    if "\0" in text:
        raise RefusedError("nul")
    return text.strip(BLANKS) if trim else text


def parse_number(text: str | None, pattern: str, *, fits: Callable[[Decimal], bool]) -> Decimal | None:
    bare = (text or "").strip(BLANKS)
    if not bare:
        return None
    if not re.fullmatch(pattern, bare, re.ASCII) or not fits(Decimal(bare)):
        raise RefusedError("wrong-type")
    return Decimal(bare)


def values_of(row: Mapping[str, Any]) -> tuple[str, Values]:
    """Return identifier and values of a *row* of values of JSON; RefusedError when it is refused."""
    a = parse_text(text_of(row.get("a")), trim=False)
    whole = r"-?\d+"
    i = parse_number(number_of(row.get("i")), whole, fits=lambda n: -(2**63) <= n < 2**63)
    d = parse_number(number_of(row.get("d")), r"-?(\d+(\.\d+)?|\.\d+)", fits=lambda n: abs(n) < Decimal(10) ** 29)
    many = row.get("m")
    parts = many if isinstance(many, list) else many.split(";") if type(many) is str else [many]
    members = {parse_text(text_of(part), trim=True) for part in parts} - {None}
    key = parse_text(text_of(row.get("id")), trim=True)
    if key is None:
        raise RefusedError("missing-key")
    return key, (a, None if i is None else int(i), d, frozenset(members) or None)


def outcome_of(rows: Iterator[Mapping[str, Any] | str]) -> Outcome:
    """Return what becomes of *rows*, each a mapping or the code of its refusal; the last of one key wins."""
    found: dict[str, tuple[int, Values]] = {}
    codes: dict[int, str] = {}
    for number, row in enumerate(rows):
        try:
            if isinstance(row, str):
                raise RefusedError(row)
            key, values = values_of(row)
            if key in found:
                codes[found[key][0]] = "duplicate"
            found[key] = number, values
        except RefusedError as error:
            codes[number] = str(error)
    return {key: values for key, (_, values) in found.items()}, [codes[number] for number in sorted(codes)]


# --- CSV ---------------------------------------------------------------------------------------------------------

PIECES = [
    '"',
    '""',
    " ",
    "a",
    "Zoë",
    "\t",
    ",",
    ";",
    "|",
    "'",
    "=1",
    "0",
    "12",
    "-7",
    "1.50",
    "\u00a0",
    "x;y",
    "\u2028",
    "😀",
    "",
]
ENDS = ["\n", "\r\n", "\r"]


def make_csv(dice: random.Random) -> bytes:
    """Return a dialect as a line of JSON, and behind it a file."""
    delimiter = dice.choice(",;\t|")
    end = dice.choice(ENDS)
    one_end = dice.random() < 0.8
    quoting = dice.choice([0.0, 0.3, 1.0])
    odd = dice.choice([0.0, 0.02, 0.2])  # of cells in which anything may stand

    def cell(text: str) -> str:
        if dice.random() < odd:
            return "".join(dice.choice(PIECES) for _ in range(dice.randrange(5)))
        if any(sign in text for sign in (delimiter, '"', "\n", "\r")) or dice.random() < quoting:
            return '"' + text.replace('"', '""') + '"'
        return text

    lines = [delimiter.join(KINDS)]
    for number in range(dice.randrange(1, 12)):
        text = "".join(dice.choice([*PIECES, "\n", "\r\n"] if quoting else PIECES) for _ in range(dice.randrange(4)))
        many = dice.choice(["", "x;y", "x", ";", " y ; x"])
        cells = [f"k{number}", text, dice.choice(["", "7", "-3 ", "x"]), dice.choice(["", "1.50", "1,5"]), many]
        lines.append(dice.choice(["", delimiter * 4]) if dice.random() < 0.05 else delimiter.join(map(cell, cells)))
    body = "".join(line + (end if one_end else dice.choice(ENDS)) for line in lines)
    encoding = dice.choice(["utf-8", "utf-8", "utf-16"])
    return json.dumps({"delimiter": delimiter, "encoding": encoding}).encode() + b"\n" + body.encode(encoding)


def split_csv(text: str, delimiter: str) -> Iterator[list[str] | str]:
    """Yield each record of *text*, or the code of its refusal: RFC 4180, and nothing is a quote but at a cell's begin."""
    at = 0
    while at < len(text):
        start, cells = at, []
        while True:
            if text[at : at + 1] == '"':
                found = re.compile(r'"((?:[^"]|"")*)"(?!")').match(text, at)
                stop = found.end() if found else len(text)
                if not found or (stop < len(text) and text[stop] not in (delimiter, "\r", "\n")):
                    at = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)").match(text, start).end()  # type: ignore[union-attr]
                    cells = ["bad-quoting"]
                    break
                cells.append(found[1].replace('""', '"'))
                at = stop
            else:
                found = re.compile(rf"[^\r\n{re.escape(delimiter)}]*").match(text, at)
                cells.append(found[0] if found else "")
                at = found.end() if found else at
            if text[at : at + 1] == delimiter:
                at += 1
                continue
            at += 2 if text[at : at + 2] == "\r\n" else 1
            break
        yield cells[0] if cells == ["bad-quoting"] and text[start : start + 11] != "bad-quoting" else cells


def read_csv(data: bytes, dialect: Mapping[str, str]) -> Outcome:
    def rows() -> Iterator[Mapping[str, Any] | str]:
        records = split_csv(data.decode(dialect["encoding"]), dialect["delimiter"])
        next(records)
        for record in records:
            if isinstance(record, str):
                yield record
            elif len(record) <= len(KINDS) and not any(cell.strip(" \t\n\v\f\r") for cell in record):
                continue
            elif len(record) != len(KINDS):
                yield "too-few-columns" if len(record) < len(KINDS) else "too-many-columns"
            else:
                yield dict(zip(KINDS, record, strict=True))

    return outcome_of(rows())


# --- JSON --------------------------------------------------------------------------------------------------------

SPELLINGS = [
    "1", "-0", "1.10", "1e2", "1.5E-3", "12345678901234567", "12345678901234567890.5", "0.1", "1.0", "-7", "true", "false", "null", '"x"', '""', '" y "',
    '"\\u00e9\\n"', '"a;b"', '"\\/"', '"\\ud83d\\ude00"', '"12"', '"1.0"', '"\\u0000"', '"\u2028"', '"\\u001f\\u007f"', "NaN", '"\\ud800"', "[]", "{}", '"NaN"',
]  # fmt: skip


def make_json(dice: random.Random) -> bytes:
    """Return one object on each line, blanks and odd orders among them."""
    often = dice.choice([0, 0, 0.05, 0.3])  # most files hold nothing that needs care

    def value(depth: int) -> str:
        if depth < 3 and dice.random() < 0.15:
            return "[" + ", ".join(value(depth + 1) for _ in range(dice.randrange(3))) + "]"
        if depth < 3 and dice.random() < 0.1:
            return (
                "{" + ", ".join(f'"{dice.choice("xyz")}": {value(depth + 1)}' for _ in range(dice.randrange(3))) + "}"
            )
        plain = SPELLINGS[10:18] if dice.random() >= often else SPELLINGS
        return dice.choice(plain)

    lines = []
    for number in range(dice.randrange(1, 10)):
        members = [f'"{name}":{value(0)}' for name in dice.sample(["a", "i", "d", "m"], dice.randrange(5))]
        if dice.random() < 0.1:
            members.append(f'"{dice.choice("aidm")}": {value(0)}')
        members.insert(dice.randrange(len(members) + 1), f'"id":"k{number}"')
        lines.append("{" + dice.choice([",", " , ", ",\t"]).join(members) + "}" + dice.choice(["", "", " ", "\r"]))
    return ("\n".join(lines) + dice.choice(["", "\n"])).encode()


def _refuse(word: str) -> Any:
    raise ValueError(word)


def read_json(data: bytes) -> Outcome:
    def rows() -> Iterator[Mapping[str, Any] | str]:
        for line in data.split(b"\n"):
            if not line.strip(b" \t\r"):
                continue
            try:
                row = json.loads(line, parse_float=Number, parse_int=Number, parse_constant=_refuse)
                dump(row).encode()
            except ValueError:
                yield "bad-json"
            else:
                yield row if isinstance(row, dict) else "bad-json"

    return outcome_of(rows())


def as_document(lines: bytes) -> bytes:
    """Return the objects of *lines* as one JSON document."""
    return b"[" + b",\n".join(line.strip() for line in lines.split(b"\n") if line.strip()) + b"]"


# --- workbooks and Parquet -----------------------------------------------------------------------------------------


def make_cell(dice: random.Random, name: str) -> Any:
    """Return a value that a workbook and a column of Parquet may have."""
    match name:
        case "i":
            return dice.choice([None, 1, -5, 2**53, 10**15])
        case "d":
            return dice.choice([None, 0.1, 1.5, -2.0, 1e-7, 123456.25, 4111111111111111.0])
        case _:
            return dice.choice(
                [None, "x", " y ", "Zoë\n", "a;b", "_x000D_", "_x005F_", "#N/A", "=1", "'q", "😀", "\u00a0", "1.0"]
            )


def make_rows(dice: random.Random) -> bytes:
    """Return rows as JSON: each reader makes its own file of them."""
    rows = [[f"k{number}", *(make_cell(dice, name) for name in "aidm")] for number in range(dice.randrange(1, 9))]
    return json.dumps(
        {"rows": rows, "version": dice.choice(["1.0", "2.6"]), "as": dice.choice(["text", "bytes"])}
    ).encode()


def workbook_of(data: bytes) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(KINDS))
    for row in json.loads(data)["rows"]:
        sheet.append([None] * len(row))
        for column, value in enumerate(row, 1):
            if value is not None:
                cell = sheet.cell(sheet.max_row if column > 1 else sheet.max_row + 1, column)
                cell.value = value
                if isinstance(value, str):
                    cell.data_type = "s"  # and no formula, and no error
    found = io.BytesIO()
    book.save(found)
    return found.getvalue()


def spell_float(value: float) -> Number:
    return Number(
        f"{Decimal(repr(value)):f}".removesuffix(".0") if value.is_integer() else f"{Decimal(f'{value:.15g}'):f}"
    )


def unescape(value: Any) -> Any:
    """Undo the escapes of a workbook's texts, which openpyxl leaves as they are."""
    return (
        re.sub("_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), value) if isinstance(value, str) else value
    )


def spell(value: Any) -> Any:
    return spell_float(value) if isinstance(value, float) else Number(value) if isinstance(value, int) else value


def read_workbook(book: bytes) -> Outcome:
    sheet = openpyxl.load_workbook(io.BytesIO(book), data_only=True).active
    assert sheet is not None
    rows = (row for row in sheet.iter_rows(min_row=2, values_only=True) if any(value is not None for value in row))
    return outcome_of(dict(zip(KINDS, map(spell, map(unescape, row)), strict=True)) for row in rows)


def parquet_of(data: bytes) -> bytes:
    made = json.loads(data)
    columns = dict(zip(KINDS, zip(*made["rows"], strict=True), strict=True))
    texts = pa.string() if made["as"] == "text" else pa.binary()
    encoded = [value if value is None or made["as"] == "text" else value.encode() for value in columns["a"]]
    table = {
        "id": pa.array(columns["id"], pa.string()),
        "a": pa.array(encoded, texts),
        "i": pa.array(columns["i"], pa.int64()),
        "d": pa.array(columns["d"], pa.float64()),
        "m": pa.array([value and value.split(";") for value in columns["m"]], pa.list_(pa.string())),
    }
    found = io.BytesIO()
    pq.write_table(pa.table(table), found, version=made["version"])
    return found.getvalue()


def read_parquet(file: bytes) -> Outcome:
    def plain(value: Any) -> Any:
        return value.decode() if isinstance(value, bytes) else spell(value)

    rows = pq.read_table(io.BytesIO(file)).to_pylist()
    return outcome_of({name: plain(value) for name, value in row.items()} for row in rows)


# --- what is fed ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A format: how inputs are made, and what of them each of the two readers says."""

    name: str
    inputs: Callable[[random.Random], bytes]
    feed: Callable[[bytes], None]


def compare(found: Outcome, expected: Outcome) -> None:
    assert found == expected, f"found {found}, expected {expected}"


def sources(folder: Path) -> Iterator[Source]:
    """Each format by name, beside a reader that shares no code with the product."""
    readers: list[Reader] = []

    def product() -> Reader:
        if not readers:  # opened by the first that needs it: most runs of one target need no store
            readers.append(Reader(folder / "differential"))
        return readers[0]

    def feed_csv(data: bytes) -> None:
        head, _, body = data.partition(b"\n")
        dialect = json.loads(head)
        form = Format(type="csv", delimiter=dialect["delimiter"], encoding=dialect["encoding"])
        compare(product().take(body, form), read_csv(body, dialect))

    def feed_lines(data: bytes) -> None:
        expected = read_json(data)
        compare(product().take(data, Format(type="jsonl")), expected)
        compare(product().take(as_document(data), Format(type="json")), expected)

    def feed_workbook(data: bytes) -> None:
        book = workbook_of(data)
        compare(product().take(book, Format(type="excel")), read_workbook(book))

    def feed_parquet(data: bytes) -> None:
        file = parquet_of(data)
        compare(product().take(file, Format(type="parquet")), read_parquet(file))

    def feed_round_trip(data: bytes) -> None:
        reader, form, path = product(), ROUND_TRIPS[zlib.crc32(data) % len(ROUND_TRIPS)], folder / "exported"
        before, _ = reader.take(data, Format(type="jsonl"))
        refused = reader.export(form, path)
        assert set(refused) <= {"unwritable-format"}, refused
        if not path.exists():
            assert len(refused) == len(before)
            return
        after, codes = reader.take(path.read_bytes(), form)
        assert codes == [], f"{form}: {codes}"
        assert len(after) == len(before) - len(refused), f"{form}: {len(after)} of {len(before)} came back"
        changed = {key for key in after if after[key] != before.get(key)}
        assert not changed, f"{form}: {[(before.get(key), after[key]) for key in changed]}"

    yield Source("csv beside a parser of RFC 4180", make_csv, feed_csv)
    yield Source("json beside the json module", make_json, feed_lines)
    yield Source("excel beside openpyxl", make_rows, feed_workbook)
    yield Source("parquet beside pyarrow", make_rows, feed_parquet)
    yield Source("round trips", make_json, feed_round_trip)


ROUND_TRIPS = (
    Format(type="csv"),
    Format(type="csv", delimiter=";", quote="'"),
    Format(type="csv", delimiter="|", quote=""),
    Format(type="csv", delimiter="\t", encoding="latin-1"),
    Format(type="json"),
    Format(type="jsonl"),
    Format(type="parquet"),
)
