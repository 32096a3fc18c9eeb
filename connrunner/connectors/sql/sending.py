"""What an export sends, and in which pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from connrunner.connectors import Refusal
from connrunner.connectors.sql.failure import LONGEST, MOST_REFUSED, refusal_code
from connrunner.connectors.sql.names import TableName, near
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.redaction import redact_partner_words
from connrunner.text.words import one_line

SEPARATOR = ";"  # between the values of a set in a text, as imports read it
LARGEST = 16 << 20  # bytes of a batch, whatever the number of its rows

_decode = json.JSONDecoder(parse_int=str, parse_float=str).decode

Line = tuple[int, bytes]
"""The place of a row in the file, from 0, and the row as a line of JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableLoad:
    """What becomes of the rows."""

    table: TableName
    mode: Literal["insert", "upsert", "replace"]
    key: tuple[str, ...] = ()  # of an upsert: the columns of `unique`
    batch: int

    @property
    def at_once(self) -> bool:
        """True when all rows arrive in one transaction: sent twice, they would be doubled or half gone."""
        return self.mode != "upsert"


@dataclass(kw_only=True, slots=True)
class LoadProgress:
    """How far an export came."""

    rows: int = 0  # that need not be sent again
    refused: list[Refusal] = field(default_factory=list)

    def add(self, rows: int, refused: list[Refusal], where: str) -> None:
        self.rows += rows
        self.refused += refused
        if len(self.refused) > MOST_REFUSED:
            raise RunError(
                f"{where} refused more than {MOST_REFUSED:,} rows, the last one thus: {self.refused[-1].message}",
                hint="correct `fields`, or the table",
                code="too-many-refused",
            )


def batches(local: Path, size: int, *, skip: int = 0) -> Iterator[list[Line]]:
    """Yield the rows of the file *local* behind the first *skip*, at most *size* at a time and not too many bytes."""
    batch: list[Line] = []
    weight = 0
    with local.open("rb") as file:
        for number, line in enumerate(file):
            if number < skip:
                continue
            batch.append((number, line if line.endswith(b"\n") else line + b"\n"))
            weight += len(line)
            if len(batch) >= size or weight >= LARGEST:
                yield batch
                batch, weight = [], 0
    if batch:
        yield batch


def read_row_columns(local: Path) -> tuple[str, ...]:
    """Return the names of the columns, which every row has; nothing for a file without rows."""
    with local.open("rb") as file:
        first = file.readline()
    return tuple(json.loads(first)) if first else ()


def record(line: Line) -> dict[str, Any]:
    """Return the values of a row by column; a number as it is written."""
    values: dict[str, Any] = _decode(line[1].decode())
    return values


def check_columns(names: tuple[str, ...], load: TableLoad, there: Mapping[str, Any], where: str) -> None:
    """RunError when a column of the rows is not in the table, or the key is not in the rows."""
    for name in names:
        if name not in there:
            raise RunError(
                f"table {load.table} of {where} has no column {name!r}",
                hint=near(name, there, "columns"),
                code="missing-column",
            )
    for name in load.key:
        if names and name not in names:
            raise RunError(
                f"the rows have no column {name!r}, which is in `unique`",
                hint=f"add it to `fields`, or choose among {', '.join(names)}",
                code="missing-column",
            )


def check_key(load: TableLoad, there: Mapping[str, Any], keys: list[frozenset[str]], where: str) -> None:
    """RunError when `unique` is not what the table knows each of its rows by."""
    for name in load.key:
        if name not in there:
            hint = near(name, there, "columns")
            raise RunError(f"table {load.table} of {where} has no column {name!r}", hint=hint, code="missing-column")
    if load.mode == "upsert" and frozenset(load.key) not in keys:
        known = " or ".join(", ".join(sorted(key)) for key in keys)
        raise RunError(
            f"the columns of `unique` ({', '.join(load.key)}) are not unique in table {load.table} of {where}",
            hint=(f"choose {known}, or " if known else "") + "make a unique index on exactly these columns",
            code="no-unique-key",
        )


def check_replacement(load: TableLoad, sent: LoadProgress, where: str) -> None:
    """RunError for a replacement that would leave an empty table although there are rows."""
    if load.mode == "replace" and sent.rows and len(sent.refused) == sent.rows:
        them = "the only row" if sent.rows == 1 else f"all {sent.rows:,} rows"
        raise RunError(
            f"{where} refused {them}, so table {load.table} stays as it was; the first one: {sent.refused[0].message}",
            hint="correct `fields`, or the table",
            code="all-refused",
        )


@dataclass(kw_only=True, slots=True)
class CommitState:
    """Whether COMMIT was sent for rows that arrive at once."""

    committing: bool = False


@contextmanager
def known_outcome(load: TableLoad) -> Iterator[CommitState]:
    """Keep rows that may have arrived from being sent once more: an INSERT whose COMMIT got no answer."""
    ending = CommitState()
    try:
        yield ending
    except RunError as error:
        if ending.committing and load.mode == "insert" and error.code in ("connection-lost", "no-answer"):
            raise RunError(
                f"{error.message}: nobody knows whether the rows have arrived",
                hint=f"look into table {load.table} before the next run, which sends them again",
                code="unknown-outcome",
            ) from None
        raise


def refusal(line: Line, state: str, words: str, column: str | None = None) -> Refusal:
    """Return what the database said about a row, without the values that it quotes: they may be personal."""
    words = redact_partner_words(words, [line[1]])
    told = f"{column}: {words}" if column else words
    return Refusal(row=line[0], code=refusal_code(state), message=one_line(told, LONGEST))


def same_key(line: Line, key: tuple[str, ...]) -> Refusal:
    """Return the refusal of a row that would overwrite another one of the same run."""
    message = f"to the database another row of this run has the same key ({', '.join(key)})"
    return Refusal(row=line[0], code="duplicate-key", message=message)


def would_change(line: Line, column: str, kind: str) -> Refusal:
    """Return the refusal of a row of which the *column* would keep something else than the value."""
    message = f"{column}: a column of type {kind} would keep another value than this one"
    return Refusal(row=line[0], code="would-change", message=message)


class NotJoinedError(ValueError):
    """A value of a set holds what stands between the values."""


def join_members(members: list[Any]) -> str:
    """Return the one text of a set, as an import without `separator` reads it; NotJoined when it would read another."""
    texts = [("true" if one else "false") if isinstance(one, bool) else str(one) for one in members if one is not None]
    if any(SEPARATOR in text for text in texts):
        raise NotJoinedError
    return SEPARATOR.join(texts)


def not_joined(line: Line, column: str) -> Refusal:
    """Return the refusal of a row with a set that the text *column* cannot hold."""
    message = f"{column}: one of the values holds {SEPARATOR!r}, which stands between them in a text"
    return Refusal(row=line[0], code="unwritable-format", message=message)


def no_key(line: Line, key: tuple[str, ...]) -> Refusal:
    """Return the refusal of a row without a key: sent again and again, it would be a new row each time."""
    return Refusal(row=line[0], code="missing-value", message=f"no value in what should be unique ({', '.join(key)})")
