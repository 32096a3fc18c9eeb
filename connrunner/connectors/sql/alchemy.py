"""A connection with any database that SQLAlchemy knows: protected on its way, its errors in words."""

from __future__ import annotations

import re
import sqlite3
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from connrunner.connectors.sql import database_url, failure
from connrunner.connectors.sql.database_url import DatabaseAddress, is_here
from connrunner.connectors.sql.names import TableName, near
from connrunner.errors import RunError
from connrunner.text.redaction import redact_library_words
from connrunner.text.words import one_line

_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}
_MYSQL = ("mysql", "mariadb")
# What MySQL and MariaDB tell by number where PyMySQL has no class for it.
_CONFLICTS = (1205, 1213, 1305)  # lock wait timeout, deadlock, and that a deadlock has undone the savepoint
_ABOUT_A_ROW = (1366, 1644, 3819)  # not a value of the column, refused by a trigger, by a check
_LOCKED = re.compile(r"database (?:table )?is locked|deadlock", re.IGNORECASE)


@contextmanager
def connection(address: DatabaseAddress, *, read_only: bool = False) -> Iterator[sa.Connection]:
    """Yield a connection; RunError for all that goes wrong with it, inside too. What is not committed is undone."""
    url = _url(address)
    where = name_database(address)
    engine = _engine(address, url, where, read_only=read_only)
    try:
        with _connected(engine, where) as made:
            try:
                yield made
            except exc.DBAPIError as error:
                raise _explained(error, where) from None
            except exc.SQLAlchemyError as error:
                said = one_line(redact_library_words(str(error)), failure.LONGEST)
                raise RunError(f"{where}: {said}", code="refused") from None
    finally:
        engine.dispose()


def name_database(address: DatabaseAddress) -> str:
    """Return how people call the database, without asking anybody."""
    url = _url(address)
    return f"{url.database} at {url.host}" + (f":{url.port}" if url.port else "") if url.host else str(url.database)


def inspect_columns(made: sa.Connection, name: TableName, where: str) -> list[Any]:
    """Return what the database says about each column of the table *name*; RunError when there is no such table."""
    look = sa.inspect(made)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exc.SAWarning)  # of a type that it does not know: it is text to us
            found: list[Any] = list(look.get_columns(name.table, schema=name.schema))
    except exc.NoSuchTableError:
        found = []
    if found:
        return found
    there = [*look.get_table_names(schema=name.schema), *look.get_view_names(schema=name.schema)]
    hint = near(name.table, there, "tables")
    raise RunError(f"{where} has no table {str(name)!r}", hint=hint, code="missing-table")


def refuses_a_row(error: exc.StatementError) -> bool:
    """True when the database refused values, not the statement."""
    if isinstance(error, exc.IntegrityError | exc.DataError):
        return True
    # Not even sent: the driver cannot write a value.
    return not isinstance(error, exc.DBAPIError) or _number(error) in _ABOUT_A_ROW


def sqlstate_of(error: exc.StatementError) -> str:
    """Return the SQLSTATE of a row's refusal, as far as the driver tells one."""
    told = getattr(error.orig, "sqlstate", None)
    return str(told) if told else "23" if isinstance(error, exc.IntegrityError) else "22"


# --- connecting --------------------------------------------------------------------------------------------------


def _url(address: DatabaseAddress) -> sa.URL:
    try:
        url = sa.make_url(address.url)
    except (exc.ArgumentError, ValueError):
        # Its text may hold parts of the URL that were meant to be secret.
        raise RunError(
            "`url` is not the URL of a database",
            hint="write it like mysql+pymysql://user@host/database or sqlite:///folder/file.db",
            code="bad-url",
        ) from None
    if address.username is not None:
        url = url.set(username=address.username)
    if address.password is not None:
        url = url.set(password=address.password)
    return url


def _engine(address: DatabaseAddress, url: sa.URL, where: str, *, read_only: bool) -> sa.Engine:
    given: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        path = _file(address, url)
        # By a URI, so that a missing file is not made.
        uri = f"{path.as_uri()}?mode=rw"
        given["creator"] = lambda: sqlite3.connect(uri, uri=True, timeout=database_url.CONNECT, isolation_level=None)
        url = sa.make_url("sqlite://")
    else:
        given["connect_args"] = _protected(address, url, where)
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True, **given)
    except exc.NoSuchModuleError:
        raise RunError(
            f"SQLAlchemy knows no database {url.drivername!r}",
            hint="correct the beginning of `url`, or install the package that brings it",
            code="unknown-database",
        ) from None
    except ImportError as error:
        raise RunError(
            f"{url.drivername} needs the package {error.name!r}",
            hint=f"pip install {error.name}",
            code="missing-driver",
        ) from None
    if engine.dialect.name == "sqlite":
        # The driver itself would begin a transaction too late, and none around a savepoint.
        event.listen(engine, "begin", lambda made: made.exec_driver_sql("BEGIN"))
    statement = _READ_ONLY.get(engine.dialect.name)
    if read_only and statement is not None:

        @event.listens_for(engine, "connect")
        def only_read(raw: Any, _: object) -> None:
            cursor = raw.cursor()
            cursor.execute(statement)
            cursor.close()

    return engine


def _file(address: DatabaseAddress, url: sa.URL) -> Path:
    if not url.database or url.database == ":memory:" or url.host:
        raise RunError(
            "`url` names no SQLite file",
            hint="write sqlite:///folder/file.db (relative to the workspace) or sqlite:////folder/file.db",
            code="bad-url",
        )
    path = (address.workspace / url.database).absolute()
    if not path.is_file():
        raise RunError(
            f"there is no database file {url.database}",
            hint="correct `url`; a relative path starts from the workspace",
            code="missing-database",
        )
    return path


def _protected(address: DatabaseAddress, url: sa.URL, where: str) -> dict[str, Any]:
    """Return the driver's arguments for bounded waiting and verified TLS; RunError where it cannot be verified."""
    silence = address.statement + database_url.SILENCE
    here = is_here(url.host)
    if url.get_backend_name() in _MYSQL and url.get_driver_name() == "pymysql":
        times = {"connect_timeout": database_url.CONNECT, "read_timeout": silence, "write_timeout": silence}
        if here:
            return times
        _check_pymysql(where)
        return {**times, "ssl": ssl.create_default_context()}
    if here:
        return {}
    raise RunError(
        f"connrunner cannot make sure that {url.drivername} verifies the certificate of {url.host}",
        hint="use PostgreSQL, MySQL or MariaDB (mysql+pymysql://), or a tunnel that begins on this machine (127.0.0.1)",
        code="unverified",
    )


def _check_pymysql(where: str) -> None:
    """RunError for a PyMySQL that goes on without TLS when the server offers none."""
    try:
        import pymysql  # type: ignore[import-untyped]
    except ImportError:
        return  # told by the engine
    if tuple(pymysql.VERSION[:2]) < (1, 2):
        raise RunError(
            f"this PyMySQL does not insist on TLS, which {where} needs",
            hint="pip install 'pymysql>=1.2'",
            code="unverified",
        )


@contextmanager
def _connected(engine: sa.Engine, where: str) -> Iterator[sa.Connection]:
    try:
        made = engine.connect()
    except exc.SQLAlchemyError as error:
        raise failure.unreachable(str(getattr(error, "orig", None) or error), where) from None
    except OSError as error:
        raise failure.unreachable(str(error), where) from None
    with made:
        yield made


# --- errors ------------------------------------------------------------------------------------------------------


def _explained(error: exc.DBAPIError, where: str) -> RunError:
    # Of the driver's error only its own words: the rest is the statement with its values.
    words = str(error.orig)
    if _number(error) in _CONFLICTS or _LOCKED.search(words):
        return failure.explain_database_error("40001", words, where)
    if error.connection_invalidated:
        return failure.explain_database_error("08", words, where)
    return failure.explain_database_error(getattr(error.orig, "sqlstate", None) or "42", words, where)


def _number(error: exc.StatementError) -> object:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None
