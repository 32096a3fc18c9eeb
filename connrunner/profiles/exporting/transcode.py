"""A CSV file in UTF-8 becomes one in another encoding, packed on the way."""

from __future__ import annotations

import base64
import codecs
import csv
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.profiles.readers.normalize import CHUNK, free, private
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text

_PART = 3_000  # bytes that DuckDB gets at a time
_LARGEST_FIELD = 1 << 30  # characters


def transcode(
    session: StoreSession, source: Path, path: Path, form: Format, packing: Literal["none", "gzip", "zstd"]
) -> None:
    """Write the file *source* to *path* as *form* says. RunError for a sign that its encoding does not have."""
    if packing == "zstd":
        _write_zstd(session, _encoded(source, form), path)
        return
    with (
        private(path) as raw,
        gzip.GzipFile("", "wb", fileobj=raw) if packing == "gzip" else os.fdopen(os.dup(raw.fileno()), "wb") as file,
    ):
        for chunk in _encoded(source, form):
            file.write(chunk)


def _encoded(source: Path, form: Format) -> Iterator[bytes]:
    encoder = codecs.getincrementalencoder(form.encoding)()
    with source.open(encoding="utf-8", newline="") as text:
        while chunk := text.read(CHUNK):
            try:
                yield encoder.encode(chunk)
            except UnicodeEncodeError as error:
                raise _unencodable(source, form, error.object[error.start]) from None
        yield encoder.encode("", final=True)


def _write_zstd(session: StoreSession, chunks: Iterator[bytes], path: Path) -> None:
    """Let DuckDB pack the bytes, which it takes as lines of text only; Python can do it from 3.14 on."""
    lines = free(session.temp)
    rest = b""
    with private(lines) as file:
        for chunk in chunks:
            data = rest + chunk
            whole = len(data) // _PART * _PART
            for start in range(0, whole, _PART):
                file.write(base64.b64encode(data[start : start + _PART]) + b"\n")
            rest = data[whole:]
        file.write(base64.b64encode(rest) + b"\n" if rest else b"")
    private(path).close()
    session.execute(f"""
        COPY (
            SELECT from_base64(line) FROM read_csv({quote_text(str(lines))}, auto_detect = false, header = false,
                delim = '|', quote = '', escape = '', columns = {{line: 'VARCHAR'}})
        ) TO {quote_text(str(path))} (FORMAT blob, COMPRESSION zstd, USE_TMP_FILE false)""")
    lines.unlink()


def _unencodable(source: Path, form: Format, sign: str) -> RunError:
    """Return the error for the first *sign* that the encoding does not have; reading shows where it stands."""
    place = "the file"
    csv.field_size_limit(_LARGEST_FIELD)
    quoting: Literal[0, 3] = 0 if form.quote else 3  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE
    with source.open(encoding="utf-8", newline="") as text:
        names: list[str] = []
        records = csv.reader(text, delimiter=form.delimiter, quotechar=form.quote or None, quoting=quoting)
        for number, record in enumerate(records, 0 if form.header else 1):
            if number == 0:
                names = record
            culprit = next((index for index, cell in enumerate(record) if sign in cell), None)
            if culprit is not None:
                column = f"column {names[culprit]!r}" if names else f"column {culprit + 1}"
                place = f"the name of {column}" if number == 0 else f"{column} of row {number:,}"
                break
    return RunError(
        f"{sign!r} in {place} cannot be written in {form.encoding}",
        hint="set `format: {encoding: utf-8}`",
        code="wrong-encoding",
    )
