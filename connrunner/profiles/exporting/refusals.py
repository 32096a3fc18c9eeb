"""Rows that the partner refused, or no file can hold: they count as not sent, and a person has to see why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from connrunner.core.model import Export
from connrunner.errors import RunError
from connrunner.profiles import rejects
from connrunner.profiles.exporting import delta, identifiers
from connrunner.profiles.results import RefusedRow
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.temporary_files import choose_path, open_private
from connrunner.text.redaction import redact_partner_words

MOST = 100_000  # rows that the rejects name
LONGEST = 1_000  # characters of what the partner said about one


def mark_unwritable(session: StoreSession, reason: str, source: str) -> int:
    """Mark the rows of *source* that have a *reason*, an expression, as refused; return how many there are."""
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE refusals AS
        SELECT profile, NULL::BIGINT AS row, 'unwritable-format' AS code, message
        FROM (SELECT s.profile, ({reason})::VARCHAR AS message FROM {source}) WHERE message IS NOT NULL;
        UPDATE delta SET refused = true, unwritable = true WHERE profile IN (SELECT profile FROM refusals)""")
    return int(session.one("SELECT count(*) FROM refusals"))


def mark_refused(session: StoreSession, work: Export, refused: Sequence[RefusedRow], *, rows: int) -> None:
    """Mark the *refused* ones of the *rows* of the file in `delta`. RunError when a row is beyond these."""
    if not refused:
        return
    for one in refused:
        if not 0 <= one.row < rows:
            raise RunError(
                f"the connector says that row {one.row + 1:,} was refused, but {rows:,} rows were sent",
                hint="nothing was noted as sent, so the next run sends it again; please report this",
                code="unknown-row",
            )
    path = choose_path(session.temp)  # DuckDB reads lines many times faster than it takes parameters
    with open_private(path) as file:
        for one in refused:
            message = redact_partner_words(one.message)  # what other connectors pass on, too
            message = message if len(message) <= LONGEST else message[:LONGEST] + "…"
            line = json.dumps({"row": one.row, "code": one.code, "message": message}, ensure_ascii=False)
            file.write(line.encode("utf-8", "replace") + b"\n")
    session.execute(f"""
        INSERT INTO refusals BY NAME
        SELECT n.profile, r.* FROM read_json({quote_text(str(path))}, format = 'newline_delimited',
            columns = {{row: 'BIGINT', code: 'VARCHAR', message: 'VARCHAR'}}) r
        JOIN (
            SELECT s.profile, row_number() OVER (ORDER BY {delta.IN_ORDER}) - 1 AS row
            FROM delta s WHERE {delta.is_written(work)}
        ) n ON n.row = r.row;
        UPDATE delta SET refused = true WHERE profile IN (SELECT profile FROM refusals)""")
    path.unlink()


def write_refusals(session: StoreSession, path: Path, work: Export, *, file: str) -> None:
    """
    Write to *path* why rows of *file* were refused, and which profiles consent keeps back.

    A JSON line for each of the first `MOST` of both.
    """
    rejects.create_rejects(session)
    key = identifiers.describe_identifiers(session, "s.identifiers")
    session.execute(f"""
        INSERT INTO rejects BY NAME
        SELECT {quote_text(file)} AS file, 0 AS part, r.row + 1 AS line, {key} AS key, 'write' AS stage,
            r.code, r.message, CASE WHEN r.profile > 0 THEN r.profile END AS profile
        FROM (FROM refusals ORDER BY row LIMIT {MOST}) r JOIN delta s ON s.profile = r.profile
        LEFT JOIN store.profiles p ON p._id = r.profile""")
    _tell_unnamed(session, "refusals", int(session.one("SELECT count(*) FROM refusals")))
    message = f"no consent to {' or '.join(work.objectives)}"
    blocked = f"FROM delta WHERE verdict = {delta.BLOCKED}"
    session.execute(f"""
        INSERT INTO rejects BY NAME
        SELECT {quote_text(file)} AS file, 1 AS part, {key} AS key, 'consent' AS stage, 'no-consent' AS code,
            {quote_text(message)} AS message, s.profile
        FROM ({blocked} ORDER BY profile LIMIT {MOST}) s LEFT JOIN store.profiles p ON p._id = s.profile""")
    _tell_unnamed(session, "profiles without consent", int(session.one(f"SELECT count(*) {blocked}")))
    rejects.write_rejects(session, path)


def _tell_unnamed(session: StoreSession, what: str, count: int) -> None:
    if count > MOST:
        session.report.message(f"the rejects name the first {MOST:,} {what}; {count - MOST:,} more are left out")
