"""An import: files are staged one by one, then merged in one transaction that leaves all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from connrunner.core.counts import Counts, imbalance_error
from connrunner.core.model import LocalFile
from connrunner.errors import RunError
from connrunner.profiles import connection_state, expectations, recorded_runs, rejects, respelling
from connrunner.profiles.importing import differences, erased_rows, ledger, merge, reject_reasons, retained_rows
from connrunner.profiles.importing.classify import classify_rows
from connrunner.profiles.importing.ledger import LedgerEntry
from connrunner.profiles.importing.match import match_rows
from connrunner.profiles.importing.read import stage_file
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.jobs import ImportJob
from connrunner.profiles.mapping import ImportPlan, make_plan
from connrunner.profiles.readers.normalize import compute_digest
from connrunner.profiles.results import Difference, FileResult, ImportResult, list_told_files
from connrunner.profiles.session import StoreSession
from connrunner.text.words import plural


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """One file and what is left to do with it; nothing when it has no stage."""

    file: LocalFile
    known: LedgerEntry
    stage: Stage | None = None

    @property
    def is_retained(self) -> bool:
        """True for the rows that are retained from earlier runs."""
        return self.file is retained_rows.FILE

    @property
    def new_stage(self) -> Stage | None:
        """The stage of a file whose rows are read for the first time."""
        return None if self.known.same or self.is_retained else self.stage


@dataclass(frozen=True, kw_only=True, slots=True)
class _Digests:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Context:
    """What every step of one import needs."""

    session: StoreSession
    job: ImportJob
    plan: ImportPlan
    digests: _Digests

    @property
    def connection(self) -> str:
        return self.job.stamp.connection


def import_files(session: StoreSession, job: ImportJob) -> ImportResult:
    """See `ProfileStore.import_files`."""
    plan = make_plan(job.work, session.model)
    respelling.warn_of_doubles(session)
    with ThreadPoolExecutor(1) as executor:
        context = _Context(session=session, job=job, plan=plan, digests=_Digests(executor=executor))
        tasks = _stage_all(context)
        result = _merge_all(context, tasks)
    for task in tasks:
        if task.stage:
            session.execute(f"DROP TABLE {task.stage.table}")
    return result


def _stage_all(context: _Context) -> list[_Task]:
    """Stage the retained rows and every file that has anything left to do."""
    tasks: list[_Task] = []
    retained = retained_rows.stage_retained(context.session, context.plan, context.connection, table="stage_kept")
    if retained:
        retained = erased_rows.blank_erased(context.session, retained, context.plan)
        tasks.append(_Task(file=retained_rows.FILE, known=LedgerEntry(), stage=retained))
    staged, left = _count_staged(tasks), sum(file.size for file in context.job.files)
    for number, file in enumerate(context.job.files):
        task = _prepare(context, file, number, before=staged, left=left)
        staged, left = staged + _count_staged([task]), left - file.size
        tasks.append(task)
    return tasks


def _merge_all(context: _Context, tasks: Sequence[_Task]) -> ImportResult:
    """Bring the rows of all *tasks* into the profiles, in one transaction."""
    session, job = context.session, context.job
    results: list[FileResult] = []
    found: list[Difference] = []
    rejects.create_rejects(session)
    with session.transaction(keep=not job.dry_run):
        run = recorded_runs.start_record(session, job.stamp, "import")
        stored = int(session.one("SELECT count(*) FROM store.profiles"))
        staged, checked = _count_staged(tasks), 0
        session.report.progress("checking", 0, staged)
        for part, task in enumerate(tasks):
            results.append(_merge(context, tasks, part, run=run, found=found))
            checked += _count_staged([task])
            session.report.progress("checking", checked, staged)
        total = sum((result.counts for result in results), Counts())
        if problem := total.imbalance():
            raise imbalance_error(problem)
        recorded_runs.finish_record(session, run, total, list_told_files(results))
        if job.mark is not None:
            connection_state.save_mark(session, context.connection, job.mark, run=run)
        # Also of a run that fails now: they show what was unexpected.
        rejects.write_rejects(session, job.rejects)
        expectations.check_import(job.work.expect, _measure(tasks, results, stored))
        session.report.progress("writing", 0, total.read)
    session.report.progress("writing", total.read, total.read)
    return ImportResult(counts=total, files=tuple(results), differences=tuple(found))


def _count_staged(tasks: Sequence[_Task]) -> int:
    return sum(task.stage.rows for task in tasks if task.stage)


def _measure(tasks: Sequence[_Task], results: Sequence[FileResult], stored: int) -> expectations.ImportMeasures:
    total = sum((result.counts for result in results), Counts())
    new = sum((result.counts for task, result in zip(tasks, results, strict=True) if task.new_stage), Counts())
    files = [task for task in tasks if not task.is_retained]
    return expectations.ImportMeasures(
        rows=None if files and not any(task.new_stage for task in files) else new.read,
        checked=new.checked,
        refused=new.refused,
        changes=total.created + total.updated + total.deleted,
        before=stored,
    )


def _prepare(context: _Context, file: LocalFile, number: int, *, before: int, left: int) -> _Task:
    """Stage *file* unless there is nothing to do. *before* rows are staged, *left* bytes are to be read."""
    session, plan, digests = context.session, context.plan, context.digests

    def on_progress(done: int, about: int) -> None:
        session.report.progress("reading", before + done, before + round(about * left / max(file.size, 1)))

    known = ledger.find_entry(session, file, plan, connection=context.connection, digest=lambda: digests.wait_for(file))
    if not file.path and known.task != "skip":
        raise RunError(
            f"{file.name} was not fetched, although its rows are not in the store as they are there now",
            hint="run it again; if that does not help, please report this",
            code="not-fetched",
            waiting_helps=True,
        )
    if known.task == "skip":
        session.report.message(
            f"{file.name}: not changed since it was read, {plural(known.rows, 'row')} skipped",
            file=file.name,
            rows=known.rows,
        )
        return _Task(file=file, known=known)
    if known.task == "retry" and digests.wait_for(file) != known.digest:
        known = LedgerEntry()  # its source says it is the same, and it is not
    stage = stage_file(session, file, plan, f"stage_{number}", on_progress)
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
    what = (
        f"{plural(known.refused, 'refused row')} of {known.rows:,} tried again"
        if known.same
        else plural(stage.rows, "row")
    )
    session.report.message(f"{file.name}: {what}", file=file.name, rows=stage.rows)
    on_progress(stage.rows, stage.rows)
    return _Task(file=file, known=known, stage=stage)


def _merge(context: _Context, tasks: Sequence[_Task], part: int, *, run: int, found: list[Difference]) -> FileResult:
    """Bring the rows of one of the *tasks* into the profiles; a dry run adds the first differences to *found*."""
    session, plan, task = context.session, context.plan, tasks[part]
    file, known, stage = task.file, task.known, task.stage
    if stage is None:
        counts = Counts(read=known.rows, skipped=known.rows)
        return FileResult(name=file.name, status="skipped", counts=counts)
    if known.same:
        ledger.load_refused(session, file, context.connection)
    matches = match_rows(session, stage, plan, retry=known.same)
    classify_rows(session, stage, plan, matches, retry=known.same)
    if task.is_retained:
        retained_rows.mark_superseded(session, stage, [later.new_stage for later in tasks if later.new_stage], plan)
    counts = merge.count_verdicts(session, stage)
    if counts.checked > counts.created + counts.updated + counts.unchanged:
        reject_reasons.collect_rejects(session, stage, plan, counts, file=file.name, part=part)
    if task.is_retained:
        retained_rows.reject_superseded(session, stage, plan, part=part)
    if context.job.dry_run:
        found += differences.select_differences(session, stage, plan, differences.MOST - len(found))
    merge.merge_rows(session, stage, plan, counts, run=run)
    _record(context, task, stage, part, run=run)
    retried = known.same or task.is_retained
    return FileResult(name=file.name, status="retried" if retried else "imported", counts=counts)


def _record(context: _Context, task: _Task, stage: Stage, part: int, *, run: int) -> None:
    """Record what the next run has to know about the classified rows of *task*."""
    session, plan, file = context.session, context.plan, task.file
    if task.is_retained:
        retained_rows.drop_settled(session)
    elif file.once:
        # It may have been a file that stays where it is, until the connection was changed.
        ledger.forget_file(session, file, context.connection)
        retained_rows.retain_refused(session, stage, plan.form_of(file), context.connection, part=part, run=run)
    else:
        ledger.record_file(
            session,
            file,
            plan,
            connection=context.connection,
            digest=context.digests.wait_for(file),
            rows=stage.rows,
            increments={*task.known.increments, *(mapped.field.property for mapped in plan.increments)},
            run=run,
        )
