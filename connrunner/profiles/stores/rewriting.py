"""
A store without one person, written anew: DuckDB leaves the bytes of deleted rows in its file.

The old file is held for reading, so that no run can change it, and what stays is copied into a new one that then takes
its place in one step. Before that the write-ahead log has been brought into the old file; whoever is killed at any
moment leaves the old store or the new one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from connrunner.core.model import ProfileModel
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.profiles import erasure, tables, tombstones
from connrunner.profiles.checkpoints import find_log
from connrunner.profiles.erasure import Erasure, ErasureJob
from connrunner.profiles.exporting import withdrawals
from connrunner.profiles.memory_limit import choose_memory_limit
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_name, quote_text
from connrunner.profiles.stores.beginning import STORAGE
from connrunner.profiles.stores.duckdb import (
    SETTINGS,
    attach_store,
    make_busy_error,
    translate_store_errors,
)
from connrunner.text.files import put_in_place, sync_file

TRIES = 3  # how often a run may slip in between the log's end and our hold on the file
_STAYS = {
    "profiles": "_id NOT IN (FROM leaving)",
    "sent": "profile NOT IN (FROM leaving)",
    "unconfirmed": "profile NOT IN (FROM leaving)",
    "kept": "number NOT IN (FROM unkept)",
}


def erase_person(
    path: Path,
    job: ErasureJob,
    model: ProfileModel,
    *,
    temp: Path,
    report: Report,
    wait: float,
    before: Callable[[Erasure, int], None],
) -> Erasure:
    """
    Remove a person from the store in the file *path*, and return what of the person it held.

    *temp* is a folder on the file system of *path*. *before* is called with the result and the inode of the new file
    when that is about to take its place. Nothing changes when nobody is found, or by a dry run. RunError
    `store-busy` when another process has the store open for longer than *wait* seconds.
    """
    if path.is_symlink():
        raise RunError(
            f"{path} is a symbolic link, and the file that it leads to would keep the person",
            hint="move that file to where the link is",
            code="store-path",
        )
    with _hold(path, model, temp=temp, report=report, wait=wait) as session, translate_store_errors(path):
        found = erasure.select_person(session, job)
        if job.dry_run or not found.found:
            return found
        key = None if job.forget else tombstones.make_key(path)
        fresh = temp / path.name
        _copy(session, job, fresh, key)
        withdrawals.add_withdrawals(session, job.withdrawals)
        sync_file(fresh)
        before(found, fresh.stat().st_ino)
        put_in_place(fresh, path)
        return found


@contextmanager
def _hold(path: Path, model: ProfileModel, *, temp: Path, report: Report, wait: float) -> Iterator[StoreSession]:
    """Attach the store for reading, when its write-ahead log is gone: nobody can write one as long as this holds it."""
    connection = duckdb.connect(":memory:", config={"memory_limit": choose_memory_limit()})
    try:
        connection.execute(SETTINGS + f"SET temp_directory = {quote_text(str(temp / 'spill'))}")
        with translate_store_errors(path):
            _attach_whole(connection, path, wait=wait)
            layout = tables.read_store(connection, path, model)
        yield StoreSession(connection=connection, path=path, model=model, layout=layout, temp=temp, report=report)
    finally:
        connection.close()
        shutil.rmtree(temp / "spill", ignore_errors=True)


def _attach_whole(connection: duckdb.DuckDBPyConnection, path: Path, *, wait: float) -> None:
    for _ in range(TRIES):
        attach_store(connection, path, read_only=True, wait=wait)
        if not find_log(path).exists():
            return
        connection.execute("DETACH store")
        attach_store(connection, path, read_only=False, wait=wait)
        connection.execute("CHECKPOINT store")
        connection.execute("DETACH store")
    raise make_busy_error(path)


def _copy(session: StoreSession, job: ErasureJob, fresh: Path, key: bytes | None) -> None:
    """Write to the new file *fresh* what stays of the store, and the tombstones; a *key* is for new ones."""
    session.execute(f"ATTACH {quote_text(str(fresh))} AS fresh (STORAGE_VERSION '{STORAGE}')")
    fresh.chmod(0o600)
    names = session.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'store' ORDER BY table_oid")
    for (name,) in names.fetchall():
        condition = _STAYS.get(name, "true")
        ordered = " ORDER BY _id" if name == "profiles" else ""  # see `scan_order`
        session.execute(
            f"CREATE TABLE fresh.{quote_name(name)} AS FROM store.{quote_name(name)} WHERE {condition}{ordered}"
        )
    tables.prepare_tombstones(session.connection, "fresh")
    if job.forget:
        session.execute("DELETE FROM fresh.erased WHERE person IN (FROM pardoned)")
    if key is not None:
        tombstones.load_pads(session, key)
        erasure.add_tombstones(session)
        session.execute("DELETE FROM fresh.about WHERE key = ?", [tombstones.CHECK])
        session.execute("INSERT INTO fresh.about VALUES (?, ?)", [tombstones.CHECK, tombstones.compute_check(key)])
    tables.mark_format(session.connection, "fresh")
    session.execute("CHECKPOINT fresh")
    session.execute("DETACH fresh")
    if find_log(fresh).exists():  # a store without its log would lack what the log holds
        raise OSError(f"{fresh}: the write-ahead log of the new store did not end")
