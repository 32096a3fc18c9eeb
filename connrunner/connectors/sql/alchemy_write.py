"""Rows of a file arrive in a table of any database, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from connrunner.connectors import Refusal
from connrunner.connectors.sql import alchemy, alchemy_rehearsal, sending
from connrunner.connectors.sql.alchemy import connection
from connrunner.connectors.sql.alchemy_columns import ValueColumn
from connrunner.connectors.sql.alchemy_rehearsal import Rehearsal
from connrunner.connectors.sql.database_url import DatabaseAddress
from connrunner.connectors.sql.failure import persistently
from connrunner.connectors.sql.sending import Line, LoadProgress, TableLoad
from connrunner.core.report import Report

Row = tuple[Line, list[Any]]
"""A line and its values, in the types and the order of their columns."""


def check(address: DatabaseAddress, load: TableLoad) -> str:
    """Return how people call the table; RunError when rows cannot arrive in it."""
    where = alchemy.name_database(address)
    with connection(address) as made:
        there = {column["name"]: column for column in alchemy.inspect_columns(made, load.table, where)}
        with alchemy.quietly():
            keys = _unique_keys(made, load)
        sending.check_key(load, there, keys, where)
        columns = [ValueColumn(column, made.dialect.name) for column in there.values()]
        if made.dialect.name in alchemy.MYSQL:  # where it takes a right
            Rehearsal(made, _table(load, columns), columns[:1], "connrunner_check").begin(where)
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
        there = {column["name"]: column for column in alchemy.inspect_columns(made, load.table, where)}
        as_json = alchemy.find_json_columns(made, load.table)
        alone = not alchemy.can_undo(made, load.table)
        made.rollback()
        sending.check_columns(names, load, there, where)
        columns = [ValueColumn(there[name], made.dialect.name, holds_json=name in as_json) for name in names]
        desk = _LoadStatements(made, columns, load, alone=alone)
        with made.begin():
            desk.prepare(where, sending.batches(local, load.batch))
        if load.at_once:
            whole = LoadProgress()  # nothing has arrived before all has
            with made.begin():
                if load.mode == "replace":
                    made.execute(sa.delete(_table(load, columns)))
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


def _table(load: TableLoad, columns: Sequence[ValueColumn]) -> sa.TableClause:
    return sa.table(
        load.table.table, *(sa.column(one.name, one.parameter) for one in columns), schema=load.table.schema
    )


class _LoadStatements:
    """The statements that take rows to their table; *alone* for one that cannot undo: each row by itself."""

    def __init__(
        self, made: sa.Connection, columns: Sequence[ValueColumn], load: TableLoad, *, alone: bool = False
    ) -> None:
        self._made = made
        self._load = load
        self._columns = columns
        self._alone = alone
        # Parameters have names of our own: those of columns may hold characters that a driver interprets.
        self._label = {column.name: f"connrunner_{place}" for place, column in enumerate(columns)}
        self._table = _table(load, columns)
        self._execute = self._by_update if load.key and made.dialect.name not in _UPSERTS else self._by_insert
        self._insert, self._update = self._statement(), self._change()
        known = bool(columns) and made.dialect.name in alchemy_rehearsal.KNOWN
        self._rehearsal = Rehearsal(made, self._table, columns, "connrunner_rows") if known else None
        self._repeated: frozenset[int] = frozenset()

    def prepare(self, where: str, batches: Iterable[list[Line]]) -> None:
        """Make the connection ready, and learn which rows of *batches* have the key of an earlier one."""
        if self._made.dialect.name in alchemy.MYSQL and any(column.is_timestamp for column in self._columns):
            # Our instants come without a zone: the server would take them for times of its own.
            self._made.exec_driver_sql("SET SESSION time_zone = '+00:00'")
        if self._rehearsal is None:
            return
        self._rehearsal.begin(where)
        if not self._load.key:
            return
        columns = [column for column in self._columns if column.name in self._load.key]
        keys = Rehearsal(self._made, self._table, columns, "connrunner_keys")
        keys.begin(where)
        for batch in batches:
            typed = ((line, _typed(line, columns, self._load)) for line in batch)
            self._arrive([(line, values) for line, values in typed if isinstance(values, list)], _putting(keys))
        self._repeated = keys.repeated(self._load)
        keys.end()

    def bring(self, batch: list[Line]) -> list[Refusal]:
        """Bring the rows of *batch* into the table, within the open transaction; return those that it refused."""
        rows: list[Row] = []
        refused = []
        for line in batch:
            typed = _typed(line, self._columns, self._load)
            if isinstance(typed, Refusal):
                refused.append(typed)
            elif line[0] in self._repeated:
                refused.append(sending.same_key(line, self._load.key))
            else:
                rows.append((line, typed))
        for step in (self._rehearse, self._write):
            gone = step(rows)
            numbers = {one.row for one in gone}
            rows = [row for row in rows if row[0][0] not in numbers]
            refused += gone
        return sorted(refused, key=lambda one: one.row)

    def _rehearse(self, rows: list[Row]) -> list[Refusal]:
        """Return the refusals of those rows that the table would refuse, or keep otherwise than they are sent."""
        if self._rehearsal is None or not rows:
            return []
        self._rehearsal.clear()
        refused = self._arrive(rows, _putting(self._rehearsal))
        found = self._rehearsal.found()
        for line, values in rows:
            kept = found.get(line[0])
            if kept is None:
                continue
            record = sending.record(line)
            for column, value, there in zip(self._columns, values, kept, strict=True):
                if not column.is_there(value, record.get(column.name), there):
                    refused.append(sending.would_change(line, column.name, column.kind))
                    break
        return refused

    def _write(self, rows: list[Row]) -> list[Refusal]:
        if not self._alone:
            return self._arrive(rows, self._execute)
        return [refusal for row in rows for refusal in self._arrive([row], self._execute)]

    def _arrive(self, rows: list[Row], execute: Callable[[list[Row]], None]) -> list[Refusal]:
        """Send *rows* together; when one of them is refused, each half by itself, down to that one."""
        if not rows:
            return []
        try:
            with self._made.begin_nested():
                execute(rows)
        except exc.StatementError as error:
            if not alchemy.refuses_a_row(error):
                raise
            if len(rows) > 1:
                half = len(rows) // 2
                return self._arrive(rows[:half], execute) + self._arrive(rows[half:], execute)
            return [sending.refusal(rows[0][0], alchemy.sqlstate_of(error), alchemy.words_of(error))]
        return []

    def _by_insert(self, rows: list[Row]) -> None:
        self._made.execute(self._insert, [self._named(values) for _, values in rows])

    def _by_update(self, rows: list[Row]) -> None:
        for _, values in rows:
            if self._made.execute(self._update, self._named(values)).rowcount == 0:
                self._made.execute(self._insert, self._named(values))

    def _named(self, values: list[Any]) -> dict[str, Any]:
        return dict(zip(self._label.values(), values, strict=True))

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


def _typed(line: Line, columns: Sequence[ValueColumn], load: TableLoad) -> list[Any] | Refusal:
    """Return the values of a row in the types of the *columns*."""
    record = sending.record(line)
    if any(record.get(name) is None for name in load.key):
        return sending.no_key(line, load.key)
    values = []
    for column in columns:
        given = record.get(column.name)
        if given is None and column.invents:
            message = f"{column.name}: there is no value, and the database would make one up"
            return Refusal(row=line[0], code="missing-value", message=message)
        try:
            values.append(column.value(given))
        except sending.NotJoinedError:
            return sending.not_joined(line, column.name)
        except (ValueError, ArithmeticError):
            return Refusal(row=line[0], code="wrong-type", message=f"{column.name}: no value of type {column.kind}")
    return values


def _putting(rehearsal: Rehearsal) -> Callable[[list[Row]], None]:
    return lambda rows: rehearsal.put([(line[0], values) for line, values in rows])


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


def _unique_keys(made: sa.Connection, load: TableLoad) -> list[frozenset[str]]:
    """Return the sets of columns that no two rows have in common."""
    look = sa.inspect(made)
    schema = load.table.schema
    keys: list[Sequence[str | None]] = [look.get_pk_constraint(load.table.table, schema=schema)["constrained_columns"]]
    if made.dialect.name not in alchemy.MYSQL:  # there they are the unique indexes once more, without their lengths
        keys += [unique["column_names"] for unique in look.get_unique_constraints(load.table.table, schema=schema)]
    for index in look.get_indexes(load.table.table, schema=schema, include_auto_indexes=True):  # of SQLite
        # Unique among some rows only, or by the beginning of a text.
        partial = any(option.endswith(("_where", "_length")) for option in index.get("dialect_options", {}))
        if index["unique"] and not partial:
            keys.append(index["column_names"])
    return list(dict.fromkeys(frozenset(str(name) for name in key) for key in keys if key and None not in key))
