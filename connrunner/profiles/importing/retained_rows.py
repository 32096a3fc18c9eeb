"""
Refused rows that stand nowhere else: those of sources that deliver each row once.

They are retained as they came, as JSON texts, and offered again by each run of their connection, as its first file,
called `kept rows`; so what newer rows say wins. They count in `read` like the rows of any file. A retained row goes

  - when it is refused no more, whatever else became of it;
  - when it would be refused again, and a newer row of the same run, be that one refused or not, has a key in common
    with it or is about a profile that it found: it then counts as `duplicate`.

So of one profile no more is retained than the newest refused row. A row that could not be read at all stays until the
connection is forgotten (`ProfileStore.forget_connection`): its source does not deliver it again. Where `keep` limits
the past, rows go with the run that refused them first, too, for a tick drops them (`ProfileStore.drop_retained`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from connrunner.core.counts import imbalance_error
from connrunner.core.model import Format, LocalFile
from connrunner.core.retention_policy import RetainedRows
from connrunner.lazy_dataclasses import replace
from connrunner.profiles.importing.classify import NUMBER, REFUSED
from connrunner.profiles.importing.match import meets_profile
from connrunner.profiles.importing.row_keys import describe_key
from connrunner.profiles.importing.stage import Stage, create_stage
from connrunner.profiles.mapping import ImportPlan, MappedField
from connrunner.profiles.readers import jsonlines
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import all_of, quote_text
from connrunner.text.words import plural

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAME = "kept rows"
FILE = LocalFile(path="", name=NAME, size=0, modified="", once=True)
_REFUSED = f"verdict IN ({', '.join(map(str, REFUSED))})"


def list_retained(session: StoreSession) -> list[RetainedRows]:
    """See `ProfileStore.list_retained`."""
    found = session.execute("""
        SELECT k.connection, r.run, epoch_us(r.started), count(*) FROM store.kept k JOIN store.runs r ON r.id = k.run
        GROUP BY ALL ORDER BY ALL""").fetchall()
    return [
        RetainedRows(connection=name, run=run, started_at=EPOCH + timedelta(microseconds=started), rows=rows)
        for name, run, started, rows in found
    ]


def drop_retained(session: StoreSession, expired: Iterable[RetainedRows]) -> None:
    """See `ProfileStore.drop_retained`."""
    with session.transaction():
        for one in expired:
            session.execute(
                "DELETE FROM store.kept WHERE connection = ? AND run IN"
                " (SELECT id FROM store.runs WHERE connection = ? AND run = ?)",
                [one.connection, one.connection, one.run],
            )


def stage_retained(session: StoreSession, plan: ImportPlan, connection: str, *, table: str) -> Stage | None:
    """Stage the retained rows of *connection* in the temporary *table*; None when there are none."""
    count = int(session.one("SELECT count(*) FROM store.kept WHERE connection = ?", [connection]))
    if not count:
        return None
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE kept_rows AS
        SELECT number, flaw, record FROM store.kept WHERE connection = {quote_text(connection)}
        ORDER BY number"""
    )
    rows = session.execute("SELECT flaw, record FROM kept_rows ORDER BY rowid").fetchall()
    form = plan.work.format
    zone = form.timezone or ("UTC" if form.type == "excel" else "")
    records = replace(jsonlines.copy_retained(rows, plan.columns, session.temp), timezone=zone)
    are = "is" if count == 1 else "are"
    session.report.message(f"{plural(count, 'refused row')} of earlier runs {are} tried again", rows=count)
    return create_stage(session, table, records, plan, NAME, lambda _: None)


def mark_superseded(session: StoreSession, old: Stage, newer: Iterable[Stage], plan: ImportPlan) -> None:
    """Make duplicates of the classified rows of *old* that are refused, and that rows of *newer* stages replace."""
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE replaceable AS
        SELECT s.rowid AS rn, s.* FROM {old.table} s JOIN verdicts v ON v.rn = s.rowid WHERE v.{_REFUSED};
        CREATE OR REPLACE TEMP TABLE superseded (rn BIGINT)""")
    if not session.one("SELECT count(*) FROM replaceable"):
        return
    session.execute(f"CREATE OR REPLACE TEMP TABLE owners AS {_select_owners(session, plan)}")
    for fresh in newer:
        for group in plan.groups:
            same_key = all_of(f"s.v{mapped.number} = k.v{mapped.number}" for mapped in group)
            same_profile = all_of(f"s.v{mapped.number} = k.{_stored_column(mapped)}" for mapped in group)
            session.execute(f"""
                INSERT INTO superseded SELECT k.rn FROM replaceable k JOIN {fresh.table} s ON {same_key};
                INSERT INTO superseded SELECT k.rn FROM owners k JOIN {fresh.table} s ON {same_profile}""")
    session.execute(f"""
        UPDATE verdicts SET verdict = {NUMBER["duplicate"]} WHERE rn IN (FROM superseded);
        DELETE FROM fates WHERE rn IN (FROM superseded);
        DELETE FROM taken WHERE rn IN (FROM superseded)""")


def _select_owners(session: StoreSession, plan: ImportPlan) -> str:
    """Return the query of the profiles that replaceable rows found: the rows and the profiles' identifiers."""
    identifiers = {mapped.number: mapped for group in plan.groups for mapped in group}.values()
    found = ", ".join(f"{session.layout.value(one.field.property)} AS {_stored_column(one)}" for one in identifiers)
    return " UNION ALL ".join(
        f"SELECT s.rn, {found} FROM replaceable s JOIN store.profiles p ON {meets_profile(session, group)}"
        for group in plan.groups
    )


def _stored_column(mapped: MappedField) -> str:
    return f"p{mapped.number}"


def reject_superseded(session: StoreSession, old: Stage, plan: ImportPlan, *, part: int) -> None:
    """Add the rows that `mark_superseded` found to the temporary table `rejects`."""
    session.execute(
        f"""INSERT INTO rejects (file, part, line, key, stage, code, message)
        SELECT {quote_text(NAME)}, {part}, s.rowid + {old.first_line}, {describe_key(plan, masked=True)},
            'match', 'duplicate', 'a newer row is about the same profile and replaces this one'
        FROM {old.table} s WHERE s.rowid IN (FROM superseded)"""
    )


def drop_settled(session: StoreSession) -> None:
    """Drop the retained rows that `verdicts` refuses no more."""
    session.execute(
        f"""DELETE FROM store.kept WHERE number IN (
            SELECT k.number FROM kept_rows k JOIN verdicts v ON v.rn = k.rowid WHERE NOT v.{_REFUSED})"""
    )


def _take_numbers(session: StoreSession) -> int:
    """Return the first number for new rows, which no connection's rows have, be they at hand or not."""
    known = "SELECT value::BIGINT FROM store.about WHERE key = 'next_kept'"
    return int(session.one(f"SELECT greatest(coalesce(max(number) + 1, 0), coalesce(({known}), 0)) FROM store.kept"))


def _note_numbers(session: StoreSession) -> None:
    session.execute("DELETE FROM store.about WHERE key = 'next_kept'")
    session.execute("INSERT INTO store.about SELECT 'next_kept', (max(number) + 1)::VARCHAR FROM store.kept")


def retain_refused(session: StoreSession, stage: Stage, form: Format, connection: str, *, part: int, run: int) -> None:
    """Retain the rows of *stage* that `verdicts` refuses, with the first of their reasons in `rejects`."""
    wanted = int(session.one(f"SELECT count(*) FROM verdicts WHERE {_REFUSED}"))
    if not wanted:
        return
    # The file is read once more: to stage all of its rows whole would cost each run what few runs need.
    records = stage.records
    numbered = f"SELECT *, row_number() OVER () - 1 - {stage.before} AS rn FROM {records.relation}"
    refused = f"SELECT line - {stage.first_line} AS rn, field, code FROM rejects WHERE part = {part}"
    if stage.files:
        refused = "SELECT l.rn, r.field, r.code FROM rejects r JOIN places l ON l.part = r.part AND l.line = r.line"
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE retained AS
        SELECT r.rn, {records.error} AS flaw, {records.record} AS record FROM ({numbered}) r
        WHERE r.rn IN (SELECT rn FROM verdicts WHERE {_REFUSED})""")
    if (found := session.one("SELECT count(*) FROM retained")) != wanted:
        raise imbalance_error(f"{wanted:,} refused rows were to be kept, {found:,} were")
    first = _take_numbers(session)
    session.execute(
        f"""INSERT INTO store.kept
        SELECT ?, {first} + k.rn, k.flaw, {form.type not in ("json", "jsonl")}, k.record, r.code, {run}
        FROM retained k LEFT JOIN (
            SELECT rn, arg_min(code, coalesce(field, '')) AS code FROM ({refused}) GROUP BY rn
        ) r ON r.rn = k.rn""",
        [connection],
    )
    _note_numbers(session)
