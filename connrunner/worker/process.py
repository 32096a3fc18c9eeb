"""The process of one run: takes its job from standard input, does the work, and tells its log how it ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

from connrunner import connectors
from connrunner.config import resolved, secrets
from connrunner.connectors import RunContext, command
from connrunner.core import instant, run_records
from connrunner.core.counts import Counts
from connrunner.core.formats import trace
from connrunner.core.model import (
    DELETED_COLUMN,
    Command,
    Connection,
    Export,
    Format,
    Import,
    Outcome,
    ProfileModel,
    Property,
    PropertyType,
    Result,
    StoreSettings,
)
from connrunner.core.planning.due import StopRequest
from connrunner.core.report import NullReport, Report
from connrunner.core.run_records import outcome_of
from connrunner.errors import ConnrunnerError, RunError
from connrunner.lazy_dataclasses import asdict, dataclass, field, replace
from connrunner.processes.limits import forbid_core_dumps
from connrunner.processes.output import Output
from connrunner.processes.tree import RUN_ID_VARIABLE, ProcessTree, Termination, become_subreaper
from connrunner.profiles import ProfileStore
from connrunner.profiles.jobs import ExportJob, ImportJob, RunStamp, UndoJob
from connrunner.profiles.patience import Patience
from connrunner.profiles.results import RecordedRun, list_told_files
from connrunner.profiles.store_place import StorePlace, open_profile_store
from connrunner.state import end_reserve, requests
from connrunner.state.folder import StateFolder
from connrunner.state.run_files import RunLog
from connrunner.state.store_changes import list_store_changes
from connrunner.text.database_urls import list_passwords
from connrunner.text.files import NO_ROOM
from connrunner.text.redaction import describe_exception
from connrunner.text.spellings import encode_loosely
from connrunner.text.words import listed, plural
from connrunner.worker.held_result import Decisions, find_hold_rules, make_held_result
from connrunner.worker.masked_report import MaskedReport
from connrunner.worker.partial_result import PartialResult
from connrunner.worker.recorded_result import add_words, ask_store, make_result
from connrunner.worker.retries import Attempts
from connrunner.worker.signal_orders import SignalOrders, Terminated

SAMPLES = 20  # rows that a dry run of an export shows
SHORT_WAIT = 5  # seconds for it at the end of a run that failed
SETTLED_LATER = "the next run asks which of them did"
STORE_WAIT = 3600  # seconds that a run waits for the profile store while a run of another lane holds it


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """All that a worker needs to know; it reads no YAML."""

    workspace: Path
    state: StateFolder
    connection: Connection
    model: ProfileModel
    run: int
    started_at: datetime
    processes: ProcessTree = field(default_factory=ProcessTree.new)  # every process that the run starts is in it
    deadline: float | None = None  # of all attempts, in seconds of the monotonic clock
    undo: int | None = None  # the run that is to be undone, instead of the connection's work
    reason: str = ""  # why
    decisions: Decisions = Decisions()  # about earlier runs that were held
    dry_run_folder: Path | None = None  # a folder for what the run would leave; nothing else is written then
    store: StoreSettings = field(default_factory=StoreSettings)  # where profiles are kept

    @property
    def spool(self) -> Path:
        return (self.dry_run_folder or self.state.spool) / f"{self.connection.name}-{self.run}"

    @property
    def store_place(self) -> StorePlace:
        return StorePlace(
            settings=self.store,
            path=self.state.profiles,
            folder=self.workspace,
            resolve=partial(secrets.resolve_secret, folder=self.workspace),
        )

    @property
    def time_left(self) -> int:
        """Whole seconds that the timeout of the run leaves for a program."""
        if self.deadline is None:
            return self.connection.timeout
        return max(1, round(self.deadline - time.monotonic()))

    @property
    def rejects(self) -> Path:
        if self.dry_run_folder:
            return self.dry_run_folder / "rejects.jsonl"
        return self.state.rejects(self.connection.name, self.run)


def job_from(data: Mapping[str, Any]) -> Job:
    """Return the job that plain data holds."""
    connection = resolved.connection_from(data["connection"], data["document"], timezone="UTC")
    return Job(
        workspace=Path(data["workspace"]),
        state=StateFolder(Path(data["state"])),
        connection=connection,
        model=resolved.profile_model_from(data["profile"]),
        store=resolved.store_settings_from(data.get("store") or {}),
        run=data["run"],
        started_at=instant.parse(data["started_at"]),
        undo=data.get("undo"),
        reason=data.get("reason", ""),
        decisions=Decisions(approval=data.get("approval"), declined=data.get("declined"), held=data.get("held")),
        processes=ProcessTree(
            mark=os.environ[RUN_ID_VARIABLE],
            inherit=(data["lane_descriptor"],),
            below=os.getpid(),
            grace=connection.grace,
        ),
    )


def perform(job: Job, report: Report, so_far: PartialResult | None = None) -> Result:
    """Do the work of *job* and return how it ended; every mistake outside of connrunner is a failed result.

    No secret reaches *report* or the result: both go through the mask. *so_far* holds what is done when an exception
    leaves.
    """
    so_far = so_far or PartialResult()
    mask: Callable[[str], str] = str
    try:
        job.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        plain = _secrets(job)
        # The URL of the store is no setting of the connection, but nothing that leaves may hold it either.
        mask = secrets.Masker([*plain.values(), *_store_secrets(job)]).mask
        report = so_far.observe(MaskedReport(report, mask))
        match job.connection.work:
            case _ if job.undo is not None:
                result = _undo(job, job.undo, report, so_far)
            case Import() as work:
                result = _import(job, work, plain, report, so_far)
            case Export() as work:
                result = _export(job, work, plain, report, so_far)
            case Command() as work:
                result = _command(job, work, plain, mask, report, so_far)
    except RunError as error:
        helps = error.waiting_helps
        failure = Result(outcome=Outcome.FAILED, message=str(error), code=error.code, waiting_helps=helps)
        result = _settled(job, so_far, failure, report)
    except OSError as error:
        message = f"{error.filename}: {error.strerror or error}" if error.filename else str(error.strerror or error)
        helps = isinstance(error, ConnectionError | TimeoutError)
        code = "disk-full" if error.errno in NO_ROOM else "operating-system"
        failure = Result(outcome=Outcome.FAILED, message=message, code=code, waiting_helps=helps)
        result = _settled(job, so_far, failure, report)
    finally:
        if os.path.lexists(job.spool):
            import shutil

            shutil.rmtree(job.spool, ignore_errors=True)
    return replace(result, message=mask(result.message))


def _settled(job: Job, so_far: PartialResult, failure: Result, report: Report) -> Result:
    """Return *failure*, unless the store has all of the run: then it happened afterwards, and is told."""
    _ask_store(job, so_far)
    if so_far.recorded is None:
        return failure
    report.message(f"afterwards, when all was in the profile store: {failure.message}", level="warning")
    return add_words(make_result(so_far.recorded), failure.message)


def _ask_store(job: Job, so_far: PartialResult) -> None:
    """Find out whether the store has this run, unless that is known."""
    if so_far.is_store_known or job.dry_run_folder or isinstance(job.connection.work, Command):
        return
    with suppress(Exception):  # what failed is told, and is what matters
        so_far.note_recorded(ask_store(job.store_place, _stamp(job), wait=SHORT_WAIT))


@contextmanager
def _noting(job: Job, store: ProfileStore, so_far: PartialResult) -> Iterator[None]:
    """Note what the store has of this run, however the block ends: maybe in the moment when all became durable."""
    try:
        yield
    except BaseException:
        if not job.dry_run_folder:
            with suppress(Exception):
                so_far.note_recorded(store.read_recorded(_stamp(job)))
        raise
    if not job.dry_run_folder:
        so_far.note_recorded(store.read_recorded(_stamp(job)))


def _store(job: Job, report: Report) -> AbstractContextManager[ProfileStore]:
    return open_profile_store(
        job.store_place,
        job.model,
        temp=job.spool,
        report=report,
        wait=Patience(
            STORE_WAIT, lambda holder: report.message(f"waiting for the profile store: {_words(holder, job)}")
        ),
        expected=list_store_changes(job.state),
    )


def _words(holder: str, job: Job) -> str:
    return f"{holder} changes it" if holder else _name_others(job)


def _name_others(job: Job) -> str:
    """Return the runs at work that may have the profile store open, in words."""
    from connrunner.state.journal import Journal

    own = (job.connection.name, job.run)
    found: list[str] = []
    with suppress(ConnrunnerError):
        started = Journal(job.state).read().started.values()
        found = [
            f"{one.connection} #{one.run}"
            for one in started
            if one.intent.kind != "command" and (one.connection, one.run) != own
        ]
    return f"{listed(sorted(found)) or 'another process'} may have it open"


@contextmanager
def _private() -> Iterator[None]:
    """Make new files ours alone. Not for the whole run: other users may read what a program writes."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _import(job: Job, work: Import, plain: Mapping[str, str], report: Report, so_far: PartialResult) -> Result:
    name = job.connection.name
    source = connectors.source(work.source["type"])
    settings = secrets.filled(work.source, plain)
    context = _run_context(job, report)
    with _private(), _store(job, report) as store:
        known, mark = store.load_known_files(work, connection=name), store.read_mark(name)
        has_read = store.has_read_files(name)
    # The store is closed meanwhile: a slow partner keeps no run of another lane from it.
    try:
        fetched = source.fetch(settings, context, known=known, mark=mark)
    except connectors.NoFilesError as error:
        return _without_files(job, work, error, report, has_read=has_read)
    hold = find_hold_rules(job.connection, job.decisions)
    with _private(), _store(job, report) as store, _noting(job, store, so_far):
        done = store.import_files(
            ImportJob(
                work=work,
                files=fetched.files,
                stamp=_stamp(job),
                rejects=job.rejects,
                mark=fetched.mark,
                dry_run=job.dry_run_folder is not None,
                hold=hold,
            )
        )
    if done.held:
        told = NullReport() if job.dry_run_folder else report
        result = make_held_result(job.connection, job.decisions, done.held, state=job.state, report=told)
    else:
        detail = {**list_told_files(done.files), **({"columns": list(done.columns)} if hold else {})}
        if hold and hold.approval:
            detail["approved"] = hold.approval
        made = make_result(RecordedRun(kind="import", counts=done.counts, detail=detail))
        result = _checked(replace(made, message="; ".join((made.message, *fetched.notes))))
    if job.dry_run_folder:
        differences = [asdict(difference) for difference in done.differences]
        return replace(result, detail={**result.detail, "differences": differences})
    if done.held:
        return result
    try:
        refused = {file.name for file in done.files if file.counts.refused}
        accepted = tuple(file for file in fetched.files if file.name not in refused)
        source.settle(settings, context, replace(fetched, files=accepted))
    except (RunError, OSError) as error:
        message = f"the rows are imported, but not all is done at the source: {error}"
        code = error.code if isinstance(error, RunError) else "operating-system"
        return replace(result, outcome=Outcome.PARTIAL, message=message, code=code)
    return result


def _undo(job: Job, run: int, report: Report, so_far: PartialResult) -> Result:
    """Put back what an import overwrote."""
    is_dry = job.dry_run_folder is not None
    with _private(), _store(job, report) as store, _noting(job, store, so_far):
        done = store.undo(UndoJob(run=run, reason=job.reason, stamp=_stamp(job), rejects=job.rejects, dry_run=is_dry))
    result = _checked(make_result(RecordedRun(kind="undo", counts=done.counts, detail=done.detail)))
    if not is_dry:
        return result
    differences = [asdict(difference) for difference in done.differences]
    return replace(result, detail={**result.detail, "differences": differences})


def _without_files(job: Job, work: Import, error: connectors.NoFilesError, report: Report, *, has_read: bool) -> Result:
    """Return the result of a run for which there was no file, as `when_none` says; the error when it is a failure."""
    if work.source.get("when_none", "succeed" if has_read else "fail") == "fail":
        if not has_read:
            raise error
        # What was read before shows that `path` is right.
        hint = "none was delivered since the last one; `when_none: succeed` makes that no failure"
        raise connectors.NoFilesError(error.message, hint=hint)
    report.message(error.message)
    differences: dict[str, Any] = {"differences": []} if job.dry_run_folder else {}
    return _counted(Counts(), "there is no file to read", files=[], **differences)


def _export(job: Job, work: Export, plain: Mapping[str, str], report: Report, so_far: PartialResult) -> Result:
    destination = connectors.destination(work.destination["type"])
    settings = secrets.filled(work.destination, plain)
    context = _run_context(job, report)
    # Asked before a row is written: a mistake in the settings costs nothing.
    target = destination.target(settings, context)
    form = destination.form(settings, work.format)
    local = job.spool / f"export{_compression_suffix(target, form)}"
    can_settle = connectors.can_settle(destination)
    with _store(job, report) as store:
        if can_settle and not job.dry_run_folder:
            _settle_earlier(destination, settings, context, store)
        most = SAMPLES if job.dry_run_folder else 0
        done = store.export(
            ExportJob(
                work=work,
                stamp=_stamp(job),
                path=local,
                form=form,
                samples=most,
                withdrawals=job.state.withdrawals(job.connection.name),
                can_settle=can_settle,
                has_keys=connectors.keeps_ledger(destination),
                hold=(hold := find_hold_rules(job.connection, job.decisions)),
            )
        )
        if done.held:
            told = NullReport() if job.dry_run_folder else report
            result = make_held_result(job.connection, job.decisions, done.held, state=job.state, report=told)
            shown = {"samples": [asdict(sample) for sample in done.samples]} if job.dry_run_folder else {}
            return replace(result, detail={**result.detail, **shown})
        if job.dry_run_folder:
            from connrunner.worker import partner_comparison

            samples, doubt = partner_comparison.compare_samples(destination, settings, context, done, local)
            message = f"{plural(done.rows_written, 'row')} would go to {target}{doubt}"
            return _counted(done.counts, message, samples=samples)
        approved = {"approved": hold.approval} if hold and hold.approval else {}
        if not done.written:
            with _private(), _noting(job, store, so_far):
                counts = store.confirm_export(_stamp(job), rejects=job.rejects)
            return _checked(make_result(RecordedRun(kind="export", counts=counts, detail=approved)))
        afterwards = SETTLED_LATER if can_settle else run_records.DELIVERED_AGAIN
        so_far.begin_delivery(done.counts, done.rows_written, target, afterwards=afterwards)
        going = f"{plural(done.rows_written, 'row')} to {target}"
        # What a kill leaves behind says so.
        report.message(f"delivering {going}", delivering=going, afterwards=afterwards)
        delivered = destination.deliver(settings, context, local)
        so_far.note_delivery(delivered.where)
        with _private(), _noting(job, store, so_far):
            counts = store.confirm_export(
                _stamp(job), refused=delivered.refused, rejects=job.rejects, where=delivered.where
            )
    detail = {"output": delivered.where, "rows": done.rows_written - len(delivered.refused), **approved}
    return _checked(make_result(RecordedRun(kind="export", counts=counts, detail=detail)))


def _settle_earlier(
    destination: connectors.Destination, settings: connectors.Settings, context: RunContext, store: ProfileStore
) -> None:
    """Find out what became of the rows of a run that was cut off, and let the store know it."""
    rows = store.find_unconfirmed(context.connection)
    if rows is None:
        return
    earlier = replace(context, run=rows.stamp.run, at=rows.stamp.at)
    sent = cast("connectors.SettlingDestination", destination).settle_rows(settings, earlier, rows.rows)
    unknown = {one.row for one in sent.refused if one.code == "unconfirmed"}
    refused = {one.row for one in sent.refused} - unknown
    store.settle_export(rows, refused=refused, unknown=unknown)
    arrived = rows.rows - len(refused) - len(unknown)
    said = f"of the {plural(rows.rows, 'row')} of run {rows.stamp.run}, which was cut off, {arrived:,} arrived"
    more = [f"{len(refused):,} did not", *([f"of {len(unknown):,} nobody knows it"] if unknown else [])]
    context.report.message(f"{said}, {listed(more)}; these are offered again" if arrived < rows.rows else said)


def _stamp(job: Job) -> RunStamp:
    return RunStamp(connection=job.connection.name, run=job.run, at=job.started_at)


def _compression_suffix(target: str, form: Format) -> str:
    """Return the suffix by which the store knows how to compress, when the target's name says it."""
    if form.compression != "auto":
        return ""
    return next((suffix for suffix in (".gz", ".zst") if target.endswith(suffix)), "")


def _run_context(job: Job, report: Report) -> RunContext:
    return RunContext(
        connection=job.connection.name,
        run=job.run,
        at=job.started_at,
        workspace=job.workspace,
        spool=job.spool,
        programs=job.state.programs,
        columns=_list_columns(job),
        ledger=job.state.ledger(job.connection.name),
        processes=job.processes,
        report=report,
    )


def _list_columns(job: Job) -> dict[str, Property]:
    """Return the columns of an export's rows, with the property that each holds; none of what is not declared."""
    work, known = job.connection.work, job.model.properties
    if not isinstance(work, Export):
        return {}
    found = {column: known[name] for column, name in work.fields.items() if name in known}
    if work.deleted == "send":
        found[DELETED_COLUMN] = Property(name=DELETED_COLUMN, type=PropertyType.BOOLEAN, personal=False)
    return found


def _command(
    job: Job, work: Command, plain: Mapping[str, str], mask: Callable[[str], str], report: Report, so_far: PartialResult
) -> Result:
    done = command.run_declared_program(
        work,
        Output(
            mask=mask,
            report=report,
            counted=so_far.note_counts,
            longest_secret=max((len(encode_loosely(secret)) for secret in plain.values()), default=0),
        ),
        workspace=job.workspace,
        environment={
            **secrets.filled(work.env, plain),
            "CONNRUNNER_CONNECTION": job.connection.name,
            "CONNRUNNER_RUN": str(job.run),
            "CONNRUNNER_WORKSPACE": str(job.workspace),
        },
        timeout=job.time_left,
        tree=job.processes,
    )
    said = f": {done.message}" if done.message else ""
    if done.timed_out:
        failure = f"it was ended after its timeout of {job.connection.timeout:,} s", "timeout"
    elif done.signal is not None:
        failure = f"a signal ended the program: {describe_signal(done.signal)}{said}", "signal"
    elif done.exit_status:
        failure = f"the program ended with exit status {done.exit_status}{said}", "exit-status"
    else:
        return replace(_counted(done.counts, done.message), exit_status=done.exit_status)
    message, code = failure
    retry = job.connection.retry
    return Result(
        outcome=Outcome.FAILED,
        counts=done.counts,
        message=message,
        code=code,
        exit_status=done.exit_status,
        waiting_helps=code == "exit-status" and retry is not None and done.exit_status in retry.on_exit,
    )


def _counted(counts: Counts, message: str, **detail: Any) -> Result:
    """Judge work that came to its end by its counters."""
    return _checked(Result(outcome=outcome_of(counts), counts=counts, message=message, detail=detail))


def _checked(result: Result) -> Result:
    """Return *result*; counters that do not add up are a failure."""
    imbalance = result.counts.imbalance()
    if imbalance:
        text = f"the counters do not add up: {imbalance}"
        return replace(result, outcome=Outcome.FAILED, message=text, code="unbalanced")
    return result


def _secrets(job: Job) -> dict[str, str]:
    """Return the secret behind each reference in the connection's work; they never leave this process."""
    settings = job.connection.settings
    return {name: secrets.resolve_secret(name, folder=job.workspace) for name in secrets.references(settings)}


def _store_secrets(job: Job) -> list[str]:
    """Return what of the profile store's URL must not be told, where the run needs the store."""
    if job.store_place.is_embedded or isinstance(job.connection.work, Command):
        return []
    return list_passwords(job.store_place.resolve(job.store.url))


def describe_signal(number: int) -> str:
    """Return SIGKILL for 9, and the number itself for signals without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _begin_trace() -> trace.Trace:
    """Give the run its place in a trace, for every program that it starts."""
    said = os.environ.get("TRACEPARENT", "")
    found = trace.continue_trace(said, trace=os.urandom(16).hex(), span=os.urandom(8).hex())
    os.environ["TRACEPARENT"] = found.parent
    if not found.continues:
        os.environ.pop("TRACESTATE", None)  # it belongs to another trace
    return found


def main() -> int:
    """Run the job that stands on standard input. The exit status says only whether the log could be written."""
    forbid_core_dumps()
    become_subreaper()
    job = job_from(json.loads(sys.stdin.buffer.read()))
    deadline = time.monotonic() + job.connection.timeout
    job = replace(job, deadline=deadline)
    log = RunLog(job.state.log(job.connection.name, job.run))
    orders = SignalOrders()
    attempts = Attempts(retry=job.connection.retry, deadline=deadline, report=log)
    so_far = PartialResult(tell=log.write_counts)
    result, cut = None, BaseException()

    def attempt() -> Result:
        so_far.begin()
        if attempts.number > 1:
            log.write_attempt(attempts.number)
        result = perform(job, log, so_far)
        if orders.given and result.outcome is Outcome.FAILED:
            raise orders.given  # what it broke complained in its own words
        return result

    found = _begin_trace()
    facts = {"trace_id": found.trace, "span_id": found.span}
    log.write_start({"connection": job.connection.name, "run": job.run, "pid": os.getpid(), **facts})
    try:
        if not isinstance(job.connection.work, Command):  # a program has its own clock
            signal.setitimer(signal.ITIMER_REAL, job.connection.timeout)
        result = attempts.result_of(attempt)
    except (SystemExit, Exception) as error:
        cut = error
    finally:
        orders.close()
    if result is None:
        _ask_store(job, so_far)
        result = _cut_off(job, orders.given or cut, so_far, log)
    _leave_nothing(job, log)
    return _tell_end(job, log, replace(result, attempts=max(1, attempts.number)))


def _tell_end(job: Job, log: RunLog, result: Result) -> int:
    """Make durable how the run ended, in its log or where room was kept for it; 1 when neither can be written."""
    name = job.connection.name
    with closing(log):
        try:
            log.write_end(result)
        except OSError:
            try:
                end_reserve.write_end(job.state, name, job.run, result)
            except OSError as error:
                words = f"{result.outcome}, and that cannot be written to {job.state.log(name, job.run)}"
                sys.stderr.write(f"it ended {words}: {error.strerror or error}\n")
                return 1
    return 0


def _leave_nothing(job: Job, log: RunLog) -> None:
    """End whatever the run started and did not see end."""
    with Termination(job.processes) as termination:
        termination.finish()
        if termination.terminated:
            log.message(
                f"the run left processes behind, and they were ended: {', '.join(termination.terminated)}",
                level="warning",
            )
        if termination.remaining:
            log.message(f"nobody can end {', '.join(termination.remaining)}; the lane waits for them", level="error")


def _cut_off(job: Job, error: BaseException, so_far: PartialResult, log: RunLog) -> Result:
    """Return what an exception that ended the work means."""
    if so_far.recorded is not None:
        what = _describe_end(job, error)
        log.message(f"afterwards, when all was in the profile store: {what}", level="warning")
        return add_words(make_result(so_far.recorded), f"{what} afterwards")
    match error:
        case Terminated():
            done = Result(outcome=Outcome.INTERRUPTED, counts=so_far.counts, message=so_far.words, code="shutdown")
            if stop := _find_stop(job):
                log.message(stop.description, level="warning")
                return run_records.mark_stopped(stop, done)
            said = f"; {so_far.words}" if so_far.words else ""
            return replace(done, message=f"connrunner was told to end (SIGTERM){said}")
        case RunError():
            message = f"{error}; {so_far.words}" if so_far.words else str(error)
            return Result(outcome=Outcome.FAILED, counts=so_far.counts, message=message, code=error.code)
        case ConnrunnerError():  # the state folder cannot be read
            return Result(outcome=Outcome.FAILED, counts=so_far.counts, message=str(error), code="operating-system")
        case _:
            # What a library says may quote a value of somebody; where it was said is what helps.
            import traceback

            said = describe_exception(error)
            report = "".join([*traceback.format_tb(error.__traceback__), said])
            log.message("this is a bug in connrunner; please report it", level="error", traceback=report)
            message = f"a bug in connrunner: {said}; its log has what to report"
            return Result(outcome=Outcome.FAILED, message=message, code="bug")


def _find_stop(job: Job) -> StopRequest | None:
    """Return the request to stop this run."""
    with suppress(ConnrunnerError):
        for stop in requests.read_stop_requests(job.state):
            if (stop.connection, stop.run) == (job.connection.name, job.run):
                return stop
    return None


def _describe_end(job: Job, error: BaseException) -> str:
    """Return in words what ended a run that had done its work."""
    if isinstance(error, Terminated):
        stop = _find_stop(job)
        return stop.description if stop else "it was told to end (SIGTERM)"
    return str(error) if isinstance(error, RunError) else describe_exception(error)


if __name__ == "__main__":
    sys.exit(main())
