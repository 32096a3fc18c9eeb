"""What is left to do with each file of an import; its rows are staged, those of small files together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from functools import partial
from itertools import islice
from pathlib import Path

import duckdb

from connrunner.core.model import LocalFile
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.profiles.importing import erased_rows, ledger, retained_rows, small_files
from connrunner.profiles.importing.ledger import LedgerEntry
from connrunner.profiles.importing.read import OTHER_ERRORS, stage_file
from connrunner.profiles.importing.small_files import AlikeFiles
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.jobs import ImportJob
from connrunner.profiles.mapping import ImportPlan
from connrunner.profiles.readers.normalize import compute_digest
from connrunner.profiles.session import StoreSession
from connrunner.text.words import plural


@dataclass(frozen=True, kw_only=True, slots=True)
class FileTask:
    """
    One file, or several that are staged together, and what is left to do; nothing when there is no stage.

    *parts* are the numbers of the files among those of this run.
    """

    files: tuple[LocalFile, ...]
    parts: tuple[int, ...]
    known: LedgerEntry
    stage: Stage | None = None

    @property
    def file(self) -> LocalFile:
        """The first file, or the only one."""
        return self.files[0]

    @property
    def rows(self) -> int:
        """How many rows are staged."""
        return self.stage.rows if self.stage else 0

    @property
    def is_retained(self) -> bool:
        """True for the rows that are retained from earlier runs."""
        return self.file is retained_rows.FILE

    @property
    def new_stage(self) -> Stage | None:
        """The stage of files whose rows are read for the first time."""
        return None if self.known.same or self.is_retained else self.stage


@dataclass(frozen=True, kw_only=True, slots=True)
class FileDigests:
    """The files' digests, each computed once, in another thread: DuckDB leaves a core idle while it writes."""

    executor: Executor
    futures: dict[str, Future[str]] = field(default_factory=dict)

    def start(self, file: LocalFile) -> None:
        if not file.digest and file.path not in self.futures:
            self.futures[file.path] = self.executor.submit(compute_digest, Path(file.path))

    def wait_for(self, file: LocalFile) -> str:
        """Return the file's digest; an empty text when it is not here and its source gave none."""
        if not file.path:
            return file.digest
        self.start(file)
        return file.digest or self.futures[file.path].result()

    def note(self, file: LocalFile, digest: str) -> None:
        """Take *digest* for that of *file*, whose bytes have just been read."""
        self.futures[file.path] = Future()
        self.futures[file.path].set_result(digest)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportContext:
    """What every step of one import needs."""

    session: StoreSession
    job: ImportJob
    plan: ImportPlan
    digests: FileDigests

    @property
    def connection(self) -> str:
        return self.job.stamp.connection


def stage_files(context: ImportContext) -> list[FileTask]:
    """Stage the retained rows and every file that has anything left to do."""
    tasks: list[FileTask] = []
    retained = retained_rows.stage_retained(context.session, context.plan, context.connection, table="stage_kept")
    if retained:
        retained = erased_rows.blank_erased(context.session, retained, context.plan)
        tasks.append(FileTask(files=(retained_rows.FILE,), parts=(0,), known=LedgerEntry(), stage=retained))
    files, first = context.job.files, len(tasks)
    entries = ledger.load_entries(context.session, files, context.connection)
    staging = _Staging(
        context=context, tasks=tasks, rows=sum(task.rows for task in tasks), left=sum(file.size for file in files)
    )
    waiting: list[FileTask] = []
    for part, file in enumerate(files, first):
        digest = partial(context.digests.wait_for, file)
        task = FileTask(
            files=(file,), parts=(part,), known=ledger.find_entry(entries, file, context.plan, digest=digest)
        )
        if task.known.task == "skip" or _may_be_together(context, task):
            waiting.append(task)
        else:
            staging.stage_waiting(waiting)
            waiting = []
            staging.stage_alone(task)
    staging.stage_waiting(waiting)
    return tasks


def _may_be_together(context: ImportContext, task: FileTask) -> bool:
    is_new = task.known.task == "read" and not task.known.increments and bool(task.file.path)
    return is_new and small_files.can_be_together(context.plan, task.file)


@dataclass(kw_only=True, slots=True)
class _Staging:
    """Stages files in their order: *tasks* are done, with so many *rows*, and so many bytes are *left* to be read."""

    context: ImportContext
    tasks: list[FileTask]
    rows: int
    left: int

    def stage_alone(self, task: FileTask) -> None:
        self.tasks.append(_stage_alone(self.context, task, before=self.rows, left=self.left))
        self.rows += self.tasks[-1].rows
        self.left -= task.file.size

    def stage_waiting(self, waiting: Sequence[FileTask]) -> None:
        """Stage the files of *waiting*, of which some are skipped, as many of them together as possible."""
        at, most = 0, len(waiting)
        while at < len(waiting):
            members = list(islice((task for task in islice(waiting, at, None) if task.known.task == "read"), most))
            alike = None
            if waiting[at].known.task == "read":
                files = [task.file for task in members]
                alike = small_files.join_files(self.context.session, files, self.context.plan)
            if alike is None:
                self.stage_alone(waiting[at])
                at += 1
            elif staged := _stage_together(self.context, alike, members, f"stage_{members[0].parts[0]}"):
                end = next((n for n, task in enumerate(waiting) if task is members[len(alike.files) - 1]), at) + 1
                self._add_together(waiting[at:end], alike, staged)
                at, most = end, 2 * most
            else:
                # Something is wrong with one of them, which is told when it is read alone.
                most = max(len(alike.files) // 2, 1)

    def _add_together(self, waiting: Sequence[FileTask], alike: AlikeFiles, staged: Sequence[FileTask]) -> None:
        report, rows = self.context.session.report, iter(alike.rows)
        for task in waiting:
            self.left -= task.file.size
            if task.known.task == "skip":
                self.tasks.append(_skip(self.context, task))
            else:
                _tell_rows(self.context, task.file, next(rows))
        self.tasks += staged
        self.rows += sum(alike.rows)
        size = sum(file.size for file in alike.files)
        report.progress("reading", self.rows, self.rows + round(sum(alike.rows) * self.left / max(size, 1)))


def _tell_rows(context: ImportContext, file: LocalFile, rows: int) -> None:
    context.session.report.message(f"{file.name}: {plural(rows, 'row')}", file=file.name, rows=rows)


def _stage_together(
    context: ImportContext, alike: AlikeFiles, members: Sequence[FileTask], table: str
) -> list[FileTask]:
    """Stage the *alike* first files of *members*; nothing is returned when one of them has to be read alone."""
    session, plan = context.session, context.plan
    try:
        stage = small_files.stage_together(session, alike, plan, table)
    except OTHER_ERRORS:
        raise
    except (RunError, duckdb.Error):
        return []
    stage = erased_rows.blank_erased(session, stage, plan)
    cuts = small_files.cut_stage(session, stage, plan)
    if len(cuts) > 1:
        session.execute(f"DROP TABLE {stage.table}")
    for file, digest in zip(alike.files, alike.digests, strict=True):
        context.digests.note(file, digest)
    tasks = []
    for first, part in cuts:
        of = members[first : first + len(part.files)]
        files, parts = tuple(task.file for task in of), tuple(task.parts[0] for task in of)
        tasks.append(FileTask(files=files, parts=parts, known=LedgerEntry(), stage=part))
    return tasks


def _skip(context: ImportContext, task: FileTask) -> FileTask:
    context.session.report.message(
        f"{task.file.name}: not changed since it was read, {plural(task.known.rows, 'row')} skipped",
        file=task.file.name,
        rows=task.known.rows,
    )
    return task


def _stage_alone(context: ImportContext, task: FileTask, *, before: int, left: int) -> FileTask:
    """Stage a file unless there is nothing to do. *before* rows are staged, *left* bytes are to be read."""
    session, plan, digests, file, known = context.session, context.plan, context.digests, task.file, task.known

    def on_progress(done: int, about: int) -> None:
        session.report.progress("reading", before + done, before + round(about * left / max(file.size, 1)))

    if not file.path and known.task != "skip":
        raise RunError(
            f"{file.name} was not fetched, although its rows are not in the store as they are there now",
            hint="run it again; if that does not help, please report this",
            code="not-fetched",
            waiting_helps=True,
        )
    if known.task == "skip":
        return _skip(context, task)
    if known.task == "retry" and digests.wait_for(file) != known.digest:
        known = LedgerEntry()  # its source says it is the same, and it is not
    stage = stage_file(session, file, plan, f"stage_{task.parts[0]}", on_progress)
    stage = erased_rows.blank_erased(session, stage, plan)
    if not file.once:
        digests.start(file)
    again = [mapped for mapped in plan.increments if mapped.field.property in known.increments]
    if again and not known.same:
        ledger.load_refused(session, file, context.connection)
        session.execute(
            f"UPDATE {stage.table} SET {', '.join(f'v{mapped.number} = NULL' for mapped in again)}"
            " WHERE rowid NOT IN (FROM refused)"
        )
    if known.same:
        what = f"{plural(known.refused, 'refused row')} of {known.rows:,} tried again"
        session.report.message(f"{file.name}: {what}", file=file.name, rows=stage.rows)
    else:
        _tell_rows(context, file, stage.rows)
    on_progress(stage.rows, stage.rows)
    return FileTask(files=task.files, parts=task.parts, known=known, stage=stage)
