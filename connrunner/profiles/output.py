"""
Profiles become a file: CSV, JSON lines or Parquet.

CSV and JSON lines hold each value in its one text form (dates and times in RFC 3339, UTC; decimals without idle zeros);
a `many` property is its values with a semicolon between them in CSV, a list elsewhere. What is empty is an empty cell
in CSV, null elsewhere. Parquet holds the types themselves.
"""

from __future__ import annotations

import codecs
import gzip
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from connrunner.core.model import Format, Property, PropertyType
from connrunner.errors import RunError
from connrunner.profiles import sql, values
from connrunner.profiles.plain import CHUNK, encoding, free, private
from connrunner.profiles.session import Session

SEPARATOR = ";"  # between the values of a `many` property in a CSV cell
_NUMBERS = (PropertyType.INTEGER, PropertyType.DECIMAL, PropertyType.BOOLEAN)


def columns(session: Session, wanted: Mapping[str, str]) -> dict[str, tuple[Property, str]]:
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
    lower = [column.lower() for column in found]
    for column in found:
        if lower.count(column.lower()) > 1:
            raise RunError(
                f"two columns are called {column!r} but for capitals",
                hint="rename one of them: DuckDB writes no such files",
                code="mapping",
            )
    return found


def write(
    session: Session,
    path: Path,
    form: Format,
    wanted: Mapping[str, tuple[Property, str]],
    source: str,
    tell: Callable[[float], None],
) -> None:
    """Write the *wanted* columns of *source* (what follows `FROM`) to the new file *path*, for its owner only."""
    packed = form.type != "parquet" and (
        form.compression == "gzip" or (form.compression == "auto" and path.suffix == ".gz")
    )
    recoded = form.type == "csv" and encoding(form.encoding) != "utf-8"
    options, cells = _options(form, packed=packed and not recoded), []
    for name, (owner, value) in wanted.items():
        cells.append(f"{_cell(form, owner, value)} AS {sql.name(name)}")
    target = free(session.temp) if recoded else path
    private(target).close()
    statement = f"COPY (SELECT {', '.join(cells)} FROM {source}) TO {sql.text(str(target))} ({options})"
    session.watched(statement, tell)
    if recoded:
        _recode(target, path, form.encoding, packed=packed)
        target.unlink()


def _options(form: Format, *, packed: bool) -> str:
    if form.type == "parquet":
        return f"FORMAT parquet, USE_TMP_FILE false, COMPRESSION {'gzip' if form.compression == 'gzip' else 'zstd'}"
    common = f"USE_TMP_FILE false, COMPRESSION {'gzip' if packed else 'none'}"
    if form.type == "jsonl":
        return f"FORMAT json, {common}"
    return f"""FORMAT csv, HEADER {form.header}, DELIMITER {sql.text(form.delimiter)}, QUOTE {sql.text(form.quote)},
        ESCAPE {sql.text(form.quote)}, NULLSTR '', {common}"""


def _cell(form: Format, owner: Property, value: str) -> str:
    if form.type == "parquet":
        return value
    if not owner.many:
        spelt = values.plain(owner.type, value)
        return f"({spelt})::JSON" if form.type == "jsonl" and owner.type in _NUMBERS else spelt
    if form.type == "csv":
        return f"array_to_string(list_transform({value}, lambda x: {values.plain(owner.type, 'x')}), '{SEPARATOR}')"
    spelt = values.plain(owner.type, "x")
    return f"list_transform({value}, lambda x: {f'({spelt})::JSON' if owner.type in _NUMBERS else spelt})"


def _recode(source: Path, path: Path, encoding: str, *, packed: bool) -> None:
    encoder = codecs.getincrementalencoder(encoding)()
    line = 1
    with (
        source.open(encoding="utf-8", newline="") as text,
        private(path) as raw,
        gzip.GzipFile("", "wb", fileobj=raw) if packed else os.fdopen(os.dup(raw.fileno()), "wb") as file,
    ):
        while chunk := text.read(CHUNK):
            try:
                file.write(encoder.encode(chunk))
            except UnicodeEncodeError as error:
                sign = error.object[error.start]
                raise RunError(
                    f"{sign!r} in line {line + chunk.count(chr(10), 0, error.start)} cannot be written in {encoding}",
                    hint="set `format: {encoding: utf-8}`",
                    code="wrong-encoding",
                ) from None
            line += chunk.count("\n")
        file.write(encoder.encode("", final=True))
