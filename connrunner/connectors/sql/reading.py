"""What an import reads, and how far it came."""

from __future__ import annotations

import hashlib
from typing import Any

from connrunner.connectors.quota import FetchQuota
from connrunner.connectors.sql.database_url import seconds
from connrunner.connectors.sql.names import TableName
from connrunner.core.model import Format
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import asdict, dataclass

# Rows become visible when their transaction ends, which is later than the instant or the number that they carry.
LATE_TIME = 15 * 60  # seconds before the mark that are read again
LATE_NUMBER = 1000  # numbers before the mark that are read again


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadQuery:
    """What an import reads."""

    table: TableName | None = None
    query: str | None = None
    column: str | None = None  # the watermark
    overlap: str | int | None = None  # as the settings say it
    quota: FetchQuota | None = None  # how much may come

    def count_bytes(self, size: int) -> None:
        """Count *size* bytes of rows that are about to be written; RunError when they are too many."""
        if self.quota is not None:
            self.quota.take(size, str(self))

    def __str__(self) -> str:
        return str(self.table) if self.table else "the query"

    def late(self, kind: str) -> int:
        """Return what is read again before the mark: seconds or numbers by *kind*, which is time, number or other."""
        match self.overlap:
            case None:
                return {"time": LATE_TIME, "number": LATE_NUMBER}.get(kind, 0)
            case int() if kind == "number" or self.overlap == 0:
                return self.overlap
            case str() if kind == "time":
                return seconds(self.overlap)
        wanted = {"time": "a duration like 15m", "number": "a whole number like 1000"}.get(kind, "0")
        raise RunError(
            f"`overlap` {self.overlap!r} does not fit column {self.column!r} of {self}",
            hint=f"write {wanted}, or leave it out",
            code="bad-watermark",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """The greatest value of the watermark's column that was read."""

    of: str  # the fingerprint of what was read: a mark of anything else is worth nothing
    type: str  # the database's word for the type, or ours
    value: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsFile:
    """A file of rows that was written."""

    rows: int
    form: Format  # how they stand in it
    mark: Mark | None  # from where the next run goes on
    numbers: frozenset[str] = frozenset()  # columns that hold numbers and nothing else


def fingerprint_query(wanted: ReadQuery, url: str) -> str:
    """Return a short text that differs when another database, table, query or column is read."""
    parts = (url, str(wanted.table), wanted.query, wanted.column)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def last(saved: Any, wanted: ReadQuery, of: str, report: Report) -> Mark | None:
    """Return the mark that the last run *saved*; None when there is none, or when something else is read now."""
    if wanted.column is None or saved is None:
        return None
    if isinstance(saved, dict) and saved.get("of") == of:
        return Mark(**saved)
    report.message(f"{wanted} or its watermark is another than in the last run: all rows are read")
    return None
