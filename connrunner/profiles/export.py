"""
An export: which profiles go out, and what has gone out before.

For each export connection the store keeps what its last success sent: each profile with a digest of the values. A
profile goes out again when one of these values changed, whatever happened to its other properties, and when it comes
back after it was left out for a time. What is kept moves only when the rows have arrived.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from connrunner.core.counts import Counts
from connrunner.core.model import Export
from connrunner.errors import RunError
from connrunner.profiles import ExportResult, consent, output, runs, sql, values, where
from connrunner.profiles.merge import unbalanced
from connrunner.profiles.session import Session

VERDICTS = ("created", "updated", "unchanged", "filtered", "consent_blocked")
_CREATED, _UPDATED, _UNCHANGED, _FILTERED, _BLOCKED = range(len(VERDICTS))


def export(session: Session, work: Export, *, sender: str, path: Path) -> ExportResult:
    """Write the rows of the connection *sender*; the temporary table `sending` says what becomes of each profile."""
    columns = output.columns(session, work.fields)
    for name in work.objectives:
        if name not in session.model.objectives:
            raise RunError(
                f"there is no objective {name!r} in profile.yaml", hint="declare it, or name another", code="mapping"
            )
    total = int(session.one("SELECT count(*) FROM store.profiles"))
    condition = "true" if work.where is None else where.condition(session, work.where)
    allowed = consent.allowed(work.objectives, session.model.objectives, session.layout.consent)
    cells = [
        f"array_to_string(list_transform({value}, lambda x: {values.plain(owner.type, 'x')}), chr(31))"
        if owner.many
        else values.plain(owner.type, value)
        for owner, value in columns.values()
    ]
    # The columns' names are part of what is sent: a new column is a change of every row.
    digest = f"md5_number(to_json([{', '.join([*map(sql.text, columns), *cells])}])::VARCHAR)"
    with where.worked_out(work.where):
        session.watched(
            f"""CREATE OR REPLACE TEMP TABLE sending AS
            SELECT profile, digest, (CASE
                WHEN NOT matches THEN {_FILTERED} WHEN NOT allowed THEN {_BLOCKED}
                WHEN before IS NULL THEN {_CREATED} WHEN before <> digest THEN {_UPDATED}
                ELSE {_UNCHANGED} END)::UTINYINT AS verdict
            FROM (
                SELECT p._id AS profile, coalesce({condition}, false) AS matches, {allowed} AS allowed,
                    CASE WHEN {condition} AND {allowed} THEN {digest} END AS digest, s.digest AS before
                FROM store.profiles p LEFT JOIN (
                    SELECT profile, digest FROM store.sent WHERE connection = {sql.text(sender)}
                ) s ON s.profile = p._id
            )""",
            lambda part: session.report.progress("checking", round(part * total), total),
        )
    counts = _counted(session, total)
    sent = [_CREATED, _UPDATED, _UNCHANGED] if work.rows == "all" else [_CREATED, _UPDATED]
    written = counts.created + counts.updated + (counts.unchanged if work.rows == "all" else 0)
    output.write(
        session,
        path,
        work.format,
        columns,
        f"""store.profiles p JOIN sending s ON s.profile = p._id
            WHERE s.verdict IN ({", ".join(map(str, sent))}) ORDER BY p._id""",
        lambda part: session.report.progress("writing", round(part * written), written),
    )
    return ExportResult(counts=counts, rows_written=written)


def exported(session: Session, counts: Counts, *, sender: str, run: int, at: datetime) -> None:
    """Make what `sending` holds the last success of the connection *sender*."""
    mine = f"connection = {sql.text(sender)}"
    sent = f"verdict IN ({_CREATED}, {_UPDATED}, {_UNCHANGED})"
    with session.transaction():
        number = runs.begin(session, sender, run, "export", at)
        session.execute(
            f"DELETE FROM store.sent WHERE {mine} AND profile NOT IN (SELECT profile FROM sending WHERE {sent})"
        )
        session.execute(
            f"""UPDATE store.sent t SET digest = s.digest, run = {number} FROM sending s
            WHERE t.{mine} AND t.profile = s.profile AND s.verdict = {_UPDATED}"""
        )
        session.execute(
            f"""INSERT INTO store.sent SELECT {sql.text(sender)}, profile, digest, {number} FROM sending
            WHERE verdict = {_CREATED}"""
        )
        runs.end(session, number, counts)


def _counted(session: Session, total: int) -> Counts:
    found = dict(session.execute("SELECT verdict, count(*) FROM sending GROUP BY verdict").fetchall())
    numbers = {name: found.get(number, 0) for number, name in enumerate(VERDICTS)}
    counts = Counts(read=total, checked=total - numbers["filtered"], **numbers)
    if problem := counts.imbalance():
        raise unbalanced(problem)
    return counts
