"""The classified rows become profiles."""

from __future__ import annotations

import duckdb

from connrunner.core.counts import Counts, imbalance_error
from connrunner.profiles.importing import classify
from connrunner.profiles.importing.classify import NUMBER, VERDICTS
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.sql_fragments import any_of
from connrunner.profiles.tables import Layout


def counted(connection: duckdb.DuckDBPyConnection, stage: Stage) -> Counts:
    """Return the counters of the classified rows. RunError when they do not account for every row of the file."""
    found = dict(connection.execute("SELECT verdict, count(*) FROM verdicts GROUP BY verdict").fetchall())
    numbers = {name: found.get(number, 0) for number, name in enumerate(VERDICTS)}
    counts = Counts(read=stage.rows, checked=stage.rows - numbers["skipped"], **numbers)
    if problem := counts.imbalance():
        raise imbalance_error(problem)
    return counts


def merge(
    connection: duckdb.DuckDBPyConnection, stage: Stage, plan: ImportPlan, layout: Layout, *, run: int, counts: Counts
) -> None:
    """Write what the verdicts say, stamped with the number *run* of this run in `runs`."""
    changes = classify.changes(plan, layout)
    if counts.updated:
        written = _written(connection, changes)
        assignments = ", ".join([f"_changed = {run}", *(f"{one.column} = {one.updated}" for one in written)])
        _expect(
            connection,
            f"""UPDATE store.profiles p SET {assignments}
                FROM (SELECT v.pid, s.* FROM verdicts v JOIN {stage.table} s ON s.rowid = v.rn
                    WHERE v.verdict = {NUMBER["updated"]}) s
                WHERE p.rowid = s.pid""",
            counts.updated,
        )
    if counts.created:
        columns = ", ".join(["_id", "_created", "_changed", *(one.column for one in changes)])
        first = _next_profiles(connection, stage.rows)
        _expect(
            connection,
            f"""INSERT INTO store.profiles ({columns})
                SELECT {first} + s.rowid, {run}, {run}, {", ".join(one.new for one in changes)}
                FROM verdicts v JOIN {stage.table} s ON s.rowid = v.rn WHERE v.verdict = {NUMBER["created"]}""",
            counts.created,
        )
    if counts.consent_blocked and plan.consents:
        _record_refusals(connection, stage, plan, layout, run)


def _written(
    connection: duckdb.DuckDBPyConnection, changes: tuple[classify.ColumnChange, ...]
) -> list[classify.ColumnChange]:
    """Return the columns that change for at least one profile: a column that is not touched costs nothing."""
    flags = classify.flags(changes)
    found = connection.execute(
        f"SELECT {', '.join(f'bit_or({flag})' for flag in flags)} FROM verdicts WHERE verdict = {NUMBER['updated']}"
    ).fetchone()
    assert found is not None
    masks = dict(zip(flags, found, strict=True))
    return [one for one in changes if masks[one.flag] >> one.bit & 1]


def _next_profiles(connection: duckdb.DuckDBPyConnection, count: int) -> int:
    """Take *count* numbers for new profiles and return the first; they are never given again."""
    found = connection.execute("SELECT value FROM store.about WHERE key = 'next_profile'").fetchone()
    assert found is not None
    connection.execute("UPDATE store.about SET value = ? WHERE key = 'next_profile'", [str(int(found[0]) + count)])
    return int(found[0])


def _record_refusals(
    connection: duckdb.DuckDBPyConnection, stage: Stage, plan: ImportPlan, layout: Layout, run: int
) -> None:
    """
    Record what blocked rows refuse for the profiles they found.

    The row itself is not acted on, but whoever says no must be remembered as having said so.
    """
    columns = [layout.consents[objective] for objective, _ in plan.consents]
    refuses = [f"coalesce(NOT s.o{number}, false)" for number in range(len(columns))]
    told = [f"({no} AND p.{column} IS DISTINCT FROM false)" for no, column in zip(refuses, columns, strict=True)]
    assignments = [
        f"{column} = CASE WHEN {no} THEN false ELSE p.{column} END" for no, column in zip(refuses, columns, strict=True)
    ]
    connection.execute(f"""
        UPDATE store.profiles p SET _changed = {run}, {", ".join(assignments)}
        FROM (SELECT v.pid, s.* FROM verdicts v JOIN {stage.table} s ON s.rowid = v.rn
            WHERE v.verdict = {NUMBER["consent_blocked"]} AND v.pid IS NOT NULL) s
        WHERE p.rowid = s.pid AND ({any_of(told)})""")


def _expect(connection: duckdb.DuckDBPyConnection, statement: str, rows: int) -> None:
    """Execute *statement*. RunError when it changes another number of rows than the counters say."""
    found = connection.execute(statement).fetchone()
    if found is None or found[0] != rows:
        raise imbalance_error(f"{rows:,} profiles were to be written, {found and found[0]} were")
