"""
JSON lines: one object a line, its members as text.

DuckDB reads them in parallel as long as it can do so exactly. It makes floats of numbers with a fraction, takes the
first of two members with one name, and has its own ideas of what is JSON. A file in which that matters is rewritten by
Python first: there a number keeps its spelling, and of two members the last one counts, as ECMA-262 has it. Blank lines
are no records; a carriage return is a blank wherever a line feed ends the lines (RFC 8259, section 2).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from connrunner.errors import RunError
from connrunner.profiles.readers.normalize import NormalizedFile, find_decoding_error
from connrunner.profiles.readers.record_source import NO_RECORD, READ_AGAIN, RecordSource
from connrunner.profiles.readers.survey import count_filled_lines
from connrunner.profiles.sql_fragments import any_of, quote_text, quote_texts
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.text.exact_json import decode_exactly, encode_exactly, write_digits
from connrunner.text.nesting import MAX_DEPTH, TooDeepError, parse_json

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
    """Return where DuckDB reads the records of *file* itself; where it cannot do so, `copy_records` reads them."""
    names = list(dict.fromkeys(wanted))
    place = {name: f"texts[{position}]" for position, name in enumerate(names, 1)}
    pointer = {name: pointer_to(name) for name in names}
    objects = any_of(f"contains(coalesce({place[name]}, ''), '{{')" for name in names)
    blank, usual = r"[ \t\r]*", _read_usual_names(file.path)
    return RecordSource(
        relation=make_relation(file.path, pointer.values()),
        cell=place.__getitem__,
        cells=lambda name, separator: (
            f"""CASE json_type(record, {quote_text(pointer[name])})
            WHEN 'ARRAY' THEN json_extract_string({place[name]}, '$[*]')
            WHEN 'VARCHAR' THEN string_split({place[name]}, {quote_text(separator)}) ELSE [{place[name]}] END"""
        ),
        present=lambda name: f"json_type(record, {quote_text(pointer[name])}) IS NOT NULL",
        error=f"""CASE WHEN {_is_plain(usual)} THEN NULL
            WHEN regexp_full_match(line, {quote_text(blank)}) THEN {quote_text(NO_RECORD)}
            WHEN record IS NULL OR json_type(record) <> 'OBJECT' THEN 'bad-json'
            WHEN {_INEXACT} OR {_repeats_name(usual)} OR ({_COUNT_BRACES} > 1 AND ({objects}))
                THEN {quote_text(READ_AGAIN)} END""",
        record="coalesce(record::VARCHAR, to_json(line)::VARCHAR)",
        about=about,
        nul=file.nul,
        is_whole=lambda count: count == file.survey.lines or count == count_filled_lines(file.path),
    )


# What DuckDB would read otherwise than it is written: numbers that it would spell otherwise or bend to a float, words
# that stand for numbers, a comma before an end, a name that is there twice, and too deep a nest.
_NUMBERS = (
    r"-?[0-9]+\.[0-9]*0",
    r"-?[0-9][0-9.]{15,}",
    r"-?[0-9.]+[eE][-+]?[0-9]+",
    r"-?0\.000[0-9]*",
    r"-0",
    r"[-+]?(?i:nan|inf(?:inity)?)",
)
_SUSPECT = r"[:\[,]\s*(?:" + "|".join(_NUMBERS) + r")\s*[,\]}]|,\s*[\]}]"
_INEXACT = f"""(regexp_matches(line, {quote_text(_SUSPECT)})
    OR strlen(line) - strlen(replace(replace(line, '[', ''), '{{', '')) > {MAX_DEPTH})"""
_COUNT_BRACES = "strlen(line) - strlen(replace(line, '{', ''))"


# What DuckDB reads as it is written, whatever the patterns above say of it: one look at a line instead of four.
_SPACE = r"[ \t\r]*"
_TEXT = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"'
_NUMBER = r"-?[1-9][0-9]{0,8}(?:\.[0-9]{0,4}[1-9])?|0"
_MEMBER = rf"{_SPACE}:{_SPACE}(?:{_TEXT}|{_NUMBER}|true|false|null){_SPACE}"
_PLAIN_NAME = re.compile(r'[^"\\\x00-\x1f]*')


def _is_plain(usual: Sequence[str]) -> str:
    """Return the condition that a line is an object of the *usual* members, in their order, with plain values."""
    if not usual or not all(map(_PLAIN_NAME.fullmatch, usual)):
        return "false"
    members = f",{_SPACE}".join(f'"{re.escape(name)}"{_MEMBER}' for name in usual)
    pattern = rf"{_SPACE}\{{{_SPACE}{members}\}}{_SPACE}"
    # DuckDB knows best what is JSON: half a pair of UTF-16 is none.
    return f"record IS NOT NULL AND regexp_full_match(line, {quote_text(pattern)})"


def _read_usual_names(path: Path) -> list[str]:
    """Return the names of the first record's members; most records have these, in its order."""
    with path.open("rb") as file:
        start = file.readline(LONGEST_LINE).removeprefix(codecs.BOM_UTF8)
    try:
        names = list(decode_exactly(start))
    except (TypeError, ValueError, RecursionError):
        names = []
    return names if all(isinstance(name, str) for name in names) else []


def _repeats_name(usual: Sequence[str]) -> str:
    """Return the condition that two members have one name; the *usual* ones do not."""
    keys = "json_keys(record)"
    return f"({keys} <> {quote_texts(usual)} AND len({keys}) <> len(list_distinct({keys})))"


def copy_records(file: NormalizedFile, wanted: Iterable[str], folder: Path) -> RecordSource:
    """Copy the records of *file* to *folder* with every number as it is spelt, and return where they are."""
    names = list(dict.fromkeys(wanted))
    path = choose_path(folder)
    count = 0
    try:
        with file.path.open("rb") as lines, open_private(path) as copy:
            for line in _read_lines(lines):
                if written := _write_record(line, names):
                    copy.write(written)
                    count += 1
    except UnicodeDecodeError as error:
        raise find_decoding_error(file.path, file.name) or error from None
    return _find_copied(path, names, count, nul=file.nul)


def copy_retained(records: Iterable[tuple[str | None, str]], wanted: Iterable[str], folder: Path) -> RecordSource:
    """Copy *records*, each the code of its error or None and its JSON text, as `copy_records` does those of a file."""
    names = list(dict.fromkeys(wanted))
    path = choose_path(folder)
    count = 0
    with open_private(path) as copy:
        for flaw, text in records:
            copy.write(_list_record(flaw, text.encode(), names, torn=text))
            count += 1
    return _find_copied(path, names, count, nul=True)


def _find_copied(path: Path, names: Sequence[str], count: int, *, nul: bool) -> RecordSource:
    # Error and record, then what `_list_member` returns of each member.
    place = {name: 3 + _PARTS * position for position, name in enumerate(names)}

    def spelling(name: str) -> str:
        return f"texts[{place[name] + 1}]"

    def digits(name: str) -> str:
        return f"coalesce(texts[{place[name] + 2}], {spelling(name)})"

    def split(name: str, separator: str, text: str, members: int) -> str:
        kind, listed = place[name], place[name] + members
        return f"""CASE texts[{kind}] WHEN 'list' THEN json_extract_string(texts[{listed}], '$[*]')
            WHEN 'text' THEN string_split({text}, {quote_text(separator)}) ELSE [{text}] END"""

    return RecordSource(
        relation=make_relation(path, [f"/{position}" for position in range(2 + _PARTS * len(names))]),
        cell=spelling,
        cells=lambda name, separator: split(name, separator, spelling(name), 3),
        number=digits,
        numbers=lambda name, separator: split(name, separator, digits(name), 4),
        present=lambda name: f"texts[{place[name]}] IS NOT NULL",
        error="texts[1]",
        record="texts[2]",
        about=count,
        nul=nul,
        is_whole=count.__eq__,
    )


def _read_lines(source: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of *source*; of one that is longer than any may be the beginning."""
    limit = LONGEST_LINE + 1
    while line := source.readline(limit):
        if len(line) == limit and not line.endswith(b"\n"):
            while (rest := source.readline(limit)) and not rest.endswith(b"\n"):
                pass
        yield line


def _write_record(line: bytes, names: Sequence[str]) -> bytes:
    """Return the line of the copy for *line* of a file; nothing for an empty one."""
    if len(line) > LONGEST_LINE:
        return _write_line(["too-long", '""'])
    if not (text := line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")):
        return b""
    if not text.strip(b" \t\r"):
        return _write_line([NO_RECORD, '""'])
    # What cannot be decoded is in another encoding as a whole: that is no matter of this line.
    return _list_record(None, text, names, torn=json.dumps(text.decode()))


def _list_record(flaw: str | None, text: bytes, names: Sequence[str], *, torn: str) -> bytes:
    """Return the line of the copy for the record *text*; *torn* is its JSON text when it is no record."""
    try:
        record = parse_json(text, decode_exactly)
        if not isinstance(record, dict):
            return _write_line([flaw or "bad-json", torn])
        members = chain.from_iterable(_list_member(record, name) for name in names)
        line = _write_line([flaw, encode_exactly(record), *members])
    except TooDeepError:
        return _write_line([flaw or "too-deep", '""'])
    except ValueError:  # no JSON, or half a pair of UTF-16, which no text has
        return _write_line([flaw or "bad-json", torn])
    return line if len(line) < LONGEST_LINE else _write_line([flaw or "too-long", '""'])


def _write_line(cells: Sequence[str | None]) -> bytes:
    return json.dumps(cells, ensure_ascii=False).encode() + b"\n"


_PARTS = 5


def _list_member(record: dict[str, Any], name: str) -> tuple[str | None, ...]:
    """
    Return kind, text and digits of the member *name*, and, when it is a list, the texts and the digits of its members.

    The kind is `text`, `list`, `other`, or None when there is no such member. The digits are the text with numbers
    written out, without exponent and without zeros behind the point, or None when that is no other text. The text of a
    list is its JSON; those of its members are a JSON list of texts, which no reader bends.
    """
    if name not in record:
        return (None,) * _PARTS
    value = record[name]
    if isinstance(value, list):
        texts = encode_exactly([_spell(member) for member in value])
        digits = encode_exactly([write_digits(member) or _spell(member) for member in value])
        return "list", encode_exactly(value), None, texts, digits
    return "text" if isinstance(value, str) else "other", _spell(value), write_digits(value), None, None


def _spell(value: Any) -> str | None:
    """Return the text of a JSON *value* as it is written, or None of null."""
    return value if value is None or isinstance(value, str) else encode_exactly(value)


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
