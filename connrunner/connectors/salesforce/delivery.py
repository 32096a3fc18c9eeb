"""The rows of an export become jobs, one after the other, and each row has one end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from connrunner.connectors import Refusal, RunContext, SendResult
from connrunner.connectors.http.wire import BrokenError
from connrunner.connectors.salesforce.export_plan import ExportPlan, describe_job
from connrunner.connectors.salesforce.ingest_job import IngestJobs, JobHeader
from connrunner.connectors.salesforce.job_ledger import JobLedger
from connrunner.connectors.salesforce.org import SalesforceOrg
from connrunner.connectors.salesforce.record_lookup import fold_key, look_up_records
from connrunner.connectors.salesforce.row_sieve import RowSieve
from connrunner.connectors.salesforce.upload_csv import NumberedRow, RowFile, Upload, UploadWriter
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.text.words import agree

BATCH = 100_000  # rows of a job
# Rows that were locked go out again in jobs that have one batch of the partner's (10,000 rows), then less: what is in
# one batch is written one after the other.
LOCK_ROUNDS = (10_000, 2_000, 200)
LOCK_JOBS = 50  # of a round at most: each costs calls
LOCK_PAUSE = 2.0  # seconds before each


class RecordDelivery:
    """The rows of one run on their way."""

    def __init__(self, org: SalesforceOrg, plan: ExportPlan, context: RunContext, local: Path) -> None:
        self._org, self._plan, self._context = org, plan, context
        self._rows = RowFile(local)
        self._sieve = RowSieve(plan, context, self._rows)
        self._ledger = JobLedger(context)
        self._ledger.forget_others()
        self._jobs = IngestJobs(org, self._ledger, context)
        self._most = int(plan.settings.get("batch", BATCH))
        self._key_at = self._rows.columns.index(plan.key) if plan.key else None
        clear = set(plan.settings.get("clear", ()))
        self._cleared = [place for place, name in enumerate(self._rows.columns) if name in clear]
        self._refused: list[Refusal] = []
        self._locked: dict[int, Refusal] = {}
        self._ended = bytearray()  # 1 for each row that has an end, by its place
        self._arrived = 0

    def send(self) -> SendResult:
        """Send all rows, and return which were refused. RunError when nothing has arrived, or when nobody can tell."""
        try:
            for upload in self._uploads():
                self._send(upload)
            self._send_locked_again()
        except BrokenError:
            raise  # rows may have arrived: the ledger knows which, and the next run asks
        except RunError as error:
            if not self._arrived:
                raise
            # What has arrived must be known as such, so the run is not a failure: the rest is refused.
            self._context.report.message(
                f"{agree(self._arrived, 'row', 'has', 'have')} arrived, the rest has not: {error}", level="error"
            )
            self._refuse_rest(error)
        for locked in self._locked.values():
            self._refuse(locked)
        self._org.describe_usage()
        return SendResult(where=f"{self._plan.found.name} of {self._org.address.place}", refused=tuple(self._refused))

    # --- the end of a row ----------------------------------------------------------------------------------------

    def _end(self, number: int) -> None:
        if number >= len(self._ended):
            self._ended.extend(bytes(number + 1 - len(self._ended) + (1 << 12)))
        self._ended[number] = 1

    def _refuse(self, one: Refusal) -> None:
        self._end(one.row)
        self._refused.append(one)

    def _arrive(self, number: int) -> None:
        self._end(number)
        self._arrived += 1

    def _refuse_rest(self, error: RunError) -> None:
        """Refuse what has neither arrived nor been refused yet."""
        message = f"not sent, because an earlier request failed: {error.message}"
        for row in self._rows.rows():
            if row.number in self._locked:
                continue
            if row.number >= len(self._ended) or not self._ended[row.number]:
                self._refuse(Refusal(row=row.number, code="not-sent", message=message))

    # --- rows ----------------------------------------------------------------------------------------------------

    def _uploads(self) -> Iterator[Upload]:
        """Yield uploads of all rows that can be sent. Rows to delete stand behind the others in the file."""
        writer = UploadWriter(self._rows.columns, key_at=self._key_at, most_rows=self._most, cleared=self._cleared)
        deleting: list[NumberedRow] = []
        for row in self._sieve.sift(self._refuse):
            if self._sieve.deletes(row):
                deleting.append(row)
                if len(deleting) >= self._most:
                    yield from self._deletions(deleting, self._most)
                    deleting = []
            elif full := writer.add(row.number, row.cells):
                yield full
        if rest := writer.finish():
            yield rest
        yield from self._deletions(deleting, self._most)

    def _deletions(self, rows: Sequence[NumberedRow], size: int) -> Iterator[Upload]:
        """Yield uploads of the ids of the records to delete; one that is not there needs nothing."""
        if not rows:
            return
        at = self._key_at
        assert at is not None  # who deletes has a key, see `plan_export`
        writer = UploadWriter(["Id"], key_at=0, most_rows=size, cleared=())
        ids = self._find_ids([row.cells[at] for row in rows if row.cells[at]])
        taken: set[str] = set()
        absent = 0
        for row in rows:
            found = ids.get(fold_key(row.cells[at]), [])
            if not row.cells[at]:
                message = f"{self._plan.key} is empty, so nobody can say which record is to be deleted"
                self._refuse(Refusal(row=row.number, code="missing-key", message=message))
            elif len(found) > 1:
                message = f"{agree(len(found), 'record', 'has', 'have')} this {self._plan.key}, and none was deleted"
                self._refuse(Refusal(row=row.number, code="ambiguous-key", message=message))
            elif not found or found[0] in taken:
                absent += 1
                self._arrive(row.number)
            else:
                taken.add(found[0])
                if full := writer.add(row.number, [found[0]]):
                    yield replace(full, deletes=True)
        if absent:
            self._context.report.message(f"{agree(absent, 'record', 'was', 'were')} to be deleted, and not there")
        if rest := writer.finish():
            yield replace(rest, deletes=True)

    def _find_ids(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return the ids of the records that have each of *keys*."""
        if self._plan.key == "Id":
            return {fold_key(one): [one] for one in keys}
        found = look_up_records(self._org, self._plan, keys)
        return {key: [str(record.get("Id")) for record in records] for key, records in found.items()}

    # --- jobs ----------------------------------------------------------------------------------------------------

    def _send(self, upload: Upload) -> None:
        self._org.usage.refuse_beyond_share()
        if upload.deletes:
            job = JobHeader(data=describe_job(self._plan.found.name, "delete"), columns=("Id",), key="Id")
        else:
            job = JobHeader(data=self._plan.header, columns=tuple(self._rows.columns), key=self._plan.key)
        outcome = self._jobs.send(upload, job)
        for number in outcome.arrived:
            self._arrive(number)
        for refused in outcome.refused:
            self._refuse(refused)
        self._locked |= {one.row: one for one in outcome.locked}
        self._context.report.progress("sending", self._arrived + len(self._refused))
        if outcome.broken:
            raise RunError(
                outcome.broken,
                hint="see the job in the org (Bulk Data Load Jobs); what it did not process is offered again",
                code="job-failed",
            )

    def _send_locked_again(self) -> None:
        """Send rows once more that were refused because something else held their record, ordered by their parents."""
        for most in LOCK_ROUNDS:
            if not self._locked:
                return
            rows = sorted(self._rows.rows(self._locked), key=self._parents)
            size = max(-(-len(rows) // LOCK_JOBS), min(most, len(rows) // 2), 1)
            self._context.report.message(
                f"{agree(len(rows), 'row', 'was', 'were')} locked: again, in jobs of {size:,}, by their parents",
                level="warning",
            )
            time.sleep(LOCK_PAUSE)
            for upload in self._pack(rows, size):
                before = {number: self._locked.pop(number) for number in upload.numbers}
                try:
                    self._send(upload)
                except RunError:
                    self._locked |= {number: one for number, one in before.items() if not self._has_ended(number)}
                    raise

    def _pack(self, rows: Sequence[NumberedRow], size: int) -> Iterator[Upload]:
        writer = UploadWriter(self._rows.columns, key_at=self._key_at, most_rows=size, cleared=self._cleared)
        for row in rows:
            if not self._sieve.deletes(row) and (full := writer.add(row.number, row.cells)):
                yield full
        if rest := writer.finish():
            yield rest
        deleting = [row for row in rows if self._sieve.deletes(row)]
        yield from self._deletions(deleting, size)
        for row in deleting:
            if self._has_ended(row.number):
                self._locked.pop(row.number, None)

    def _has_ended(self, number: int) -> bool:
        return number < len(self._ended) and self._ended[number] == 1

    def _parents(self, row: NumberedRow) -> list[str]:
        fields = self._plan.fields
        return [
            row.cells[place]
            for place, column in enumerate(self._rows.columns)
            if "." in column or (column in fields and fields[column].type == "reference")
        ]
