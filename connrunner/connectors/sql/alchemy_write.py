"""Rows of a file arrive in a table of any database, a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from datetime import time as wall
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from connrunner.connectors import Refusal
from connrunner.connectors.sql import alchemy, sending
from connrunner.connectors.sql.alchemy import connection
from connrunner.connectors.sql.database_url import DatabaseAddress
from connrunner.connectors.sql.failure import persistently
from connrunner.connectors.sql.sending import Line, LoadProgress, TableLoad
from connrunner.core.report import Report

_INTEGERS = range(-(2**63), 2**63)

Row = tuple[Line, dict[str, Any]]
"""A line and its values, in the types of their columns."""


def check(address: DatabaseAddress, load: TableLoad) -> str:
    """Return how people call the table; RunError when rows cannot arrive in it."""
    where = alchemy.name_database(address)
    with connection(address) as made:
        there = {column["name"]: column for column in alchemy.inspect_columns(made, load.table, where)}
        sending.check_key(load, there, _unique_keys(made, load), where)
    return f"{load.table} of {where}"


def write(address: DatabaseAddress, load: TableLoad, local: Path, report: Report) -> tuple[str, tuple[Refusal, ...]]:
    """Bring the rows of *local* into the table; return how people call it, and the rows that it refused."""
    sent = LoadProgress()
    persistently(lambda: _send(address, load, local, sent, report), report, so_far=lambda: sent.rows)
    return f"{load.table} of {alchemy.name_database(address)}", tuple(sent.refused)


def _send(address: DatabaseAddress, load: TableLoad, local: Path, sent: LoadProgress, report: Report) -> None:
    """Send what *sent* does not hold yet."""
    names = sending.read_row_columns(local)
    where = alchemy.name_database(address)
    if not names and load.mode != "replace":
        return
    with sending.known_outcome(load) as ending, connection(address) as made:
        there = {column["name"]: column["type"] for column in alchemy.inspect_columns(made, load.table, where)}
        made.rollback()
        sending.check_columns(names, load, there, where)
        table = sa.table(load.table.table, *(sa.column(name, there[name]) for name in names), schema=load.table.schema)
        desk = _LoadStatements(made, table, {name: there[name] for name in names}, load)
        if load.at_once:
            whole = LoadProgress()  # nothing has arrived before all has
            with made.begin():
                if load.mode == "replace":
                    made.execute(sa.delete(table))
                for batch in sending.batches(local, load.batch):
                    whole.add(len(batch), desk.bring(batch), where)
                    report.progress("writing", whole.rows)
                sending.check_replacement(load, whole, where)
                ending.committing = True
            sent.rows, sent.refused = whole.rows, whole.refused
            return
        for batch in sending.batches(local, load.batch, skip=sent.rows):
            with made.begin():
                refused = desk.bring(batch)
            sent.add(len(batch), refused, where)
            report.progress("writing", sent.rows)


class _LoadStatements:
    """The statements that take rows to their table."""

    def __init__(self, made: sa.Connection, table: sa.TableClause, kinds: Mapping[str, Any], load: TableLoad) -> None:
        self._made = made
        self._load = load
        self._columns = [_Column(name, kind, made.dialect.name) for name, kind in kinds.items()]
        # Parameters have names of our own: those of columns may hold characters that a driver interprets.
        self._label = {column.name: f"connrunner_{place}" for place, column in enumerate(self._columns)}
        self._table = table
        self._execute = self._by_update if load.key and made.dialect.name not in _UPSERTS else self._by_insert
        self._insert, self._update = self._statement(), self._change()

    def bring(self, batch: list[Line]) -> list[Refusal]:
        """Bring the rows of *batch* into the table, within the open transaction; return those that it refused."""
        rows: list[Row] = []
        refused = []
        for line in batch:
            typed = self._typed(line)
            if isinstance(typed, Refusal):
                refused.append(typed)
            else:
                rows.append((line, typed))
        return sorted([*refused, *self._arrive(rows)], key=lambda one: one.row)

    def _typed(self, line: Line) -> dict[str, Any] | Refusal:
        record = sending.record(line)
        if any(record.get(name) is None for name in self._load.key):
            return sending.no_key(line, self._load.key)
        values = {}
        for column in self._columns:
            try:
                values[self._label[column.name]] = column.value(record.get(column.name))
            except (ValueError, ArithmeticError):
                return Refusal(row=line[0], code="wrong-type", message=f"{column.name}: no value of type {column.kind}")
        return values

    def _arrive(self, rows: list[Row]) -> list[Refusal]:
        """Send *rows* together; when one of them is refused, each half by itself, down to that one."""
        if not rows:
            return []
        try:
            with self._made.begin_nested():
                self._execute([values for _, values in rows])
        except exc.StatementError as error:
            if not alchemy.refuses_a_row(error):
                raise
            if len(rows) > 1:
                half = len(rows) // 2
                return self._arrive(rows[:half]) + self._arrive(rows[half:])
            return [sending.refusal(rows[0][0], alchemy.sqlstate_of(error), str(error.orig))]
        return []

    def _by_insert(self, rows: list[dict[str, Any]]) -> None:
        self._made.execute(self._insert, rows)

    def _by_update(self, rows: list[dict[str, Any]]) -> None:
        for values in rows:
            if self._made.execute(self._update, values).rowcount == 0:
                self._made.execute(self._insert, values)

    def _statement(self) -> Any:
        """Return the INSERT; of an upsert with what to do about a row that is there, if the database can say so."""
        make = _UPSERTS.get(self._made.dialect.name) if self._load.key else None
        return (make or _plain_insert)(self._table, self._parameters(), self._load.key)

    def _parameters(self) -> dict[str, sa.BindParameter[Any]]:
        return {column.name: sa.bindparam(self._label[column.name], type_=column.parameter) for column in self._columns}

    def _change(self) -> sa.Update:
        """Return the UPDATE for databases that cannot say so."""
        given = self._parameters()
        key = [self._table.c[name] == given[name] for name in self._load.key]
        # Without other columns the key is set to itself, which tells whether the row is there.
        others = [name for name in given if name not in self._load.key] or list(self._load.key)
        return sa.update(self._table).where(*key).values({name: given[name] for name in others})


def _plain_insert(table: sa.TableClause, given: dict[str, Any], _key: Sequence[str]) -> Any:
    return sa.insert(table).values(given)


def _on_conflict(table: sa.TableClause, given: dict[str, Any], key: Sequence[str]) -> Any:
    from sqlalchemy.dialects.sqlite import insert

    statement = insert(table).values(given)
    changes = {name: statement.excluded[name] for name in given if name not in key}
    if changes:
        return statement.on_conflict_do_update(index_elements=list(key), set_=changes)
    return statement.on_conflict_do_nothing(index_elements=list(key))


def _on_duplicate_key(table: sa.TableClause, given: dict[str, Any], key: Sequence[str]) -> Any:
    from sqlalchemy.dialects.mysql import insert

    statement = insert(table).values(given)
    changed = [name for name in given if name not in key] or list(key)
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in changed})


_UPSERTS = {"sqlite": _on_conflict, "mysql": _on_duplicate_key, "mariadb": _on_duplicate_key}


# --- values ------------------------------------------------------------------------------------------------------


class _Column:
    """A column, and how the text of a value becomes what its driver wants."""

    def __init__(self, name: str, kind: Any, dialect: str) -> None:
        self.name = name
        self.kind = str(kind)
        self.parameter = kind
        try:
            python = kind.python_type
        except NotImplementedError:
            python = str
        self._is_json = isinstance(kind, sa.types.JSON)
        self._has_zone = bool(getattr(kind, "timezone", False))
        makers: dict[type, Callable[[str], Any]] = {
            bool: _boolean,
            int: _integer,
            Decimal: _decimal,
            float: lambda text: float(_decimal(text)),
            datetime: self._datetime,
            date: lambda text: datetime.fromisoformat(text).date(),
            wall: wall.fromisoformat,
            bytes: _bytes,
        }
        self._make = json.loads if self._is_json else makers.get(python, str)
        if python is Decimal and dialect == "sqlite":
            # SQLAlchemy would make a float of it; as text it keeps its digits.
            self._make, self.parameter = lambda text: str(_decimal(text)), sa.types.NullType()

    def value(self, given: Any) -> Any:
        """Return the value that *given*, of a line of JSON, stands for; ValueError when it is not of this type."""
        if given is None or (self._is_json and isinstance(given, list)):
            return given
        if isinstance(given, bool | list):
            given = json.dumps(given, ensure_ascii=False)
        return self._make(given)

    def _datetime(self, text: str) -> datetime:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None and not self._has_zone:
            return instant.astimezone(UTC).replace(tzinfo=None)
        return instant


def _boolean(text: str) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def _integer(text: str) -> int:
    # Not int(): that takes 1_0 as well.
    number = _decimal(text)
    if number != int(number) or int(number) not in _INTEGERS:
        raise ValueError(text)
    return int(number)


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if "_" in text or not number.is_finite():
        raise ValueError(text)
    return number


def _bytes(text: str) -> bytes:
    raise ValueError(text)


def _unique_keys(made: sa.Connection, load: TableLoad) -> list[frozenset[str]]:
    """Return the sets of columns that no two rows have in common."""
    look = sa.inspect(made)
    schema = load.table.schema
    keys: list[Sequence[str | None]] = [look.get_pk_constraint(load.table.table, schema=schema)["constrained_columns"]]
    keys += [unique["column_names"] for unique in look.get_unique_constraints(load.table.table, schema=schema)]
    for index in look.get_indexes(load.table.table, schema=schema, include_auto_indexes=True):  # of SQLite
        partial = any(option.endswith("_where") for option in index.get("dialect_options", {}))
        if index["unique"] and not partial:
            keys.append(index["column_names"])
    return list(dict.fromkeys(frozenset(str(name) for name in key) for key in keys if key and None not in key))
