"""PostgreSQL as source and destination, against a real server on this machine."""

from __future__ import annotations

import csv
import json
import random
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme

from connrunner.connectors import FetchResult, RunContext, SendResult, sql
from connrunner.connectors.sql import database_url, failure, postgres_read, sending
from connrunner.core.model import Format
from connrunner.databases import libpq
from connrunner.errors import RunError
from connrunner.text import database_urls
from tests.servers.postgres import PASSWORD, Proxy, Server, empty

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

AT = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)


@pytest.fixture
def server(postgres_server: Server) -> Server:
    return postgres_server


@pytest.fixture
def db(server: Server) -> Iterator[psycopg.Connection[Any]]:
    """An administrator's connection to an empty database."""
    with server.connect() as connection:
        empty(connection)
        yield connection


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "PAUSE", 0.01)


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.steps: list[tuple[str, int]] = []
        self.on_step: Callable[[int], None] = lambda done: None

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        self.steps.append((stage, done))
        self.on_step(done)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def context(tmp_path: Path, log: Log) -> RunContext:
    for name in ("workspace", "spool"):
        (tmp_path / name).mkdir()
    return RunContext(
        connection="crm",
        run=7,
        at=AT,
        workspace=tmp_path / "workspace",
        spool=tmp_path / "spool",
        programs=tmp_path / "programs",
        report=log,
    )


Fetch = Callable[..., FetchResult]
Send = Callable[..., SendResult]


@pytest.fixture
def fetch(server: Server, context: RunContext) -> Fetch:
    def fetch(mark: Any = None, **settings: Any) -> FetchResult:
        # A mark is kept as JSON between two runs.
        mark = json.loads(json.dumps(mark))
        return sql.fetch({"type": "sql", "url": server.url, **settings}, context, known=lambda *_: False, mark=mark)

    return fetch


@pytest.fixture
def send(server: Server, context: RunContext, tmp_path: Path) -> Send:
    def send(rows: Sequence[dict[str, Any] | str], **settings: Any) -> SendResult:
        settings = {"type": "sql", "url": server.url, "table": "people", "mode": "insert", **settings}
        assert sql.form(settings, Format()) == Format(type="jsonl", compression="none")
        sql.target(settings, context)
        local = tmp_path / "rows.jsonl"
        lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
        local.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return sql.deliver(settings, context, local)

    return send


def rows(fetched: FetchResult) -> list[dict[str, Any]]:
    """Return what the file holds, as its format says."""
    (file,) = fetched.files
    assert file.format is not None
    with Path(file.path).open(encoding="utf-8", newline="") as text:
        if file.format.type == "csv":
            return list(csv.DictReader(text))
        return [json.loads(line) for line in text]


def table(db: psycopg.Connection[Any], name: str = "people", order: str = "1") -> list[tuple[Any, ...]]:
    return db.execute(f"SELECT * FROM {name} ORDER BY {order}").fetchall()


# --- import: values ----------------------------------------------------------------------------------------------

TYPES = [
    # type, value, text
    ("text", "'Zoë, \"the\" one'", 'Zoë, "the" one'),
    ("text", r"E'two\nlines\r\n\tand \\ more'", "two\nlines\r\n\tand \\ more"),
    ("text", r"'\.'", r"\."),
    ("char(5)", "'ab'", "ab"),
    ("boolean", "true", "true"),
    ("boolean", "false", "false"),
    ("bigint", "-9223372036854775808", "-9223372036854775808"),
    ("numeric", "12345678901234567890.1234567890", "12345678901234567890.1234567890"),
    ("numeric(5,2)", "12.5", "12.50"),
    ("double precision", "1e20", "100000000000000000000"),
    ("double precision", "0.1", "0.1"),
    ("real", "1e-7", "0.0000001"),
    ("money", "1234.5", "1234.50"),
    ("date", "'2026-11-22'", "2026-11-22"),
    ("timestamptz", "'2026-11-22 10:15:00.25+01'", "2026-11-22T09:15:00.25Z"),
    ("timestamptz", "'2026-07-01 00:00:00-04'", "2026-07-01T04:00:00Z"),
    ("timestamptz", "'infinity'", "infinity"),
    ("timestamp", "'2026-11-22 10:15:00'", "2026-11-22 10:15:00"),
    ("time", "'10:15'", "10:15:00"),
    ("interval", "'1 day 02:00'", "P1DT2H"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("json", """'{"a":  [1]}'""", '{"a":  [1]}'),
    ("jsonb", """'{"a": [1]}'""", '{"a": [1]}'),
    ("inet", "'10.0.0.1'", "10.0.0.1"),
    ("mood", "'so-so'", "so-so"),
    ("short", "'abc'", "abc"),
    ("truth", "true", "true"),
    ("pair", "ROW(1, 'x,y')::pair", '{"a":1,"b":"x,y"}'),
    ("int4range", "'[1,5)'", "[1,5)"),
]
ARRAYS = [
    ("text[]", "ARRAY['film', 'a;b', NULL, '']", ["film", "a;b", None, ""]),
    ("text[]", "'{}'", []),
    ("text[]", "NULL", None),
    ("int[]", "'{1,2}'", ["1", "2"]),
    ("numeric[]", "'{12345678901234567890.5}'", ["12345678901234567890.5"]),
    ("boolean[]", "'{true,false}'", ["true", "false"]),
    ("timestamptz[]", "'{2026-11-22 10:15:00+01}'", ["2026-11-22T09:15:00+00:00"]),
]


def declare_types(db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE TYPE mood AS ENUM ('happy', 'so-so')")
    db.execute("CREATE DOMAIN short AS varchar(3)")
    db.execute("CREATE DOMAIN truth AS boolean")
    db.execute("CREATE TYPE pair AS (a int, b text)")


@pytest.mark.parametrize("more", [[], ARRAYS])
def test_types(more: list[Any], db: psycopg.Connection[Any], fetch: Fetch) -> None:
    declare_types(db)
    cases = [*TYPES, *more]
    db.execute(f"CREATE TABLE kinds ({', '.join(f'c{n} {case[0]}' for n, case in enumerate(cases))})")
    db.execute(f"INSERT INTO kinds VALUES ({', '.join(case[1] for case in cases)})")
    db.execute("INSERT INTO kinds DEFAULT VALUES")
    fetched = fetch(table="kinds")
    values, nothing = rows(fetched)
    assert list(values.values()) == [case[2] for case in cases]
    assert set(nothing.values()) == ({None} if more else {""})
    assert fetched.files[0].format == Format(type="jsonl" if more else "csv", compression="none")


def test_columns_of_numbers_are_named(db: psycopg.Connection[Any], fetch: Fetch) -> None:
    numbers = "1.50::numeric(5,2) AS a, 1::int8 AS b, 1::float4 AS c, '{2.0}'::numeric[] AS d"
    (file,) = fetch(query=f"SELECT {numbers}, '1.0'::text AS e, now() AS f, '{{x}}'::text[] AS g").files
    assert file.numbers == {"a", "b", "c", "d"}


def test_nothing_and_an_empty_text_stay_apart(db: psycopg.Connection[Any], fetch: Fetch) -> None:
    fetched = fetch(query="SELECT '' AS empty, NULL AS nothing, 'x' AS x")
    assert Path(fetched.files[0].path).read_text() == 'empty,nothing,x\n"",,x\n'


def test_bytes_are_refused(db: psycopg.Connection[Any], fetch: Fetch) -> None:
    db.execute("CREATE TABLE people (id int, photo bytea, more bytea[])")
    with pytest.raises(RunError, match=r"column .photo. of people of crm at .* holds bytes") as caught:
        fetch(table="people")
    assert caught.value.code == "binary-column"
    with pytest.raises(RunError, match="column 'more' of the query"):
        fetch(query="SELECT more FROM people")
    assert fetch(query="SELECT encode(photo, 'base64') FROM people").files == ()


def test_facts_of_the_file(db: psycopg.Connection[Any], fetch: Fetch, log: Log) -> None:
    db.execute("CREATE TABLE people AS SELECT n AS id FROM generate_series(1, 25000) n")
    (file,) = fetch(table="public.people").files
    assert (file.name, file.modified, file.once) == ("public.people", "2026-11-22T09:15:00Z", False)
    assert file.size == Path(file.path).stat().st_size
    assert log.steps == [("reading", 10000), ("reading", 20000), ("reading", 25000)]
    assert log.texts == ["info: 25,000 rows of public.people"]
    assert fetch(query="SELECT 1 AS id").files[0].name == "the query"


def test_an_empty_table_is_no_file(db: psycopg.Connection[Any], fetch: Fetch) -> None:
    db.execute("CREATE TABLE people (id int, tags text[])")
    assert fetch(table="people") == FetchResult(files=(), mark=None)
    assert fetch(query="SELECT id FROM people", watermark={"column": "id"}) == FetchResult(files=(), mark=None)


HOSTILE = ['a"b', "c,d", "e%sf", "g\nh", "{x}", "$do$", "'; DROP TABLE people; --", "row", "given", "x", "ÄÖ", " "]
HOSTILE_TABLE = 'odd.na"me; --'
SPELT = '"odd.na""me; --"'


def test_hostile_names_come_through(db: psycopg.Connection[Any], fetch: Fetch, send: Send) -> None:
    columns = [psycopg.sql.Identifier(name) for name in HOSTILE]
    name = psycopg.sql.Identifier(HOSTILE_TABLE)
    kinds = psycopg.sql.SQL(", ").join(psycopg.sql.SQL("{} int").format(column) for column in columns)
    db.execute(psycopg.sql.SQL("CREATE TABLE {} ({}, UNIQUE ({}, {}))").format(name, kinds, columns[0], columns[8]))
    row = dict(zip(HOSTILE, map(str, range(12)), strict=True))
    for mode in ("insert", "upsert", "replace"):
        key = {"unique": [HOSTILE[0], HOSTILE[8]]} if mode == "upsert" else {}
        done = send([row, {**row, 'a"b': "x"}], table=SPELT, mode=mode, **key)
        assert [(one.row, one.code) for one in done.refused] == [(1, "wrong-type")]
        assert done.refused[0].message == 'a"b: invalid input syntax for type integer: "…"'
    fetched = fetch(table=SPELT, watermark={"column": "'; DROP TABLE people; --"})
    assert rows(fetched) == [row]
    assert fetched.files[0].name == SPELT
    assert rows(fetch(fetched.mark, table=SPELT, watermark={"column": "'; DROP TABLE people; --"})) == [row]


# --- import: queries that are none -------------------------------------------------------------------------------

QUERIES = [
    ("DELETE FROM people RETURNING id", "bad-query", "the query of crm at .* is not a SELECT; an import may only read"),
    ("WITH gone AS (DELETE FROM people RETURNING id) SELECT id FROM gone", "bad-query", "data-modifying statement"),
    ("SELECT id FROM people; DELETE FROM people", "bad-query", "cannot insert multiple commands"),
    ("SELECT 1 AS id) AS origin; DELETE FROM people; --", "bad-query", "syntax error"),
    ("SELECT 1 AS id) AS origin; COMMIT; DELETE FROM people; SELECT (2", "bad-query", "syntax error"),
    ("SELECT kill_all() AS id", "read-only", "cannot execute DELETE in a read-only transaction; an import may only"),
    ("SELECT nextval('numbers') AS id", "read-only", "cannot execute nextval"),
    ("SELECT id FROM people FOR UPDATE", "read-only", "cannot execute SELECT FOR UPDATE"),
    ("SELEC 1", "bad-query", 'syntax error at or near "SELEC"'),
    ("SELECT id FROM poeple", "missing-table", 'relation "poeple" does not exist'),
    ("SELECT idd FROM people", "missing-column", 'column "idd" does not exist. Perhaps you meant'),
    ("SELECT id, id FROM people", "duplicate-column", "the query of crm at .* has 2 columns called 'id'"),
    ("SELECT FROM people", "missing-column", "has no columns"),
    ("SELECT $1", "bad-query", "requires 1"),
    ("SELECT 1 / (id - 1) AS x FROM people", "refused", "division by zero"),
    ("SELECT id FROM other.secrets", "missing-table", "does not exist"),
    ("SELECT id FROM mine", "not-permitted", "permission denied for table mine; grant it"),
    ("SELECT pg_sleep(3)::text AS id", "timeout", "statement timeout; raise `statement_timeout`"),
]


@pytest.mark.parametrize(("query", "code", "text"), QUERIES)
def test_queries_that_fail(query: str, code: str, text: str, db: psycopg.Connection[Any], fetch: Fetch) -> None:
    db.execute("CREATE TABLE people (id int)")
    db.execute("INSERT INTO people VALUES (1)")
    db.execute("CREATE SEQUENCE numbers")
    db.execute("CREATE FUNCTION kill_all() RETURNS int LANGUAGE sql AS 'DELETE FROM people RETURNING id'")
    db.execute("RESET ROLE")
    db.execute("CREATE TABLE mine (id int)")
    with pytest.raises(RunError, match=text) as caught:
        fetch(query=query, statement_timeout="1s")
    assert (caught.value.code, caught.value.waiting_helps) == (code, False)
    assert "crm at" in caught.value.message
    assert table(db) == [(1,)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 100 % 30 AS ten -- a comment",
        "SELECT 10 AS ten;\n ",
        "WITH a AS (SELECT 10 AS ten) SELECT ten FROM a",
        "VALUES (10)",
        "SELECT 10 AS ten WHERE 'a:b %s {x}' <> ''",
    ],
)
def test_queries_of_many_kinds(query: str, db: psycopg.Connection[Any], fetch: Fetch) -> None:
    assert list(rows(fetch(query=query))[0].values()) == ["10"]


TABLES = [
    ({"table": "poeple"}, "missing-table", "crm at .* has no table 'poeple'; did you mean 'people'"),
    ({"table": "People"}, "missing-table", "did you mean 'people'"),
    ({"table": "public.poeple"}, "missing-table", "has no table 'public.poeple'; did you mean 'public.people'"),
    ({"table": "zzzzz"}, "missing-table", "its tables: .*people"),
    ({"table": "a.b.c"}, "bad-table", "'a.b.c' is not the name of a table"),
    ({"table": "people", "watermark": {"column": "Id"}}, "missing-column", "no column 'Id' for `watermark`; did you"),
    ({"table": "people", "query": "SELECT 1"}, "bad-settings", "needs `table` or `query`"),
    ({}, "bad-settings", "needs `table` or `query`"),
    ({"table": "people", "watermark": {"column": "id", "overlap": "5m"}}, "bad-watermark", "whole number like 1000"),
    ({"table": "people", "watermark": {"column": "born", "overlap": 5}}, "bad-watermark", "a duration like 15m"),
    ({"table": "people", "watermark": {"column": "name", "overlap": 5}}, "bad-watermark", "'name' of people; write 0"),
]


@pytest.mark.parametrize(("settings", "code", "text"), TABLES)
def test_tables_that_fail(
    settings: dict[str, Any], code: str, text: str, db: psycopg.Connection[Any], fetch: Fetch
) -> None:
    db.execute("CREATE TABLE people (id int, born date, name text)")
    with pytest.raises(RunError, match=text) as caught:
        fetch(**settings)
    assert caught.value.code == code


# --- import: the watermark ---------------------------------------------------------------------------------------


def names(fetched: FetchResult) -> list[str]:
    return [row["name"] for row in rows(fetched)] if fetched.files else []


def test_a_watermark_of_time(db: psycopg.Connection[Any], fetch: Fetch) -> None:
    db.execute("CREATE TABLE people (name text, changed timestamptz)")
    add = "INSERT INTO people VALUES (%s, %s)"
    settings = {"table": "people", "watermark": {"column": "changed", "overlap": "15m"}}
    db.execute(add, ("newer", "2026-11-22 10:00Z"))
    db.execute(add, ("older", "2026-11-21 10:00Z"))
    db.execute(add, ("without", None))
    first = fetch(**settings)
    assert names(first) == ["without", "older", "newer"]  # the newest last: it wins
    assert (first.mark["value"], first.mark["type"]) == ("2026-11-22 10:00:00+00", "timestamp with time zone")
    assert first.files[0].once

    db.execute(add, ("tie", "2026-11-22 10:00Z"))
    db.execute(add, ("late commit", "2026-11-22 09:50Z"))
    db.execute(add, ("too late", "2026-11-22 09:44Z"))
    db.execute(add, ("new", "2026-11-22 10:00:00.000001Z"))
    second = fetch(first.mark, **settings)
    assert names(second) == ["without", "late commit", "newer", "tie", "new"]
    assert second.mark["value"] == "2026-11-22 10:00:00.000001+00"

    db.execute("DELETE FROM people WHERE changed > '2026-11-21 12:00Z' OR changed IS NULL")
    third = fetch(second.mark, **settings)
    assert (third.files, third.mark) == ((), second.mark)  # never backwards


def test_a_value_in_the_future_does_not_move_the_mark_there(db: psycopg.Connection[Any], fetch: Fetch) -> None:
    db.execute("CREATE TABLE people (name text, changed timestamptz, day date, plain timestamp)")
    db.execute(
        "INSERT INTO people VALUES ('now', now(), now(), now()), ('future', '2999-01-01', '2999-01-01', 'infinity')"
    )
    for column in ("changed", "day", "plain"):
        fetched = fetch(table="people", watermark={"column": column})
        assert datetime.fromisoformat(fetched.mark["value"]).year < 2999
        db.execute("INSERT INTO people VALUES ('next', now(), now(), now())")
        assert "next" in names(fetch(fetched.mark, table="people", watermark={"column": column}))
        db.execute("DELETE FROM people WHERE name = 'next'")


MARKS = [
    # type, values in order, overlap, what a second run reads, the mark
    ("int", [1, 5000, 6000], None, ["5000", "6000"], "6000"),
    ("bigint", [1, 2**62, 2**63 - 1], 0, ["9223372036854775807"], "9223372036854775807"),
    ("numeric", ["1.5", "2000.5", "2000.75"], None, ["2000.5", "2000.75"], "2000.75"),
    ("numeric", ["1.5", "NaN"], None, ["1.5", "NaN"], None),
    ("double precision", [1, 2000.5], 1, ["2000.5"], "2000.5"),
    ("date", ["2026-11-20", "2026-11-21", "2026-11-22"], None, ["2026-11-21", "2026-11-22"], "2026-11-22"),
    ("date", ["2026-11-21", "2026-11-22"], "0s", ["2026-11-22"], "2026-11-22"),
    ("text", ["a", "b", 'B,\n"c"'], None, None, None),
    ("uuid", ["00000000-0000-0000-0000-000000000001"] * 2, 0, ["00000000-0000-0000-0000-000000000001"] * 2, None),
]


@pytest.mark.parametrize("tags", [False, True])
@pytest.mark.parametrize(("kind", "values", "overlap", "again", "mark"), MARKS)
def test_marks_of_other_types(
    kind: str,
    values: list[Any],
    overlap: Any,
    again: list[str] | None,
    mark: str | None,
    tags: bool,
    db: psycopg.Connection[Any],
    fetch: Fetch,
) -> None:
    db.execute(f"CREATE TABLE people (name {kind}{', tags text[]' if tags else ''})")
    for value in values:
        db.execute("INSERT INTO people (name) VALUES (%s)", (value,))
    watermark = {"column": "name"} | ({} if overlap is None else {"overlap": overlap})
    first = fetch(query="SELECT * FROM people", watermark=watermark)
    assert len(rows(first)) == len(values)
    if mark:
        assert first.mark["value"] == mark
    second = names(fetch(first.mark, query="SELECT * FROM people", watermark=watermark))
    assert second == (again if again is not None else names(first)[-1:])


def test_another_query_begins_anew(db: psycopg.Connection[Any], fetch: Fetch, log: Log) -> None:
    db.execute("CREATE TABLE people AS SELECT n AS id, n AS name FROM generate_series(1, 5000) n")
    first = fetch(table="people", watermark={"column": "id"})
    assert len(names(fetch(first.mark, table="people", watermark={"column": "id"}))) == 1001
    for settings in (
        {"table": "people", "watermark": {"column": "name"}},
        {"query": "SELECT * FROM people", "watermark": {"column": "id"}},
        {"table": "public.people", "watermark": {"column": "id"}},
    ):
        assert len(names(fetch(first.mark, **settings))) == 5000
    assert "another than in the last run: all rows are read" in log.texts[-2]
    assert len(names(fetch(first.mark, table="people"))) == 5000
    assert len(names(fetch({"of": "something else"}, table="people", watermark={"column": "id"}))) == 5000


# --- export ------------------------------------------------------------------------------------------------------

ANN = {"id": "1", "email": "ann@example.com", "age": "41"}
BOB = {"id": "2", "email": "bob@example.com", "age": None}
PEOPLE = "CREATE TABLE people (id int PRIMARY KEY, email varchar(20) UNIQUE, age int CHECK (age < 150))"


def test_insert_upsert_replace(db: psycopg.Connection[Any], send: Send) -> None:
    db.execute(PEOPLE)
    assert send([ANN, BOB]).where.startswith("people of crm at /")
    assert table(db) == [(1, "ann@example.com", 41), (2, "bob@example.com", None)]

    older = {**ANN, "age": "42"}
    upsert = {"mode": "upsert", "unique": ["id"]}
    assert send([older, {**BOB, "id": "3", "email": "c"}], **upsert).refused == ()
    assert table(db) == [(1, "ann@example.com", 42), (2, "bob@example.com", None), (3, "c", None)]
    assert send([{"email": "c", "id": "4"}], mode="upsert", unique=["email"]).refused == ()
    assert table(db)[2] == (4, "c", None)

    assert send([BOB], mode="replace").refused == ()
    assert table(db) == [(2, "bob@example.com", None)]
    assert send([], mode="upsert", unique=["id"]).refused == ()
    assert send([]).refused == ()
    assert table(db) == [(2, "bob@example.com", None)]
    assert send([], mode="replace").refused == ()
    assert table(db) == []


def test_the_same_run_twice(db: psycopg.Connection[Any], send: Send) -> None:
    db.execute(PEOPLE)
    for _ in range(2):
        assert send([ANN, BOB], mode="upsert", unique=["id"], batch=1).refused == ()
        assert len(table(db)) == 2
    for _ in range(2):
        assert send([ANN, BOB], mode="replace", batch=1).refused == ()
        assert len(table(db)) == 2
    again = send([ANN, BOB])
    assert [(one.row, one.code) for one in again.refused] == [(0, "duplicate-key"), (1, "duplicate-key")]


def test_a_key_that_comes_twice_the_first_one_counts(db: psycopg.Connection[Any], send: Send) -> None:
    db.execute(PEOPLE)
    done = send([ANN, BOB, {**ANN, "age": "50"}], mode="upsert", unique=["id"])
    assert [(one.row, one.code) for one in done.refused] == [(2, "duplicate-key")]
    assert table(db)[0] == (1, "ann@example.com", 41)


KEYS = [
    # the key's column, the keys that come, those that arrive
    ("text", ["k1", "K1"], ["K1", "k1"]),
    ('text COLLATE "anycase"', ["k1", "K1", "k2", "K1"], ["k1", "k2"]),
    ("char(3)", ["a", "b", "a "], ["a  ", "b  "]),
    ("int", ["1", " 1", "2"], [1, 2]),
    ("uuid", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"], None),
]


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize(
    "batch", [2, pytest.param(1, marks=pytest.mark.thorough), pytest.param(100, marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize(("kind", "given", "arrived"), KEYS)
def test_a_row_does_not_overwrite_another_one_of_the_run(
    kind: str,
    given: list[str],
    arrived: list[Any] | None,
    batch: int,
    spoilt: bool,
    db: psycopg.Connection[Any],
    send: Send,
) -> None:
    collation = (
        "CREATE COLLATION IF NOT EXISTS anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    if "anycase" in kind:
        try:
            db.execute(collation)
        except psycopg.Error:
            pytest.skip("this PostgreSQL knows no ICU")
    db.execute(f"CREATE TABLE people (k {kind} PRIMARY KEY, n int)")
    lines: list[dict[str, Any] | str] = [{"k": key, "n": str(n)} for n, key in enumerate(given)]
    if spoilt:  # one refused row, so that all come one by one
        lines.append({"k": given[0], "n": "none"})
    for _ in range(2):
        done = send(lines, mode="upsert", unique=["k"], batch=batch)
        codes = [one.code for one in done.refused]
        expected = len(arrived) if arrived is not None else 1
        assert codes.count("wrong-type") == spoilt
        assert len(codes) - spoilt == len(given) - expected
        there = table(db)
        assert len(there) == expected
        if arrived is not None:
            assert [row[0] for row in there] == arrived
        assert min(row[1] for row in there) == 0, "the first one of each key is there"


def test_keys_are_remembered_on_another_connection(db: psycopg.Connection[Any], send: Send, log: Log) -> None:
    db.execute("CREATE TABLE people (k int PRIMARY KEY, n int)")
    broken: list[int] = []

    def cut(_: int) -> None:
        if not broken:
            broken.append(1)
            db.execute("RESET ROLE")
            db.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE application_name = 'connrunner' AND pid <> pg_backend_pid()"
            )

    log.on_step = cut
    given = [("1", "0"), ("x", "1"), ("2", "2"), ("1", "3"), ("2", "4"), ("3", "5")]
    done = send([{"k": key, "n": n} for key, n in given], mode="upsert", unique=["k"], batch=3)
    assert broken
    assert [(one.row, one.code) for one in done.refused] == [
        (1, "wrong-type"),
        (3, "duplicate-key"),
        (4, "duplicate-key"),
    ]
    assert table(db) == [(1, 0), (2, 2), (3, 5)]


BENT: list[tuple[str, Any]] = [
    # type of the column, a value that PostgreSQL would keep as another one
    ("numeric(10,2)", "12.505"),
    ("numeric(10,0)", "12.5"),
    ("cents", "12.505"),
    ("real", "16777217"),
    ("real", "0.100000001"),
    ("double precision", "9007199254740993"),
    ("double precision", "0.1000000000000000055"),
    ("money", "12.345"),
    ("int", "007"),
    ("numeric", "1e3"),
    ("numeric", "+5"),
    ("varchar(3)", "abc  "),
    ("char(3)", "ab "),
    ("short", "abc "),
    ("name", "x" * 64),
    ('"char"', "xy"),
    ("timestamptz(0)", "2026-11-22T09:15:00.5Z"),
    ("timestamptz(3)", "2026-11-22T09:15:00.0005Z"),
    ("timestamptz", "2026-11-22T09:15:00.1234567Z"),
    ("timestamptz", "now"),
    ("timestamp", "2026-11-22T09:15:00+01:00"),
    ("timestamp(0)", "2026-11-22T09:15:00.5Z"),
    ("date", "2026-11-22T09:15:00Z"),
    ("date", "today"),
    ("time", "09:15:00+02"),
    ("time(0)", "09:15:00.5"),
    ("interval(0)", "1.5 seconds"),
    ("numeric(10,2)[]", ["1.5", "12.505"]),
    ("real[]", ["0.1", "16777217"]),
    ("varchar(3)[]", ["abc  "]),
    ("date[]", ["2026-11-22T09:15:00Z"]),
    ("text", ["a;b", "c"]),
]


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("mode", ["insert", "upsert", pytest.param("replace", marks=pytest.mark.thorough)])
def test_a_value_that_would_be_another_one_is_refused(
    mode: str, spoilt: bool, db: psycopg.Connection[Any], send: Send
) -> None:
    declare_types(db)
    db.execute("CREATE DOMAIN cents AS numeric(10,2)")
    db.execute(f"CREATE TABLE people (k int PRIMARY KEY, {', '.join(f'c{n} {k}' for n, (k, _) in enumerate(BENT))})")
    nothing = {f"c{n}": None for n in range(len(BENT))}
    wrong = [{"k": str(n + 1), **nothing, f"c{n}": value} for n, (_, value) in enumerate(BENT)]
    more = [{"k": "x", **nothing}] if spoilt else []
    done = send([*wrong, {"k": "0", **nothing}, *more], mode=mode, **({"unique": ["k"]} if mode == "upsert" else {}))
    assert [one.row for one in done.refused] == [*range(len(BENT)), *([len(BENT) + 1] if spoilt else [])]
    told = {one.row: (one.code, one.message.partition(":")[0]) for one in done.refused}
    for n in range(len(BENT) - 1):
        assert told[n] == ("would-change", f"c{n}")
    assert told[len(BENT) - 1][0] == "unwritable-format"
    assert [row[0] for row in table(db)] == [0]


def test_only_the_key(db: psycopg.Connection[Any], send: Send) -> None:
    db.execute("CREATE TABLE people (id int PRIMARY KEY)")
    for _ in range(2):
        assert send([{"id": "1"}, {"id": "2"}], mode="upsert", unique=["id"]).refused == ()
    assert table(db) == [(1,), (2,)]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # what is wrong with the row, code, message
    ({"age": "forty"}, "wrong-type", 'age: invalid input syntax for type integer: "…"'),
    ({"age": "12.50"}, "wrong-type", 'age: invalid input syntax for type integer: "…"'),
    ({"age": "99999999999"}, "out-of-range", 'age: value "…" is out of range for type integer'),
    ({"age": "150"}, "check-failed", 'new row for relation "people" violates check constraint "people_age_check"'),
    ({"email": "x" * 21}, "too-long", "email: value too long for type character varying(20)"),
    ({"email": "taken"}, "duplicate-key", 'duplicate key value violates unique constraint "people_email_key"'),
    ({"id": None}, "missing-value", "null value in column"),
    ({"country": "XX"}, "missing-reference", "violates foreign key constraint"),
    ({"late": "9"}, "missing-reference", "violates foreign key constraint"),  # checked at COMMIT by itself
    ({"mood": "angry"}, "wrong-type", 'mood: invalid input value for enum mood: "…"'),
    ({"born": "2026-02-30"}, "out-of-range", 'born: date/time field value out of range: "…"'),
    ({"facts": "{"}, "wrong-type", "facts: invalid input syntax for type json"),
    ({"tags": ["a", "b", "c", "d"]}, "check-failed", "people_tags_check"),
    ({"numbers": ["1", "x"]}, "wrong-type", 'invalid input syntax for type integer: "…"'),
    ({"nick": "abcd"}, "too-long", "nick: value too long for type character varying(3)"),
    ({"email": "trouble"}, "refused-by-trigger", "no …, please"),
    ({"email": "own"}, "refused", "with a state of its …"),  # a word of the row, which no message repeats
    ({"email": "nul\u0000"}, "bad-value", "unsupported Unicode escape sequence|\\\\u0000"),
    ({"id": "777"}, "not-permitted", "violates row-level security policy"),
]
WIDE = """
    CREATE TABLE countries (code text PRIMARY KEY);
    INSERT INTO countries VALUES ('NL'), ('9x');
    CREATE TABLE people (
        id int PRIMARY KEY, email varchar(20) UNIQUE, age int CHECK (age < 150), country text REFERENCES countries,
        mood mood, born date, facts jsonb, tags text[] CHECK (cardinality(tags) < 4), numbers int[], nick short,
        late text REFERENCES countries DEFERRABLE INITIALLY DEFERRED);
    CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.email = 'trouble' THEN RAISE EXCEPTION 'no trouble, please'; END IF;
        IF NEW.email = 'own' THEN RAISE EXCEPTION 'with a state of its own' USING ERRCODE = 'ZZ001'; END IF;
        RETURN NEW; END $$;
    CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION guard();
    ALTER TABLE people ENABLE ROW LEVEL SECURITY;
    ALTER TABLE people FORCE ROW LEVEL SECURITY;
    CREATE POLICY all_but_one ON people USING (true) WITH CHECK (id IS DISTINCT FROM 777);
    INSERT INTO people (id, email) VALUES (1000, 'taken');
"""
GOOD = {
    "email": None,
    "age": "41",
    "country": "NL",
    "mood": "happy",
    "born": "2026-02-28",
    "facts": '{"a": 1}',
    "tags": ["x", "y"],
    "numbers": ["1"],
    "nick": "abc",
    "late": "NL",
}


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_a_refused_row_does_not_sink_the_others(mode: str, db: psycopg.Connection[Any], send: Send) -> None:
    declare_types(db)
    db.execute(WIDE)
    bad = [{"id": str(2 * place), **GOOD, **wrong} for place, (wrong, _, _) in enumerate(REFUSED)]
    good = [{"id": str(2 * place + 1), **GOOD} for place in range(len(bad))]
    mixed = [row for pair in zip(bad, good, strict=True) for row in pair]
    key = {"unique": ["id"]} if mode == "upsert" else {}
    done = send(mixed, mode=mode, batch=7, **key)
    expected = [(2 * place, code) for place, (_, code, _) in enumerate(REFUSED)]
    if mode == "replace":
        expected.remove((10, "duplicate-key"))  # the one that had it is gone
    assert [(one.row, one.code) for one in done.refused] == expected
    for one in done.refused:
        text = REFUSED[one.row // 2][2]
        assert text in one.message or any(part in one.message for part in text.split("|")) or "no value" in one.message
    assert db.execute("SELECT count(*) FROM people WHERE id % 2 = 1").fetchone() == (len(good),)
    assert db.execute("SELECT tags, numbers, facts FROM people WHERE id = 1").fetchone() == (["x", "y"], [1], {"a": 1})


VALUES = [
    # type of the column, value in the file, what is there
    ("text", "", ""),
    ("text", None, None),
    ("text", ["a", 'b"'], 'a;b"'),
    ("text", "line\nbreak\x7f\u2028", "line\nbreak\x7f\u2028"),
    ("boolean", "true", True),
    ("boolean", "1", True),
    ("numeric(10,2)", "12.5", "12.50"),
    ("numeric(10,2)", "12.500", "12.50"),
    ("real", "0.1", "0.1"),
    ("double precision", "0.1", "0.1"),
    ("double precision", "NaN", "NaN"),
    ("timestamptz(3)", "2026-11-22T09:15:00.123Z", "2026-11-22 04:15:00.123-05"),
    ("date", "2026-11-22T00:00:00Z", "2026-11-22"),
    ("numeric", "99999999999999999999.123456789", "99999999999999999999.123456789"),
    ("timestamptz", "2026-11-22T09:15:00.5Z", "2026-11-22 04:15:00.5-05"),
    ("timestamp", "2026-11-22T09:15:00Z", "2026-11-22 09:15:00"),
    ("date", "2026-11-22", "2026-11-22"),
    ("text[]", ["a", None, "b,c"], ["a", None, "b,c"]),
    ("text[]", [], []),
    ("text[]", None, None),
    ("text[]", "single", ["single"]),
    ("int[]", ["1", "2"], [1, 2]),
    ("jsonb", ["a"], ["a"]),
    ("jsonb", '{"a": [1]}', {"a": [1]}),
    ("char(3)", "ab", "ab "),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bit(3)", "101", "101"),
    ('"char"', "x", "x"),
    ("citizen", "abc", "abc"),
]


def test_values_get_the_types_of_their_columns(db: psycopg.Connection[Any], send: Send) -> None:
    declare_types(db)
    db.execute("CREATE DOMAIN citizen AS short CHECK (VALUE <> 'x')")
    db.execute(f"CREATE TABLE people ({', '.join(f'c{n} {case[0]}' for n, case in enumerate(VALUES))})")
    assert send([{f"c{n}": case[1] for n, case in enumerate(VALUES)}]).refused == ()
    as_is = ("bool", "text[]", "int[]", "jsonb")
    columns = [f"c{n}" if case[0].startswith(as_is) else f"c{n}::text" for n, case in enumerate(VALUES)]
    db.execute("SET timezone = 'America/New_York'")
    db.execute("SET datestyle = 'ISO'")
    found = db.execute(f"SELECT {', '.join(columns)} FROM people").fetchone()
    wanted = [case[2] for case in VALUES]
    wanted[24] = "ab"  # a cast to text takes the blanks away
    assert list(found or ()) == wanted


def test_many_refused_rows_are_found_on_the_server(db: psycopg.Connection[Any], send: Send) -> None:
    db.execute(PEOPLE)
    many = [{"id": str(n), "email": None, "age": "200" if n % 2 else "20"} for n in range(5_000)]
    done = send(many, mode="upsert", unique=["id"], batch=2_500)
    assert len(done.refused) == 2_500
    assert [one.row for one in done.refused] == list(range(1, 5_000, 2))
    assert db.execute("SELECT count(*) FROM people").fetchone() == (2_500,)


def test_too_many_refused_rows_end_the_run(
    db: psycopg.Connection[Any], send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute(PEOPLE)
    monkeypatch.setattr(sending, "MOST_REFUSED", 10)
    with pytest.raises(RunError, match=r"refused more than 10 rows, the last one thus: age: invalid input") as caught:
        send([{"id": str(n), "age": "x"} for n in range(20)], batch=5)
    assert caught.value.code == "too-many-refused"


def test_a_replacement_of_which_nothing_is_left(db: psycopg.Connection[Any], send: Send) -> None:
    db.execute(PEOPLE)
    send([ANN])
    with pytest.raises(
        RunError, match="refused all 2 rows, so table people stays as it was; the first one: age"
    ) as caught:
        send([{**BOB, "age": "x"}, {**BOB, "age": "y"}], mode="replace")
    assert caught.value.code == "all-refused"
    assert len(table(db)) == 1


def test_a_row_without_a_key(db: psycopg.Connection[Any], send: Send) -> None:
    db.execute(PEOPLE)
    lines = [{"id": "1", "email": None}, {"id": "2", "email": "b"}, {"id": "x", "email": "c"}]
    done = send(lines, mode="upsert", unique=["email"])
    assert [(one.row, one.code) for one in done.refused] == [(0, "missing-value"), (2, "wrong-type")]
    assert "no value in what should be unique (email)" in done.refused[0].message
    assert table(db) == [(2, "b", None)]


WRONG = [
    ({"table": "poeple"}, "missing-table", "did you mean 'people'"),
    (
        {"mode": "upsert", "unique": ["age"]},
        "no-unique-key",
        r"columns of `unique` \(age\) are not unique in table people of crm at .*; choose id or email, or make",
    ),
    ({"mode": "upsert", "unique": ["Id"]}, "missing-column", "has no column 'Id'; did you mean 'id'"),
    ({"mode": "upsert", "unique": ["id", "email"]}, "no-unique-key", "make a unique index on exactly these columns"),
    ({"mode": "upsert"}, "bad-settings", "`mode: upsert` needs `unique`"),
    ({"mode": "insert", "unique": ["id"]}, "bad-settings", "`mode: insert` has no use for `unique`"),
    (
        {"rows": [{"emial": "x"}]},
        "missing-column",
        "table people of crm at .* has no column 'emial'; did you mean 'email'",
    ),
    ({"rows": [{"email": "x"}], "mode": "upsert", "unique": ["id"]}, "missing-column", "the rows have no column 'id'"),
    ({"rows": [{"made": "1"}]}, "bad-query", 'cannot insert a non-DEFAULT value into column "made"'),
]


@pytest.mark.parametrize(("settings", "code", "text"), WRONG)
def test_exports_that_cannot_be(
    settings: dict[str, Any], code: str, text: str, db: psycopg.Connection[Any], send: Send
) -> None:
    db.execute(PEOPLE)
    db.execute("ALTER TABLE people ADD COLUMN made int GENERATED ALWAYS AS (1) STORED")
    with pytest.raises(RunError, match=text) as caught:
        send(settings.get("rows", [ANN]), **{name: value for name, value in settings.items() if name != "rows"})
    assert (caught.value.code, caught.value.waiting_helps) == (code, False)


def test_rights_are_looked_at_first(db: psycopg.Connection[Any], send: Send, server: Server) -> None:
    db.execute(PEOPLE)
    reader = server.url.replace("owner@", "reader@")
    with pytest.raises(RunError, match=r"user 'reader' may not INSERT in table public.people of crm") as caught:
        send([ANN], url=reader)
    assert caught.value.code == "not-permitted"
    db.execute("GRANT INSERT, SELECT ON people TO reader")
    with pytest.raises(RunError, match="may not UPDATE"):
        send([ANN], url=reader, mode="upsert", unique=["id"])
    with pytest.raises(RunError, match="may not DELETE"):
        send([ANN], url=reader, mode="replace")
    assert send([ANN], url=reader).refused == ()
    db.execute("REVOKE TEMPORARY ON DATABASE crm FROM public")
    with pytest.raises(RunError, match="may not make temporary tables"):
        send([BOB], url=reader)
    db.execute("GRANT TEMPORARY ON DATABASE crm TO public")


def test_there_and_back(db: psycopg.Connection[Any], send: Send, fetch: Fetch) -> None:
    """What an import writes, an export of the same rows brings back unchanged."""
    columns = "id int PRIMARY KEY, a text, b numeric, c timestamptz, d boolean, e jsonb, f text[], g double precision"
    db.execute(f"CREATE TABLE people ({columns})")
    db.execute(f"CREATE TABLE copies ({columns})")
    rng = random.Random(1)
    for n in range(200):
        text = "".join(rng.choice("aß\"'\\,;\n\t{}€𝄞 ") for _ in range(rng.randrange(8)))
        values = (
            n,
            text,
            rng.random(),
            AT,
            n % 2 == 0,
            json.dumps({"x": text}),
            [text, None],
            rng.uniform(-1e30, 1e30),
        )
        db.execute("INSERT INTO people VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", values)
    assert send(rows(fetch(table="people")), table="copies", batch=30).refused == ()
    assert table(db, "copies") == table(db, "people")


# --- the way there -----------------------------------------------------------------------------------------------


def reached(server: Server, **parts: Any) -> dict[str, Any]:
    where = {"user": "owner", "host": "127.0.0.1", "port": server.port, "db": "crm", "query": "", **parts}
    url = "postgresql://{user}@{host}:{port}/{db}{query}".format(**where)
    return {"url": url, "password": parts.get("password", PASSWORD)}


UNREACHABLE: list[tuple[dict[str, Any], str, str, bool]] = [
    (
        {"password": "wrong horse battery"},
        "wrong-credentials",
        'password authentication failed for user "owner"',
        False,
    ),
    ({"password": None}, "wrong-credentials", "no password supplied", False),
    (
        {"user": "nobody"},
        "wrong-credentials",
        "cannot connect to crm at 127.0.0.1:PORT: .*authentication failed",
        False,
    ),
    ({"db": "crn"}, "missing-database", 'database "crn" does not exist; correct the name of the database', False),
    ({"port": 1}, "unreachable", "cannot connect to crm at 127.0.0.1:1: .*refused; see that host and port", True),
    ({"host": "nowhere.invalid"}, "unreachable", "at nowhere.invalid:PORT: .*; correct the name of the host", True),
    ({"query": "?host=/nowhere"}, "unreachable", "cannot connect to crm at /nowhere:PORT: .*No such file", True),
    ({"query": "?password=hidden-horse"}, "password-in-url", "`url` holds a password; take it out and write", False),
    ({"user": "owner:hidden-horse"}, "password-in-url", "`url` holds a password", False),
    ({"query": "?passfile=/x"}, "bad-url", "`url` sets passfile; it may set application_name", False),
    ({"port": "hidden-horse"}, "bad-url", "`url` is not the URL of a PostgreSQL database; write it like", False),
]


@pytest.mark.parametrize(("parts", "code", "text", "waits"), UNREACHABLE)
def test_unreachable(
    parts: dict[str, Any],
    code: str,
    text: str,
    waits: bool,
    server: Server,
    db: psycopg.Connection[Any],
    fetch: Fetch,
    send: Send,
    log: Log,
) -> None:
    db.execute(PEOPLE)
    for work in (lambda **more: fetch(table="people", **more), lambda **more: send([ANN], **more)):
        log.texts.clear()
        with pytest.raises(RunError, match=text.replace("PORT", str(server.port))) as caught:
            work(**reached(server, **parts))
        assert (caught.value.code, caught.value.waiting_helps) == (code, waits)
        assert len(log.texts) == (failure.TRIES if waits else 0)
        assert "horse" not in str(caught.value) + "".join(log.texts)


def test_by_password(server: Server, db: psycopg.Connection[Any], fetch: Fetch, send: Send) -> None:
    db.execute(PEOPLE)
    assert send([ANN], **reached(server)).where == f"people of crm at 127.0.0.1:{server.port}"
    assert rows(fetch(table="people", **reached(server)))[0]["id"] == "1"
    elsewhere = {**reached(server, user="nobody"), "username": "owner"}
    assert rows(fetch(table="people", **elsewhere))[0]["id"] == "1"


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat this machine as another one."""
    for module in (libpq, database_urls):
        monkeypatch.setattr(module, "is_database_here", lambda host: False)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


class Trust:
    """A server with a certificate for localhost, and files with authorities."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "authority.pem")
        trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self.proxy = Proxy(server.port, context)


@pytest.fixture(scope="module")
def trust(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trust]:
    trust = Trust(postgres_server, tmp_path_factory.mktemp("trust"))
    yield trust
    trust.proxy.close()


TRUST = [
    # host, what the URL adds, code; no code when it works
    ("localhost", "?sslrootcert={folder}/authority.pem", ""),
    ("localhost", "?sslmode=verify-full&sslrootcert={folder}/authority.pem", ""),
    ("127.0.0.1", "?sslmode=verify-ca&sslrootcert={folder}/authority.pem", ""),
    ("127.0.0.1", "?sslrootcert={folder}/authority.pem", "bad-certificate"),  # another name
    ("localhost", "?sslrootcert={folder}/stranger.pem", "bad-certificate"),
    ("localhost", "?sslrootcert={folder}/none.pem", "bad-certificate"),
    ("localhost", "", "bad-certificate"),  # the authorities of this machine
    ("localhost", "?sslmode=verify-ca", "bad-url"),
    ("localhost", "?sslmode=require&sslrootcert={folder}/authority.pem", "bad-url"),
    ("localhost", "?sslmode=prefer", "bad-url"),
    ("localhost", "?sslmode=disable", "bad-url"),
]


@pytest.mark.usefixtures("far_away")
@pytest.mark.parametrize(("host", "query", "code"), TRUST)
def test_certificates_are_verified(
    host: str, query: str, code: str, server: Server, trust: Trust, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")  # does not weaken anything
    settings = reached(server, host=host, port=trust.proxy.port, query=query.format(folder=trust.folder))
    if not code:
        assert rows(fetch(query="SELECT 1 AS id", **settings)) == [{"id": "1"}]
        return
    with pytest.raises(RunError) as caught:
        fetch(query="SELECT 1 AS id", **settings)
    assert (caught.value.code, caught.value.waiting_helps) == (code, False)


@pytest.mark.usefixtures("far_away")
def test_a_server_without_tls(server: Server, trust: Trust, fetch: Fetch) -> None:
    settings = reached(server, host="localhost", query=f"?sslrootcert={trust.folder}/authority.pem")
    with pytest.raises(RunError, match="server does not support SSL") as caught:
        fetch(query="SELECT 1 AS id", **settings)
    assert caught.value.code == "no-tls"


def test_a_server_that_says_nothing(server: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.setattr(database_url, "CONNECT", 1)
    monkeypatch.setattr(failure, "TRIES", 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = reached(server, port=silent.getsockname()[1])
        with pytest.raises(RunError, match=r"cannot connect to crm at .*timeout") as caught:
            fetch(query="SELECT 1 AS id", **settings)
    assert (caught.value.code, caught.value.waiting_helps) == ("unreachable", True)


def test_a_line_that_stalls(
    server: Server, db: psycopg.Connection[Any], proxy: Proxy, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("CREATE TABLE people AS SELECT n AS id, repeat('x', 1000) AS x FROM generate_series(1, 30000) n")
    monkeypatch.setattr(database_url, "SILENCE", -1)
    monkeypatch.setattr(failure, "TRIES", 0)
    log = Log()
    log.on_step = lambda done: proxy.flows.clear()
    monkeypatch.setattr(postgres_read, "OFTEN", 1000)
    context = RunContext(
        connection="crm",
        run=1,
        at=AT,
        workspace=server.folder,
        spool=Path(tempfile.mkdtemp(dir=server.folder)),
        programs=server.folder,
        report=log,
    )
    settings = {**reached(server, port=proxy.port), "table": "people", "statement_timeout": "2s"}
    with pytest.raises(RunError, match="was silent for 1 s; see what is between") as caught:
        sql.fetch(settings, context, known=lambda *_: False, mark=None)
    assert (caught.value.code, caught.value.waiting_helps) == ("no-answer", True)


@pytest.mark.thorough
def test_slow_statements_are_no_silence(
    db: psycopg.Connection[Any], send: Send, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute(PEOPLE)
    db.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$"
    )
    db.execute("CREATE TRIGGER slow BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION slow()")
    monkeypatch.setattr(database_url, "SILENCE", -57)  # so that three seconds are too long, and all of it takes four
    people = [{"id": str(n), "email": None, "age": "1"} for n in range(8)]
    assert send(people, batch=1, statement_timeout="60s").refused == ()
    assert log.texts == []


def test_refused_then_recovered(
    server: Server, db: psycopg.Connection[Any], proxy: Proxy, fetch: Fetch, send: Send, log: Log
) -> None:
    db.execute(PEOPLE)
    for work in (lambda **more: send([ANN], **more), lambda **more: fetch(table="people", **more)):
        log.texts.clear()
        proxy.refuses = 2
        work(**reached(server, port=proxy.port))
        assert len([text for text in log.texts if text.endswith("; trying again")]) == 2
    assert len(table(db)) == 1


def test_an_import_whose_line_breaks_begins_again(
    server: Server, db: psycopg.Connection[Any], proxy: Proxy, fetch: Fetch, log: Log
) -> None:
    db.execute("CREATE TABLE people AS SELECT n AS id, repeat('x', 100) AS x FROM generate_series(1, 30000) n")
    proxy.limit = 1_000_000
    fetched = fetch(table="people", **reached(server, port=proxy.port))
    assert [row["id"] for row in rows(fetched)] == [str(n) for n in range(1, 30001)]
    assert len([text for text in log.texts if "trying again" in text]) == 1


def kill(db: psycopg.Connection[Any]) -> None:
    db.execute("RESET ROLE")
    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'connrunner'")


def test_an_import_that_is_killed(
    db: psycopg.Connection[Any], fetch: Fetch, log: Log, monkeypatch: pytest.MonkeyPatch, context: RunContext
) -> None:
    db.execute("CREATE TABLE people AS SELECT n AS id, repeat('x', 1000) AS x FROM generate_series(1, 30000) n")
    monkeypatch.setattr(postgres_read, "OFTEN", 10)
    monkeypatch.setattr(failure, "TRIES", 1)
    log.on_step = lambda done: kill(db) if done == 10 else None
    with pytest.raises(RunError, match=r"crm at .*: .*(terminating connection|server closed the connection)") as caught:
        fetch(table="people")
    assert (caught.value.code, caught.value.waiting_helps) == ("connection-lost", True)
    assert len([text for text in log.texts if "trying again" in text]) == 1


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_an_export_that_is_killed_goes_on(mode: str, db: psycopg.Connection[Any], send: Send, log: Log) -> None:
    db.execute(PEOPLE)
    db.execute("INSERT INTO people VALUES (-1, 'old', 1)")
    left = [3, 1]
    log.on_step = lambda done: kill(db) if done == 30 and left and left.pop() else None
    people = [{"id": str(n), "email": None, "age": "x" if n == 5 else "1"} for n in range(100)]
    done = send(people, mode=mode, batch=10, **({"unique": ["id"]} if mode == "upsert" else {}))
    assert [one.row for one in done.refused] == [5]
    found = {row[0] for row in table(db)}
    assert found == set(range(100)) - {5} | (set() if mode == "replace" else {-1})
    assert len([text for text in log.texts if "trying again" in text]) == (1 if mode == "upsert" else 2)
    if mode == "upsert":
        assert [step for _, step in log.steps].count(10) == 1  # what has arrived is not sent again


def test_an_export_that_fails_for_good_leaves_nothing_half(db: psycopg.Connection[Any], send: Send, log: Log) -> None:
    db.execute(PEOPLE)
    db.execute("INSERT INTO people VALUES (-1, 'old', 1)")
    log.on_step = lambda done: kill(db) if done == 20 else None
    people = [{"id": str(n), "email": None, "age": "1"} for n in range(100)]
    for mode in ("insert", "replace"):
        with pytest.raises(RunError, match="terminating connection"):
            send(people, mode=mode, batch=10)
        assert table(db) == [(-1, "old", 1)]


@pytest.mark.parametrize(("mode", "code"), [("insert", "unknown-outcome"), ("replace", ""), ("upsert", "")])
def test_a_commit_without_an_answer(mode: str, code: str, db: psycopg.Connection[Any], send: Send, log: Log) -> None:
    """A trigger at COMMIT waits, as slow storage would, while the connection is cut."""
    db.execute(PEOPLE)
    db.execute("CREATE TABLE once (n int)")
    db.execute("INSERT INTO once VALUES (1)")
    db.execute("RESET ROLE")
    db.execute(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        " IF (SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND pid = pg_backend_pid()) > 0"
        " AND nextval('cuts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END IF;"
        " RETURN NEW; END $$"
    )
    db.execute("CREATE SEQUENCE cuts")
    db.execute(
        "CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON once DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION cut()"
    )
    # SET CONSTRAINTS makes all triggers immediate; this one is fired by a row that comes after it, deferred anew.
    db.execute(
        "CREATE FUNCTION defer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        " SET CONSTRAINTS cut DEFERRED; INSERT INTO once VALUES (2); RETURN NEW; END $$"
    )
    db.execute("CREATE TRIGGER defer AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION defer()")
    key = {"unique": ["id"]} if mode == "upsert" else {}
    if code:
        with pytest.raises(
            RunError, match="nobody knows whether the rows have arrived; look into table people"
        ) as caught:
            send([ANN, BOB], mode=mode, **key)
        assert (caught.value.code, caught.value.waiting_helps) == (code, False)
        return
    assert send([ANN, BOB], mode=mode, **key).refused == ()
    assert len(table(db)) == 2
    assert any("trying again" in text for text in log.texts)


# --- others at work ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["upsert", "replace"])
def test_a_deadlock_is_tried_again(
    mode: str, server: Server, db: psycopg.Connection[Any], send: Send, log: Log
) -> None:
    db.execute(PEOPLE)
    send([ANN, BOB])
    deadlocked = threading.Event()
    with server.connect() as other:
        other.execute("SET deadlock_timeout = '10s'")  # so that we are the ones who notice, and lose
        other.execute("BEGIN")
        other.execute("UPDATE people SET age = 99 WHERE id = 2")

        def wants_the_other_row() -> None:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'connrunner' AND wait_event_type = 'Lock'"
            with server.connect() as look:
                while look.execute(waiting).fetchone() == (0,):
                    pass
            other.execute("UPDATE people SET age = 99 WHERE id = 1")
            deadlocked.set()
            other.execute("COMMIT")

        thread = threading.Thread(target=wants_the_other_row)
        thread.start()
        older = [{**ANN, "age": "50"}, {**BOB, "age": "51"}]
        done = send(older, mode=mode, **({"unique": ["id"]} if mode == "upsert" else {}))
        thread.join()
    assert deadlocked.is_set()
    assert done.refused == ()
    assert [row[2] for row in table(db)] == [50, 51]
    assert [text for text in log.texts if "deadlock detected" in text and "trying again" in text]


def test_a_conflict_that_stays_ends_the_run(db: psycopg.Connection[Any], send: Send, log: Log) -> None:
    db.execute(PEOPLE)
    db.execute(
        "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END $$"
    )
    db.execute("CREATE TRIGGER conflict BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION conflict()")
    with pytest.raises(RunError, match="could not serialize access; another program changes the same rows") as caught:
        send([ANN, {**BOB, "age": "x"}], mode="upsert", unique=["id"])
    assert (caught.value.code, caught.value.waiting_helps) == ("conflict", True)
    assert len(log.texts) == failure.TRIES


def test_others_see_the_old_rows_until_the_new_ones_are_there(
    server: Server, db: psycopg.Connection[Any], send: Send, log: Log
) -> None:
    db.execute(PEOPLE)
    send([ANN, BOB])
    seen = []
    with server.connect() as other:
        log.on_step = lambda done: seen.append(len(table(other)))
        send([{"id": str(n), "email": None, "age": "1"} for n in range(50)], mode="replace", batch=10)
        assert (seen, len(table(other))) == ([2] * 5, 50)


def test_an_import_is_one_view_of_the_data(db: psycopg.Connection[Any], fetch: Fetch, log: Log) -> None:
    db.execute("CREATE TABLE people AS SELECT n AS id, 'old' AS name FROM generate_series(1, 30000) n")

    def change(done: int) -> None:
        if done == 10000:
            db.execute("UPDATE people SET name = 'new'")

    log.on_step = change
    assert set(names(fetch(table="people"))) == {"old"}


def test_memory_is_bounded_by_bytes_too(
    db: psycopg.Connection[Any], send: Send, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute(PEOPLE)
    monkeypatch.setattr(sending, "LARGEST", 100)
    send([{"id": str(n), "email": None, "age": "1"} for n in range(10)], mode="upsert", unique=["id"])
    assert len(log.steps) > 3
