"""The profile store: what everything else may ask of it. `stores/` says where profiles are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from connrunner.core.counts import Counts
from connrunner.core.model import Format, Import
from connrunner.core.retention_policy import RetainedRows
from connrunner.profiles.jobs import ExportJob, ImportJob, RunStamp
from connrunner.profiles.results import ExportResult, ImportResult, RecordedRun, RefusedRow, UnconfirmedRows


class ProfileStore(Protocol):
    """All profiles, their properties and consents, and what connections have read and sent."""

    def import_files(self, job: ImportJob) -> ImportResult:
        """
        Make profiles of the rows of the files, and return what became of each row.

        All or nothing: RunError leaves the store as it was.
        """

    def load_known_files(self, work: Import, *, connection: str) -> Callable[[str, int, str], bool]:
        """
        Return a function: was a file (name, bytes, its source's stamp) imported with no row refused?

        It answers for *work* as it is now, by what is known now, also when the store is closed.
        """

    def has_read_files(self, connection: str) -> bool:
        """Return whether an import of *connection* has ever read a file, since `forget_connection`."""

    def read_mark(self, connection: str) -> Any:
        """Return the mark that the last import of *connection* left, or None."""

    def describe_connection(self, connection: str) -> dict[str, Any]:
        """
        Return how far *connection* has come, as plain JSON.

        `files` it has read, newest first (`name`, `size`, `modified`, `rows`, `refused`, `run`), its `mark`, how many
        refused rows are kept (`kept_rows`) and how many profiles its exports have `sent`.
        """

    def forget_connection(self, connection: str) -> None:
        """Forget how far *connection* has come: what `describe_connection` returns. Profiles and runs stay."""

    def refuse_short(self) -> None:
        """RunError when the store's file ends before what it says it holds."""

    def list_retained(self) -> list[RetainedRows]:
        """Return, for each connection and run, how many of its refused rows are retained to be offered again."""

    def drop_retained(self, expired: Iterable[RetainedRows]) -> None:
        """Retain the rows of *expired* no longer: they are not offered again. All or nothing."""

    def export(self, job: ExportJob) -> ExportResult:
        """
        Write the selected profiles to a file, and return what becomes of each profile.

        RunError, before anything is written, when that cannot be or when the export expects something else. Nothing in
        the store changes before `confirm_export`.
        """

    def confirm_export(
        self, stamp: RunStamp, *, refused: Sequence[RefusedRow] = (), rejects: Path | None = None, where: str = ""
    ) -> Counts:
        """
        Record that what `export` wrote has arrived at *where*, all but *refused*, and return the final counters.

        'changed' is counted from here. Refused rows count as rejected and are offered again by the next export. They
        and the profiles that consent keeps back are named in *rejects* (JSON lines, written only when there are any; at
        most 100,000 of both). Same opening of the store.
        RunError, and nothing is recorded, for a row that the file does not have.
        """

    def find_unconfirmed(self, connection: str) -> UnconfirmedRows | None:
        """Return the rows of an export of *connection* that was cut off, and that could be settled; None without."""

    def settle_export(self, rows: UnconfirmedRows, *, refused: Collection[int], unknown: Collection[int]) -> None:
        """
        Record what became of the *rows* of an export that was cut off: all but the *refused* ones have arrived.

        Nobody knows it of the *unknown* ones. All or nothing; RunError for a row that there is not.
        """

    def read_counts(self, *, connection: str, run: int) -> Counts | None:
        """Return the counters of a run that changed the store, or None when the store does not know it."""

    def read_recorded(self, stamp: RunStamp) -> RecordedRun | None:
        """Return a run that changed the store as its transaction recorded it; None when it is not in the store."""

    def count(self, where: str | None = None) -> int:
        """Return how many profiles there are (for which *where* holds)."""

    def find(self, name: str, value: str) -> list[dict[str, Any]]:
        """Return every profile whose property *name* is, or holds, *value*, with its consents and history."""

    def find_number(self, number: int) -> dict[str, Any] | None:
        """Return the profile with that *number* in the store, as `find` does, or None."""

    def select(self, columns: Sequence[str] = (), *, where: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the profiles for which *where* holds, oldest first, with the properties *columns* (all by default)."""

    def write(self, path: Path, form: Format, columns: Sequence[str] = (), *, where: str | None = None) -> int:
        """Write what `select` yields to *path* and return how many profiles that were."""
