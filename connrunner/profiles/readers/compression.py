"""Compressed files: decompressed as a stream, and no further than an honest file goes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.text import unpacking
from connrunner.text.unpacking import limit_size

CHUNK = 1 << 20

Compression = Literal["gzip", "zstd"]
_MAGIC: dict[Compression, bytes] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_SKIPPABLE = b"\x2a\x4d\x18"  # behind 0x50 to 0x5f: a frame that Zstandard passes over (RFC 8878, 3.1.2)
_NAMES: dict[Compression, str] = {"gzip": "gzip", "zstd": "Zstandard"}


def too_large_error(name: str, size: int) -> RunError:
    """Return the error for a compressed file of *size* bytes that decompresses to more than it may."""
    limit = limit_size(size)
    reason = (
        "10 GB" if limit == unpacking.LARGEST else f"{limit:,} bytes, {round(limit / max(size, 1)):,} times its size"
    )
    return RunError(
        f"{name} unpacks to more than {reason}",
        hint="nothing was read, for it may be made to fill the disk; send an honest file in parts, or not packed",
        code="too-large",
    )


def detect_compression(source: Path, name: str, form: Format) -> Compression | None:
    """Return how the file is compressed, by its first bytes. RunError when it is not compressed as *form* says."""
    if form.compression == "none":
        return None
    with source.open("rb", buffering=0) as file:
        found = _by_magic(file.read(4))
    if form.compression in ("gzip", "zstd") and found != form.compression:
        raise RunError(
            f"{name} is not packed with {_NAMES[form.compression]}",
            hint="set `format: {compression: auto}`, or none",
            code=f"not-{form.compression}",
        )
    return found


def name_compression(start: bytes) -> str | None:
    """Return what people call the compression of a file that begins with *start*, or None when it is not compressed."""
    found = _by_magic(start)
    return _NAMES[found] if found else None


def decompress(source: Path, name: str, compression: Compression, target: BinaryIO) -> None:
    """
    Write the decompressed bytes of the file to *target*.

    RunError when it is damaged, cut off, larger than any honest file, or needs an extra that is not installed.
    """
    chunks = _read_gzip(source, name) if compression == "gzip" else _read_zstd(source, name)
    size = source.stat().st_size
    limit, count = limit_size(size), 0
    for chunk in chunks:
        count += len(chunk)
        if count > limit:
            raise too_large_error(name, size)
        target.write(chunk)


def _by_magic(start: bytes) -> Compression | None:
    if start[1:4] == _SKIPPABLE and start[0] >> 4 == 5:
        return "zstd"
    return next((compression for compression, magic in _MAGIC.items() if start.startswith(magic)), None)


def _read_gzip(source: Path, name: str) -> Iterator[bytes]:
    try:
        with gzip.open(source, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damage_error(name, "gzip", error) from None


def _read_zstd(source: Path, name: str) -> Iterator[bytes]:
    from connrunner.text.zstandard import zstd

    try:
        with zstd.open(source, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except (EOFError, zstd.ZstdError) as error:
        raise _damage_error(name, "zstd", error) from None


def _damage_error(name: str, compression: Compression, error: Exception) -> RunError:
    return RunError(
        f"{name} is damaged: {str(error).rstrip('.').lower()}",
        hint=f"{_NAMES[compression]} could not unpack it to the end; fetch or send it again",
        code="damaged-file",
    )
