"""An open store: its connection to DuckDB, and what all work on it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

import duckdb

from connrunner.core.model import ProfileModel
from connrunner.core.report import Report
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles.tables import Layout

POLL = 0.5  # seconds after which we look again how far a statement is


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyQuery:
    """Values by which profiles are found: a query of as many columns as there are *properties*."""

    properties: tuple[str, ...]
    query: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileNeed:
    """Which profiles a transaction looks at and may change: those that any of *keys* finds, and new ones."""

    properties: tuple[str, ...]  # of which it looks at the values
    objectives: tuple[str, ...]  # of which it looks at the answers
    keys: Sequence[KeyQuery]


class Backing(Protocol):
    """Where the tables of `store` are kept, when that may be another place than what DuckDB has attached."""

    def change_tables(
        self, session: StoreSession, *, keep: bool, need: ProfileNeed | None
    ) -> AbstractContextManager[None]:
        """
        Let the block change the tables: what is kept elsewhere is brought before it, and its changes taken there.

        All of them or none, as with *keep* False or after an error. With a *need* these profiles are at hand, and
        those that the block stamps with the number of its run are taken.
        """

    def count_profiles(self, session: StoreSession) -> int:
        """Return how many profiles there are."""


class AttachedBacking:
    """The tables are kept in the database that is attached."""

    def change_tables(
        self,
        session: StoreSession,  # noqa: ARG002
        *,
        keep: bool,  # noqa: ARG002
        need: ProfileNeed | None,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def count_profiles(self, session: StoreSession) -> int:
        return int(session.one("SELECT count(*) FROM store.profiles"))


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSession:
    """The store is attached to *connection* as `store`; temporary tables and files are gone when it closes."""

    connection: duckdb.DuckDBPyConnection
    path: Path
    model: ProfileModel
    layout: Layout
    temp: Path  # a folder of its own, for files
    report: Report
    backing: Backing = field(default_factory=AttachedBacking)

    def execute(self, statement: str, parameters: list[Any] | None = None) -> duckdb.DuckDBPyConnection:
        return self.connection.execute(statement, parameters)

    def one(self, statement: str, parameters: list[Any] | None = None) -> Any:
        """Return the first value of the first row, or None without any."""
        row = self.connection.execute(statement, parameters).fetchone()
        return None if row is None else row[0]

    def execute_watched(self, statement: str, on_progress: Callable[[float], None]) -> None:
        """
        Execute *statement*; *on_progress* is called meanwhile, in this thread, with the part (0 to 1) that is done.

        The statement runs in another thread, so that a signal reaches this one at once; it is then interrupted.
        """
        with ThreadPoolExecutor(1) as beside:
            future = beside.submit(self.connection.execute, statement)
            try:
                while True:
                    try:
                        future.result(POLL)
                    except TimeoutError:
                        on_progress(max(0.0, self.connection.query_progress()) / 100)
                    else:
                        return
            except BaseException:
                self.connection.interrupt()
                raise

    @contextmanager
    def transaction(self, *, keep: bool = True, need: ProfileNeed | None = None) -> Iterator[None]:
        """
        Make the changes of a block one: all of them are kept, or none after an error or with *keep* False.

        *need* says which profiles it looks at; without, it looks at and changes none.
        """
        with self.backing.change_tables(self, keep=keep, need=need):
            self.connection.execute("BEGIN TRANSACTION")
            try:
                yield
                self.connection.execute("COMMIT" if keep else "ROLLBACK")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        with suppress(duckdb.TransactionException):  # a failed COMMIT has rolled back already
            self.connection.execute("ROLLBACK")
