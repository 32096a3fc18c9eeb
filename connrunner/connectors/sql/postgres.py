"""A session with a PostgreSQL database: protected on its way, bounded in time, its errors in words."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from connrunner.connectors.sql import database_url, failure
from connrunner.connectors.sql.database_url import DatabaseAddress
from connrunner.databases.libpq import compose_parameters, describe_database
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass

Query = LiteralString | sql.SQL | sql.Composed
Cursor = psycopg.Cursor[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresSession:
    """A connection without an open transaction."""

    connection: psycopg.Connection[Any]
    where: str  # how people call the database
    heard: Callable[[], None]  # to be called when something came or went: then it is not silent

    def execute(
        self, statement: Query, values: Sequence[Any] | Mapping[str, Any] | None = None, *, binary: bool = False
    ) -> Cursor:
        """Return the result of *statement*; with *binary*, the server takes one statement only."""
        cursor = self.connection.execute(statement, values, binary=binary)
        self.heard()
        return cursor


@contextmanager
def session(address: DatabaseAddress, *, read_only: bool = False) -> Iterator[PostgresSession]:
    """Yield a session; RunError for all that goes wrong with it, inside too."""
    parameters = _parameters(address)
    where = describe_database(parameters)
    try:
        connection = psycopg.connect(**parameters, autocommit=True, prepare_threshold=None)
    except (psycopg.Error, OSError, UnicodeError) as error:
        raise failure.unreachable(str(error), where) from None
    with closing(connection), closing(_StallGuard(connection, address.statement + database_url.SILENCE)) as watch:
        try:
            _settle(connection, address, read_only=read_only)
            yield PostgresSession(connection=connection, where=where, heard=watch.heard)
        except psycopg.Error as error:
            if watch.silent:
                raise RunError(
                    f"{where} was silent for {watch.limit:g} s",
                    hint="see what is between this machine and the database",
                    code="no-answer",
                    waiting_helps=True,
                ) from None
            raise failure.explain_database_error(error.sqlstate, _words(error), where) from None


def _words(error: psycopg.Error) -> str:
    """Return what the server said, with the advice that it gave."""
    said = error.diag.message_primary or str(error).partition("\n")[0]
    return ". ".join(part for part in (said, error.diag.message_hint) if part)


def name_postgres(address: DatabaseAddress) -> str:
    """Return `describe_database` of *address*, without asking anybody."""
    return describe_database(_parameters(address))


# --- connecting --------------------------------------------------------------------------------------------------


def _parameters(address: DatabaseAddress) -> dict[str, Any]:
    """Return what libpq is given. RunError when the URL asks for something that cannot be."""
    found = compose_parameters(
        address.url, folder=address.workspace, username=address.username, password=address.password
    )
    return {**found, "connect_timeout": database_url.CONNECT}


def _settle(connection: psycopg.Connection[Any], address: DatabaseAddress, *, read_only: bool) -> None:
    """Make values look the same whatever the server's own settings are, and bound each statement."""
    wanted = {
        "statement_timeout": f"{address.statement}s",
        "timezone": "UTC",
        "datestyle": "ISO, YMD",
        "intervalstyle": "iso_8601",
        "extra_float_digits": "1",
        "default_transaction_read_only": "on" if read_only else "off",
    }
    connection.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS wanted(name, value)",
        (list(wanted), list(wanted.values())),
    )


# --- silence -----------------------------------------------------------------------------------------------------


class _StallGuard:
    """Cuts a connection on which nothing moves any more: libpq itself would wait for ever."""

    def __init__(self, connection: psycopg.Connection[Any], limit: float) -> None:
        self.limit = limit
        self.silent = False
        self._heard = time.monotonic()
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def heard(self) -> None:
        self._heard = time.monotonic()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _look(self) -> None:
        while not self._over.wait(max(0.01, self._heard + self.limit - time.monotonic())):
            if time.monotonic() - self._heard >= self.limit:
                self.silent = True
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                return
