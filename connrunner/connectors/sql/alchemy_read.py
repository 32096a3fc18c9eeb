"""Rows of any database's table or query become a file of JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from connrunner.connectors import RunContext
from connrunner.connectors.sql import alchemy
from connrunner.connectors.sql.alchemy import connection
from connrunner.connectors.sql.database_url import DatabaseAddress
from connrunner.connectors.sql.names import near
from connrunner.connectors.sql.reading import Mark, ReadQuery, RowsFile
from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations

AT_A_TIME = 1000  # rows that the driver holds
OFTEN = 10_000  # rows between two words about how far it is
AHEAD, BEHIND = timedelta(hours=14), timedelta(hours=12)  # of UTC: the clocks of the earth

_RENAMED = re.compile(r"(.+):[0-9]+", re.DOTALL)
_BIT = 16  # MySQL's number of the type

JSONL = Format(type="jsonl", compression="none")

_TORN = re.compile("[\ud800-\udfff]")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?")  # as SQLite's functions write it


def read(
    address: DatabaseAddress, wanted: ReadQuery, since: Mark | None, of: str, path: Path, context: RunContext
) -> RowsFile:
    """Write the *wanted* rows to *path*; with a mark of an earlier run, those at or behind it, and a little before."""
    where = alchemy.name_database(address)
    with connection(address, read_only=True) as made:
        statement: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(_origin(made, wanted, where))
        if wanted.column is not None:
            column: sa.ColumnClause[Any] = sa.column(wanted.column)
            statement = statement.order_by(column)  # the newest last, so that it wins over older ones
            if since is not None:
                start = _start(_value(since), wanted)
                # A row without a value may be new as well as old.
                statement = statement.where(sa.or_(column >= sa.literal(start), column.is_(None)))
        _escape_torn_texts(made)
        result = made.execution_options(stream_results=True, yield_per=AT_A_TIME).execute(statement)
        names = _names(_own_names(made, wanted, list(result.keys())), wanted, where)
        place = names.index(wanted.column) if wanted.column is not None else None
        highest = _value(since) if since is not None else None
        bits = frozenset(names[number] for number in _bit_columns(result))
        rows = 0
        kinds: dict[str, set[bool]] = {name: set() for name in names}  # whether a value is a number
        with (
            _unread_rows_dropped(made, result),
            # Half of a pair of surrogates is in no encoding: as an escape it refuses its row alone.
            path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            for row in result:
                values = zip(names, row, strict=True)
                record = {name: _text(_bits(value) if name in bits else value, name, wanted) for name, value in values}
                line = _encode(record) + "\n"
                wanted.count_bytes(len(line))  # of characters: near enough, and cheap
                file.write(line)
                for name, value in zip(names, row, strict=True):
                    if value is not None:
                        kinds[name].add(isinstance(value, int | float | Decimal))
                if place is not None:
                    highest = _higher(highest, row[place], wanted)
                rows += 1
                if rows % OFTEN == 0:
                    context.report.progress("reading", rows)
        context.report.progress("reading", rows, rows)
        numbers = frozenset(name for name, found in kinds.items() if found == {True})
        return RowsFile(rows=rows, form=JSONL, mark=_mark(highest, of, context.at), numbers=numbers)


def _escape_torn_texts(made: sa.Connection) -> None:
    """Let SQLite, which keeps whatever bytes it is given as a text, hand over those that are not UTF-8, too.

    Each such byte is half of a pair of surrogates then. The driver's own error ends the run, and quotes the text.
    """
    if made.dialect.name == "sqlite":
        raw: Any = made.connection.dbapi_connection
        raw.text_factory = lambda content: content.decode("utf-8", "surrogateescape")


@contextmanager
def _unread_rows_dropped(made: sa.Connection, result: sa.CursorResult[Any]) -> Iterator[None]:
    """Let a run that breaks off take no more rows: PyMySQL would read all that are left before it goes on."""
    try:
        yield
    except BaseException:
        if made.dialect.driver == "pymysql":
            unread = getattr(result.cursor, "_result", None)
            if unread is not None:
                unread.unbuffered_active = False
            made.invalidate()
        raise


def _origin(made: sa.Connection, wanted: ReadQuery, where: str) -> sa.FromClause:
    """Return what rows are selected from; RunError for what is not there."""
    if wanted.table is None:
        # As a subquery it can be nothing but a query. Its colons are not parameters.
        text = (wanted.query or "").rstrip("; \t\r\n").replace(":", r"\:")
        return sa.text(f"(\n{text}\n) origin")  # type: ignore[return-value]
    there = [column["name"] for column in alchemy.inspect_columns(made, wanted.table, where)]
    if wanted.column is not None and wanted.column not in there:
        raise _no_watermark(wanted, there, where)
    return sa.table(wanted.table.table, schema=wanted.table.schema)


def _own_names(made: sa.Connection, wanted: ReadQuery, names: list[str]) -> list[str]:
    """Return the names that the query gives to its columns: SQLite renames the second of two in a subquery."""
    renamed = any(found and found[1].lower() in map(str.lower, names) for found in map(_RENAMED.fullmatch, names))
    if made.dialect.name != "sqlite" or wanted.query is None or not renamed:
        return names
    # It is a query: as a subquery it was accepted.
    with closing(made.connection.cursor()) as cursor:
        cursor.execute(wanted.query)
        return [column[0] for column in cursor.description or ()]


def _names(names: list[str], wanted: ReadQuery, where: str) -> list[str]:
    lower = [name.lower() for name in names]
    twice = sorted(
        {name for name in names if names.count(name) > 1 or (lower.count(name.lower()) > 1 and wanted.query)}
    )
    if twice:
        raise RunError(
            f"{wanted} of {where} has {lower.count(twice[0].lower())} columns called {twice[0]!r}",
            hint="give each a name of its own with AS",
            code="duplicate-column",
        )
    if wanted.column is not None and wanted.column not in names:
        raise _no_watermark(wanted, names, where)
    return names


def _no_watermark(wanted: ReadQuery, there: Sequence[str], where: str) -> RunError:
    return RunError(
        f"{wanted} of {where} has no column {wanted.column!r} for `watermark`",
        hint=near(str(wanted.column), there, "columns"),
        code="missing-column",
    )


def _bit_columns(result: sa.CursorResult[Any]) -> list[int]:
    """Return the places of the columns of bits, which PyMySQL gives as bytes."""
    if result.dialect.name not in alchemy.MYSQL or result.cursor is None:
        return []
    return [place for place, column in enumerate(result.cursor.description) if column[1] == _BIT]


def _bits(value: Any) -> Any:
    return int.from_bytes(value, "big") if isinstance(value, bytes) else value


# --- values ------------------------------------------------------------------------------------------------------


def _text(value: Any, name: str, wanted: ReadQuery) -> Any:
    """Return *value* as text, None for none, lists as lists."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            # The one spelling that a whole number has, whatever its source.
            return format(Decimal(repr(value)) + 0, "f").removesuffix(".0")
        case Decimal():
            return format(value, "f")
        case timedelta():  # what drivers make of MySQL's TIME
            return durations.as_clock(value // timedelta(microseconds=1))
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | wall():
            return value.isoformat()
        case list() | tuple():
            return [_text(each, name, wanted) for each in value]
        case dict():
            return json.dumps(value, ensure_ascii=False, default=str)
        case bytes() | bytearray() | memoryview():
            raise RunError(
                f"column {name!r} of {wanted} holds bytes, which are not text",
                hint="leave it out with a `query`, or encode it there, for example with hex()",
                code="binary-column",
            )
    return str(value)


# --- the watermark -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    name: str  # in a mark
    kind: str  # time, number or other


def _kind(value: Any) -> _Kind:
    match value:
        case datetime():
            return _Kind(name="datetime", kind="time")
        case date():
            return _Kind(name="date", kind="time")
        case int():
            return _Kind(name="integer", kind="number")
        case float():
            return _Kind(name="float", kind="number")
        case Decimal():
            return _Kind(name="decimal", kind="number")
    return _Kind(name="text", kind="time" if _INSTANT.fullmatch(str(value)) else "other")


def _value(mark: Mark) -> Any:
    make: dict[str, Callable[[str], Any]] = {
        "datetime": datetime.fromisoformat,
        "date": date.fromisoformat,
        "integer": int,
        "float": float,
        "decimal": Decimal,
    }
    return make.get(mark.type, str)(mark.value)


def _start(value: Any, wanted: ReadQuery) -> Any:
    """Return the least value that is read, when *value* was the greatest of the last run."""
    late = wanted.late(_kind(value).kind)
    match value:
        case str() if late:
            return _as_written(datetime.fromisoformat(value) - timedelta(seconds=late), value)
        case datetime():
            return value - timedelta(seconds=late)
        case date():
            return (datetime.combine(value, wall()) - timedelta(seconds=late)).date()
        case int() | Decimal() | float():
            return value - late
    return value


def _higher(highest: Any, value: Any, wanted: ReadQuery) -> Any:
    if value is None or value != value or (isinstance(value, str) and _TORN.search(value)):  # NaN is not itself
        return highest
    try:
        return value if highest is None or value > highest else highest
    except TypeError:
        raise RunError(
            f"column {wanted.column!r} of {wanted} holds values that cannot be compared: "
            f"{type(highest).__name__} and {type(value).__name__}",
            hint="choose another `column` for `watermark`",
            code="bad-watermark",
        ) from None


def _mark(highest: Any, of: str, at: datetime) -> Mark | None:
    """Return the mark for the next run; a value in the future does not count, for all later rows would be lost."""
    now = at.astimezone(UTC).replace(tzinfo=None)
    match highest:
        case None:
            return None
        case datetime() if highest.tzinfo is not None:
            value = min(highest, at).isoformat()
        case datetime():
            value = (highest if highest <= now + AHEAD else now - BEHIND).isoformat()
        case date():
            value = (highest if highest <= (now + AHEAD).date() else (now - BEHIND).date()).isoformat()
        case str() if _INSTANT.fullmatch(highest):
            value = highest if highest <= _as_written(now + AHEAD, highest) else _as_written(now - BEHIND, highest)
        case _:
            value = str(highest)
    return Mark(of=of, type=_kind(highest).name, value=value)


def _as_written(instant: datetime, model: str) -> str:
    """Return *instant* in the form of *model*, to the second, so that both compare as texts."""
    return instant.isoformat(sep=model[10:11] or " ")[: min(len(model), 19)]
