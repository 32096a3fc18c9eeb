"""Where in its file the profile store has its blocks."""

from __future__ import annotations

import duckdb

from connrunner.profiles.sql_fragments import quote_name, quote_text

HEADERS = 3 * 4096  # bytes before the first block of a file of DuckDB


def find_end_of_blocks(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how long the file of `store` has to be: where the last block ends that one of its tables uses.

    Blocks that are free may lie behind it; DuckDB counts them, and writes them only when they are used.
    """
    size = connection.execute("SELECT block_size FROM pragma_database_size() WHERE database_name = 'store'").fetchone()
    tables = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'store'"
    last = -1
    for schema, table in connection.execute(tables).fetchall():
        name = quote_text(f"store.{quote_name(schema)}.{quote_name(table)}")
        found = connection.execute(f"SELECT max(block_id) FROM pragma_storage_info({name})").fetchone()
        last = max(last, -1 if found is None or found[0] is None else found[0])
    return HEADERS + (last + 1) * (size[0] if size else 0)
