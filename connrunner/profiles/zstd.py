"""
Files packed with Zstandard: their bytes, as DuckDB unpacks them.

DuckDB hands over lines of text, not bytes, and takes a file that was cut off for a whole one. So the frames of the file
are looked at first (RFC 8878, 3.1: each part says how long it is), and its lines are read in the ways that lose
nothing: as UTF-8 or Latin-1, and with line feeds alone, or nothing but pairs of carriage return and line feed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import duckdb

from connrunner.profiles import sql

MAGIC = b"\x28\xb5\x2f\xfd"
LONGEST_LINE = 16_000_000  # bytes
LINES = 10_000  # that are fetched at a time
_ONE_BYTE_BLOCK, _RESERVED_BLOCK = 1, 3


class BadFrames(Exception):  # noqa: N818 - told in words by whoever catches it
    """The file is not a sequence of whole frames."""


class OtherLines(Exception):  # noqa: N818
    """The file does not consist of such lines as were asked for."""


WAYS = [(encoding, pairs) for encoding in ("utf-8", "latin-1") for pairs in (False, True)]
"""All that can be asked for: how signs are stored, and whether lines end in pairs of carriage return and line feed."""


def lines(source: Path, encoding: str, *, pairs: bool) -> Iterator[bytes]:
    """
    Yield the unpacked bytes of the file, without the mark that UTF-8 may begin with, and with a line end at the end.

    BadFrames or duckdb.IOException when the file is damaged; OtherLines, perhaps after a part of it was yielded.
    """
    with source.open("rb") as file:
        _check_frames(file, source.stat().st_size)
    # Without strict mode DuckDB ends a line at each carriage return and each line feed, so that an empty line stands
    # between the two signs of a pair. Empty lines are kept where there is one column; so what delimits columns is no
    # character (U+FFFF).
    query = f"""SELECT coalesce(line, '') FROM read_csv({sql.text(str(source))}, auto_detect = false, header = false,
        compression = 'zstd', encoding = '{encoding}', delim = '\uffff', quote = '', escape = '', nullstr = '',
        new_line = '\\n', strict_mode = {not pairs}, parallel = false, max_line_size = {LONGEST_LINE},
        columns = {{line: 'VARCHAR'}})"""
    with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "512MB"}) as connection:
        try:
            cursor = connection.execute(query)
            while rows := cursor.fetchmany(2 * LINES):
                found = [line for (line,) in rows]
                if pairs:
                    if any(found[1::2]):
                        raise OtherLines
                    found = [line + "\r" for line in found[::2]]
                yield "\n".join([*found, ""]).encode(encoding)
        except duckdb.InvalidInputException:
            raise OtherLines from None


def _check_frames(file: BinaryIO, size: int) -> None:
    """BadFrames unless the file holds whole frames and nothing else; what is packed in them is not looked at."""
    while file.tell() < size:
        if _read(file, 4) != MAGIC:
            raise BadFrames("it holds something else than Zstandard frames")
        described = _read(file, 1)[0]
        has_window, has_checksum = not described >> 5 & 1, described >> 2 & 1
        length = (0, 2, 4, 8)[described >> 6] or (not has_window)
        _read(file, has_window + (0, 1, 2, 4)[described & 3] + length)
        is_last = 0
        while not is_last:
            header = int.from_bytes(_read(file, 3), "little")
            is_last, kind = header & 1, header >> 1 & 3
            if kind == _RESERVED_BLOCK:
                raise BadFrames("it holds a block of an unknown kind")
            file.seek(1 if kind == _ONE_BYTE_BLOCK else header >> 3, 1)
            if file.tell() > size:
                raise BadFrames("it ends within a block")
        _read(file, 4 * has_checksum)


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise BadFrames("it ends within a frame")
    return data
