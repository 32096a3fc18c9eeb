"""
The rows of erased people: they count as lacking consent, whatever else they hold, and nothing of them is kept.

A staged row that has an identifier of somebody who was erased loses its values before anything looks at it, so it finds
no profile, links no rows and replaces none; its `bad` begins with the code `erased`.
"""

from __future__ import annotations

from connrunner.core.counts import imbalance_error
from connrunner.lazy_dataclasses import replace
from connrunner.profiles import tombstones
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.readers.record_source import NO_RECORD
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text
from connrunner.text.words import agree

CODE = "erased"


def blank_erased(session: StoreSession, stage: Stage, plan: ImportPlan) -> Stage:
    """
    Return *stage* with the rows of erased people blanked.

    Outside of any transaction only, as `create_stage`. RunError when the key of the tombstones is not there.
    """
    if not stage.rows or not tombstones.has_tombstones(session):
        return stage
    known = {name for (name,) in session.execute("SELECT DISTINCT property FROM store.erased").fetchall()}
    fields = [mapped for mapped in plan.fields if mapped.field.property in known and not mapped.owner.many]
    if not fields:
        return stage
    tombstones.load_pads(session, tombstones.require_key(session))
    hits = " UNION ".join(
        f"""SELECT s.rowid AS rn FROM {stage.table} s, pads k, store.erased e
        WHERE s.v{mapped.number} IS NOT NULL AND e.property = {quote_text(mapped.field.property)}
            AND e.digest = {tombstones.digest_value(mapped.field.property, mapped.owner.type, f"s.v{mapped.number}")}"""
        for mapped in fields
    )
    last = int(session.one(f"SELECT max(rowid) FROM {stage.table}"))
    found = session.one(f"SELECT bitstring_agg(rn, 0, {last})::VARCHAR FROM ({hits})")
    return stage if found is None else _blank(session, stage, plan, str(found), last)


def _blank(session: StoreSession, stage: Stage, plan: ImportPlan, found: str, last: int) -> Stage:
    """Return the stage without the values of the rows, numbered up to *last*, whose bit in *found* is set."""
    table = f"{stage.table}_blanked"
    source = f"SELECT *, rowid AS rn FROM {stage.table}"
    if last >= stage.rows:  # lines without a record have left gaps in the numbers
        bad = f"CASE WHEN s.rowid IS NULL THEN [{quote_text(NO_RECORD)}] ELSE s.bad END AS bad"
        source = f"""SELECT s.* REPLACE ({bad}), n.range AS rn
            FROM range({last + 1}) n LEFT JOIN {stage.table} s ON s.rowid = n.range ORDER BY rn"""
    columns = [f"v{mapped.number}" for mapped in plan.fields] + [f"o{at}" for at in range(len(plan.consents))]
    # One bit for each row, and no join where it can be helped: a join loses the order of the file.
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE {table} AS
        SELECT * EXCLUDE (hit, rn) REPLACE (
            {", ".join(f"CASE WHEN NOT hit THEN {column} END AS {column}" for column in columns)},
            CASE WHEN hit THEN [{quote_text(CODE)}] ELSE bad END AS bad)
        FROM (SELECT *, get_bit(?::BIT, rn::INTEGER) = 1 AS hit FROM ({source}))""",
        [found],
    )
    numbers = session.execute(f"SELECT count(*), min(rowid), max(rowid) FROM {table}").fetchall()[0]
    if numbers != (last + 1, 0, last):
        raise imbalance_error(
            f"{agree(last + 1, 'row', 'was', 'were')} to be numbered in order, and the numbers are {numbers}"
        )
    if last >= stage.rows:
        session.execute(f"DELETE FROM {table} WHERE bad[1] = {quote_text(NO_RECORD)}")
    session.execute(f"DROP TABLE {stage.table}")
    return replace(stage, table=table, erased=True)


def is_erased(stage: Stage) -> str:
    """Return the condition that the row `s` of *stage* is about an erased person."""
    return f"coalesce(s.bad[1] = {quote_text(CODE)}, false)" if stage.erased else "false"
