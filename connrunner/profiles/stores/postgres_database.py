"""A PostgreSQL database that keeps profiles: one transaction at a time, tables in and out by COPY, losses settled."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from connrunner.databases.failures import explain_database_error, unreachable
from connrunner.databases.libpq import compose_parameters, describe_database
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles.patience import Patience
from connrunner.profiles.sql_fragments import quote_name
from connrunner.profiles.temporary_files import choose_path, open_private

OLDEST = 150000  # the version of the server
CHUNK = 1 << 18  # bytes that are sent at a time
SAID_AFTER = 1.0  # seconds of waiting for the lock that are not worth a word
SETTLE = 120.0  # seconds in which a connection that was lost during COMMIT is to come back
PAUSE = 1.0  # seconds between two attempts at that
# Nothing outlives a transaction, so that a pooler may give each one another connection of the server. A host that is
# gone lets go of the lock once the server's TCP notices; a client that hangs does at the last limit.
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "extra_float_digits": "1",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "4h",
}
_BUSY = "55P03"  # lock_not_available


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabasePlace:
    """A schema of a database. The URL may hold a password, so no text of this value shows it."""

    url: str = field(repr=False)
    schema: str
    folder: Path  # what relative paths in the URL start from
    beside: Path  # where the embedded store of the state folder would be: the key of the erased lies beside it


class PostgresDatabase:
    """The schema at *place*; RunError for all that goes wrong, without a word of a password or of a value."""

    def __init__(self, place: DatabasePlace, temp: Path) -> None:
        parameters = compose_parameters(place.url, folder=place.folder, takes_password=True)
        self._parameters = make_conninfo(**parameters)
        self.schema = place.schema
        self.where = f"{describe_database(parameters)}, schema {place.schema}"
        self._temp = temp
        self._connection: psycopg.Connection[Any] | None = None
        self._in_transaction = False

    # --- transactions ----------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let the block see one state of the database; within a transaction that of the transaction."""
        if self._in_transaction:
            yield
            return
        with self.translating():
            self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "reads profiles")
            try:
                yield
            finally:
                self._roll_back()

    @contextmanager
    def changing(self, who: str, patience: Patience, *, keep: bool = True) -> Iterator[None]:
        """
        Let the block change the database alone: others wait; all of it is kept or nothing. *who* is told to others.

        RunError `store-busy` when the lock is not free in time. When the connection is lost it is as before, or, should
        that be during COMMIT, settled by asking: as after, or as before with an error.
        """
        with self.translating():
            self._begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", who)
            try:
                self._lock(patience)
                yield
                if keep:
                    self._commit()
            finally:
                self._roll_back()

    @contextmanager
    def reading_after_changes(self, seconds: float) -> Iterator[None]:
        """Let the block see the database when no change is under way; as it is when that takes over *seconds*."""
        with self.translating():
            self._begin("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", "looks for a run")
            try:
                self.execute(f"SET LOCAL lock_timeout = {max(1, round(seconds * 1000))}")
                self.execute("SAVEPOINT waiting")
                try:
                    self.execute(f"SELECT pg_advisory_xact_lock_shared({self._key})")
                except psycopg.Error as error:
                    if error.sqlstate != _BUSY:
                        raise
                    self.execute("ROLLBACK TO SAVEPOINT waiting")
                yield
            finally:
                self._roll_back()

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin(self, statement: str, who: str) -> None:
        connection = self._connect()
        connection.execute(statement.encode())
        self._in_transaction = True
        settings = _SETTINGS | {"application_name": f"connrunner: {who}".encode("ascii", "replace").decode()[:63]}
        connection.execute(
            "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS wanted(name, value)",
            (list(settings), list(settings.values())),
        )

    def _roll_back(self) -> None:
        """End the transaction, if it has not ended; one whose connection is lost ends at the server."""
        self._in_transaction = False
        if self._connection is not None:
            with suppress(psycopg.Error):
                if self._is_open():
                    self._connection.execute("ROLLBACK")
            if self._connection.closed or self._is_open():  # lost, or cut off in a statement, by a signal say
                self._connection.close()
                self._connection = None

    def _is_open(self) -> bool:
        assert self._connection is not None
        return self._connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            self._connection = psycopg.connect(self._parameters, autocommit=True, prepare_threshold=None)
        except (psycopg.Error, OSError, UnicodeError) as error:
            raise _explain_unreachable(str(error), self.where) from None
        if self._connection.info.server_version < OLDEST:
            found = self._connection.info.server_version
            raise RunError(
                f"{self.where}: it is PostgreSQL {found // 10000}, and profiles need 15 or newer",
                hint="upgrade the server, or use another one",
                code="store-unusable",
            )
        return self._connection

    @property
    def _key(self) -> str:
        return f"hashtextextended('connrunner/' || current_database() || '/' || {_constant(self.schema)}, 0)"

    def _lock(self, patience: Patience) -> None:
        """Take the lock of the store until the end of the transaction."""
        key, began = self._key, time.monotonic()
        if self.one(f"SELECT pg_try_advisory_xact_lock({key})"):
            return
        holder, is_said = self._find_holder(key), False
        while True:
            left = patience.seconds - (time.monotonic() - began)
            if left <= 0:
                raise RunError(
                    f"the profile store ({self.where}) is being changed by {holder}",
                    hint="wait until that run has ended",
                    code="store-busy",
                    waiting_helps=True,
                )
            step = min(left, SAID_AFTER if not is_said else 30.0)
            self.execute(f"SET LOCAL lock_timeout = {max(1, round(step * 1000))}")
            self.execute("SAVEPOINT waiting")
            try:
                self.execute(f"SELECT pg_advisory_xact_lock({key})")
            except psycopg.Error as error:
                if error.sqlstate != _BUSY:
                    raise
                self.execute("ROLLBACK TO SAVEPOINT waiting")
            else:
                self.execute("SET LOCAL lock_timeout = 0")
                return
            holder = self._find_holder(key)
            if not is_said:
                is_said = True
                patience.say(holder)

    def _find_holder(self, key: str) -> str:
        """Return who has the lock, as far as this role may see it."""
        found = self.one(f"""
            SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                AND (l.classid::bigint << 32 | l.objid::bigint) = {key} LIMIT 1""")
        return str(found).removeprefix("connrunner: ") if found else "another process"

    def _commit(self) -> None:
        """Commit, and find out whether that was done when the connection is lost meanwhile."""
        connection = self._connect()
        number = self.one("SELECT pg_current_xact_id_if_assigned()::text")
        try:
            connection.execute("COMMIT")
        except psycopg.Error:
            if not connection.closed or number is None:
                raise
            if self._was_committed(number):
                return
            raise

    def _was_committed(self, number: str) -> bool:
        """Return what became of the transaction with that *number*, by a new connection."""
        until = time.monotonic() + SETTLE
        while True:
            try:
                status = self._connect().execute("SELECT pg_xact_status(%s::xid8)", (number,)).fetchone()
                if status is None or status[0] != "in progress":
                    return status is not None and status[0] == "committed"
            except (RunError, psycopg.Error):
                if time.monotonic() >= until:
                    raise RunError(
                        f"{self.where}: the connection was lost in the moment in which the changes of this run became"
                        " durable, and could not be made again: nobody knows whether they are in the profile store",
                        hint="once the database is there again, `connrunner profiles` shows what it holds; a run of"
                        " the same files changes nothing twice",
                        code="store-unusable",
                    ) from None
            time.sleep(PAUSE)

    # --- statements ------------------------------------------------------------------------------------------------

    def name(self, table: str) -> str:
        """Return the *table* of the store, ready for SQL."""
        return f"{quote_name(self.schema)}.{quote_name(table)}"

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> psycopg.Cursor[Any]:
        assert self._connection is not None
        return self._connection.execute(statement.encode(), parameters)

    def one(self, statement: str, parameters: Sequence[Any] | None = None) -> Any:
        """Return the first value of the first row, or None without any."""
        row = self.execute(statement, parameters).fetchone()
        return None if row is None else row[0]

    def copy_out(self, query: str, parameters: Sequence[Any] | None = None) -> tuple[Path, int]:
        """Write the rows of *query* as CSV to a file of our own; return it and the longest row in bytes."""
        assert self._connection is not None
        path, longest = choose_path(self._temp), 0
        with open_private(path) as file, self._connection.cursor() as cursor:
            statement = f"COPY ({query}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"
            with cursor.copy(statement.encode(), parameters) as copy:
                for row in copy:
                    file.write(row)
                    if len(row) > longest:
                        longest = len(row)
        return path, longest

    def copy_in(self, table: str, columns: Sequence[str], path: Path) -> int:
        """Add the rows of the CSV file at *path* to *table*, both names ready for SQL; return how many there were."""
        assert self._connection is not None
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
        with self._connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy, path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    copy.write(chunk)
            return cursor.rowcount

    def vacuum(self, tables: Sequence[str]) -> None:
        """Take the bytes of rows that are gone from *tables*; outside of any transaction."""
        self._connect().execute(f"VACUUM {', '.join(map(self.name, tables))}".encode())

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Translate what psycopg raises into RunError."""
        try:
            yield
        except psycopg.Error as error:
            raise _explain(error, self.where) from None


def _constant(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _explain(error: psycopg.Error, where: str) -> RunError:
    """Return what *error* means for work on the store."""
    said = error.diag.message_primary or str(error).partition("\n")[0]
    found = explain_database_error(error.sqlstate, said, where)
    state = error.sqlstate or ""
    if state == "42501":
        hint = "give its role what docs/postgresql.md says: its own schema, and TEMPORARY on the database"
    elif state.startswith(("53", "54")) or state == "58030":
        hint = "see that the server has room on its disk, memory and connections left; nothing of this run was kept"
    elif state.startswith(("08", "57", "40", "55")) or not state:
        hint = "nothing of this run was kept; it can run again once the database is there"
        return RunError(found.message, hint=hint, code="store-unusable", waiting_helps=True)
    elif state.startswith("42"):
        hint = "was a table of the store changed by hand? `connrunner doctor` looks at it"
    else:
        hint = found.hint or "nothing of this run was kept; please report this"
    return RunError(found.message, hint=hint, code="store-unusable", waiting_helps=found.waiting_helps)


def _explain_unreachable(words: str, where: str) -> RunError:
    found = unreachable(words, where)
    hint = found.hint.replace("`username` and `password`", "the user and the password in the URL of `store`")
    return RunError(
        f"the profile store: {found.message}", hint=hint, code="store-unusable", waiting_helps=found.waiting_helps
    )
