"""
An export: which profiles go out, and what has gone out before.

For each export connection the store keeps what the partner accepted last: each profile with a digest of the values. A
profile goes out again when one of these values changed, whatever happened to its other properties, when the partner
refused it the last time, and when it comes back after it was left out for a time. What is kept changes only when the
rows have arrived.

With `deleted: send` a profile that the partner knows and that is not selected any more goes out once more, marked:
under the identifiers that it was sent with, for these say whom to delete, and with its other values of now when it
merely left `where`. When it lacks consent, or the store has it no longer, nothing else about that person leaves. The
identifiers are kept for this purpose, as long as the partner knows the profile. Without it, or when nothing is left to
say whom to delete, the partner receives nothing, and the profile counts as never sent.

A person who was erased is in none of the tables; `withdrawals` remembers whom the partner still has to delete. A
destination with a ledger of its own (`has_keys`) gets the key of each profile, and of a deleted one nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from connrunner.core.counts import Counts
from connrunner.core.model import DELETED_COLUMN, Property, PropertyType
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.profiles import expectations, recorded_runs, values
from connrunner.profiles.change_digest import digest_rows
from connrunner.profiles.exporting import delta, identifiers, refusals, unconfirmed, withdrawals, writers
from connrunner.profiles.exporting.delta import CREATED, DELETED, UNCHANGED, UPDATED, VERDICTS
from connrunner.profiles.jobs import ExportJob, HoldRules
from connrunner.profiles.profile_keys import row_key
from connrunner.profiles.results import ExportResult, HeldChange, RefusedRow, Sample
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text

KEY_COLUMN = "profile_key"  # the column of the key by which a destination's ledger knows a profile
HELD_SAMPLES = 20  # rows that the log of a held run shows
_KEY = Property(name=KEY_COLUMN, personal=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingExport:
    """What `export` wrote and nothing confirmed yet, beside the table `delta`."""

    job: ExportJob
    rows: int


def export(session: StoreSession, job: ExportJob) -> ExportResult:
    """See `ProfileStore.export`; the temporary table `delta` says what becomes of each profile."""
    work, form = job.work, job.form or job.work.format
    writers.check_writable(form)
    columns = writers.resolve_columns(session, work.fields)
    _check(session, job, columns)
    counts = delta.create_delta(session, job, columns)
    changes = counts.created + counts.updated + counts.deleted
    rows = changes + (counts.unchanged if work.rows == "all" else 0)
    before = int(session.one("SELECT count(*) FROM store.sent WHERE connection = ?", [job.stamp.connection]))
    broken = expectations.find_unexpected_rows(work.expect, rows=rows, changes=changes, before=before)
    if broken and work.expect.otherwise == "fail" and not (job.hold and job.hold.approved):
        raise expectations.unexpected_export_error(broken)
    some = counts.deleted > 0  # without deletions every value is one of a profile as it is now
    written = _with_deletions(columns, job, some=some) if work.deleted == "send" else dict(columns)
    if job.has_keys:
        key = f"coalesce(w.key, {row_key('s.profile')})" if some else row_key("p._id")
        written[KEY_COLUMN] = (_KEY, key)
    withdrawn = "LEFT JOIN withdrawals w ON w.profile = s.profile" if work.deleted == "send" else ""
    source = f"""delta s LEFT JOIN store.profiles p ON p._id = s.profile {withdrawn} WHERE {delta.is_written(work)}"""
    found = refusals.mark_unwritable(session, writers.find_unwritable(session, form, written, source), source)
    if found:
        counts, rows = delta.count_delta(session), rows - found
    samples = _read_samples(session, written, source, job.samples) if job.samples else ()
    if job.hold and (held := _find_held(session, job.hold, broken, counts, rows, written, source)):
        return ExportResult(counts=counts, rows_written=rows, written=False, samples=samples, held=held)
    has_file = rows > 0 or work.when_empty == "write"
    if has_file:
        ordered = f"{source} ORDER BY {delta.IN_ORDER}" if some else delta.find_written(session, work, rows)
        writers.write_rows(
            session,
            job.path,
            form,
            written,
            ordered,
            lambda part: session.report.progress("writing", round(part * rows), rows),
        )
    if has_file and job.can_settle:
        unconfirmed.note_rows(session, work, job.stamp)
    return ExportResult(counts=counts, rows_written=rows, written=has_file, samples=samples)


def _find_held(
    session: StoreSession,
    hold: HoldRules,
    broken: Sequence[str],
    counts: Counts,
    rows: int,
    written: Mapping[str, tuple[Property, str]],
    source: str,
) -> HeldChange | None:
    """Return what waits for somebody to approve it; None when the *rows* may go."""
    reasons = [*broken, *(["each run is reviewed (review: always)"] if hold.is_reviewed and rows else [])]
    if not reasons and not (hold.approved and rows):
        return None
    cells = [values.format_joined(owner, value, "; ") for owner, value in written.values()]
    row = f"to_json([s.profile::VARCHAR, s.verdict::VARCHAR, {', '.join(cells)}])::VARCHAR"
    content = digest_rows(session, row, source)
    told = json.dumps([content, list(written), counts.as_dict()])
    held = HeldChange(
        reasons=tuple(reasons or ["it is not what was approved"]),
        counts=counts,
        work=hold.work,
        source="",
        changes=hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest(),
        properties={},
        samples=_read_samples(session, written, source, HELD_SAMPLES, masked=True),
    )
    return None if held.digest == hold.approved else held


def confirm_export(
    session: StoreSession, pending: PendingExport, refused: Sequence[RefusedRow], rejects: Path | None, where: str
) -> Counts:
    """Record the rows of `delta`, but for the *refused* ones, as what the partner has; see `ProfileStore`."""
    job = pending.job
    connection = quote_text(job.stamp.connection)
    with session.transaction():
        number = recorded_runs.start_record(session, job.stamp, "export")
        refusals.mark_refused(session, job.work, refused, rows=pending.rows)
        counts = delta.count_delta(session)
        # The partner still has what it refused to delete.
        session.execute(f"""
            DELETE FROM store.sent WHERE connection = {connection} AND profile NOT IN (
                SELECT profile FROM delta WHERE refused OR verdict IN ({CREATED}, {UPDATED}, {UNCHANGED}))""")
        # Of what it refused to take it may have an older version, or none: it is offered again whatever its values are.
        session.execute(f"""
            UPDATE store.sent t SET run = {number}, digest = CASE WHEN NOT s.refused THEN s.digest END,
                identifiers = CASE WHEN s.refused THEN t.identifiers ELSE s.identifiers END
            FROM delta s
            WHERE t.connection = {connection} AND t.profile = s.profile AND s.verdict IN ({UPDATED}, {UNCHANGED})
                AND (s.verdict = {UPDATED} OR s.refused OR s.identifiers IS DISTINCT FROM t.identifiers)""")
        session.execute(f"""
            INSERT INTO store.sent BY NAME
            SELECT {connection} AS connection, profile, digest, identifiers, {number} AS run FROM delta
            WHERE verdict = {CREATED} AND NOT refused""")
        unconfirmed.forget_rows(session, job.stamp.connection)
        detail = {"output": where, "rows": pending.rows - len(refused)} if where else {}
        if job.hold and job.hold.approval:
            detail["approved"] = job.hold.approval
        recorded_runs.finish_record(session, number, counts, detail)
        if rejects and (counts.rejected or counts.consent_blocked):
            refusals.write_refusals(session, rejects, job.work, file=job.path.name)
        if job.work.deleted == "send":
            withdrawals.record_withdrawals(session, job.stamp.connection)
    withdrawals.drop_withdrawn(session, job.withdrawals, job.stamp.connection)
    return counts


def _check(session: StoreSession, job: ExportJob, columns: Mapping[str, tuple[Property, str]]) -> None:
    """RunError when *job* cannot mean anything for the store."""
    work = job.work
    for name in work.objectives:
        if name not in session.model.objectives:
            raise RunError(
                f"there is no objective {name!r} in profile.yaml", hint="declare it, or name another", code="mapping"
            )
    if job.has_keys and KEY_COLUMN in map(str.lower, columns):
        raise RunError(
            f"the export's `fields` have a column {KEY_COLUMN!r}, which the destination's ledger needs for itself",
            hint="rename that one",
            code="mapping",
        )
    if work.deleted == "skip":
        return
    if not job.has_keys and not any(owner.identifier for owner, _ in columns.values()):
        raise RunError(
            "`deleted: send` needs an identifier among the export's `fields`",
            hint="add one, for without it nobody can tell whom to delete, or leave out `deleted`",
            code="mapping",
        )
    for column in columns:
        if column.lower() == DELETED_COLUMN:
            raise RunError(
                f"`deleted: send` adds a column {DELETED_COLUMN!r}, "
                f"and the export's `fields` have a column {column!r} already",
                hint="rename that one",
                code="mapping",
            )


def _with_deletions(
    columns: Mapping[str, tuple[Property, str]], job: ExportJob, *, some: bool
) -> dict[str, tuple[Property, str]]:
    """
    Return *columns* with no more of a deleted profile than may leave, and the column that marks deleted ones.

    *some* says that there are any.
    """
    mark = Property(name=DELETED_COLUMN, type=PropertyType.BOOLEAN, personal=False)
    if not some:
        return {**columns, DELETED_COLUMN: (mark, "false")}
    found = {}
    for column, (owner, value) in columns.items():
        if job.has_keys:
            allowed = f"CASE WHEN s.verdict <> {DELETED} THEN {value} END"
        elif owner.identifier:
            known = identifiers.extract_value(owner, "s.identifiers")
            allowed = f"CASE WHEN s.verdict = {DELETED} THEN {known} ELSE {value} END"
        else:
            allowed = f"CASE WHEN NOT (s.bare AND s.verdict = {DELETED}) THEN {value} END"
        found[column] = (owner, allowed)
    found[DELETED_COLUMN] = (mark, f"(s.verdict = {DELETED})")
    return found


def _read_samples(
    session: StoreSession,
    columns: Mapping[str, tuple[Property, str]],
    source: str,
    most: int,
    *,
    masked: bool = False,
) -> tuple[Sample, ...]:
    """Return the first rows of *source* that change something for the partner; *masked* hides what is personal."""
    cells = [values.format_joined(owner, value, "; ") for owner, value in columns.values()]
    if masked:
        owners = [owner for owner, _ in columns.values()]
        cells = [values.redact(cell, personal=owner.personal) for cell, owner in zip(cells, owners, strict=True)]
    rows = session.execute(
        f"""SELECT s.verdict, {identifiers.describe_identifiers(session, "s.identifiers", masked=masked)},
            {", ".join(cells)}
        FROM {source} AND s.verdict <> {UNCHANGED} ORDER BY {delta.IN_ORDER} LIMIT {most}"""
    ).fetchall()
    return tuple(
        Sample(counted_as=VERDICTS[verdict], profile=profile or "", values=dict(zip(columns, texts, strict=True)))
        for verdict, profile, *texts in rows
    )
