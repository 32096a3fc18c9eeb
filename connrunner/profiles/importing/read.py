"""One file, whatever its format, becomes a stage: its reader finds the records, and expectations are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb

from connrunner.core.model import LocalFile, PropertyType
from connrunner.profiles import expectations
from connrunner.profiles.duckdb_words import describe_error, unreadable_file_error
from connrunner.profiles.importing.stage import Stage, create_stage
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.readers import csv, excel, json, jsonlines, parquet
from connrunner.profiles.readers.normalize import NormalizedFile, normalize_file
from connrunner.profiles.readers.record_source import RecordSource
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text

SAMPLE = 1 << 16

# What DuckDB says about files that the csv module may still make sense of.
_OTHER_ERRORS = (duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.IOException)


def stage_file(
    session: StoreSession, file: LocalFile, plan: ImportPlan, table: str, on_progress: Callable[[int, int], None]
) -> Stage:
    """
    Stage the rows of *file* in the temporary *table*.

    *on_progress* is called with how many rows are read, of about how many. RunError when the file cannot be read, or
    lacks columns that the import maps or expects.
    """
    form = plan.form_of(file)
    normalized = normalize_file(file, form, session.temp)

    def stage(records: RecordSource) -> Stage:
        about = records.about
        return create_stage(
            session, table, records, plan, file.name, lambda part: on_progress(round(part * about), about)
        )

    try:
        return _stage(session, file, plan, normalized, stage, on_progress)
    except _OTHER_ERRORS:
        raise
    except duckdb.Error as error:
        raise unreadable_file_error(file.name, form.type, error) from None


def _stage(
    session: StoreSession,
    file: LocalFile,
    plan: ImportPlan,
    normalized: NormalizedFile,
    stage: Callable[[RecordSource], Stage],
    on_progress: Callable[[int, int], None],
) -> Stage:
    form = plan.form_of(file)
    if form.type == "parquet":
        return stage(_find_parquet(session, normalized, plan))
    if form.type == "excel":
        return stage(_find_excel(session, file, normalized, plan, on_progress))
    if form.type == "json":
        normalized, about = json.copy_items(normalized, form.rows, session.temp, on_progress)
        return _check_objects(
            session, stage(jsonlines.find_records(normalized, plan.columns, about=about)), plan, normalized
        )
    about = _estimate_rows(normalized)
    if form.type == "jsonl":
        jsonlines.check_start(normalized)
        return _check_objects(
            session, stage(jsonlines.find_records(normalized, plan.columns, about=about)), plan, normalized
        )
    names, lines = csv.read_header(normalized, form, plan.columns)
    expectations.check_expected_columns(plan.work.expect, file.name, names)
    try:
        if lines <= 1:
            return stage(csv.find_records(normalized, form, names, lines, about=about))
    except _OTHER_ERRORS:
        raise
    except duckdb.Error as error:
        session.report.message(f"{file.name}: read with care, because {describe_error(error)}", level="debug")
    # Keep every column of rows delivered only once: if they are refused, a corrected mapping may need them.
    wanted = names if file.once else plan.columns
    return stage(csv.copy_records(normalized, form, names, lines, wanted, session.temp))


def _estimate_rows(file: NormalizedFile) -> int:
    """Return about how many rows the file has, from the length of its first lines."""
    with file.path.open("rb") as opened:
        sample = opened.read(SAMPLE)
    return round(file.size * sample.count(b"\n") / len(sample)) if sample else 0


def _find_parquet(session: StoreSession, file: NormalizedFile, plan: ImportPlan) -> RecordSource:
    relation = parquet.make_relation(file)
    try:
        columns = [(name, kind) for name, kind, *_ in session.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()]
        about = session.one(f"SELECT count(*) FROM {relation}")
    except duckdb.Error as error:
        raise unreadable_file_error(file.name, "Parquet", error) from None
    names = [name for name, _ in columns]
    missing = [name for name in plan.columns if name not in names]
    if missing:
        raise csv.missing_column_error(file.name, missing, names, plan.columns)
    expectations.check_expected_columns(plan.work.expect, file.name, names)
    return parquet.find_records(file, columns, _kinds(plan), about=about)


def _find_excel(
    session: StoreSession,
    file: LocalFile,
    normalized: NormalizedFile,
    plan: ImportPlan,
    on_progress: Callable[[int, int], None],
) -> RecordSource:
    sheet = plan.form_of(file).sheet
    names = excel.read_sheet_columns(normalized, sheet)
    missing = [name for name in plan.columns if name not in names]
    if missing:
        raise csv.missing_column_error(file.name, missing, names, plan.columns)
    csv.check_unique(names, file.name, plan.columns)
    expectations.check_expected_columns(plan.work.expect, file.name, names)
    copied = names if file.once else plan.columns
    return excel.copy_records(normalized, sheet, names, _kinds(plan), plan.columns, copied, session.temp, on_progress)


def _kinds(plan: ImportPlan) -> dict[str, PropertyType]:
    return {mapped.field.column: mapped.owner.type for mapped in plan.fields}


def _check_objects(session: StoreSession, result: Stage, plan: ImportPlan, file: NormalizedFile) -> Stage:
    """Check which members the objects of *file* have, now that they are staged."""
    if names := plan.work.expect.columns if result.rows else ():
        cells = [f"json_type(record, {quote_text(jsonlines.pointer_to(name))})" for name in names]
        found = session.execute(
            f"SELECT {', '.join(f'count({cell})' for cell in cells)} FROM {jsonlines.make_relation(file.path, ())}"
        ).fetchall()[0]
        there = [name for name, count in zip(names, found, strict=True) if count]
        expectations.check_expected_columns(plan.work.expect, file.name, there)
    _warn_of_absent_members(session, result, plan, file.name)
    return result


def _warn_of_absent_members(session: StoreSession, result: Stage, plan: ImportPlan, name: str) -> None:
    """Warn of columns that no object has: objects may leave out members, but mostly such a column is misspelt."""
    found: Sequence[int] = session.execute(
        f"SELECT {', '.join(f'count(v{mapped.number})' for mapped in plan.fields)}, count(bad) FROM {result.table}"
    ).fetchall()[0]
    *filled, bad = found
    absent = [mapped.field.column for mapped, count in zip(plan.fields, filled, strict=True) if not count]
    if absent and result.rows and not bad:
        session.report.message(
            f"{name}: no record says anything about {', '.join(map(repr, absent))}", level="warning", columns=absent
        )
