"""
What profiles held before each import changed them, for as long as that import can be undone.

    undo_runs   each import that changed profiles: the columns that it could change, in the order of the flags; until
                when it can be undone; and the run that has undone it
    before      the changed profiles of these runs: `part` counts the changes of one profile within a run, the flags
                `m0`, `m1`... say which columns changed, and `was COLUMN` holds what stood there

A profile that a run created has no row: `_created` says so. A run that keeps no values leaves its flags all the same,
so that an earlier run that is undone does not overwrite what came after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import duckdb

from connrunner.core import instant
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import stored_tables
from connrunner.profiles.sql_fragments import quote_name

FLAGS = 60  # in one column
_UNDO_RUNS = "CREATE TABLE store.undo_runs (run INTEGER, columns VARCHAR[], expires TIMESTAMPTZ, undone INTEGER)"


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoableRun:
    """An import whose changes are known: its number in the store, and the plain names of its columns by their flags."""

    run: int
    columns: tuple[str, ...]

    def touches(self, column: str, alias: str = "b") -> str:
        """Return the condition that a row of `before` of this run changed *column*."""
        return flag_of(self.columns.index(column), alias) if column in self.columns else "false"


def flag_of(position: int, alias: str) -> str:
    """Return the condition that the flag at *position* is set."""
    number, bit = divmod(position, FLAGS)
    return f"coalesce({alias}.m{number} >> {bit} & 1 = 1, false)"


def combine_flags(conditions: Mapping[int, str], *, columns: int) -> list[str]:
    """Return the expressions of m0, m1... that say which of the *conditions*, by their positions, hold."""
    found = []
    for number in range(-(-columns // FLAGS)):
        mine = (f"(({one})::BIGINT << {at % FLAGS})" for at, one in conditions.items() if at // FLAGS == number)
        found.append(" | ".join(mine) or "0")
    return found


def name_former(column: str) -> str:
    """Return the name, ready for SQL, of the column of `before` with what stood in the plain *column* of `profiles`."""
    return quote_name(f"was {column}")


def prepare_before(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str]) -> None:
    """Make the tables, or bring them up to date with the *columns* of `profiles`: their types, by plain names."""
    wanted = {f"m{number}": "BIGINT" for number in range(-(-len(columns) // FLAGS) or 1)}
    wanted |= {f"was {column}": kind for column, kind in columns.items()}
    if not stored_tables.has_stored_table(connection, "undo_runs"):
        more = ", ".join(f"{quote_name(name)} {kind}" for name, kind in wanted.items())
        connection.execute(
            f"{_UNDO_RUNS}; CREATE TABLE store.before (run INTEGER, part INTEGER, profile BIGINT, {more})"
        )
        return
    there = stored_tables.read_table_columns(connection, "before")
    for name, kind in wanted.items():
        if name not in there:
            connection.execute(f"ALTER TABLE store.before ADD COLUMN {quote_name(name)} {kind}")


def drop_column(connection: duckdb.DuckDBPyConnection, column: str) -> None:
    """Forget the former values of a *column* that gets another type; runs that changed it cannot be undone any more."""
    if not stored_tables.has_stored_table(connection, "undo_runs"):
        return
    connection.execute("UPDATE store.undo_runs SET expires = 'epoch' WHERE list_contains(columns, ?)", [column])
    connection.execute(f"ALTER TABLE store.before DROP COLUMN IF EXISTS {name_former(column)}")


def start_keeping(
    connection: duckdb.DuckDBPyConnection, run: int, columns: Sequence[str], *, at: datetime, keep: int | None
) -> None:
    """Note that the store's run number *run* may change the plain *columns*, and can be undone for *keep* seconds."""
    expires = instant.text(at + timedelta(seconds=keep)) if keep else "epoch"
    connection.execute("INSERT INTO store.undo_runs VALUES (?, ?, ?::TIMESTAMPTZ, NULL)", [run, columns, expires])


def drop_expired(connection: duckdb.DuckDBPyConnection, at: datetime) -> None:
    """
    Remove what no run needs any more that can still be undone at the instant *at*.

    The flags of a run are needed by the undoing of each earlier one, its values by its own alone.
    """
    now = [instant.text(at)]
    expired = connection.execute(
        "SELECT run, columns, undone FROM store.undo_runs WHERE expires <= ?::TIMESTAMPTZ OR undone IS NOT NULL", now
    ).fetchall()
    if not expired:
        return
    first = connection.execute(
        "SELECT min(run) FROM store.undo_runs WHERE expires > ?::TIMESTAMPTZ AND undone IS NULL", now
    ).fetchone()
    kept = first[0] if first and first[0] is not None else None
    condition = "true" if kept is None else f"run < {kept}"
    connection.execute(f"DELETE FROM store.before WHERE {condition}; DELETE FROM store.undo_runs WHERE {condition}")
    # Of a run that is undone nothing is left.
    bare = [(run, columns) for run, columns, undone in expired if kept is not None and run > kept and undone is None]
    for column in dict.fromkeys(column for _, columns in bare for column in columns):
        name = name_former(column)
        connection.execute(
            f"UPDATE store.before SET {name} = NULL WHERE {name} IS NOT NULL AND run IN (SELECT unnest(?::INTEGER[]))",
            [[run for run, columns in bare if column in columns]],
        )


def keep_former(
    connection: duckdb.DuckDBPyConnection,
    *,
    run: int,
    part: int,
    rows: str,
    flags: Iterable[str],
    changed: Mapping[str, str],
    keep: bool,
) -> None:
    """
    Keep what the profiles `p` of *rows*, a FROM clause with its conditions, hold now.

    *flags* are the expressions of m0, m1...; *changed* has, by plain column, the condition that it changes. Without
    *keep* the flags alone are kept.
    """
    columns = {"run": str(run), "part": str(part), "profile": "p._id"}
    columns |= {f"m{number}": flag for number, flag in enumerate(flags)}
    if keep:
        columns |= {
            f"was {name}": f"CASE WHEN {is_so} THEN p.{quote_name(name)} END" for name, is_so in changed.items()
        }
    connection.execute(
        f"INSERT INTO store.before ({', '.join(map(quote_name, columns))}) SELECT {', '.join(columns.values())} {rows}"
    )
