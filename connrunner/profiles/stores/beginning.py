"""A new store in the place of one that is lost or damaged, because a person wants it so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from connrunner.profiles import tables, whole_store
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.stores.duckdb import STORAGE
from connrunner.text.files import put_in_place


def begin_store(path: Path, *, temp: Path, numbers: Mapping[str, int]) -> list[Path]:
    """
    Make an empty store in the file *path*, and return where the files of the one before it, if any, stand now.

    None of them is removed. *numbers* has the newest run of each connection: none up to there is expected in the new
    store. *temp* is a folder on the file system of *path*. No process may have the store open.
    """
    fresh = temp / path.name
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH {quote_text(str(fresh))} AS store (STORAGE_VERSION '{STORAGE}')")
        fresh.chmod(0o600)
        tables.create_tables(connection)
        whole_store.note_begin(connection, numbers)
        connection.execute("DETACH store")
    moved = _move_aside(path)
    put_in_place(fresh, path)
    return moved


def _move_aside(path: Path) -> list[Path]:
    """Rename the store and its write-ahead log; the store first, for one without its log would look sound."""
    files = [file for file in (path, path.with_name(f"{path.name}.wal")) if file.exists() or file.is_symlink()]
    number = 1
    while any(_aside(file, number).exists() for file in files):
        number += 1
    moved = [_aside(file, number) for file in files]
    for file, aside in zip(files, moved, strict=True):
        put_in_place(file, aside)
    return moved


def _aside(file: Path, number: int) -> Path:
    return file.with_name(file.name.replace(".duckdb", f".before-{number}.duckdb", 1))
