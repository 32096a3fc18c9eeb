"""
The rows of a store in PostgreSQL that are at hand: tables of an ordinary store, in the memory of DuckDB.

What is brought replaces what was there; a table that was not brought is empty. Of each table but `profiles` it is
remembered what was brought, so that `apply` takes there what differs. Profiles come with the columns that are asked
for and no others, so that a statement that wants another one fails instead of reading nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from connrunner.core.counts import imbalance_error
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles.session import KeyQuery
from connrunner.profiles.sql_fragments import quote_name, quote_text
from connrunner.profiles.stores.postgres_database import PostgresDatabase
from connrunner.profiles.temporary_files import choose_path
from connrunner.text.words import agree

ALL_FROM = 0.3  # keys for each profile, from which on it is cheaper to bring all profiles than to look for each key
LINE = 2_000_000  # bytes of a row that DuckDB reads without being told
OWN_COLUMNS = ("_id", "_created", "_changed")

# What tells the rows of each table apart. Only rows that differ are written, so a table without an entry is never.
KEYS: Mapping[str, tuple[str, ...]] = {
    "about": ("key",),
    "properties": ("name",),
    "objectives": ("name",),
    "runs": ("id",),
    "files": ("connection", "name"),
    "kept": ("connection", "number"),
    "marks": ("connection",),
    "sent": ("connection", "profile"),
    "unconfirmed": ("connection", "row"),
    "erased": ("property", "digest"),
    "withdrawn": ("connection", "id"),
    "profiles": ("_id",),
}

_TYPES = {
    "VARCHAR": 'text COLLATE "C"',
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "UTINYINT": "smallint",
    "UHUGEINT": "numeric(39)",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "DECIMAL(38,9)": "numeric(38,9)",
}


def translate_type(kind: str) -> str:
    """Return what PostgreSQL calls the type *kind* of DuckDB; lossless for every value that a store may hold."""
    if kind.endswith("[]"):
        base, _, collation = _TYPES[kind[:-2]].partition(" COLLATE ")
        return f"{base}[]" + (f" COLLATE {collation}" if collation else "")
    return _TYPES[kind]


@dataclass(slots=True)
class WorkSet:
    """The tables at hand in *connection*, as `store`, of *database*; files pass through the folder *temp*."""

    connection: duckdb.DuckDBPyConnection
    database: PostgresDatabase
    temp: Path
    brought: set[str] = field(default_factory=set)  # tables of which it is remembered what they held

    # --- from there ------------------------------------------------------------------------------------------------

    def describe(self, table: str) -> dict[str, str]:
        """Return the columns of *table* and their types."""
        found = self.connection.execute(f"DESCRIBE store.{table}").fetchall()
        return {name: kind for name, kind, *_ in found}

    def describe_properties(self) -> dict[str, str]:
        """Return the columns of `profiles` at hand that keep properties and consents, and their types."""
        return {name: kind for name, kind in self.describe("profiles").items() if name not in OWN_COLUMNS}

    def bring(self, table: str, condition: str = "true", parameters: Sequence[Any] | None = None) -> None:
        """Bring the rows of *table*, any but `profiles`, for which *condition*, of PostgreSQL, holds."""
        self.connection.execute(f"DELETE FROM store.{table}")
        query = f"FROM {self.database.name(table)} WHERE {condition}"
        self._insert(table, self.describe(table), query, parameters)
        self.remember(table)

    def declare_profiles(self, kinds: Mapping[str, str]) -> None:
        """Have no profile at hand, and columns of these *kinds*, by their names."""
        columns = {"_id": "BIGINT", "_created": "INTEGER", "_changed": "INTEGER", **kinds}
        declared = ", ".join(f"{quote_name(name)} {kind}" for name, kind in columns.items())
        self.connection.execute(f"CREATE OR REPLACE TABLE store.profiles ({declared})")

    def bring_profiles(
        self, kinds: Mapping[str, str], condition: str = "", parameters: Sequence[Any] | None = None
    ) -> None:
        """Bring the profiles `p` that *condition* joins or selects, with columns of these *kinds*, by their names."""
        columns = {"_id": "BIGINT", "_created": "INTEGER", "_changed": "INTEGER", **kinds}
        self.declare_profiles(kinds)
        self._insert("profiles", columns, f"FROM {self.database.name('profiles')} p {condition}", parameters)
        self.brought.discard("profiles")

    def bring_matching(self, kinds: Mapping[str, str], columns: Mapping[str, str], keys: Iterable[KeyQuery]) -> None:
        """
        Bring at least the profiles that *keys* find; *columns* are those of their properties, by plain names.

        All of them, when that is cheaper. Within a transaction of the database that may write.
        """
        tables: list[tuple[int, list[str]]] = []
        count = 0
        for number, one in enumerate(keys):
            names = [columns[name] for name in one.properties]
            found = ", ".join(f"k{at}" for at in range(len(names)))
            query = f"CREATE OR REPLACE TEMP TABLE wanted_{number} AS SELECT DISTINCT * FROM ({one.query}) q({found})"
            self.connection.execute(query)
            count += self._count(f"wanted_{number}")
            tables.append((number, names))
        if not tables:
            self.bring_profiles(kinds, "WHERE false")
            return
        if count > ALL_FROM * self._estimate_profiles():
            self.bring_profiles(kinds)
            return
        joins = []
        for number, names in tables:
            self._send_keys(f"wanted_{number}", [kinds[name] for name in names])
            same = " AND ".join(f"p.{quote_name(name)} = w.k{at}" for at, name in enumerate(names))
            joins.append(f"JOIN pg_temp.wanted_{number} w ON {same}")
        if len(joins) == 1:
            self.bring_profiles(kinds, joins[0])
            return
        numbers = " UNION ".join(f"SELECT p._id FROM {self.database.name('profiles')} p {joined}" for joined in joins)
        self.bring_profiles(kinds, f"WHERE p._id IN ({numbers})")

    def remember(self, table: str) -> None:
        """Take what *table* holds now for what the database has."""
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE brought_{table} AS FROM store.{table}")
        self.brought.add(table)

    def forget(self) -> None:
        """Let no table have anything to apply: what the database has is not known any more."""
        self.brought.clear()

    def _estimate_profiles(self) -> int:
        """Return about how many profiles there are; without a statement that looks at all of them, if possible."""
        profiles = self.database.name("profiles")
        found = self.database.one("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [profiles])
        if found is None or found <= 0:
            found = self.database.one(f"SELECT count(*) FROM {profiles}")
        return int(found)

    def _send_keys(self, table: str, kinds: Sequence[str]) -> None:
        declared = ", ".join(f"k{at} {translate_type(kind)}" for at, kind in enumerate(kinds))
        self.database.execute(f"CREATE TEMPORARY TABLE {table} ({declared}) ON COMMIT DROP")
        self._send(f"pg_temp.{table}", {f"k{at}": kind for at, kind in enumerate(kinds)}, f"FROM {table}")
        self.database.execute(f"ANALYZE pg_temp.{table}")

    def _insert(self, table: str, columns: Mapping[str, str], source: str, parameters: Sequence[Any] | None) -> None:
        """Add to *table* what the *columns*, with their types, of *source*, a query of PostgreSQL, hold."""
        wanted = [_as_json(quote_name(name), kind) for name, kind in columns.items()]
        path, longest = self.database.copy_out(f"SELECT {', '.join(wanted)} {source}", parameters)
        names = [f"c{at}" for at in range(len(columns))]
        cells = [
            f"""from_json({name}, '["VARCHAR"]')::{kind}""" if kind.endswith("[]") else name
            for name, kind in zip(names, columns.values(), strict=True)
        ]
        read = ", ".join(
            f"{name}: '{'VARCHAR' if kind.endswith('[]') else kind}'"
            for name, kind in zip(names, columns.values(), strict=True)
        )
        # NULL and the empty text differ by their quotes, and a row may be longer than what DuckDB expects of one.
        self.connection.execute(f"""
            INSERT INTO store.{table} ({", ".join(map(quote_name, columns))}) SELECT {", ".join(cells)}
            FROM read_csv({quote_text(str(path))}, auto_detect = false, header = false, delim = ',', quote = '"',
                escape = '"', new_line = '\\n', nullstr = '', allow_quoted_nulls = false, columns = {{{read}}},
                max_line_size = {max(LINE, 2 * longest)})""")
        path.unlink()

    # --- and back --------------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Write what has become of the tables that were brought, but for `profiles`."""
        for table in sorted(self.brought - {"profiles"}):
            self._apply_difference(table)
            self.remember(table)

    def apply_profiles(self, run: int, kinds: Mapping[str, str]) -> None:
        """Write the profiles that the run with the number *run* in the store created or changed; *kinds* as brought."""
        profiles = self.database.name("profiles")
        columns = {"_id": "BIGINT", "_created": "INTEGER", "_changed": "INTEGER", **kinds}
        created = self._send(profiles, columns, f"FROM store.profiles WHERE _created = {run}")
        changed = f"FROM store.profiles WHERE _changed = {run} AND _created <> {run}"
        count = self._count(f"({changed})")
        if count:
            declared = ", ".join(f"{quote_name(name)} {translate_type(kind)}" for name, kind in columns.items())
            self.database.execute(f"CREATE TEMPORARY TABLE changed_profiles ({declared}) ON COMMIT DROP")
            self._send("pg_temp.changed_profiles", columns, f"{changed} ORDER BY rowid")
            self.database.execute("ANALYZE pg_temp.changed_profiles (_id)")
            written = ", ".join(f"{quote_name(name)} = c.{quote_name(name)}" for name in ("_changed", *kinds))
            done = self.database.execute(
                f"UPDATE {profiles} p SET {written} FROM pg_temp.changed_profiles c WHERE p._id = c._id"
            )
            if done.rowcount != count:
                raise imbalance_error(
                    f"{agree(count, 'profile', 'was', 'were')} to be updated, and the database has {done.rowcount:,}"
                )
        if created:
            estimate = self.database.one("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [profiles])
            if created > max(estimate or 0, 0):  # nothing is known of most rows yet, and autovacuum comes later
                self.database.execute(f"ANALYZE {profiles}")

    def send_table(self, table: str, columns: Mapping[str, str] | None = None) -> int:
        """Add all rows of *table* at hand to the database's, which has none of them; return how many there were."""
        return self._send(self.database.name(table), columns or self.describe(table), f"FROM store.{table}")

    def _apply_difference(self, table: str) -> None:
        columns, keys = self.describe(table), KEYS[table]
        named = ", ".join(quote_name(key) for key in keys)
        self.connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE fresh_rows AS FROM store.{table} EXCEPT ALL FROM brought_{table};
            CREATE OR REPLACE TEMP TABLE stale_keys AS
            SELECT DISTINCT {named} FROM (FROM brought_{table} EXCEPT ALL FROM store.{table})""")
        if self._count("stale_keys"):
            declared = ", ".join(f"{quote_name(key)} {translate_type(columns[key])}" for key in keys)
            stale = f"stale_{table}"
            self.database.execute(f"CREATE TEMPORARY TABLE {stale} ({declared}) ON COMMIT DROP")
            self._send(f"pg_temp.{stale}", {key: columns[key] for key in keys}, "FROM stale_keys")
            self.database.execute(f"ANALYZE pg_temp.{stale}")
            same = " AND ".join(f"t.{quote_name(key)} = s.{quote_name(key)}" for key in keys)
            self.database.execute(f"DELETE FROM {self.database.name(table)} t USING pg_temp.{stale} s WHERE {same}")
            self.database.execute(f"DROP TABLE pg_temp.{stale}")
        if self._count("fresh_rows"):
            self._send(self.database.name(table), columns, "FROM fresh_rows")

    def _send(self, target: str, columns: Mapping[str, str], source: str) -> int:
        """Add the *columns*, with their types, of *source*, a query of DuckDB, to the table *target* there."""
        cells = [_as_literal(quote_name(name), kind) for name, kind in columns.items()]
        path = choose_path(self.temp)
        # Quoted, or a text of `\\.` alone would end the rows without a word in older versions.
        self.connection.execute(f"""
            COPY (SELECT {", ".join(cells)} {source}) TO {quote_text(str(path))}
            (FORMAT csv, HEADER false, DELIMITER ',', QUOTE '"', ESCAPE '"', NULLSTR '', FORCE_QUOTE *)""")
        wanted = self._count(f"(SELECT 1 {source})")
        count = self.database.copy_in(target, [quote_name(name) for name in columns], path)
        path.unlink()
        if count != wanted:
            rows = agree(wanted, "row", "was", "were")
            raise imbalance_error(f"{rows} to be written, and the database took {count:,}")
        return count

    def _count(self, source: str) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0])


def _as_json(cell: str, kind: str) -> str:
    """Return the expression of *cell*, of the database, as DuckDB reads it: a list is JSON, for CSV has none."""
    return f"to_json({cell}::text[])" if kind.endswith("[]") else cell


def _as_literal(cell: str, kind: str) -> str:
    """Return the expression of *cell* in the spelling of PostgreSQL: a list is its literal, with quoted members."""
    if not kind.endswith("[]"):
        return cell
    member = "replace(replace(x::VARCHAR, '\\', '\\\\'), '\"', '\\\"')"
    members = f"list_transform({cell}, lambda x: '\"' || {member} || '\"')"
    return f"CASE WHEN {cell} IS NOT NULL THEN '{{' || array_to_string({members}, ',') || '}}' END"
