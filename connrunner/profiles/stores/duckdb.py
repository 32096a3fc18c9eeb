"""The embedded profile store: one DuckDB file."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from connrunner.core.counts import Counts
from connrunner.core.model import Format, Import, LocalFile, ProfileModel
from connrunner.core.report import Report
from connrunner.core.retention_policy import RetainedRows
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.profiles import (
    ProfileStore,
    before,
    blocks,
    checkpoints,
    connection_state,
    numbering,
    recorded_runs,
    respelling,
    selection,
    store_failures,
    tables,
    tombstones,
    whole_store,
)
from connrunner.profiles.duckdb_words import UnexpectedStoreError, describe_error
from connrunner.profiles.exporting import run as exporting
from connrunner.profiles.exporting import unconfirmed
from connrunner.profiles.exporting.run import PendingExport
from connrunner.profiles.importing import ledger, retained_rows
from connrunner.profiles.importing import run as importing
from connrunner.profiles.jobs import ExportJob, ImportJob, RunStamp, UndoJob
from connrunner.profiles.mapping import make_plan
from connrunner.profiles.memory_limit import choose_memory_limit
from connrunner.profiles.patience import Patience
from connrunner.profiles.results import ExportResult, ImportResult, RecordedRun, RefusedRow, UnconfirmedRows, UndoResult
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.stores.beginning import make_missing_store
from connrunner.profiles.temporary_files import choose_path
from connrunner.profiles.undoing import undo_run
from connrunner.profiles.whole_store import Expected

SAID_AFTER = 1.0  # seconds of waiting for a store that are not worth a word
PAUSE = 0.2  # seconds between two attempts to open a store that is in use

# Nothing is fetched from the network, whatever a statement would like to use; progress is asked for, never printed.
# DuckDB's compression of texts makes the file a third, and changing one value in 25 ten times slower.
SETTINGS = """
    SET autoinstall_known_extensions = false;
    SET autoload_known_extensions = false;
    SET allow_community_extensions = false;
    SET disabled_compression_methods = 'dict_fsst';
    SET preserve_insertion_order = true;
    SET enable_progress_bar = true;
    SET enable_progress_bar_print = false;
    SET GLOBAL TimeZone = 'UTC';
"""
# No statement reaches a file but the store itself, those in *folder* and *files*, nor a network, and none takes these
# settings back. DuckDB looks at where a link leads.
_CONFINED = """
    SET allowed_directories = [{folder}];
    SET allowed_paths = [{files}];
    SET enable_external_access = false;
    SET lock_configuration = true;
"""


class DuckDBStore:
    """The `ProfileStore` in a DuckDB file."""

    def __init__(self, session: StoreSession) -> None:
        self._session = session
        self._pending: PendingExport | None = None  # what `export` wrote and nothing confirmed yet

    def import_files(self, job: ImportJob) -> ImportResult:
        with self._translation():
            if not self._confine(file.path for file in job.files if file.path):
                job = replace(job, files=[self._bring_in(file) for file in job.files])
            return importing.import_files(self._session, job)

    def undo(self, job: UndoJob) -> UndoResult:
        with self._translation():
            return undo_run(self._session, job)

    def load_known_files(self, work: Import, *, connection: str) -> Callable[[str, int, str], bool]:
        with self._translation():
            return ledger.load_accepted(self._session, make_plan(work, self._session.model), connection)

    def has_read_files(self, connection: str) -> bool:
        with self._translation():
            return connection_state.has_read_files(self._session, connection)

    def read_mark(self, connection: str) -> Any:
        with self._translation():
            return connection_state.read_mark(self._session, connection)

    def describe_connection(self, connection: str) -> dict[str, Any]:
        with self._translation():
            return connection_state.describe_connection(self._session, connection)

    def forget_connection(self, connection: str) -> None:
        with self._translation():
            connection_state.forget_connection(self._session, connection)

    def refuse_short(self) -> None:
        """RunError when the file ends before a block that a table has: opening it reads no more than where they are."""
        with self._translation():
            needed = blocks.find_end_of_blocks(self._session.connection)
        if self._session.path.stat().st_size < needed:
            raise store_failures.make_damaged_error(self._session.path, store_failures.TOO_SHORT)

    def list_retained(self) -> list[RetainedRows]:
        with self._translation():
            return retained_rows.list_retained(self._session)

    def drop_retained(self, expired: Iterable[RetainedRows]) -> None:
        with self._translation():
            retained_rows.drop_retained(self._session, expired)

    def export(self, job: ExportJob) -> ExportResult:
        self._pending = None
        with self._translation():
            self._confine()
            result = exporting.export(self._session, job)
        self._pending = PendingExport(job=job, rows=result.rows_written)
        return result

    def confirm_export(
        self, stamp: RunStamp, *, refused: Sequence[RefusedRow] = (), rejects: Path | None = None, where: str = ""
    ) -> Counts:
        if self._pending is None or self._pending.job.stamp != stamp:
            raise RunError(
                f"run {stamp.run} of {stamp.connection} has exported nothing in this opening of the store",
                hint="call `export` first",
                code="not-exported",
            )
        with self._translation():
            counts = exporting.confirm_export(self._session, self._pending, refused, rejects, where)
        self._pending = None
        return counts

    def find_unconfirmed(self, connection: str) -> UnconfirmedRows | None:
        with self._translation():
            return unconfirmed.find_unconfirmed(self._session, connection)

    def settle_export(self, rows: UnconfirmedRows, *, refused: Collection[int], unknown: Collection[int]) -> None:
        with self._translation():
            unconfirmed.settle_unconfirmed(self._session, rows, refused, unknown)

    def read_counts(self, *, connection: str, run: int) -> Counts | None:
        with self._translation():
            return recorded_runs.read_counts(self._session, connection, run)

    def read_recorded(self, stamp: RunStamp) -> RecordedRun | None:
        with self._translation():
            return recorded_runs.read_recorded(self._session, stamp)

    def count(self, where: str | None = None) -> int:
        with self._translation():
            self._confine()
            return selection.count_profiles(self._session, where)

    def find(self, name: str, value: str) -> list[dict[str, Any]]:
        with self._translation():
            self._confine()
            return selection.find_profiles(self._session, name, value)

    def find_number(self, number: int) -> dict[str, Any] | None:
        with self._translation():
            return selection.find_number(self._session, number)

    def select(self, columns: Sequence[str] = (), *, where: str | None = None) -> Iterator[dict[str, Any]]:
        with self._translation():
            self._confine()
            yield from selection.select_profiles(self._session, columns, where)

    def write(self, path: Path, form: Format, columns: Sequence[str] = (), *, where: str | None = None) -> int:
        with self._translation():
            self._confine()
            return selection.write_profiles(self._session, path, form, columns, where)

    def _confine(self, files: Iterable[str] = ()) -> bool:
        """Let no later statement of this opening reach another file than *files* and our own temporary ones.

        What people write, a condition say, is checked before it is run (`where`); this holds should a check miss
        something. It cannot be taken back, so the first call decides; a later one returns False.
        """
        if not self._session.one("SELECT current_setting('enable_external_access')"):
            return False
        folder = quote_text(f"{os.path.realpath(self._session.temp)}/")
        paths = ", ".join(quote_text(os.path.realpath(path)) for path in files)
        self._session.execute(_CONFINED.format(folder=folder, files=paths))
        return True

    def _bring_in(self, file: LocalFile) -> LocalFile:
        """Return *file* as a copy among our own: only the first import of an opening reads files where they are."""
        if not file.path:
            return file
        path = choose_path(self._session.temp)
        try:
            shutil.copyfile(file.path, path)
        except OSError:  # whoever reads it says why it cannot be read
            return file
        return replace(file, path=str(path))

    def _translation(self) -> AbstractContextManager[None]:
        return translate_store_errors(self._session.path)


@contextmanager
def open_store(
    path: Path,
    model: ProfileModel,
    *,
    temp: Path,
    report: Report,
    memory_limit: str = "",
    read_only: bool = False,
    wait: float | Patience = 0,
    expected: Expected = MappingProxyType({}),
) -> Iterator[ProfileStore]:
    """
    Open the store in the file *path*, made when it is not there, and give *model*'s properties their columns.

    One that was lost is not made anew: RunError `store-unusable` when none of the *expected* runs is in it.

    One process at a time may have it open (several when each is *read_only*): others wait up to *wait* seconds, then
    get a RunError with `waiting_helps`. What does not fit in *memory_limit*, without one half of what this process may
    have, goes to the folder *temp*.
    """
    folder = Path(tempfile.mkdtemp(prefix="profiles-", dir=_make_folder(temp)))
    connection = duckdb.connect(":memory:", config={"memory_limit": memory_limit or choose_memory_limit()})
    try:
        connection.execute(SETTINGS + f"SET temp_directory = {quote_text(str(folder / 'spill'))}")
        with translate_store_errors(path, opening=True):
            refuse_other_things(path)
            whole_store.refuse_missing_store(path, expected)
            if not read_only:
                _refuse_odd_path(path)
                make_missing_store(path, temp=folder)
                checkpoints.choose_moments(connection, path)
            attach_store(connection, path, read_only=read_only, wait=wait)
            whole_store.check_runs(connection, path, expected, report)
            session = StoreSession(
                connection=connection,
                path=path,
                model=model,
                layout=_prepare_tables(connection, path, model, read_only=read_only),
                temp=folder,
                report=report,
            )
            _warn_of_lost_tombstones(session)
            if not read_only:
                respelling.respell_store(session)
                numbering.renumber_profiles(session)
        yield DuckDBStore(session)
        _detach(connection, path, report, read_only=read_only)
    finally:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def attach_store(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    *,
    read_only: bool,
    wait: float | Patience,
) -> None:
    """Attach the file as `store`; wait while another process has it open."""
    refuse_other_things(path)
    if read_only and (not path.exists() or path.stat().st_size == 0):  # a crash may leave an empty file
        raise RunError(f"there is no profile store yet: {path}", hint="the first import makes it", code="no-store")
    _refuse_odd_path(path)
    options = "READ_ONLY" if read_only else "READ_WRITE"
    patience = wait if isinstance(wait, Patience) else Patience(wait)
    began, is_said = time.monotonic(), False
    until = began + patience.seconds
    while True:
        try:
            connection.execute(f"ATTACH {quote_text(str(path))} AS store ({options})")
            break
        except duckdb.Error as error:
            if not _is_in_use(error):
                raise store_failures.explain_opening(error, path) from None
            if time.monotonic() >= until:
                raise make_busy_error(path) from None
            if not is_said and time.monotonic() >= began + SAID_AFTER:
                is_said = True
                patience.say("")
            time.sleep(min(PAUSE, max(0.0, until - time.monotonic())))


def _refuse_odd_path(path: Path) -> None:
    if "?" in str(path):
        # DuckDB takes what follows for options, and would look for its log elsewhere.
        raise RunError(
            f"the profile store cannot be in {path}", hint="use a state folder without ? in its path", code="store-path"
        )


def make_busy_error(path: Path) -> RunError:
    """Return the error for a store that another process has open."""
    return RunError(
        f"the profile store {path} is in use by another process",
        hint="wait until its run has ended",
        code="store-busy",
        waiting_helps=True,
    )


def refuse_other_things(path: Path) -> None:
    """RunError when something stands at *path* that is no file, nor a link to one."""
    if path.exists() and not path.is_file():
        words = "it is no file"
    elif path.is_symlink() and not path.exists():
        words = "it is a link to what is not there"
    else:
        return
    raise RunError(
        f"the profile store {path} cannot be opened: {words}",
        hint="move it away, and put the store or a copy of it there",
        code="store-unusable",
    )


def _is_in_use(error: duckdb.Error) -> bool:
    message = str(error)
    return "Could not set lock on file" in message or "Unique file handle conflict" in message


def _prepare_tables(
    connection: duckdb.DuckDBPyConnection, path: Path, model: ProfileModel, *, read_only: bool
) -> tables.Layout:
    if read_only:
        return tables.read_store(connection, path, model)
    if tables.has_no_tables(connection):
        connection.begin()
        tables.create_tables(connection)
        connection.commit()
    tables.check_format(connection, str(path))
    connection.begin()
    try:
        layout = tables.adapt_tables(connection, model)
        before.prepare_before(connection, tables.read_profile_columns(connection))
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return layout


def _detach(connection: duckdb.DuckDBPyConnection, path: Path, report: Report, *, read_only: bool) -> None:
    """Close the store. What was committed stays, also when its log cannot be brought into the file now."""
    try:
        if not read_only:
            checkpoints.bring_log_in(connection, path)
        connection.execute("DETACH store")
    except duckdb.Error as error:
        report.message(store_failures.describe_checkpoint(error, path), level="warning")


def _warn_of_lost_tombstones(session: StoreSession) -> None:
    """Say that people who were erased from an earlier store may come back: this one does not know of them."""
    if tombstones.find_key(session.path).exists() and not session.one("SELECT count(*) FROM store.runs"):
        session.report.message(
            "people were erased from an earlier profile store, and this one is new: imports may bring them back; "
            "erase them again, or put the earlier store back",
            level="warning",
        )


@contextmanager
def translate_store_errors(path: Path, *, opening: bool = False) -> Iterator[None]:
    """Translate errors of DuckDB about its file, memory and disk into RunError; others are bugs, without its words."""
    try:
        yield
    except duckdb.Error as error:
        if opening and store_failures.is_damage(error):
            raise store_failures.explain_opening(error, path) from None
        explained = store_failures.explain_failure(error, path)
        if explained is None:
            trouble = UnexpectedStoreError(f"{type(error).__name__}: {describe_error(error)}")
            raise trouble.with_traceback(error.__traceback__) from None
        raise explained from None
