"""Rows of a PostgreSQL table or query become a file, by COPY, as one consistent view of the data."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from connrunner.connectors import RunContext
from connrunner.connectors.sql import postgres_tables as tables
from connrunner.connectors.sql.database_url import DatabaseAddress
from connrunner.connectors.sql.names import near
from connrunner.connectors.sql.postgres import PostgresSession, session
from connrunner.connectors.sql.postgres_tables import Column
from connrunner.connectors.sql.reading import Mark, ReadQuery, RowsFile
from connrunner.core.model import Format
from connrunner.core.report import Report
from connrunner.errors import RunError

OFTEN = 10_000  # rows between two words about how far it is

CSV = Format(type="csv", compression="none")
JSONL = Format(type="jsonl", compression="none")

# From when on a value is in the future, and what counts instead. The session's zone is UTC, and the clocks of the earth
# are up to 14 hours ahead of it and 12 behind: a time without a zone may be that of any of them.
_TIMES = {
    "timestamptz": ("now()", "now()"),
    "timestamp": ("now()::timestamp + interval '14 hours'", "now()::timestamp - interval '12 hours'"),
    "date": ("now()::date + 1", "now()::date - 1"),
}
_NUMBERS = {
    "int2": "int8",
    "int4": "int8",
    "int8": "int8",
    "numeric": "numeric",
    "float4": "float8",
    "float8": "float8",
}

# How a value of each type is written; all others are written as the server writes them.
_TEXT = {
    "bool": "{}::text",  # COPY writes t and f
    "timestamptz": "replace(replace({}::text, ' ', 'T'), '+00', 'Z')",
    "float4": "{}::text::numeric::text",  # all its digits and no exponent
    "float8": "{}::text::numeric::text",
    "money": "{}::numeric::text",
    "bpchar": "{}::text",  # without the blanks that fill it up
}
_JSON = ("int2", "int4", "int8", "numeric", "json", "jsonb", "timestamp")  # what JSON would write in another way


def read(
    address: DatabaseAddress, wanted: ReadQuery, since: Mark | None, of: str, path: Path, context: RunContext
) -> RowsFile:
    """Write the *wanted* rows to *path*; with a mark of an earlier run, those at or behind it, and a little before."""
    with session(address, read_only=True) as here:
        query = _query(here, wanted)
        columns = _columns(here, wanted, query)
        form = JSONL if any(column.is_array for column in columns.values()) else CSV
        selected = sql.SQL("SELECT {values} FROM (\n{query}\n) AS origin").format(
            values=sql.SQL(", ").join(_value(column, form) for column in columns.values()), query=query
        )
        mark = _Watermark(here, wanted, columns, since, of) if wanted.column is not None else None
        if mark is not None:
            selected += mark.condition()
        rows, last = _copy(here, selected, form, path, context.report, wanted.count_bytes)
        numbers = frozenset(
            name for name, column in columns.items() if column.element in _NUMBERS or column.kind in _NUMBERS
        )
        return RowsFile(
            rows=rows, form=form, mark=mark.moved(last, form) if mark is not None else None, numbers=numbers
        )


def _query(here: PostgresSession, wanted: ReadQuery) -> sql.Composable:
    if wanted.table is not None:
        return sql.SQL("SELECT * FROM {}").format(tables.read_table(here, wanted.table).identifier)
    # The text is the workspace's own. A semicolon at its end would stand inside the brackets.
    return sql.SQL((wanted.query or "").rstrip("; \t\r\n"))


def _columns(here: PostgresSession, wanted: ReadQuery, query: sql.Composable) -> Mapping[str, Column]:
    """Return the columns of the result; RunError for what a file of rows cannot hold."""
    # With `binary` the server takes this for one statement only, whatever the query holds.
    here.execute(sql.SQL("PREPARE connrunner_query AS\n{}").format(query), binary=True)
    try:
        probe = sql.SQL("SELECT * FROM (\n{}\n) AS origin LIMIT 0").format(query)
        description = here.execute(probe, binary=True).description or []
    except psycopg.errors.SyntaxError:
        raise RunError(
            f"{wanted} of {here.where} is not a SELECT", hint="an import may only read", code="bad-query"
        ) from None
    names = [column.name for column in description]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RunError(
            f"{wanted} of {here.where} has {names.count(twice[0])} columns called {twice[0]!r}",
            hint="give each a name of its own with AS",
            code="duplicate-column",
        )
    columns = tables.result_columns(here, description)
    if not columns:
        raise RunError(f"{wanted} of {here.where} has no columns", hint="name some", code="missing-column")
    binary = [name for name, column in columns.items() if "bytea" in (column.kind, column.element)]
    if binary:
        raise RunError(
            f"column {binary[0]!r} of {wanted} of {here.where} holds bytes (bytea), which are not text",
            hint="leave it out with a `query`, or encode it there: encode(column, 'base64')",
            code="binary-column",
        )
    return columns


def _value(column: Column, form: Format) -> sql.Composable:
    """Return the expression that writes *column*, under its own name."""
    name = sql.Identifier("origin", column.name)
    if column.is_array:
        # The elements as text: a number of JSON may lose digits on its way. Instants keep the form of JSON, RFC 3339.
        pattern = "to_json({})" if column.element == "timestamptz" else "to_json({}::text[])"
    elif column.is_composite:
        pattern = "to_json({})::text"
    else:
        pattern = _TEXT.get(column.kind, "{}::text" if form.type == "jsonl" and column.kind in _JSON else "{}")
    return sql.SQL(pattern + " AS {}").format(name, sql.Identifier(column.name))


def _copy(
    here: PostgresSession,
    selected: sql.Composable,
    form: Format,
    path: Path,
    report: Report,
    count_bytes: Callable[[int], None],
) -> tuple[int, bytes]:
    """Write the rows to *path*; return how many there are, and the last one as it stands there."""
    if form.type == "csv":
        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER)").format(selected)
    else:
        # JSON holds no control characters, so that nothing of it is ever quoted.
        statement = sql.SQL(
            r"COPY (SELECT row_to_json(record.*) FROM ({}) AS record)"
            r" TO STDOUT (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"
        ).format(selected)
    rows = -1 if form.type == "csv" else 0  # the header
    last: Any = b""
    with (
        here.connection.cursor() as cursor,
        path.open("wb", buffering=1 << 20) as file,
        cursor.copy(statement) as copy,
    ):
        for last in copy:  # the protocol promises one row at a time
            count_bytes(len(last))
            file.write(last)
            rows += 1
            if rows and rows % OFTEN == 0:
                here.heard()
                report.progress("reading", rows)
    report.progress("reading", rows, rows)
    return rows, bytes(last) if rows else b""


class _Watermark:
    """The column by which new rows are known: which rows are read now, and from where the next run goes on."""

    def __init__(
        self, here: PostgresSession, wanted: ReadQuery, columns: Mapping[str, Column], since: Mark | None, of: str
    ) -> None:
        assert wanted.column is not None
        if wanted.column not in columns:
            raise RunError(
                f"{wanted} of {here.where} has no column {wanted.column!r} for `watermark`",
                hint=near(wanted.column, columns, "columns"),
                code="missing-column",
            )
        self._here, self._columns, self._since, self._of = here, columns, since, of
        self._column = columns[wanted.column]
        self._kind = "time" if self._column.kind in _TIMES else "number" if self._column.kind in _NUMBERS else "other"
        self._late = wanted.late(self._kind)

    def condition(self) -> sql.Composable:
        """Return what stands behind FROM: which rows, the newest last, so that it wins over older ones."""
        column = sql.Identifier("origin", self._column.name)
        order = sql.SQL(" ORDER BY {} NULLS FIRST").format(column)
        if self._since is None:
            return order
        value = sql.Literal(self._since.value)
        start: sql.Composable = value
        match self._kind:
            case "time":
                start = sql.SQL("({}::{kind} - {} * interval '1 second')::{kind}").format(
                    value,
                    sql.Literal(self._late),
                    kind=sql.SQL(self._column.kind),
                )
            case "number":
                start = sql.SQL("({}::numeric - {})::{}").format(
                    value,
                    sql.Literal(self._late),
                    sql.SQL(_NUMBERS[self._column.kind]),
                )
        # A row without a value may be new as well as old.
        return sql.SQL(" WHERE {column} >= {start} OR {column} IS NULL").format(column=column, start=start) + order

    def moved(self, last: bytes, form: Format) -> Mark | None:
        """Return the mark after the *last* row; never behind the old one, and never in the future."""
        text = self._cell(last, form)
        if text in ("", "NaN", "Infinity"):
            return self._since
        if self._kind == "other":
            return Mark(of=self._of, type=self._column.type, value=text)
        kind = sql.SQL(self._column.kind)
        value: sql.Composable = sql.SQL("{}::{}").format(sql.Literal(text), kind)
        if self._kind == "time":
            limit, instead = map(sql.SQL, _TIMES[self._column.kind])
            value = sql.SQL("CASE WHEN {value} > {limit} THEN {instead} ELSE {value} END").format(
                value=value, limit=limit, instead=instead
            )
        if self._since is not None:
            value = sql.SQL("greatest({}, {}::{})").format(value, sql.Literal(self._since.value), kind)
        found = self._here.execute(sql.SQL("SELECT ({})::text").format(value)).fetchone()
        assert found is not None
        return Mark(of=self._of, type=self._column.type, value=found[0])

    def _cell(self, row: bytes, form: Format) -> str:
        if form.type == "jsonl":
            return (json.loads(row)[self._column.name] or "") if row else ""
        csv.field_size_limit(1 << 30)
        cells = next(csv.reader(io.StringIO(row.decode(), newline="")), [])
        place = list(self._columns).index(self._column.name)
        return cells[place] if len(cells) > place else ""
