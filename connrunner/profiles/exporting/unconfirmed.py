"""
Rows of an export that a connector began to deliver, until it is known what became of each: the table `unconfirmed`.

Some partners can say later what they took. So what a run is about to deliver to one of those is durable before the
first row leaves; `confirm_export` takes it away with the end of the run. What a run that was cut off left is settled
by the next one, once the connector has asked the partner: from then on the store knows what has arrived, as if that run
had ended well. Nothing is sent twice, and who left the selection meanwhile can be withdrawn.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from connrunner.core import instant
from connrunner.core.model import Export
from connrunner.errors import RunError
from connrunner.profiles.exporting import delta, withdrawals
from connrunner.profiles.exporting.delta import CREATED, DELETED, UNCHANGED, UPDATED
from connrunner.profiles.jobs import RunStamp
from connrunner.profiles.results import UnconfirmedRows
from connrunner.profiles.session import StoreSession


def note_rows(session: StoreSession, work: Export, stamp: RunStamp) -> None:
    """Make durable which rows of `delta` stand in the file that is about to be delivered."""
    with session.transaction():
        session.execute("DELETE FROM store.unconfirmed WHERE connection = ?", [stamp.connection])
        session.execute(
            f"""INSERT INTO store.unconfirmed BY NAME
            SELECT ? AS connection, ? AS run, ?::TIMESTAMPTZ AS started, s.profile, s.verdict, s.digest, s.identifiers,
                row_number() OVER (ORDER BY {delta.IN_ORDER}) - 1 AS row,
                (SELECT value::INTEGER FROM store.about WHERE key = 'next_run') AS next
            FROM delta s WHERE {delta.is_written(work)}""",
            [stamp.connection, stamp.run, instant.text(stamp.at)],
        )


def forget_rows(session: StoreSession, connection: str) -> None:
    """Take away what was noted of *connection*."""
    session.execute("DELETE FROM store.unconfirmed WHERE connection = ?", [connection])


def find_unconfirmed(session: StoreSession, connection: str) -> UnconfirmedRows | None:
    """Return what a run of *connection* left; None when there is nothing, or a later run has told the store more."""
    found = session.execute(
        """SELECT run, epoch_us(any_value(started)), max(row) + 1 FROM store.unconfirmed u WHERE connection = ?1
        AND NOT EXISTS (FROM store.runs r WHERE r.connection = ?1 AND r.id >= u.next)
        GROUP BY run""",
        [connection],
    ).fetchone()
    if found is None:
        return None
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=found[1])
    return UnconfirmedRows(stamp=RunStamp(connection=connection, run=found[0], at=at), rows=found[2])


def settle_unconfirmed(
    session: StoreSession, rows: UnconfirmedRows, refused: Collection[int], unknown: Collection[int]
) -> None:
    """
    Record the *rows* as what the partner has, but for the *refused* ones; all or nothing.

    Of *unknown* ones it may have either version, so they are offered again, and withdrawn should they be selected no
    more. RunError, and nothing is recorded, for a row that there is not.
    """
    for row in (*refused, *unknown):
        if not 0 <= row < rows.rows:
            raise RunError(
                f"the connector speaks of row {row + 1:,} of run {rows.stamp.run}, which had {rows.rows:,} rows",
                hint="nothing was noted; please report this",
                code="unknown-row",
            )
    connection = rows.stamp.connection
    with session.transaction():
        session.execute(
            """CREATE OR REPLACE TEMP TABLE settled AS
            SELECT profile, verdict, digest, identifiers, row IN (SELECT unnest(?::BIGINT[])) AS refused,
                row IN (SELECT unnest(?::BIGINT[])) AS unknown
            FROM store.unconfirmed WHERE connection = ?""",
            [sorted(refused), sorted(unknown), connection],
        )
        session.execute(
            f"""DELETE FROM store.sent WHERE connection = ? AND profile IN (
                SELECT profile FROM settled WHERE verdict = {DELETED} AND NOT refused AND NOT unknown)""",
            [connection],
        )
        session.execute(
            f"""UPDATE store.sent t SET digest = CASE WHEN NOT s.refused AND NOT s.unknown THEN s.digest END,
                identifiers = CASE WHEN s.refused OR s.unknown THEN t.identifiers ELSE s.identifiers END
            FROM settled s
            WHERE t.connection = ? AND t.profile = s.profile AND s.verdict IN ({UPDATED}, {UNCHANGED})""",
            [connection],
        )
        session.execute(
            f"""INSERT INTO store.sent BY NAME
            SELECT ?1 AS connection, profile, CASE WHEN NOT unknown THEN digest END AS digest, identifiers FROM settled
            WHERE verdict = {CREATED} AND NOT refused
                AND profile NOT IN (SELECT profile FROM store.sent WHERE connection = ?1)""",
            [connection],
        )
        withdrawals.settle_withdrawals(session, connection)
        forget_rows(session, connection)
