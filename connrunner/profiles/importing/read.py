"""One file, whatever its format, becomes a stage: its reader finds the records, and expectations are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb

from connrunner.core.model import LocalFile, PropertyType
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.profiles import expectations
from connrunner.profiles.duckdb_words import unreadable_file_error
from connrunner.profiles.importing.stage import InexactReadError, Stage, create_stage
from connrunner.profiles.mapping import NUMBERS, ImportPlan
from connrunner.profiles.readers import csv, excel, json, jsonlines, parquet
from connrunner.profiles.readers.normalize import NormalizedFile, normalize_file
from connrunner.profiles.readers.record_source import RecordSource, read_numbers
from connrunner.profiles.session import StoreSession

SAMPLE = 1 << 16

# What DuckDB says about files that the csv module may still make sense of.
OTHER_ERRORS = (duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.IOException)


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
        records = replace(records, timezone=form.timezone or plan.work.format.timezone or records.timezone)
        if file.numbers:
            texts = [one.field.column for one in plan.fields if one.owner.type not in NUMBERS]
            records = read_numbers(records, file.numbers, as_texts=texts)
        return create_stage(
            session, table, records, plan, file.name, lambda part: on_progress(round(part * about), about)
        )

    try:
        return _stage(session, file, plan, normalized, stage, on_progress)
    except OTHER_ERRORS:
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
        return _stage_parquet(normalized, plan, stage)
    if form.type == "excel":
        return stage(_find_excel(session, file, normalized, plan, on_progress))
    if form.type == "json":
        normalized, about = json.copy_items(normalized, form.rows, session.temp, on_progress)
        return _check_objects(session, _stage_lines(session, stage, normalized, plan, about), plan, normalized)
    about = _estimate_rows(normalized)
    if form.type == "jsonl":
        jsonlines.check_start(normalized)
        return _check_objects(session, _stage_lines(session, stage, normalized, plan, about), plan, normalized)
    names, lines = csv.read_header(normalized, form, plan.columns)
    expectations.check_expected_columns(plan.work.expect, file.name, names, plan.columns_seen)
    if lines <= 1 and not normalized.survey.spaced_quotes:
        records = csv.find_records(normalized, form, names, lines, about=about)
        if (result := _try_stage(session, stage, records, file.name)) is not None:
            return result
    # Keep every column of rows delivered only once: if they are refused, a corrected mapping may need them.
    wanted = names if file.once else plan.columns
    return stage(csv.copy_records(normalized, form, names, lines, wanted, session.temp))


def _stage_lines(
    session: StoreSession, stage: Callable[[RecordSource], Stage], file: NormalizedFile, plan: ImportPlan, about: int
) -> Stage:
    """Stage the objects that stand in the lines of *file*."""
    names = (*plan.columns, *plan.work.expect.columns)
    records = jsonlines.find_records(file, names, about=about)
    if (result := _try_stage(session, stage, records, file.name)) is not None:
        return result
    return stage(jsonlines.copy_records(file, names, session.temp))


def _try_stage(
    session: StoreSession, stage: Callable[[RecordSource], Stage], records: RecordSource, name: str
) -> Stage | None:
    """Stage *records* as DuckDB reads them; None when it cannot read them all exactly, which a careful reader may."""
    try:
        return stage(records)
    except InexactReadError:
        reason = "values or rows that need it"
    except OTHER_ERRORS:
        raise
    except duckdb.Error as error:
        reason = type(error).__name__  # the rest of its message may quote the file
    session.report.message(f"{name}: read with care, because of {reason}", level="debug")
    return None


def _estimate_rows(file: NormalizedFile) -> int:
    """Return about how many rows the file has, from the length of its first lines."""
    with file.path.open("rb") as opened:
        sample = opened.read(SAMPLE)
    return round(file.size * sample.count(b"\n") / len(sample)) if sample else 0


def _stage_parquet(file: NormalizedFile, plan: ImportPlan, stage: Callable[[RecordSource], Stage]) -> Stage:
    found = parquet.read_parquet_columns(file)
    missing = [name for name in plan.columns if name not in found.names]
    if missing:
        raise csv.missing_column_error(file.name, missing, found.names, plan.columns)
    csv.check_unique(found.names, file.name, plan.columns)
    expectations.check_expected_columns(plan.work.expect, file.name, found.names, plan.columns_seen)
    many = {mapped.field.column for mapped in plan.fields if mapped.owner.many}
    try:
        return stage(parquet.find_records(file, found, _kinds(plan), plan.columns, many))
    except Exception as error:
        # Staging reads the file and fills the store's temporary table in one statement; either may have failed.
        if isinstance(error, RunError) or parquet.can_be_read(file, found, plan.columns):
            raise
        raise parquet.damaged_error(file) from error


def _find_excel(
    session: StoreSession,
    file: LocalFile,
    normalized: NormalizedFile,
    plan: ImportPlan,
    on_progress: Callable[[int, int], None],
) -> RecordSource:
    form = plan.form_of(file)
    names = excel.read_sheet_columns(normalized, form)
    missing = [name for name in plan.columns if name not in names]
    if missing:
        raise csv.missing_column_error(file.name, missing, names, plan.columns)
    csv.check_unique(names, file.name, plan.columns)
    expectations.check_expected_columns(plan.work.expect, file.name, names, plan.columns_seen)
    copied = names if file.once else plan.columns
    return excel.copy_records(normalized, form, names, _kinds(plan), plan.columns, copied, session.temp, on_progress)


def _kinds(plan: ImportPlan) -> dict[str, PropertyType]:
    consents = dict.fromkeys((column for _, column in plan.consents), PropertyType.BOOLEAN)
    return consents | {mapped.field.column: mapped.owner.type for mapped in plan.fields}


def _check_objects(session: StoreSession, result: Stage, plan: ImportPlan, file: NormalizedFile) -> Stage:
    """Check which members the objects of *file* have, now that they are staged."""
    if names := plan.work.expect.columns if result.rows else ():
        counts = ", ".join(f"count(*) FILTER ({result.records.present(name)})" for name in names)
        found = session.execute(f"SELECT {counts} FROM {result.records.relation}").fetchall()[0]
        there = [name for name, count in zip(names, found, strict=True) if count]
        expectations.check_expected_columns(plan.work.expect, file.name, there, plan.columns_seen, are_all=False)
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
