"""Rows of a file arrive in a PostgreSQL table: by COPY into a place of their own, and from there with their types."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from connrunner.connectors import Refusal
from connrunner.connectors.sql import postgres_tables as tables
from connrunner.connectors.sql import sending
from connrunner.connectors.sql.database_url import DatabaseAddress
from connrunner.connectors.sql.failure import NOT_PERMITTED, NOT_ROWS, may_refuse_a_row, persistently
from connrunner.connectors.sql.postgres import PostgresSession, name_postgres, session
from connrunner.connectors.sql.postgres_bends import bent_column
from connrunner.connectors.sql.postgres_tables import Column, Table
from connrunner.connectors.sql.sending import Line, LoadProgress, TableLoad
from connrunner.core.report import Report
from connrunner.errors import RunError

_NUMBER = "connrunner_number"
_TELLS_VALIDITY = 160000  # the server version from which pg_input_is_valid is there

_PLACES = """
    CREATE TEMPORARY TABLE connrunner_rows (number bigint, record text);
    CREATE TEMPORARY TABLE connrunner_refused (number bigint, state text, words text)
"""
_CLEAR = "TRUNCATE pg_temp.connrunner_rows, pg_temp.connrunner_refused"
# A line of JSON holds no control characters, so that nothing of it is taken for a quote or a delimiter.
_COPY = r"COPY pg_temp.connrunner_rows FROM STDIN (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"
_STAGED = "pg_temp.connrunner_rows AS staged, LATERAL json_to_record(staged.record::json) AS x({})"
_GIVEN = "json_to_record(given.record::json) AS x({})"
_ONE_BY_ONE = """
    #variable_conflict use_column
    DECLARE
        given record;
        connrunner_bent text;
    BEGIN
        FOR given IN SELECT staged.number, staged.record FROM pg_temp.connrunner_rows AS staged ORDER BY staged.number
        LOOP
            BEGIN
                {arrive}
            EXCEPTION WHEN OTHERS THEN
                IF left(SQLSTATE, 2) = ANY({fatal}) AND SQLSTATE <> {not_permitted} THEN
                    RAISE;
                END IF;
                INSERT INTO pg_temp.connrunner_refused VALUES (given.number, SQLSTATE, SQLERRM);
            END;
        END LOOP;
    END
"""
_REMEMBER = "INSERT INTO pg_temp.connrunner_keys SELECT {number}, {values} FROM {rows} WHERE {whole}"
_FIRST = """
    WITH first AS ({remember} AND staged.number NOT IN (SELECT number FROM pg_temp.connrunner_refused)
        ORDER BY staged.number ON CONFLICT DO NOTHING RETURNING connrunner_number AS number)
    INSERT INTO pg_temp.connrunner_refused
    SELECT staged.number, {same_key}, NULL FROM {rows} WHERE {whole}
        AND staged.number NOT IN (SELECT number FROM pg_temp.connrunner_refused)
        AND staged.number NOT IN (SELECT number FROM first)
"""
_BENT = """
    INSERT INTO pg_temp.connrunner_refused
    SELECT number, {would_change}, bent FROM (SELECT staged.number, {bent} AS bent FROM {rows}) AS looked_at
    WHERE bent IS NOT NULL
"""
# What we say about a row ourselves, where the server would tell an SQLSTATE.
_WOULD_CHANGE, _SAME_KEY = "would change", "same key"
_NEEDED = {"insert": ("INSERT",), "upsert": ("INSERT", "UPDATE"), "replace": ("INSERT", "DELETE")}


def check(address: DatabaseAddress, load: TableLoad) -> str:
    """Return how people call the table; RunError when rows cannot arrive in it."""
    with session(address) as here:
        found = tables.read_table(here, load.table)
        sending.check_key(load, tables.read_columns(here, found), tables.unique_keys(here, found), here.where)
        user = here.connection.info.user
        for right in _NEEDED[load.mode]:
            allowed = "has_table_privilege" if right == "DELETE" else "has_any_column_privilege"
            if not _true(here, f"SELECT {allowed}(%s::oid, %s)", found.oid, right):
                raise RunError(
                    f"user {user!r} may not {right} in table {found.name} of {here.where}",
                    hint=f"GRANT {right} on it to the user",
                    code="not-permitted",
                )
        if not _true(here, "SELECT has_database_privilege(current_database(), 'TEMPORARY')"):
            raise RunError(
                f"user {user!r} may not make temporary tables in {here.where}",
                hint="GRANT TEMPORARY on the database to the user",
                code="not-permitted",
            )
        return f"{load.table} of {here.where}"


def write(address: DatabaseAddress, load: TableLoad, local: Path, report: Report) -> tuple[str, tuple[Refusal, ...]]:
    """Bring the rows of *local* into the table; return how people call it, and the rows that it refused."""
    sent = LoadProgress()
    persistently(lambda: _send(address, load, local, sent, report), report, so_far=lambda: sent.rows)
    return f"{load.table} of {name_postgres(address)}", tuple(sent.refused)


def _send(address: DatabaseAddress, load: TableLoad, local: Path, sent: LoadProgress, report: Report) -> None:
    """Send what *sent* does not hold yet."""
    names = sending.read_row_columns(local)
    if not names and load.mode != "replace":
        return
    with sending.known_outcome(load) as ending, session(address) as here:
        found = tables.read_table(here, load.table)
        there = tables.read_columns(here, found)
        sending.check_columns(names, load, there, here.where)
        desk = _StagingTable(here, found, [there[name] for name in names], load)
        if load.at_once:
            whole = LoadProgress()  # nothing has arrived before all has
            with here.connection.transaction():
                desk.begin()
                for batch in sending.batches(local, load.batch):
                    whole.add(len(batch), desk.bring(batch), here.where)
                    report.progress("writing", whole.rows)
                sending.check_replacement(load, whole, here.where)
                ending.committing = True
            sent.rows, sent.refused = whole.rows, whole.refused
            return
        desk.remember(sending.batches(local, load.batch), sent)
        for batch in sending.batches(local, load.batch, skip=sent.rows):
            with here.connection.transaction():
                desk.begin()
                refused = desk.bring(batch)
            sent.add(len(batch), refused, here.where)
            report.progress("writing", sent.rows)


class _StagingTable:
    """A place in the database for one batch of rows, and the statements that take them from there to their table."""

    def __init__(self, here: PostgresSession, found: Table, columns: list[Column], load: TableLoad) -> None:
        self._here = here
        self._found = found
        self._columns = columns
        self._load = load
        self._bent = bent_column(columns)
        self._key = [column for column in columns if column.name in load.key]
        self._texts = [one.name for one in columns if not one.is_array and one.kind not in ("json", "jsonb")]
        self._insert = self._statement(_STAGED)
        here.execute(_PLACES)
        if self._key:
            names = sql.SQL(", ").join(sql.Identifier(column.name) for column in self._key)
            like = sql.SQL("CREATE TEMPORARY TABLE connrunner_keys AS SELECT 0::bigint AS {}, {} FROM {} WITH NO DATA")
            here.execute(like.format(sql.Identifier(_NUMBER), names, found.identifier))
            here.execute(sql.SQL("CREATE UNIQUE INDEX ON pg_temp.connrunner_keys ({})").format(names))

    def begin(self) -> None:
        """Make ready within a transaction: a constraint is checked at once, so that it tells the row."""
        self._here.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if self._load.mode == "replace":
            # Not TRUNCATE: with DELETE others read the old rows until the new ones are there.
            self._here.execute(sql.SQL("DELETE FROM {}").format(self._found.identifier))

    def remember(self, batches: Iterable[list[Line]], sent: LoadProgress) -> None:
        """Learn the keys of what an earlier connection has *sent*; the first rows of *batches* are those."""
        if not sent.rows:
            return
        refused = {one.row for one in sent.refused}
        with self._here.connection.transaction():
            for batch in batches:
                self._stage([line for line in batch if line[0] < sent.rows and line[0] not in refused])
                self._here.execute(self._keys(_STAGED, "staged.number") + sql.SQL(" ON CONFLICT DO NOTHING"))
                if batch[-1][0] >= sent.rows:
                    break

    def bring(self, batch: list[Line]) -> list[Refusal]:
        """Bring the rows of *batch* into the table, within the open transaction; return those that it refused."""
        connection = self._here.connection
        batch, refused = self._join_members(batch)
        self._stage(batch)
        try:
            with connection.transaction():  # a savepoint
                self._sift()
                arrived = self._here.execute(self._insert).rowcount
        except psycopg.Error as error:
            if not may_refuse_a_row(error.sqlstate):
                raise
            self._one_by_one()
            arrived = -1
        by_number = dict(batch)
        if arrived != len(batch):
            refused += [
                self._refusal((number, by_number[number]), state, words, column)
                for number, state, words, column in self._refused()
            ]
            if self._key:
                refused += [
                    sending.no_key((number, by_number[number]), self._load.key) for number in self._without_key()
                ]
        return sorted(refused, key=lambda one: one.row)

    def _join_members(self, batch: list[Line]) -> tuple[list[Line], list[Refusal]]:
        """Return the rows with a text for each set that comes to a column of one value; and those without one."""
        lines: list[Line] = []
        refused = []
        for line in batch:
            if b"[" not in line[1] or not any(isinstance(one, list) for one in sending.record(line).values()):
                lines.append(line)
                continue
            record = sending.record(line)
            for name in self._texts:
                if isinstance(record[name], list):
                    try:
                        record[name] = sending.join_members(record[name])
                    except sending.NotJoinedError:
                        refused.append(sending.not_joined(line, name))
                        break
            else:
                lines.append((line[0], json.dumps(record).encode() + b"\n"))
        return lines, refused

    def _stage(self, batch: list[Line]) -> None:
        """Send the rows of *batch* as they are to a place of their own."""
        self._here.execute(_CLEAR)
        with self._here.connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.write(b"".join(b"%d\x02%b" % line for line in batch))
        self._here.heard()

    def _sift(self) -> None:
        """Keep aside the rows that the table would keep otherwise than they are, or over another one of this run."""
        if self._bent is not None:
            statement = sql.SQL(_BENT)
            would_change = sql.Literal(_WOULD_CHANGE)
            self._here.execute(statement.format(would_change=would_change, bent=self._bent, rows=self._from(_STAGED)))
        if self._key:
            self._here.execute(
                sql.SQL(_FIRST).format(
                    remember=self._keys(_STAGED, "staged.number"),
                    same_key=sql.Literal(_SAME_KEY),
                    rows=self._from(_STAGED),
                    whole=self._has_key(),
                )
            )

    def _keys(self, rows: str, number: LiteralString) -> sql.Composed:
        """Return the statement that notes the keys of *rows*, up to its WHERE."""
        values = sql.SQL(", ").join(map(_value, self._key))
        return sql.SQL(_REMEMBER).format(
            number=sql.SQL(number), values=values, rows=self._from(rows), whole=self._has_key()
        )

    def _has_key(self) -> sql.Composed:
        return sql.SQL(" AND ").join(sql.SQL("x.{} IS NOT NULL").format(sql.Identifier(one.name)) for one in self._key)

    def _refusal(self, line: Line, state: str, words: str | None, column: str | None) -> Refusal:
        if state == _SAME_KEY:
            return sending.same_key(line, self._load.key)
        if state == _WOULD_CHANGE:
            kind = next(one.whole for one in self._columns if one.name == words)
            return sending.would_change(line, str(words), kind)
        return sending.refusal(line, state, str(words), column)

    def _arrive_alone(self) -> sql.Composable:
        """Return the statements that bring in the row `given`, within PL/pgSQL."""
        statement: sql.Composable = sql.SQL("{};").format(self._statement(_GIVEN))
        refuse = sql.SQL("INSERT INTO pg_temp.connrunner_refused VALUES (given.number, {}, connrunner_bent);")
        if self._key:
            statement = sql.SQL(
                "{remember} ON CONFLICT DO NOTHING;"
                " IF NOT FOUND AND (SELECT {whole} FROM {rows}) THEN {refuse} ELSE {statement} END IF;"
            ).format(
                remember=self._keys(_GIVEN, "given.number"),
                whole=self._has_key(),
                rows=self._from(_GIVEN),
                refuse=refuse.format(sql.Literal(_SAME_KEY)),
                statement=statement,
            )
        if self._bent is None:
            return statement
        return sql.SQL(
            "SELECT {bent} INTO connrunner_bent FROM {rows};"
            " IF connrunner_bent IS NOT NULL THEN {refuse} ELSE {statement} END IF;"
        ).format(
            bent=self._bent,
            rows=self._from(_GIVEN),
            refuse=refuse.format(sql.Literal(_WOULD_CHANGE)),
            statement=statement,
        )

    def _one_by_one(self) -> None:
        """Bring the rows in one by one, on the server, and keep those that fail aside."""
        block = sql.SQL(_ONE_BY_ONE).format(
            arrive=self._arrive_alone(),
            fatal=sql.Literal(list(NOT_ROWS)),
            not_permitted=sql.Literal(NOT_PERMITTED),
        )
        text = sql.Literal(block.as_string(self._here.connection))
        self._here.execute(sql.SQL("DO LANGUAGE plpgsql {}").format(text))

    def _refused(self) -> list[tuple[int, str, str | None, str | None]]:
        """Return number, state, words and column of the rows that failed; the column where the server can tell it."""
        connection = self._here.connection
        rows = self._here.execute("SELECT number, state, words FROM pg_temp.connrunner_refused").fetchall()
        name_postgres: dict[int, str] = {}
        scalars = [column for column in self._columns if not column.is_array]
        if connection.info.server_version >= _TELLS_VALIDITY and scalars:
            faults = [
                sql.SQL("WHEN NOT pg_input_is_valid(x.{}, {}) THEN {}").format(
                    sql.Identifier(column.name), sql.Literal(column.whole), sql.Literal(column.name)
                )
                for column in scalars
            ]
            asked = sql.SQL(
                "SELECT staged.number, CASE {} END FROM (SELECT s.number, s.record FROM pg_temp.connrunner_rows s"
                " JOIN pg_temp.connrunner_refused r USING (number)"
                " WHERE r.state LIKE '22%' AND r.state NOT IN ('22P05', '22023', '22032')) AS staged,"
                " LATERAL json_to_record(staged.record::json) AS x({})"
            ).format(sql.SQL(" ").join(faults), self._definition())
            name_postgres = {number: column for number, column in self._here.execute(asked) if column is not None}
        return [(number, state, words, name_postgres.get(number)) for number, state, words in rows]

    def _without_key(self) -> list[int]:
        empty = sql.SQL(" OR ").join(sql.SQL("x.{} IS NULL").format(sql.Identifier(name)) for name in self._load.key)
        asked = sql.SQL(
            "SELECT staged.number FROM {} WHERE ({}) AND staged.number NOT IN"
            " (SELECT number FROM pg_temp.connrunner_refused)"
        ).format(self._from(_STAGED), empty)
        return [number for (number,) in self._here.execute(asked)]

    def _definition(self) -> sql.Composable:
        """Return the columns of a record as it comes: text, or JSON where the table wants an array."""
        kinds = ((column.name, "json" if column.is_array else "text") for column in self._columns)
        return sql.SQL(", ").join(sql.SQL("{} " + kind).format(sql.Identifier(name)) for name, kind in kinds)

    def _from(self, rows: str) -> sql.Composed:
        return sql.SQL(rows).format(self._definition())

    def _statement(self, rows: str) -> sql.Composed:
        """Return the INSERT that takes its values from *rows*."""
        key = [sql.Identifier(name) for name in self._load.key]
        statement = sql.SQL("INSERT INTO {table} ({columns}) SELECT {values} FROM {rows}").format(
            rows=self._from(rows),
            table=self._found.identifier,
            columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in self._columns),
            values=sql.SQL(", ").join(map(_value, self._columns)),
        )
        if rows == _STAGED:
            sifted = sql.SQL("staged.number NOT IN (SELECT number FROM pg_temp.connrunner_refused)")
        else:
            sifted = sql.SQL("true")
        statement = sql.SQL("{} WHERE {}").format(statement, sifted)
        if not key:
            return statement
        others = [sql.Identifier(column.name) for column in self._columns if column.name not in self._load.key]
        action: sql.Composable = sql.SQL("NOTHING")
        if others:
            changes = sql.SQL(", ").join(sql.SQL("{} = excluded.{}").format(name, name) for name in others)
            action = sql.SQL("UPDATE SET {}").format(changes)
        return sql.SQL("{} AND {} ON CONFLICT ({}) DO {}").format(
            statement,
            self._has_key(),
            sql.SQL(", ").join(key),
            action,
        )


def _value(column: Column) -> sql.Composable:
    """Return the expression that gives a text its type. Lengths are left to the assignment: a cast would cut."""
    name, kind = sql.Identifier("x", column.name), sql.SQL(column.type)
    if not column.is_array:
        return sql.SQL("{}::{}").format(name, kind)
    return sql.SQL(
        "CASE WHEN json_typeof({name}) <> 'null' THEN ARRAY(SELECT json_array_elements_text("
        "CASE json_typeof({name}) WHEN 'array' THEN {name} ELSE json_build_array({name}) END))::{kind} END"
    ).format(name=name, kind=kind)


def _true(here: PostgresSession, question: str, *values: object) -> bool:
    answer = here.execute(question, values).fetchone()
    return bool(answer and answer[0])
