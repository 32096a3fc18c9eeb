"""
The tables of a store in PostgreSQL: those of the embedded store, in a schema of their own.

What they are called and hold stands in `tables` alone. Here they are made, and brought forward when this version has
tables or columns that the database does not have yet. Properties and objectives get their columns as they do there.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from connrunner.core.model import ProfileModel
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import tables, values
from connrunner.profiles.sql_fragments import quote_name
from connrunner.profiles.stores.postgres_database import PostgresDatabase
from connrunner.profiles.stores.work_set import KEYS, WorkSet, translate_type

LAYOUT = 1  # counts up when the tables change in another way than by new tables and columns
_LAYOUT_KEY = "postgresql"  # the row of `about`
# How an older layout becomes the next one, by the number that it has; each in the transaction that opens the store.
MIGRATIONS: dict[int, Callable[[PostgresDatabase], None]] = {}

_INDEXES = {
    "about": ("UNIQUE", "key"),
    "runs": ("", "connection, run"),
    "files": ("", "connection"),
    "kept": ("", "connection"),
    "sent": ("", "connection, profile"),
    "unconfirmed": ("", "connection"),
    "profiles": ("UNIQUE", "_id"),
}


@dataclass(frozen=True, slots=True)
class DatabaseValues:
    """The values of the database, as `tables.StoredValues`."""

    database: PostgresDatabase

    def count_filled(self, column: str) -> int:
        with self.database.reading():
            return int(self.database.one(f"SELECT count({quote_name(column)}) FROM {self.database.name('profiles')}"))

    def count_repeated(self, column: str) -> int:
        value = quote_name(column)
        with self.database.reading():
            return int(
                self.database.one(f"""SELECT count(*) FROM (SELECT 1 FROM {self.database.name("profiles")}
                WHERE {value} IS NOT NULL GROUP BY {value} HAVING count(*) > 1) repeated""")
            )


def create_work_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of a work set, empty."""
    tables.create_tables(connection)
    connection.execute("DELETE FROM store.about")


def list_tables(work: WorkSet) -> list[str]:
    """Return the tables of the work set."""
    found = work.connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'store'").fetchall()
    names = sorted(name for (name,) in found)
    assert set(names) <= KEYS.keys(), "each table of a store needs its keys, or it would not be written"
    return names


def find_columns(database: PostgresDatabase) -> dict[str, set[str]]:
    """Return, by table, the columns that the database has; nothing of a schema that is not there."""
    rows = database.execute(
        """SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = %s AND c.relkind IN ('r', 'p')""",
        [database.schema],
    ).fetchall()
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return found


def bring_description(work: WorkSet) -> None:
    """Bring what says how profiles are kept; RunError for a store that this version does not know."""
    for table in ("about", "properties", "objectives"):
        work.bring(table)
    tables.check_format(work.connection, work.database.where)
    layout = work.connection.execute("SELECT value FROM store.about WHERE key = ?", [_LAYOUT_KEY]).fetchone()
    if layout is None or int(layout[0]) > LAYOUT:
        raise RunError(
            f"the profile store ({work.database.where}) was made by a newer connrunner",
            hint="use that version or a newer one",
            code="foreign-store",
        )


def prepare_tables(work: WorkSet, model: ProfileModel, *, adapts: bool) -> tables.Layout:
    """
    Return the layout of the store in the database, under its lock when *adapts*: then *model* gets its columns.

    What is missing is made then. The work set has the description of the store afterwards.
    """
    database = work.database
    if adapts:
        there = find_columns(database)
        if not there:
            _create_schema(database)
        _check_encoding(database)
        _bring_forward(work, there)
    bring_description(work)
    if not adapts:
        return tables.read_layout(work.connection, model)
    declare_stored_profiles(work)
    before = work.describe_properties()
    layout = tables.adapt_tables(work.connection, model, DatabaseValues(database))
    _change_columns(work, before)
    index_identifiers(work)
    work.apply()
    return layout


def declare_stored_profiles(work: WorkSet) -> None:
    """Have no profile at hand, and every column that properties and objectives at hand say."""
    work.declare_profiles(read_stored_types(work))


def index_identifiers(work: WorkSet) -> None:
    """Have an index of each identifier that the description at hand knows."""
    for known in tables.read_stored_columns(work.connection).values():
        if known.owner.identifier and not known.owner.many:
            _index_identifier(work.database, known.column, is_text=known.owner.type.value in ("text", "email"))


def read_stored_types(work: WorkSet) -> dict[str, str]:
    """Return the columns of `profiles` that keep properties and consents, declared or not, and their types."""
    found = {
        known.column: values.column_type(known.owner.type, many=known.owner.many)
        for known in tables.read_stored_columns(work.connection).values()
    }
    consents = work.connection.execute('SELECT "column" FROM store.objectives').fetchall()
    return {**found, **{column: "BOOLEAN" for (column,) in consents}}


def needs_change(work: WorkSet, model: ProfileModel) -> bool:
    """Return whether the database lacks a table or a column of this version, or of *model*; nothing is changed."""
    there = find_columns(work.database)
    if any(not set(work.describe(table)) <= there.get(table, set()) for table in list_tables(work)):
        return True
    bring_description(work)
    layout = _read_about(work)
    if layout < LAYOUT:
        return True
    stored = tables.read_stored_columns(work.connection)
    objectives = {name for (name,) in work.connection.execute("SELECT name FROM store.objectives").fetchall()}
    facts = [
        name in stored
        and (stored[name].owner.type, stored[name].owner.many, stored[name].owner.identifier)
        == (owner.type, owner.many, owner.identifier)
        for name, owner in model.properties.items()
    ]
    return not all(facts) or not model.objectives.keys() <= objectives


def _read_about(work: WorkSet) -> int:
    found = work.connection.execute("SELECT value FROM store.about WHERE key = ?", [_LAYOUT_KEY]).fetchone()
    return int(found[0]) if found else 0


def _create_schema(database: PostgresDatabase) -> None:
    """Make the schema unless it is there; to make one takes a right that a role without it does not need."""
    there = database.one("SELECT 1 FROM pg_namespace WHERE nspname = %s", [database.schema])
    if there is None:
        database.execute(f"CREATE SCHEMA {quote_name(database.schema)}")


def _check_encoding(database: PostgresDatabase) -> None:
    encoding = database.one("SHOW server_encoding")
    if encoding != "UTF8":
        raise RunError(
            f"the profile store ({database.where}) cannot be there: the database keeps texts as {encoding}",
            hint="make a database with the encoding UTF8: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
            code="store-unusable",
        )


def _bring_forward(work: WorkSet, there: dict[str, set[str]]) -> None:
    """Make the tables and columns that the database does not have."""
    database = work.database
    if there and not {"about", "profiles", "properties", "runs"} <= there.keys():
        raise RunError(
            f"{database.where} has tables, and is no profile store",
            hint="name a schema of its own in `store`",
            code="foreign-store",
        )
    for table in list_tables(work):
        columns = work.describe(table)
        if table not in there:
            declared = ", ".join(f"{quote_name(name)} {translate_type(kind)}" for name, kind in columns.items())
            options = " WITH (fillfactor = 85)" if table == "profiles" else ""
            database.execute(f"CREATE TABLE {database.name(table)} ({declared}){options}")
            if table in _INDEXES:
                unique, keys = _INDEXES[table]
                named = ", ".join(map(quote_name, keys.split(", ")))
                database.execute(f"CREATE {unique} INDEX ON {database.name(table)} ({named})")
            continue
        for name in columns.keys() - there[table]:
            kind = translate_type(columns[name])
            database.execute(f"ALTER TABLE {database.name(table)} ADD COLUMN {quote_name(name)} {kind}")
    if not there:
        tables.describe_new_store(work.connection)
        work.connection.execute("INSERT INTO store.about VALUES (?, ?)", [_LAYOUT_KEY, str(LAYOUT)])
        work.send_table("about")
        return
    about = database.name("about")
    found = database.one(f"SELECT value FROM {about} WHERE key = %s", [_LAYOUT_KEY])
    for layout in range(int(found or 0), LAYOUT):
        if layout in MIGRATIONS:
            MIGRATIONS[layout](database)
        database.execute(f"UPDATE {about} SET value = %s WHERE key = %s", [str(layout + 1), _LAYOUT_KEY])


def _change_columns(work: WorkSet, before: dict[str, str]) -> None:
    """Give the database's profiles the columns that those of the work set have now; *before* is what they had."""
    profiles, after = work.database.name("profiles"), work.describe_properties()
    for name in [name for name, kind in before.items() if after.get(name) != kind]:  # empty: it was looked at
        work.database.execute(f"ALTER TABLE {profiles} DROP COLUMN {quote_name(name)}")
    add_columns(work, {name: kind for name, kind in after.items() if before.get(name) != kind})


def add_columns(work: WorkSet, columns: dict[str, str]) -> None:
    """Give the database's profiles *columns*, by their names and types, which they do not have."""
    if columns:
        parts = ", ".join(f"ADD COLUMN {quote_name(name)} {translate_type(kind)}" for name, kind in columns.items())
        work.database.execute(f"ALTER TABLE {work.database.name('profiles')} {parts}")


def _index_identifier(database: PostgresDatabase, column: str, *, is_text: bool) -> None:
    """Make an index of an identifier unless there is one. No unique one: two profiles may swap values in one run."""
    there = database.one(
        """SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = %s::regclass AND i.indnkeyatts = 1 AND a.attname = %s LIMIT 1""",
        [database.name("profiles"), column],
    )
    if there is None:
        # A text may be longer than what a B-tree takes.
        method = "hash" if is_text else "btree"
        database.execute(f"CREATE INDEX ON {database.name('profiles')} USING {method} ({quote_name(column)})")
