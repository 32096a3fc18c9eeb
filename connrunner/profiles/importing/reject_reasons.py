"""Why rows did not become profiles: each reason as a line of the temporary table `rejects`."""

from __future__ import annotations

from collections.abc import Iterator

from connrunner.core.counts import Counts
from connrunner.core.model import PropertyType
from connrunner.profiles import values
from connrunner.profiles.importing import classify, erased_rows, match, row_errors, row_keys
from connrunner.profiles.importing.classify import NUMBER
from connrunner.profiles.importing.stage import Stage, choose_zone
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.readers import csv, jsonlines
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text
from connrunner.text.nesting import MAX_DEPTH

_ROW_REASONS = {
    "too-few-columns": "the row has fewer columns than the header",
    "too-many-columns": "the row has more columns than the header",
    "bad-quoting": "its quotes do not pair up; a quote inside a quoted value is written twice",
    "bad-json": "the record is not one JSON object, or a value in it cannot be said in JSON",
    "too-deep": f"the record is nested more than {MAX_DEPTH} deep",
    "too-long": f"the record is longer than {csv.LONGEST_RECORD:,} characters, or {jsonlines.LONGEST_LINE:,} bytes",
    "formula-error": "a cell holds an error like #N/A instead of a value, or a formula that was never worked out",
    "binary-column": "a value is bytes that are no text in UTF-8",
    "not-a-number": "a value is NaN or an infinity, which no text says",
    "missing-key": "the row has none of the identifiers that the import matches on: ",
}


def collect_rejects(
    session: StoreSession,
    stage: Stage,
    plan: ImportPlan,
    counts: Counts,
    *,
    file: str,
    part: int,
) -> None:
    """
    Add the reasons for the classified rows of *file*, the *part*th of this run, to `rejects`.

    Of several files that were staged together, `places` says which is which.
    """
    reasons = ", ".join(
        f"({number}, {quote_text(code)}, {_or_null(field)}, {quote_text(step)}, {quote_text(message)})"
        for number, code, field, step, message in _reasons(plan, stage)
    )
    causes = " UNION ALL BY NAME ".join(_select_causes(session, stage, plan, counts))
    place = f"{quote_text(file)} AS file, {part} AS part, t.rn + {stage.first_line} AS line"
    if stage.files:
        place = "l.name AS file, l.part, l.line"
    session.execute(f"""
        INSERT INTO rejects BY NAME
        WITH reasons (f, code, field, stage, message) AS (VALUES {reasons})
        SELECT {place}, t.key, r.field, r.stage,
            t.code, r.message || coalesce(t.more, '') AS message, t.value, t.finds
        FROM ({causes}) t JOIN reasons r ON r.f = t.f AND r.code = t.code
            {"JOIN places l ON l.rn = t.rn" if stage.files else ""}""")


def _reasons(plan: ImportPlan, stage: Stage) -> Iterator[tuple[int, str, str | None, str, str]]:
    """Yield number, code, field, stage and message of everything that can be wrong with a row."""
    groups = " or ".join(" and ".join(mapped.field.property for mapped in group) for group in plan.groups)
    for code, message in _ROW_REASONS.items():
        more = groups if code == "missing-key" else ""
        yield row_errors.ROW, code, None, "validate" if more else "parse", message + more
    yield row_errors.ROW, "ambiguous", None, "match", "the row finds more than one profile"
    yield (
        row_errors.ROW,
        "duplicate",
        None,
        "match",
        "a later row of the file is about the same profile and wins: line ",
    )
    yield row_errors.ROW, "not-found", None, "match", "the row finds no profile, and this import creates none"
    objectives = " or ".join(plan.work.objectives)
    yield row_errors.ROW, "no-consent", None, "consent", f"no consent to {objectives}"
    yield row_errors.ROW, erased_rows.CODE, None, "consent", "a person with an identifier of this row was erased"
    for mapped in plan.fields:
        name, kind = mapped.field.property, mapped.owner.type
        place = name if name == mapped.field.column else f"{name} (column {mapped.field.column})"
        each = "each value of " if mapped.owner.many else ""
        zone = choose_zone(mapped, stage.records) if kind is PropertyType.DATETIME else ""
        expected = values.EXPECTED[kind] + (f", or one that the clocks of {zone} show, without offset" if zone else "")
        yield mapped.number, "wrong-type", name, "validate", f"{each}{place} must be {expected}"
        if kind is PropertyType.TEXT:
            yield mapped.number, "too-long", name, "validate", f"{each}{place} must be {values.EXPECTED[kind]}"
            yield mapped.number, "nul", name, "validate", f"{place} contains NUL, which is no text"
        if mapped.owner.identifier:
            yield (
                mapped.number,
                "identifier-taken",
                name,
                "match",
                f"{place} is an identifier, and another profile or row has the same value",
            )
    for mapped in plan.increments:
        name = mapped.field.property
        yield mapped.number, "overflow", name, "write", f"the sum is more than {name} ({mapped.owner.type}) can hold"
    for number, (objective, column) in enumerate(plan.consents):
        expected = values.EXPECTED[PropertyType.BOOLEAN]
        yield (
            row_errors.objective_number(number),
            "wrong-type",
            column,
            "validate",
            f"consent to {objective} (column {column}) must be {expected}",
        )


def _select_causes(session: StoreSession, stage: Stage, plan: ImportPlan, counts: Counts) -> Iterator[str]:
    """Yield the queries of row, key, number, code, value, end of the message and `finds`, for all that occurred."""
    nothing, key = "NULL::VARCHAR", row_keys.describe_key(plan, masked=True)
    more = f"{nothing} AS more, NULL::JSON AS finds"
    rows = f"verdicts v JOIN {stage.table} s ON s.rowid = v.rn"
    if counts.invalid:
        bad_rows = f"""SELECT v.rn, {key} AS key, s.* FROM {rows}
            WHERE v.verdict = {NUMBER["invalid"]} AND s.bad IS NOT NULL"""
        yield f"SELECT rn, key, f, code, value, {more} FROM ({row_errors.select_errors(bad_rows, plan, stage.records)})"
        for mapped in plan.increments:
            value = values.format_value(mapped.owner.type, f"s.v{mapped.number}")
            yield f"""SELECT v.rn, {key} AS key, {mapped.number} AS f, 'overflow' AS code,
                {values.redact(value, personal=mapped.owner.personal)} AS value, {more}
                FROM {rows} JOIN store.profiles p ON p.rowid = v.pid
                WHERE v.verdict = {NUMBER["invalid"]} AND s.bad IS NULL
                    AND {classify.overflows_column(mapped, session.layout)}"""
    if counts.duplicate or counts.ambiguous:
        match.list_finds(session, stage, plan)
        # The winner stands in the same file.
        winner = "w.line" if stage.files else f"f.winner + {stage.first_line}"
        places = "LEFT JOIN places w ON w.rn = f.winner" if stage.files else ""
        yield f"""SELECT v.rn, {key} AS key, {row_errors.ROW} AS f,
            CASE WHEN f.fate = {match.DUPLICATE} THEN 'duplicate' ELSE 'ambiguous' END AS code, {nothing} AS value,
            CASE WHEN f.fate = {match.LINKED} THEN ', together with other rows that share its identifiers'
                WHEN f.fate = {match.DUPLICATE} THEN ({winner})::VARCHAR END AS linked,
            concat(linked, ': ' || finds.words) AS more, finds.finds
            FROM {rows} JOIN fates f ON f.rn = v.rn AND f.fate <> {match.SKIPPED} LEFT JOIN finds ON finds.rn = v.rn
                {places}
            WHERE v.verdict IN ({NUMBER["duplicate"]}, {NUMBER["ambiguous"]})"""
    for mapped in plan.fields:
        if counts.ambiguous and mapped.owner.identifier:
            value = values.format_value(mapped.owner.type, f"s.v{mapped.number}")
            yield f"""SELECT v.rn, {key} AS key, t.f, 'identifier-taken' AS code,
                {values.redact(value, personal=mapped.owner.personal)} AS value, ': profile ' || t.owner AS more,
                CASE WHEN t.owner > 0 THEN json_object({quote_text(mapped.field.property)}, t.owner) END AS finds
                FROM {rows} JOIN taken t ON t.rn = v.rn WHERE t.f = {mapped.number}"""
    blocked = f"CASE WHEN {erased_rows.is_erased(stage)} THEN '{erased_rows.CODE}' ELSE 'no-consent' END"
    for name, code in (("not_found", "'not-found'"), ("consent_blocked", blocked)):
        if getattr(counts, name):
            yield f"""SELECT v.rn, {key} AS key, {row_errors.ROW} AS f, {code} AS code, {nothing} AS value,
                {more} FROM {rows} WHERE v.verdict = {NUMBER[name]}"""


def _or_null(value: str | None) -> str:
    return "NULL" if value is None else quote_text(value)
