"""
A person leaves a store in PostgreSQL: found and removed under its lock, in one transaction.

Who is meant is worked out by `erasure`, on all of the store. The rows go by DELETE; VACUUM takes their bytes from the
tables, as far as no older transaction may still look at them. The server's log and its backups are out of reach.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from connrunner.core.model import ProfileModel
from connrunner.core.report import Report
from connrunner.profiles import erasure, tables, tombstones
from connrunner.profiles.erasure import Erasure, ErasureJob
from connrunner.profiles.exporting import withdrawals
from connrunner.profiles.patience import Patience
from connrunner.profiles.session import StoreSession
from connrunner.profiles.stores import database_tables
from connrunner.profiles.stores.postgres_database import DatabasePlace
from connrunner.profiles.stores.postgresql import PostgreSQLStore, open_database_store

_BROUGHT = ("properties", "objectives", "sent", "unconfirmed", "kept", "marks", "erased")
_GONE = {
    "sent": "profile IN (FROM leaving)",
    "unconfirmed": "profile IN (FROM leaving)",
    "kept": "number IN (FROM unkept)",
}


def erase_from_database(
    place: DatabasePlace, job: ErasureJob, model: ProfileModel, *, temp: Path, report: Report, wait: float
) -> Erasure:
    """
    Remove a person from the store at *place*, and return what of the person it held.

    Nothing changes when nobody is found, or by a dry run. RunError `no-store` without a store, and `store-busy` when it
    is being changed for longer than *wait* seconds.
    """
    with open_database_store(place, model, temp=temp, report=report, read_only=True) as store:
        assert isinstance(store, PostgreSQLStore)
        return _erase(store, job, Patience(wait))


def _erase(store: PostgreSQLStore, job: ErasureJob, patience: Patience) -> Erasure:
    session, work, database = store.parts
    with database.changing("erases a person", patience, keep=not job.dry_run):
        for table in ("about", *_BROUGHT):
            work.bring(table)
        work.bring_profiles(database_tables.read_stored_types(work))
        found = erasure.select_person(session, job)
        if job.dry_run or not found.found:
            return found
        key = None if job.forget else tombstones.make_key(session.path)
        numbers = [number for (number,) in session.execute("FROM leaving").fetchall()]
        withdrawals.add_withdrawals(session, job.withdrawals)  # by what was sent
        for table, condition in _GONE.items():
            session.execute(f"DELETE FROM store.{table} WHERE {condition}")
        _renew_tombstones(session, job, key)
        store.count_revision()
        profiles = database.name("profiles")
        database.execute(f"DELETE FROM {profiles} WHERE _id = ANY(%s::bigint[])", [numbers])
        work.apply()
    try:
        database.vacuum(["profiles", *_GONE])
    except psycopg.Error:
        session.report.message("the erased rows are gone, and their bytes go with the next vacuum of the database")
    return found


def _renew_tombstones(session: StoreSession, job: ErasureJob, key: bytes | None) -> None:
    """Take away the tombstones of who is forgotten, and add those of who is erased."""
    session.execute("ATTACH ':memory:' AS fresh")
    tables.prepare_tombstones(session.connection, "fresh")
    session.execute("INSERT INTO fresh.erased FROM store.erased")
    if job.forget:
        session.execute("DELETE FROM fresh.erased WHERE person IN (FROM pardoned)")
    if key is not None:
        tombstones.load_pads(session, key)
        erasure.add_tombstones(session)
        session.execute("DELETE FROM store.about WHERE key = ?", [tombstones.CHECK])
        session.execute("INSERT INTO store.about VALUES (?, ?)", [tombstones.CHECK, tombstones.compute_check(key)])
    session.execute("DELETE FROM store.erased")
    session.execute("INSERT INTO store.erased FROM fresh.erased")
    session.execute("DETACH fresh")
    tables.mark_format(session.connection, "store")
