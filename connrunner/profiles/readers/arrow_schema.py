"""
Which columns of a Parquet file are durations: Parquet has no such type, so pyarrow and pandas say it beside the data.

They keep the Arrow schema of the table in the file's metadata, under `ARROW:schema`: base64 of an IPC message, a
FlatBuffer (format/Message.fbs and format/Schema.fbs of Apache Arrow). Only what is needed of it is read here.
"""

from __future__ import annotations

import base64
import struct

from connrunner.lazy_dataclasses import dataclass

KEY = b"ARROW:schema"
MOST_FIELDS = 100_000
DEEPEST = 64

_SCHEMA, _DURATION = 1, 18  # of the unions MessageHeader and Type
_UNITS = ("s", "ms", "us", "ns")  # of the enumeration TimeUnit


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrowField:
    """A field of an Arrow schema; lists, structs and maps have further ones."""

    duration: str = ""  # the unit when it is a duration: s, ms, us or ns
    children: tuple[ArrowField, ...] = ()


def parse_fields(value: bytes) -> tuple[ArrowField, ...]:
    """Return the fields of the schema in *value*, in their order; nothing when it cannot be read."""
    try:
        data = base64.b64decode(value, validate=True)
        start = 8 if data[:4] == b"\xff\xff\xff\xff" else 4  # before Arrow 0.15 the length stood alone
        message = _Table(data, start + _number(data, "<I", start))
        if message.number(1, "<B", 0) != _SCHEMA:
            return ()
        fields = [0]
        return tuple(_field(each, 0, fields) for each in message.table(2).tables(1))
    except (ValueError, struct.error):  # binascii.Error is a ValueError
        return ()


def _field(table: _Table, depth: int, fields: list[int]) -> ArrowField:
    fields[0] += 1
    if depth > DEEPEST or fields[0] > MOST_FIELDS:
        raise ValueError("the schema has no end")
    is_duration = table.number(2, "<B", 0) == _DURATION
    unit = table.table(3).number(0, "<h", 1) if is_duration else 0
    if not 0 <= unit < len(_UNITS):
        raise ValueError("there is no such unit")
    children = tuple(_field(each, depth + 1, fields) for each in table.tables(5))
    return ArrowField(duration=_UNITS[unit] if is_duration else "", children=children)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a FlatBuffer: where each of its fields stands is said by its vtable."""

    data: bytes
    at: int

    def place(self, field: int) -> int:
        """Return where the value of *field* is, 0 when it has its default."""
        vtable = self.at - _number(self.data, "<i", self.at)
        if 4 + 2 * field >= _number(self.data, "<H", vtable):
            return 0
        offset = _number(self.data, "<H", vtable + 4 + 2 * field)
        return self.at + offset if offset else 0

    def number(self, field: int, kind: str, default: int) -> int:
        place = self.place(field)
        return _number(self.data, kind, place) if place else default

    def table(self, field: int) -> _Table:
        place = self.place(field)
        if not place:
            raise ValueError("a part of the schema is missing")
        return _Table(self.data, place + _number(self.data, "<I", place))

    def tables(self, field: int) -> list[_Table]:
        place = self.place(field)
        if not place:
            return []
        vector = place + _number(self.data, "<I", place)
        count = _number(self.data, "<I", vector)
        if count > MOST_FIELDS:
            raise ValueError("the schema has no end")
        places = range(vector + 4, vector + 4 + 4 * count, 4)
        return [_Table(self.data, each + _number(self.data, "<I", each)) for each in places]


def _number(data: bytes, kind: str, at: int) -> int:
    if at < 0:
        raise ValueError("an offset leads out of the schema")
    return int(struct.unpack_from(kind, data, at)[0])
