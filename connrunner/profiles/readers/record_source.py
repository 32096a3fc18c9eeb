"""Where the records of one file stand, as text: every format ends in this shape."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.profiles.sql_fragments import quote_text

NO_RECORD = "no-record"
READ_AGAIN = "read-again"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordSource:
    """
    One relation whose rows are the file's records, in their order.

    *cell* returns the expression of a column's text, *cells* that of its list of texts (with a separator for formats
    that have no lists). *number* and *numbers* are like these, for properties that are numbers or booleans: there a
    number of the file is written out, without exponent and without zeros behind the point; None where a file has no
    numbers.
    *present* returns the condition that the record says anything about the column, be it that it is empty. *error* is
    the expression of the code of an error of the record as a whole, or NULL; `NO_RECORD` stands for a line that says
    nothing at all, and `READ_AGAIN` for one that this way of reading cannot read exactly. *record* is the expression of
    the record as JSON text: an object with a member for each column, or a text when it is not a record. *is_whole*
    tells from how many rows the relation had whether these are all that the file has: it counts them another way.
    """

    relation: str
    cell: Callable[[str], str]
    cells: Callable[[str, str], str]
    number: Callable[[str], str] | None = None
    numbers: Callable[[str, str], str] | None = None
    present: Callable[[str], str]
    error: str
    record: str
    about: int  # how many records there are, roughly
    first_line: int = 1  # the line of the first record in rejects: a header is line 1
    nul: bool = True  # a text may contain NUL
    timezone: str = ""  # of times without an offset, where the import's field names none
    is_whole: Callable[[int], bool] = lambda _: True


def read_numbers(records: RecordSource, columns: Collection[str], *, as_texts: Iterable[str] = ()) -> RecordSource:
    """
    Return *records* with the texts of *columns* read as numbers, where a property is one: 2.00 is 2.

    NaN and the infinities are no texts: a record with one of them in a column of *as_texts* has an error.
    """
    number, numbers = records.number or records.cell, records.numbers or records.cells

    def write_whole(text: str) -> str:
        return f"regexp_replace({text}, '^(-?[0-9]+)[.]0+$', '\\1')"

    def each_whole(column: str, separator: str) -> str:
        return f"list_transform({numbers(column, separator)}, lambda x: {write_whole('x')})"

    def has_no_digits(column: str) -> str:
        members = records.cells(column, ";")
        return f"len(list_filter({members}, lambda x: regexp_full_match(x, '-?(?:NaN|Infinity)'))) > 0"

    unsayable = [f"WHEN {has_no_digits(name)} THEN 'not-a-number'" for name in as_texts if name in columns]
    return replace(
        records,
        error=f"coalesce({records.error}, CASE {' '.join(unsayable)} END)" if unsayable else records.error,
        number=lambda column: write_whole(number(column)) if column in columns else number(column),
        numbers=lambda column, separator: (each_whole if column in columns else numbers)(column, separator),
    )


def compose_record(cells: Mapping[str, str]) -> str:
    """Return the expression of a record as JSON text, from the expressions of its *cells*."""
    return f"json_object({', '.join(f'{quote_text(name)}, {cell}' for name, cell in cells.items())})::VARCHAR"
