"""The rows that a run refused as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

COLUMNS = ("file", "line", "key", "profile", "field", "stage", "code", "message", "value")
# As exports for spreadsheets: a text that begins like a formula, at its begin or where a spreadsheet may split it.
_FORMULA = re.compile(r"(?:\A[\s\x00]*|[,;|\t\n\v\f\r][\"\s\x00]*)(?=[=+\-@＝＋－＠])|\A(?=[\t\r\n])")  # noqa: RUF001


def format_rejects(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a CSV file (RFC 4180) with *rows*, the head first. No cell is taken for a formula."""
    page = io.StringIO()
    writer = csv.writer(page)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in COLUMNS])
        yield page.getvalue()
        page.seek(0)
        page.truncate()
    yield page.getvalue()


def _cell(value: Any) -> str:
    """Return *value* as a cell: a number as it is, a text with an apostrophe wherever it could be a formula."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    return _FORMULA.sub(r"\g<0>'", str(value))
