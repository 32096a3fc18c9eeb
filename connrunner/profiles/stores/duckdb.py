"""The embedded profile store: one DuckDB file."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from connrunner.core.counts import Counts
from connrunner.core.model import Export, Format, Import, LocalFile, ProfileModel
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.profiles import connection_state, run_records, selection, tables
from connrunner.profiles.exporting import run as export
from connrunner.profiles.exporting.run import PendingExport
from connrunner.profiles.importing import ledger
from connrunner.profiles.importing import run as imports
from connrunner.profiles.mapping import plan
from connrunner.profiles.results import ExportResult, ImportResult, RefusedRow
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text

STORAGE = "v1.5.0"  # read and written by every DuckDB that we support
PAUSE = 0.2  # seconds between two attempts to open a store that is in use

# Nothing is fetched from the network, whatever a statement would like to use; progress is asked for, never printed.
# DuckDB's compression of texts makes the file a third, and changing one value in 25 ten times slower.
_SETTINGS = """
    SET autoinstall_known_extensions = false;
    SET autoload_known_extensions = false;
    SET disabled_compression_methods = 'dict_fsst';
    SET preserve_insertion_order = true;
    SET enable_progress_bar = true;
    SET enable_progress_bar_print = false;
    SET TimeZone = 'UTC';
"""


class DuckDBStore:
    """The `ProfileStore` in a DuckDB file."""

    def __init__(self, session: StoreSession) -> None:
        self._session = session
        self._sending: tuple[str, int, PendingExport] | None = None  # what `export` wrote and nobody confirmed yet

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
        with _told(self._session.path):
            return imports.import_files(
                self._session,
                work,
                files,
                reader=connection,
                run=run,
                at=at,
                rejects_path=rejects,
                dry_run=dry_run,
                mark=mark,
            )

    def known(self, work: Import, *, connection: str) -> Callable[[str, int, str], bool]:
        with _told(self._session.path):
            return ledger.accepted(self._session.connection, plan(work, self._session.model), reader=connection)

    def mark(self, *, connection: str) -> Any:
        with _told(self._session.path):
            return connection_state.mark(self._session, connection)

    def remembered(self, connection: str) -> dict[str, Any]:
        with _told(self._session.path):
            return connection_state.remembered(self._session, connection)

    def forget(self, connection: str) -> None:
        with _told(self._session.path):
            connection_state.forget(self._session, connection)

    def export(
        self,
        work: Export,
        *,
        connection: str,
        run: int,
        at: datetime,  # noqa: ARG002
        path: Path,
        form: Format | None = None,
        samples: int = 0,
    ) -> ExportResult:
        self._sending = None
        with _told(self._session.path):
            result = export.export(
                self._session, work, form or work.format, sender=connection, path=path, samples=samples
            )
        self._sending = (connection, run, PendingExport(work=work, file=path.name, rows=result.rows_written))
        return result

    def exported(
        self,
        *,
        connection: str,
        run: int,
        at: datetime,
        refused: Sequence[RefusedRow] = (),
        rejects: Path | None = None,
    ) -> Counts:
        if self._sending is None or self._sending[:2] != (connection, run):
            raise RunError(
                f"run {run} of {connection} has exported nothing in this opening of the store",
                hint="call `export` first",
                code="not-exported",
            )
        with _told(self._session.path):
            counts = export.exported(
                self._session, self._sending[2], refused, sender=connection, run=run, at=at, rejects=rejects
            )
        self._sending = None
        return counts

    def counts(self, *, connection: str, run: int) -> Counts | None:
        with _told(self._session.path):
            return run_records.counts(self._session, connection, run)

    def count(self, where: str | None = None) -> int:
        with _told(self._session.path):
            return selection.count(self._session, where)

    def find(self, name: str, value: str) -> list[dict[str, Any]]:
        with _told(self._session.path):
            return selection.find(self._session, name, value)

    def select(self, columns: Sequence[str] = (), *, where: str | None = None) -> Iterator[dict[str, Any]]:
        with _told(self._session.path):
            yield from selection.select(self._session, columns, where)

    def write(self, path: Path, form: Format, columns: Sequence[str] = (), *, where: str | None = None) -> int:
        with _told(self._session.path):
            return selection.write(self._session, path, form, columns, where)


@contextmanager
def open_store(
    path: Path, model: ProfileModel, *, temp: Path, report: Report, memory_limit: str, read_only: bool, wait: float
) -> Iterator[DuckDBStore]:
    """See `connrunner.profiles.open_store`."""
    folder = Path(tempfile.mkdtemp(prefix="profiles-", dir=_made(temp)))
    connection = duckdb.connect(":memory:", config={"memory_limit": memory_limit})
    try:
        connection.execute(_SETTINGS + f"SET temp_directory = {quote_text(str(folder / 'spill'))}")
        with _told(path):
            _attach(connection, path, read_only=read_only, wait=wait)
            session = StoreSession(
                connection=connection,
                path=path,
                model=model,
                layout=_layout(connection, path, model, read_only=read_only),
                temp=folder,
                report=report,
            )
        yield DuckDBStore(session)
        with _told(path):
            connection.execute("DETACH store")
    finally:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool, wait: float) -> None:
    """Attach the file as `store`; wait while another process has it open."""
    if read_only and not path.exists():
        raise RunError(f"there is no profile store yet: {path}", hint="the first import makes it", code="no-store")
    if "?" in str(path):
        # DuckDB takes what follows for options, and would look for its log elsewhere.
        raise RunError(
            f"the profile store cannot be in {path}", hint="use a state folder without ? in its path", code="store-path"
        )
    is_new = not read_only and _make_way(path)
    options = "READ_ONLY" if read_only else f"STORAGE_VERSION '{STORAGE}'" if is_new else "READ_WRITE"
    until = time.monotonic() + wait
    while True:
        try:
            connection.execute(f"ATTACH {quote_text(str(path))} AS store ({options})")
            break
        except duckdb.Error as error:
            if not _is_in_use(error):
                raise _unusable(path, error) from error
            if time.monotonic() >= until:
                raise RunError(
                    f"the profile store {path} is in use by another process",
                    hint="wait until its run has ended",
                    code="store-busy",
                    waiting_helps=True,
                ) from None
            time.sleep(min(PAUSE, max(0.0, until - time.monotonic())))
    if is_new:
        # DuckDB makes its files with the mode that the process likes; the folder keeps others out until here.
        path.chmod(0o600)


def _make_way(path: Path) -> bool:
    """Tell whether the store is about to be made; an empty file, left by a crash, is none."""
    _made(path.parent)
    if path.exists() and path.stat().st_size == 0:
        path.unlink()
    return not path.exists()


def _is_in_use(error: duckdb.Error) -> bool:
    message = str(error)
    return "Could not set lock on file" in message or "Unique file handle conflict" in message


def _layout(
    connection: duckdb.DuckDBPyConnection, path: Path, model: ProfileModel, *, read_only: bool
) -> tables.Layout:
    if tables.is_empty(connection):
        if read_only:
            raise RunError(f"the profile store {path} is empty", hint="the first import fills it", code="no-store")
        connection.begin()
        tables.create(connection)
        connection.commit()
    tables.check(connection, str(path))
    if read_only:
        return tables.read(connection, model)
    connection.begin()
    try:
        layout = tables.adapt(connection, model)
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return layout


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell what DuckDB says about its file, its memory or the disk in words; anything else is a mistake of ours."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise RunError(
            f"the profile store needs more memory or temporary disk space than it may use: {_first_line(error)}",
            hint="free disk space in the state folder",
            code="out-of-memory",
        ) from error
    except duckdb.Error as error:
        line = _first_line(error)
        if "No space left" in line or "Disk quota" in line:
            raise RunError(
                f"no space is left for the profile store {path}: {line}", hint="free disk space", code="disk-full"
            ) from error
        if isinstance(error, duckdb.IOException) or "orrupt" in line or "checksum" in line:
            raise _unusable(path, error) from error
        raise


def _unusable(path: Path, error: duckdb.Error) -> RunError:
    return RunError(
        f"the profile store {path} cannot be read or written: {_first_line(error)}",
        hint="if the file is damaged, put back a copy of it, or move it away: imports then fill a new one",
        code="store-unusable",
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
