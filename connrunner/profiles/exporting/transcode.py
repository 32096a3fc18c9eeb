"""A CSV file in UTF-8 becomes one in another encoding, compressed on the way."""

from __future__ import annotations

import codecs
import csv
import gzip
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.profiles.temporary_files import open_private

CHUNK = 1 << 20  # characters that are encoded at a time
_LARGEST_FIELD = 1 << 30  # characters


def transcode(source: Path, path: Path, form: Format, compression: Literal["none", "gzip", "zstd"]) -> None:
    """
    Write the file *source* to *path* as *form* says.

    RunError for a character that its encoding does not have, and when an extra for *compression* is not installed.
    """
    with open_private(path) as raw, _compressor(raw, compression) as file:
        for chunk in _encode(source, form):
            file.write(chunk)


def _compressor(raw: BinaryIO, compression: Literal["none", "gzip", "zstd"]) -> AbstractContextManager[BinaryIO]:
    if compression == "gzip":
        return cast("AbstractContextManager[BinaryIO]", gzip.GzipFile("", "wb", fileobj=raw))
    if compression == "zstd":
        from connrunner.text.zstandard import zstd

        return cast("AbstractContextManager[BinaryIO]", zstd.ZstdFile(raw, "wb"))
    return os.fdopen(os.dup(raw.fileno()), "wb")


def _encode(source: Path, form: Format) -> Iterator[bytes]:
    encoder = codecs.getincrementalencoder(form.encoding)()
    with source.open(encoding="utf-8", newline="") as text:
        while chunk := text.read(CHUNK):
            try:
                yield encoder.encode(chunk)
            except UnicodeEncodeError as error:
                raise _encoding_error(source, form, error.object[error.start]) from None
        yield encoder.encode("", final=True)


def _encoding_error(source: Path, form: Format, character: str) -> RunError:
    """Return the error for the first *character* that the encoding does not have; reading shows where it stands."""
    place = "the file"
    csv.field_size_limit(_LARGEST_FIELD)
    quoting: Literal[0, 3] = 0 if form.quote else 3  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE
    with source.open(encoding="utf-8", newline="") as text:
        names: list[str] = []
        records = csv.reader(text, delimiter=form.delimiter, quotechar=form.quote or None, quoting=quoting)
        for number, record in enumerate(records, 0 if form.header else 1):
            if number == 0:
                names = record
            culprit = next((index for index, cell in enumerate(record) if character in cell), None)
            if culprit is not None:
                column = f"column {names[culprit]!r}" if names else f"column {culprit + 1}"
                place = f"the name of {column}" if number == 0 else f"{column} of row {number:,}"
                break
    return RunError(
        f"{character!r} in {place} cannot be written in {form.encoding}",
        hint="set `format: {encoding: utf-8}`",
        code="wrong-encoding",
    )
