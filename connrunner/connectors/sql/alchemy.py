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
from connrunner.connectors.sql.database_url import DatabaseAddress
from connrunner.connectors.sql.names import TableName, near
from connrunner.errors import RunError
from connrunner.text.database_urls import DatabaseUrl, find_flaw, is_database_here
from connrunner.text.redaction import redact_library_words
from connrunner.text.words import one_line

_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}
MYSQL = ("mysql", "mariadb")
# Whatever the server's own mode is: what does not fit is an error, and 0 is no request for a number. Without the ban of
# zero dates, which are the default of many old columns and nothing that we send.
_STRICT = """SET SESSION sql_mode = CONCAT_WS(',',
    NULLIF(REPLACE(REPLACE(@@sql_mode, 'NO_ZERO_IN_DATE', ''), 'NO_ZERO_DATE', ''), ''),
    'STRICT_ALL_TABLES', 'NO_AUTO_VALUE_ON_ZERO')"""
_UNDOES_NOTHING = ("myisam", "aria", "memory", "csv", "archive")  # engines
# What MySQL and MariaDB tell by number where PyMySQL has no class for it.
_CONFLICTS = (1205, 1213, 1305)  # lock wait timeout, deadlock, and that a deadlock has undone the savepoint
# What is said about a row: the SQLSTATE of the same refusal elsewhere.
_ABOUT_A_ROW = {
    **dict.fromkeys((1048, 1138, 1263, 1364), "23502"),  # no value where one must be
    **dict.fromkeys((1062, 1557, 1586, 1761, 1762), "23505"),
    **dict.fromkeys((1216, 1217, 1451, 1452), "23503"),
    **dict.fromkeys((3819, 4025), "23514"),
    **dict.fromkeys((1369, 1526, 1748), "44"),  # outside of a view, of the partitions
    **dict.fromkeys((1264, 1441, 1690), "22003"),
    **dict.fromkeys((1265, 1292, 1366, 1367, 1411, 1525, 3140, 3141, 3156, 3157), "22007"),
    1406: "22001",
    1118: "54",
    1365: "22",
    1644: "P0",  # a trigger's SIGNAL
}
_CLASSES = ("22", "23", "44", "45")  # of SQLSTATE: a value, a constraint, a view's condition, a signal
_QUOTED = re.compile(r"(entry |value: |for value )(?:'.*'(?= for )|'.*'$|[^' ]+)", re.DOTALL)
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
        with quietly():
            found: list[Any] = list(look.get_columns(name.table, schema=name.schema))
    except exc.NoSuchTableError:
        found = []
    if found:
        return found
    there = [*look.get_table_names(schema=name.schema), *look.get_view_names(schema=name.schema)]
    hint = near(name.table, there, "tables")
    raise RunError(f"{where} has no table {str(name)!r}", hint=hint, code="missing-table")


@contextmanager
def quietly() -> Iterator[None]:
    """Let nothing be said about a type that SQLAlchemy does not know: it is text to us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exc.SAWarning)
        yield


def find_json_columns(made: sa.Connection, name: TableName) -> frozenset[str]:
    """Return the columns of the table *name* that are JSON by a rule only: those of MariaDB are texts."""
    if made.dialect.name not in MYSQL or not getattr(made.dialect, "is_mariadb", False):
        return frozenset()
    asked = sa.text(
        "SELECT check_clause FROM information_schema.check_constraints"
        " WHERE constraint_schema = coalesce(:schema, database()) AND table_name = :table"
    )
    try:
        rules = made.execute(asked, {"schema": name.schema, "table": name.table}).scalars().all()
    except exc.DBAPIError:  # versions before 10.2 have neither rules nor JSON
        return frozenset()
    found = (re.fullmatch(r"json_valid\(`((?:[^`]|``)+)`\)", str(rule), re.IGNORECASE) for rule in rules)
    return frozenset(one[1].replace("``", "`") for one in found if one)


def can_undo(made: sa.Connection, name: TableName) -> bool:
    """Return whether the table *name* forgets the rows of a statement that failed."""
    if made.dialect.name not in MYSQL:
        return True
    asked = sa.text(
        "SELECT engine FROM information_schema.tables"
        " WHERE table_schema = coalesce(:schema, database()) AND table_name = :table"
    )
    engine = made.execute(asked, {"schema": name.schema, "table": name.table}).scalar()
    return str(engine).lower() not in _UNDOES_NOTHING


def refuses_a_row(error: exc.StatementError) -> bool:
    """True when the database refused values, not the statement."""
    if isinstance(error, exc.IntegrityError | exc.DataError):
        return True
    # Not even sent: the driver cannot write a value.
    if not isinstance(error, exc.DBAPIError) or number_of(error) in _ABOUT_A_ROW:
        return True
    return str(getattr(error.orig, "sqlstate", None) or "")[:2] in _CLASSES


def sqlstate_of(error: exc.StatementError) -> str:
    """Return the SQLSTATE of a row's refusal, as far as the driver tells one."""
    told = _ABOUT_A_ROW.get(number_of(error) or 0) or getattr(error.orig, "sqlstate", None)
    return str(told) if told else "23" if isinstance(error, exc.IntegrityError) else "22"


def words_of(error: exc.StatementError) -> str:
    """Return what the database said about a row, without the value that MySQL and MariaDB quote."""
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    if len(arguments) == 2 and isinstance(arguments[0], int):
        return _QUOTED.sub(r"\1'…'", re.sub(r" at row \d+$", "", str(arguments[1])))
    return str(error.orig)


def opening_statement(dialect: str, *, read_only: bool) -> str | None:
    """Return what a session begins with: it can only read, or nothing that it writes is cut to fit."""
    if read_only:
        return _READ_ONLY.get(dialect)
    return _STRICT if dialect in MYSQL else None


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
    _check(url)
    if address.username is not None:
        url = url.set(username=address.username)
    if address.password is not None:
        url = url.set(password=address.password)
    return url


def _check(url: sa.URL) -> None:
    """RunError for what must not be asked, by what SQLAlchemy itself reads in the URL."""
    keys = {name: value if isinstance(value, str) else ",".join(value) for name, value in url.query.items()}
    backend, _, driver = url.drivername.lower().partition("+")
    flaw = find_flaw(DatabaseUrl(backend=backend, driver=driver, host=url.host, database=url.database, keys=keys))
    if flaw is not None:
        raise RunError(flaw.message, hint=flaw.hint, code=flaw.code)


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
    statement = opening_statement(engine.dialect.name, read_only=read_only)
    if statement is not None:

        @event.listens_for(engine, "connect")
        def begin_session(raw: Any, _: object) -> None:
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
    here = is_database_here(url.host)
    if url.get_backend_name() in MYSQL and url.get_driver_name() == "pymysql":
        # Another set of characters would have question marks for what it lacks.
        way: dict[str, Any] = {"connect_timeout": database_url.CONNECT, "charset": "utf8mb4"}
        way |= {"read_timeout": silence, "write_timeout": silence}
        if here:
            return way
        _check_pymysql(where)
        return {**way, "ssl": ssl.create_default_context()}
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
        import pymysql
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
    if number_of(error) in _CONFLICTS or _LOCKED.search(words):
        return failure.explain_database_error("40001", words, where)
    if error.connection_invalidated:
        return failure.explain_database_error("08", words, where)
    return failure.explain_database_error(getattr(error.orig, "sqlstate", None) or "42", words, where)


def number_of(error: exc.StatementError) -> int | None:
    """Return the number by which a driver tells the error, if it does."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None
