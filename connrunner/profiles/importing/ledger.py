"""
Which files has a connection read before, and which of their rows were refused?

A file is the same when its name and the import's mapping are, and either its size and the source's stamp of its
version, or its bytes. Refused rows (invalid and ambiguous ones) of a file that stays the same are offered again by
each run; rows that were blocked for lack of consent, or found no profile, are not. Files whose rows are handed over
once are not noted here: see `retained_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from connrunner.core.model import LocalFile
from connrunner.lazy_dataclasses import dataclass
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


def load_entries(session: StoreSession, files: Iterable[LocalFile], connection: str) -> Mapping[str, tuple[Any, ...]]:
    """Return the facts that are noted of those of *files* of *connection* that were read before, by their names."""
    found = session.execute(
        "SELECT name, mapping, size, modified, digest, rows, coalesce(len(refused), 0), increments FROM store.files"
        " WHERE connection = ? AND name IN (SELECT unnest(?::VARCHAR[]))",
        [connection, [file.name for file in files]],
    )
    return {name: tuple(facts) for name, *facts in found.fetchall()}


def find_entry(
    entries: Mapping[str, tuple[Any, ...]], file: LocalFile, plan: ImportPlan, *, digest: Callable[[], str]
) -> LedgerEntry:
    """Return what is known about *file* by the *entries*; *digest* is called only when its bytes decide."""
    if file.name not in entries:
        return LedgerEntry()
    mapping, size, modified, known_digest, rows, refused, increments = entries[file.name]
    fingerprint = plan.fingerprint_of(file)
    if size != file.size:
        return LedgerEntry()
    if not (modified and modified == file.modified) and known_digest != digest():
        return LedgerEntry()
    if mapping != fingerprint:
        # The bytes are the same but mean something else now; what was added to a number must not be added again.
        return LedgerEntry(increments=tuple(increments))
    return LedgerEntry(same=True, rows=rows, refused=refused, digest=known_digest, increments=tuple(increments))


def forget_files(session: StoreSession, files: Iterable[LocalFile], connection: str) -> None:
    """Make *files* ones that were never read."""
    session.execute(
        "DELETE FROM store.files WHERE connection = ? AND name IN (SELECT unnest(?::VARCHAR[]))",
        [connection, [file.name for file in files]],
    )


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
    forget_files(session, [file], connection)
    session.execute(
        f"""INSERT INTO store.files SELECT ?, ?, ?, ?, ?, ?, ?,
            (SELECT coalesce(list(rn ORDER BY rn), []) FROM verdicts WHERE verdict IN ({refusals})), ?, ?""",
        [connection, file.name, fingerprint, file.size, file.modified, digest, rows, sorted(increments), run],
    )


def record_files(
    session: StoreSession,
    files: Sequence[tuple[int, LocalFile]],
    plan: ImportPlan,
    *,
    connection: str,
    digests: Sequence[str],
    rows: Sequence[int],
    first_line: int,
    run: int,
) -> None:
    """Record *files*, numbered as in `places`, that were staged together, as `record_file` does each of them."""
    refusals = ", ".join(map(str, REFUSED))
    forget_files(session, [file for _, file in files], connection)
    session.execute(
        f"""INSERT INTO store.files
        SELECT ?, f.name, f.mapping, f.size, f.modified, f.digest, f.rows, coalesce(r.refused, []), ?, ?
        FROM (SELECT unnest(?::INTEGER[]) AS part, unnest(?::VARCHAR[]) AS name, unnest(?::VARCHAR[]) AS mapping,
            unnest(?::BIGINT[]) AS size, unnest(?::VARCHAR[]) AS modified, unnest(?::VARCHAR[]) AS digest,
            unnest(?::BIGINT[]) AS rows) f
        LEFT JOIN (
            SELECT l.part, list(l.line - {first_line} ORDER BY l.line) AS refused
            FROM verdicts v JOIN places l ON l.rn = v.rn WHERE v.verdict IN ({refusals}) GROUP BY l.part
        ) r ON r.part = f.part ORDER BY f.part""",
        [
            connection,
            sorted(mapped.field.property for mapped in plan.increments),
            run,
            [part for part, _ in files],
            [file.name for _, file in files],
            [plan.fingerprint_of(file) for _, file in files],
            [file.size for _, file in files],
            [file.modified for _, file in files],
            list(digests),
            list(rows),
        ],
    )
