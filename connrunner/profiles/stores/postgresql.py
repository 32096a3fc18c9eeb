"""
The profile store in PostgreSQL: one schema of a database, which several machines may share.

Everything that is read, checked, classified and selected is so by DuckDB, as in the embedded store: what a question or
a run looks at is brought into a work set first, and what a run changed goes back in one transaction (`work_set`). Those
that change the store do so one at a time, under one lock of it, from the moment at which profiles are brought; files
are read before. So both stores give the same counters, by the same statements.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from connrunner.core.counts import Counts
from connrunner.core.model import Format, Import, ProfileModel, Run
from connrunner.core.report import Report
from connrunner.core.retention_policy import RetainedRows
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles import ProfileStore, selection, tables, where, whole_store
from connrunner.profiles.jobs import ExportJob, ImportJob, RunStamp, UndoJob
from connrunner.profiles.memory_limit import choose_memory_limit
from connrunner.profiles.patience import Patience
from connrunner.profiles.results import (
    ExportResult,
    ImportResult,
    RecordedRun,
    RefusedRow,
    UnconfirmedRows,
    UndoResult,
)
from connrunner.profiles.session import ProfileNeed, StoreSession
from connrunner.profiles.sql_fragments import quote_text, unquote_name
from connrunner.profiles.stores import database_tables
from connrunner.profiles.stores.duckdb import SETTINGS, DuckDBStore, translate_store_errors
from connrunner.profiles.stores.postgres_database import DatabasePlace, PostgresDatabase
from connrunner.profiles.stores.work_set import WorkSet, translate_type
from connrunner.profiles.whole_store import Expected

MOVE = "connrunner profiles move --to postgresql"
SETTLED = 60.0  # seconds in which a change that was sent to the server has come to its end
LEDGERS = ("files", "kept", "marks")
_REVISION = "revision"  # the row of `about` that counts changes which runs must not overlook, of earlier files say


@dataclass(slots=True)
class DatabaseBacking:
    """The tables are kept in the database, and at hand in *work*."""

    work: WorkSet
    database: PostgresDatabase
    patience: Patience
    who: str = "connrunner"
    seen: tuple[str, tuple[Any, ...]] | None = None  # a connection whose ledgers were read, and the state of them
    revises: bool = False  # the next change is one that runs must not overlook
    kinds: dict[str, str] = field(default_factory=dict)  # the columns of the profiles at hand
    keeps_former: bool = False
    is_astray: bool = False  # a change failed, so that what is at hand may not be what the database has

    @contextmanager
    def change_tables(self, session: StoreSession, *, keep: bool, need: ProfileNeed | None) -> Iterator[None]:
        if self.is_astray:
            raise RunError(
                f"the profile store ({self.database.where}) cannot be changed after a change that failed",
                hint="run it again",
                code="store-unusable",
                waiting_helps=True,
            )
        with self.database.changing(self.who, self.patience, keep=keep):
            if self.seen is not None:
                self._refuse_stale(*self.seen)
            self.work.bring("about")
            run = int(session.one("SELECT value FROM store.about WHERE key = 'next_run'"))
            if need is not None:
                self._bring_needed(session, need)
            yield
            self.is_astray = keep
            if keep:
                self._take_back(session, run, need)
        self.is_astray, self.seen = False, None

    def count_profiles(self, session: StoreSession) -> int:  # noqa: ARG002
        with self.database.reading():
            return int(self.database.one(f"SELECT count(*) FROM {self.database.name('profiles')}"))

    def read_state(self, connection: str) -> tuple[Any, ...]:
        """Return what changes with the ledgers of *connection*."""
        about, runs = self.database.name("about"), self.database.name("runs")
        newest = self.database.one(f"SELECT max(id) FROM {runs} WHERE connection = %s", [connection])
        return newest, self.database.one(f"SELECT value FROM {about} WHERE key = %s", [_REVISION])

    def count_revision(self, session: StoreSession) -> None:
        """Let `read_state` return something else from now on."""
        found = session.one("SELECT value::BIGINT FROM store.about WHERE key = ?", [_REVISION]) or 0
        session.execute("DELETE FROM store.about WHERE key = ?", [_REVISION])
        session.execute("INSERT INTO store.about VALUES (?, ?)", [_REVISION, str(found + 1)])

    def _refuse_stale(self, connection: str, state: tuple[Any, ...]) -> None:
        if self.read_state(connection) != state:
            raise RunError(
                f"the profile store ({self.database.where}) was changed while the files of {connection} were read: what"
                " it knows of them is not what was looked at",
                hint="nothing was changed by this run; run it again",
                code="store-changed",
                waiting_helps=True,
            )

    def _bring_needed(self, session: StoreSession, need: ProfileNeed) -> None:
        layout, stored = session.layout, database_tables.read_stored_types(self.work)
        columns = {name: unquote_name(layout.columns[name]) for name in need.properties}
        consents = [unquote_name(layout.consents[name]) for name in need.objectives if name in layout.consents]
        self.kinds = {column: stored[column] for column in (*columns.values(), *consents)}
        self.work.bring_matching(self.kinds, columns, need.keys)

    def _take_back(self, session: StoreSession, run: int, need: ProfileNeed | None) -> None:
        if self.revises:
            self.count_revision(session)
            self.revises = False
        if need is not None:
            self.work.apply_profiles(run, self.kinds)
        self.work.apply()


class PostgreSQLStore(DuckDBStore):
    """The `ProfileStore` in a PostgreSQL database: each question brings what it looks at."""

    def __init__(self, session: StoreSession, backing: DatabaseBacking) -> None:
        super().__init__(session)
        self._backing, self._work, self._database = backing, backing.work, backing.database

    @property
    def parts(self) -> tuple[StoreSession, WorkSet, PostgresDatabase]:
        """What it consists of, for what is done to a store as a whole."""
        return self._session, self._work, self._database

    def count_revision(self) -> None:
        """Have runs that have looked at the store before notice that it is another one after this change."""
        self._backing.count_revision(self._session)

    def import_files(self, job: ImportJob) -> ImportResult:
        connection = job.stamp.connection
        with self._translation():
            self._backing.who = f"{connection} #{job.stamp.run}"
            with self._database.reading():
                self._backing.seen = (connection, self._backing.read_state(connection))
                self._bring_of(connection, *LEDGERS)
                self._bring_runs([(connection, job.stamp.run)])
                for table in ("about", "erased"):
                    self._work.bring(table)
                self._bring_doubles()
            return super().import_files(job)

    def undo(self, job: UndoJob) -> UndoResult:
        raise RunError(
            f"run {job.run} of {job.stamp.connection} cannot be undone: only the embedded store keeps what imports"
            " overwrite",
            hint="import a corrected file instead",
            code="no-undo",
        )

    def load_known_files(self, work: Import, *, connection: str) -> Callable[[str, int, str], bool]:
        with self._bringing(connection, "files"):
            return super().load_known_files(work, connection=connection)

    def has_read_files(self, connection: str) -> bool:
        with self._translation(), self._database.reading():
            files = self._database.name("files")
            found = self._database.one(f"SELECT 1 FROM {files} WHERE connection = %s LIMIT 1", [connection])
            return found is not None

    def read_mark(self, connection: str) -> Any:
        with self._bringing(connection, "marks"):
            return super().read_mark(connection)

    def describe_connection(self, connection: str) -> dict[str, Any]:
        with self._bringing(connection, *LEDGERS, "sent", "runs"):
            return super().describe_connection(connection)

    def forget_connection(self, connection: str) -> None:
        with self._bringing(connection, *LEDGERS, "sent", "unconfirmed"):
            self._backing.revises = True
            super().forget_connection(connection)

    def list_retained(self) -> list[RetainedRows]:
        with self._translation(), self._database.reading():
            self._work.bring("kept")
            self._work.bring("runs", f"id IN (SELECT run FROM {self._database.name('kept')})")
            return super().list_retained()

    def drop_retained(self, expired: Iterable[RetainedRows]) -> None:
        self.list_retained()
        with self._translation():
            self._backing.revises = True
            super().drop_retained(expired)

    def export(self, job: ExportJob) -> ExportResult:
        connection, work = job.stamp.connection, job.work
        with self._translation():
            self._backing.who = f"{connection} #{job.stamp.run}"
            self._confine()
            with self._database.reading():
                self._bring_of(connection, "sent", "unconfirmed", "withdrawn")
                self._bring_runs([(connection, job.stamp.run)])
                for table in ("about", "erased"):
                    self._work.bring(table)
                layout = self._session.layout
                named = [name for name in work.fields.values() if name in layout.columns]
                named += [name for name, owner in layout.properties.items() if owner.identifier]
                self._bring_profiles([*named, *self._list_asked(work.where)], work.objectives)
            return super().export(job)

    def confirm_export(
        self, stamp: RunStamp, *, refused: Sequence[RefusedRow] = (), rejects: Path | None = None, where: str = ""
    ) -> Counts:
        with self._translation():
            counts = super().confirm_export(stamp, refused=refused, rejects=rejects, where=where)
            self._write_settled()
            return counts

    def find_unconfirmed(self, connection: str) -> UnconfirmedRows | None:
        with self._bringing(connection, "unconfirmed", "runs", "sent", "withdrawn"):
            return super().find_unconfirmed(connection)

    def settle_export(self, rows: UnconfirmedRows, *, refused: Collection[int], unknown: Collection[int]) -> None:
        with self._bringing(rows.stamp.connection, "unconfirmed", "sent", "withdrawn"):
            super().settle_export(rows, refused=refused, unknown=unknown)

    def read_counts(self, *, connection: str, run: int) -> Counts | None:
        with self._translation(), self._database.reading():
            self._bring_runs([(connection, run)])
            return super().read_counts(connection=connection, run=run)

    def read_recorded(self, stamp: RunStamp) -> RecordedRun | None:
        wanted = [(stamp.connection, stamp.run)]
        with self._translation():
            with self._database.reading():
                self._bring_runs(wanted)
            found = super().read_recorded(stamp)
            if found is None:  # its process may be gone, and its COMMIT still under way
                with self._database.reading_after_changes(min(self._backing.patience.seconds, SETTLED)):
                    self._bring_runs(wanted)
                found = super().read_recorded(stamp)
            return found

    def count(self, where: str | None = None) -> int:
        with self._translation():
            if where is None:
                return self._backing.count_profiles(self._session)
            self._confine()
            with self._database.reading():
                self._bring_profiles(self._list_asked(where))
            return super().count(where)

    def find(self, name: str, value: str) -> list[dict[str, Any]]:
        with self._translation():
            self._confine()
            self._declare_all()
            wanted = selection.select_value(self._session, name, value)
            column = self._session.layout.columns.get(name)
            with self._database.reading():
                if column is None:
                    return []
                text = self._session.one(f"SELECT x::VARCHAR FROM ({wanted})")
                kind = self._work.describe("profiles")[unquote_name(column)]
                self._bring_described(f"p.{column} {self._compares(kind)}", text)
            return super().find(name, value)

    def find_number(self, number: int) -> dict[str, Any] | None:
        with self._translation():
            with self._database.reading():
                self._bring_described("p._id = %s::numeric", str(number))
            return super().find_number(number)

    def select(self, columns: Sequence[str] = (), *, where: str | None = None) -> Iterator[dict[str, Any]]:
        with self._translation():
            self._bring_selected(columns, where)
            yield from super().select(columns, where=where)

    def write(self, path: Path, form: Format, columns: Sequence[str] = (), *, where: str | None = None) -> int:
        with self._translation():
            self._bring_selected(columns, where)
            return super().write(path, form, columns, where=where)

    def refuse_short(self) -> None:
        """Do nothing: whether a file of the database is whole, its server looks after."""

    # --- what is brought -------------------------------------------------------------------------------------------

    @contextmanager
    def _bringing(self, connection: str, *names: str) -> Iterator[None]:
        with self._translation():
            with self._database.reading():
                self._bring_of(connection, *names)
                self._work.bring("about")
            yield

    def _bring_of(self, connection: str, *names: str) -> None:
        for name in names:
            self._work.bring(name, "connection = %s", [connection])

    def _bring_runs(self, wanted: Sequence[tuple[str, int]]) -> None:
        self._work.bring(
            "runs",
            "(connection, run) IN (SELECT * FROM unnest(%s::text[], %s::bigint[]))",
            [[name for name, _ in wanted], [run for _, run in wanted]],
        )

    def _bring_doubles(self) -> None:
        """Bring those profiles that an import warns of: they have one identifier in two spellings."""
        found = self._session.one("SELECT value FROM store.about WHERE key = 'doubles'") or "[]"
        numbers = self._session.execute(
            "SELECT DISTINCT unnest([(x->>1)::BIGINT, (x->>2)::BIGINT]) FROM (SELECT unnest(?::JSON[]) AS x)",
            [_members(found)],
        ).fetchall()
        listed = ", ".join(str(int(number)) for (number,) in numbers)
        self._work.bring_profiles({}, f"WHERE p._id IN ({listed})" if listed else "WHERE false")

    def _bring_profiles(self, properties: Iterable[str], objectives: Iterable[str] = ()) -> None:
        layout, stored = self._session.layout, database_tables.read_stored_types(self._work)
        columns = [layout.columns[name] for name in properties if name in layout.columns]
        columns += [layout.consents[name] for name in objectives if name in layout.consents]
        plain = dict.fromkeys(map(unquote_name, columns))
        self._work.bring_profiles({name: stored[name] for name in plain})

    def _bring_described(self, condition: str, value: str) -> None:
        """Bring what describes the profiles `p` for which *condition* holds, which compares something with *value*."""
        self._work.bring_profiles(self._all_kinds(), f"WHERE {condition}", [value])
        numbers = "SELECT _created AS id FROM store.profiles UNION SELECT _changed FROM store.profiles"
        found = [number for (number,) in self._session.execute(numbers).fetchall()]
        self._work.bring("runs", "id = ANY(%s::integer[])", [found])

    def _bring_selected(self, columns: Sequence[str], condition: str | None) -> None:
        self._confine()
        names = list(columns) or list(self._session.layout.properties)
        with self._database.reading():
            self._bring_profiles([*names, *self._list_asked(condition)])

    def _list_asked(self, condition: str | None) -> list[str]:
        """Return the properties that *condition* asks of."""
        self._declare_all()
        return [] if condition is None else where.list_asked(self._session, condition)

    def _declare_all(self) -> None:
        self._work.declare_profiles(self._all_kinds())

    def _all_kinds(self) -> dict[str, str]:
        layout, stored = self._session.layout, database_tables.read_stored_types(self._work)
        return {name: stored[name] for name in map(unquote_name, (*layout.columns.values(), *layout.consents.values()))}

    def _write_settled(self) -> None:
        """Take there what was changed after the transaction of an export: what is done is not noted any more."""
        counts = "SELECT (SELECT count(*) FROM store.withdrawn) = (SELECT count(*) FROM brought_withdrawn)"
        if not self._session.one(counts):
            with self._session.transaction():
                pass

    def _compares(self, kind: str) -> str:
        if kind.endswith("[]"):
            return f"@> ARRAY[%s]::{translate_type(kind).partition(' COLLATE')[0]}"
        return f"= %s::{translate_type(kind).partition(' COLLATE')[0]}"

    def _translation(self) -> AbstractContextManager[None]:
        return self._translate()

    @contextmanager
    def _translate(self) -> Iterator[None]:
        with self._database.translating(), translate_store_errors(self._session.path):
            yield


def _members(document: str) -> list[str]:
    import json

    return [json.dumps(one) for one in json.loads(document)]


@contextmanager
def open_database_store(
    place: DatabasePlace,
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
    Open the store at *place*, made when it is not there, and give *model*'s properties their columns.

    As `stores.duckdb.open_store`, but that others may have it open: who changes it waits up to *wait* seconds for those
    who do.
    """
    temp.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="profiles-", dir=temp))
    connection = duckdb.connect(":memory:", config={"memory_limit": memory_limit or choose_memory_limit()})
    database = PostgresDatabase(place, folder)
    try:
        connection.execute(SETTINGS + f"SET temp_directory = {quote_text(str(folder / 'spill'))}")
        connection.execute("ATTACH ':memory:' AS store")
        database_tables.create_work_tables(connection)
        work = WorkSet(connection, database, folder)
        patience = wait if isinstance(wait, Patience) else Patience(wait)
        backing = DatabaseBacking(work, database, patience)
        with translate_store_errors(place.beside), database.translating():
            layout = _prepare(work, model, patience, read_only=read_only, expected=expected, report=report)
            session = StoreSession(
                connection=connection,
                path=place.beside,
                model=model,
                layout=layout,
                temp=folder,
                report=report,
                backing=backing,
            )
        yield PostgreSQLStore(session, backing)
    finally:
        database.close()
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(
    work: WorkSet, model: ProfileModel, patience: Patience, *, read_only: bool, expected: Expected, report: Report
) -> tables.Layout:
    database = work.database
    with database.reading():
        is_there = bool(database_tables.find_columns(database))
        _check_runs(work, expected, report, is_there=is_there)
        if not is_there and read_only:
            raise RunError(
                f"there is no profile store yet: {database.where}", hint="the first import makes it", code="no-store"
            )
        if is_there and (read_only or not database_tables.needs_change(work, model)):
            layout = database_tables.prepare_tables(work, model, adapts=False)
            _refuse_older_rules(work)
            return layout
    with database.changing("prepares the profile store", patience):
        return database_tables.prepare_tables(work, model, adapts=True)


def _refuse_older_rules(work: WorkSet) -> None:
    """RunError for a store whose values were written by rules of earlier: no such one has been made yet."""
    about = dict(work.connection.execute("SELECT key, value FROM store.about").fetchall())
    if int(about.get("spelling") or 1) < tables.SPELLING or int(about.get("numbering") or 1) < tables.NUMBERING:
        raise RunError(
            f"the profile store ({work.database.where}) was written by the rules of an older connrunner",
            hint="please report this",
            code="foreign-store",
        )


def _check_runs(work: WorkSet, expected: Expected, report: Report, *, is_there: bool) -> None:
    """As `whole_store.check_runs`, with no more of the store than is needed to see that nothing is missing."""
    read = {name: iter(runs) for name, runs in expected.items()}
    newest = {name: run for name, runs in read.items() if (run := next(runs, None)) is not None}
    if not newest:
        return
    lost: Run | None = max(newest.values(), key=lambda run: run.ended_at)
    if is_there:
        missing = work.database.execute(
            f"""SELECT w.connection FROM unnest(%s::text[], %s::bigint[]) AS w(connection, run)
            WHERE NOT EXISTS (SELECT 1 FROM {work.database.name("runs")} r
                WHERE r.connection = w.connection AND r.run = w.run)""",
            [list(newest), [run.run for run in newest.values()]],
        ).fetchall()
        if not missing:
            return
        for table in ("runs", "about"):
            work.bring(table)
        again = {name: [newest[name], *read[name]] for (name,) in missing}
        there: dict[str, list[Run]] = {name: [] for name in newest.keys() - again.keys()}
        lost = whole_store.check_contents(work.connection, {**there, **again}, report)
    if lost is not None:
        raise RunError(
            f"the profile store ({work.database.where}) does not hold what was imported: history has runs that filled "
            f"it, the last of them {whole_store.name_run(lost)}",
            hint=f"bring the profiles of the state folder there: `{MOVE}`; or restore the database, if it was lost",
            code="store-unusable",
        )
