"""Databases: their addresses, names and errors, and those that SQLAlchemy speaks to, shown with SQLite files."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from connrunner.connectors import FetchResult, RunContext, SendResult, sql
from connrunner.connectors.sql import alchemy, alchemy_read, alchemy_write, database_url, failure, reading, sending
from connrunner.connectors.sql.names import TableName, near, table_name
from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.text.database_urls import is_database_here

AT = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)


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
        connection="shop",
        run=7,
        at=AT,
        workspace=tmp_path / "workspace",
        spool=tmp_path / "spool",
        programs=tmp_path / "programs",
        report=log,
    )


@pytest.fixture
def db(context: RunContext) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(context.workspace / "shop.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "PAUSE", 0.01)


Fetch = Callable[..., FetchResult]
Send = Callable[..., SendResult]


@pytest.fixture
def fetch(context: RunContext) -> Fetch:
    def fetch(mark: Any = None, at: datetime = AT, **settings: Any) -> FetchResult:
        mark = json.loads(json.dumps(mark))
        settings = {"type": "sql", "url": "sqlite:///shop.db", **settings}
        return sql.fetch(settings, replace(context, at=at), known=lambda *_: False, mark=mark)

    return fetch


@pytest.fixture
def send(context: RunContext, tmp_path: Path) -> Send:
    def send(rows: Sequence[dict[str, Any]], **settings: Any) -> SendResult:
        settings = {"type": "sql", "url": "sqlite:///shop.db", "table": "people", "mode": "insert", **settings}
        sql.target(settings, context)
        local = tmp_path / "rows.jsonl"
        local.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return sql.deliver(settings, context, local)

    return send


def rows(fetched: FetchResult) -> list[dict[str, Any]]:
    (file,) = fetched.files
    assert file.format == Format(type="jsonl", compression="none")
    with Path(file.path).open(encoding="utf-8") as text:
        return [json.loads(line) for line in text]


def names(fetched: FetchResult) -> list[Any]:
    return [row["name"] for row in rows(fetched)] if fetched.files else []


def table(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return db.execute("SELECT * FROM people ORDER BY 1").fetchall()


# --- addresses and names -----------------------------------------------------------------------------------------

URLS = [
    ("", "bad-url"),
    ("shop.db", "bad-url"),
    ("host=localhost dbname=crm password=hidden-horse", "bad-url"),
    ("postgresql://host/d b", "bad-url"),
    ("postgresql://host/db\n", ""),
    ("postgresql://user@host:5432/db?options=-c%20a=b", ""),
    ("postgresql:///db?host=/run/postgresql", ""),
    ("sqlite:////srv/shop.db", ""),
    ("mysql+pymysql://user@[::1]:3306/db?charset=utf8mb4", ""),
    ("postgresql://user:hidden-horse@host/db", "password-in-url"),
    ("postgresql://user:@host/db", "password-in-url"),
    ("postgresql://user:hidden/horse@host/db", "password-in-url"),
    ("postgresql://user:hidden@horse@host/db", "password-in-url"),
    ("postgresql://:hidden-horse@host/db", "password-in-url"),
    ("postgresql://host/db?user=a&password=hidden-horse", "password-in-url"),
    ("postgresql://host/db?sslpassword=hidden-horse", "password-in-url"),
    ("mssql+pyodbc:///?odbc_connect=SERVER%3Dx%3BPWD%3Dhidden-horse", "password-in-url"),
    ("snowflake://user@account/?token=hidden-horse", "password-in-url"),
]


@pytest.mark.parametrize(("url", "code"), URLS)
def test_what_a_url_may_hold(url: str, code: str, tmp_path: Path) -> None:
    if not code:
        assert database_url.address_of({"url": url}, tmp_path).url == url.strip()
        return
    with pytest.raises(RunError) as caught:
        database_url.address_of({"url": url}, tmp_path)
    assert caught.value.code == code
    assert "horse" not in str(caught.value)


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    found = database_url.address_of({"url": "postgresql://host/db", "password": "hidden-horse"}, tmp_path)
    assert found.password == "hidden-horse"
    assert "horse" not in repr(found)


def test_no_duration() -> None:
    with pytest.raises(RunError, match="'soon' is not a duration; write a whole number"):
        database_url.seconds("soon")


HERE: list[str | None] = [
    "",
    None,
    "localhost",
    "LOCALHOST",
    "127.0.0.1",
    "127.1.2.3",
    "::1",
    "/run/postgresql",
    "@abstract",
]
ELSEWHERE = [
    "db.example.com",
    "10.0.0.1",
    "localhost.example.com",
    "0.0.0.0",
    "::2",
    "1127.0.0.1",
    "127.evil.example",
    "127.1",
]


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_what_is_this_machine(host: str | None) -> None:
    assert is_database_here(host) == (host in HERE)


NAMES = [
    ("people", None, "people", "people"),
    ("crm.people", "crm", "people", "crm.people"),
    ("Odd Name", None, "Odd Name", "Odd Name"),
    ('"a.b".people', "a.b", "people", '"a.b".people'),
    ('crm."say ""hi"""', "crm", 'say "hi"', 'crm."say ""hi"""'),
    ("'; DROP TABLE x", None, "'; DROP TABLE x", "'; DROP TABLE x"),
]


@pytest.mark.parametrize(("text", "schema", "plain", "shown"), NAMES)
def test_names_of_tables(text: str, schema: str | None, plain: str, shown: str) -> None:
    assert table_name(text) == TableName(schema=schema, table=plain)
    assert str(table_name(text)) == shown


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a.b.c", '"a', 'a"b', "a\0b"])
def test_no_names_of_tables(text: str) -> None:
    with pytest.raises(RunError, match="is not the name of a table"):
        table_name(text)


def test_advice_about_names() -> None:
    assert near("EMAIL", ["email", "e_mail"], "columns") == "did you mean 'email'?"
    assert near("emial", ["email", "name"], "columns") == "did you mean 'email'?"
    assert near("zzz", ["b", "a"], "columns") == "its columns: a, b"
    assert near("zzz", [], "tables") == "it has no tables that this user can see"
    assert near("zzz", [f"t{n}" for n in range(30)], "tables").endswith("t26 and 10 more")


STATES = [
    ("40001", "conflict", True),
    ("40P01", "conflict", True),
    ("55P03", "conflict", True),
    ("57P01", "connection-lost", True),
    ("57P03", "connection-lost", True),
    ("08006", "connection-lost", True),
    (None, "connection-lost", True),
    ("53300", "server-busy", True),
    ("57014", "timeout", False),
    ("42P01", "missing-table", False),
    ("42703", "missing-column", False),
    ("42501", "not-permitted", False),
    ("42601", "bad-query", False),
    ("25006", "read-only", False),
    ("28P01", "wrong-credentials", False),
    ("22012", "refused", False),
    ("XX000", "refused", False),
]


@pytest.mark.parametrize(("state", "code", "waits"), STATES)
def test_what_a_state_means(state: str | None, code: str, waits: bool) -> None:
    error = failure.explain_database_error(state, "it said\n\x1b[31mno", "crm at host")
    assert (error.code, error.waiting_helps) == (code, waits)
    assert error.message == "crm at host: it said [31mno"


WORDS = [
    (
        'connection failed: connection to server at "h", port 1 failed: FATAL:  sorry, too many clients already',
        "server-busy",
        True,
    ),
    ("connection failed: ... failed: FATAL:  the database system is starting up", "server-busy", True),
    ("connection failed: ... failed: FATAL:  something else", "unreachable", False),
    ("(1045, \"Access denied for user 'x'@'host' (using password: YES)\")", "wrong-credentials", False),
    ("(2003, \"Can't connect to MySQL server on 'h' (timed out)\")", "unreachable", True),
    ('(2026, "SSL is required but the server doesn\'t support it")', "no-tls", False),
    ("whatever", "unreachable", True),
]


@pytest.mark.parametrize(("words", "code", "waits"), WORDS)
def test_what_no_connection_means(words: str, code: str, waits: bool) -> None:
    error = failure.unreachable(words, "crm at host")
    assert (error.code, error.waiting_helps) == (code, waits)
    assert error.message.startswith("cannot connect to crm at host: ")


def test_tries_are_counted_anew_after_progress(log: Log) -> None:
    calls: list[int] = []

    def work() -> str:
        calls.append(1)
        if len(calls) <= 2 * failure.TRIES:
            raise RunError("not yet", waiting_helps=True)
        return "done"

    assert failure.persistently(work, log, so_far=lambda: len(calls) // failure.TRIES) == "done"
    calls.clear()
    with pytest.raises(RunError, match="not yet"):
        failure.persistently(work, log)
    assert len(calls) == 1 + failure.TRIES


def test_a_refusal_hides_the_values(log: Log) -> None:
    line = (3, json.dumps({"email": "ann@example.com", "tags": ["secret tag"], "age": 41}).encode())
    words = 'no "ann@example.com", no "secret tag", no "41", but "people_age"'
    assert sending.refusal(line, "22P02", words, "age").message == 'age: no "…", no "…", no "…", but "people_age"'


# --- what a file says ---------------------------------------------------------------------------------------------

FROM = {"type": "sql", "url": "postgresql://host/db", "table": "people"}
TO = {**FROM, "mode": "upsert", "unique": ["email"]}
SAID: list[tuple[dict[str, Any], str]] = [
    (FROM, ""),
    ({**FROM, "watermark": {"column": "id", "overlap": 1000}, "statement_timeout": "2h"}, ""),
    ({**FROM, "watermark": {"column": "id", "overlap": "15m"}, "username": "me", "password": "env:DB_PASSWORD"}, ""),
    ({**FROM, "url": "env:DB_URL"}, ""),
    ({**FROM, "url": "postgresql://me:hidden-horse@host/db"}, "`url` holds a secret itself; take the password out and"),
    ({**FROM, "url": "mysql+pymysql://host/db?passwd=hidden-horse"}, "`url` holds a secret itself"),
    ({**FROM, "password": "hidden-horse"}, "`password` holds a secret itself"),
    ({**FROM, "url": "shop.db"}, "'shop.db' is not a URL of a database; write it like postgresql://"),
    ({**FROM, "query": "SELECT 1"}, "`table` and `query` cannot stand together; leave one of them out"),
    ({"type": "sql", "url": "sqlite:///x"}, "sql connector needs `table` or `query`; add one of them"),
    ({**FROM, "table": "a.b.c"}, "'a.b.c' is not a name of a table; write table or schema.table"),
    (
        {**FROM, "watermark": "id"},
        "`watermark` must be a mapping, not the text 'id'; write it like {column: updated_at}",
    ),
    ({**FROM, "watermark": {"column": "id", "overlap": "soon"}}, "'soon' is not a duration"),
    ({**FROM, "tabel": "x"}, "unknown key 'tabel' in sql connector; did you mean 'table'?"),
    (TO, ""),
    ({**TO, "batch": 1, "statement_timeout": "90s"}, ""),
    ({**FROM, "mode": "upsert"}, 'sql connector with `mode: upsert` needs `unique`; add it, like `unique: ["email"]`'),
    ({**TO, "mode": "update"}, "`mode` cannot be 'update'"),
    ({**TO, "batch": 0}, "`batch` must be at least 1, not 0"),
]


@pytest.mark.parametrize(("settings", "text"), SAID)
def test_what_is_said_about_a_file(settings: dict[str, Any], text: str) -> None:
    from connrunner.config import schema

    work: dict[str, Any] = {"import": {"from": settings, "match": ["email"], "fields": {"email": "email"}}}
    if "mode" in settings:
        work = {"export": {"to": settings, "fields": {"email": "email"}}}
    found = schema.check_schema("connection", {"schedule": {"type": "manual"}, **work})
    said = [f"{finding.message}; {finding.hint}" for finding in found]
    assert len(said) == bool(text), said
    assert text in "".join(said)
    assert "horse" not in "".join(said)


# --- the extras --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("postgresql://host/db", "psycopg", "postgres"), ("sqlite:///shop.db", "sqlalchemy", "sql")],
)
def test_a_missing_extra(url: str, package: str, extra: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("connrunner.connectors.sql.")]:
        if "alchemy" in name or "postgres" in name:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RunError, match=rf"needs the extra '{extra}'.*; pip install 'connrunner\[{extra}\]'") as caught:
        fetch(url=url, table="people")
    assert caught.value.code == "missing-extra"


DRIVERS = [
    ("nosuch://localhost/db", "unknown-database", "SQLAlchemy knows no database 'nosuch'"),
    ("mysql+pymysql://localhost/db", "missing-driver", "needs the package 'pymysql'; pip install pymysql"),
    ("mysql+pymysql://db.example.com/db", "missing-driver", "needs the package 'pymysql'"),
    (
        "mssql+pyodbc://db.example.com/db",
        "unverified",
        "cannot make sure that mssql.pyodbc verifies the certificate of",
    ),
    ("oracle+oracledb://10.0.0.1/db", "unverified", "or a tunnel that begins on this machine"),
    ("sqlite://", "bad-url", "`url` names no SQLite file"),
    ("sqlite:///:memory:", "bad-url", "`url` names no SQLite file"),
    ("sqlite://host/shop.db", "bad-url", "`url` names no SQLite file"),
    ("sqlite:///none.db", "missing-database", "there is no database file none.db; correct `url`"),
    ("mysql+pymysql://host:port/db", "bad-url", "`url` is not the URL of a database"),
]


@pytest.mark.parametrize(("url", "code", "text"), DRIVERS)
def test_databases_that_cannot_be(
    url: str, code: str, text: str, fetch: Fetch, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(RunError, match=text) as caught:
        fetch(url=url, table="people")
    assert (caught.value.code, caught.value.waiting_helps) == (code, False)
    assert list(context.workspace.iterdir()) == []


@pytest.mark.parametrize(("version", "refused"), [((1, 1, 2, "final", 1), True), ((1, 2, 0, "final", 1), False)])
def test_mysql_over_the_network(version: tuple[Any, ...], refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, "pymysql", SimpleNamespace(VERSION=version))
    there = database_url.address_of({"url": "mysql+pymysql://db.example.com/shop", "statement_timeout": "1m"}, Path())
    url = sa.make_url(there.url)
    if refused:
        with pytest.raises(RunError, match="this PyMySQL does not insist on TLS"):
            alchemy._protected(there, url, "shop")
        return
    arguments = alchemy._protected(there, url, "shop")
    assert (arguments["connect_timeout"], arguments["read_timeout"]) == (10, 120)
    assert (arguments["ssl"].verify_mode, arguments["ssl"].check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_session_of_mysql_is_strict_and_leaves_the_rest_of_the_mode() -> None:
    for dialect in ("mysql", "mariadb"):
        statement = alchemy.opening_statement(dialect, read_only=False)
        assert statement is not None
        assert statement.startswith("SET SESSION sql_mode = CONCAT_WS(',',")
        assert "@@sql_mode" in statement
        assert "'STRICT_ALL_TABLES', 'NO_AUTO_VALUE_ON_ZERO')" in statement
        assert alchemy.opening_statement(dialect, read_only=True) == "SET SESSION TRANSACTION READ ONLY"
    assert alchemy.opening_statement("sqlite", read_only=False) is None


SERVER_WORDS = [
    # number, what MySQL and MariaDB say, code, what is told
    (1062, "Duplicate entry 'it's x' for key 'people.PRIMARY'", "duplicate-key", "Duplicate entry '…' for key 'people.PRIMARY'"),
    (1292, "Incorrect datetime value: '1969-01-01' for column 't' at row 7", "wrong-type", "Incorrect datetime value: '…' for column 't'"),
    (1366, "Incorrect string value: '\\xF0\\x9F' for column `a`.`b`.`c` at row 1", "wrong-type", "Incorrect string value: '…' for column `a`.`b`.`c`"),
    (1411, "Incorrect datetime value: 'x' for function str_to_date", "wrong-type", "Incorrect datetime value: '…' for function str_to_date"),
    (1526, "Table has no partition for value 4711", "check-failed", "Table has no partition for value '…'"),
    (1406, "Data too long for column 'note' at row 1", "too-long", "Data too long for column 'note'"),
    (1264, "Out of range value for column 'n' at row 1", "out-of-range", "Out of range value for column 'n'"),
    (1441, "Datetime function: datetime field overflow", "out-of-range", "Datetime function: datetime field overflow"),
    (4025, "CONSTRAINT `people.n` failed for `crm`.`people`", "check-failed", "CONSTRAINT `people.n` failed for `crm`.`people`"),
    (1644, "no trouble, please", "refused-by-trigger", "no trouble, please"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "words", "code", "told"), SERVER_WORDS)
def test_what_mysql_says_about_a_row(number: int, words: str, code: str, told: str) -> None:
    error = sa.exc.OperationalError("INSERT", {}, Exception(number, words))
    assert alchemy.refuses_a_row(error)
    assert failure.refusal_code(alchemy.sqlstate_of(error)) == code
    assert alchemy.words_of(error) == told


@pytest.mark.parametrize("number", [1044, 1054, 1142, 1146, 1205, 1213, 1290, 2006, 2013])
def test_what_mysql_says_about_the_statement(number: int) -> None:
    assert not alchemy.refuses_a_row(sa.exc.OperationalError("INSERT", {}, Exception(number, "no")))


# --- import ------------------------------------------------------------------------------------------------------

PLAIN = [
    (None, None),
    ("", ""),
    ("text", "text"),
    (True, "true"),
    (2**70, str(2**70)),
    (0.1, "0.1"),
    (1e21, "1000000000000000000000"),
    (1e-7, "0.0000001"),
    (Decimal("1E+3"), "1000"),
    (Decimal("1.50"), "1.50"),
    (datetime(2026, 11, 22, 9, 15, tzinfo=UTC), "2026-11-22T09:15:00Z"),
    (AT.replace(tzinfo=None), "2026-11-22T09:15:00"),
    (date(2026, 11, 22), "2026-11-22"),
    (timedelta(hours=1), "01:00:00"),
    (timedelta(hours=36), "36:00:00"),
    (timedelta(hours=1000, microseconds=250), "1000:00:00.000250"),
    (-timedelta(minutes=1.5), "-00:01:30"),
    (timedelta(), "00:00:00"),
    (12345.0, "12345"),
    (-0.0, "0"),
    (["a", None, 1], ["a", None, "1"]),
    ({"a": Decimal(1)}, '{"a": "1"}'),
]


@pytest.mark.parametrize(("value", "text"), PLAIN)
def test_how_values_are_written(value: Any, text: Any) -> None:
    assert alchemy_read._text(value, "c", reading.ReadQuery(query="x")) == text


def test_a_table_and_a_query(db: sqlite3.Connection, fetch: Fetch, log: Log) -> None:
    db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, ltv NUMERIC, born DATE)")
    db.execute(
        "INSERT INTO people VALUES (1, 'Zoë\n\"x\"', 12.5, '1990-02-28'), (2, NULL, 3, 'odd'), (3, '', 1e30, NULL)"
    )
    found = [
        {"id": "1", "name": 'Zoë\n"x"', "ltv": "12.5", "born": "1990-02-28"},
        {"id": "2", "name": None, "ltv": "3", "born": "odd"},
        {"id": "3", "name": "", "ltv": "1000000000000000000000000000000", "born": None},
    ]
    fetched = fetch(table="people")
    assert rows(fetched) == found
    assert (fetched.files[0].name, fetched.files[0].once, fetched.mark) == ("people", False, None)
    assert rows(fetch(table="main.people")) == found
    assert rows(fetch(query="SELECT * FROM people WHERE ':x %s %% \\:y' <> '' -- all\n;")) == found
    assert rows(fetch(query="WITH a AS (SELECT 1 AS id) SELECT id FROM a")) == [{"id": "1"}]
    assert fetch(query="SELECT * FROM people WHERE id > 9") == FetchResult(files=(), mark=None)
    assert log.texts[-1] == "info: 0 rows of the query"


WRONG = [
    ({"table": "poeple"}, "missing-table", "shop.db has no table 'poeple'; did you mean 'people'"),
    (
        {"table": "people", "watermark": {"column": "Id"}},
        "missing-column",
        "no column 'Id' for `watermark`; did you mean",
    ),
    ({"query": "SELECT id FROM people", "watermark": {"column": "x"}}, "bad-query", "no such column: x"),
    ({"query": "DELETE FROM people"}, "bad-query", "syntax error"),
    ({"query": "SELECT 1) origin; DELETE FROM people; --"}, "bad-query", "one statement at a time"),
    ({"query": "PRAGMA query_only = OFF"}, "bad-query", "syntax error"),
    (
        {"query": "SELECT a.id, b.id FROM people a, people b"},
        "duplicate-column",
        "has 2 columns called 'id'; give each",
    ),
    ({"query": "SELECT id, ID, name FROM people"}, "duplicate-column", "has 2 columns called 'id'"),
    ({"query": "SELECT photo FROM people"}, "binary-column", "column 'photo' of the query holds bytes"),
    ({"query": "SELECT nosuch(1)"}, "bad-query", "no such function"),
    (
        {"query": "SELECT name AS x FROM people UNION ALL SELECT 1", "watermark": {"column": "x"}},
        "bad-watermark",
        "int and str|str and int",
    ),
]


@pytest.mark.parametrize(("settings", "code", "text"), WRONG)
def test_imports_that_fail(
    settings: dict[str, Any], code: str, text: str, db: sqlite3.Connection, fetch: Fetch
) -> None:
    db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, photo BLOB)")
    db.execute("INSERT INTO people VALUES (1, 'a', x'00')")
    with pytest.raises(RunError, match=text) as caught:
        fetch(**settings)
    assert (caught.value.code, caught.value.waiting_helps) == (code, False)
    assert len(table(db)) == 1


def test_a_text_that_is_not_utf_8_is_half_of_a_pair_and_no_mark(fetch: Fetch, db: sqlite3.Connection) -> None:
    """The reader of the rows refuses such a row alone; the driver would end the run, and quote the text."""
    db.execute("CREATE TABLE torn (name TEXT)")
    db.execute("INSERT INTO torn VALUES ('Ann'), (CAST(X'5a6feb' AS TEXT))")
    fetched = fetch(table="torn", watermark={"column": "name"})
    assert names(fetched) == ["Ann", "Zo\udceb"]
    assert fetched.mark["value"] == "Ann"


def test_an_import_cannot_write(db: sqlite3.Connection, context: RunContext) -> None:
    db.execute("CREATE TABLE people (id INTEGER)")
    there = database_url.address_of({"url": "sqlite:///shop.db"}, context.workspace)
    with pytest.raises(RunError, match="readonly database"), alchemy.connection(there, read_only=True) as made:
        made.exec_driver_sql("INSERT INTO people VALUES (1)")


def test_no_database_file(context: RunContext, fetch: Fetch) -> None:
    (context.workspace / "shop.db").write_text("this is no database, only a text that is long enough" * 10)
    with pytest.raises(RunError, match="file is not a database"):
        fetch(table="people")


MARKS = [
    # declared type, values of the first run, values that come later, overlap, what the second run reads
    ("INTEGER", [1, 5000], [4000, 3999, 5001], None, [4000, 5000, 5001]),
    ("REAL", [1.5, 5000.5], [4000.5, 5000.5], 1, [5000.5, 5000.5]),
    ("TEXT", ["2026-11-21 10:00:00", "2026-11-22 09:00:00"], ["2026-11-22 08:45:00", "2026-11-22 08:44:59"], None,
     ["2026-11-22 08:45:00", "2026-11-22 09:00:00"]),
    ("TEXT", ["2026-11-22T09:00:00.123"], ["2026-11-22T08:45:00.1", "2026-11-22T08:44:00.9"], "15m",
     ["2026-11-22T08:45:00.1", "2026-11-22T09:00:00.123"]),
    ("TEXT", ["2026-11-22"], ["2026-11-21", "2026-11-20"], "15m", ["2026-11-21", "2026-11-22"]),
    ("TEXT", ["a", "b"], ["b", "c", "aa"], None, ["b", "b", "c"]),
    ("TEXT", ["2026-11-22 09:00:00", "2999-01-01 00:00:00"], ["2026-11-22 09:10:00"], None,
     ["2026-11-22 09:00:00", "2026-11-22 09:10:00", "2999-01-01 00:00:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "first", "later", "overlap", "second"), MARKS)
def test_watermarks(
    kind: str, first: list[Any], later: list[Any], overlap: Any, second: list[Any], db: sqlite3.Connection, fetch: Fetch
) -> None:
    db.execute(f"CREATE TABLE people (name {kind}, x TEXT)")
    db.executemany("INSERT INTO people VALUES (?, 'x')", [[value] for value in [*reversed(first), None]])
    settings = {"table": "people", "watermark": {"column": "name"} | ({} if overlap is None else {"overlap": overlap})}
    before = fetch(**settings)
    assert names(before) == [None, *map(str, first)]
    assert before.files[0].once
    db.executemany("INSERT INTO people VALUES (?, 'x')", [[value] for value in later])
    after = fetch(before.mark, **settings)
    assert names(after) == [None, *map(str, second)]
    db.execute("DELETE FROM people")
    assert fetch(after.mark, **settings) == FetchResult(files=(), mark=after.mark)
    db.execute("INSERT INTO people VALUES (1, 'x')")
    assert len(names(fetch(after.mark, query="SELECT * FROM people", watermark=settings["watermark"]))) == 1


INSTANTS = [
    # the greatest value, what is kept
    (datetime(2026, 11, 22, 9, 0, tzinfo=UTC), "2026-11-22T09:00:00+00:00"),
    (datetime(2999, 1, 1, tzinfo=UTC), "2026-11-22T09:15:00+00:00"),
    (datetime.fromisoformat("2026-11-22T20:00:00"), "2026-11-22T20:00:00"),  # some clock shows that already
    (datetime.fromisoformat("2999-01-01"), "2026-11-21T21:15:00"),
    (date(2026, 11, 22), "2026-11-22"),
    (date(2999, 1, 1), "2026-11-21"),
    (41, "41"),
    (Decimal("1.50"), "1.50"),
    (1.5, "1.5"),
]


@pytest.mark.parametrize(("highest", "kept"), INSTANTS)
def test_what_is_kept_of_the_greatest_value(highest: Any, kept: str) -> None:
    mark = alchemy_read._mark(highest, "of", AT)
    assert mark is not None
    assert mark.value == kept
    again = alchemy_read._value(mark)
    assert type(again) is type(highest)
    assert alchemy_read._start(again, reading.ReadQuery(query="x")) < again


# --- export ------------------------------------------------------------------------------------------------------

PEOPLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(20) UNIQUE, age INT CHECK (age < 150))"
ANN = {"id": "1", "email": "ann@example.com", "age": "41"}
BOB = {"id": "2", "email": "bob@example.com", "age": None}


@pytest.mark.parametrize("upserts", [True, False])
def test_insert_upsert_replace(
    upserts: bool, db: sqlite3.Connection, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not upserts:  # as for a database that has no word for it
        monkeypatch.setattr(alchemy_write, "_UPSERTS", {})
    db.execute(PEOPLE)
    assert send([ANN, BOB]).where == "people of shop.db"
    older = {**ANN, "age": "42"}
    assert send([older, {"id": "3", "email": "c", "age": "1"}], mode="upsert", unique=["id"], batch=1).refused == ()
    assert table(db) == [(1, "ann@example.com", 42), (2, "bob@example.com", None), (3, "c", 1)]
    assert send([{"email": "c", "id": "5"}], mode="upsert", unique=["email"]).refused == ()
    assert table(db)[2] == (5, "c", 1)
    for _ in range(2):
        assert send([{"id": "5"}, {"id": "6"}], mode="upsert", unique=["id"]).refused == ()
    assert len(table(db)) == 4
    for _ in range(2):
        assert send([BOB], mode="replace", table="main.people").refused == ()
        assert table(db) == [(2, "bob@example.com", None)]
    assert send([]).refused == ()
    assert send([], mode="replace").refused == ()
    assert table(db) == []


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"age": "forty"}, "wrong-type", "age: no value of type INTEGER"),
    ({"age": "1_0"}, "wrong-type", "age: no value of type INTEGER"),
    ({"age": "1.5"}, "wrong-type", "age: no value of type INTEGER"),
    ({"age": "9" * 19}, "wrong-type", "age: no value of type INTEGER"),
    ({"age": "150"}, "constraint", "CHECK constraint failed: age < …"),
    ({"email": "taken"}, "constraint", "UNIQUE constraint failed: people.email"),
    ({"born": "2026-02-30"}, "wrong-type", "born: no value of type DATE"),
    ({"vip": "maybe"}, "wrong-type", "vip: no value of type BOOLEAN"),
    ({"ltv": "NaN"}, "wrong-type", "ltv: no value of type NUMERIC(10, 2)"),
    ({"photo": "x"}, "wrong-type", "photo: no value of type BLOB"),
    ({"name": None}, "constraint", "NOT NULL constraint failed: people.name"),
    ({"facts": "{"}, "wrong-type", "facts: no value of type JSON"),
]
WIDE = """
    CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(20) UNIQUE, age INTEGER CHECK (age < 150),
    born DATE, vip BOOLEAN, ltv NUMERIC(10, 2), photo BLOB, name TEXT NOT NULL, facts JSON)
"""


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_a_refused_row_does_not_sink_the_others(mode: str, db: sqlite3.Connection, send: Send) -> None:
    db.execute(WIDE)
    db.execute("INSERT INTO people (id, email, name) VALUES (1000, 'taken', 'x')")
    good = {"email": None, "age": "41", "born": "1990-02-28", "vip": "true", "ltv": "1.50", "photo": None, "name": "n"}
    good["facts"] = '{"a": 1}'
    bad: list[dict[str, Any]] = [{"id": str(2 * place), **good, **wrong} for place, (wrong, _, _) in enumerate(REFUSED)]
    mixed = [row for n, one in enumerate(bad) for row in (one, {"id": str(2 * n + 1), **good})]
    key = {"unique": ["id"]} if mode == "upsert" else {}
    done = send(mixed, mode=mode, batch=7, **key)
    expected = [(2 * place, code, text) for place, (_, code, text) in enumerate(REFUSED)]
    if mode == "replace":
        del expected[5]
    assert [(one.row, one.code, one.message) for one in done.refused] == expected
    assert db.execute("SELECT count(*) FROM people WHERE id % 2 = 1").fetchone() == (len(bad),)


VALUES = [
    # declared type, value in the file, what is there
    ("TEXT", "", ""),
    ("TEXT", ["a", "b"], "a;b"),
    ("TEXT", True, "true"),
    ("INTEGER", True, 1),
    ("INT", False, 0),
    ("TINYINT(1)", True, 1),
    ("INTEGER", "-9223372036854775808", -(2**63)),
    ("INTEGER", "12.00", 12),
    ("NUMERIC", "12.50", 12.5),
    ("NUMERIC(38,9)", "123456789.125", 123456789.125),
    ("DECIMAL", "7", 7),
    ("FLOAT", "0.1", 0.1),
    ("BOOLEAN", "false", 0),
    ("DATE", "2026-11-22", "2026-11-22"),
    ("DATE", "2026-11-22T00:00:00Z", "2026-11-22"),
    ("DATETIME", "2026-11-22T10:15:00.5+01:00", "2026-11-22 09:15:00.500000"),
    ("DATETIME", "2026-11-22", "2026-11-22 00:00:00.000000"),
    ("JSON", ["a"], '["a"]'),
    ("JSON", '{"a": 1}', '{"a": 1}'),
    ("ODD_TYPE", "12", 12),
    ("", "x", "x"),
]


def test_values_get_the_types_of_their_columns(db: sqlite3.Connection, send: Send) -> None:
    db.execute(f"CREATE TABLE people ({', '.join(f'c{n} {case[0]}' for n, case in enumerate(VALUES))})")
    assert send([{f"c{n}": case[1] for n, case in enumerate(VALUES)}]).refused == ()
    assert list(table(db)[0]) == [case[2] for case in VALUES]


BENT = [
    # declared type, a value that SQLite would keep as another one
    ("STRING", "007"),
    ("STRING", "1e3"),
    ("ODD_TYPE", "12345678901234567890"),
    ("INTEGER", "007"),
    ("INTEGER", "1e3"),
    ("NUMERIC(38,9)", "12345678901234567890.123456789"),
    ("DECIMAL", "9007199254740993.5"),
    ("REAL", "0.1000000000000000055"),
    ("FLOAT", "9007199254740993"),
    ("DATE", "2026-11-22T09:15:00Z"),
    ("DATE", "20261122"),
    ("DATETIME", "2026-11-22T09:15:00.1234567Z"),
    ("TIME", "09:15:00+02:00"),
    ("JSON", "1e400"),
    ("JSON", "[NaN]"),
    ("TEXT", ["a;b", "c"]),
    ("INTEGER PRIMARY KEY", None),
]


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_a_value_that_would_be_another_one_is_refused(mode: str, db: sqlite3.Connection, send: Send) -> None:
    db.execute(f"CREATE TABLE people (k TEXT UNIQUE, {', '.join(f'c{n} {kind}' for n, (kind, _) in enumerate(BENT))})")
    sound = {"k": "0", **{f"c{n}": None for n in range(len(BENT))}, f"c{len(BENT) - 1}": "1"}
    wrong = [{**sound, "k": str(n + 1), f"c{len(BENT) - 1}": "2", f"c{n}": value} for n, (_, value) in enumerate(BENT)]
    done = send([*wrong, sound], mode=mode, **({"unique": ["k"]} if mode == "upsert" else {}))
    assert [one.row for one in done.refused] == list(range(len(BENT)))
    assert [one.message.partition(":")[0] for one in done.refused] == [f"c{n}" for n in range(len(BENT))]
    assert {one.code for one in done.refused} == {"would-change", "wrong-type", "unwritable-format", "missing-value"}
    assert [row[0] for row in table(db)] == ["0"]


KEYS = [
    # the unique index, the keys that come, those that arrive
    ("k TEXT UNIQUE", ["k1", "K1"], ["k1", "K1"]),
    ("k TEXT COLLATE NOCASE UNIQUE", ["k1", "K1", "k2", "K1"], ["k1", "k2"]),
    ("k TEXT, UNIQUE (k COLLATE NOCASE)", ["k1", "K1"], ["k1"]),
    ("k TEXT COLLATE RTRIM PRIMARY KEY", ["a", "b", "a "], ["a", "b"]),
    ("k INTEGER PRIMARY KEY", ["1", "1.0", "2"], [1, 2]),
    ("k TEXT UNIQUE", ["a", "b", "a"], ["a", "b"]),
]


@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize(("declared", "given", "arrived"), KEYS)
def test_a_row_does_not_overwrite_another_one_of_the_run(
    declared: str, given: list[str], arrived: list[Any], batch: int, db: sqlite3.Connection, send: Send
) -> None:
    db.execute(f"CREATE TABLE people (n TEXT, {declared})")
    lines = [{"n": str(n), "k": key} for n, key in enumerate(given)]
    for _ in range(2):
        done = send(lines, mode="upsert", unique=["k"], batch=batch)
        assert {one.code for one in done.refused} <= {"duplicate-key"}
        assert len(done.refused) == len(given) - len(arrived)
        assert [row[1] for row in table(db)] == arrived
        assert [given[int(row[0])] for row in table(db)] == [str(key) for key in arrived]


HOSTILE = ['a"b', "c,d", "e%sf", "g\nh", "{x}", ":y", "'; DROP TABLE people; --", "connrunner_x", "select", "ÄÖ", "a.b"]


def test_hostile_names(db: sqlite3.Connection, fetch: Fetch, send: Send) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    name = 'odd.na"me; --'
    columns = ", ".join(f"{quoted(one)} INTEGER" for one in HOSTILE)
    db.execute(f"CREATE TABLE {quoted(name)} ({columns}, UNIQUE ({quoted(HOSTILE[0])}))")
    row = dict(zip(HOSTILE, map(str, range(len(HOSTILE))), strict=True))
    spelt = quoted(name)
    for mode in ("insert", "upsert", "replace"):
        key = {"unique": [HOSTILE[0]]} if mode == "upsert" else {}
        done = send([row, {**row, 'a"b': "x"}], table=spelt, mode=mode, **key)
        assert [one.message for one in done.refused] == ['a"b: no value of type INTEGER']
    for column in HOSTILE:
        fetched = fetch(table=spelt, watermark={"column": column})
        assert rows(fetched) == [row]
        assert rows(fetch(fetched.mark, table=spelt, watermark={"column": column})) == [row]


CANNOT = [
    ({"table": "poeple"}, "missing-table", "did you mean 'people'"),
    (
        {"mode": "upsert", "unique": ["age"]},
        "no-unique-key",
        r"`unique` \(age\) are not unique in table people of shop.db; choose id or email, or make a unique",
    ),
    ({"mode": "upsert", "unique": ["Id"]}, "missing-column", "has no column 'Id'; did you mean 'id'"),
    ({"mode": "upsert"}, "bad-settings", "`mode: upsert` needs `unique`"),
    (
        {"rows": [{"emial": "x"}]},
        "missing-column",
        "table people of shop.db has no column 'emial'; did you mean 'email'",
    ),
    (
        {"rows": [{"age": "x"}], "mode": "replace"},
        "all-refused",
        "refused the only row, so table people stays as it was",
    ),
]


@pytest.mark.parametrize(("settings", "code", "text"), CANNOT)
def test_exports_that_cannot_be(
    settings: dict[str, Any], code: str, text: str, db: sqlite3.Connection, send: Send
) -> None:
    db.execute(PEOPLE)
    db.execute("INSERT INTO people VALUES (9, 'old', 1)")
    with pytest.raises(RunError, match=text) as caught:
        send(settings.get("rows", [ANN]), **{name: value for name, value in settings.items() if name != "rows"})
    assert (caught.value.code, caught.value.waiting_helps) == (code, False)
    assert table(db) == [(9, "old", 1)]


def test_a_row_without_a_key(db: sqlite3.Connection, send: Send) -> None:
    db.execute(PEOPLE)
    done = send([{"id": "1", "email": None}, {"id": "2", "email": "b"}], mode="upsert", unique=["email"])
    assert [(one.row, one.code, one.message) for one in done.refused] == [
        (0, "missing-value", "no value in what should be unique (email)")
    ]
    assert table(db) == [(2, "b", None)]


def test_a_table_that_somebody_locks_for_a_while(
    db: sqlite3.Connection, send: Send, fetch: Fetch, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute(PEOPLE)
    monkeypatch.setattr(database_url, "CONNECT", 0.05)
    db.execute("BEGIN IMMEDIATE")
    failures = []

    def release(_: object) -> None:
        failures.append(1)
        if len(failures) == 2:
            db.execute("COMMIT")

    monkeypatch.setattr("time.sleep", release)
    assert send([ANN]).refused == ()
    assert len(failures) == 2
    assert "database is locked; trying again" in log.texts[0]
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RunError, match="database is locked") as caught:
        fetch(table="people")
    assert (caught.value.code, caught.value.waiting_helps) == ("conflict", True)
    db.execute("ROLLBACK")


def test_a_failure_leaves_nothing_half(db: sqlite3.Connection, send: Send, log: Log) -> None:
    db.execute(PEOPLE)
    db.execute("INSERT INTO people VALUES (-1, 'old', 1)")
    people = [{"id": str(n), "email": None, "age": "1"} for n in range(50)]

    def stop(done: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    log.on_step = stop
    for mode, left in (("insert", [-1]), ("replace", [-1]), ("upsert", [-1, *range(20)])):
        with pytest.raises(KeyboardInterrupt):
            send(people, mode=mode, batch=10, **({"unique": ["id"]} if mode == "upsert" else {}))
        assert [row[0] for row in table(db)] == left


def test_others_see_the_old_rows_until_the_new_ones_are_there(db: sqlite3.Connection, send: Send, log: Log) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(PEOPLE)
    send([ANN, BOB])
    seen = []
    log.on_step = lambda done: seen.append(len(table(db)))
    send([{"id": str(n), "email": None, "age": "1"} for n in range(50)], mode="replace", batch=10)
    assert (seen, len(table(db))) == ([2] * 5, 50)


def test_columns_of_numbers_are_named(db: sqlite3.Connection, fetch: Fetch) -> None:
    db.execute("CREATE TABLE sums (a REAL, b INTEGER, c TEXT, d, e)")
    db.execute("INSERT INTO sums VALUES (2.0, 1, '2.0', 2.0, NULL), (NULL, 2, '1', 'x', NULL)")
    (file,) = fetch(table="sums").files
    assert file.numbers == {"a", "b"}
