"""
CSV files: their header, and their records as text.

Three ways lead to the same records. A file without any quote character, and one whose quotes are in order and hold no
line breaks, are read by DuckDB in parallel; a record that is too short or too long keeps its place there, because
missing columns are padded and surplus ones have columns of their own. Everything else (line breaks inside quotes,
quotes that do not pair up or have blanks beside them, mixed line ends, very long records) is rewritten by the csv
module first, one record a line. What a record says depends on that record alone, whichever way it is read.

A record whose quotes do not pair up is refused, and reading goes on at the next line: one stray quote must not swallow
the rest of the file. So is one that is longer than any record may be. Empty lines, and lines of nothing but delimiters,
empty quotes and blanks (a spreadsheet writes them below its rows), are no records.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import expectations
from connrunner.profiles.readers import jsonlines
from connrunner.profiles.readers.normalize import NormalizedFile, find_decoding_error
from connrunner.profiles.readers.record_source import NO_RECORD, RecordSource, compose_record
from connrunner.profiles.readers.survey import count_filled_lines
from connrunner.profiles.sql_fragments import all_of, quote_text
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.profiles.values import is_filled

if TYPE_CHECKING:
    import _csv

SURPLUS = 8  # columns beyond the header that are read, to see that they are there
LONGEST_RECORD = 4_000_000  # characters; DuckDB gives up at 2,000,000 bytes, and the csv module goes on
BLANKS = " \t\n\x0b\x0c\r"
DELIMITERS = {",": "','", ";": "';'", "\t": '"\\t"', "|": "'|'"}


def read_header(file: NormalizedFile, form: Format, wanted: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """Return the names of the columns and how many lines the header takes. RunError when a *wanted* one is missing."""
    if form.header:
        names, lines = _first_record(file, form)
    else:
        names, lines = form.columns, 0
    _check_names(names, form, file.name, wanted)
    return names, lines


def find_records(file: NormalizedFile, form: Format, names: Sequence[str], lines: int, *, about: int) -> RecordSource:
    """Return where DuckDB reads the records of *file* itself; if it fails there, `copy_records` reads them."""
    # Without quotes there is nothing to be strict about, and surplus columns beyond the first are overlooked.
    quotes = file.survey.quotes
    columns = [f"c{number}" for number in range(len(names) + (SURPLUS if quotes else 1))]
    quote = quote_text(form.quote if quotes else "")
    types = ", ".join(f"{column}: 'VARCHAR'" for column in columns)
    # Left to itself, a reader that is not strict loses characters around a carriage return that stands alone.
    strictness = "strict_mode = true" if quotes else "strict_mode = false, new_line = '\\n'"
    relation = f"""read_csv({quote_text(str(file.path))}, auto_detect = false, header = false, skip = {lines},
        delim = {quote_text(form.delimiter)}, quote = {quote}, escape = {quote}, nullstr = {quote_text(_UNUSED)},
        {strictness}, null_padding = true, columns = {{{types}}})"""
    place = {name: columns[number] for number, name in enumerate(names)}
    last = len(names) - 1
    empty = ""
    if file.survey.empty_records:
        nothing = all_of(f"NOT coalesce({is_filled(place)}, false)" for place in columns[: last + 1])
        empty = f"WHEN c{last + 1} IS NULL AND {nothing} THEN {quote_text(NO_RECORD)} "
    return RecordSource(
        relation=relation,
        cell=place.__getitem__,
        cells=lambda name, separator: f"string_split({place[name]}, {quote_text(separator)})",
        present=lambda _: "true",
        error=f"""CASE {empty}WHEN c{last + 1} IS NOT NULL THEN 'too-many-columns'
            WHEN c{last} IS NULL THEN 'too-few-columns' END""",
        record=compose_record(place),
        about=about,
        first_line=_first_line(form),
        nul=file.nul,
        is_whole=lambda count: count == file.survey.lines - lines or count == count_filled_lines(file.path) - lines,
    )


def copy_records(
    file: NormalizedFile, form: Format, names: Sequence[str], lines: int, wanted: Iterable[str], folder: Path
) -> RecordSource:
    """
    Copy the records of *file* to *folder* as the csv module reads them, and return where they are.

    Of the *names* columns only the *wanted* ones are copied.
    """
    numbers = sorted({names.index(name) for name in wanted})
    torn = len(numbers) + 1  # where the first line of a record stands whose quotes do not pair up
    path = choose_path(folder)
    count = 0
    try:
        with file.path.open(encoding="utf-8-sig", newline="") as text, open_private(path) as copy:
            for record in _parse_records(text, form, lines):
                line = _write_line(_list_cells(record, numbers, len(names)))
                if len(line) >= jsonlines.LONGEST_LINE:
                    line = _write_line(_list_cells(_Flawed("too-long"), numbers, len(names)))
                copy.write(line)
                count += 1
    except UnicodeDecodeError as error:
        raise find_decoding_error(file.path, file.name) or error from None
    place = {names[number]: f"texts[{position}]" for position, number in enumerate(numbers, 2)}
    broken = f"to_json(texts[{torn + 1}])::VARCHAR"
    return RecordSource(
        relation=jsonlines.make_relation(path, [f"/{position}" for position in range(torn + 1)]),
        cell=place.__getitem__,
        cells=lambda name, separator: f"string_split({place[name]}, {quote_text(separator)})",
        present=lambda _: "true",
        error="texts[1]",
        record=f"CASE WHEN texts[{torn + 1}] IS NOT NULL THEN {broken} ELSE {compose_record(place)} END",
        about=count,
        first_line=_first_line(form),
        nul=file.nul,
        is_whole=count.__eq__,
    )


def _first_line(form: Format) -> int:
    return form.skip + (2 if form.header else 1)


_UNUSED = "\x01no text stands for nothing\x02"


@dataclass(frozen=True, slots=True)
class _Flawed:
    """A record that cannot be read: its first line, unless that is too long as well."""

    code: str
    line: str = ""


def _write_line(cells: list[str | None]) -> bytes:
    return json.dumps(cells, ensure_ascii=False).encode() + b"\n"


def _list_cells(record: list[str] | _Flawed, numbers: Sequence[int], width: int) -> list[str | None]:
    """Return the code of the error of *record* or None, its wanted cells, and last a line that is not a record."""
    if isinstance(record, _Flawed):
        return [record.code, *(None for _ in numbers), record.line]
    if not any(cell.strip(BLANKS) for cell in record) and len(record) <= width:
        return [NO_RECORD, *(None for _ in numbers)]
    error = "too-many-columns" if len(record) > width else "too-few-columns" if len(record) < width else None
    return [error, *(record[number] if number < len(record) else None for number in numbers)]


def _parse_records(text: TextIO, form: Format, skip: int) -> Iterator[list[str] | _Flawed]:
    """Yield each record of *text* after *skip* lines; the first line of one whose quotes do not pair up."""
    source = _read_lines(text)
    for _ in range(skip):
        next(source, None)
    again: deque[str] = deque()
    taken: list[str] = []

    def feed() -> Iterator[str]:
        length = 0
        while True:
            if not taken:
                length = 0
            elif length > LONGEST_RECORD:
                return
            line = again.popleft() if again else next(source, None)
            if line is None:
                return
            taken.append(line)
            length += len(line)
            yield line

    csv.field_size_limit(2 * LONGEST_RECORD)
    while True:
        reader = _reader(feed(), form, strict=True)
        try:
            for record in reader:
                too_long = sum(map(len, taken)) > LONGEST_RECORD
                taken.clear()
                if too_long:
                    yield _Flawed("too-long")
                elif record:
                    yield record
        except csv.Error:
            pass
        if not taken:
            return
        line = taken[0]
        again.extendleft(reversed(taken[1:]))
        taken.clear()
        yield _Flawed("too-long") if len(line) > LONGEST_RECORD else _Flawed("bad-quoting", line)


def _read_lines(text: TextIO) -> Iterator[str]:
    """Yield the lines of *text*; of one that is much longer than any record only the beginning."""
    limit = LONGEST_RECORD + 1
    while line := text.readline(limit):
        if len(line) == limit and not line.endswith(("\n", "\r")):
            while (rest := text.readline(limit)) and not rest.endswith(("\n", "\r")):
                pass
        yield line


def _reader(text: Iterable[str], form: Format, *, strict: bool) -> _csv.Reader:
    if form.quote:
        return csv.reader(text, delimiter=form.delimiter, quotechar=form.quote, strict=strict)
    none: Literal[3] = 3  # csv.QUOTE_NONE
    return csv.reader(text, delimiter=form.delimiter, quotechar=None, quoting=none, strict=strict)


def _first_record(file: NormalizedFile, form: Format) -> tuple[tuple[str, ...], int]:
    try:
        with file.path.open(encoding="utf-8-sig", newline="") as text:
            reader = _reader(text, form, strict=False)
            for record in reader:
                if record:
                    return tuple(record), reader.line_num
    except UnicodeDecodeError as error:
        raise find_decoding_error(file.path, file.name) or error from None
    except csv.Error as error:
        raise RunError(f"{file.name}: the header cannot be read: {error}", code="bad-header") from None
    raise RunError(
        f"{file.name} holds empty lines only, not even a header",
        hint="see why its sender wrote nothing",
        code="empty-file",
    )


def _check_names(names: Sequence[str], form: Format, file: str, wanted: Iterable[str]) -> None:
    wanted = list(dict.fromkeys(wanted))
    if any("\0" in name for name in names):
        raise RunError(
            f"{file} does not look like text: its header contains NUL",
            hint="set another `format`, or its encoding",
            code="wrong-format",
        )
    missing = [name for name in wanted if name not in names]
    if not missing:
        check_unique(names, file, wanted)
        return
    if len(names) == 1 and form.header:
        for delimiter, written in DELIMITERS.items():
            if delimiter in names[0] and delimiter != form.delimiter:
                raise RunError(
                    f"{file}: the header is one column",
                    hint=f"set `format: {{delimiter: {written}}}`",
                    code="wrong-delimiter",
                )
    raise missing_column_error(file, missing, names, wanted)


def check_unique(names: Sequence[str], file: str, wanted: Iterable[str]) -> None:
    """RunError when several columns have the same *wanted* name."""
    for name in wanted:
        if names.count(name) > 1:
            raise RunError(
                f"{file} has {names.count(name)} columns called {name!r}",
                hint="rename them where the file is made, so that one is meant",
                code="duplicate-column",
            )


def missing_column_error(file: str, missing: Sequence[str], names: Sequence[str], wanted: Collection[str]) -> RunError:
    """Return the error for columns that the mapping names and the file lacks; *wanted* are all that it names."""
    return RunError(
        f"{file} has no column {', '.join(map(repr, missing))}",
        hint=expectations.describe_columns(missing[0], names, wanted),
        code="missing-column",
    )
