"""An import: files are staged one by one, then merged in one transaction that leaves all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from connrunner.core.counts import Counts, imbalance_error
from connrunner.core.model import Import, LocalFile
from connrunner.errors import RunError
from connrunner.profiles import connection_state, expected, rejects, run_records
from connrunner.profiles.importing import differences, ledger, merge, reject_reasons, retained_rows
from connrunner.profiles.importing.classify import classify
from connrunner.profiles.importing.ledger import LedgerEntry
from connrunner.profiles.importing.match import match
from connrunner.profiles.importing.read import read
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.mapping import ImportPlan, plan
from connrunner.profiles.readers.normalize import digest
from connrunner.profiles.results import Difference, FileResult, ImportResult
from connrunner.profiles.session import StoreSession


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """One file and what is left to do with it; nothing when it has no stage."""

    file: LocalFile
    known: LedgerEntry
    stage: Stage | None = None

    @property
    def is_kept(self) -> bool:
        """True for the rows that are kept from earlier runs."""
        return self.file is retained_rows.FILE

    @property
    def new(self) -> Stage | None:
        """The stage of a file whose rows were never looked at before."""
        return None if self.known.same or self.is_kept else self.stage


@dataclass(frozen=True, kw_only=True, slots=True)
class _Digests:
    """The files' digests, each worked out once, in another thread: DuckDB leaves a core idle while it writes."""

    beside: Executor
    futures: dict[str, Future[str]] = field(default_factory=dict)

    def start(self, file: LocalFile) -> None:
        if not file.digest and file.path not in self.futures:
            self.futures[file.path] = self.beside.submit(digest, Path(file.path))

    def of(self, file: LocalFile) -> str:
        """Return the file's digest; an empty text when it is not here and its source told none."""
        if not file.path:
            return file.digest
        self.start(file)
        return file.digest or self.futures[file.path].result()


def import_files(
    session: StoreSession,
    work: Import,
    files: Sequence[LocalFile],
    *,
    reader: str,
    run: int,
    at: datetime,
    rejects_path: Path,
    dry_run: bool,
    mark: Any,
) -> ImportResult:
    """Do the import *work* of the connection *reader*; see `ProfileStore.import_files`."""
    ready = plan(work, session.model)
    with ThreadPoolExecutor(1) as beside:
        digests = _Digests(beside=beside)
        tasks: list[_Task] = []
        if old := retained_rows.offered(session, ready, reader=reader, table="stage_kept"):
            tasks.append(_Task(file=retained_rows.FILE, known=LedgerEntry(), stage=old))
        for number, file in enumerate(files):
            before = sum(task.stage.rows for task in tasks if task.stage)
            left = sum(later.size for later in files[number:])
            tasks.append(_prepare(session, file, ready, number, reader, digests, before=before, left=left))
        rejects.create_rejects(session)
        with session.transaction(keep=not dry_run):
            at_work = run_records.begin(session, reader, run, "import", at)
            stored = int(session.one("SELECT count(*) FROM store.profiles"))
            results: list[FileResult] = []
            shown: list[Difference] = []
            staged = sum(task.stage.rows for task in tasks if task.stage)
            session.report.progress("checking", 0, staged)
            for part in range(len(tasks)):
                told = shown if dry_run else None
                results.append(_merge(session, tasks, part, ready, reader, digests, run=at_work, shown=told))
                checked = sum(task.stage.rows for task in tasks[: part + 1] if task.stage)
                session.report.progress("checking", checked, staged)
            total = sum((result.counts for result in results), Counts())
            if problem := total.imbalance():
                raise imbalance_error(problem)
            run_records.end(session, at_work, total)
            if mark is not None:
                connection_state.leave(session, reader, mark, run=at_work)
            # Also of a run that fails now: they tell what was unexpected.
            rejects.write_rejects(session, rejects_path)
            expected.check_import(work.expect, _arrival(tasks, results, stored))
            session.report.progress("writing", 0, total.read)
        session.report.progress("writing", total.read, total.read)
    for task in tasks:
        if task.stage:
            session.execute(f"DROP TABLE {task.stage.table}")
    return ImportResult(counts=total, files=tuple(results), differences=tuple(shown))


def _arrival(tasks: Sequence[_Task], results: Sequence[FileResult], stored: int) -> expected.ImportMeasures:
    total = sum((result.counts for result in results), Counts())
    new = sum((result.counts for task, result in zip(tasks, results, strict=True) if task.new), Counts())
    came = [task for task in tasks if not task.is_kept]
    return expected.ImportMeasures(
        rows=None if came and not any(task.new for task in came) else new.read,
        checked=new.checked,
        refused=new.refused,
        changes=total.created + total.updated + total.deleted,
        before=stored,
    )


def _prepare(
    session: StoreSession,
    file: LocalFile,
    ready: ImportPlan,
    number: int,
    reader: str,
    digests: _Digests,
    *,
    before: int,
    left: int,
) -> _Task:
    """Stage *file* unless there is nothing to do. *before* rows are staged, *left* bytes are to be read."""

    def tell(done: int, about: int) -> None:
        session.report.progress("reading", before + done, before + round(about * left / max(file.size, 1)))

    known = ledger.look_up(session.connection, file, ready, reader=reader, digest=lambda: digests.of(file))
    if not file.path and known.task != "skip":
        raise RunError(
            f"{file.name} was not fetched, although its rows are not in the store as they are there now",
            hint="run it again; if that does not help, please report this",
            code="not-fetched",
            waiting_helps=True,
        )
    if known.task == "skip":
        session.report.message(
            f"{file.name}: not changed since it was read, {known.rows:,} rows skipped", file=file.name, rows=known.rows
        )
        return _Task(file=file, known=known)
    if known.task == "retry" and digests.of(file) != known.digest:
        known = LedgerEntry()  # its source says it is the same, and it is not
    stage = read(session, file, ready, f"stage_{number}", tell)
    if not file.once:
        digests.start(file)
    again = [mapped for mapped in ready.increments if mapped.field.property in known.increments]
    if again and not known.same:
        ledger.refused(session.connection, file, reader=reader)
        session.execute(
            f"UPDATE {stage.table} SET {', '.join(f'v{mapped.number} = NULL' for mapped in again)}"
            " WHERE rowid NOT IN (FROM refused)"
        )
    what = f"{known.refused:,} refused rows of {known.rows:,} tried again" if known.same else f"{stage.rows:,} rows"
    session.report.message(f"{file.name}: {what}", file=file.name, rows=stage.rows)
    session.report.progress("reading", before + stage.rows, before + round(stage.rows * left / max(file.size, 1)))
    return _Task(file=file, known=known, stage=stage)


def _merge(
    session: StoreSession,
    tasks: Sequence[_Task],
    part: int,
    ready: ImportPlan,
    reader: str,
    digests: _Digests,
    *,
    run: int,
    shown: list[Difference] | None,
) -> FileResult:
    """Bring the rows of one of the *tasks* into the profiles, within the import's transaction."""
    task, connection = tasks[part], session.connection
    file, known, stage = task.file, task.known, task.stage
    if stage is None:
        counts = Counts(read=known.rows, skipped=known.rows)
        return FileResult(name=file.name, status="skipped", counts=counts)
    if known.same:
        ledger.refused(connection, file, reader=reader)
    matches = match(connection, stage, ready, session.layout, retry=known.same)
    classify(connection, stage, ready, session.layout, matches, retry=known.same)
    if task.is_kept:
        retained_rows.supersede(session, stage, [later.new for later in tasks if later.new], ready)
    counts = merge.counted(connection, stage)
    if counts.checked > counts.created + counts.updated + counts.unchanged:
        reject_reasons.collect_rejects(connection, stage, ready, session.layout, counts, file=file.name, part=part)
    if task.is_kept:
        retained_rows.tell_superseded(session, stage, ready, part=part)
    if shown is not None:
        shown += differences.first(session, stage, ready, differences.SHOWN - len(shown))
    merge.merge(connection, stage, ready, session.layout, run=run, counts=counts)
    _remember(session, task, ready, part, reader, digests, run=run)
    return FileResult(name=file.name, status="retried" if known.same or task.is_kept else "imported", counts=counts)


def _remember(
    session: StoreSession, task: _Task, ready: ImportPlan, part: int, reader: str, digests: _Digests, *, run: int
) -> None:
    """Note what the next run has to know about the classified rows of *task*."""
    file, known, stage = task.file, task.known, task.stage
    assert stage is not None
    if task.is_kept:
        retained_rows.settle(session)
    elif file.once:
        # It may have been a file that stays where it is, until the connection was changed.
        ledger.forget(session.connection, file, reader=reader)
        retained_rows.keep(session, stage, ready.form(file), reader=reader, part=part, run=run)
    else:
        ledger.remember(
            session.connection,
            file,
            ready,
            reader=reader,
            digest=digests.of(file),
            rows=stage.rows,
            increments={*known.increments, *(mapped.field.property for mapped in ready.increments)},
            run=run,
        )
