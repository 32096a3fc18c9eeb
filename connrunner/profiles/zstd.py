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

from connrunner.profiles.sql_fragments import quote_text

MAGIC = b"\x28\xb5\x2f\xfd"
LONGEST_LINE = 16_000_000  # bytes
LINES = 20_000  # that are fetched at a time: an even number, so that pairs of them stay together
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
        told = _size(file, source.stat().st_size)
    count = 0
    # Without strict mode DuckDB ends a line at each carriage return and each line feed, so that an empty line stands
    # between the two signs of a pair. Empty lines are kept where there is one column; so what delimits columns is no
    # character (U+FFFF).
    query = f"""SELECT coalesce(line, '') FROM read_csv({quote_text(str(source))}, auto_detect = false, header = false,
        compression = 'zstd', encoding = '{encoding}', delim = '\uffff', quote = '', escape = '', nullstr = '',
        new_line = '\\n', strict_mode = {not pairs}, parallel = false, max_line_size = {LONGEST_LINE},
        buffer_size = {2 * LONGEST_LINE},
        columns = {{line: 'VARCHAR'}})"""
    with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "512MB"}) as connection:
        try:
            cursor = connection.execute(query)
            while rows := cursor.fetchmany(LINES):
                found = [line for (line,) in rows]
                if pairs:
                    if any(found[1::2]):
                        raise OtherLines
                    found = [line + "\r" for line in found[::2]]
                chunk = "\n".join([*found, ""]).encode(encoding)
                count += len(chunk)
                yield chunk
        except duckdb.InvalidInputException:
            raise OtherLines from None
    # A mark of UTF-8 has three bytes, and a line end two at most.
    if told is not None and not told - 3 <= count <= told + 2:
        raise OtherLines


def _size(file: BinaryIO, size: int) -> int | None:
    """
    Return how many bytes the file unpacks to, if it tells.

    BadFrames unless it holds whole frames and nothing else; what is packed in them is not looked at.
    """
    told: int | None = 0
    while file.tell() < size:
        if _read(file, 4) != MAGIC:
            raise BadFrames("it holds something else than Zstandard frames")
        described = _read(file, 1)[0]
        is_single, has_checksum = described >> 5 & 1, described >> 2 & 1
        length = (is_single, 2, 4, 8)[described >> 6]
        _read(file, (not is_single) + (0, 1, 2, 4)[described & 3])
        content = int.from_bytes(_read(file, length), "little") + (256 if length == 2 else 0)
        told = None if told is None or not length else told + content
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
    return told


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise BadFrames("it ends within a frame")
    return data
