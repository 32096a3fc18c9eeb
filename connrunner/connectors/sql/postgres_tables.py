"""What a PostgreSQL database says about its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from connrunner.connectors.sql.names import TableName, near
from connrunner.connectors.sql.postgres import PostgresSession
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass

# Under a domain is a type, sometimes by way of other domains; that type decides how values look.
_UNDER = """
    WITH RECURSIVE kinds AS (
        {start}
        UNION ALL
        SELECT k.place, k.name, k.whole, t.typbasetype FROM kinds k JOIN pg_catalog.pg_type t ON t.oid = k.under
        WHERE t.typtype = 'd')
    SELECT k.name, k.whole, pg_catalog.format_type(k.under, -1), t.typname, t.typcategory = 'A',
        coalesce(e.typname, ''), t.typtype = 'c'
    FROM kinds k JOIN pg_catalog.pg_type t ON t.oid = k.under LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
    WHERE t.typtype <> 'd' ORDER BY k.place
"""
_OF_TABLE = """
    SELECT a.attnum AS place, a.attname::text AS name,
        pg_catalog.format_type(a.atttypid, a.atttypmod) AS whole, a.atttypid AS under
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_OF_RESULT = """
    SELECT place, name, pg_catalog.format_type(oid, NULL) AS whole, oid AS under
    FROM unnest(%s::text[], %s::text[]::oid[]) WITH ORDINALITY AS given(name, oid, place)
"""
_FOUND = """
    SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname = %(table)s
    AND (n.nspname = %(schema)s OR %(schema)s::text IS NULL AND pg_catalog.pg_table_is_visible(c.oid))
"""
_VISIBLE = """
    SELECT table_schema, table_name FROM information_schema.tables
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
"""
_UNIQUE = """
    SELECT array_agg(a.attname::text) FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey[0:i.indnkeyatts - 1])
    WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate
    AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indexrelid ORDER BY bool_or(i.indisprimary) DESC, i.indexrelid
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a table or of a query's result."""

    name: str
    whole: str  # its type with length and scale, a domain by its own name; as SQL
    type: str  # the type below all domains, without length; as SQL
    kind: str  # the common word for that type: int4, timestamptz, _text
    is_array: bool
    element: str  # the common word for the type of an array's elements
    is_composite: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table that is there."""

    oid: int
    name: TableName

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.name.schema or "", self.name.table)


def read_table(session: PostgresSession, name: TableName) -> Table:
    """Return the table, view or foreign table that is called *name*; RunError when there is none."""
    wanted = {"table": name.table, "schema": name.schema}
    found = session.execute(_FOUND, wanted).fetchone()
    if found is not None:
        return Table(oid=found[0], name=TableName(schema=found[1], table=found[2]))
    there = [TableName(schema=schema, table=one) for schema, one in session.execute(_VISIBLE)]
    names = {str(TableName(table=one.table) if name.schema is None else one) for one in there}
    hint = near(str(name), names or map(str, there), "tables")
    raise RunError(f"{session.where} has no table {str(name)!r}", hint=hint, code="missing-table")


def read_columns(session: PostgresSession, found: Table) -> dict[str, Column]:
    """Return the columns of a table by name, in their order."""
    return _columns(session, _OF_TABLE, (found.oid,))


def result_columns(session: PostgresSession, description: Sequence[psycopg.Column]) -> dict[str, Column]:
    """Return the columns of a result by name, in their order."""
    given = ([one.name for one in description], [str(one.type_code) for one in description])
    return _columns(session, _OF_RESULT, given)


def unique_keys(session: PostgresSession, found: Table) -> list[frozenset[str]]:
    """Return the sets of columns that no two rows have in common, the primary key first."""
    return [frozenset(names) for (names,) in session.execute(_UNIQUE, (found.oid,))]


def _columns(session: PostgresSession, start: LiteralString, given: Sequence[Any]) -> dict[str, Column]:
    rows = session.execute(sql.SQL(_UNDER).format(start=sql.SQL(start)), given)
    return {
        name: Column(
            name=name,
            whole=whole,
            type=kind_as_sql,
            kind=kind,
            is_array=is_array,
            element=element,
            is_composite=is_composite,
        )
        for name, whole, kind_as_sql, kind, is_array, element, is_composite in rows
    }
