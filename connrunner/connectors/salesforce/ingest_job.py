"""
One ingest job of Bulk API 2.0: made, filled, closed, waited for, and what became of each of its rows.

"Bulk API 2.0 Ingest" of the Bulk API 2.0 guide: Open, UploadComplete, InProgress, then JobComplete, Failed or Aborted.
A job takes one upload. Without closing it nothing is processed; after closing it, it must not be uploaded again.
Results come as three sets, in another order than the upload, and a row that the day's limit left out is in none of
them.
"""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from connrunner.connectors import Refusal, RunContext
from connrunner.connectors.http.client import Response
from connrunner.connectors.http.wire import BrokenError
from connrunner.connectors.salesforce.job_ledger import JobLedger, NotedJob
from connrunner.connectors.salesforce.org import SalesforceOrg
from connrunner.connectors.salesforce.refusal_words import LOCKED, row_code, row_words, split_row_error
from connrunner.connectors.salesforce.upload_csv import Cells, Upload, digest_key
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.redaction import redact_partner_words
from connrunner.text.words import agree, one_line, plural

FIRST_POLL, LONGEST_POLL = 0.1, 20.0  # seconds between two questions how far a job is
GROWTH = 1.4
LARGEST_RESULT = 1 << 31  # bytes of one set of results
UPLOADS = 3  # times that the rows of a job are uploaded, each to a job of its own, when the connection breaks
LONGEST_WORDS = 400  # characters of what the partner says of a row
_SETS = (("successful", "successfulResults"), ("failed", "failedResults"), ("unprocessed", "unprocessedrecords"))
_ENDED = ("JobComplete", "Failed", "Aborted")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobHeader:
    """What a job is to be."""

    data: dict[str, str]  # as the partner is told it
    columns: tuple[str, ...]
    key: str  # the column by which results are found; empty when that is the whole row


@dataclass(kw_only=True)
class JobOutcome:
    """What became of the rows of a job; together they are all that were sent."""

    arrived: list[int] = field(default_factory=list)  # places in the file
    refused: list[Refusal] = field(default_factory=list)
    locked: list[Refusal] = field(default_factory=list)  # refused because something else held the record
    broken: str = ""  # why the job did not come to its end; empty when it did


class IngestJobs:
    """The jobs of one run for one object and operation."""

    def __init__(self, org: SalesforceOrg, ledger: JobLedger, context: RunContext) -> None:
        self._org, self._ledger, self._context = org, ledger, context

    def send(self, upload: Upload, header: JobHeader) -> JobOutcome:
        """Bring *upload* to the partner as a job, and return what became of its rows.

        RunError when none of them can have been processed; BrokenError when they may have been.
        """
        job = self._fill(upload, header)
        self._close(job)
        return self.collect(job)

    def _fill(self, upload: Upload, header: JobHeader) -> NotedJob:
        """Return a job that holds *upload* and is not closed: nothing of it is processed."""
        for tries in range(UPLOADS, 0, -1):
            number = self._ledger.plan(upload)
            made = self._org.send("POST", "jobs/ingest", header.data)
            job = NotedJob(
                number=number,
                id=read_id(made, self._org),
                org=self._org.address.place,
                key_column=header.key,
                columns=list(header.columns),
            )
            self._ledger.note_made(job)
            self._context.report.message(f"job {job.id}: {plural(len(upload.numbers), 'row')}", job=job.id)
            try:
                self._org.call(
                    "PUT",
                    f"jobs/ingest/{job.id}/batches",
                    Response.pass_over,
                    body=upload.content,
                    kind="text/csv",
                    once=True,
                )
            except BrokenError as error:
                # A job takes one upload, and nobody knows whether this one arrived: it is given up before it begins.
                self.abort(job)
                if tries == 1:
                    raise RunError(error.message, hint=error.hint, code=error.code, waiting_helps=True) from error
                self._context.report.message(f"{error.message}; once more with a new job", level="warning")
            else:
                return job
        raise AssertionError  # the last try returns or raises

    def _close(self, job: NotedJob) -> None:
        """Have the partner process *job*; when nobody knows whether it heard of that, ask."""
        self._ledger.note_closing(job)
        try:
            self._org.send("PATCH", f"jobs/ingest/{job.id}", {"state": "UploadComplete"})
        except RunError as error:
            if self._ask_state(job)["state"] != "Open":
                return
            self.abort(job)
            if isinstance(error, BrokenError):
                raise RunError(error.message, hint=error.hint, code=error.code, waiting_helps=True) from error
            raise

    def abort(self, job: NotedJob) -> None:
        """Give up a job that is Open: nothing of it is processed. One that is gone needs nothing."""
        with suppress(RunError):
            self._org.send("PATCH", f"jobs/ingest/{job.id}", {"state": "Aborted"})

    def read_state(self, job: NotedJob) -> dict[str, Any]:
        """Return what the partner says of *job*."""
        data = self._org.get(f"jobs/ingest/{job.id}")
        if not isinstance(data, dict) or "state" not in data:
            raise RunError(f"{self._org.address} does not say how far job {job.id} is", code="bad-answer")
        return data

    def collect(self, job: NotedJob) -> JobOutcome:
        """Wait until *job* has ended, and return what became of its rows.

        Every error is a BrokenError: the rows may have been processed.
        """
        with _unknown_outcome(job):
            ended = wait_for(lambda: self.read_state(job), lambda data: self._tell(job, data))
            return self._sort(job, ended)

    def _ask_state(self, job: NotedJob) -> dict[str, Any]:
        with _unknown_outcome(job):
            return self.read_state(job)

    def _tell(self, job: NotedJob, data: dict[str, Any]) -> None:
        self._context.report.progress(f"job {job.id}", int(data.get("numberRecordsProcessed") or 0))

    def _sort(self, job: NotedJob, ended: dict[str, Any]) -> JobOutcome:
        """Find each row of *job* in the sets of results, by its key."""
        waiting: dict[bytes, list[int]] = {}
        for number, key in self._ledger.rows_of(job):
            waiting.setdefault(key, []).append(number)
        found = JobOutcome()
        state = str(ended["state"])
        if state != "JobComplete":
            why = one_line(self._org.mask(str(ended.get("errorMessage") or "")), LONGEST_WORDS)
            found.broken = f"job {job.id} ended {state}{': ' if why else ''}{why}"
        foreign = Counter[str]()
        for kind, path in _SETS:
            for error, found_by, cells in self._results(job, path):
                numbers = waiting.get(digest_key(found_by, 0 if job.key_column else None))
                if not numbers:
                    foreign[kind] += 1
                    continue
                number = numbers.pop()
                if kind == "successful":
                    found.arrived.append(number)
                elif kind == "failed":
                    self._note_failed(found, number, error, cells)
                else:
                    found.refused.append(
                        Refusal(row=number, code="unprocessed", message=found.broken or "not processed")
                    )
        lost = [number for numbers in waiting.values() for number in numbers]
        if lost:
            message = f"job {job.id} has it in none of its results; a batch beyond the limits of the day is left out"
            found.refused += (Refusal(row=number, code="no-result", message=message) for number in lost)
            self._context.report.message(
                f"job {job.id}: {agree(len(lost), 'row', 'is', 'are')} in no set of results", level="warning"
            )
        if foreign:
            self._context.report.message(
                f"job {job.id}: {plural(foreign.total(), 'result')} fit no row that was sent", level="warning"
            )
        return found

    def _note_failed(self, found: JobOutcome, number: int, error: str, cells: Cells) -> None:
        code, message = split_row_error(error)
        said = one_line(self._org.mask(row_words(code, hide_values(message, cells))), LONGEST_WORDS)
        one = Refusal(row=number, code=row_code(code), message=said)
        (found.locked if code == LOCKED else found.refused).append(one)

    def _results(self, job: NotedJob, path: str) -> Iterator[tuple[str, Cells, Cells]]:
        """Yield `sf__Error`, the cells that are the key, and all cells, of one set of results."""
        name = self._context.spool / f"results-{job.id}"

        def take(answer: Response) -> bool:
            with name.open("wb") as file:
                for chunk in answer.chunks(LARGEST_RESULT):
                    file.write(chunk)
            return answer.status != 204

        try:
            if not self._org.call("GET", f"jobs/ingest/{job.id}/{path}", take):
                return
            with name.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.reader(file)
                header = next(rows, [])
                wanted = [job.key_column] if job.key_column else job.columns
                if missing := [column for column in wanted if column not in header]:
                    raise RunError(
                        f"the results of job {job.id} lack the column {missing[0]}",
                        hint="nothing can be told of its rows; please report this",
                        code="bad-answer",
                    )
                places = [header.index(column) for column in wanted]
                error_at = header.index("sf__Error") if "sf__Error" in header else None
                width = len(header)
                for row in rows:
                    if len(row) == width:
                        yield "" if error_at is None else row[error_at], [row[place] for place in places], row
        except csv.Error as error:
            raise RunError(f"the results of job {job.id} are not CSV: {error}", code="bad-answer") from None
        finally:
            name.unlink(missing_ok=True)


@contextmanager
def _unknown_outcome(job: NotedJob) -> Iterator[None]:
    """Turn an error into a BrokenError, for the rows of *job* may have been processed."""
    try:
        yield
    except RunError as error:
        raise BrokenError(
            f"job {job.id} was handed over, and nobody can say how it ends: {error.message}",
            hint=f"{error.hint}; the next run asks for its results"
            if error.hint
            else "the next run asks for its results",
            code=error.code,
        ) from error


def wait_for(
    ask: Callable[[], dict[str, Any]], tell: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """Return what *ask* says of a job once that has ended; each question costs a call, so they become rarer."""
    pause = FIRST_POLL
    while True:
        data = ask()
        tell(data)
        if data["state"] in _ENDED:
            return data
        time.sleep(pause)
        pause = min(LONGEST_POLL, pause * GROWTH)


def read_id(made: Any, org: SalesforceOrg) -> str:
    """Return the id of a job that was made."""
    found = made.get("id") if isinstance(made, dict) else None
    if not isinstance(found, str) or not found.isalnum():
        raise RunError(f"{org.address} makes a job and does not say its id", code="bad-answer")
    return found


def hide_values(message: str, cells: Cells) -> str:
    """Return what the partner says of a row without the values of that row."""
    return redact_partner_words(message, [json.dumps(cells[2:]).encode()])
