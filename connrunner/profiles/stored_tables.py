"""Which tables and columns the attached store has: one of an earlier version may lack some."""

from __future__ import annotations

import duckdb


def has_stored_table(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Return whether the attached store has the table *name*."""
    statement = "SELECT 1 FROM duckdb_tables() WHERE database_name = 'store' AND table_name = ?"
    return connection.execute(statement, [name]).fetchone() is not None


def read_table_columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns of *table* in their order, by their plain names, with their types."""
    statement = (
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE database_name = 'store' AND table_name = ? ORDER BY column_index"
    )
    return dict(connection.execute(statement, [table]).fetchall())
