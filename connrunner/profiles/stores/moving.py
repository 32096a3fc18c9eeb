"""
All of a profile store goes to the other kind of store, and is compared there, row by row, before it counts.

To PostgreSQL it goes in one transaction; to a file of DuckDB that gets its name when it is whole. So who is killed at
any moment leaves nothing behind that counts, and begins anew. The earlier store stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from connrunner.core.model import ProfileModel
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import tables
from connrunner.profiles.memory_limit import choose_memory_limit
from connrunner.profiles.patience import Patience
from connrunner.profiles.profile_keys import STORE_ID
from connrunner.profiles.sql_fragments import quote_name, quote_text
from connrunner.profiles.stores import database_tables
from connrunner.profiles.stores.beginning import STORAGE, move_aside
from connrunner.profiles.stores.duckdb import SETTINGS, open_store, translate_store_errors
from connrunner.profiles.stores.postgres_database import DatabasePlace, PostgresDatabase
from connrunner.profiles.stores.postgresql import open_database_store
from connrunner.profiles.stores.work_set import OWN_COLUMNS, WorkSet
from connrunner.text.files import put_in_place, sync_file
from connrunner.text.words import agree

_OF_DATABASE = ("postgresql", "revision")  # facts about a store that mean nothing in a file
NOTHING = ProfileModel(properties={}, objectives={})


@dataclass(frozen=True, kw_only=True, slots=True)
class MovedStore:
    """What was moved and found equal: rows, by table; and where the files of the earlier store stand now."""

    rows: dict[str, int]
    aside: tuple[Path, ...] = ()
    was_done: bool = False  # by an earlier move, which left nothing to do but to compare


def move_to_database(
    path: Path, place: DatabasePlace, model: ProfileModel, *, temp: Path, report: Report, wait: float
) -> MovedStore:
    """
    Bring the store in the file *path* to *place*, where there is none yet; nobody may change it meanwhile.

    RunError, and nothing is changed, when there is another one, or when one row is not there as it was here.
    """
    if not path.exists():
        raise RunError(f"there is no profile store in {path}", hint="there is nothing to move", code="no-store")
    with open_store(path, model, temp=temp, report=report, wait=wait):
        pass  # one of an older version is brought up to date
    with open_database_store(place, NOTHING, temp=temp, report=report, wait=wait):
        pass
    with _working(place, temp) as work, translate_store_errors(path):
        work.connection.execute(f"ATTACH {quote_text(str(path))} AS earlier (READ_ONLY)")
        with work.database.changing("moves the profile store", Patience(wait)):
            database_tables.bring_description(work)
            earlier = dict(work.connection.execute("SELECT key, value FROM earlier.about").fetchall())
            there = dict(work.connection.execute("SELECT key, value FROM store.about").fetchall())
            was_done = there[STORE_ID] == earlier.get(STORE_ID)
            if not was_done:
                _refuse_filled(work)
                _send_all(work)
            rows = _compare(work)
    return MovedStore(rows=rows, aside=tuple(move_aside(path)), was_done=was_done)


def move_to_file(path: Path, place: DatabasePlace, *, temp: Path, report: Report) -> MovedStore:
    """
    Bring the store at *place* into the file *path*; one that stands there is moved aside.

    RunError, and nothing is changed, when one row is not there as it was in the database.
    """
    with open_database_store(place, NOTHING, temp=temp, report=report, read_only=True):
        pass
    fresh = temp / path.name
    with _working(place, temp) as work, translate_store_errors(path):
        work.connection.execute(f"ATTACH {quote_text(str(fresh))} AS earlier (STORAGE_VERSION '{STORAGE}')")
        fresh.chmod(0o600)
        with work.database.reading():
            _bring_all(work)
            for table in database_tables.list_tables(work):
                work.connection.execute(f"CREATE TABLE earlier.{table} AS FROM store.{table}")
            rows = _compare(work)
        marks = ", ".join(map(quote_text, _OF_DATABASE))
        work.connection.execute(f"DELETE FROM earlier.about WHERE key IN ({marks})")
        work.connection.execute("CHECKPOINT earlier")
        work.connection.execute("DETACH earlier")
    sync_file(fresh)
    aside = move_aside(path)
    put_in_place(fresh, path)
    return MovedStore(rows=rows, aside=tuple(aside))


@contextmanager
def _working(place: DatabasePlace, temp: Path) -> Iterator[WorkSet]:
    database = PostgresDatabase(place, temp)
    connection = duckdb.connect(":memory:", config={"memory_limit": choose_memory_limit()})
    try:
        connection.execute(SETTINGS + f"SET temp_directory = {quote_text(str(temp / 'spill'))}")
        connection.execute("ATTACH ':memory:' AS store")
        database_tables.create_work_tables(connection)
        yield WorkSet(connection, database, temp)
    finally:
        connection.close()
        database.close()


def _refuse_filled(work: WorkSet) -> None:
    for table in ("runs", "profiles"):
        if work.database.one(f"SELECT 1 FROM {work.database.name(table)} LIMIT 1"):
            raise RunError(
                f"there is a profile store with {table} already: {work.database.where}",
                hint="name another `schema` under `store`, or drop the one that is there",
                code="store-unusable",
            )


def _send_all(work: WorkSet) -> None:
    """Send every table of `earlier`, and give its columns names that the database takes."""
    connection, database = work.connection, work.database
    names = _choose_names(connection)
    for table in ("properties", "objectives"):
        connection.execute(f"DELETE FROM store.{table}")
        connection.execute(f"INSERT INTO store.{table} FROM earlier.{table}")
        for old, new in names.items():
            if old != new:
                connection.execute(f'UPDATE store.{table} SET "column" = ? WHERE "column" = ?', [new, old])
    database_tables.declare_stored_profiles(work)
    columns = work.describe_properties()
    listed = ", ".join([*OWN_COLUMNS, *(f"{quote_name(old)} AS {quote_name(names[old])}" for old in names)])
    connection.execute(f"INSERT INTO store.profiles BY NAME SELECT {listed} FROM earlier.profiles")
    database_tables.add_columns(work, columns)
    for table in database_tables.list_tables(work):
        if table == "about":
            connection.execute("DELETE FROM store.about WHERE key <> 'postgresql'")
            connection.execute("INSERT INTO store.about FROM earlier.about WHERE key <> 'postgresql'")
        elif table not in ("properties", "objectives", "profiles"):
            connection.execute(f"INSERT INTO store.{table} BY NAME FROM earlier.{table}")
        database.execute(f"DELETE FROM {database.name(table)}")
        work.send_table(table)
    database_tables.index_identifiers(work)
    database.execute(f"ANALYZE {database.name('profiles')}")


def _bring_all(work: WorkSet) -> None:
    for table in database_tables.list_tables(work):
        if table != "profiles":
            work.bring(table)
    work.bring_profiles(database_tables.read_stored_types(work))


def _choose_names(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return what each column of properties and consents is called in the database."""
    old = connection.execute(
        'SELECT "column" FROM earlier.properties UNION ALL SELECT "column" FROM earlier.objectives'
    ).fetchall()
    found: dict[str, str] = {}
    for (name,) in old:
        found[name] = tables.choose_column(name, found.values())
    return found


def _compare(work: WorkSet) -> dict[str, int]:
    """Bring everything from the database, and return how many rows each table has: the same as `earlier`."""
    connection = work.connection
    names = _choose_names(connection)
    _bring_all(work)
    rows = {}
    for table in database_tables.list_tables(work):
        here = ", ".join(map(quote_name, work.describe(table)))
        there = here
        if table == "profiles":
            back = {new: old for old, new in names.items()}
            there = ", ".join(quote_name(back.get(name, name)) for name in work.describe(table))
        condition = f"WHERE key NOT IN ({', '.join(map(quote_text, _OF_DATABASE))})" if table == "about" else ""
        if table in ("properties", "objectives"):
            here, there = here.replace('"column", ', "").replace(', "column"', ""), there.replace('"column", ', "")
            there = there.replace(', "column"', "")
        one, other = f"SELECT {here} FROM store.{table} {condition}", f"SELECT {there} FROM earlier.{table} {condition}"
        different = connection.execute(f"""
            SELECT count(*) FROM (({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one}))""").fetchall()[0][0]
        if different:
            raise RunError(
                f"{agree(different, 'row', 'is', 'are')} not the same in both stores, of {table}",
                hint="nothing was moved; was a run at work meanwhile? Else please report this",
                code="store-unusable",
            )
        rows[table] = int(connection.execute(f"SELECT count(*) FROM ({one})").fetchall()[0][0])
    return rows
