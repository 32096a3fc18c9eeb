"""The profile store: what everything else may ask of it, and the values that go in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from connrunner.core.counts import Counts
from connrunner.core.model import Export, Format, Import, LocalFile, ProfileModel
from connrunner.core.report import Report
from connrunner.profiles.results import ExportResult, ImportResult, RefusedRow

MEMORY_LIMIT = "512MB"


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
        mark: Any = None,
    ) -> ImportResult:
        """
        Make profiles of the rows of *files*, in this order, and return what became of each row.

        All or nothing: RunError leaves the store as it was. Rows that did not become profiles are told in *rejects*,
        JSON lines, written only when there are any. *dry_run* does everything but keep the changes, and tells the first
        differences. A file with an empty `path` is one that is `known`. *mark*, plain JSON, is kept with the rows; None
        keeps the one that is there.
        """

    def known(self, work: Import, *, connection: str) -> Callable[[str, int, str], bool]:
        """
        Return what tells whether a file (name, bytes, its source's stamp) was imported with no row refused.

        It answers for *work* as it is now, by what is known now, also when the store is closed.
        """

    def mark(self, *, connection: str) -> Any:
        """Return the mark that the last import of *connection* left, or None."""

    def remembered(self, connection: str) -> dict[str, Any]:
        """
        Return how far *connection* has come, as plain JSON.

        `files` it has read, newest first (`name`, `size`, `modified`, `rows`, `refused`, `run`), its `mark`, how many
        refused rows are kept (`kept_rows`) and how many profiles its exports have `sent`.
        """

    def forget(self, connection: str) -> None:
        """Forget how far *connection* has come: what `remembered` tells of. Profiles and runs stay."""

    def export(
        self,
        work: Export,
        *,
        connection: str,
        run: int,
        at: datetime,
        path: Path,
        form: Format | None = None,
        samples: int = 0,
    ) -> ExportResult:
        """
        Write the selected profiles to the new file *path*, and return so many *samples* of its rows.

        *form* is how the rows stand in it, when the destination decides; else as *work* says. RunError, before anything
        is written, when that cannot be or when *work* expects something else. Changes nothing before `exported`.
        """

    def exported(
        self,
        *,
        connection: str,
        run: int,
        at: datetime,
        refused: Sequence[RefusedRow] = (),
        rejects: Path | None = None,
    ) -> Counts:
        """
        Record that what `export` wrote has arrived, all but *refused*, and return the final counters.

        'changed' is counted from here. Refused rows count as rejected, are told in *rejects* (JSON lines, written only
        when there are any; at most 100,000) and are offered again by the next export. Same opening of the store.
        RunError, and nothing is recorded, for a row that the file does not have.
        """

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
    from connrunner.profiles.stores import duckdb

    return duckdb.open_store(
        path, model, temp=temp, report=report, memory_limit=memory_limit, read_only=read_only, wait=wait
    )


def write_parquet(rows: str, columns: Mapping[str, str], path: Path) -> None:
    """Write *rows*, CSV with a header, as a Parquet file; see `parquet_conversion`."""
    from connrunner.profiles import parquet_conversion

    parquet_conversion.write_parquet(rows, columns, path)
