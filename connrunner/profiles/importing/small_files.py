"""
Many small files are staged together: each statement costs more than all of the rows of such a file.

Files that follow each other and are alike (CSV with one header, in UTF-8, a record on each line) have their records
written into one file, which becomes one stage. Which row came from which file is told by the numbers of lines, and the
stage stands only when DuckDB found as many records. A file that is not as plain is staged alone, and so is one that
something is wrong with: what is told of it is then what would have been told without the others.

Such files are merged together, too, if that comes to the same: the next file must find what the one before it wrote.
It does where no row of one has the identifier of a row of another. A stage is cut where that is not so. Only imports
that know a person by one identifier are looked at so; with more of them, rows meet through what profiles had before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.profiles import expectations
from connrunner.profiles.importing.stage import InexactReadError, Stage, StagedFile, create_stage
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.readers import csv
from connrunner.profiles.readers.normalize import NormalizedFile, read_small_file
from connrunner.profiles.readers.record_source import RecordSource
from connrunner.profiles.readers.survey import Survey, survey_blocks
from connrunner.profiles.session import StoreSession
from connrunner.profiles.temporary_files import choose_path, open_private

MOST_BYTES = 1 << 26  # that are staged together


@dataclass(frozen=True, kw_only=True, slots=True)
class AlikeFiles:
    """The first of some small files, as many as could be put behind each other, and where their records are."""

    files: tuple[LocalFile, ...]
    digests: tuple[str, ...]  # of each, as it was read
    rows: tuple[int, ...]
    records: RecordSource


@dataclass(frozen=True, kw_only=True, slots=True)
class _Text:
    """What a small file says; two that have one *kind* can be put behind each other."""

    kind: tuple[Format, bytes, bool, bool, bool]  # format, header, has it quotes, has it carriage returns, is it once
    body: bytes  # its records, each ended
    rows: int
    nul: bool
    digest: str


def can_be_together(plan: ImportPlan, file: LocalFile) -> bool:
    """Return whether *plan* allows that *file* is staged together with others."""
    identifiers = [mapped for mapped in plan.fields if mapped.owner.identifier]
    return plan.finds_by_one_identifier and len(identifiers) == 1 and not file.numbers


def join_files(session: StoreSession, files: Sequence[LocalFile], plan: ImportPlan) -> AlikeFiles | None:
    """Put the first of *files* behind each other, as many as are alike; None when there is only one of that kind."""
    if not (first := _read_text(files[0], plan)):
        return None
    header = NormalizedFile(path=session.temp, name=files[0].name, size=0)
    names = _read_names(first, header, plan)
    if names is None:
        return None
    path = choose_path(session.temp)
    texts: list[_Text] = []
    size, called = 0, set()
    with open_private(path) as together:
        for file in files:
            text = _read_text(file, plan) if texts else first
            if not text or text.kind != first.kind or size + len(text.body) > MOST_BYTES or file.name in called:
                break
            called.add(file.name)
            together.write(text.body)
            size += len(text.body)
            texts.append(replace(text, body=b""))
    if len(texts) == 1:
        path.unlink()
        return None
    for file in files[: len(texts)]:
        expectations.check_expected_columns(plan.work.expect, file.name, names, plan.columns_seen)
    rows, (form, _, quotes, _, _) = sum(text.rows for text in texts), first.kind
    survey = Survey(lines=rows, nul=any(text.nul for text in texts), quotes=quotes)
    joined = NormalizedFile(path=path, name=files[0].name, size=size, survey=survey, nul=survey.nul)
    return AlikeFiles(
        files=tuple(files[: len(texts)]),
        digests=tuple(text.digest for text in texts),
        rows=tuple(text.rows for text in texts),
        records=replace(
            csv.find_records(joined, form, names, 0, about=rows),
            timezone=form.timezone or plan.work.format.timezone,
            is_whole=rows.__eq__,
        ),
    )


def stage_together(session: StoreSession, alike: AlikeFiles, plan: ImportPlan, table: str) -> Stage:
    """Stage the rows of all files. RunError, or one of DuckDB, when one of them has to be read alone."""
    stage = create_stage(session, table, alike.records, plan, alike.files[0].name, lambda _: None)
    if stage.rows != sum(alike.rows):
        raise InexactReadError(alike.files[0].name, stage.rows)
    files, first = [], 0
    for file, rows in zip(alike.files, alike.rows, strict=True):
        files.append(StagedFile(name=file.name, first=first, rows=rows))
        first += rows
    return replace(stage, files=tuple(files))


def cut_stage(session: StoreSession, stage: Stage, plan: ImportPlan) -> list[tuple[int, Stage]]:
    """
    Return the stages of files that can be merged together, in their order, each with the place of its first file.

    Outside of any transaction only, as `create_stage`.
    """
    key = f"v{plan.groups[0][0].number}"
    create_places(session, stage, range(len(stage.files)))
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE keyed AS
        SELECT l.part, s.{key} AS value FROM {stage.table} s JOIN places l ON l.rn = s.rowid
        WHERE s.bad IS NULL""")
    # Between a file and the last one before it that has a value in common there must be a cut.
    found = session.execute("""
        SELECT part, max(before) FROM (
            SELECT part, lag(part) OVER (PARTITION BY value ORDER BY part) AS before FROM keyed
            WHERE value IN (SELECT value FROM keyed GROUP BY value HAVING min(part) < max(part))
        ) WHERE before < part GROUP BY part ORDER BY part""").fetchall()
    starts = [0]
    for part, before in found:
        if before >= starts[-1]:
            starts.append(part)
    if len(starts) == 1:
        return [(0, stage)]
    ends = [*starts[1:], len(stage.files)]
    return [
        (start, _cut(session, stage, f"{stage.table}_{number}", start, end))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def create_places(session: StoreSession, stage: Stage, parts: Sequence[int]) -> None:
    """Make the temporary table `places`: the number of the part, the file and the line of each row `rn` of *stage*."""
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE places AS
        SELECT first + i AS rn, part, name, i + {stage.first_line} AS line FROM (
            SELECT *, unnest(range(rows)) AS i FROM (
                SELECT unnest(?::INTEGER[]) AS part, unnest(?::VARCHAR[]) AS name, unnest(?::BIGINT[]) AS first,
                    unnest(?::BIGINT[]) AS rows))""",
        [
            list(parts),
            [file.name for file in stage.files],
            [file.first for file in stage.files],
            [file.rows for file in stage.files],
        ],
    )


def _cut(session: StoreSession, stage: Stage, table: str, start: int, end: int) -> Stage:
    """Return the stage of the files from *start* to before *end*."""
    first = stage.files[start].first
    rows = sum(file.rows for file in stage.files[start:end])
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE {table} AS
        SELECT * FROM {stage.table} WHERE rowid >= {first} AND rowid < {first + rows}""")
    found = session.execute(f"SELECT count(*), coalesce(max(rowid) + 1, 0) FROM {table}").fetchall()[0]
    if found != (rows, rows):
        raise InexactReadError(stage.files[start].name, found[0])
    files = tuple(replace(file, first=file.first - first) for file in stage.files[start:end])
    return replace(stage, table=table, rows=rows, files=files, before=stage.before + first)


def _read_text(file: LocalFile, plan: ImportPlan) -> _Text | None:
    """Return what the small *file* says; None when it has to be read alone."""
    form = plan.form_of(file)
    data = read_small_file(file, form)
    if data is None:
        return None
    header, body = b"", data
    if form.header:
        header, _, body = data.partition(b"\n")
    has_returns = b"\r" in body
    end = b"\r\n" if has_returns else b"\n"
    if body and not body.endswith(b"\n"):
        body += end
    survey = survey_blocks([body], form) if body else Survey()
    if survey.spaced_quotes or survey.empty_records or not _is_plain(body, end, form.quote if survey.quotes else ""):
        return None
    return _Text(
        kind=(form, header.removesuffix(b"\r"), survey.quotes, has_returns, file.once),
        body=body,
        rows=survey.lines,
        nul=survey.nul,
        digest=file.digest or hashlib.sha256(data).hexdigest(),
    )


def _is_plain(body: bytes, end: bytes, quote: str) -> bool:
    """Return whether each line of *body*, ended by *end*, is one record."""
    if end == b"\r\n" and not body.count(b"\r") == body.count(end) == body.count(b"\n"):
        return False
    if body.startswith((end, b"\xef\xbb\xbf")) or end + end in body:
        return False  # a line without a record, or a mark that only a reader of the whole file knows
    return not quote or all(line.count(quote.encode()) % 2 == 0 for line in body.split(b"\n"))


def _read_names(text: _Text, file: NormalizedFile, plan: ImportPlan) -> tuple[str, ...] | None:
    """Return the names of the columns; None when something is wrong with them."""
    form, header, _, _, _ = text.kind
    path = choose_path(file.path)
    try:
        with open_private(path) as copy:
            copy.write(header + b"\n")
        names, lines = csv.read_header(replace(file, path=path), form, plan.columns)
    except RunError:
        return None
    finally:
        path.unlink(missing_ok=True)
    return names if lines == int(form.header) else None
