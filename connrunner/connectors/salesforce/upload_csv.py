"""
Rows as an upload of Bulk API 2.0 wants them, and which of them cannot be sent.

"Prepare CSV Files" and "Valid CSV Record Rows" of the Bulk API 2.0 guide: UTF-8, one line ending throughout, names of
fields as the header; an empty cell leaves its field alone and `#N/A` empties it; 100 MB for each upload, 32,000
characters for a cell, 400,000 for a record.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from connrunner.connectors.salesforce.description import ObjectField
from connrunner.core.model import DELETED_COLUMN
from connrunner.lazy_dataclasses import dataclass, field

CLEARED = "#N/A"
LONGEST_CELL = 32_000  # characters
LONGEST_RECORD = 400_000
LARGEST_ROW = 8 * LONGEST_RECORD  # bytes: 4 for a character, all of them quotes that are doubled
LARGEST_UPLOAD = 95_000_000  # bytes; 100 MB are allowed
_ENCODE_AT = 1 << 18  # characters of rows that are encoded at once
_BITS = 27  # of the map by which keys that may be doubles are found: 16 MB

Cells = list[str]
Check = Callable[[Cells], tuple[str, str] | None]
"""Tells why a row cannot be sent: a code and a sentence."""


class NumberedRow(NamedTuple):
    """A row of the file that is delivered."""

    number: int  # its place, from 0, the header not counted
    cells: Cells
    is_deleted: bool


@dataclass(kw_only=True, slots=True)
class Upload:
    """The content of one job: rows, their places in the file, and by what they are found in the results."""

    content: bytes
    numbers: list[int]
    keys: list[bytes] = field(repr=False)  # digests, in the order of the numbers
    deletes: bool = False  # records, by their ids


class RowFile:
    """The rows of an export, as the store wrote them: CSV with the names of the columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
        self._has_marks = header[-1:] == [DELETED_COLUMN]
        self.columns = header[:-1] if self._has_marks else header

    def rows(self, wanted: Collection[int] | None = None) -> Iterator[NumberedRow]:
        """Yield the rows in their order; only those at the *wanted* places."""
        with self._path.open(encoding="utf-8", newline="") as file:
            for number, cells in enumerate(islice(csv.reader(file), 1, None)):
                is_deleted = self._has_marks and cells.pop() == "true"
                if wanted is None or number in wanted:
                    yield NumberedRow(number, cells, is_deleted)

    def keys(self, place: int) -> Iterator[str]:
        """Yield the cell at *place* of each row."""
        with self._path.open(encoding="utf-8", newline="") as file:
            for cells in islice(csv.reader(file), 1, None):
                yield cells[place]


class UploadWriter:
    """Makes uploads of rows; *key_at* is the place of the cell that results are found by, None for the whole row."""

    def __init__(self, columns: Sequence[str], *, key_at: int | None, most_rows: int, cleared: Collection[int]) -> None:
        self._columns, self._key_at, self._most_rows = columns, key_at, most_rows
        self._cleared = tuple(sorted(cleared))
        self._begin()

    def _begin(self) -> None:
        self._text = io.StringIO()
        # With CR LF for the line ending, csv puts quotes around a cell with either of them, on every Python.
        self._write = csv.writer(self._text, lineterminator="\r\n").writerow
        self._chars = self._write(self._columns)
        self._parts: list[bytes] = []
        self._bytes = 0
        self._numbers: list[int] = []
        self._keys: list[bytes] = []

    def add(self, number: int, cells: Cells) -> Upload | None:
        """Take a row in; return the upload that was full before it, if it was."""
        for place in self._cleared:
            if not cells[place]:
                cells[place] = CLEARED
        full = None
        if self._numbers and (
            len(self._numbers) >= self._most_rows
            # A character takes 4 bytes at most.
            or self._bytes + 4 * self._chars > LARGEST_UPLOAD - LARGEST_ROW
        ):
            full = self.finish()
        self._chars += self._write(cells)
        self._numbers.append(number)
        self._keys.append(digest_key(cells, self._key_at))
        if self._chars >= _ENCODE_AT:
            self._encode()
        return full

    def finish(self) -> Upload | None:
        """Return what is not uploaded yet, and begin anew; None when that is nothing."""
        if not self._numbers:
            return None
        self._encode()
        made = Upload(content=b"".join(self._parts), numbers=self._numbers, keys=self._keys)
        self._begin()
        return made

    def _encode(self) -> None:
        part = self._text.getvalue().encode()
        self._parts.append(part)
        self._bytes += len(part)
        self._text.seek(0)
        self._text.truncate()
        self._chars = 0


def digest_key(cells: Sequence[str], key_at: int | None) -> bytes:
    """Return what a row is found by in the results: 16 bytes for its key, or for all of it."""
    text = "\0".join(cells) if key_at is None else cells[key_at]
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


# --- rows that cannot be sent ------------------------------------------------------------------------------------


def make_checks(columns: Sequence[str], fields: Mapping[str, ObjectField], *, key: str) -> list[Check]:
    """Return what each row must hold, beside what the partner alone can know."""
    checks: list[Check] = [_check_marks, _check_size]
    for place, column in enumerate(columns):
        one = fields[column]
        if column == key:
            checks.append(_check_key(place, column))
        if one.choices is not None and one.type in ("picklist", "multipicklist"):
            checks.append(_check_choice(place, column, one.choices, many=one.type == "multipicklist"))
        elif one.length and one.type in ("string", "textarea", "email", "phone", "url", "picklist", "encryptedstring"):
            checks.append(_check_length(place, column, one.length))
    return checks


def find_row_flaw(cells: Cells, checks: Sequence[Check]) -> tuple[str, str] | None:
    """Return the first reason why a row cannot be sent, or None."""
    for check in checks:
        if flaw := check(cells):
            return flaw
    return None


def _check_marks(cells: Cells) -> tuple[str, str] | None:
    if CLEARED in cells:
        return "cannot-send", f"a text is {CLEARED}, which means to Salesforce that the field is emptied"
    return None


def _check_size(cells: Cells) -> tuple[str, str] | None:
    total = sum(map(len, cells))
    if total > LONGEST_CELL and (total > LONGEST_RECORD or max(map(len, cells)) > LONGEST_CELL):
        return (
            "too-long",
            f"an upload takes {LONGEST_CELL:,} characters in a cell and {LONGEST_RECORD:,} in a row at most",
        )
    return None


def _check_key(place: int, column: str) -> Check:
    def check(cells: Cells) -> tuple[str, str] | None:
        return None if cells[place] else ("missing-key", f"{column} is empty, and records are found by it")

    return check


def _check_length(place: int, column: str, length: int) -> Check:
    def check(cells: Cells) -> tuple[str, str] | None:
        have = len(cells[place])
        return ("too-long", f"{column} takes {length:,} characters, and has {have:,}") if have > length else None

    return check


def _check_choice(place: int, column: str, choices: frozenset[str], *, many: bool) -> Check:
    known = {choice.casefold() for choice in choices}  # a value is found in any letters

    def check(cells: Cells) -> tuple[str, str] | None:
        value = cells[place]
        if not value or value.casefold() in known:
            return None
        if many and all(part.casefold() in known for part in value.split(";")):
            return None
        return "not-in-picklist", f"{column} takes the values of its picklist only, and this is not one of them"

    return check


def have_one_case(rows: RowFile, key_at: int) -> bool:
    """Return whether all keys are in small letters, or all in capitals: then two that differ are two to Salesforce."""
    is_small = is_capital = True
    for key in rows.keys(key_at):
        is_small = is_small and key == key.casefold()
        is_capital = is_capital and key == key.upper()
        if not is_small and not is_capital:
            return False
    return True


def find_doubles(rows: RowFile, key_at: int) -> dict[int, str]:
    """Return the rows whose key is that of another one in all but capitals: Salesforce takes both for one record.

    Memory does not grow with the rows: a map of bits leads to the few keys that have to be compared.
    """
    bits = bytearray(1 << _BITS - 3)
    suspects: set[bytes] = set()
    for row in rows.rows():
        key = row.cells[key_at]
        if not key:
            continue
        digest = _fold(key)
        place = int.from_bytes(digest[:4]) >> 32 - _BITS
        if bits[place >> 3] >> (place & 7) & 1:
            suspects.add(digest[:4])
        bits[place >> 3] |= 1 << (place & 7)
    if not suspects:
        return {}
    marked = {int.from_bytes(one) >> 32 - _BITS for one in suspects}
    groups: dict[bytes, list[int]] = {}
    for row in rows.rows():
        digest = _fold(row.cells[key_at])
        if row.cells[key_at] and int.from_bytes(digest[:4]) >> 32 - _BITS in marked:
            groups.setdefault(digest, []).append(row.number)
    message = "another row has the same external id but for capitals, and Salesforce takes both for one record"
    return {number: message for numbers in groups.values() if len(numbers) > 1 for number in numbers}


def _fold(key: str) -> bytes:
    return blake2b(key.casefold().encode("utf-8", "surrogatepass"), digest_size=16).digest()
