"""
JSON lines: one object a line, its members as text.

A number with a fraction is a float of 64 bits, as to most programs; more than 15 digits are safe in quotes only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from connrunner.errors import RunError
from connrunner.profiles.readers.normalize import NormalizedFile
from connrunner.profiles.readers.record_source import RecordSource
from connrunner.profiles.sql_fragments import quote_text, quote_texts

LONGEST_LINE = 16_000_000  # bytes


def check_start(file: NormalizedFile) -> None:
    """RunError when the file is one JSON list, the common mistake."""
    with file.path.open("rb") as opened:
        start = opened.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"["):
        raise RunError(
            f"{file.name} is one JSON list, not an object on each line",
            hint="set `format: {type: json}`",
            code="wrong-format",
        )


def find_records(file: NormalizedFile, wanted: Iterable[str], *, about: int) -> RecordSource:
    """Return the records of *file*."""
    names = list(dict.fromkeys(wanted))
    place = {name: f"texts[{position}]" for position, name in enumerate(names, 1)}
    pointer = {name: pointer_to(name) for name in names}
    return RecordSource(
        relation=make_relation(file.path, pointer.values()),
        cell=lambda name: _format_cell(place[name], pointer[name]),
        cells=lambda name, _: (
            f"""CASE WHEN json_type(record, {quote_text(pointer[name])}) = 'ARRAY'
            THEN json_extract_string({place[name]}, '$[*]') ELSE [{place[name]}] END"""
        ),
        present=lambda name: f"json_type(record, {quote_text(pointer[name])}) IS NOT NULL",
        error="CASE WHEN record IS NULL OR json_type(record) <> 'OBJECT' THEN 'bad-json' END",
        record="coalesce(record::VARCHAR, to_json(line)::VARCHAR)",
        about=about,
        nul=file.nul,
    )


def _format_cell(text: str, pointer: str) -> str:
    """Return the expression of a cell's *text*; DuckDB prints small and large floats with an exponent."""
    is_float = (
        f"regexp_full_match({text}, '-?[0-9.]+e[+-]?[0-9]+') AND json_type(record, {quote_text(pointer)}) = 'DOUBLE'"
    )
    digits = f"try_cast(try_cast({text} AS DOUBLE) AS DECIMAL(38,9))::VARCHAR"
    return f"CASE WHEN {is_float} THEN coalesce({digits}, {text}) ELSE {text} END"


def pointer_to(name: str) -> str:
    """Return the JSON pointer of the member *name* (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def make_relation(path: Path, pointers: Iterable[str]) -> str:
    """
    Return the relation of the file's lines: `line`, `record` (JSON, NULL where it is none) and `texts` at *pointers*.

    The lines are read as a CSV of one column, which keeps the place of each: a JSON reader drops lines that it cannot
    read. A control character cannot occur within sound JSON, so that one serves as a delimiter that never occurs.
    """
    return f"""(SELECT line, record, json_extract_string(record, {quote_texts(pointers)}) AS texts
        FROM (SELECT line, CASE WHEN more IS NULL THEN try_cast(line AS JSON) END AS record
            FROM read_csv({quote_text(str(path))}, auto_detect = false, header = false, delim = {quote_text(chr(1))},
            quote = '', escape = '', strict_mode = true, null_padding = true, max_line_size = {LONGEST_LINE},
            columns = {{line: 'VARCHAR', more: 'VARCHAR'}})))"""
