"""An answer with records, read as a stream: the records go to a file, and of the rest stays what is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from connrunner.connectors.http.data import ABSENT, ListOutline
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.json_stream import LONGEST_VALUE, JsonStream, JsonStreamError
from connrunner.text.nesting import MAX_DEPTH

MOST_RECORDS = 500_000  # of one answer, and of any other list in it
SHOWN = 9  # members of a mapping that are kept for a message about it
LONGEST_KEY = 100  # characters of them
LONGEST_INTEGER = 1000  # digits

_LINE_ENDS = str.maketrans("\n\r", "  ")


def _parse_integer(digits: str) -> int | str:
    """Python converts no number of more than 4,300 digits."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else digits


# A float would change the digits of a watermark.
_decode = json.JSONDecoder(parse_float=str, parse_int=_parse_integer, parse_constant=str).decode


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonAnswer:
    """An answer of which the list of records is in a file."""

    data: Any  # the answer, without most of what nobody asked for
    records: Any  # the number of records, or else what stands in the place of their list
    lines: Path

    def read_records(self) -> Iterator[Any]:
        """Yield each record, numbers with decimals as the text they were written in."""
        with self.lines.open("rb") as file:
            for line in file:
                yield _decode(line.decode())


class RecordCount(int):
    """How many records there are: no number in an answer is one."""


def read_json_answer(body: Path, lines: Path, rows: str, wanted: Sequence[str]) -> JsonAnswer:
    """Read the JSON in *body*, and write each item of its list at *rows* as a line into *lines*.

    *rows* and *wanted* are places as `look_up` takes them. JsonStreamError or UnicodeError when it is no JSON, or when
    there are too many records or a value is too large: never more than one record is in memory.
    """
    with body.open("rb") as file:
        encoding = json.detect_encoding(file.read(4))
    places = ["" if place == "." else place for place in wanted]
    with body.open(encoding=encoding, errors="surrogatepass", newline="") as text, lines.open("wb") as out:
        reader = _AnswerReader(JsonStream(text, most=MOST_RECORDS), out)
        data = reader.read_document("" if rows == "." else rows, places)
    return JsonAnswer(data=data, records=reader.found, lines=lines)


class _AnswerReader:
    def __init__(self, stream: JsonStream, lines: BinaryIO) -> None:
        self.found: Any = ABSENT
        self._stream = stream
        self._lines = lines

    def read_document(self, rows: str, wanted: Sequence[str]) -> Any:
        if not self._stream.next_character():  # no body says that there is nothing
            self.found = None
            return None
        data = self._read_value(rows, wanted, 0)
        if self._stream.next_character():
            raise JsonStreamError("something follows the end of the document")
        return data

    def _read_value(self, rows: str | None, wanted: Sequence[str], depth: int) -> Any:
        """Read the value that follows, *depth* levels below the document, and return what is asked for of it.

        *rows* and *wanted* are places within it, empty for the value itself; *rows* is None when the list is elsewhere.
        """
        stream = self._stream
        if rows is None and not wanted:
            stream.skip_value(deepest=MAX_DEPTH - depth)
            return None
        character = stream.next_character()
        if rows == "":
            if character == "[":
                return self._read_records(wanted, depth)
            self.found = self._decode_value(depth)
            return self.found
        if character == "{" and (rows is not None or "" not in wanted):
            return self._read_mapping(rows, wanted, depth)
        if character == "[" and (rows is not None or "" not in wanted):
            return self._read_list(rows, wanted, depth)
        return self._decode_value(depth)

    def _read_mapping(self, rows: str | None, wanted: Sequence[str], depth: int) -> dict[str, Any]:
        self._check_depth(depth)
        data: dict[str, Any] = {}
        has_whole = False
        for _ in self._stream.visit_members("}"):
            key = self._stream.read_key()
            inner = _inside(rows, key)
            if inner is not None and has_whole and key != rows:
                inner = None  # a key with dots goes before a way of several keys
            if inner is not None:
                has_whole = has_whole or key == rows
                self._begin()  # of two keys that are the same, the last one counts
            places = [place for place in (_inside(each, key) for each in wanted) if place is not None]
            value = self._read_value(inner, places, depth + 1)
            if inner is not None or places:
                data[key] = value
            elif len(data) < SHOWN:
                data[key[:LONGEST_KEY]] = value
        return data

    def _read_list(self, rows: str | None, wanted: Sequence[str], depth: int) -> ListOutline:
        self._check_depth(depth)
        data = ListOutline()
        for _ in self._stream.visit_members("]"):
            inner = _at(rows, data.count)
            places = [place for place in (_at(each, data.count) for each in wanted) if place is not None]
            if inner is None and not places:
                self._stream.read_value(deepest=MAX_DEPTH - depth - 1)
            else:
                data.items[data.count] = self._read_value(inner, places, depth + 1)
            data.count += 1
        return data

    def _read_records(self, wanted: Sequence[str], depth: int) -> ListOutline:
        self._check_depth(depth)
        self._begin()
        data = ListOutline()
        for _ in self._stream.visit_members("]"):
            text = self._stream.read_value(deepest=MAX_DEPTH - depth - 1)
            # As it is written: so no number loses a digit. Half of a pair of surrogates is in no encoding.
            line = text.translate(_LINE_ENDS).encode("utf-8", "backslashreplace")
            if len(line) > LONGEST_VALUE:
                raise JsonStreamError(f"a value that is longer than {LONGEST_VALUE:,} bytes", is_too_large=True)
            self._lines.write(line + b"\n")
            if wanted and any(_at(each, data.count) is not None for each in wanted):
                data.items[data.count] = _decode(text)
            data.count += 1
        self.found = RecordCount(data.count)
        return data

    def _begin(self) -> None:
        """Forget the list that was found before."""
        self.found = ABSENT
        self._lines.seek(0)
        self._lines.truncate()

    def _decode_value(self, depth: int) -> Any:
        return _decode(self._stream.read_value(deepest=MAX_DEPTH - depth))

    def _check_depth(self, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise JsonStreamError("values are nested too deeply")


def _inside(place: str | None, key: str) -> str | None:
    """Return where *place*, of a mapping, is within its member *key*; None when it is elsewhere."""
    if place is None or place == "":
        return None
    if place == key:
        return ""
    step, dot, rest = place.partition(".")
    return rest if dot and step == key else None


def _at(place: str | None, index: int) -> str | None:
    """Return where *place*, of a list, is within the item at *index*; None when it is elsewhere."""
    step, _, rest = (place or "").partition(".")
    return rest if step.isascii() and step.isdigit() and int(step) == index else None
