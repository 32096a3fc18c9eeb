"""
A new store: where there is none yet, or in the place of one that is lost or damaged, because a person wants it so.

It is made elsewhere and gets its name when it is whole, so that a crash leaves none or one that can be opened.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import duckdb

from connrunner.profiles import tables, whole_store
from connrunner.profiles.checkpoints import find_log
from connrunner.profiles.sql_fragments import quote_text
from connrunner.text.files import put_in_place

STORAGE = "v1.5.0"  # read and written by every DuckDB that we support


def make_missing_store(path: Path, *, temp: Path) -> None:
    """
    Make an empty store in the file *path* unless there is one; of several processes at once the first one makes it.

    It is made in the folder *temp*, when that is on the file system of *path*, else beside *path*.
    """
    if _is_store(path):
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = temp / path.name
    if temp.stat().st_dev != path.parent.stat().st_dev:  # a rehearsal has its files elsewhere
        fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
        fresh.unlink(missing_ok=True)
    with duckdb.connect(":memory:") as connection:
        _attach_new(connection, fresh)
        connection.execute("DETACH store")
    while not _is_store(path):
        _replace_empty(path, fresh)
    fresh.unlink(missing_ok=True)


def _is_store(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _replace_empty(path: Path, fresh: Path) -> None:
    """Put *fresh* in the place of an empty file, one process at a time; a crash may leave such a file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(descriptor), path.stat()) and not _is_store(path):
            put_in_place(fresh, path)
    finally:
        os.close(descriptor)


def _attach_new(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    connection.execute(f"ATTACH {quote_text(str(path))} AS store (STORAGE_VERSION '{STORAGE}')")
    # DuckDB makes its files with the mode that the process likes; the folder keeps others out until here.
    path.chmod(0o600)
    tables.create_tables(connection)


def begin_store(path: Path, *, temp: Path, numbers: Mapping[str, int]) -> list[Path]:
    """
    Make an empty store in the file *path*, and return where the files of the one before it, if any, stand now.

    None of them is removed. *numbers* has the newest run of each connection: none up to there is expected in the new
    store. *temp* is a folder on the file system of *path*. No process may have the store open.
    """
    fresh = temp / path.name
    with duckdb.connect(":memory:") as connection:
        _attach_new(connection, fresh)
        whole_store.note_begin(connection, numbers)
        connection.execute("DETACH store")
    moved = move_aside(path)
    put_in_place(fresh, path)
    return moved


def move_aside(path: Path) -> list[Path]:
    """Rename the store in the file *path*, if any, and its write-ahead log; return what they are called now."""
    # The store first, for one without its log would look sound.
    files = [file for file in (path, find_log(path)) if file.exists() or file.is_symlink()]
    number = 1
    while any(_aside(file, number).exists() for file in files):
        number += 1
    moved = [_aside(file, number) for file in files]
    for file, aside in zip(files, moved, strict=True):
        put_in_place(file, aside)
    return moved


def _aside(file: Path, number: int) -> Path:
    return file.with_name(file.name.replace(".duckdb", f".before-{number}.duckdb", 1))
