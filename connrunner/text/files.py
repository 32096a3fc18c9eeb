"""Files that change in one step: a reader sees the old one or the new one, never a part of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True, suffix: str = "") -> None:
    """Put *data* at *path* in one step; when *durable*, a power cut leaves the old file or the new one.

    It is written beside *path* first, under a name that ends in *suffix*: give one where a crash must not leave more
    than one such file, and only one process at a time writes *path*.
    """
    new = _beside(path, suffix)
    try:
        descriptor = _create(new)
        try:
            if mode != 0o600:
                os.fchmod(descriptor, mode)  # whatever the umask says
            write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        put_in_place(new, path, durable=durable)
    except BaseException:
        _remove(new)
        raise


@contextmanager
def replacing(path: Path, *, durable: bool = True, suffix: str = "") -> Iterator[Path]:
    """Yield where to write the new *path*, and put that in place at the end; after an error it is removed.

    For what can only write a file by its name. *durable* and *suffix* are as in `replace_file`.
    """
    new = _beside(path, suffix)
    new.unlink(missing_ok=True)  # left by a crash; or a link that somebody planted, which is not to be written through
    try:
        yield new
        if durable:
            sync_file(new)
        put_in_place(new, path, durable=durable)
    except BaseException:
        _remove(new)
        raise


def put_in_place(new: Path, path: Path, *, durable: bool = True) -> None:
    """Give *new*, a finished file in the same folder, the name *path*."""
    new.replace(path)
    if durable:
        sync_folder(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte of *data*: a short write is how a full disk begins."""
    while data:
        data = data[os.write(descriptor, data) :]


def sync_file(path: Path) -> None:
    """Make what the file *path* holds durable."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix or f'{os.getpid()}.tmp'}")


def _create(new: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(new, flags, 0o600)
    except FileExistsError:  # left by a crash; or a link that somebody planted, which is not to be written through
        new.unlink()
        return os.open(new, flags, 0o600)


def _remove(new: Path) -> None:
    with suppress(OSError):
        new.unlink()
