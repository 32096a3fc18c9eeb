"""
What each source makes of each value: the table that docs/data.md is about, each cell tried by an import of its source.

`SAID` is how a source says a value, `TABLE` what is stored then. A run of each source brings all of its values, one a
row; those that refuse their whole file have a run of their own.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from connrunner.config import load
from connrunner.core.model import Outcome
from connrunner.profiles.stores.duckdb import open_store
from tests.runs import Runs
from tests.servers.http import Reply, Server
from tests.servers.programs import ANSWERS, SOURCE, TAP
from tests.stands import workspace_file
from tests.test_profiles_excel import inline, raw, sheet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PROPERTIES: dict[str, dict[str, Any]] = {
    "text": {"type": "text"},
    "texts": {"type": "text", "many": True},
    "integer": {"type": "integer"},
    "integers": {"type": "integer", "many": True},
    "decimal": {"type": "decimal"},
    "boolean": {"type": "boolean"},
    "email": {"type": "email"},
    "date": {"type": "date"},
    "datetime": {"type": "datetime"},
    "local": {"type": "datetime"},  # its field has `timezone: Europe/Amsterdam`
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """How each kind of source says one value, None where it cannot; *into* is the property that it fills."""

    into: str
    what: str
    text: str | bytes | None  # a cell of a CSV or TSV file
    json: str | None  # the member of a record
    xlsx: str | None  # a cell in the sheet
    parquet: Any  # an array of one
    sqlite: str | None  # an expression

    @property
    def name(self) -> str:
        return f"{self.into}: {self.what}"


def as_text(into: str, what: str, value: str, **other: Any) -> Said:
    """Return a text of every source, but for the *other* ones."""
    said = {
        "text": '"' + value.replace('"', '""') + '"' if set(value) & set('",\r\n') else value,
        "json": json.dumps(value, ensure_ascii=False),
        "xlsx": inline(value),
        "parquet": pa.array([value]),
        "sqlite": "'" + value.replace("'", "''") + "'",
    }
    return Said(into=into, what=what, **{**said, **other})


def as_number(into: str, value: str, known_as: Any, **other: Any) -> Said:
    """Return a number of every source that has numbers; in a text file it is its digits."""
    said = {
        "text": value,
        "json": value,
        "xlsx": f"<c><v>{value}</v></c>",
        "parquet": pa.array([known_as]),
        "sqlite": value,
    }
    return Said(into=into, what=value, **{**said, **other})


def only(into: str, what: str, **said: Any) -> Said:
    """Return a value that few sources can say."""
    return Said(**{"into": into, "what": what, **dict.fromkeys(("text", "json", "xlsx", "parquet", "sqlite")), **said})


def timestamps(value: int, unit: str, zone: str | None = None) -> Any:
    return pa.array([value], pa.timestamp(unit, zone))


LONG, LONGEST = "12345678901234567890", "1234567890123456789012345678.123456789"
YES, NO = '<c t="b"><v>1</v></c>', '<c t="b"><v>0</v></c>'
DAY, MORNING = '<c s="3"><v>46204</v></c>', '<c s="3"><v>46204.416666666664</v></c>'
SECONDS, NANOSECONDS = 1782900000, 1782900000123456789
MIDNIGHT = 1782864000
NAN, INFINITY = float("nan"), float("inf")

SAID = [
    # numbers
    as_number("integer", "123456789012345678", 123456789012345678),
    as_number("integer", LONG, Decimal(LONG), sqlite=None),
    as_number("decimal", LONG, Decimal(LONG), sqlite=None),
    as_number("text", LONG, Decimal(LONG), sqlite=None),
    as_text("text", "20 digits in quotes", LONG),
    as_number("decimal", LONGEST, Decimal(LONGEST), xlsx=None, sqlite=None),
    as_number("integer", "1.0", 1.0),
    as_text("integer", "1.0 in quotes", "1.0"),
    as_number("decimal", "1.0", 1.0),
    as_number("text", "1.0", 1.0),
    as_number("boolean", "1.0", 1.0),
    as_number("boolean", "1.00", Decimal("1.00")),
    as_number("integer", "1.50", Decimal("1.50")),
    as_number("decimal", "1.50", Decimal("1.50")),
    as_number("text", "1.50", Decimal("1.50")),
    as_number("texts", "1.50", Decimal("1.50")),
    as_number("integer", "1.5e3", 1.5e3),
    as_number("decimal", "1.5e3", 1.5e3),
    as_number("text", "1.5e3", 1.5e3),
    as_number("decimal", "1e-7", 1e-7),
    as_number("text", "1e-7", 1e-7),
    as_number("decimal", "1e400", None, xlsx=None, parquet=None, sqlite=None),
    as_number("integer", "-0", -0.0, sqlite="-0.0"),
    as_number("decimal", "-0", -0.0, sqlite="-0.0"),
    as_number("text", "-0", -0.0, sqlite="-0.0"),
    as_text("integer", "007", "007"),
    as_text("text", "007", "007"),
    only("text", "7 in the format 00000", xlsx='<c s="1"><v>7</v></c>'),
    only("integer", "7 in the format 00000", xlsx='<c s="1"><v>7</v></c>'),
    as_number("decimal", "NaN", NAN, xlsx=None, sqlite=None),
    as_number("text", "NaN", NAN, xlsx=None, sqlite=None),
    as_text("text", "NaN in quotes", "NaN"),
    as_number("decimal", "Infinity", INFINITY, xlsx=None, sqlite="9e999"),
    as_number("text", "Infinity", INFINITY, xlsx=None, sqlite="9e999"),
    as_number("text", "-Infinity", -INFINITY, xlsx=None, sqlite="-9e999"),
    as_text("decimal", "1,5", "1,5"),
    as_text("integer", "+5", "+5"),
    # booleans: SQLite's are 1 and 0
    as_number("boolean", "true", True, xlsx=YES, sqlite="TRUE"),
    as_number("boolean", "false", False, xlsx=NO, sqlite="FALSE"),
    as_text("boolean", "No in quotes", "No"),
    as_number("boolean", "1", 1),
    as_number("boolean", "2", 2),
    as_number("text", "true", True, xlsx=YES, sqlite="TRUE"),
    as_number("integer", "true", True, xlsx=YES, sqlite="TRUE"),
    # nothing, and blanks
    as_number("text", "null", None, text="", xlsx="<c/>"),
    as_text("text", "empty", "", text='""'),
    as_text("integer", "empty", "", text='""'),
    as_text("texts", "empty", "", text='""'),
    as_text("text", "blanks only", " \u00a0\u200b"),
    as_text("text", "blanks around", " a "),
    as_text("text", "U+00A0 and U+200B around", "\u00a0a\u200b"),
    as_text("texts", "U+00A0 and U+200B around", "\u00a0a ; b\u200b"),
    as_text("email", "U+00A0 and U+200B around", "\u00a0ANN@example.com\u200b"),
    as_text("integer", "U+00A0 and U+200B around", "\u00a07\u200b"),
    as_text("email", "U+00A0 within", "ann\u00a0@example.com"),
    # days and instants
    as_text("date", "2026-07-01", "2026-07-01", xlsx=DAY, parquet=pa.array([date(2026, 7, 1)])),
    as_text("text", "2026-07-01", "2026-07-01", xlsx=DAY, parquet=pa.array([date(2026, 7, 1)])),
    as_text("date", "2026-02-30", "2026-02-30"),
    as_text("date", "midnight", "2026-07-01T00:00:00", xlsx=DAY, parquet=timestamps(MIDNIGHT, "s")),
    as_text("date", "morning", "2026-07-01T10:00:00", xlsx=MORNING, parquet=timestamps(SECONDS, "s")),
    as_text("datetime", "with an offset", "2026-07-01T12:00:00+02:00", parquet=timestamps(SECONDS, "s", "Asia/Tokyo")),
    as_text("datetime", "with nanoseconds", "2026-07-01T10:00:00.123456789Z", parquet=timestamps(NANOSECONDS, "ns", "UTC")),
    as_text("datetime", "without an offset", "2026-07-01T10:00:00", xlsx=MORNING, parquet=timestamps(SECONDS, "s")),
    as_text("datetime", "without an offset, a text", "2026-07-01 10:00:00"),
    as_text("datetime", "a day", "2026-07-01", xlsx=DAY, parquet=pa.array([date(2026, 7, 1)])),
    as_text("local", "without an offset", "2026-07-01T10:00:00", xlsx=MORNING, parquet=timestamps(SECONDS, "s")),
    as_text("local", "with an offset", "2026-07-01T10:00:00Z", parquet=timestamps(SECONDS, "s", "UTC")),
    as_text("text", "an instant", "2026-07-01T10:00:00Z", parquet=timestamps(SECONDS, "s", "UTC")),
    only("text", "half a second", xlsx='<c s="3"><v>46204.41667245370</v></c>', parquet=timestamps(SECONDS * 1000 + 500, "ms", "UTC")),
    only("text", "a time without an offset", xlsx=MORNING, parquet=timestamps(SECONDS, "s")),
    as_text("text", "a duration", "36:00:00", xlsx='<c s="2"><v>1.5</v></c>', parquet=pa.array([129600], pa.duration("s"))),
    # characters
    as_text("text", "quotes", 'a "b"'),
    as_text("text", "line feed", "a\nb", xlsx=inline("a&#10;b").replace("&amp;", "&")),
    as_text("text", "carriage return", "a\r\nb", xlsx=inline("a_x000D_\nb")),
    as_text("text", "NUL", "a\0b", json=r'"a\u0000b"', xlsx=inline("a_x0000_b"), sqlite="'a' || char(0) || 'b'"),
    as_text("text", "U+0001", "a\x01b", json=r'"a\u0001b"', xlsx=inline("a_x0001_b")),
    as_text("text", "a pair of surrogates", "😀", json=r'"\ud83d\ude00"'),
    only("text", "half a pair", text=b"a\xed\xa0\xbd", json=r'"a\ud83d"', xlsx=inline("a_xD83D_"), sqlite="CAST(X'61eda0bd' AS TEXT)"),
    only("text", "Latin-1", text=b"Zo\xeb", parquet=pa.array([b"Zo\xeb"]), sqlite="CAST(X'5a6feb' AS TEXT)"),
    only("text", "bytes", parquet=pa.array(["Zoë".encode()]), sqlite="X'5a6f'"),
    as_text("text", "65,001 characters", "x" * 65_001),
    # sets
    as_text("texts", "b;a;b", "b;a;b"),
    only("texts", "a list", json='["b","a","b",null,""]', parquet=pa.array([["b", "a", "b", None, ""]])),
    only("texts", "a list with a separator", json='["b;a","c"]', parquet=pa.array([["b;a", "c"]])),
    only("texts", "an empty list", json="[]", parquet=pa.array([[]], pa.list_(pa.string()))),
    only("texts", "a list in a list", json='[["a"]]', parquet=pa.array([[["a"]]])),
    as_text("texts", "a list as a text", '["a"]'),
    as_text("integers", "2;1", "2;1"),
    as_text("integers", "2;1.0", "2;1.0"),
    only("integers", "a list", json="[2,1.0]", parquet=pa.array([[2.0, 1.0]])),
    only("texts", "a list of numbers", json="[2,1.0]", parquet=pa.array([[2.0, 1.0]])),
    # what is nested, or stands there twice
    only("text", "a list", json='["b", 1.10, null]', parquet=pa.array([[Decimal("1.10"), None]])),
    only("text", "an object", json='{"a": 1.10, "b": ["x"]}', parquet=pa.array([{"a": Decimal("1.10"), "b": ["x"]}])),
    only("integer", "a list", json="[1]", parquet=pa.array([[1]])),
    only("text", "NaN in an object", json='{"a": NaN}', parquet=pa.array([{"a": NAN}])),
    only("text", "a name twice", json='"1", "text": "2"'),
    only("text", "a name twice, escaped", json=r'"1", "\u0074ext": "2"'),
    only("text", "a name twice in an object", json='{"a": 1, "a": 2}'),
    # cells of a workbook that show an error, or hold nothing yet
    as_text("text", "#N/A", "#N/A"),
    only("text", "an error", xlsx='<c t="e"><v>#N/A</v></c>'),
    only("text", "a formula without a value", xlsx="<c><f>1+1</f></c>"),
]  # fmt: skip

# Of each source: a value as JSON, or the code of its refusal (`file:` when it is one of the whole file or run); `:` is what
# stands at the left, `-` what the source cannot say. A source is a column.
TABLE = r"""
                                                | csv                                      | tsv | json                         | jsonl | http | singer | airbyte | xlsx                    | parquet                                  | sqlite
integer: 123456789012345678                     | 123456789012345678                       | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
integer: 12345678901234567890                   | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | -
decimal: 12345678901234567890                   | "12345678901234567890"                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | -
text: 12345678901234567890                      | "12345678901234567890"                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | -
text: 20 digits in quotes                       | "12345678901234567890"                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
decimal: 1234567890123456789012345678.123456789 | "1234567890123456789012345678.123456789" | :   | :                            | :     | :    | :      | :       | -                       | "1234567890123456789012345678.123456789" | -
integer: 1.0                                    | wrong-type                               | :   | 1                            | :     | :    | :      | :       | :                       | :                                        | :
integer: 1.0 in quotes                          | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
decimal: 1.0                                    | "1"                                      | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: 1.0                                       | "1.0"                                    | :   | :                            | :     | :    | :      | :       | "1"                     | :                                        | :
boolean: 1.0                                    | wrong-type                               | :   | true                         | :     | :    | :      | :       | :                       | :                                        | :
boolean: 1.00                                   | wrong-type                               | :   | true                         | :     | :    | :      | :       | :                       | :                                        | :
integer: 1.50                                   | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
decimal: 1.50                                   | "1.5"                                    | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: 1.50                                      | "1.50"                                   | :   | :                            | :     | :    | :      | :       | "1.5"                   | "1.50"                                   | "1.5"
texts: 1.50                                     | ["1.50"]                                 | :   | :                            | :     | :    | :      | :       | ["1.5"]                 | ["1.50"]                                 | ["1.5"]
integer: 1.5e3                                  | wrong-type                               | :   | 1500                         | :     | :    | :      | :       | :                       | :                                        | :
decimal: 1.5e3                                  | wrong-type                               | :   | "1500"                       | :     | :    | :      | :       | :                       | :                                        | :
text: 1.5e3                                     | "1.5e3"                                  | :   | :                            | :     | :    | :      | :       | "1500"                  | :                                        | :
decimal: 1e-7                                   | wrong-type                               | :   | "0.0000001"                  | :     | :    | :      | :       | :                       | :                                        | :
text: 1e-7                                      | "1e-7"                                   | :   | :                            | :     | :    | :      | :       | "0.0000001"             | :                                        | :
decimal: 1e400                                  | wrong-type                               | :   | :                            | :     | :    | :      | :       | -                       | :                                        | :
integer: -0                                     | 0                                        | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
decimal: -0                                     | "0"                                      | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: -0                                        | "-0"                                     | :   | :                            | :     | :    | :      | :       | "0"                     | :                                        | :
integer: 007                                    | 7                                        | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: 007                                       | "007"                                    | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: 7 in the format 00000                     | -                                        | :   | :                            | :     | :    | :      | :       | "00007"                 | -                                        | :
integer: 7 in the format 00000                  | -                                        | :   | :                            | :     | :    | :      | :       | 7                       | -                                        | :
decimal: NaN                                    | wrong-type                               | :   | bad-json                     | :     | :    | :      | :       | -                       | wrong-type                               | -
text: NaN                                       | "NaN"                                    | :   | bad-json                     | :     | :    | :      | :       | -                       | not-a-number                             | -
text: NaN in quotes                             | "NaN"                                    | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
decimal: Infinity                               | wrong-type                               | :   | bad-json                     | :     | :    | :      | :       | -                       | wrong-type                               | :
text: Infinity                                  | "Infinity"                               | :   | bad-json                     | :     | :    | :      | :       | -                       | not-a-number                             | :
text: -Infinity                                 | "-Infinity"                              | :   | bad-json                     | :     | :    | :      | :       | -                       | not-a-number                             | :
decimal: 1,5                                    | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
integer: +5                                     | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
boolean: true                                   | true                                     | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
boolean: false                                  | false                                    | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
boolean: No in quotes                           | false                                    | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
boolean: 1                                      | true                                     | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
boolean: 2                                      | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: true                                      | "true"                                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | "1"
integer: true                                   | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | 1
text: null                                      | null                                     | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: empty                                     | null                                     | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
integer: empty                                  | null                                     | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
texts: empty                                    | null                                     | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: blanks only                               | null                                     | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: blanks around                             | " a "                                    | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: U+00A0 and U+200B around                  | "\u00a0a\u200b"                          | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
texts: U+00A0 and U+200B around                 | ["a", "b"]                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
email: U+00A0 and U+200B around                 | "ann@example.com"                        | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
integer: U+00A0 and U+200B around               | 7                                        | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
email: U+00A0 within                            | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
date: 2026-07-01                                | "2026-07-01"                             | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: 2026-07-01                                | "2026-07-01"                             | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
date: 2026-02-30                                | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
date: midnight                                  | wrong-type                               | :   | :                            | :     | :    | :      | :       | "2026-07-01"            | :                                        | wrong-type
date: morning                                   | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
datetime: with an offset                        | "2026-07-01T10:00:00Z"                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
datetime: with nanoseconds                      | "2026-07-01T10:00:00.123456Z"            | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
datetime: without an offset                     | wrong-type                               | :   | :                            | :     | :    | :      | :       | "2026-07-01T10:00:00Z"  | wrong-type                               | :
datetime: without an offset, a text             | wrong-type                               | :   | :                            | :     | :    | :      | :       | "2026-07-01T10:00:00Z"  | wrong-type                               | :
datetime: a day                                 | wrong-type                               | :   | :                            | :     | :    | :      | :       | "2026-07-01T00:00:00Z"  | wrong-type                               | :
local: without an offset                        | "2026-07-01T08:00:00Z"                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
local: with an offset                           | "2026-07-01T10:00:00Z"                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: an instant                                | "2026-07-01T10:00:00Z"                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: half a second                             | -                                        | :   | :                            | :     | :    | :      | :       | "2026-07-01 10:00:00.5" | "2026-07-01T10:00:00.5Z"                 | -
text: a time without an offset                  | -                                        | :   | :                            | :     | :    | :      | :       | "2026-07-01 10:00:00"   | :                                        | -
text: a duration                                | "36:00:00"                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: quotes                                    | "a \"b\""                                | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: line feed                                 | "a\nb"                                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: carriage return                           | "a\r\nb"                                 | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: NUL                                       | nul                                      | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: U+0001                                    | "a\u0001b"                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: a pair of surrogates                      | "\ud83d\ude00"                           | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: half a pair                               | file: wrong-encoding                     | :   | bad-json                     | :     | :    | :      | :       | "a_xD83D_"              | -                                        | bad-json
text: Latin-1                                   | file: wrong-encoding                     | :   | -                            | :     | :    | :      | :       | :                       | binary-column                            | bad-json
text: bytes                                     | -                                        | :   | :                            | :     | :    | :      | :       | :                       | "Zo\u00eb"                               | file: binary-column
text: 65,001 characters                         | too-long                                 | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
texts: b;a;b                                    | ["a", "b"]                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
texts: a list                                   | -                                        | :   | ["a", "b"]                   | :     | :    | :      | :       | -                       | ["a", "b"]                               | -
texts: a list with a separator                  | -                                        | :   | ["b;a", "c"]                 | :     | :    | :      | :       | -                       | ["b;a", "c"]                             | -
texts: an empty list                            | -                                        | :   | null                         | :     | :    | :      | :       | -                       | null                                     | -
texts: a list in a list                         | -                                        | :   | ["[\"a\"]"]                  | :     | :    | :      | :       | -                       | ["[\"a\"]"]                              | -
texts: a list as a text                         | ["[\"a\"]"]                              | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
integers: 2;1                                   | [1, 2]                                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
integers: 2;1.0                                 | wrong-type                               | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
integers: a list                                | -                                        | :   | [1, 2]                       | :     | :    | :      | :       | -                       | [1, 2]                                   | -
texts: a list of numbers                        | -                                        | :   | ["1.0", "2"]                 | :     | :    | :      | :       | -                       | ["1", "2"]                               | -
text: a list                                    | -                                        | :   | "[\"b\",1.10,null]"          | :     | :    | :      | :       | -                       | "[1.10,null]"                            | -
text: an object                                 | -                                        | :   | "{\"a\":1.10,\"b\":[\"x\"]}" | :     | :    | :      | :       | -                       | "{\"a\":1.10,\"b\":[\"x\"]}"             | -
integer: a list                                 | -                                        | :   | wrong-type                   | :     | :    | :      | :       | -                       | wrong-type                               | -
text: NaN in an object                          | -                                        | :   | bad-json                     | :     | :    | :      | :       | -                       | bad-json                                 | -
text: a name twice                              | -                                        | :   | "2"                          | :     | :    | :      | :       | -                       | :                                        | :
text: a name twice, escaped                     | -                                        | :   | "2"                          | :     | :    | :      | :       | -                       | :                                        | :
text: a name twice in an object                 | -                                        | :   | "{\"a\":2}"                  | :     | :    | :      | :       | -                       | :                                        | :
text: #N/A                                      | "#N/A"                                   | :   | :                            | :     | :    | :      | :       | :                       | :                                        | :
text: an error                                  | -                                        | :   | :                            | :     | :    | :      | :       | formula-error           | -                                        | :
text: a formula without a value                 | -                                        | :   | :                            | :     | :    | :      | :       | formula-error           | -                                        | :
"""
SOURCES = ("csv", "tsv", "json", "jsonl", "http", "singer", "airbyte", "xlsx", "parquet", "sqlite")
SAYS_AS = {"csv": "text", "tsv": "text", **dict.fromkeys(("json", "jsonl", "http", "singer", "airbyte"), "json")}
FILE = "file: "

Row = tuple[str, Said]  # its key, and what it says


def expected() -> dict[str, dict[str, str]]:
    """Return the cells of the table: by value, then by source."""
    found = {}
    for line in TABLE.strip("\n").splitlines()[1:]:
        name, *cells = (cell.strip() for cell in line.split(" | "))
        for place, cell in enumerate(cells):
            cells[place] = cells[place - 1] if cell == ":" else cell
        found[name] = dict(zip(SOURCES, cells, strict=True))
    return found


def said_by(source: str, said: Said) -> Any:
    return getattr(said, SAYS_AS.get(source, source))


# --- the sources -------------------------------------------------------------------------------------------------

Offer = Callable[[Path, Server, list[Row]], dict[str, Any]]  # bring the rows to the source; return its part of YAML


def offer_file(folder: Path, name: str, content: bytes, form: str) -> dict[str, Any]:
    workspace_file(folder, f"in/{name}").write_bytes(content)
    return {"from": {"type": "files", "path": f"in/{name}"}, "format": {"type": form}}


def delimited(rows: list[Row], delimiter: str) -> bytes:
    lines = [["id", *PROPERTIES], *([key, *_cells(said, said.text, "")] for key, said in rows)]
    return b"".join(delimiter.encode().join(map(_encode, line)) + b"\n" for line in lines)


def _encode(cell: str | bytes) -> bytes:
    return cell if isinstance(cell, bytes) else cell.encode()


def _cells(said: Said, filled: Any, empty: Any) -> list[Any]:
    return [filled if name == said.into else empty for name in PROPERTIES]


def records(rows: list[Row]) -> list[bytes]:
    return [f'{{"id": "{key}", "{said.into}": {said.json}}}'.encode() for key, said in rows]


def workbook(rows: list[Row]) -> bytes:
    return raw(
        sheet(
            inline("id", *PROPERTIES), *(inline(key) + "".join(_cells(said, said.xlsx, "<c/>")) for key, said in rows)
        )
    )


def offer_http(folder: Path, server: Server, rows: list[Row]) -> dict[str, Any]:
    body = b'{"rows": [' + b",\n".join(records(rows)) + b"]}"
    server.act = lambda asked: Reply(body=body, headers={"Content-Type": "application/json"})
    return {"from": {"type": "http", "url": server.url("/rows"), "rows": "rows"}}


PRINTS = """
with open("messages", "rb") as messages:
    print(messages.read().decode(), end="", flush=True)
"""


def offer_program(
    kind: str, code: str, head: bytes, tail: bytes, folder: Path, server: Server, rows: list[Row]
) -> dict[str, Any]:
    program = folder / "program.py"
    program.write_text(f"#!{sys.executable} -IS\n{code}")
    program.chmod(0o700)
    (folder / "messages").write_bytes(b"".join(head + record + tail + b"\n" for record in records(rows)))
    return {"from": {"type": kind, "command": ["./program.py"], "stream": "people", "config": {}}}


def offer_parquet(folder: Path, server: Server, rows: list[Row]) -> dict[str, Any]:
    columns = {"id": pa.array([key for key, _ in rows])}
    for place, (key, said) in enumerate(rows):
        nulls = partial(pa.nulls, type=said.parquet.type)
        columns[key] = pa.concat_arrays([nulls(place), said.parquet, nulls(len(rows) - place - 1)])
    pq.write_table(pa.table(columns), workspace_file(folder, "in/rows.parquet"))
    return {"from": {"type": "files", "path": "in/rows.parquet"}, "format": {"type": "parquet"}}


def offer_sqlite(folder: Path, server: Server, rows: list[Row]) -> dict[str, Any]:
    with closing(sqlite3.connect(folder / "rows.db")) as database:
        database.execute(f"CREATE TABLE people ({', '.join(['id', *(key for key, _ in rows)])})")
        for key, said in rows:
            database.execute(f"INSERT INTO people (id, {key}) VALUES ('{key}', {said.sqlite})")
        database.commit()
    return {"from": {"type": "sql", "url": "sqlite:///rows.db", "table": "people"}}


OFFERS: dict[str, Offer] = {
    "csv": lambda folder, _, rows: offer_file(folder, "rows.csv", delimited(rows, ","), "csv"),
    "tsv": lambda folder, _, rows: offer_file(folder, "rows.tsv", delimited(rows, "\t"), "tsv"),
    "json": lambda folder, _, rows: offer_file(folder, "rows.json", b"[" + b",\n".join(records(rows)) + b"]", "json"),
    "jsonl": lambda folder, _, rows: offer_file(folder, "rows.jsonl", b"\n".join(records(rows)), "jsonl"),
    "http": offer_http,
    "singer": partial(
        offer_program,
        "singer",
        f'{TAP}schema(id={{}})\n{PRINTS}say("STATE", value={{}})\n',
        b'{"type": "RECORD", "stream": "people", "record": ',
        b"}",
    ),
    "airbyte": partial(
        offer_program,
        "airbyte",
        f'{SOURCE}{ANSWERS}{PRINTS}saw(1)\nstatus("COMPLETE")\n',
        b'{"type":"RECORD","record":{"stream":"people","data":',
        b',"emitted_at":1700000000000}}',
    ),
    "xlsx": lambda folder, _, rows: offer_file(folder, "rows.xlsx", workbook(rows), "excel"),
    "parquet": offer_parquet,
    "sqlite": offer_sqlite,
}
TYPED = ("parquet", "sqlite")  # a column has one type there, so each value has a column of its own


# --- the runs ----------------------------------------------------------------------------------------------------


def bring(source: str, folder: Path, server: Server, rows: list[Row]) -> dict[str, str]:
    """Import *rows* from *source*; return what became of each, by its key."""
    folder.mkdir()
    columns = {key: said.into for key, said in rows} if source in TYPED else {name: name for name in PROPERTIES}
    properties = {name: {**PROPERTIES[kind], "personal": False} for name, kind in columns.items()}
    profile = {"properties": {"id": {"type": "text", "identifier": True, "personal": False}, **properties}}
    fields = {
        name: {"from": name, "timezone": "Europe/Amsterdam"} if kind == "local" else name
        for name, kind in columns.items()
    }
    runs = Runs(folder, profile=profile)
    done = runs.run(
        {"import": {**OFFERS[source](folder, server, rows), "match": ["id"], "fields": {"id": "id", **fields}}}
    )
    if done.outcome is Outcome.FAILED:
        return dict.fromkeys((key for key, _ in rows), FILE + done.code)
    return {**refused(runs, rows), **stored(runs, rows, source)}


def refused(runs: Runs, rows: list[Row]) -> dict[str, str]:
    path = runs.state.rejects("people", runs.number)
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    keys = [key for key, _ in rows]
    # A record that is none has no key, and rows of these sources are numbered in their order.
    return {(one["key"] or "").removeprefix("id=") or keys[one["line"] - 1]: one["code"] for one in told}


def stored(runs: Runs, rows: list[Row], source: str) -> dict[str, str]:
    into = {key: key if source in TYPED else said.into for key, said in rows}
    runs.folder.joinpath("temporary").mkdir()
    model = load.profile_model_from(runs.profile)
    with open_store(runs.state.profiles, model, temp=runs.folder / "temporary", report=runs.log) as store:
        return {one["id"]: json.dumps(one[into[one["id"]]]) for one in store.select()}


def outcomes(source: str, folder: Path, server: Server, cells: Mapping[str, str]) -> dict[str, str]:
    """Return what becomes of each value that *source* can say; *cells* tells which ones refuse their whole file."""
    rows = [(f"v{number}", said) for number, said in enumerate(SAID) if said_by(source, said) is not None]
    alone = [row for row in rows if cells.get(row[1].name, "").startswith(FILE)]
    found = bring(source, folder / "together", server, [row for row in rows if row not in alone])
    for row in alone:
        found |= bring(source, folder / row[0], server, [row])
    return {said.name: found.get(key, "lost") for key, said in rows}


QUICK = ("csv", "json", "http", "sqlite")  # what `make test` tries; the others take a second each


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [pytest.param(name, marks=() if name in QUICK else pytest.mark.thorough) for name in SOURCES]
)
def test_what_a_source_makes_of_each_value(source: str, tmp_path: Path, http_server: Server) -> None:
    cells = {name: by_source[source] for name, by_source in expected().items()}
    found = dict.fromkeys((said.name for said in SAID), "-") | outcomes(source, tmp_path, http_server, cells)
    assert found == cells


def test_every_value_is_said_and_stands_in_the_table() -> None:
    assert [said.name for said in SAID] == list(expected())
    assert [cell.strip() for cell in TABLE.strip("\n").splitlines()[0].split(" | ")] == ["", *SOURCES]
