"""
Records of an org, by a query job of Bulk API 2.0, as one CSV file.

"Bulk API 2.0 Query" of the Bulk API 2.0 guide: results come in pages, each with `Sforce-Locator` (the word `null` on
the last one) and `Sforce-NumberOfRecords`. Before the job has ended the answer is 204 without rows, which is never
taken for "no rows".
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from connrunner.connectors import FetchResult, RunContext, Settings
from connrunner.connectors.http.client import Response
from connrunner.connectors.http.watermark import Watermark
from connrunner.connectors.http.wire import BrokenError
from connrunner.connectors.quota import FetchQuota
from connrunner.connectors.salesforce import description
from connrunner.connectors.salesforce.ingest_job import read_id, wait_for
from connrunner.connectors.salesforce.org import SalesforceOrg
from connrunner.connectors.salesforce.soql import compose_soql, read_object
from connrunner.core import instant
from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations
from connrunner.text.words import one_line, plural

PAGE = 100_000  # records
MAX_PAGES = 10_000
STAMP = "SystemModstamp"  # set by the platform, also for changes that are not by people
OVERLAP = "15m"  # a record is stamped when it is written and seen when its transaction ends, which may be later
LARGEST_PAGE = 1 << 32  # bytes


@dataclass(kw_only=True, slots=True)
class RecordFile:
    """Where the records of all pages go, and what was seen of them."""

    path: Path
    header: list[str]
    count: int = 0


def fetch_records(org: SalesforceOrg, settings: Settings, context: RunContext, mark: Any) -> FetchResult:
    """Bring the records that the settings ask for; RunError for a mistake, before a job is made."""
    watermark = _watermark(settings, context, mark)
    soql = _compose(org, settings, watermark)
    org.usage.refuse_beyond_share()
    operation = "queryAll" if settings.get("deleted") is True else "query"
    asked = {
        "operation": operation,
        "query": soql,
        "contentType": "CSV",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    job = read_id(org.send("POST", "jobs/query", asked), org)
    context.report.message(f"job {job} asks for {read_object(soql) or 'records'}", job=job)
    _wait(org, context, job)
    records = RecordFile(path=context.spool / "records.csv", header=[])
    _copy_pages(org, settings, context, job, records, watermark)
    org.describe_usage()
    return _result(org, soql, records, context, watermark)


def _result(
    org: SalesforceOrg, soql: str, records: RecordFile, context: RunContext, watermark: Watermark | None
) -> FetchResult:
    new_mark = watermark.mark(context.report) if watermark else None
    if not records.count:
        return FetchResult(files=(), mark=new_mark)
    with records.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    content = LocalFile(
        path=str(records.path),
        name=f"{read_object(soql) or 'records'} of {org.address.place}",
        size=records.path.stat().st_size,
        modified=instant.text(context.at),
        digest=digest,
        format=Format(type="csv", compression="none"),
        once=True,
    )
    return FetchResult(files=(content,), mark=new_mark)


# --- the query ---------------------------------------------------------------------------------------------------


class _OverlappingWatermark(Watermark):
    """The greatest `SystemModstamp` that was seen; the next query begins a little before it."""

    def __init__(self, settings: Mapping[str, Any], mark: Any, at: datetime) -> None:
        self.field = str(settings.get("field", STAMP))
        self._overlap = timedelta(seconds=durations.parse(str(settings.get("overlap", OVERLAP))))
        start = {"start": settings["start"]} if "start" in settings else {}
        super().__init__({"field": self.field, "parameter": "since", **start}, mark, at)

    def since(self) -> tuple[str, datetime] | None:
        """Return from which instant on to ask; None for everything."""
        value = self.asks().get("since")
        if value is None:
            return None
        try:
            at = instant.parse(value)
        except ValueError:
            hint = "write it like 2026-01-01T00:00:00Z"
            raise RunError(f"`start` of `watermark` is {value!r}", hint=hint, code="bad-setting") from None
        return self.field, at - self._overlap


def _watermark(settings: Settings, context: RunContext, mark: Any) -> _OverlappingWatermark | None:
    if "watermark" not in settings:
        return None
    said = settings["watermark"]
    return _OverlappingWatermark(said if isinstance(said, Mapping) else {}, mark, context.at)


def _compose(org: SalesforceOrg, settings: Settings, watermark: _OverlappingWatermark | None) -> str:
    """Return the query, made of `object`, `fields` and `where` after a look at the object, or as it is given."""
    if "soql" in settings:
        return str(settings["soql"])
    name = str(settings["object"])
    fields = list(map(str, settings["fields"]))
    if watermark and watermark.field not in fields:
        fields.append(watermark.field)
    if settings.get("deleted") is True and "IsDeleted" not in fields:
        fields.append("IsDeleted")
    found = description.describe_object(org, name)
    description.check_selected_fields(org, found, fields)
    if watermark and found.fields[watermark.field].type != "datetime":
        raise RunError(
            f"`watermark` asks by {watermark.field}, a field of type {found.fields[watermark.field].type}",
            hint=f"name a field of type datetime: {STAMP} is set by every change",
            code="bad-watermark",
        )
    since = watermark.since() if watermark else None
    return compose_soql(name, fields, where=str(settings.get("where", "")), since=since)


# --- the job -----------------------------------------------------------------------------------------------------


def _wait(org: SalesforceOrg, context: RunContext, job: str) -> None:
    def ask() -> dict[str, Any]:
        data = org.get(f"jobs/query/{job}")
        if not isinstance(data, dict) or "state" not in data:
            raise RunError(f"{org.address} does not say how far job {job} is", code="bad-answer")
        return data

    ended = wait_for(ask, lambda data: context.report.progress("asking", int(data.get("numberRecordsProcessed") or 0)))
    if ended["state"] != "JobComplete":
        said = one_line(org.mask(str(ended.get("errorMessage") or "")), 400)
        raise RunError(
            f"job {job} ended {ended['state']}{': ' if said else ''}{said}",
            hint="correct `where` or `soql`, or ask for less at once",
            code="job-failed",
            waiting_helps=ended["state"] == "Aborted",
        )


def _copy_pages(
    org: SalesforceOrg,
    settings: Settings,
    context: RunContext,
    job: str,
    records: RecordFile,
    watermark: Watermark | None,
) -> None:
    quota = FetchQuota(settings, context.spool)
    size = int(settings.get("page", PAGE))
    page = context.spool / "page.csv"
    asked: set[str] = set()
    locator = ""
    with records.path.open("x", encoding="utf-8", newline="") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        while True:
            following = _fetch_page(org, job, locator, size, page, quota)
            for row in _read_page(page, records):
                if not records.count:
                    write(records.header)
                records.count += 1
                write(row)
                if watermark:
                    watermark.see(dict(zip(records.header, row, strict=True)))
            context.report.progress("fetching", records.count)
            if not following:
                return
            if following in asked or len(asked) >= MAX_PAGES:
                raise RunError(
                    f"the pages of job {job} go in a circle" if following in asked else f"job {job} has too many pages",
                    hint="tell Salesforce, with the id of the job",
                    code="endless-pages",
                )
            asked.add(following)
            locator = following


def _fetch_page(org: SalesforceOrg, job: str, locator: str, size: int, page: Path, quota: FetchQuota) -> str:
    """Write the page at *locator* to the file *page* and return the next locator, empty on the last page."""

    def take(answer: Response) -> str:
        if answer.status != 200:
            raise BrokenError(
                f"{answer.address} answers {answer.status} without rows, though the job has ended", code="incomplete"
            )
        with page.open("wb") as file:
            for chunk in answer.chunks(LARGEST_PAGE):
                quota.take(len(chunk), str(answer.address))
                file.write(chunk)
        said = answer.headers.get("Sforce-NumberOfRecords", "").strip()
        if said.isdigit() and (have := _count_records(page)) != int(said):
            announced = plural(int(said), "record")
            raise BrokenError(f"{answer.address} announces {announced} and sends {have:,}", code="incomplete")
        following = answer.headers.get("Sforce-Locator", "").strip()
        return "" if following in ("", "null") else following

    more = f"&locator={quote(locator, safe='')}" if locator else ""
    return org.call("GET", f"jobs/query/{job}/results?maxRecords={size}{more}", take)


def _count_records(page: Path) -> int:
    with page.open(encoding="utf-8-sig", newline="") as file:
        return max(0, sum(1 for row in csv.reader(file) if row) - 1)


def _read_page(page: Path, records: RecordFile) -> Iterator[list[str]]:
    """Return the records of a page; RunError when they have other columns than those before."""
    with page.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if records.header and header and header != records.header:
            raise RunError("the pages of a query have different columns", hint="run it again", code="bad-answer")
        records.header = records.header or header
        width = len(header)
        for row in rows:
            if len(row) == width:
                yield row
            elif row:
                raise RunError(f"a record has {len(row)} cells, and there are {width} columns", code="bad-answer")
