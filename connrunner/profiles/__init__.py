"""The profile store: what everything else may ask of it, and the values that go in and out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from connrunner.core.counts import Counts
from connrunner.core.model import Export, Format, Import, LocalFile, ProfileModel
from connrunner.core.report import Report

MEMORY_LIMIT = "512MB"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileResult:
    """What became of one file of an import."""

    name: str
    status: Literal["imported", "retried", "skipped"]  # retried: only the rows that were refused last time
    counts: Counts


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportResult:
    """What an import did; *counts* is the sum over its *files*."""

    counts: Counts
    files: tuple[FileResult, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """
    What an export wrote.

    read = profiles in the store; filtered = left out by `where`; consent_blocked = lacking consent; created = not in
    the last successful export; updated = sent then, with other values; unchanged = sent then with the same values, so
    left out now unless the export takes all rows. *rows_written* is how many are in the file.
    """

    counts: Counts
    rows_written: int


class ProfileStore(Protocol):
    """All profiles, their properties and consents, and what connections have read and sent."""

    def import_files(
        self,
        work: Import,
        files: Sequence[LocalFile],
        *,
        connection: str,
        run: int,
        at: datetime,
        rejects: Path,
        dry_run: bool = False,
    ) -> ImportResult:
        """
        Make profiles of the rows of *files*, in this order, and return what became of each row.

        All or nothing: RunError leaves the store as it was. Rows that did not become profiles are told in *rejects*,
        JSON lines, written only when there are any. *dry_run* does everything but keep the changes.
        """

    def export(self, work: Export, *, connection: str, run: int, at: datetime, path: Path) -> ExportResult:
        """Write the selected profiles to the new file *path*. Changes nothing before `exported`."""

    def exported(self, *, connection: str, run: int, at: datetime) -> None:
        """Record that what `export` wrote has arrived: 'changed' is counted from here. Same opening of the store."""

    def counts(self, *, connection: str, run: int) -> Counts | None:
        """Return the counters of a run that changed the store, or None when the store does not know it."""

    def count(self, where: str | None = None) -> int:
        """Return how many profiles there are (for which *where* holds)."""

    def find(self, name: str, value: str) -> list[dict[str, Any]]:
        """Return every profile whose property *name* is, or holds, *value*, with its consents and history."""

    def select(self, columns: Sequence[str] = (), *, where: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the profiles for which *where* holds, oldest first, with the properties *columns* (all by default)."""

    def write(self, path: Path, form: Format, columns: Sequence[str] = (), *, where: str | None = None) -> int:
        """Write what `select` yields to *path* and return how many profiles that were."""


def open_store(
    path: Path,
    model: ProfileModel,
    *,
    temp: Path,
    report: Report,
    memory_limit: str = MEMORY_LIMIT,
    read_only: bool = False,
    wait: float = 0,
) -> AbstractContextManager[ProfileStore]:
    """
    Open the store in the file *path*, made when it is not there, and give *model*'s properties their columns.

    One process at a time may have it open (several when each is *read_only*): others wait up to *wait* seconds, then
    get a RunError with `waiting_helps`. What does not fit in *memory_limit* goes to the folder *temp*.
    """
    from connrunner.profiles import duckdb

    return duckdb.open_store(
        path, model, temp=temp, report=report, memory_limit=memory_limit, read_only=read_only, wait=wait
    )
