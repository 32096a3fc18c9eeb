"""MariaDB, in strict mode and without: whatever the server would make of a value, it arrives as it was sent or is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from connrunner.connectors import FetchResult, RunContext, SendResult, sql
from connrunner.connectors.sql import failure
from connrunner.errors import RunError
from tests.runs import Log

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.servers.mariadb import Server

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

AT = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
STRICT = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
MODES = ["", STRICT, "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,NO_ZERO_IN_DATE", "TRADITIONAL", "ORACLE"]

Execute = Callable[..., list[tuple[Any, ...]]]
Send = Callable[..., SendResult]
Fetch = Callable[..., FetchResult]


@pytest.fixture(params=MODES[:2], ids=["lenient", "strict"])
def server(request: pytest.FixtureRequest, mariadb_server: Server) -> Server:
    from tests.servers import mariadb

    mariadb_server.set_mode(request.param)
    mariadb.empty(mariadb_server)
    return mariadb_server


@pytest.fixture
def db(server: Server) -> Iterator[Execute]:
    """Execute statements as the owner, who is as lenient as the server's settings are."""
    with server.connect() as made, made.cursor() as cursor:

        def execute(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

        yield execute


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    for name in ("workspace", "spool"):
        (tmp_path / name).mkdir()
    return RunContext(
        connection="shop",
        run=7,
        at=AT,
        workspace=tmp_path / "workspace",
        spool=tmp_path / "spool",
        programs=tmp_path / "programs",
        report=Log(),
    )


@pytest.fixture
def send(server: Server, context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Send:
    from tests.servers.mariadb import PASSWORD

    monkeypatch.setattr(failure, "PAUSE", 0.01)

    def send(rows: Sequence[dict[str, Any]], **settings: Any) -> SendResult:
        where = {"type": "sql", "url": server.url, "password": PASSWORD, "table": "people", "mode": "insert"}
        sql.target({**where, **settings}, context)
        local = tmp_path / "rows.jsonl"
        local.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return sql.deliver({**where, **settings}, context, local)

    return send


@pytest.fixture
def fetch(server: Server, context: RunContext) -> Fetch:
    from tests.servers.mariadb import PASSWORD

    def fetch(**settings: Any) -> FetchResult:
        where = {"type": "sql", "url": server.url, "password": PASSWORD}
        return sql.fetch({**where, **settings}, context, known=lambda *_: False, mark=None)

    return fetch


def rows(fetched: FetchResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(fetched.files[0].path).read_text(encoding="utf-8").splitlines()]


# --- values that arrive ------------------------------------------------------------------------------------------

VALUES: list[tuple[str, Any, Any]] = [
    # declared type, value in the file, what is there
    ("varchar(8)", "Alexandr", "Alexandr"),
    ("varchar(8)", "", ""),
    ("varchar(20)", "Zoë 🎉 \\'\"%", "Zoë 🎉 \\'\"%"),
    ("varchar(8) CHARACTER SET latin1", "Zoë", "Zoë"),
    ("varchar(20)", ["a", "b"], "a;b"),
    ("varchar(20)", True, "true"),
    ("char(8)", "a", "a"),
    ("longtext", "x" * 65_000, "x" * 65_000),
    ("tinyint", "127", 127),
    ("tinyint", "-128", -128),
    ("bigint unsigned", "18446744073709551615", 2**64 - 1),
    ("int unsigned zerofill", "7", 7),
    ("boolean", True, 1),
    ("boolean", False, 0),
    ("int", True, 1),
    ("bit(1)", True, b"\x01"),
    ("bit(1)", False, b"\x00"),
    ("bit(10)", "513", b"\x02\x01"),
    ("decimal(10,2)", "12.50", Decimal("12.50")),
    ("decimal(10,2)", "12.500", Decimal("12.50")),
    ("decimal(38,9)", "12345678901234567890.123456789", Decimal("12345678901234567890.123456789")),
    ("float", "0.1", 0.1),
    ("double", "0.1", 0.1),
    ("double", "123456789.125", 123456789.125),
    ("date", "2026-11-22", date(2026, 11, 22)),
    ("date", "2026-11-22T00:00:00Z", date(2026, 11, 22)),
    ("datetime", "2026-11-22T10:15:00+01:00", datetime(2026, 11, 22, 9, 15)),
    ("datetime(6)", "2026-11-22T09:15:00.123456Z", datetime(2026, 11, 22, 9, 15, 0, 123456)),
    ("timestamp", "2026-11-22T09:15:00Z", datetime(2026, 11, 22, 11, 15)),  # as the server's clock shows it
    ("time", "09:15:00", timedelta(hours=9, minutes=15)),
    ("time(3)", "-36:00:00.250", -timedelta(hours=36, milliseconds=250)),
    ("year", "2026", 2026),
    ("enum('a','b')", "b", "b"),
    ("set('a','b')", "a,b", "a,b"),
    ("json", ["a;b", "c"], '["a;b", "c"]'),
    ("json", '{"a": 1.10}', '{"a": 1.10}'),
    ("json", None, None),
    ("datetime", None, None),
]


def test_values_get_the_types_of_their_columns(db: Execute, send: Send) -> None:
    db(f"CREATE TABLE people ({', '.join(f'c{n} {case[0]} NULL' for n, case in enumerate(VALUES))})")
    assert send([{f"c{n}": case[1] for n, case in enumerate(VALUES)}]).refused == ()
    assert list(db("SELECT * FROM people")[0]) == [case[2] for case in VALUES]


# --- values that would be others ---------------------------------------------------------------------------------

BENT: list[tuple[str, Any, str]] = [
    # declared type, value, code
    ("varchar(8)", "Alexandrina", "too-long"),
    ("varchar(3)", "abc  ", "would-change"),  # a note only, even in strict mode
    ("char(8)", "a ", "would-change"),
    ("char(8)", "Alexandrina", "too-long"),
    ("tinytext", "x" * 256, "too-long"),
    ("varchar(8) CHARACTER SET latin1", "Łódź", "wrong-type"),
    ("varchar(8) CHARACTER SET utf8mb3", "🎉", "wrong-type"),
    ("varchar(8) CHARACTER SET ascii", "Zoë", "wrong-type"),
    ("tinyint", "300", "out-of-range"),
    ("tinyint unsigned", "-1", "out-of-range"),
    ("int", "2147483648", "out-of-range"),
    ("int", "007", "wrong-type"),
    ("int", "1e3", "wrong-type"),
    ("int", "1.5", "wrong-type"),
    ("boolean", "true", "wrong-type"),
    ("boolean", "300", "out-of-range"),
    ("bit(1)", "2", "too-long"),
    ("decimal(10,2)", "12.505", "would-change"),
    ("decimal(4,2)", "123.5", "out-of-range"),
    ("float", "16777217", "would-change"),
    ("float", "123456.789", "would-change"),
    ("float(10,2)", "1.234", "would-change"),
    ("double", "0.1000000000000000055", "would-change"),
    ("double(10,2)", "1.234", "would-change"),
    ("date", "2026-11-22T09:15:00Z", "wrong-type"),
    ("date", "2026-02-30", "wrong-type"),
    ("date", "0000-00-00", "wrong-type"),
    ("datetime", "2026-11-22T09:15:00.5Z", "would-change"),
    ("datetime(3)", "2026-11-22T09:15:00.0005Z", "would-change"),
    ("timestamp", "1969-01-01T00:00:00Z", "wrong-type"),
    ("timestamp", "2026-11-22T09:15:00.5Z", "would-change"),
    ("time", "09:15:00.5", "would-change"),
    ("time", "839:00:00", "wrong-type"),
    ("year", "26", "would-change"),
    ("enum('a','b')", "c", "wrong-type"),
    ("enum('a','b')", "A", "would-change"),
    ("enum('a','b')", "1", "would-change"),
    ("enum('a','b')", "", "wrong-type"),
    ("set('a','b')", "b,a", "would-change"),
    ("json", "{", "wrong-type"),
    ("json", "[NaN]", "wrong-type"),
    ("varchar(20)", ["a;b", "c"], "unwritable-format"),
    ("blob", "x", "wrong-type"),
]


@pytest.mark.parametrize("mode", ["insert", "upsert", "replace"])
def test_a_value_that_would_be_another_one_is_refused(mode: str, db: Execute, send: Send) -> None:
    kinds = ", ".join(f"c{n} {kind} NULL" for n, (kind, _, _) in enumerate(BENT))
    db(f"CREATE TABLE people (k int PRIMARY KEY, {kinds})")
    nothing = {f"c{n}": None for n in range(len(BENT))}
    wrong = [{"k": str(2 * n), **nothing, f"c{n}": value} for n, (_, value, _) in enumerate(BENT)]
    mixed = [row for n, one in enumerate(wrong) for row in (one, {"k": str(2 * n + 1), **nothing})]
    done = send(mixed, mode=mode, batch=17, **({"unique": ["k"]} if mode == "upsert" else {}))
    found = {one.row // 2: (one.code, one.message) for one in done.refused}
    assert {n: code for n, (code, _) in found.items()} == {n: case[2] for n, case in enumerate(BENT)}, found
    assert [row[0] for row in db("SELECT k FROM people ORDER BY k")] == [2 * n + 1 for n in range(len(BENT))]
    for n, (_, value, _) in enumerate(BENT):
        assert f"c{n}" in found[n][1]
        assert not isinstance(value, str) or len(value) < 4 or value not in found[n][1], "a message shows no value"


def test_the_words_of_the_server_name_no_value(db: Execute, send: Send) -> None:
    db("CREATE TABLE people (id varchar(20) PRIMARY KEY, t timestamp NULL, n int CHECK (n < 150))")
    db("INSERT INTO people (id) VALUES ('it''s')")
    given = [{"id": "it's"}, {"id": "b", "t": "1969-01-01T00:00:00Z"}, {"id": "c", "n": "150"}, {"id": "d"}]
    done = send([{"t": None, "n": None, **row} for row in given])
    assert [(one.code, one.message) for one in done.refused] == [
        ("duplicate-key", "Duplicate entry '…' for key 'PRIMARY'"),
        ("wrong-type", "Incorrect datetime value: '…' for column `crm`.`connrunner_rows`.`t`"),
        ("check-failed", "CONSTRAINT `people.n` failed for `crm`.`people`"),
    ]
    assert [row[0] for row in db("SELECT id FROM people ORDER BY id")] == ["d", "it's"]


def test_values_that_nobody_sent(db: Execute, send: Send) -> None:
    """No value is made up: not by a default, not by a counter, not for a time."""
    db("CREATE TABLE people (id int AUTO_INCREMENT PRIMARY KEY, name varchar(9), x varchar(9) NOT NULL)")
    done = send([{"id": "1", "name": "a"}, {"id": "2", "name": "b"}])
    assert {(one.code, one.message) for one in done.refused} == {
        ("missing-value", "Field 'x' doesn't have a default value")
    }
    db("ALTER TABLE people MODIFY x varchar(9) NULL")
    done = send([{"id": None, "name": "a"}, {"id": "0", "name": "b"}, {"id": "5", "name": "c"}])
    assert [(one.row, one.code) for one in done.refused] == [(0, "missing-value")]
    assert db("SELECT id, name FROM people ORDER BY id") == [(0, "b"), (5, "c")]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_the_server(mode: str, server: Server, db: Execute, send: Send) -> None:
    server.set_mode(mode)
    db("CREATE TABLE people (id varchar(20) PRIMARY KEY, note varchar(8), n tinyint, t timestamp NULL)")
    given = [("k1", "Alexandrina", "3"), ("k2", "Ann", "300"), ("k3", "a\\b'c\"", "3"), ("k4", "", "3")]
    done = send([{"id": key, "note": note, "n": n, "t": None} for key, note, n in given])
    assert [(one.row, one.code) for one in done.refused] == [(0, "too-long"), (1, "out-of-range")]
    assert db("SELECT id, note, n FROM people ORDER BY id") == [("k3", "a\\b'c\"", 3), ("k4", "", 3)]


# --- keys --------------------------------------------------------------------------------------------------------

KEYS = [
    # the key's column, the keys that come, those that arrive
    ("varchar(20)", ["k1", "K1", "k2", "K1"], ["k1", "k2"]),
    ("varchar(20)", ["jose", "josé", "a", "a "], ["a", "jose"]),
    ("varchar(20) COLLATE utf8mb4_bin", ["k1", "K1"], ["K1", "k1"]),
    ("int", ["1", "1.0", "2"], [1, 2]),
]


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize(("kind", "given", "arrived"), KEYS)
def test_a_row_does_not_overwrite_another_one_of_the_run(
    kind: str, given: list[str], arrived: list[Any], batch: int, db: Execute, send: Send
) -> None:
    db(f"CREATE TABLE people (k {kind} PRIMARY KEY, n int)")
    lines = [{"k": key, "n": str(n)} for n, key in enumerate(given)]
    for _ in range(2):
        done = send(lines, mode="upsert", unique=["k"], batch=batch)
        assert {one.code for one in done.refused} <= {"duplicate-key"}
        assert len(done.refused) == len(given) - len(arrived)
        there = db("SELECT k, n FROM people ORDER BY k")
        assert [key for key, _ in there] == arrived
        assert [given[n] for _, n in there] == [str(key) for key in arrived]


def test_a_key_that_is_unique_by_its_beginning_only(db: Execute, send: Send) -> None:
    db("CREATE TABLE people (k varchar(20), n int, UNIQUE (k(3)))")
    with pytest.raises(RunError, match="are not unique"):
        send([{"k": "abc1", "n": "1"}], mode="upsert", unique=["k"])


def test_a_table_that_cannot_undo(db: Execute, send: Send) -> None:
    """One refused row doubles none of the others, although the server keeps what came before it."""
    db("CREATE TABLE people (n int, name varchar(3) UNIQUE) ENGINE=MyISAM")
    given = [{"n": str(n), "name": "x" if n in (3, 4) else str(n)} for n in range(9)]
    done = send(given)
    assert [(one.row, one.code) for one in done.refused] == [(4, "duplicate-key")]
    assert [row[0] for row in db("SELECT n FROM people ORDER BY n")] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_a_user_who_may_not_make_temporary_tables(server: Server, db: Execute, send: Send) -> None:
    db("CREATE TABLE people (n int)")
    server.root("CREATE OR REPLACE USER writer@'127.0.0.1'", "GRANT SELECT, INSERT ON crm.people TO writer@'127.0.0.1'")
    with pytest.raises(RunError, match="no temporary table.*GRANT SELECT on the table and CREATE TEMPORARY") as caught:
        send([{"n": "1"}], username="writer", password="")
    assert caught.value.code == "not-permitted"


# --- import ------------------------------------------------------------------------------------------------------


def test_lengths_of_time_have_one_spelling(db: Execute, fetch: Fetch) -> None:
    db("CREATE TABLE people (a time(6), b time(6), c time, d bit(1), e bit(10))")
    db("INSERT INTO people VALUES ('36:00:00', '-36:00:00.25', '00:00:00', b'1', 513)")
    expected = {"a": "36:00:00", "b": "-36:00:00.250000", "c": "00:00:00", "d": "1", "e": "513"}
    assert rows(fetch(table="people")) == [expected]
    assert rows(fetch(query="SELECT * FROM people")) == [expected]


def test_a_column_that_is_there_twice(db: Execute, fetch: Fetch) -> None:
    db("CREATE TABLE people (id int)")
    db("INSERT INTO people VALUES (1)")
    with pytest.raises(RunError, match="id"):
        fetch(query="SELECT a.id, b.id FROM people a JOIN people b USING (id)")


def test_there_and_back(db: Execute, send: Send, fetch: Fetch) -> None:
    """Text of every kind comes back as it went, whatever the URL says of characters."""
    db("CREATE TABLE people (id int PRIMARY KEY, name text)")
    people = [{"id": str(n), "name": text} for n, text in enumerate(["Zoë", "🎉", "", "a\\nb", "'", "%s", "?", " x "])]
    assert send(people, mode="upsert", unique=["id"]).refused == ()
    assert rows(fetch(query="SELECT * FROM people ORDER BY id")) == people


# --- from the command line ---------------------------------------------------------------------------------------


def test_a_lenient_server_from_the_command_line(server: Server, db: Execute, place: Place) -> None:
    """The row that would be cut is rejected, with the server's words and its profile; the others are written."""
    from tests.servers.mariadb import PASSWORD

    db("CREATE TABLE a (id varchar(20) PRIMARY KEY, note varchar(8), n tinyint, b boolean)")
    place.write(
        "profile.yaml",
        "properties:\n  id: {type: text, identifier: true, personal: false}\n  note: {type: text}\n"
        "  n: {type: integer}\n  b: {type: boolean}\n",
    )
    place.write("in/a.csv", "id,note,n,b\nk1,Alexandrina,3,yes\nk2,Ann,300,no\nk3,Bob,3,yes\nK3,Cy,4,no\n")
    fields = "{id: id, note: note, n: n, b: b}"
    place.write(
        "connections/in.yaml",
        f"schedule: {{type: manual}}\nimport: {{from: {{type: files, path: in/a.csv}}, match: [id], fields: {fields}}}\n",
    )
    to = f'{{type: sql, url: "{server.url}", password: "env:SHOP", table: a, mode: upsert, unique: [id]}}'
    place.write("connections/out.yaml", f"schedule: {{type: manual}}\nexport: {{to: {to}, fields: {fields}}}\n")
    place.run("run", "in")
    done = place.run("run", "out", check=None, env={"SHOP": PASSWORD})
    assert "partial" in done.out + done.err
    assert db("SELECT * FROM a") == [("k3", "Bob", 3, 1)]
    (ran,) = place.runs("out")
    assert (ran["counts"]["rejected"], ran["counts"]["created"]) == (3, 1)
    told = json.loads(place.run("rejects", "out", "--format", "json").out)
    assert sorted((one["key"], one["code"]) for one in told) == [
        ("id=K3", "duplicate-key"),
        ("id=k1", "too-long"),
        ("id=k2", "out-of-range"),
    ]
