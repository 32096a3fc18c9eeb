"""
Which profiles go out now, and what each of them counts as: the temporary table `delta`.

It has a row for each profile of the store, and for each one that is gone from it and that the partner should delete:

    profile      its number; below 0 for an erased one, see `withdrawals`
    verdict      what it counts as, as a place in `VERDICTS`
    digest       of the values that it has now, when it is selected
    known        it was sent before
    identifiers  under which the partner knows it once this is sent, or knew it before, when deletions are sent
    bare         nothing but its identifiers may leave
    unwritable   no file of this format can hold it, so it is refused before it is sent
    refused      that, or the partner refused it, which is known only after it was sent

The rows of the file stand in the order of the profiles' numbers, the deleted ones after the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from connrunner.core.counts import Counts, imbalance_error
from connrunner.core.model import Export, Property
from connrunner.profiles import consent, scan_order, values, where
from connrunner.profiles.exporting import identifiers, withdrawals
from connrunner.profiles.jobs import ExportJob
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text

VERDICTS = ("created", "updated", "unchanged", "filtered", "consent_blocked", "deleted", "rejected")
CREATED, UPDATED, UNCHANGED, FILTERED, BLOCKED, DELETED, REJECTED = range(len(VERDICTS))
IN_ORDER = f"s.verdict = {DELETED}, s.profile"


def create_delta(session: StoreSession, job: ExportJob, columns: Mapping[str, tuple[Property, str]]) -> Counts:
    """Make the table for the connection of *job* and return its counters."""
    work, connection = job.work, job.stamp.connection
    total = int(session.one("SELECT count(*) FROM store.profiles"))
    condition = "true" if work.where is None else where.compile_condition(session, work.where)
    allowed = consent.is_allowed(work.objectives, session.model.objectives, session.layout.consent)
    # What the ledger of a destination knows a profile by is its key.
    known_by = [] if job.has_keys else list(columns.values())
    current = identifiers.compose_identifiers(known_by) if work.deleted == "send" else "NULL::VARCHAR"
    selected = f"{condition} AND {allowed}"
    with where.translate_errors(session, work.where):
        session.execute_watched(
            f"""CREATE OR REPLACE TEMP TABLE delta AS
            SELECT profile, digest, identifiers, NOT allowed AS bare, known, false AS refused,
                false AS unwritable, (CASE
                WHEN NOT matches THEN {FILTERED} WHEN NOT allowed THEN {BLOCKED}
                WHEN NOT known THEN {CREATED} WHEN digest IS DISTINCT FROM before THEN {UPDATED}
                ELSE {UNCHANGED} END)::UTINYINT AS verdict
            FROM (
                SELECT p._id AS profile, coalesce({condition}, false) AS matches, {allowed} AS allowed,
                    CASE WHEN {selected} THEN {_digest(columns)} END AS digest,
                    CASE WHEN {selected} THEN {current} WHEN s.known THEN coalesce(s.identifiers, {current}) END
                        AS identifiers,
                    coalesce(s.known, false) AS known, s.digest AS before
                FROM store.profiles p LEFT JOIN (
                    SELECT profile, digest, identifiers, true AS known FROM store.sent
                    WHERE connection = {quote_text(connection)}
                ) s ON s.profile = p._id
            )""",
            lambda part: session.report.progress("checking", round(part * total), total),
        )
    if work.deleted == "send":
        withdrawals.load_withdrawals(session, job.withdrawals, connection)
        _mark_deleted(session, [owner for owner, _ in known_by if owner.identifier], connection, job)
    return count_delta(session)


def _mark_deleted(session: StoreSession, exported: Sequence[Property], connection: str, job: ExportJob) -> None:
    """
    Let what the partner knows and should know no more count as deleted.

    An identifier that belongs to a selected profile by now is left out, or the partner would delete that one; a profile
    of which no identifier is left is not sent at all.
    """
    session.execute(f"""
        INSERT INTO delta BY NAME
        SELECT profile, identifiers, true AS bare, true AS known, false AS refused,
            false AS unwritable FROM store.sent
        WHERE connection = {quote_text(connection)} AND identifiers IS NOT NULL
            AND profile NOT IN (SELECT _id FROM store.profiles)
        UNION ALL BY NAME
        SELECT profile, identifiers, true AS bare, true AS known, false AS refused, false AS unwritable
        FROM withdrawals""")
    lost = f"known AND (verdict IS NULL OR verdict IN ({FILTERED}, {BLOCKED}))"
    if not session.one(f"SELECT count(*) FROM delta WHERE {lost}"):
        return
    found = [identifiers.extract_text(owner, "identifiers") for owner in exported]
    for owner, value in zip(exported, found, strict=True):
        session.execute(f"""
            UPDATE delta SET identifiers = json_merge_patch(identifiers, {quote_text(json.dumps({owner.name: None}))})
            WHERE {lost} AND {value} IN (
                SELECT {value} FROM delta WHERE verdict IN ({CREATED}, {UPDATED}, {UNCHANGED}))""")
    is_known = "identifiers IS NOT NULL" if job.has_keys else f"coalesce({', '.join(found)}) IS NOT NULL"
    session.execute(f"""
        UPDATE delta SET verdict = {DELETED} WHERE {lost} AND {is_known};
        DELETE FROM delta WHERE verdict IS NULL""")


def count_delta(session: StoreSession) -> Counts:
    """Return the counters of the table. RunError when they do not account for each of its rows."""
    found = dict(
        session.execute(
            f"SELECT CASE WHEN refused THEN {REJECTED} ELSE verdict END, count(*) FROM delta GROUP BY ALL"
        ).fetchall()
    )
    numbers = {name: found.get(number, 0) for number, name in enumerate(VERDICTS)}
    total = sum(found.values())
    counts = Counts(read=total, checked=total - numbers["filtered"], **numbers)
    if problem := counts.imbalance():
        raise imbalance_error(problem)
    return counts


def is_written(work: Export) -> str:
    """Return the condition that the row `s` of the table stands in the file."""
    verdicts = [CREATED, UPDATED, DELETED, *([UNCHANGED] if work.rows == "all" else [])]
    return f"s.verdict IN ({', '.join(map(str, verdicts))}) AND NOT s.unwritable"


def find_written(session: StoreSession, work: Export, rows: int) -> str:
    """
    Return what follows `FROM` for the profiles `p` of the *rows* of the file, in its order; when none is deleted.

    To meet the table and to sort costs as much as all the rest, so neither is done where all profiles go out.
    """
    source = "store.profiles p"
    if rows < int(session.one("SELECT count(*) FROM store.profiles")):
        source += f" WHERE p._id IN (SELECT s.profile FROM delta s WHERE {is_written(work)})"
    return source + scan_order.order_by_number(session, f"SELECT p._id FROM {source}")


def _digest(columns: Mapping[str, tuple[Property, str]]) -> str:
    # No text contains NUL, and none is empty. The columns' names are part of what is sent: a new column is a change of
    # every row.
    cells = [
        f"to_json({value})::VARCHAR" if owner.many else values.cast_text(owner.type, value)
        for owner, value in columns.values()
    ]
    # Takes NULL for an empty text, and three quarters of the time of `concat_ws`.
    parts = [quote_text(json.dumps(list(columns))), *cells]
    return f"md5_number(concat({', chr(0), '.join(parts)}))"
