"""
Profiles become a file: CSV, JSON lines, one JSON document (a list) or Parquet.

CSV and JSON hold each value in its one text form (dates and times in RFC 3339, UTC; decimals without idle zeros), but
JSON holds numbers (decimals with every digit they have, and no idle zeros) and booleans as such. A `many` property is
its values with a semicolon between them in CSV, a list elsewhere. What is empty is an empty cell in CSV, null
elsewhere. Parquet holds the types themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from connrunner.core.model import Format, Property, PropertyType
from connrunner.errors import RunError
from connrunner.profiles import values
from connrunner.profiles.exporting import formulas, transcode
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_name, quote_text
from connrunner.profiles.temporary_files import choose_path, open_private, placing
from connrunner.profiles.text_encoding import find_codec

SEPARATOR = ";"  # between the values of a `many` property in a CSV cell
_BETWEEN = "which stands between the values of a cell"
_WITHOUT_QUOTES = "and `format` says that there are no quotes around it"
_NUMBERS = (PropertyType.INTEGER, PropertyType.DECIMAL, PropertyType.BOOLEAN)

_Compression = Literal["none", "gzip", "zstd"]
_SUFFIXES: dict[str, _Compression] = {".gz": "gzip", ".zst": "zstd"}


def resolve_columns(session: StoreSession, wanted: Mapping[str, str]) -> dict[str, tuple[Property, str]]:
    """Return property and expression (over `profiles p`) of each *wanted* column. RunError for those that cannot be."""
    found: dict[str, tuple[Property, str]] = {}
    for column, name in wanted.items():
        if name not in session.layout.properties:
            raise RunError(
                f"column {column!r} is to hold the property {name!r}, which profile.yaml does not declare",
                hint="declare it there, or name another",
                code="mapping",
            )
        found[column] = (session.layout.properties[name], session.layout.value(name))
    _check_distinct(list(found))
    return found


def check_writable(form: Format) -> None:
    """RunError when no file can be written as *form* says."""
    if form.type == "excel":
        raise RunError(
            "Excel workbooks are read, but not written",
            hint="set `format: {type: csv, for: spreadsheet}`, which Excel opens",
            code="unwritable-format",
        )
    if form.type != "csv":
        return
    find_codec(form.encoding)
    for name, character in (("delimiter", form.delimiter), ("quote", form.quote)):
        if character and not character.isascii():
            raise RunError(
                f"the `{name}` {character!r} cannot be written: it is no ASCII character",
                hint='choose another one, like ";"',
                code="unwritable-format",
            )


def find_unwritable(
    session: StoreSession, form: Format, wanted: Mapping[str, tuple[Property, str]], source: str
) -> str:
    """
    Return the expression of why no file of the *form* can hold a row of *source* as it is, or NULL when one can.

    In a cell of CSV a set is its values with a semicolon between them, so none of them can hold one; without quotes no
    value can hold a delimiter or a line break; and an encoding may lack a character of a *wanted* column.
    """
    if form.type != "csv":
        return "NULL"
    cases = [
        (f"contains(array_to_string({value}, ''), {quote_text(SEPARATOR)})", column, "a semicolon", _BETWEEN)
        for column, (owner, value) in wanted.items()
        if owner.many and owner.type in (PropertyType.TEXT, PropertyType.EMAIL)
    ]
    cells = {column: _cell(form, *one) for column, one in wanted.items()}
    if not form.quote:
        cases += [
            (f"contains({cell}, {quote_text(character)})", column, called, _WITHOUT_QUOTES)
            for column, cell in cells.items()
            for called, character in _list_unquotable(form).items()
        ]
    if lacking := _find_lacking(session, form, cells, source):
        why = f"which {form.encoding} does not have"
        cases += [
            (f"regexp_matches({cell}, {quote_text(lacking)})", column, "a character", why)
            for column, cell in cells.items()
        ]
    told = (
        f"WHEN {test} THEN {quote_text(f'a value of {column!r} holds {called}, {why}')}"
        for test, column, called, why in cases
    )
    return f"CASE {' '.join(told)} END" if cases else "NULL"


def write_rows(
    session: StoreSession,
    path: Path,
    form: Format,
    wanted: Mapping[str, tuple[Property, str]],
    source: str,
    on_progress: Callable[[float], None],
) -> None:
    """
    Write the *wanted* columns of *source* (what follows `FROM`) to the new file *path*, for its owner only.

    *on_progress* is called meanwhile with the part (0 to 1) that is done.
    """
    check_writable(form)
    compression = choose_compression(form, path)
    names = [_header(session, form, name) for name in wanted]
    _check_distinct(names)
    cells = {name: _cell(form, *one) for name, one in zip(names, wanted.values(), strict=True)}
    if form.type == "csv" and not form.quote:
        _check_unquoted(session, form, cells, source)
    elif form.type == "csv" and len(cells) == 1:
        # An empty line is no record to most readers; an empty text in quotes is one.
        cells = {name: f"coalesce({cell}, '')" for name, cell in cells.items()}
    recoded = form.type == "csv" and find_codec(form.encoding) != "utf-8"
    options = _options(form, compression="none" if recoded else compression, as_lines=_has_decimals(form, wanted))
    if _has_decimals(form, wanted):
        kinds = {name: owner for name, (owner, _) in zip(names, wanted.values(), strict=True)}
        selected = " || ".join(_json_line(cells, kinds))
    else:
        selected = ", ".join(f"{cell} AS {quote_name(name)}" for name, cell in cells.items())
    with placing(session.temp, path) as target:
        written = choose_path(session.temp) if recoded else target
        open_private(written).close()
        session.execute_watched(
            f"COPY (SELECT {selected} FROM {source}) TO {quote_text(str(written))} ({options})", on_progress
        )
        if recoded:
            transcode.transcode(written, target, form, compression)
            written.unlink()


def choose_compression(form: Format, path: Path) -> _Compression:
    """Return how a file at *path* is compressed: as *form* says, else by the end of its name."""
    return _SUFFIXES.get(path.suffix.lower(), "none") if form.compression == "auto" else form.compression


def _has_decimals(form: Format, wanted: Mapping[str, tuple[Property, str]]) -> bool:
    """True for JSON whose lines we compose: DuckDB writes decimals with all places, or as doubles with 17 digits."""
    return form.type in ("jsonl", "json") and any(owner.type is PropertyType.DECIMAL for owner, _ in wanted.values())


def _json_line(cells: Mapping[str, str], owners: Mapping[str, Property]) -> Iterator[str]:
    """Yield the expressions that make one JSON object of *cells*, one behind the other."""
    start = "{"
    for name, cell in cells.items():
        yield quote_text(f"{start}{json.dumps(name, ensure_ascii=False)}:")
        yield f"coalesce({_json_value(owners[name], cell)}, 'null')"
        start = ","
    yield "'}'"


def _json_value(owner: Property, cell: str) -> str:
    if owner.type is not PropertyType.DECIMAL:
        return f"to_json({cell})::VARCHAR"
    text = values.format_joined(owner, cell, ",")
    return f"'[' || {text} || ']'" if owner.many else text


def _options(form: Format, *, compression: _Compression, as_lines: bool) -> str:
    """Return the options of COPY; *as_lines* says that its rows are lines of JSON already."""
    if form.type == "parquet":  # which compresses its columns itself; level 1 is as small as the usual 3, and faster
        inside = "gzip" if form.compression == "gzip" else "zstd, COMPRESSION_LEVEL 1"
        return f"FORMAT parquet, USE_TMP_FILE false, COMPRESSION {inside}"
    common = f"USE_TMP_FILE false, COMPRESSION {compression}"
    if as_lines:
        around = r"PREFIX E'[\n\t', SUFFIX E'\n]\n', NEW_LINE E',\n\t', " if form.type == "json" else ""
        return rf"FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER E'\n', {around}{common}"
    if form.type in ("jsonl", "json"):
        return f"FORMAT json, ARRAY {form.type == 'json'}, {common}"
    return f"""FORMAT csv, HEADER {form.header}, DELIMITER {quote_text(form.delimiter)}, QUOTE {quote_text(form.quote)},
        ESCAPE {quote_text(form.quote)}, NULLSTR '', {common}"""


def _check_distinct(names: list[str]) -> None:
    lower = [name.lower() for name in names]
    for name in names:
        if lower.count(name.lower()) > 1:
            raise RunError(
                f"two columns are called {name!r} but for capitals",
                hint="rename one of them: DuckDB writes no such files",
                code="mapping",
            )


def _header(session: StoreSession, form: Format, name: str) -> str:
    if form.type != "csv" or not form.spreadsheet:
        return name
    return str(session.one(f"SELECT {formulas.escape_formula(PropertyType.TEXT, quote_text(name))}"))


def _cell(form: Format, owner: Property, value: str) -> str:
    if form.type == "parquet":
        return value
    if form.type != "csv" and owner.type in _NUMBERS:
        return value
    if form.type != "csv":
        return values.format_each(owner, value)
    cell = values.format_joined(owner, value, SEPARATOR)
    return formulas.escape_formula(owner.type, cell) if form.spreadsheet else cell


def _list_unquotable(form: Format) -> dict[str, str]:
    """Return what no value can hold where no quotes keep it together, by what people call it."""
    return {"the delimiter": form.delimiter, "a line break": "\n", "a carriage return": "\r"}


def _find_lacking(session: StoreSession, form: Format, cells: Mapping[str, str], source: str) -> str:
    """Return the pattern of the characters of *cells* that the encoding of *form* does not have; empty without any."""
    codec = find_codec(form.encoding)
    if codec.startswith("utf"):
        return ""
    texts = ", ".join(cells.values())
    found = session.execute(
        rf"SELECT DISTINCT unnest(regexp_extract_all(concat({texts}), '[^\x00-\x7f]')) FROM {source}"
    ).fetchall()
    lacking = [character for (character,) in found if not _has_character(codec, character)]
    codes = "".join(rf"\x{{{ord(character):x}}}" for character in sorted(lacking))
    return f"[{codes}]" if lacking else ""


def _has_character(codec: str, character: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _check_unquoted(session: StoreSession, form: Format, cells: Mapping[str, str], source: str) -> None:
    """RunError for the first value that would be taken for more than one, because no quotes keep it together."""
    cases, culprits = [], []
    for column, cell in cells.items():
        for called, character in _list_unquotable(form).items():
            if form.header and character in column:
                raise _unquoted_error(f"the name of the column {column!r}", called)
            culprits.append((column, called))
            cases.append(f"WHEN contains({cell}, {quote_text(character)}) THEN {len(culprits) - 1}")
    found = session.execute(
        f"""SELECT row, culprit FROM (
            SELECT row_number() OVER () AS row, culprit FROM (
                SELECT CASE {" ".join(cases)} END AS culprit FROM {source}
            )
        ) WHERE culprit IS NOT NULL ORDER BY row LIMIT 1"""
    ).fetchone()
    if found:
        column, called = culprits[found[1]]
        raise _unquoted_error(f"the value of column {column!r} in row {found[0]:,}", called)


def _unquoted_error(what: str, called: str) -> RunError:
    return RunError(
        f"{what} holds {called}, and `format` says that there are no quotes around it",
        hint="leave out `quote`, or choose another `delimiter`",
        code="unwritable-format",
    )
