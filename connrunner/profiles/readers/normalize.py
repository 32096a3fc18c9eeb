"""A file as it came becomes a plain one: unpacked, in UTF-8, and looked at for what cannot be read at all."""

from __future__ import annotations

import codecs
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.profiles.readers import compression
from connrunner.text.words import nearest

CHUNK = 1 << 20
ZIP = b"PK\x03\x04"
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"

_KNOWN_STARTS = (
    (ZIP, "a ZIP archive or an Excel workbook", "set `format: {type: excel}` for a workbook; unpack an archive first"),
    (b"PAR1", "a Parquet file", "set `format: {type: parquet}`"),
    (b"%PDF", "a PDF document", "this file holds no rows"),
    (b"SQLite format 3\0", "an SQLite database", "export a table of it as CSV"),
    (_OLD_OFFICE, "an old Excel workbook, or one with a password", "save it as CSV, or as .xlsx without a password"),
)
_BINARY = ("parquet", "excel")
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalizedFile:
    """A file on this machine that DuckDB can read."""

    path: Path
    name: str  # how people call it
    size: int  # bytes, unpacked
    quotes: bool = False  # the quote sign occurs in it
    nul: bool = False  # NUL occurs in it, as such or escaped


def digest(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hex."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(file: LocalFile, form: Format, folder: Path) -> NormalizedFile:
    """Return *file* as a plain one: itself where possible, else a copy in *folder*. RunError when it cannot be read."""
    source = Path(file.path)
    with _readable(file.name):
        written_in = encoding(form.encoding)
        recode = None if written_in in ("utf-8", "utf-8-sig") else written_in
        packing = compression.packing(source, file.name, form)
        if packing:
            path = free(folder)
            with private(path) as copy:
                # The readers take patterns; a name of our own has no special signs in it.
                compression.unpack(_linked(source, folder), file.name, packing, copy)
            source = path
        with source.open("rb", buffering=0) as opened:
            start = opened.read(4096)
        _check_start(start, file.name, form, recode)
        if form.type not in _BINARY and recode:
            source = _copy(_recoded(source, file.name, recode), folder)
        size = source.stat().st_size
        if form.type in _BINARY:
            return NormalizedFile(path=_linked(source, folder), name=file.name, size=size, nul=True)
        quote = form.quote.encode() if form.type == "csv" else b""
        quotes, nul = _seen(source, quote, escaped=form.type in ("jsonl", "json"))
        return NormalizedFile(path=_linked(source, folder), name=file.name, size=size, quotes=quotes, nul=nul)


def encoding(name: str) -> str:
    """Return how Python calls the encoding *name*. RunError when there is none of that name."""
    try:
        "".encode(name)
        codecs.getincrementaldecoder(name)
    except (LookupError, UnicodeError):
        near = nearest(name, ("utf-8", "utf-16", "latin-1", "cp1252", "ascii"))
        hint = f"did you mean {near!r}?" if near else "use a name like utf-8, latin-1, cp1252 or utf-16"
        raise RunError(f"unknown encoding {name!r}", hint=hint, code="unknown-encoding") from None
    return codecs.lookup(name).name


def undecodable(path: Path, name: str) -> RunError | None:
    """Return the error that says where the plain file *path* stops being UTF-8, or None when all of it is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = 0
    with path.open("rb", buffering=0) as file:
        while True:
            held = len(decoder.getstate()[0])
            chunk = file.read(CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                position = before - held + error.start
                file.seek(0)
                line = 1 + sum(part.count(b"\n") for part in _first(file, position))
                return _wrong_encoding(name, line, position, error.object[error.start], "utf-8")
            if not chunk:
                return None
            before += len(chunk)


def _first(file: io.FileIO, count: int) -> Iterator[bytes]:
    while count and (chunk := file.read(min(CHUNK, count))):
        yield chunk
        count -= len(chunk)


def _wrong_encoding(name: str, line: int, position: int, byte: int, encoding: str) -> RunError:
    other = "cp1252" if encoding == "utf-8" else "utf-8"
    return RunError(
        f"{name}: byte {position} (0x{byte:02x}) in line {line} is not {encoding}",
        hint=f"set `format: {{encoding: {other}}}` or whatever the file is written in",
        code="wrong-encoding",
    )


def _check_start(start: bytes, name: str, form: Format, recode: str | None) -> None:
    """Refuse what is no file of rows at all: a mistaken format is best named before anything is read."""
    if not start and form.type == "csv" and form.header:
        raise RunError(
            f"{name} is empty, not even a header", hint="see why its sender wrote nothing", code="empty-file"
        )
    if form.type == "parquet":
        if not start.startswith(b"PAR1"):
            raise RunError(f"{name} is not a Parquet file", hint="set another `format`", code="wrong-format")
        return
    if form.type == "excel":
        if not start.startswith(ZIP):
            hint = "save it as .xlsx without a password" if start.startswith(_OLD_OFFICE) else "set another `format`"
            raise RunError(f"{name} is not an Excel workbook (.xlsx)", hint=hint, code="wrong-format")
        return
    if program := compression.packed_with(start):
        raise RunError(
            f"{name} is packed with {program}", hint="set `format: {compression: auto}`", code="wrong-format"
        )
    for mark, kind, hint in _KNOWN_STARTS:
        if start.startswith(mark):
            raise RunError(f"{name} is {kind}", hint=hint, code="wrong-format")
    for mark, other in _MARKS:
        if start.startswith(mark) and not (recode or "").startswith(("utf-16", "utf-32")):
            raise RunError(
                f"{name} is written in {other}, not in {form.encoding}",
                hint=f"set `format: {{encoding: {other}}}`",
                code="wrong-encoding",
            )
    if not recode and start.count(b"\0") * 10 > len(start):
        raise RunError(
            f"{name} does not look like text: many of its first bytes are NUL",
            hint="set `format: {encoding: utf-16}` if it is text of two bytes a sign; else it holds no rows",
            code="wrong-format",
        )


def _seen(source: Path, quote: bytes, *, escaped: bool) -> tuple[bool, bool]:
    """Tell whether *quote* and NUL occur in the file; searching for one byte costs next to nothing."""
    nul = b"\\u0000" if escaped else b"\0"
    quotes = zeros = False
    with source.open("rb", buffering=0) as file:
        tail = b""
        while not (quotes and zeros) and (chunk := file.read(CHUNK)):
            quotes = quotes or bool(quote and quote in chunk)
            zeros = zeros or nul in tail + chunk
            tail = chunk[-len(nul) + 1 :] if escaped else b""
    return quotes, zeros


def _recoded(source: Path, name: str, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    line, before = 1, 0
    with source.open("rb", buffering=0) as file:
        while True:
            held = len(decoder.getstate()[0])
            chunk = file.read(CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                position = before - held + error.start
                line += error.object[: error.start].decode(encoding, "ignore").count("\n")
                raise _wrong_encoding(name, line, position, error.object[error.start], encoding) from None
            except UnicodeError as error:
                raise RunError(
                    f"{name} is not {encoding}: {error}",
                    hint="set another `format: {encoding: ...}`",
                    code="wrong-encoding",
                ) from None
            line += text.count("\n")
            before += len(chunk)
            yield text.encode("utf-8", "surrogatepass")
            if not chunk:
                return


def _copy(chunks: Iterator[bytes], folder: Path) -> Path:
    path = free(folder)
    with private(path) as file:
        for chunk in chunks:
            file.write(chunk)
    return path


def _linked(source: Path, folder: Path) -> Path:
    if source.parent == folder:
        return source
    path = free(folder)
    path.symlink_to(source.resolve())
    return path


def free(folder: Path) -> Path:
    """Return a path in *folder* that is not taken yet, with no sign in its name that a reader would interpret."""
    number = sum(1 for _ in folder.iterdir())
    while os.path.lexists(path := folder / f"file-{number}"):
        number += 1
    return path


def private(path: Path) -> BinaryIO:
    """Open a new or emptied file for writing that nobody else may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot read {name}: {error.strerror or error}", code="unreadable-file") from error
