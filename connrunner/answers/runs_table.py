"""Runs as a table: a row for each, a column for each fact and each counter."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from connrunner.core import run_records
from connrunner.core.counts import NAMES
from connrunner.core.model import Run

# Each column with its type in SQL. Instants are in UTC.
COLUMNS = {
    "connection": "VARCHAR",
    "run": "BIGINT",
    "outcome": "VARCHAR",
    "trigger": "VARCHAR",
    **dict.fromkeys(("due_at", "queued_at", "started_at", "ended_at"), "TIMESTAMP"),
    "seconds": "DOUBLE",
    **dict.fromkeys(NAMES, "BIGINT"),
    **dict.fromkeys(("message", "code", "commit", "config"), "VARCHAR"),
    **dict.fromkeys(("missed", "merged", "attempts"), "BIGINT"),
    **dict.fromkeys(("asked_by", "kind", "title"), "VARCHAR"),
    "exit_status": "BIGINT",
    "detail": "VARCHAR",  # as JSON
}


def format_csv(found: Iterable[Run]) -> Iterator[str]:
    """Yield the lines of the table as CSV (RFC 4180), its head first; a cell without a value is empty."""
    page = io.StringIO()
    writer = csv.writer(page)
    writer.writerow(COLUMNS)
    for run in found:
        yield _take(page)
        facts: dict[str, Any] = {**run_records.as_dict(run), **run.result.counts.as_dict()}
        facts["detail"] = json.dumps(facts["detail"], ensure_ascii=False) if facts["detail"] else None
        writer.writerow([facts.get(column) for column in COLUMNS])
    yield _take(page)


def _take(page: io.StringIO) -> str:
    text = page.getvalue()
    page.seek(0)
    page.truncate()
    return text


def write_parquet(found: Iterable[Run], path: Path) -> None:
    """Write the table as a Parquet file at *path*; ArgumentError when it cannot be written there."""
    from connrunner.profiles import parquet_conversion  # DuckDB is slow to import

    parquet_conversion.write_parquet(format_csv(found), COLUMNS, path)
