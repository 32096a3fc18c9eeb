"""
An export: which profiles go out, and what has gone out before.

For each export connection the store keeps what the partner accepted last: each profile with a digest of the values. A
profile goes out again when one of these values changed, whatever happened to its other properties, when the partner
refused it the last time, and when it comes back after it was left out for a time. What is kept moves only when the
rows have arrived.

With `deleted: send` a profile that the partner knows and that is not selected any more goes out once more, marked:
under the identifiers that it was sent with, for these say whom to delete, and with its other values of now when it
merely left `where`. When it lacks consent, or the store has it no longer, nothing else about that person leaves. The
identifiers are kept for this purpose, as long as the partner knows the profile. Without it, or when nothing is left to
say whom to delete, the partner is told nothing, and the profile counts as never sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from connrunner.core.counts import Counts
from connrunner.core.model import Export, Format, Property, PropertyType
from connrunner.errors import RunError
from connrunner.profiles import expected, run_records, values
from connrunner.profiles.exporting import delta, identifiers, refusals, writers
from connrunner.profiles.exporting.delta import CREATED, DELETED, UNCHANGED, UPDATED, VERDICTS
from connrunner.profiles.results import ExportResult, RefusedRow, Sample
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text

MARK = "deleted"  # the column that says so


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingExport:
    """What `export` wrote and nobody confirmed yet, beside the table `sending`."""

    work: Export
    file: str
    rows: int


def export(session: StoreSession, work: Export, form: Format, *, sender: str, path: Path, samples: int) -> ExportResult:
    """Write the rows of the connection *sender*; the temporary table `sending` says what becomes of each profile."""
    writers.check(form)
    columns = writers.columns(session, work.fields)
    _check(session, work, columns)
    counts = delta.decide(session, work, columns, sender=sender)
    changes = counts.created + counts.updated + counts.deleted
    rows = changes + (counts.unchanged if work.rows == "all" else 0)
    before = int(session.one("SELECT count(*) FROM store.sent WHERE connection = ?", [sender]))
    expected.check_export(work.expect, rows=rows, changes=changes, before=before)
    told = _told(columns) if work.deleted == "send" else columns
    source = f"""sending s LEFT JOIN store.profiles p ON p._id = s.profile WHERE {delta.to_send(work)}"""
    found = _samples(session, told, source, samples) if samples else ()
    written = rows > 0 or work.when_empty == "write"
    if written:
        writers.write(
            session,
            path,
            form,
            told,
            f"{source} ORDER BY {delta.IN_ORDER}",
            lambda part: session.report.progress("writing", round(part * rows), rows),
        )
    return ExportResult(counts=counts, rows_written=rows, written=written, samples=found)


def exported(
    session: StoreSession,
    sent: PendingExport,
    refused: Sequence[RefusedRow],
    *,
    sender: str,
    run: int,
    at: datetime,
    rejects: Path | None,
) -> Counts:
    """Make what `sending` holds, but for the *refused* rows, the last success of the connection *sender*."""
    mine = f"connection = {quote_text(sender)}"
    with session.transaction():
        number = run_records.begin(session, sender, run, "export", at)
        if refused:
            refusals.mark(session, sent.work, refused, rows=sent.rows)
        counts = delta.counted(session)
        # The partner still has what it refused to delete.
        session.execute(f"""
            DELETE FROM store.sent WHERE {mine} AND profile NOT IN (
                SELECT profile FROM sending WHERE refused OR verdict IN ({CREATED}, {UPDATED}, {UNCHANGED}))""")
        # Of what it refused to take it may have an older version, or none: it is offered again whatever its values are.
        session.execute(f"""
            UPDATE store.sent t SET run = {number}, digest = CASE WHEN NOT s.refused THEN s.digest END,
                identifiers = CASE WHEN s.refused THEN t.identifiers ELSE s.identifiers END
            FROM sending s WHERE t.{mine} AND t.profile = s.profile AND s.verdict IN ({UPDATED}, {UNCHANGED})
                AND (s.verdict = {UPDATED} OR s.refused OR s.identifiers IS DISTINCT FROM t.identifiers)""")
        session.execute(f"""
            INSERT INTO store.sent BY NAME
            SELECT {quote_text(sender)} AS connection, profile, digest, identifiers, {number} AS run FROM sending
            WHERE verdict = {CREATED} AND NOT refused""")
        run_records.end(session, number, counts)
        if refused and rejects:
            refusals.tell(session, rejects, file=sent.file)
    return counts


def _check(session: StoreSession, work: Export, columns: Mapping[str, tuple[Property, str]]) -> None:
    """RunError when *work* cannot mean anything for the store."""
    for name in work.objectives:
        if name not in session.model.objectives:
            raise RunError(
                f"there is no objective {name!r} in profile.yaml", hint="declare it, or name another", code="mapping"
            )
    if work.deleted == "skip":
        return
    if not any(owner.identifier for owner, _ in columns.values()):
        raise RunError(
            "`deleted: send` needs an identifier among the export's `fields`",
            hint="add one, for without it nobody can tell whom to delete, or leave out `deleted`",
            code="mapping",
        )
    for column in columns:
        if column.lower() == MARK:
            raise RunError(
                f"`deleted: send` adds a column {MARK!r}, and the export's `fields` have a column {column!r} already",
                hint="rename that one",
                code="mapping",
            )


def _told(columns: Mapping[str, tuple[Property, str]]) -> dict[str, tuple[Property, str]]:
    """Return *columns* as they may be told of deleted profiles, and the mark of these."""
    found = {}
    for column, (owner, value) in columns.items():
        if owner.identifier:
            known = identifiers.from_json(owner, "s.identifiers")
            told = f"CASE WHEN s.verdict = {DELETED} THEN {known} ELSE {value} END"
        else:
            told = f"CASE WHEN NOT (s.bare AND s.verdict = {DELETED}) THEN {value} END"
        found[column] = (owner, told)
    found[MARK] = (Property(name=MARK, type=PropertyType.BOOLEAN, personal=False), f"(s.verdict = {DELETED})")
    return found


def _samples(
    session: StoreSession, columns: Mapping[str, tuple[Property, str]], source: str, most: int
) -> tuple[Sample, ...]:
    """Return the first rows of *source* that change something for the partner."""
    cells = []
    for owner, value in columns.values():
        text = values.plain(owner.type, "x" if owner.many else value)
        cells.append(f"array_to_string(list_transform({value}, lambda x: {text}), '; ')" if owner.many else text)
    rows = session.execute(
        f"""SELECT s.verdict, {identifiers.shown(session, "s.identifiers", masked=False)}, {", ".join(cells)}
        FROM {source} AND s.verdict <> {UNCHANGED} ORDER BY {delta.IN_ORDER} LIMIT {most}"""
    ).fetchall()
    return tuple(
        Sample(counted_as=VERDICTS[verdict], profile=profile or "", values=dict(zip(columns, texts, strict=True)))
        for verdict, profile, *texts in rows
    )
