"""
Which files has a connection read before, and which of their rows were refused?

A file is the same when its name and the import's mapping are, and either its size and the source's stamp of its
version, or its bytes. Refused rows (invalid and ambiguous ones) of a file that stays the same are offered again by
each run; rows that were blocked for lack of consent, or found no profile, are not. Files whose rows are handed over
once are not noted here: see `retained_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from connrunner.core.model import LocalFile
from connrunner.profiles.importing.classify import REFUSED
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.session import StoreSession

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


def load_accepted(session: StoreSession, plan: ImportPlan, connection: str) -> Callable[[str, int, str], bool]:
    """
    Return a function: was a file (name, bytes, its source's stamp) imported with no row refused?

    It answers by what was known when it was returned, the store closed or not. A file without a stamp is never known.
    """
    known = set(
        session.execute(
            "SELECT name, size, modified FROM store.files"
            " WHERE connection = ? AND mapping = ? AND modified <> '' AND coalesce(len(refused), 0) = 0",
            [connection, plan.fingerprint],
        ).fetchall()
    )
    return lambda name, size, modified: (name, size, modified) in known


def find_entry(
    session: StoreSession,
    file: LocalFile,
    plan: ImportPlan,
    *,
    connection: str,
    digest: Callable[[], str],
) -> LedgerEntry:
    """Return what is known about *file* of *connection*; *digest* is called only when its bytes decide."""
    found = session.execute(
        "SELECT mapping, size, modified, digest, rows, coalesce(len(refused), 0), increments FROM store.files"
        f" WHERE {_ONE}",
        [connection, file.name],
    ).fetchone()
    if found is None:
        return LedgerEntry()
    mapping, size, modified, known_digest, rows, refused, increments = found
    fingerprint = plan.fingerprint_of(file)
    if size != file.size:
        return LedgerEntry()
    if not (modified and modified == file.modified) and known_digest != digest():
        return LedgerEntry()
    if mapping != fingerprint:
        # The bytes are the same but mean something else now; what was added to a number must not be added again.
        return LedgerEntry(increments=tuple(increments))
    return LedgerEntry(same=True, rows=rows, refused=refused, digest=known_digest, increments=tuple(increments))


def forget_file(session: StoreSession, file: LocalFile, connection: str) -> None:
    """Make *file* one that was never read."""
    session.execute(f"DELETE FROM store.files WHERE {_ONE}", [connection, file.name])


def load_refused(session: StoreSession, file: LocalFile, connection: str) -> None:
    """Make the temporary table `refused` (rn) of the rows of *file* that were refused."""
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE refused AS SELECT unnest(refused) AS rn FROM store.files WHERE {_ONE}",
        [connection, file.name],
    )


def record_file(
    session: StoreSession,
    file: LocalFile,
    plan: ImportPlan,
    *,
    connection: str,
    digest: str,
    rows: int,
    increments: Iterable[str],
    run: int,
) -> None:
    """Record that *file* was read in the store's run number *run*, with the refused rows of the table `verdicts`."""
    refusals = ", ".join(map(str, REFUSED))
    fingerprint = plan.fingerprint_of(file)
    forget_file(session, file, connection)
    session.execute(
        f"""INSERT INTO store.files SELECT ?, ?, ?, ?, ?, ?, ?,
            (SELECT coalesce(list(rn ORDER BY rn), []) FROM verdicts WHERE verdict IN ({refusals})), ?, ?""",
        [connection, file.name, fingerprint, file.size, file.modified, digest, rows, sorted(increments), run],
    )
