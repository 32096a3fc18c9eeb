"""Tables of SQL databases: PostgreSQL by COPY, any other by a SQLAlchemy URL.

Import:

    import:
      from: {type: sql, url: "postgresql://reader@db.example.com/crm", password: "env:CRM_PASSWORD", table: people}

or, instead of `table`, a `query`, and with a column by which new and changed rows are known:

      from:
        type: sql
        url: "mysql+pymysql://db.example.com/shop"
        username: reader
        password: "env:SHOP_PASSWORD"
        query: SELECT id, email, updated_at FROM customers WHERE kind = 'person'
        watermark: {column: updated_at, overlap: 15m}

`url` names a database: `postgresql://` (extra `postgres`), or any that SQLAlchemy knows (extra `sql`, and the driver of
the database). It holds no password: that is a reference under `password`. `sqlite:///shop.db` is a file, relative to
the workspace. `table` may say its schema: crm.people; names are taken as they are written, in small letters or not.

A `query` is one SELECT, used as a subquery in a read-only transaction. A function that it calls may still do things
outside of the tables, so let the user be one that may only read. All rows are one consistent view of the data.

With a `watermark`, a run reads the rows whose column is at or behind the greatest value that the last successful run
read, and those that have none; in the order of the column, so that the newest row counts. A row becomes visible when
its transaction ends, later than the instant or the number that it carries: so a run reads again what lies `overlap`
before the mark. That is 15m for times and 1000 for numbers when left out; set it to the longest time that a transaction
takes. Rows that are read again without a change count as unchanged. A value in the future does not move the mark beyond
now. Another `url`, `table`, `query` or column begins anew. Without a watermark each run reads all rows.

Values become text: instants in RFC 3339 and UTC, numbers with all their digits, true and false, JSON as it is; the
elements of an array fill a property that is `many`. A length of time (TIME of MySQL) is [-]HH:MM:SS. A time without a
zone has none here either: write, say, `created AT TIME ZONE 'Europe/Amsterdam' AS created` in the query. A column of
bytes is refused.

Export:

    export:
      to: {type: sql, url: "postgresql://writer@db.example.com/crm", password: "env:CRM_PASSWORD", table: audience,
           mode: upsert, unique: [email]}

`fields` names the table's columns; each value gets the type of its column; a `many` property is a list in an array or
JSON column, a text with semicolons elsewhere. A value arrives as it was sent, or its row is refused: docs/data.md says
what counts as the same. MySQL and MariaDB need the rights SELECT and CREATE TEMPORARY TABLES for that.

- `mode: insert` adds rows, all in one transaction: a run that fails adds none.
- `mode: upsert` adds a row, or changes the one that has the same values in the columns of `unique`: those of the
  primary key, or of a unique index. Of two rows that have one key, to the database, the second is refused. Each `batch`
  (10000 rows) is a transaction; after a failure the next run sends all again, which changes nothing twice.
- `mode: replace` removes all rows and adds those of this run, in one transaction: others see the old rows or the new.
  Use it with `rows: all`.

A row that the database refuses (a type, a constraint, a trigger) is told in the run's rejects, and the others arrive; a
replacement of which every row is refused leaves the table as it was. After a deadlock, a conflict of transactions or a
broken connection it is tried again, up to three times. When the connection breaks while an insert is being committed,
nobody knows whether it was, and the run says so.

The way to a database on another machine is always protected: its certificate must be valid for its host name. For
PostgreSQL that is sslmode=verify-full with the authorities of this machine; `?sslrootcert=authority.pem` in the URL
names your own (relative to the workspace), with `sslmode=verify-ca` for a certificate that is made out to another name.
Nothing weaker is accepted. MySQL and MariaDB take PyMySQL 1.2 or newer and the authorities of this machine
(SSL_CERT_FILE names others). Of other drivers nobody knows how they verify, so they reach this machine only: begin a
tunnel here. A connection must be made within 10 seconds. `statement_timeout` (30m) bounds each statement of PostgreSQL;
other databases have settings of their own. Temporary tables hold an export's rows on their way in PostgreSQL; so a pool
in between must keep one session for one client.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from connrunner.connectors import FetchResult, Known, RunContext, SendResult, Settings
from connrunner.connectors.quota import FetchQuota
from connrunner.connectors.sql import reading
from connrunner.connectors.sql.database_url import DatabaseAddress, address_of
from connrunner.connectors.sql.failure import persistently
from connrunner.connectors.sql.names import table_name
from connrunner.connectors.sql.reading import ReadQuery, RowsFile
from connrunner.connectors.sql.sending import TableLoad
from connrunner.core import instant
from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.text.words import plural

BATCH = 10_000  # rows


def fetch(settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:  # noqa: ARG001
    """Return one file with the rows of the table or query; none when there are no rows."""
    database = address_of(settings, context.workspace)
    wanted = _wanted(settings)
    of = reading.fingerprint_query(wanted, database.url)
    since = reading.last(mark, wanted, of, context.report)
    path = context.spool.absolute() / "rows"
    reader = _module(database, "read")

    def read() -> RowsFile:
        quota = FetchQuota(settings, context.spool)  # of this try alone
        found: RowsFile = reader.read(database, replace(wanted, quota=quota), since, of, path, context)
        return found

    found = persistently(read, context.report)
    behind = f", from {wanted.column} {since.value} on and a little before" if since else ""
    context.report.message(f"{plural(found.rows, 'row')} of {wanted}{behind}")
    new_mark = found.mark.as_json() if found.mark else None
    if not found.rows:
        return FetchResult(files=(), mark=new_mark)
    file = LocalFile(
        path=str(path),
        name=str(wanted),
        size=path.stat().st_size,
        modified=instant.text(context.at),
        format=found.form,
        numbers=found.numbers,
        once=wanted.column is not None,  # without a watermark the next run reads all rows again
    )
    return FetchResult(files=(file,), mark=new_mark)


def settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    """Leave the rows where they are."""


def form(settings: Settings, wanted: Format) -> Format:  # noqa: ARG001
    """Return JSON lines: they tell nothing from an empty text, and hold lists."""
    return Format(type="jsonl", compression="none")


def target(settings: Settings, context: RunContext) -> str:
    """Return how people call the table, after a look at it; RunError when rows cannot arrive there."""
    database = address_of(settings, context.workspace)
    load = _load(settings)
    writer = _module(database, "write")
    return str(persistently(lambda: writer.check(database, load), context.report))


def deliver(settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Bring the rows of *local* into the table, those that it refuses left out."""
    database = address_of(settings, context.workspace)
    load = _load(settings)
    where, refused = _module(database, "write").write(database, load, local, context.report)
    return SendResult(where=where, refused=refused)


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:
    """Return the database that lets us in; for an export, the table that takes its rows."""
    if writes:
        return f"{target(settings, context)}: the table takes the rows"
    database = address_of(settings, context.workspace)
    wanted = _wanted(settings)
    if database.is_postgres:
        _module(database, "read")  # says which extra is missing
        from connrunner.connectors.sql import postgres

        with postgres.session(database, read_only=True) as here:
            here.execute("SELECT 1")
            return f"{here.where} let us in, for {wanted}"
    _module(database, "read")
    from connrunner.connectors.sql import alchemy

    with alchemy.connection(database, read_only=True) as made:
        made.exec_driver_sql("SELECT 1")
        return f"{alchemy.name_database(database)} let us in, for {wanted}"


def _wanted(settings: Settings) -> ReadQuery:
    table, query = settings.get("table"), settings.get("query")
    if (table is None) == (query is None):
        raise RunError("an import needs `table` or `query`", hint="write one of them", code="bad-settings")
    watermark = settings.get("watermark") or {}
    return ReadQuery(
        table=table_name(table) if table is not None else None,
        query=query,
        column=watermark.get("column"),
        overlap=watermark.get("overlap"),
    )


def _load(settings: Settings) -> TableLoad:
    mode, key = settings["mode"], tuple(settings.get("unique", ()))
    if (mode == "upsert") != bool(key):
        message = "`mode: upsert` needs `unique`" if not key else f"`mode: {mode}` has no use for `unique`"
        raise RunError(message, hint="write `mode: upsert` and `unique: [column]`", code="bad-settings")
    return TableLoad(table=table_name(settings["table"]), mode=mode, key=key, batch=settings.get("batch", BATCH))


def _module(database: DatabaseAddress, does: str) -> ModuleType:
    """Return the module that *does* something with this kind of database; it imports what the extra installs."""
    name, extra = ("postgres", "postgres") if database.is_postgres else ("alchemy", "sql")
    try:
        return importlib.import_module(f"{__name__}.{name}_{does}")
    except ImportError as error:
        raise RunError(
            f"{database.scheme}:// needs the extra {extra!r} ({error.name or error} cannot be imported)",
            hint=f"pip install 'connrunner[{extra}]'",
            code="missing-extra",
        ) from None
