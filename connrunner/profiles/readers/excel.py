"""
Excel workbooks (.xlsx): the rows of one sheet, as texts.

The first row that is not empty names the columns; empty rows are no records. Formulas count as the value that Excel
kept of them. A workbook knows no time zones: its times are taken as UTC where a property wants an instant. Numbers are
written with the 15 digits that Excel shows.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from connrunner.core.model import PropertyType
from connrunner.errors import RunError
from connrunner.profiles.readers import compression, jsonlines
from connrunner.profiles.readers.normalize import NormalizedFile
from connrunner.profiles.readers.record_source import RecordSource, compose_record
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.text.redaction import describe_exception
from connrunner.text.words import nearest

PROGRESS_EVERY = 10_000  # rows
IN_MEMORY = 256_000_000  # bytes, decompressed, of the parts that openpyxl keeps in memory: texts and styles
_SHEETS = "xl/worksheets/"
_ERRORS = {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}


def read_sheet_columns(file: NormalizedFile, sheet: str) -> tuple[str, ...]:
    """Return the names of the columns of the *sheet*, the first one when empty."""
    with _open_workbook(file) as book:
        return _header(_records(book, sheet, file.name), file.name)


def copy_records(
    file: NormalizedFile,
    sheet: str,
    names: Sequence[str],
    kinds: Mapping[str, PropertyType],
    wanted: Sequence[str],
    copied: Sequence[str],
    folder: Path,
    on_progress: Callable[[int, int], None],
) -> RecordSource:
    """
    Copy the *copied* columns of the *sheet* to *folder*, and return where the records are.

    *kinds* says what a column is for: a date and an instant look the same in a workbook. An error in one of the
    *wanted* columns is an error of the row.
    """
    numbers = sorted({names.index(name) for name in copied})
    looked_at = [number for number in numbers if names[number] in wanted]
    meant = [kinds.get(names[number]) for number in numbers]
    path = choose_path(folder)
    count = 0
    with _open_workbook(file) as book, open_private(path) as copy:
        records = _records(book, sheet, file.name)
        _header(records, file.name)
        for record in records:
            copy.write(json.dumps(_list_cells(record, numbers, meant, looked_at, len(names))).encode() + b"\n")
            count += 1
            if count % PROGRESS_EVERY == 0:
                on_progress(count, count)  # the workbook does not say how many there are
    place = {names[number]: f"texts[{position}]" for position, number in enumerate(numbers, 2)}
    return RecordSource(
        relation=jsonlines.make_relation(path, [f"/{position}" for position in range(len(numbers) + 1)]),
        cell=place.__getitem__,
        cells=lambda name, separator: f"string_split({place[name]}, {quote_text(separator)})",
        present=lambda _: "true",
        error="texts[1]",
        record=compose_record(place),
        about=count,
        first_line=2,
    )


def format_cell(value: Any, meant: PropertyType | None = None) -> str:
    """Return the text of a cell's *value*, as a property of the type *meant* expects it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{Decimal(f'{value:.15g}'):f}"  # without an exponent
        case datetime():
            if meant is PropertyType.DATETIME:
                return value.isoformat() + "Z"
            return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _list_cells(
    record: Sequence[Any],
    numbers: Sequence[int],
    meant: Sequence[PropertyType | None],
    looked_at: Sequence[int],
    width: int,
) -> list[str | None]:
    """Return the code of the error of *record* or None, and its cells at *numbers*."""
    cells = [record[number] if number < len(record) else None for number in numbers]
    error = None
    if any(value is not None for value in record[width:]):
        error = "too-many-columns"
    elif any(number < len(record) and record[number] in _ERRORS for number in looked_at):
        error = "formula-error"
    return [error, *map(format_cell, cells, meant)]


def _header(records: Iterator[Sequence[Any]], name: str) -> tuple[str, ...]:
    for record in records:
        last = max(number for number, value in enumerate(record) if value is not None)
        return tuple(format_cell(value) for value in record[: last + 1])
    raise RunError(
        f"{name}: the sheet is empty, not even a header",
        hint="set `format: {sheet: ...}` to the sheet that holds the rows",
        code="empty-file",
    )


def _records(book: Any, sheet: str, name: str) -> Iterator[Sequence[Any]]:
    """Yield the rows of the *sheet* that are not empty."""
    found = _sheet(book, sheet, name)
    # What a sheet says about its size is wrong more often than not, and read-only mode would believe it.
    found.reset_dimensions()
    for record in found.iter_rows(values_only=True):
        if any(value is not None for value in record):
            yield record


def _sheet(book: Any, wanted: str, name: str) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if not sheets:
        raise RunError(f"{name} has no sheets with rows", hint="set another `format`", code="unknown-sheet")
    if not wanted:
        return next(iter(sheets.values()))
    if wanted not in sheets:
        near = nearest(wanted, sheets)
        there = f"its sheets: {', '.join(sheets)}"
        hint = f"did you mean {near!r}? {there}" if near else there
        raise RunError(f"{name} has no sheet {wanted!r}", hint=hint, code="unknown-sheet")
    return sheets[wanted]


@contextmanager
def _open_workbook(file: NormalizedFile) -> Iterator[Any]:
    """Open the workbook. RunError when openpyxl fails, now or while it is open: the file is damaged."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise RunError(
            "Excel workbooks need the extra `excel`", hint="pip install 'connrunner[excel]'", code="missing-extra"
        ) from None
    try:
        with file.path.open("rb") as opened, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that hold no rows: validations, styles
            _check_size(opened, file)
            book = load_workbook(opened, read_only=True, data_only=True, keep_links=False)
            try:
                yield book
            finally:
                book.close()
    except (RunError, OSError, MemoryError):
        raise
    except Exception as error:  # its parsers raise whatever they meet
        raise RunError(
            f"{file.name} cannot be read as an Excel workbook: {describe_exception(error)}",
            hint="open it in Excel and save it again, or save it as CSV",
            code="damaged-file",
        ) from None


def _check_size(opened: Any, file: NormalizedFile) -> None:
    """RunError for a workbook that decompresses to more than it may: no more is read than the sizes in it say."""
    with zipfile.ZipFile(opened) as archive:
        parts = archive.infolist()
    if sum(part.file_size for part in parts) > compression.limit_size(file.size):
        raise compression.too_large_error(file.name, file.size)
    read = sum(part.file_size for part in parts if part.filename.endswith(".xml") and _SHEETS not in part.filename)
    if read > IN_MEMORY:
        raise RunError(
            f"{file.name}: its texts and styles unpack to {read:,} bytes, and no more than {IN_MEMORY:,} are read",
            hint="save it as CSV",
            code="too-large",
        )
    opened.seek(0)
