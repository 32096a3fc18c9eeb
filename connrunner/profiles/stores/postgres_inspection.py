"""Can a database keep profiles? What is in the way, and what is there, without a change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles.stores import database_tables
from connrunner.profiles.stores.postgres_database import DatabasePlace, PostgresDatabase

_DOCS = "see docs/postgresql.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseFinding:
    """Something about a database; it is in the way when there is a *hint*."""

    message: str
    hint: str = ""


def inspect_database(place: DatabasePlace) -> list[DatabaseFinding]:
    """Return what is to be said of the database at *place*; RunError when it cannot be reached, or is too old."""
    database = PostgresDatabase(place, Path("/nonexistent"))
    try:
        with database.translating(), database.reading():
            return list(_inspect(database))
    finally:
        database.close()


def _inspect(database: PostgresDatabase) -> Iterator[DatabaseFinding]:
    version, encoding, role, name = database.execute(
        "SELECT current_setting('server_version'), current_setting('server_encoding'), current_user, current_database()"
    ).fetchall()[0]
    yield DatabaseFinding(message=f"PostgreSQL {version.partition(' ')[0]}: {database.where}")
    if encoding != "UTF8":
        yield DatabaseFinding(
            message=f"the database {name} keeps texts as {encoding}",
            hint="make one with the encoding UTF8: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
        )
    if not database.one("SELECT has_database_privilege(current_database(), 'TEMPORARY')"):
        yield DatabaseFinding(
            message=f"the role {role} may make no temporary tables in {name}",
            hint=f"GRANT TEMPORARY ON DATABASE {name} TO {role}",
        )
    there = database_tables.find_columns(database)
    is_made = database.one("SELECT 1 FROM pg_namespace WHERE nspname = %s", [database.schema])
    if not is_made:
        if not database.one("SELECT has_database_privilege(current_database(), 'CREATE')"):
            yield DatabaseFinding(
                message=f"there is no schema {database.schema}, and the role {role} may not make one",
                hint=f"CREATE SCHEMA {database.schema} AUTHORIZATION {role}",
            )
        return
    if not database.one("SELECT has_schema_privilege(%s, 'CREATE, USAGE')", [database.schema]):
        yield DatabaseFinding(
            message=f"the role {role} may not make tables in the schema {database.schema}",
            hint=f"ALTER SCHEMA {database.schema} OWNER TO {role}",
        )
    yield from _inspect_tables(database, role, set(there))


def _inspect_tables(database: PostgresDatabase, role: str, there: set[str]) -> Iterator[DatabaseFinding]:
    others = database.execute(
        """SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relkind = 'r' AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1""",
        [database.schema],
    ).fetchall()
    if others:
        yield DatabaseFinding(
            message=f"{others[0][0]} in the schema {database.schema} belongs to another role than {role}",
            hint=f"ALTER TABLE ... OWNER TO {role}, for each of its tables",
        )
    collations = database.execute(
        """SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_collation o ON o.oid = a.attcollation
        WHERE n.nspname = %s AND c.relkind = 'r' AND o.collname <> 'C' ORDER BY 1""",
        [database.schema],
    ).fetchall()
    if collations and "profiles" in there:
        yield DatabaseFinding(
            message=f"{collations[0][0]} is compared by another collation than C: other texts may be equal by it",
            hint=f'ALTER TABLE ... ALTER COLUMN ... TYPE text COLLATE "C", for {len(collations)} columns; {_DOCS}',
        )
    unindexed = database.one(
        "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE n.nspname = %s AND NOT i.indisvalid",
        [database.schema],
    )
    if unindexed:
        yield DatabaseFinding(message="an index of the store is not valid", hint=f"REINDEX SCHEMA {database.schema}")
