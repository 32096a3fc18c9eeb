"""Any file becomes one that DuckDB can read: decompressed, in UTF-8, and checked for what cannot be read at all."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles.readers import compression
from connrunner.profiles.readers.survey import Survey, survey_text
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.profiles.text_encoding import find_codec

CHUNK = 1 << 20
SMALL = 1 << 18  # bytes: to read a larger file takes longer than to prepare for it
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
_UTF_8 = ("utf-8", "utf-8-sig")
_LINE_END = re.compile(rb"\r\n?|\n")
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalizedFile:
    """A file on this machine that DuckDB can read."""

    path: Path
    name: str  # what people call it
    size: int  # bytes, decompressed
    survey: Survey = field(default_factory=Survey)  # of a text
    nul: bool = False  # NUL occurs in it, as such or escaped


def compute_digest(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hex."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def normalize_file(file: LocalFile, form: Format, folder: Path) -> NormalizedFile:
    """Return *file* normalized: itself where possible, else a copy in *folder*. RunError when it cannot be read."""
    source = Path(file.path)
    with _translate_errors(file.name):
        codec = find_codec(form.encoding)
        recode = None if codec in _UTF_8 else codec
        found = compression.detect_compression(source, file.name, form)
        if found:
            path = choose_path(folder)
            with open_private(path) as copy:
                # The readers take patterns; a name of our own has no special characters.
                compression.decompress(_link(source, folder), file.name, found, copy)
            source = path
        with source.open("rb", buffering=0) as opened:
            start = opened.read(4096)
        _check_start(start, file.name, form, recode)
        if form.type in _BINARY:
            return NormalizedFile(path=_link(source, folder), name=file.name, size=source.stat().st_size, nul=True)
        if recode:
            source = _write_copy(_recode(source, file.name, recode), folder)
        if form.skip:
            source = _write_copy(_skip_lines(source, file.name, form.skip), folder)
        survey = survey_text(source, form)
        return NormalizedFile(
            path=_link(source, folder), name=file.name, size=source.stat().st_size, survey=survey, nul=survey.nul
        )


def read_small_file(file: LocalFile, form: Format) -> bytes | None:
    """Return the bytes of a small CSV file that needs no change to be read; None for every other one."""
    if form.type != "csv" or form.skip or file.size > SMALL:
        return None
    try:
        if find_codec(form.encoding) not in _UTF_8:
            return None
        data = Path(file.path).read_bytes()
        if compression.detect_compression(Path(file.path), file.name, form):
            return None
        _check_start(data[:4096], file.name, form, None)
    except (OSError, RunError):  # whoever normalizes it says so
        return None
    return data if len(data) <= SMALL else None


def find_decoding_error(path: Path, name: str) -> RunError | None:
    """Return the error that says where the normalized file *path* stops being UTF-8, or None when all of it is."""
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
                line = 1 + sum(part.count(b"\n") for part in _read_first(file, position))
                return _encoding_error(name, line, position, error.object[error.start], "utf-8")
            if not chunk:
                return None
            before += len(chunk)


def _read_first(file: io.FileIO, count: int) -> Iterator[bytes]:
    while count and (chunk := file.read(min(CHUNK, count))):
        yield chunk
        count -= len(chunk)


def _encoding_error(name: str, line: int, position: int, byte: int, encoding: str) -> RunError:
    other = "cp1252" if encoding == "utf-8" else "utf-8"
    return RunError(
        f"{name}: byte {position} (0x{byte:02x}) in line {line} is not {encoding}",
        hint=f"set `format: {{encoding: {other}}}` or whatever the file is written in",
        code="wrong-encoding",
    )


def _check_start(start: bytes, name: str, form: Format, recode: str | None) -> None:
    """RunError when the file holds no rows at all: a wrong format is best named before anything is read."""
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
    if program := compression.name_compression(start):
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
            hint="set `format: {encoding: utf-16}` if it is text of two bytes a character; else it holds no rows",
            code="wrong-format",
        )


def _skip_lines(source: Path, name: str, count: int) -> Iterator[bytes]:
    """Yield what follows the first *count* lines, which end with LF, CRLF or CR; a byte order mark is no part of it."""
    left = count
    with source.open("rb", buffering=0) as file:
        ended_cr, first = False, True
        while chunk := file.read(CHUNK):
            if first:
                chunk, first = chunk.removeprefix(codecs.BOM_UTF8), False
            at = 0
            if ended_cr and chunk.startswith(b"\n"):
                at = 1
            ended_cr = False
            while left and (found := _LINE_END.search(chunk, at)):
                at, left = found.end(), left - 1
                ended_cr = at == len(chunk) and chunk.endswith(b"\r")
            if not left and at < len(chunk):
                yield chunk[at:]
    if left:
        raise RunError(
            f"{name} has fewer lines than the {count:,} that `skip` of its `format` passes over",
            hint="correct `skip`, or see why its sender wrote nothing",
            code="empty-file",
        )


def _recode(source: Path, name: str, encoding: str) -> Iterator[bytes]:
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
                raise _encoding_error(name, line, position, error.object[error.start], encoding) from None
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


def _write_copy(chunks: Iterator[bytes], folder: Path) -> Path:
    path = choose_path(folder)
    with open_private(path) as file:
        for chunk in chunks:
            file.write(chunk)
    return path


def _link(source: Path, folder: Path) -> Path:
    if source.parent == folder:
        return source
    path = choose_path(folder)
    path.symlink_to(source.resolve())
    return path


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot read {name}: {error.strerror or error}", code="unreadable-file") from error
