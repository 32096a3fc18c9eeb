"""Where the rows of one plain file stand, as text: what every format comes down to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connrunner.profiles.sql_fragments import quote_text


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordSource:
    """
    One relation whose rows are the file's records, in their order.

    *cell* returns the expression of a column's text, or of its list of texts (with a separator for formats that have
    no lists). *present* tells whether the record says anything about the column, be it that it is empty. *flaw* is the
    expression of what is wrong with the record as a whole, as a code, or NULL. *whole* is the expression of the record
    as JSON text: an object with a member for each column, or a text when it is no such thing.
    """

    relation: str
    cell: Callable[[str], str]
    cells: Callable[[str, str], str]
    present: Callable[[str], str]
    flaw: str
    whole: str
    about: int  # how many rows there are, roughly
    first_line: int = 1  # how the first record is called in rejects: a header is line 1
    nul: bool = True  # a text may contain NUL


def compose_record(cells: Mapping[str, str]) -> str:
    """Return the expression of a record as JSON text, from the expressions of its *cells*."""
    return f"json_object({', '.join(f'{quote_text(name)}, {cell}' for name, cell in cells.items())})::VARCHAR"
