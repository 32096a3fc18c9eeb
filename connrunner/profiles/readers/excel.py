"""
Excel workbooks (.xlsx): the rows of one sheet, as texts.

The first row that is not empty names the columns; empty rows are no records. Formulas count as the value that Excel
kept of them; one without is an error of its row, as a cell that shows an error is. A workbook knows no time zones: its
times are taken as UTC where a property wants an instant and the import names no zone. Numbers are written with the 15
digits that Excel shows, a whole one in a format of zeros only with that many, and durations as hours without end.
"""

from __future__ import annotations

import errno
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.parsers import expat

from connrunner.core.model import Format, PropertyType
from connrunner.errors import RunError
from connrunner.profiles.readers import compression, jsonlines
from connrunner.profiles.readers.normalize import NormalizedFile
from connrunner.profiles.readers.record_source import RecordSource, compose_record
from connrunner.profiles.readers.workbook import Cell, DamageError, Flaw, PaddedInteger, TooLargeError, Workbook
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.text import durations
from connrunner.text.unpacking import limit_size
from connrunner.text.words import nearest

PROGRESS_EVERY = 10_000  # rows
IN_MEMORY = 256_000_000  # bytes, decompressed, of the parts that are kept in memory: texts and styles
# What the readers of archives and XML raise, first those whose words quote nothing that stands in a cell.
_SAYING = (DamageError, expat.ExpatError, zipfile.BadZipFile, zlib.error)
_DAMAGE = (*_SAYING, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError, OverflowError)
_NUMBERS = (PropertyType.INTEGER, PropertyType.DECIMAL, PropertyType.BOOLEAN)


def read_sheet_columns(file: NormalizedFile, form: Format) -> tuple[str, ...]:
    """Return the names of the columns of the sheet that *form* names, the first one without a name."""
    with _open_workbook(file) as book:
        return _header(_records(book, form, file.name), file.name)


def copy_records(
    file: NormalizedFile,
    form: Format,
    names: Sequence[str],
    kinds: Mapping[str, PropertyType],
    wanted: Sequence[str],
    copied: Sequence[str],
    folder: Path,
    on_progress: Callable[[int, int], None],
) -> RecordSource:
    """
    Copy the *copied* columns of the sheet that *form* names to *folder*, and return where the records are.

    *kinds* says what a column is for: a date and an instant look the same in a workbook. An error in one of the
    *wanted* columns is an error of the row.
    """
    numbers = sorted({names.index(name) for name in copied})
    looked_at = [number for number in numbers if names[number] in wanted]
    meant = [kinds.get(names[number]) for number in numbers]
    path = choose_path(folder)
    count = 0
    with _open_workbook(file) as book, open_private(path) as copy:
        records = _records(book, form, file.name)
        _header(records, file.name)
        for record in records:
            line = json.dumps(_list_cells(record, numbers, meant, looked_at, len(names))).encode() + b"\n"
            if len(line) > jsonlines.LONGEST_LINE:
                raise RunError(
                    f"{file.name}: record {count + 1:,} is longer than {jsonlines.LONGEST_LINE:,} bytes",
                    hint="shorten its texts where the file is made",
                    code="too-long",
                )
            copy.write(line)
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
        first_line=form.skip + 2,
        timezone="UTC",
        is_whole=count.__eq__,
    )


def format_cell(value: Cell, meant: PropertyType | None = None) -> str:
    """Return the text of a cell's *value*, as a property of the type *meant* expects it."""
    match value:
        case None | Flaw():
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            # Without an exponent, and without a minus before a zero. What is whole may be a number of 16 digits that
            # stands for somebody; behind a point, more than 15 digits are what is left over from a formula.
            digits = repr(value) if value.is_integer() else f"{value:.15g}"
            return f"{Decimal(digits) + 0:f}".removesuffix(".0")
        case PaddedInteger():
            return str(value.value) if meant in _NUMBERS else value.shown
        case datetime():
            if meant is PropertyType.DATETIME:
                return value.isoformat()
            if value.time() == time():
                return value.date().isoformat()
            return value.isoformat(" ").rstrip("0") if value.microsecond else value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return durations.as_clock(value // timedelta(microseconds=1))
        case _:
            return str(value)


def _list_cells(
    record: Sequence[Cell],
    numbers: Sequence[int],
    meant: Sequence[PropertyType | None],
    looked_at: Sequence[int],
    width: int,
) -> list[str | None]:
    """Return the code of the error of *record* or None, and its cells at *numbers*."""
    cells = [record[number] if number < len(record) else None for number in numbers]
    error = None
    if any(map(_is_filled, record[width:])):
        error = "too-many-columns"
    elif any(number < len(record) and isinstance(record[number], Flaw) for number in looked_at):
        error = "formula-error"
    return [error, *map(format_cell, cells, meant)]


def _is_filled(value: Cell) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _header(records: Iterator[Sequence[Cell]], name: str) -> tuple[str, ...]:
    for record in records:
        last = max(number for number, value in enumerate(record) if _is_filled(value))
        return tuple(format_cell(value) for value in record[: last + 1])
    raise RunError(
        f"{name}: the sheet is empty, not even a header",
        hint="set `format: {sheet: ...}` to the sheet that holds the rows",
        code="empty-file",
    )


def _records(book: Workbook, form: Format, name: str) -> Iterator[Sequence[Cell]]:
    """Yield the rows of the sheet that are not empty, behind those that *form* passes over."""
    for record in book.rows(_sheet(book, form.sheet, name), skip=form.skip):
        if any(map(_is_filled, record)):
            yield record


def _sheet(book: Workbook, wanted: str, name: str) -> str:
    if not book.sheets:
        raise RunError(f"{name} has no sheets with rows", hint="set another `format`", code="unknown-sheet")
    if not wanted:
        return next(iter(book.sheets))
    if wanted not in book.sheets:
        near = nearest(wanted, book.sheets)
        there = f"its sheets: {', '.join(book.sheets)}"
        hint = f"did you mean {near!r}? {there}" if near else there
        raise RunError(f"{name} has no sheet {wanted!r}", hint=hint, code="unknown-sheet")
    return wanted


@contextmanager
def _open_workbook(file: NormalizedFile) -> Iterator[Workbook]:
    """Open the workbook. RunError when it cannot be read, now or while it is open: the file is damaged."""
    try:
        with file.path.open("rb") as opened:
            _check_size(opened, file)
            with zipfile.ZipFile(opened) as archive:
                yield Workbook(archive, IN_MEMORY)
    except TooLargeError as error:
        raise RunError(
            f"{file.name}: its texts and styles unpack to {error} bytes, and no more than {IN_MEMORY:,} are read",
            hint="save it as CSV",
            code="too-large",
        ) from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a seek to a place that the archive names and no file has
            raise
        raise _damaged_error(file, error) from error
    except _DAMAGE as error:
        raise _damaged_error(file, error) from error


def _damaged_error(file: NormalizedFile, error: Exception) -> RunError:
    reason = str(error) if isinstance(error, _SAYING) else "its parts do not fit together"
    return RunError(
        f"{file.name} cannot be read as an Excel workbook: {reason}",
        hint="open it in Excel and save it again, or save it as CSV",
        code="damaged-file",
    )


def _check_size(opened: Any, file: NormalizedFile) -> None:
    """RunError for a workbook that decompresses to more than it may: no more is read than the sizes in it say."""
    with zipfile.ZipFile(opened) as archive:
        parts = archive.infolist()
    if sum(part.file_size for part in parts) > limit_size(file.size):
        raise compression.too_large_error(file.name, file.size)
    opened.seek(0)
