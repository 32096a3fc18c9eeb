"""What became of the rows of a run that was cut off: its jobs are asked for, and nothing is sent."""

from __future__ import annotations

from connrunner.connectors import Refusal, RunContext, SendResult
from connrunner.connectors.salesforce.ingest_job import IngestJobs
from connrunner.connectors.salesforce.job_ledger import JobLedger, NotedJob
from connrunner.connectors.salesforce.org import SalesforceOrg
from connrunner.errors import RunError


def settle_jobs(org: SalesforceOrg, context: RunContext, rows: int, *, may_repeat: bool) -> SendResult:
    """
    Return which of the *rows* of the earlier run *context* have not arrived.

    A job that was never closed is given up, for nothing of it was processed; one that may have been closed is waited
    for. One that is gone from the partner says nothing any more: where a row may be sent twice (*may_repeat*: all but
    new records) its rows are `unconfirmed`, else RunError.
    """
    ledger = JobLedger(context)
    jobs = IngestJobs(org, ledger, context)
    ends: list[Refusal | None] = [
        Refusal(row=number, code="not-sent", message="the run was cut off before it was sent") for number in range(rows)
    ]
    for job in ledger.jobs():
        for one in _settle(jobs, ledger, job, org, may_repeat=may_repeat):
            if isinstance(one, Refusal):
                ends[one.row] = ends[one.row] and one
            else:
                ends[one] = None
    return SendResult(where=str(org.address), refused=tuple(one for one in ends if one is not None))


def _settle(
    jobs: IngestJobs, ledger: JobLedger, job: NotedJob, org: SalesforceOrg, *, may_repeat: bool
) -> list[int | Refusal]:
    """Return the end of each row of *job*: its place when it has arrived, else a refusal."""
    if not job.is_closed:
        if job.org == org.address.place:
            jobs.abort(job)
        return []
    try:
        if job.org != org.address.place:
            raise RunError(
                f"job {job.id} is in {job.org}, and `login_url` leads to {org.address.place} now", code="not-found"
            )
        if jobs.read_state(job)["state"] == "Open":  # it was never told to begin
            jobs.abort(job)
            return []
    except RunError as error:
        if error.code != "not-found":
            raise
        if not may_repeat:
            raise RunError(
                f"an earlier run may have made records by job {job.id}, which is gone: {error.message}",
                hint=f"look for records of that day; if there are none, remove {ledger.folder}: its rows go out again",
                code="unconfirmed",
            ) from None
        return [
            Refusal(row=number, code="unconfirmed", message=f"the org knows job {job.id} no longer")
            for number, _ in ledger.rows_of(job)
        ]
    outcome = jobs.collect(job)
    return [*outcome.arrived, *outcome.refused, *outcome.locked]
