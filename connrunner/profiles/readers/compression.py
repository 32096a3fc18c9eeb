"""Packed files: unpacked as a stream, and no further than an honest file goes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal

import duckdb

from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.profiles import zstd

CHUNK = 1 << 20
LARGEST = 10_000_000_000  # bytes, unpacked
UNDOUBTED = 64 << 20  # bytes that any file may unpack to
RATIO = 200  # times its size, beyond that

Packing = Literal["gzip", "zstd"]
_SIGNS: dict[Packing, bytes] = {"gzip": b"\x1f\x8b", "zstd": zstd.MAGIC}
_NAMES: dict[Packing, str] = {"gzip": "gzip", "zstd": "Zstandard"}


def most(size: int) -> int:
    """Return to how many bytes a packed file of *size* bytes may unpack."""
    return min(LARGEST, max(UNDOUBTED, RATIO * size))


def too_large(name: str, size: int) -> RunError:
    """Return the error for a packed file of *size* bytes that unpacks to more than it may."""
    limit = most(size)
    reason = "10 GB" if limit == LARGEST else f"{limit:,} bytes, {round(limit / max(size, 1)):,} times its size"
    return RunError(
        f"{name} unpacks to more than {reason}",
        hint="nothing was read, for it may be made to fill the disk; send an honest file in parts, or not packed",
        code="too-large",
    )


def packing(source: Path, name: str, form: Format) -> Packing | None:
    """Return how the file is packed, by its first bytes. RunError when it is not packed as *form* says."""
    if form.compression == "none":
        return None
    with source.open("rb", buffering=0) as file:
        start = file.read(4)
    found = next((kind for kind, sign in _SIGNS.items() if start.startswith(sign)), None)
    if form.compression in ("gzip", "zstd") and found != form.compression:
        raise RunError(
            f"{name} is not packed with {_NAMES[form.compression]}",
            hint="set `format: {compression: auto}`, or none",
            code=f"not-{form.compression}",
        )
    return found


def packed_with(start: bytes) -> str | None:
    """Return what packed a file that begins with *start*, as people call it."""
    return next((_NAMES[kind] for kind, sign in _SIGNS.items() if start.startswith(sign)), None)


def unpack(source: Path, name: str, kind: Packing, target: BinaryIO) -> None:
    """Write the unpacked bytes of the file to *target*. RunError when it is damaged, cut off or not to be believed."""
    if kind == "gzip":
        _write(_gunzipped(source, name), source, name, target)
        return
    try:
        for encoding, pairs in zstd.WAYS:
            target.seek(0)
            target.truncate()
            with suppress(zstd.OtherLines):
                _write(zstd.lines(source, encoding, pairs=pairs), source, name, target)
                return
    except (zstd.BadFrames, duckdb.IOException) as error:
        raise _damaged(name, str(error).strip().partition("\n")[0], "Zstandard") from None
    raise RunError(
        f"{name} cannot be unpacked here: of files packed with Zstandard only UTF-8 or Latin-1 texts are read, whose "
        f"lines all end alike and are no longer than {zstd.LONGEST_LINE:,} bytes",
        hint="pack it with gzip",
        code="not-unpacked",
    )


def _write(chunks: Iterator[bytes], source: Path, name: str, target: BinaryIO) -> None:
    size = source.stat().st_size
    limit, count = most(size), 0
    for chunk in chunks:
        count += len(chunk)
        if count > limit:
            raise too_large(name, size)
        target.write(chunk)


def _gunzipped(source: Path, name: str) -> Iterator[bytes]:
    try:
        with gzip.open(source, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(name, str(error).rstrip(".").lower(), "gzip") from None


def _damaged(name: str, reason: str, program: str) -> RunError:
    return RunError(
        f"{name} is damaged: {reason}",
        hint=f"{program} could not unpack it to the end; fetch or send it again",
        code="damaged-file",
    )
