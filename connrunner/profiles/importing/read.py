"""One file, whatever its format, becomes a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb

from connrunner.core.model import LocalFile, PropertyType
from connrunner.errors import RunError
from connrunner.profiles import expected
from connrunner.profiles.importing.stage import Stage, stage
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.readers import csv, excel, json, jsonlines, parquet
from connrunner.profiles.readers.normalize import NormalizedFile, plain
from connrunner.profiles.readers.record_source import RecordSource
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text

SAMPLE = 1 << 16

# What DuckDB says about files that the csv module may still make sense of.
_OTHER_ERRORS = (duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.IOException)


def read(
    session: StoreSession, file: LocalFile, plan: ImportPlan, table: str, tell: Callable[[int, int], None]
) -> Stage:
    """Stage the rows of *file* in the temporary *table*; *tell* hears how many of about how many are read."""
    form = plan.form(file)
    opened = plain(file, form, session.temp)

    def staged(rows: RecordSource) -> Stage:
        return stage(session, table, rows, plan, file.name, lambda part: tell(round(part * rows.about), rows.about))

    if form.type == "parquet":
        return staged(_parquet(session, opened, plan))
    if form.type == "excel":
        return staged(_excel(session, file, opened, plan, tell))
    if form.type == "json":
        opened, about = json.lines(opened, form.rows, session.temp, tell)
        return _objects(session, staged(jsonlines.rows(opened, plan.columns, about=about)), plan, opened)
    about = _about(opened)
    if form.type == "jsonl":
        jsonlines.check_start(opened)
        return _objects(session, staged(jsonlines.rows(opened, plan.columns, about=about)), plan, opened)
    names, lines = csv.header(opened, form, plan.columns)
    expected.check_columns(plan.work.expect, file.name, names)
    try:
        if lines <= 1:
            return staged(csv.rows(opened, form, names, lines, about=about))
    except _OTHER_ERRORS:
        raise
    except duckdb.Error as error:
        session.report.message(f"{file.name}: read with care, because of {_first_line(error)}", level="debug")
    # Of rows that come once all is kept, should they be refused: the mapping may be what is wrong.
    wanted = names if file.once else plan.columns
    return staged(csv.rewritten(opened, form, names, lines, wanted, session.temp))


def _about(file: NormalizedFile) -> int:
    """Return about how many rows the file has, from the length of its first lines."""
    with file.path.open("rb") as opened:
        sample = opened.read(SAMPLE)
    return round(file.size * sample.count(b"\n") / len(sample)) if sample else 0


def _parquet(session: StoreSession, file: NormalizedFile, plan: ImportPlan) -> RecordSource:
    relation = parquet.relation(file)
    try:
        columns = [(name, kind) for name, kind, *_ in session.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()]
        about = session.one(f"SELECT count(*) FROM {relation}")
    except duckdb.Error as error:
        raise RunError(
            f"{file.name} cannot be read as Parquet: {_first_line(error).replace(str(file.path), file.name)}",
            hint="fetch or send it again",
            code="damaged-file",
        ) from None
    names = [name for name, _ in columns]
    missing = [name for name in plan.columns if name not in names]
    if missing:
        raise csv.missing_column(file.name, missing, names)
    expected.check_columns(plan.work.expect, file.name, names)
    return parquet.rows(file, columns, _kinds(plan), about=about)


def _excel(
    session: StoreSession, file: LocalFile, opened: NormalizedFile, plan: ImportPlan, tell: Callable[[int, int], None]
) -> RecordSource:
    sheet = plan.form(file).sheet
    names = excel.columns(opened, sheet)
    missing = [name for name in plan.columns if name not in names]
    if missing:
        raise csv.missing_column(file.name, missing, names)
    csv.check_unique(names, file.name, plan.columns)
    expected.check_columns(plan.work.expect, file.name, names)
    copied = names if file.once else plan.columns
    return excel.rows(opened, sheet, names, _kinds(plan), plan.columns, copied, session.temp, tell)


def _kinds(plan: ImportPlan) -> dict[str, PropertyType]:
    return {mapped.field.column: mapped.owner.type for mapped in plan.fields}


def _objects(session: StoreSession, result: Stage, plan: ImportPlan, file: NormalizedFile) -> Stage:
    """Look at what the objects of *file* have, now that they are staged."""
    if names := plan.work.expect.columns if result.rows else ():
        cells = [f"json_type(record, {quote_text(jsonlines.pointer_to(name))})" for name in names]
        found = session.execute(
            f"SELECT {', '.join(f'count({cell})' for cell in cells)} FROM {jsonlines.relation(file.path, ())}"
        ).fetchall()[0]
        there = [name for name, count in zip(names, found, strict=True) if count]
        expected.check_columns(plan.work.expect, file.name, there)
    _warn_of_absent_members(session, result, plan, file.name)
    return result


def _warn_of_absent_members(session: StoreSession, result: Stage, plan: ImportPlan, name: str) -> None:
    """A column that no object has is a misspelt one more often than not; objects may leave out what they lack."""
    found: Sequence[int] = session.execute(
        f"SELECT {', '.join(f'count(v{mapped.number})' for mapped in plan.fields)}, count(bad) FROM {result.table}"
    ).fetchall()[0]
    *filled, bad = found
    absent = [mapped.field.column for mapped, count in zip(plan.fields, filled, strict=True) if not count]
    if absent and result.rows and not bad:
        session.report.message(
            f"{name}: no record says anything about {', '.join(map(repr, absent))}", level="warning", columns=absent
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
