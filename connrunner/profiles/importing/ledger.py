"""
Which files has a connection read before, and which of their rows were refused?

A file is the same when its name and the import's mapping are, and either its size and the source's stamp of its
version, or its bytes. Refused rows (invalid and ambiguous ones) of a file that stays the same are offered again by
each run; rows that were blocked for lack of consent, or found no profile, are not. Files whose rows are handed over
once are not noted here: see `kept`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import duckdb

from connrunner.core.model import LocalFile
from connrunner.profiles.importing.classify import REFUSED
from connrunner.profiles.mapping import ImportPlan

_ONE = "connection = ? AND name = ?"


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """What is known about a file that is about to be read."""

    same: bool = False  # its rows were read before, by this mapping
    rows: int = 0
    refused: int = 0  # how many of them were refused
    digest: str = ""
    increments: tuple[str, ...] = ()  # properties that the file's other rows have been added to

    @property
    def task(self) -> Literal["skip", "retry", "read"]:
        """What is left to do with the file."""
        if not self.same:
            return "read"
        return "retry" if self.refused else "skip"


def accepted(
    connection: duckdb.DuckDBPyConnection, plan: ImportPlan, *, reader: str
) -> Callable[[str, int, str], bool]:
    """
    Return what tells whether a file (name, bytes, its source's stamp) was imported with no row refused.

    It answers by what was known when it was made, the store closed or not. A file without a stamp is never known.
    """
    known = set(
        connection.execute(
            "SELECT name, size, modified FROM store.files"
            " WHERE connection = ? AND mapping = ? AND modified <> '' AND coalesce(len(refused), 0) = 0",
            [reader, plan.fingerprint],
        ).fetchall()
    )
    return lambda name, size, modified: (name, size, modified) in known


def look_up(
    connection: duckdb.DuckDBPyConnection,
    file: LocalFile,
    plan: ImportPlan,
    *,
    reader: str,
    digest: Callable[[], str],
) -> LedgerEntry:
    """Return what is known about *file* of the connection *reader*; *digest* is asked only when its bytes decide."""
    found = connection.execute(
        "SELECT mapping, size, modified, digest, rows, coalesce(len(refused), 0), increments FROM store.files"
        f" WHERE {_ONE}",
        [reader, file.name],
    ).fetchone()
    if found is None:
        return LedgerEntry()
    mapping, size, modified, bytes_digest, rows, refused, increments = found
    meaning = plan.meaning(file)
    if size != file.size:
        return LedgerEntry()
    if not (modified and modified == file.modified) and bytes_digest != digest():
        return LedgerEntry()
    if mapping != meaning:
        # The bytes are the same but mean something else now; what was added to a number must not be added again.
        return LedgerEntry(increments=tuple(increments))
    return LedgerEntry(same=True, rows=rows, refused=refused, digest=bytes_digest, increments=tuple(increments))


def forget(connection: duckdb.DuckDBPyConnection, file: LocalFile, *, reader: str) -> None:
    """Make *file* one that was never read."""
    connection.execute(f"DELETE FROM store.files WHERE {_ONE}", [reader, file.name])


def refused(connection: duckdb.DuckDBPyConnection, file: LocalFile, *, reader: str) -> None:
    """Make the temporary table `refused` (rn) of the rows of *file* that were refused."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE refused AS SELECT unnest(refused) AS rn FROM store.files WHERE {_ONE}",
        [reader, file.name],
    )


def remember(
    connection: duckdb.DuckDBPyConnection,
    file: LocalFile,
    plan: ImportPlan,
    *,
    reader: str,
    digest: str,
    rows: int,
    increments: Iterable[str],
    run: int,
) -> None:
    """Note that *file* was read in the store's run number *run*, with the refused rows of the table `verdicts`."""
    refusals = ", ".join(map(str, REFUSED))
    forget(connection, file, reader=reader)
    connection.execute(
        f"""INSERT INTO store.files SELECT ?, ?, ?, ?, ?, ?, ?,
            (SELECT coalesce(list(rn ORDER BY rn), []) FROM verdicts WHERE verdict IN ({refusals})), ?, ?""",
        [reader, file.name, plan.meaning(file), file.size, file.modified, digest, rows, sorted(increments), run],
    )
