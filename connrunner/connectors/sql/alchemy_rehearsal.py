"""What a table would make of the rows, before they reach it.

A database may take a value and keep another one: a decimal is rounded, a fraction of a second cut, the case of an enum
changed, a long number made a float; strict modes do not tell. So the rows first go into a temporary table with columns
of the same types, and are read back from there. No trigger takes part: what a trigger does is wanted.

The keys of an upsert go into another one, all of them: to a collation two of them may be the same, and one row would
overwrite the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from connrunner.connectors.sql import alchemy
from connrunner.connectors.sql.alchemy import MYSQL
from connrunner.connectors.sql.alchemy_columns import ValueColumn
from connrunner.connectors.sql.sending import TableLoad
from connrunner.errors import RunError

KNOWN = ("sqlite", *MYSQL)
"""The databases whose tables can be rehearsed."""

NUMBER = "connrunner_number"
_FIRST = "connrunner_first"
_NOT_ALLOWED = (1044, 1142, 1143, 1227)

NumberedRow = tuple[int, Sequence[Any]]
"""The number of a row, and its values in the order of the columns."""


class Rehearsal:
    """A temporary table for the values of one batch, or the keys of all rows, on the connection of an export."""

    def __init__(self, made: sa.Connection, table: sa.TableClause, columns: Sequence[ValueColumn], name: str) -> None:
        self._made = made
        self._table = table
        self._columns = columns
        self._name = name
        self.rows = sa.table(name, sa.column(NUMBER), *(sa.column(one.name, one.found_as) for one in columns))
        labels = {one.name: sa.bindparam(_label(place), type_=one.parameter) for place, one in enumerate(columns)}
        self._insert = sa.insert(self.rows).values({NUMBER: sa.bindparam(NUMBER), **labels})

    def begin(self, where: str) -> None:
        """Make the table anew. RunError when the user may not."""
        names = (self._table.c[column.name] for column in self._columns)
        like = sa.select(sa.literal_column("0").label(NUMBER), *names).where(sa.text("1 = 0"))
        try:
            self._made.exec_driver_sql(_creation(self._made, self._name, like))
        except exc.DBAPIError as error:
            if alchemy.number_of(error) not in _NOT_ALLOWED:
                raise
            raise RunError(
                f"{where} lets this user make no temporary table, by which is seen whether values arrive as they are",
                hint="GRANT SELECT on the table and CREATE TEMPORARY TABLES on its database to the user",
                code="not-permitted",
            ) from None

    def end(self) -> None:
        """Remove the table."""
        self._made.exec_driver_sql(f"DROP TABLE {self._name}")

    def clear(self) -> None:
        """Make room for the rows of the next batch."""
        self._made.execute(sa.delete(self.rows))

    def put(self, rows: Sequence[NumberedRow]) -> None:
        """Send the values of each of *rows*."""
        values = ({NUMBER: number} | {_label(place): one for place, one in enumerate(row)} for number, row in rows)
        self._made.execute(self._insert, list(values))

    def found(self) -> dict[int, tuple[Any, ...]]:
        """Return what has become of the values of each row, by its number."""
        asked = sa.select(*(self.rows.c[name] for name in (NUMBER, *(column.name for column in self._columns))))
        return {row[0]: tuple(row[1:]) for row in self._made.execute(asked)}

    def repeated(self, load: TableLoad) -> frozenset[int]:
        """Return the numbers of the rows in which all values are the same, to the database, as in an earlier one."""
        collations = _key_collations(self._made, load) if self._made.dialect.name == "sqlite" else {}
        places = [self.rows.c[one.name] for one in self._columns]
        key: list[Any] = [sa.collate(one, collations[one.name]) if one.name in collations else one for one in places]
        # MySQL opens no temporary table twice in one statement, so the first ones have a table of their own.
        number = self.rows.c[NUMBER]
        chosen = sa.select(sa.func.min(number).label(NUMBER)).group_by(*key)
        self._made.exec_driver_sql(_creation(self._made, _FIRST, chosen))
        first = sa.table(_FIRST, sa.column(NUMBER))
        together = self.rows.outerjoin(first, number == first.c[NUMBER])
        found = self._made.execute(sa.select(number).select_from(together).where(first.c[NUMBER].is_(None))).scalars()
        repeated = frozenset(found)
        self._made.exec_driver_sql(f"DROP TABLE {_FIRST}")
        return repeated


def _creation(made: sa.Connection, name: str, chosen: sa.Select[Any]) -> str:
    """Return the statement that makes the temporary table *name* of what is *chosen*."""
    words = str(chosen.compile(dialect=made.dialect, compile_kwargs={"literal_binds": True}))
    # Of a kind that can undo, and with a key, which some servers insist on.
    more = f" (PRIMARY KEY ({NUMBER})) ENGINE=InnoDB" if made.dialect.name in MYSQL else ""
    return f"CREATE TEMPORARY TABLE {name}{more} AS {words}"


def _key_collations(made: sa.Connection, load: TableLoad) -> dict[str, str]:
    """Return the collation of each column of the key in its unique index: in SQLite the index has its own."""
    quote = made.dialect.identifier_preparer.quote_identifier
    schema = f"{quote(load.table.schema)}." if load.table.schema else ""
    for index in made.exec_driver_sql(f"PRAGMA {schema}index_list({quote(load.table.table)})").all():
        parts = made.exec_driver_sql(f"PRAGMA {schema}index_xinfo({quote(index[1])})").all()
        found = {str(part[2]): str(part[4]) for part in parts if part[5]}
        if index[2] and found.keys() == set(load.key):
            return found
    return {}


def _label(place: int) -> str:
    return f"connrunner_{place}"
