"""
When the write-ahead log of the store is brought into its file.

DuckDB then writes each column of which a value has changed anew, for 122,880 profiles at a time: for a thousand changed
ones of a million that is a third of the file, and 300 times what the log says of them. So of a large store a short log
stays beside the file, as durable as the file is, and each opening reads it: a run costs what it changes. A small store,
whose file takes no longer than a log, has none after a run.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

LARGE = 1 << 24  # bytes of a store whose log may stay
# Bytes of a log that may stay: to read it again and again soon takes longer than to bring it in.
SHORT = 1 << 19


def choose_moments(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Leave it to `bring_log_in` to write the file of a large store, which is about to be attached."""
    if is_large(path):
        # By its own estimate of a transaction DuckDB brings it in at once, also when it changes little in many places;
        # what is as large as the file is better written there without a log.
        connection.execute(f"SET checkpoint_threshold = '{path.stat().st_size >> 20}MiB'")
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")


def is_large(path: Path) -> bool:
    """Return whether the log of the store at *path* may stay."""
    return path.exists() and path.stat().st_size >= LARGE


def find_log(path: Path) -> Path:
    """Return where the log of the store at *path* stands, if it has one."""
    return path.with_name(f"{path.name}.wal")


def bring_log_in(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Bring the log of the attached store into its file, unless it may stay."""
    log = find_log(path)
    if log.exists() and (log.stat().st_size > SHORT or not is_large(path)):
        connection.execute("CHECKPOINT store")
