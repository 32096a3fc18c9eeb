"""What a text file holds besides its records: one pass over its bytes, before any reader takes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from connrunner.core.model import Format
from connrunner.lazy_dataclasses import dataclass

CHUNK = 1 << 18
LONGEST_BLOCK = 128  # chunks that are looked at together when no line ends in sight: more than any record may have


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What the bytes of a text say."""

    lines: int = 0  # line feeds, and one more when the last line has none
    nul: bool = False  # NUL occurs, as such or escaped
    quotes: bool = False  # the quote character occurs
    spaced_quotes: bool = (
        False  # blanks stand between a quote and the end of its cell, or another: readers differ there
    )
    empty_records: bool = False  # some line holds delimiters, quotes and blanks only


def survey_text(path: Path, form: Format) -> Survey:
    """Return what the text in UTF-8 at *path* holds. Searching for a few bytes costs next to nothing."""
    return survey_blocks(_read_blocks(path), form)


def survey_blocks(blocks: Iterable[bytes], form: Format) -> Survey:
    """Return what a text in UTF-8 holds, whose *blocks* end where lines end."""
    nul, is_near = (b"\0", b"\0") if form.type == "csv" else (b"\\u0000", b"\\")
    quote, delimiter = (form.quote.encode(), form.delimiter.encode()) if form.type == "csv" else (b"", b"")
    cells = _compile_patterns(quote, delimiter) if delimiter else None
    lines, found = 0, {"nul": False, "quotes": False, "spaced_quotes": False, "empty_records": False}
    last = b"\n"
    for block in blocks:
        lines += block.count(b"\n")
        last = block[-1:]
        found["nul"] = found["nul"] or (is_near in block and nul in block)
        if cells:
            found["quotes"] = found["quotes"] or (bool(quote) and quote in block)
            found["spaced_quotes"] = found["spaced_quotes"] or (bool(quote) and cells.has_spaced_quote(block))
            found["empty_records"] = found["empty_records"] or cells.has_empty_record(block)
    return Survey(lines=lines + (last != b"\n"), **found)


def count_filled_lines(path: Path) -> int:
    """Return how many lines of the text hold anything; LF, CRLF and CR end a line."""
    count, open_line = 0, False
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            parts = chunk.replace(b"\r", b"\n").split(b"\n")
            filled = sum(map(bool, parts))
            # The first part goes on with the line that the chunk before left open.
            count += filled - (open_line and bool(parts[0]))
            open_line = bool(parts[-1]) or (len(parts) == 1 and open_line)
    return count


class _CellPatterns:
    """Finds records of nothing, and quotes that do not stand where a cell begins or ends."""

    def __init__(self, quote: bytes, delimiter: bytes) -> None:
        blanks = [blank for blank in (b" ", b"\t", b"\x0b", b"\x0c") if blank != delimiter]
        blank = rb"[" + b"".join(map(re.escape, blanks)) + rb"]"
        inside = blank[:-1] + rb"\r\n]"  # of quotes
        cell_end, cell_begin = (
            rb"(?:" + re.escape(delimiter) + rb"|[\r\n]|\Z)",
            rb"(?:" + re.escape(delimiter) + rb"|[\r\n]|\A)",
        )
        mark = re.escape(quote)
        nothing = (
            rb"(?:"
            + (mark + inside + rb"*+" + mark + rb"|" if quote else b"")
            + re.escape(delimiter)
            + rb"|"
            + blank
            + rb")"
        )
        self._empty = re.compile(rb"(?:[\r\n]|\A)" + nothing + rb"++(?=[\r\n]|\Z)")
        self._spaced = re.compile(
            cell_begin + blank + rb"++" + mark + rb"|" + mark + blank + rb"++(?:" + mark + rb"|" + cell_end + rb")"
        )
        start = rb"(?:" + re.escape(delimiter) + rb"|" + blank
        start += (rb"|" + mark + rb"(?:" + mark + rb"|" + inside + rb"))") if quote else rb")"
        self._begins, self._begins_after_lf, self._begins_after_cr = (
            re.compile(end + start) for end in (rb"", rb"\n", rb"\r")
        )
        self._quote, self._blanks = quote, blanks

    # Looking for one byte costs nothing, for a pattern that begins with a fixed one little, for two bytes twice that.
    # The costly patterns are looked for only where these are found.

    def has_spaced_quote(self, block: bytes) -> bool:
        if self._quote not in block:
            return False
        near = (
            self._quote + blank in block or blank + self._quote in block for blank in self._blanks if blank in block
        )
        return any(near) and bool(self._spaced.search(block))

    def has_empty_record(self, block: bytes) -> bool:
        ends = ((b"\n", self._begins_after_lf), (b"\r", self._begins_after_cr))
        begins = bool(self._begins.match(block)) or any(end in block and after.search(block) for end, after in ends)
        return begins and bool(self._empty.search(block))


_compile_patterns = lru_cache(maxsize=8)(_CellPatterns)


def _read_blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of the file in pieces that end where a line ends, as far as that is in sight."""
    rest: list[bytes] = []
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            end = chunk.rfind(b"\n") + 1
            if not end and len(rest) < LONGEST_BLOCK:
                rest.append(chunk)
                continue
            end = end or len(chunk)
            yield b"".join((*rest, chunk[:end]))
            rest = [chunk[end:]] if end < len(chunk) else []
    if rest:
        yield b"".join(rest)
