"""
The tables of the store, brought up to date with what `profile.yaml` declares.

    profiles    one row for each profile: its number, the runs that created and last changed it, a column for each
                property and, as yes, no or unknown, for each objective
    properties  what each property's column is called and holds
    objectives  what each objective's column is called
    runs        the runs that changed the store, with their counters
    files       the files that imports have read, and the records of them that were refused
    kept        refused records that stand nowhere else, with the run and the reason of their first refusal
    marks       how far each import's source has come
    sent        what each export has sent: a profile, the digest of its values (none when it was refused last), and its
                identifiers if deletions are sent to the partner
    unconfirmed the rows that an export began to deliver, until it is known what became of them: the run, the place
                in its file, and what `sent` is to say of each profile once it has arrived
    erased      the tombstones of erased people: for each of their identifiers its property, a keyed digest, and a
                number that those of one person share
    withdrawn   of the erased people whom each export has to have deleted, those for whom that is done
    undo_runs, before   what imports have overwritten, see `before`
    about       facts about the store itself

The numbers of profiles and runs never repeat. A property that leaves `profile.yaml` keeps its column.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import duckdb

from connrunner.core.model import ProfileModel, Property, PropertyType
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.profiles import before, stored_tables, values
from connrunner.profiles.profile_keys import STORE_ID
from connrunner.profiles.sql_fragments import quote_name
from connrunner.text.words import agree

FORMAT = "2"
FORMAT_ERASED = "3"  # a store with tombstones: a version that does not know them must not import into it
NUMBERING = 2  # counts up when the numbers of older stores have to be looked at, see `numbering`
SPELLING = 2  # counts up when rows spell a value otherwise than the stores before, see `respelling`

_TABLES = """
    CREATE TABLE store.about (key VARCHAR, value VARCHAR);
    CREATE TABLE store.properties (name VARCHAR, "column" VARCHAR, type VARCHAR, many BOOLEAN, identifier BOOLEAN);
    CREATE TABLE store.objectives (name VARCHAR, "column" VARCHAR);
    CREATE TABLE store.runs (
        id INTEGER, connection VARCHAR, run BIGINT, kind VARCHAR, started TIMESTAMPTZ, counts VARCHAR);
    CREATE TABLE store.files (
        connection VARCHAR, name VARCHAR, mapping VARCHAR, size BIGINT, modified VARCHAR, digest VARCHAR,
        rows BIGINT, refused BIGINT[], increments VARCHAR[], run INTEGER);
    CREATE TABLE store.kept (
        connection VARCHAR, number BIGINT, flaw VARCHAR, cells BOOLEAN, record VARCHAR, reason VARCHAR, run INTEGER);
    CREATE TABLE store.marks (connection VARCHAR, mark VARCHAR, run INTEGER);
    CREATE TABLE store.sent (
        connection VARCHAR, profile BIGINT, digest UHUGEINT, identifiers VARCHAR, run INTEGER);
    CREATE TABLE store.profiles (_id BIGINT, _created INTEGER, _changed INTEGER);
"""
_UNCONFIRMED = """
    CREATE TABLE IF NOT EXISTS store.unconfirmed (
        connection VARCHAR, run BIGINT, started TIMESTAMPTZ, row BIGINT, profile BIGINT, verdict UTINYINT,
        digest UHUGEINT, identifiers VARCHAR, next INTEGER)"""
_ERASED = "CREATE TABLE IF NOT EXISTS {}.erased (property VARCHAR, digest VARCHAR, person BIGINT)"
_WITHDRAWN = "CREATE TABLE IF NOT EXISTS store.withdrawn (connection VARCHAR, id VARCHAR)"
# Those after `rowid` are PostgreSQL's, in which the same tables may be kept.
_OWN_COLUMNS = ("_id", "_created", "_changed", "rowid", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
LONGEST_COLUMN = 63  # bytes of a name, beyond which PostgreSQL cuts it


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Which column of `profiles` keeps what; names are ready for SQL."""

    properties: Mapping[str, Property]
    columns: Mapping[str, str]  # of the properties that have one
    consents: Mapping[str, str]  # of the objectives that have one

    def value(self, name: str, alias: str = "p") -> str:
        """Return the expression of a property's value; NULL where no import has filled the property."""
        if name in self.columns:
            return f"{alias}.{self.columns[name]}"
        owner = self.properties[name]
        return f"NULL::{values.column_type(owner.type, many=owner.many)}"

    def consent(self, name: str, alias: str = "p") -> str:
        """Return the expression of a profile's answer to an objective: true, false or NULL."""
        return f"{alias}.{self.consents[name]}" if name in self.consents else "NULL::BOOLEAN"


def has_no_tables(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the attached store holds no table at all."""
    found = connection.execute("SELECT 1 FROM duckdb_tables() WHERE database_name = 'store' LIMIT 1").fetchone()
    return found is None


def check_format(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    """RunError when the attached database is not a profile store, or one of another version."""
    tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'store'").fetchall()
    if not {("about",), ("profiles",), ("properties",), ("runs",)} <= set(tables):
        raise RunError(
            f"{path} is a DuckDB database, but no profile store",
            hint="put the profile store there; to begin with an empty one: `connrunner reset --profiles`",
            code="foreign-store",
        )
    found = connection.execute("SELECT value FROM store.about WHERE key = 'format'").fetchone()
    if found is None or found[0] not in (FORMAT, FORMAT_ERASED):
        raise RunError(
            f"{path} was written by another version of connrunner (its format is {found and found[0]}, not {FORMAT})",
            hint="use that version",
            code="foreign-store",
        )


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of a new store."""
    connection.execute(_TABLES)
    connection.execute(_UNCONFIRMED)
    prepare_tombstones(connection, "store")
    _prepare_withdrawals(connection)
    describe_new_store(connection)


def describe_new_store(connection: duckdb.DuckDBPyConnection) -> None:
    """Write down what holds for a store that has nothing yet."""
    connection.execute(
        "INSERT INTO store.about VALUES ('format', ?), ('spelling', ?), ('numbering', ?), ('next_profile', '1'),"
        " ('next_run', '1')",
        [FORMAT, str(SPELLING), str(NUMBERING)],
    )
    _name_store(connection)


def has_unconfirmed(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the attached store has `unconfirmed`: one of an older version gets it on its next use."""
    return stored_tables.has_stored_table(connection, "unconfirmed")


def prepare_tombstones(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Make the table of tombstones in *database* unless it is there."""
    connection.execute(_ERASED.format(database))


def _prepare_withdrawals(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what exports with deletions need, unless it is there: stores of earlier versions do not have it."""
    connection.execute(_WITHDRAWN)
    _name_store(connection)


def _name_store(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "INSERT INTO store.about SELECT ?, ? WHERE NOT EXISTS (FROM store.about WHERE key = ?)",
        [STORE_ID, secrets.token_hex(6), STORE_ID],
    )


def mark_format(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Let only versions that obey tombstones use *database* when it has any."""
    connection.execute(f"""
        UPDATE {database}.about SET value = CASE WHEN EXISTS (FROM {database}.erased)
            THEN '{FORMAT_ERASED}' ELSE '{FORMAT}' END WHERE key = 'format'""")


def read_store(connection: duckdb.DuckDBPyConnection, path: Path, model: ProfileModel) -> Layout:
    """Return the layout of the attached store as it is; RunError when it is empty, or no store that we know."""
    if has_no_tables(connection):
        raise RunError(f"the profile store {path} is empty", hint="the first import fills it", code="no-store")
    check_format(connection, str(path))
    return read_layout(connection, model)


def read_layout(connection: duckdb.DuckDBPyConnection, model: ProfileModel) -> Layout:
    """Return the layout as it is: properties of another type than the store's are read as the store has them."""
    stored = read_stored_columns(connection)
    properties = {}
    for name, owner in model.properties.items():
        known = stored.get(name)
        properties[name] = replace(owner, type=known.owner.type, many=known.owner.many) if known else owner
    objectives = dict(connection.execute('SELECT name, "column" FROM store.objectives').fetchall())
    return Layout(
        properties=properties,
        columns={name: quote_name(stored[name].column) for name in properties if name in stored},
        consents={name: quote_name(objectives[name]) for name in model.objectives if name in objectives},
    )


class StoredValues(Protocol):
    """What has to be known of the values in a column of `profiles`, by its plain name, before it changes."""

    def count_filled(self, column: str) -> int:
        """Return how many profiles have a value in *column*."""

    def count_repeated(self, column: str) -> int:
        """Return how many values of *column* several profiles have."""


@dataclass(frozen=True, slots=True)
class AttachedValues:
    """The values of the attached store."""

    connection: duckdb.DuckDBPyConnection

    def count_filled(self, column: str) -> int:
        return self._count(f"SELECT count({quote_name(column)}) FROM store.profiles")

    def count_repeated(self, column: str) -> int:
        value = quote_name(column)
        return self._count(f"""SELECT count(*) FROM (
            SELECT 1 FROM store.profiles WHERE {value} IS NOT NULL GROUP BY {value} HAVING count(*) > 1)""")

    def _count(self, query: str) -> int:
        return int(self.connection.execute(query).fetchall()[0][0])


def adapt_tables(
    connection: duckdb.DuckDBPyConnection, model: ProfileModel, stored_values: StoredValues | None = None
) -> Layout:
    """
    Give every property and objective of *model* its column. RunError where values are in the way; none is lost.

    *stored_values* knows the values when they are not those of the attached store.
    """
    known_values = stored_values or AttachedValues(connection)
    prepare_tombstones(connection, "store")
    _prepare_withdrawals(connection)
    connection.execute(_UNCONFIRMED)
    stored = read_stored_columns(connection)
    columns = {one.column for one in stored.values()}
    objectives = dict(connection.execute('SELECT name, "column" FROM store.objectives').fetchall())
    columns |= set(objectives.values())
    for name, owner in model.properties.items():
        known = stored.get(name)
        if known is None:
            column = choose_column(name, columns)
            columns.add(column)
            _add_column(connection, column, values.column_type(owner.type, many=owner.many))
            connection.execute(
                "INSERT INTO store.properties VALUES (?, ?, ?, ?, ?)",
                [name, column, owner.type.value, owner.many, owner.identifier],
            )
            continue
        if (known.owner.type, known.owner.many) != (owner.type, owner.many):
            _change_type(connection, known, owner, known_values)
        if owner.identifier and not known.owner.identifier:
            _check_unique(known_values, known.column, owner)
        if owner != replace(known.owner, personal=owner.personal):
            connection.execute(
                "UPDATE store.properties SET type = ?, many = ?, identifier = ? WHERE name = ?",
                [owner.type.value, owner.many, owner.identifier, name],
            )
    for name in model.objectives:
        if name not in objectives:
            column = choose_column(f"consent_{name}", columns)
            columns.add(column)
            _add_column(connection, column, "BOOLEAN")
            connection.execute("INSERT INTO store.objectives VALUES (?, ?)", [name, column])
    return read_layout(connection, model)


def list_identifiers(connection: duckdb.DuckDBPyConnection, model: ProfileModel) -> dict[str, tuple[Property, str]]:
    """
    Return each property that is an identifier, in the store or in *model*, and its column's name, ready for SQL.

    Also those that left profile.yaml: their columns keep values. One without a column is left out, and so is a `many`.
    """
    found = {}
    for name, stored in read_stored_columns(connection).items():
        declared = model.properties.get(name)
        if (stored.owner.identifier or (declared and declared.identifier)) and not stored.owner.many:
            found[name] = (stored.owner, quote_name(stored.column))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredColumn:
    """A column of `profiles`, by its plain name, and the property that it keeps."""

    column: str
    owner: Property


def read_stored_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, StoredColumn]:
    """Return the column of each property that the store has, be it declared or not, as the store has it."""
    found = connection.execute('SELECT name, "column", type, many, identifier FROM store.properties').fetchall()
    return {
        name: StoredColumn(
            column=column, owner=Property(name=name, type=PropertyType(kind), many=many, identifier=unique)
        )
        for name, column, kind, many, unique in found
    }


def read_profile_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return the type of each column of `profiles` that keeps values, by its plain name."""
    found = stored_tables.read_table_columns(connection, "profiles")
    return {name: kind for name, kind in found.items() if name not in _OWN_COLUMNS}


def _add_column(connection: duckdb.DuckDBPyConnection, column: str, kind: str) -> None:
    connection.execute(f"ALTER TABLE store.profiles ADD COLUMN {quote_name(column)} {kind}")


def choose_column(wanted: str, taken: Iterable[str]) -> str:
    """Return a column name like *wanted* that DuckDB, which ignores case, does not confuse with *taken* ones."""
    base = _shorten_column(re.sub(r"[\x00-\x1f\x7f]", "_", wanted), LONGEST_COLUMN) or "property"
    used = {column.lower() for column in taken} | set(_OWN_COLUMNS)
    number, column = 1, base
    while column.lower() in used:
        number += 1
        column = f"{_shorten_column(base, LONGEST_COLUMN - len(f'_{number}'))}_{number}"
    return column


def _shorten_column(name: str, most: int) -> str:
    """Return so much of *name* as *most* bytes hold."""
    return name.encode()[:most].decode(errors="ignore")


def _change_type(
    connection: duckdb.DuckDBPyConnection, known: StoredColumn, owner: Property, stored_values: StoredValues
) -> None:
    column, filled = quote_name(known.column), stored_values.count_filled(known.column)
    if filled:
        hold = agree(filled, "profile", "holds", "hold")
        raise RunError(
            f"property {owner.name!r} is {_describe_type(owner)} in profile.yaml, but {hold} it as "
            f"{_describe_type(known.owner)}",
            hint=f"nothing is converted: set its type back, or declare a property with another name for "
            f"{_describe_type(owner)} values and import it again",
            code="type-changed",
        )
    connection.execute(f"ALTER TABLE store.profiles DROP COLUMN {column}")
    before.drop_column(connection, known.column)
    _add_column(connection, known.column, values.column_type(owner.type, many=owner.many))


def _describe_type(owner: Property) -> str:
    return owner.type.value + (" (many)" if owner.many else "")


def _check_unique(stored_values: StoredValues, column: str, owner: Property) -> None:
    twice = stored_values.count_repeated(column)
    if twice:
        raise RunError(
            f"property {owner.name!r} cannot become an identifier: {twice:,} of its values belong to several profiles",
            hint="leave out `identifier`, or import values that tell the profiles apart first",
            code="identifier-not-unique",
        )
