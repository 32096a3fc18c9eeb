"""An import: files are staged, then merged in one transaction that leaves all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter

from connrunner.core.counts import Counts, imbalance_error
from connrunner.profiles import before, connection_state, expectations, recorded_runs, rejects, respelling
from connrunner.profiles.importing import differences, ledger, merge, reject_reasons, retained_rows, small_files
from connrunner.profiles.importing.classify import classify_rows, list_changes
from connrunner.profiles.importing.file_tasks import FileDigests, FileTask, ImportContext, stage_files
from connrunner.profiles.importing.held_changes import ChangeSurvey
from connrunner.profiles.importing.match import match_rows
from connrunner.profiles.importing.stage import Stage
from connrunner.profiles.jobs import ImportJob
from connrunner.profiles.mapping import make_plan
from connrunner.profiles.results import Difference, FileResult, HeldChange, ImportResult, list_told_files
from connrunner.profiles.session import KeyQuery, ProfileNeed, StoreSession
from connrunner.profiles.sql_fragments import all_of, unquote_name

MOST_COLUMNS = 500  # that the record of a run names


def import_files(session: StoreSession, job: ImportJob) -> ImportResult:
    """See `ProfileStore.import_files`."""
    plan = make_plan(job.work, session.model)
    respelling.warn_of_doubles(session)
    with ThreadPoolExecutor(1) as executor:
        context = ImportContext(session=session, job=job, plan=plan, digests=FileDigests(executor=executor))
        tasks = stage_files(context)
        try:
            result = _merge_or_survey(context, tasks)
        except _HeldError as held:
            columns = tuple(plan.columns_seen.names)[:MOST_COLUMNS]
            result = ImportResult(counts=Counts(), files=(), differences=held.found, held=held.change, columns=columns)
    for task in tasks:
        if task.stage:
            session.execute(f"DROP TABLE {task.stage.table}")
    return result


class _SurveyNeededError(Exception):
    """Ends the transaction of a run that turns out to be held: what it would change is to be surveyed."""


class _HeldError(Exception):
    """Ends the transaction of a run whose changes are held back."""

    def __init__(self, change: HeldChange, found: Sequence[Difference]) -> None:
        super().__init__("the changes of the run are held back")
        self.change, self.found = change, tuple(found)


def _merge_or_survey(context: ImportContext, tasks: Sequence[FileTask]) -> ImportResult:
    """Bring the rows of all *tasks* into the profiles; _HeldError when somebody has to approve what they would change.

    A survey costs as much again as the changes. So a run that mostly does what is expected is surveyed only when it
    does not: it is begun anew.
    """
    hold = context.job.hold
    if hold is None or not (hold.is_reviewed or hold.approved):
        try:
            return _merge_all(context, tasks, survey=None)
        except _SurveyNeededError:
            pass
    return _merge_all(context, tasks, survey=ChangeSurvey(session=context.session, plan=context.plan))


def _merge_all(context: ImportContext, tasks: Sequence[FileTask], survey: ChangeSurvey | None) -> ImportResult:
    """Bring the rows of all *tasks* into the profiles, in one transaction; with a *survey* of it."""
    session, job = context.session, context.job
    results: list[list[FileResult]] = []  # of each task
    found: list[Difference] = []
    rejects.create_rejects(session)
    with session.transaction(keep=not job.dry_run, need=_list_need(context, tasks)):
        run = recorded_runs.start_record(session, job.stamp, "import")
        # To count costs a look at each of them where they are kept elsewhere.
        is_asked = job.work.expect.max_change_pct is not None
        stored = session.backing.count_profiles(session) if is_asked else 0
        staged, checked = sum(task.rows for task in tasks), 0
        session.report.progress("checking", 0, staged)
        _start_keeping(context, run)
        for position, task in enumerate(tasks):
            results.append(_merge(context, tasks, task, run=run, part=position, found=found, survey=survey))
            checked += task.rows
            session.report.progress("checking", checked, staged)
        files = _list_in_order(tasks, results)
        total = sum((result.counts for result in files), Counts())
        if problem := total.imbalance():
            raise imbalance_error(problem)
        approved = {"approved": job.hold.approval} if job.hold and job.hold.approval else {}
        columns = {"columns": list(context.plan.columns_seen.names)[:MOST_COLUMNS]} if job.hold else {}
        recorded_runs.finish_record(session, run, total, {**list_told_files(files), **columns, **approved})
        if job.mark is not None:
            connection_state.save_mark(session, context.connection, job.mark, run=run)
        measures = _measure(tasks, results, stored)
        reasons = [*expectations.find_unexpected_changes(job.work.expect, measures), *context.plan.columns_seen.missing]
        if reasons and survey is None and job.hold and job.work.expect.otherwise == "hold":
            raise _SurveyNeededError
        # Also of a run that fails now: they show what was unexpected.
        rejects.write_rejects(session, job.rejects)
        _check(context, tasks, measures, total, reasons, survey, found)
        session.report.progress("writing", 0, total.read)
    session.report.progress("writing", total.read, total.read)
    columns_read = tuple(context.plan.columns_seen.names)[:MOST_COLUMNS]
    return ImportResult(counts=total, files=tuple(files), differences=tuple(found), columns=columns_read)


def _check(
    context: ImportContext,
    tasks: Sequence[FileTask],
    measures: expectations.ImportMeasures,
    total: Counts,
    reasons: list[str],
    survey: ChangeSurvey | None,
    found: Sequence[Difference],
) -> None:
    """RunError when the import is not as expected, for these *reasons*; _HeldError when somebody has to approve it."""
    hold = context.job.hold
    if reasons and not (hold and (hold.approved or context.job.work.expect.otherwise == "hold")):
        raise expectations.unexpected_import_error(reasons)
    if hold is None or survey is None:
        return
    if hold.is_reviewed and measures.changes:
        reasons = [*reasons, "each run is reviewed (review: always)"]
    if reasons or (hold.approved and measures.changes):
        change = survey.finish(context, tasks, total, reasons or ["it is not what was approved"])
        if change.digest != hold.approved:
            raise _HeldError(change, found)


def _start_keeping(context: ImportContext, run: int) -> None:
    """Let the store keep what this run will overwrite, and no longer keep what is too old."""
    session, job = context.session, context.job
    if not session.backing.keeps_former:
        return
    before.drop_expired(session.connection, job.stamp.at)
    columns = [unquote_name(one.column) for one in list_changes(context.plan, session.layout)]
    before.start_keeping(session.connection, run, columns, at=job.stamp.at, keep=job.work.undo_keep)


def _list_need(context: ImportContext, tasks: Sequence[FileTask]) -> ProfileNeed:
    """Return which profiles the staged rows can meet: by their keys, or because they have an identifier of a row."""
    plan = context.plan
    groups = {tuple(mapped.number for mapped in group): group for group in plan.groups}
    groups |= {(mapped.number,): (mapped,) for mapped in plan.fields if mapped.owner.identifier}
    stages = [task.stage.table for task in tasks if task.stage]
    keys = []
    for numbers, group in groups.items():
        columns = [f"v{number}" for number in numbers]
        complete = all_of(f"{column} IS NOT NULL" for column in columns)
        rows = " UNION ALL ".join(f"SELECT {', '.join(columns)} FROM {table} WHERE {complete}" for table in stages)
        if rows:
            keys.append(KeyQuery(properties=tuple(mapped.field.property for mapped in group), query=rows))
    return ProfileNeed(
        properties=tuple(mapped.field.property for mapped in plan.fields),
        objectives=tuple(dict.fromkeys((*plan.work.objectives, *(name for name, _ in plan.consents)))),
        keys=keys,
    )


def _list_in_order(tasks: Sequence[FileTask], results: Sequence[Sequence[FileResult]]) -> list[FileResult]:
    """Return the results of all files in the order in which they were given."""
    numbered = [one for task, found in zip(tasks, results, strict=True) for one in zip(task.parts, found, strict=True)]
    return [result for _, result in sorted(numbered, key=itemgetter(0))]


def _measure(
    tasks: Sequence[FileTask], results: Sequence[Sequence[FileResult]], stored: int
) -> expectations.ImportMeasures:
    counts = [sum((result.counts for result in found), Counts()) for found in results]
    total = sum(counts, Counts())
    new = sum((one for task, one in zip(tasks, counts, strict=True) if task.new_stage), Counts())
    files = [task for task in tasks if not task.is_retained]
    return expectations.ImportMeasures(
        rows=None if files and not any(task.new_stage for task in files) else new.read,
        checked=new.checked,
        refused=new.refused,
        changes=total.created + total.updated + total.deleted,
        before=stored,
    )


def _merge(
    context: ImportContext,
    tasks: Sequence[FileTask],
    task: FileTask,
    *,
    run: int,
    part: int,
    found: list[Difference],
    survey: ChangeSurvey | None,
) -> list[FileResult]:
    """Bring the rows of one of the *tasks* into the profiles; a dry run adds the first differences to *found*."""
    session, plan = context.session, context.plan
    file, known, stage, first = task.file, task.known, task.stage, task.parts[0]
    if stage is None:
        counts = Counts(read=known.rows, skipped=known.rows)
        return [FileResult(name=file.name, status="skipped", counts=counts)]
    if known.same:
        ledger.load_refused(session, file, context.connection)
    if stage.files:
        small_files.create_places(session, stage, task.parts)
    matches = match_rows(session, stage, plan, retry=known.same)
    classify_rows(session, stage, plan, matches, retry=known.same)
    if task.is_retained:
        retained_rows.mark_superseded(session, stage, [later.new_stage for later in tasks if later.new_stage], plan)
    counts = merge.count_verdicts(session, stage)
    if counts.checked > counts.created + counts.updated + counts.unchanged:
        reject_reasons.collect_rejects(session, stage, plan, counts, file=file.name, part=first)
    if task.is_retained:
        retained_rows.reject_superseded(session, stage, plan, part=first)
    if context.job.dry_run:
        found += differences.select_differences(session, stage, plan, differences.MOST - len(found))
    if survey:
        survey.add(stage)
    merge.merge_rows(session, stage, plan, counts, run=run, part=part)
    _record(context, task, stage, run=run)
    if stage.files:
        each = merge.count_by_file(session, stage, task.parts)
        return [
            FileResult(name=one.name, status="imported", counts=counts)
            for one, counts in zip(task.files, each, strict=True)
        ]
    retried = known.same or task.is_retained
    return [FileResult(name=file.name, status="retried" if retried else "imported", counts=counts)]


def _record(context: ImportContext, task: FileTask, stage: Stage, *, run: int) -> None:
    """Record what the next run has to know about the classified rows of *task*."""
    session, plan, connection = context.session, context.plan, context.connection
    if task.is_retained:
        retained_rows.drop_settled(session)
        return
    once = [file for file in task.files if file.once]
    if once:
        # They may have been files that stay where they are, until the connection was changed.
        ledger.forget_files(session, once, connection)
        form = plan.form_of(task.file)
        retained_rows.retain_refused(session, stage, form, connection, part=task.parts[0], run=run)
    elif stage.files:
        ledger.record_files(
            session,
            list(zip(task.parts, task.files, strict=True)),
            plan,
            connection=connection,
            digests=[context.digests.wait_for(file) for file in task.files],
            rows=[one.rows for one in stage.files],
            first_line=stage.first_line,
            run=run,
        )
    else:
        ledger.record_file(
            session,
            task.file,
            plan,
            connection=connection,
            digest=context.digests.wait_for(task.file),
            rows=stage.rows,
            increments={*task.known.increments, *(mapped.field.property for mapped in plan.increments)},
            run=run,
        )
