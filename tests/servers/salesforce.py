"""
A double of Salesforce: sign-in, describe, Bulk API 2.0 and SOQL over real HTTP, by what its documents say.

Each rule names its document: [OAuth] "OAuth 2.0 JWT Bearer Flow" and "OAuth 2.0 Client Credentials Flow" of Salesforce
Help; [REST] REST API Developer Guide ("sObject Describe", "Status Codes and Error Responses", "Limit Info Header");
[Ingest] and [Query] the chapters "Bulk API 2.0 Ingest" and "Bulk API 2.0 Query" of the Bulk API 2.0 and Bulk API
Developer Guide; [CSV] its pages "Prepare CSV Files" and "Valid CSV Record Rows"; [Limits] its page "Limits"; [SOAP]
"StatusCode" of the SOAP API Developer Guide; [seen] what people with real orgs report in public trackers.

It keeps a ledger of its own: `written` counts for each key how often a row of it was processed.
"""

from __future__ import annotations

import base64
import csv
import io
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import trustme

from tests.servers import http
from tests.servers.http import Asked, Reply, data

CLIENT, SECRET, USER = "3MVG9.connrunner", "correct horse battery", "connrunner@acme.example"
LONGEST_TOKEN = 1_000_000  # requests that a token lasts unless a test says otherwise


def _field(name: str, kind: str = "string", length: int = 0, **more: Any) -> dict[str, Any]:
    """A field as [REST] describes one."""
    made = {
        "name": name,
        "label": name.removesuffix("__c").replace("_", " "),
        "type": kind,
        "length": length,
        "nillable": True,
        "createable": True,
        "updateable": True,
        "defaultedOnCreate": kind == "boolean",
        "calculated": False,
        "externalId": False,
        "idLookup": False,
        "unique": False,
        "caseSensitive": False,
        "restrictedPicklist": False,
        "picklistValues": [],
        "referenceTo": [],
        "relationshipName": None,
        "compoundFieldName": None,
    }
    if kind == "boolean":
        made["nillable"] = False
    return {**made, **more}


_SYSTEM = (
    _field("Id", "id", 18, nillable=False, createable=False, updateable=False, idLookup=True, defaultedOnCreate=True),
    _field("IsDeleted", "boolean", createable=False, updateable=False),
    _field("CreatedDate", "datetime", createable=False, updateable=False, nillable=False, defaultedOnCreate=True),
    _field("SystemModstamp", "datetime", createable=False, updateable=False, nillable=False, defaultedOnCreate=True),
)
_EXTERNAL: dict[str, Any] = {"externalId": True, "unique": True}
LEVELS = [{"value": value, "active": value != "Old", "label": value} for value in ("Gold", "Silver", "Old")]
OBJECTS: dict[str, list[dict[str, Any]]] = {
    "Account": [
        *_SYSTEM,
        _field("Name", length=255, nillable=False),
        _field("Ext__c", length=40, **_EXTERNAL),
        _field("Industry"),
    ],
    "Contact": [
        *_SYSTEM,
        _field("LastName", length=80, nillable=False),
        _field("FirstName", length=40),
        _field("Email", "email", 80, idLookup=True),
        _field("Phone", "phone", 40),
        _field("Title", length=128),
        _field("Crm_Id__c", length=40, **_EXTERNAL),
        _field("Code__c", length=40, **_EXTERNAL, caseSensitive=True),
        _field("Loose_Id__c", length=40, externalId=True),
        _field("Badge__c", length=20, unique=True),
        _field("AccountId", "reference", 18, referenceTo=["Account"], relationshipName="Account"),
        _field("OwnerId", "reference", 18, referenceTo=["Group", "User"], relationshipName="Owner", nillable=False, defaultedOnCreate=True),
        _field("Level__c", "picklist", 255, restrictedPicklist=True, picklistValues=LEVELS),
        _field("Interests__c", "multipicklist", 4099),
        _field("Birthdate", "date"),
        _field("Score__c", "double"),
        _field("Visits__c", "double"),
        _field("Seen__c", "datetime"),
        _field("Newsletter__c", "boolean"),
        _field("Rating__c", createable=False, updateable=False, calculated=True),
        _field("MailingAddress", "address", createable=False, updateable=False),
        _field("MailingCity", length=40, compoundFieldName="MailingAddress"),
    ],
    "User": [*_SYSTEM, _field("Name"), _field("Staff_Id__c", length=40, **_EXTERNAL)],
    "Group": [*_SYSTEM, _field("Name")],
    "Visit__c": [*_SYSTEM, _field("Who__c", length=80), _field("Note__c", "textarea", 32000)],
}  # fmt: skip


@dataclass
class Job:
    """A job of Bulk API 2.0."""

    id: str
    header: dict[str, Any]
    state: str
    content: bytes | None = None
    processed: int = 0
    failed: int = 0
    error: str = ""
    results: dict[str, list[list[str]]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)  # of a query
    polls: int = 0
    aborted_by: str = ""


@dataclass
class Trouble:
    """What goes wrong with the next requests that fit."""

    step: str  # sign-in, describe, create, upload, close, state, successfulResults, failedResults, query, page, ...
    kind: str  # lost (the work is done, no answer), drop (nothing is done), busy, html, silent, cut, or a reply
    times: int = 1
    after: int = 0  # requests that pass before
    reply: Reply | None = None


class Org:
    """An org; what stands here first is what tests change."""

    def __init__(self, url: str, *, public_key: str = "", forgets: bool = False) -> None:
        self.url = url
        self.public_key = public_key  # of the certificate that the app has
        self.is_my_domain = True
        self.approved = True
        self.scopes = "api"
        self.run_as = True
        self.audience = "https://login.salesforce.com"
        self.token_lasts = LONGEST_TOKEN
        self.revoked = False
        self.used, self.limit = 100, 100_000
        self.hidden: set[tuple[str, str]] = set()  # fields that the user may not see
        self.no_access: set[str] = set()  # operations that are not allowed
        self.polls = 0  # questions that a job stays InProgress
        self.page = 50_000  # records of a page of a query at most
        self.lock_above = 0  # with more rows in a job, those with a parent are locked; 0: never
        self.abort_after = -1  # rows after which an administrator aborts a job
        self.fail_after = -1  # rows after which a job fails
        self.leave_out = 0  # rows at the end of a job that stand in no set: the day's batches are used up
        self.stop_jobs = False  # jobs stay InProgress
        self.delay = 0.0  # seconds for each 10,000 rows
        self.troubles: list[Trouble] = []
        self.on_step: Callable[[str, Asked], None] = lambda step, asked: None
        self.reached = threading.Event()
        self.over = threading.Event()
        # What it has.
        self.records: dict[str, dict[str, dict[str, str]]] = {name: {} for name in OBJECTS}
        self.index: dict[tuple[str, str], dict[str, list[str]]] = {}
        self.jobs: dict[str, Job] = {}
        self.tokens: dict[str, int] = {}
        self.clock = datetime(2026, 11, 22, 12, tzinfo=UTC)
        # What it saw.
        self.steps: Counter[str] = Counter()
        self.written: Counter[tuple[str, str, str]] = Counter()  # object, operation, key
        self.uploads: list[str] = []  # jobs
        self.sign_ins = 0
        self.seconds = 0.0
        self._forgets = forgets
        self._lock = threading.RLock()
        self._number = 0

    # --- HTTP ------------------------------------------------------------------------------------------------------

    def __call__(self, asked: Asked) -> Reply:
        began = time.perf_counter()
        try:
            if self._forgets:
                asked.server.asked.clear()
            step = name_step(asked)
            self.steps[step] += 1
            self.on_step(step, asked)
            return self._troubled(step, asked)
        finally:
            self.seconds += time.perf_counter() - began

    def _troubled(self, step: str, asked: Asked) -> Reply:
        trouble = next((one for one in self.troubles if one.times and one.step in (step, "any")), None)
        if trouble is None:
            return self._answer(step, asked)
        if trouble.after:
            trouble.after -= 1
            return self._answer(step, asked)
        trouble.times -= 1
        match trouble.kind:
            case "lost":
                self._answer(step, asked)
                return Reply(drop=True)
            case "drop":
                return Reply(drop=True)
            case "silent":
                self.reached.set()
                self.over.wait(600)
                return Reply(drop=True)
            case "html":
                return Reply(
                    503, b"<html><body>We are down for maintenance.</body></html>", {"Content-Type": "text/html"}
                )
            case "cut":
                whole = self._answer(step, asked)
                return Reply(whole.status, whole.body, whole.headers, cut=len(whole.body) // 2)
            case "reply":
                assert trouble.reply is not None
                return trouble.reply
        return refusal(503, "SERVER_UNAVAILABLE", "The server is too busy. Please try again later.")  # [REST]

    def _answer(self, step: str, asked: Asked) -> Reply:
        with self._lock:
            if step == "sign-in":
                return self._sign_in(asked)
            if self.limit <= self.used:
                return refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")  # [REST]
            self.used += 1
            reply = self._session(asked) or self._act(step, asked)
            # [REST] Limit Info Header
            reply.headers["Sforce-Limit-Info"] = f"api-usage={self.used}/{self.limit}"
            return reply

    def _session(self, asked: Asked) -> Reply | None:
        token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        left = self.tokens.get(token, 0)
        if self.revoked or left <= 0:
            return refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")  # [REST]
        self.tokens[token] = left - 1
        return None

    def _sign_in(self, asked: Asked) -> Reply:
        """[OAuth] Refusals are HTTP 400 with `error` and `error_description`."""
        self.sign_ins += 1
        form = {name: values[-1] for name, values in parse_qs(asked.body.decode()).items()}
        if form.get("grant_type") == "client_credentials":
            if not self.is_my_domain:
                return _no("invalid_grant", "request not supported on this domain")
            if form.get("client_id") != CLIENT:
                return _no("invalid_client_id", "client identifier invalid")
            if form.get("client_secret") != SECRET:
                return _no("invalid_client", "invalid client credentials")
            if not self.run_as:
                return _no("invalid_grant", "no client credentials user enabled")
        elif form.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            if problem := self._check_assertion(form.get("assertion", "")):
                return problem
        else:
            return _no("unsupported_grant_type", "grant type not supported")
        if not self.scopes:
            return _no("invalid_grant", "no valid scopes defined")  # [seen]
        self._number += 1
        token = f"00D!{self._number}.{base64.b64encode(str(self._number).encode()).decode()}AQ0AQLongAndRandomToken"
        self.tokens[token] = self.token_lasts
        # [OAuth] No expires_in, no refresh token.
        return data(
            {"access_token": token, "instance_url": self.url, "id": "x", "token_type": "Bearer", "scope": "api"}
        )

    def _check_assertion(self, assertion: str) -> Reply | None:
        import jwt

        try:
            said = jwt.decode(
                assertion, self.public_key, algorithms=["RS256"], options={"verify_exp": False, "verify_aud": False}
            )
        except jwt.PyJWTError:
            return _no("invalid_grant", "invalid assertion")
        if said.get("iss") != CLIENT:
            return _no("invalid_client_id", "client identifier invalid")
        if said.get("aud") != self.audience:
            return _no("invalid_grant", "audience is invalid")
        if not time.time() < said.get("exp", 0) <= time.time() + 300:
            return _no("invalid_grant", "expired authorization code")
        if said.get("sub") != USER or not self.approved:
            return _no("invalid_grant", "user hasn't approved this consumer")
        return None

    def _act(self, step: str, asked: Asked) -> Reply:
        path = asked.path.rpartition("/services/data/v67.0/")[2]
        if "/services/data/v67.0/" not in asked.path:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        parts = path.split("/")
        match (asked.method, *parts):
            case ("GET", "sobjects"):
                return data({"sobjects": [{"name": name} for name in OBJECTS]})
            case ("GET", "limits"):
                return data({})
            case ("GET", "sobjects", name, "describe"):
                return self._describe(name)
            case ("GET", "query"):
                return self._rest_query(asked.query.get("q", ""))
            case ("POST", "jobs", "ingest"):
                return self._create(asked.json)
            case ("PUT", "jobs", "ingest", job, "batches"):
                return self._upload(self.jobs.get(job), asked)
            case ("PATCH", "jobs", _, job):
                return self._patch(self.jobs.get(job), asked.json)
            case ("GET", "jobs", "ingest", job):
                return self._state(self.jobs.get(job))
            case ("GET", "jobs", "ingest", job, which):
                return self._results(self.jobs.get(job), which)
            case ("POST", "jobs", "query"):
                return self._ask(asked.json)
            case ("GET", "jobs", "query", job):
                return self._state(self.jobs.get(job))
            case ("GET", "jobs", "query", job, "results"):
                return self._page(self.jobs.get(job), asked)
        return refusal(404, "NOT_FOUND", "The requested resource does not exist")

    # --- describe ----------------------------------------------------------------------------------------------------

    def fields(self, name: str) -> dict[str, dict[str, Any]]:
        """[REST] A field that the user may not see is absent."""
        return {one["name"]: one for one in OBJECTS[name] if (name, one["name"]) not in self.hidden}

    def _describe(self, wanted: str) -> Reply:
        name = next((one for one in OBJECTS if one.lower() == wanted.lower()), None)
        if name is None:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        can = {f"{right}able": right not in self.no_access for right in ("create", "update", "delet")}
        return data({"name": name, "label": name, "fields": list(self.fields(name).values()), **can})

    # --- ingest ------------------------------------------------------------------------------------------------------

    def _create(self, said: dict[str, Any]) -> Reply:
        known = {
            "object",
            "operation",
            "externalIdFieldName",
            "contentType",
            "lineEnding",
            "columnDelimiter",
            "assignmentRuleId",
        }
        if strange := set(said) - known:
            return refusal(400, "JSON_PARSER_ERROR", f'Unrecognized field "{min(strange)}"')  # [Ingest]
        if said.get("object") not in OBJECTS:
            return refusal(400, "INVALIDENTITY", f"Unable to find object: {said.get('object')}")
        if said.get("operation") == "upsert" and not said.get("externalIdFieldName"):
            return refusal(400, "INVALIDJOB", "External ID was blank. An External ID must be specified for upsert")
        job = self._make_job(said, "Open")
        return data({**self._tell(job), "contentUrl": f"services/data/v67.0/jobs/ingest/{job.id}/batches"})

    def _make_job(self, said: dict[str, Any], state: str) -> Job:
        self._number += 1
        job = Job(id=f"750{self._number:015}", header=said, state=state)
        self.jobs[job.id] = job
        return job

    def _tell(self, job: Job) -> dict[str, Any]:
        more = {"errorMessage": job.error} if job.error else {}
        return {
            "id": job.id,
            "state": job.state,
            "createdDate": self.clock.isoformat(),
            **job.header,
            "numberRecordsProcessed": job.processed,  # [Ingest] includes the failed ones
            "numberRecordsFailed": job.failed,
            **more,
        }

    def _upload(self, job: Job | None, asked: Asked) -> Reply:
        if job is None:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if job.state != "Open":
            return refusal(400, "INVALIDJOBSTATE", f"Unable to upload to a job that is {job.state}")
        if job.content is not None:  # [seen] One upload for each job
            return refusal(
                400,
                "CLIENTINPUTERROR",
                "Found multiple contents for job: <"
                + job.id
                + ">, please 'Close' / 'Abort' / 'Delete' the current Job then create a new Job and make sure you only do 'PUT' once on a given Job.",
            )
        if len(asked.body) > 100_000_000:  # [Limits]
            return refusal(400, "CLIENTINPUTERROR", "The content is larger than 100 MB")
        if asked.headers.get("Content-Type", "").partition(";")[0] != "text/csv":
            return refusal(415, "UNSUPPORTED_MEDIA_TYPE", "text/csv is wanted")
        job.content = asked.body
        self.uploads.append(job.id)
        return Reply(201)

    def _patch(self, job: Job | None, said: dict[str, Any]) -> Reply:
        if job is None:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if said.get("state") == "Aborted":
            if job.state not in ("Open", "UploadComplete", "InProgress"):
                return refusal(400, "INVALIDJOBSTATE", "Aborting already Completed Job not allowed")
            if job.content is not None and job.state != "Open":
                self._process(job)
            job.state = "Aborted"
        elif said.get("state") == "UploadComplete":
            if job.state != "Open":  # [Ingest]
                return refusal(400, "INVALIDJOBSTATE", "Closing already Completed Job not allowed")
            job.state = "UploadComplete" if job.content is not None else "JobComplete"
        else:
            return refusal(400, "INVALIDJOB", "state must be UploadComplete or Aborted")
        return data(self._tell(job))

    def _state(self, job: Job | None) -> Reply:
        """[Ingest] Open, UploadComplete, InProgress, then JobComplete, Failed or Aborted."""
        if job is None:  # [Limits] Jobs are kept for 7 days
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if job.state in ("UploadComplete", "InProgress") and not self.stop_jobs:
            job.polls += 1
            if job.polls > self.polls:
                self._process(job)
            else:
                job.state = "InProgress"
        return data(self._tell(job))

    def finish_jobs(self) -> None:
        """Work on by itself, as the platform does while nobody asks."""
        with self._lock:
            for job in self.jobs.values():
                if job.state in ("UploadComplete", "InProgress"):
                    self._process(job)

    def _process(self, job: Job) -> None:
        if "query" in job.header:
            job.state, job.processed = "JobComplete", len(job.rows)
            return
        assert job.content is not None
        job.state = "JobComplete"
        job.results = {"successfulResults": [], "failedResults": [], "unprocessedrecords": []}
        ending = b"\r\n" if job.header.get("lineEnding", "LF") == "CRLF" else b"\n"
        first = job.content.partition(b"\n")[0] + b"\n"
        if first.endswith(b"\r\n") != (ending == b"\r\n"):  # [seen]
            declared = job.header.get("lineEnding", "LF")
            self._fail(
                job, f"ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {declared}"
            )
            return
        rows = csv.reader(io.StringIO(job.content.decode(), newline=""))
        job.columns = next(rows)
        if problem := self._check_header(job):
            job.results["unprocessedrecords"] = list(rows)
            self._fail(job, problem)
            return
        every = list(rows)
        if self.delay:
            time.sleep(self.delay * len(every) / 10_000)
        end = len(every) - self.leave_out  # [Ingest] rows beyond the day's batches are in no set
        for stop, state in ((self.abort_after, "Aborted"), (self.fail_after, "Failed")):
            if 0 <= stop < end:
                job.results["unprocessedrecords"] = every[stop:end]
                job.state, end = state, stop
                job.error = (
                    "Aborted by an administrator" if state == "Aborted" else "InternalServerError : retried 20 times"
                )
        self._write(job, every[:end])

    def _fail(self, job: Job, error: str) -> None:
        job.state, job.error = "Failed", error

    def _check_header(self, job: Job) -> str:
        """[seen] An unknown or unwritable name, or one used twice, fails the whole job."""
        name, operation = job.header["object"], job.header["operation"]
        known = {one.lower(): spec for one, spec in self.fields(name).items()}
        for column in job.columns:
            if "." in column:
                parent, owner, target = self._parent(name, column)
                if parent is None or target not in self.fields(owner):
                    return f"InvalidBatch : Field name not found : {column}"
            elif (
                column.lower() not in known
                or job.columns.count(column) > 1
                or (column != "Id" and not (known[column.lower()]["createable"] or known[column.lower()]["updateable"]))
            ):
                return f"InvalidBatch : Field name not found : {column}"
        if operation == "delete" and job.columns != ["Id"]:
            return "InvalidBatch : Field name not found : only Id is allowed"
        if operation in ("update", "delete") and "Id" not in job.columns:
            return "InvalidBatch : Field name not found : Id"
        if operation == "upsert" and job.header["externalIdFieldName"] not in job.columns:
            return f"InvalidBatch : Field name not found : {job.header['externalIdFieldName']}"
        return ""

    def _parent(self, name: str, column: str) -> tuple[dict[str, Any] | None, str, str]:
        """[CSV] Relationship Fields in a Header Row: the object stands before a parent of several kinds, and only there."""
        path, _, target = column.partition(".")
        kind, colon, relationship = path.rpartition(":")
        spec = next((one for one in self.fields(name).values() if one["relationshipName"] == relationship), None)
        if spec is None or bool(colon) != (len(spec["referenceTo"]) > 1):
            return None, "", target
        owner = kind or spec["referenceTo"][0]
        return (spec if owner in spec["referenceTo"] else None), owner, target

    def _write(self, job: Job, rows: list[list[str]]) -> None:
        name, operation = job.header["object"], job.header["operation"]
        locks = bool(self.lock_above) and len(rows) > self.lock_above
        key = job.header.get("externalIdFieldName") or ("Id" if operation in ("update", "delete") else "")
        key_at = job.columns.index(key) if key else None
        fields = self.fields(name)
        caseless = bool(key) and key in fields and not fields[key]["caseSensitive"]
        parents = [place for place, column in enumerate(job.columns) if "." in column or column == "AccountId"]
        success, failed = job.results["successfulResults"], job.results["failedResults"]
        for start in range(0, len(rows), 200):  # [Ingest] transactions of 200 rows
            chunk = rows[start : start + 200]
            doubles: Counter[str] = Counter()
            if key_at is not None and operation == "upsert":
                doubles.update(row[key_at].lower() if caseless else row[key_at] for row in chunk)
            for row in chunk:
                if locks and any(row[place] for place in parents):
                    code, found = (
                        "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: 001xx0000:--",
                        "",
                    )
                elif doubles and doubles[row[key_at].lower() if caseless else row[key_at]] > 1:  # type: ignore[index]
                    code, found = f"DUPLICATE_VALUE:Duplicate external id specified: {row[key_at]}:{key} --", ""  # type: ignore[index]
                else:
                    code, found = self._row(name, operation, key, dict(zip(job.columns, row, strict=True)))
                if code:
                    failed.append([found, code, *row])
                else:
                    record, created = found.split(" ")
                    success.append([record, created, *row])
                    self.written[name, operation, "\0".join(row) if key_at is None else row[key_at]] += 1
        job.processed, job.failed = len(success) + len(failed), len(failed)
        success.reverse()  # [Ingest] The order is not that of the upload
        failed.reverse()

    def find(self, name: str, key: str, value: str) -> list[str]:
        """Return the ids of the records with that value; without case unless the field minds it."""
        if key == "Id":
            return [value] if value in self.records[name] and not self.is_deleted(name, value) else []
        index = self._index(name, key)
        spec = self.fields(name).get(key) or {}
        found = index.get(value if spec.get("caseSensitive") else value.lower(), [])
        return [one for one in found if not self.is_deleted(name, one)]

    def is_deleted(self, name: str, record: str) -> bool:
        return self.records[name][record].get("IsDeleted") == "true"

    def _index(self, name: str, key: str) -> dict[str, list[str]]:
        if (name, key) not in self.index:
            made: dict[str, list[str]] = {}
            spec = self.fields(name).get(key) or {}
            for record, values in self.records[name].items():
                if value := values.get(key):
                    made.setdefault(value if spec.get("caseSensitive") else value.lower(), []).append(record)
            self.index[name, key] = made
        return self.index[name, key]

    def _row(self, name: str, operation: str, key: str, row: dict[str, str]) -> tuple[str, str]:
        """Return the error of a row and the id when it is known, or no error, the id, and whether it is new."""
        if operation == "delete":
            if row["Id"] not in self.records[name]:
                return "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--", ""
            if self.is_deleted(name, row["Id"]):
                return "ENTITY_IS_DELETED:entity is deleted:--", row["Id"]
            self.records[name][row["Id"]] |= {"IsDeleted": "true", "SystemModstamp": self._stamp()}
            return "", f"{row['Id']} false"
        record = ""
        if operation == "upsert":
            if not row[key]:
                return f"MISSING_ARGUMENT:{key} not specified:--", ""
            found = self.find(name, key, row[key])
            if len(found) > 1:
                return f"DUPLICATE_EXTERNAL_ID:Upsert: more than one record found for external id field: {found}:--", ""
            record = found[0] if found else ""
        elif operation == "update":
            if not re.fullmatch(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?", row["Id"]):
                return f"MALFORMED_ID:bad id {row['Id']}:Id --", ""
            if row["Id"] not in self.records[name]:
                return "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--", ""
            if self.is_deleted(name, row["Id"]):
                return "ENTITY_IS_DELETED:entity is deleted:--", row["Id"]
            record = row["Id"]
        values, error = self._values(name, row, is_new=not record)
        if error:
            return error, record
        if error := self._rules(name, record, values):
            return error, record
        return "", self._keep(name, record, values)

    def _values(self, name: str, row: dict[str, str], *, is_new: bool) -> tuple[dict[str, str | None], str]:
        """[CSV] An empty cell leaves the field alone, `#N/A` empties it."""
        fields = self.fields(name)
        values: dict[str, str | None] = {}
        for column, cell in row.items():
            if column == "Id" or not cell:
                continue
            if "." in column:
                parent, owner, target = self._parent(name, column)
                assert parent is not None
                found = self.find(owner, target, cell)
                if len(found) != 1:  # [SOAP]
                    return (
                        {},
                        f"INVALID_FIELD:Foreign key external ID: {cell} not found for field {target} in entity {owner}:--",
                    )
                values[parent["name"]] = found[0]
                continue
            spec = fields[column]
            if cell == "#N/A":
                if not spec["nillable"]:
                    return {}, f"REQUIRED_FIELD_MISSING:Required fields are missing: [{column}]:{column} --"
                values[column] = None
                continue
            if error := check_value(spec, cell):
                return {}, error
            values[column] = cell
        if is_new:
            missing = [
                one["name"]
                for one in fields.values()
                if not one["nillable"]
                and not one["defaultedOnCreate"]
                and one["createable"]
                and one["name"] not in values
            ]
            if missing:
                return {}, f"REQUIRED_FIELD_MISSING:Required fields are missing: [{', '.join(missing)}]:{missing[0]} --"
        return values, ""

    def _rules(self, name: str, record: str, values: Mapping[str, str | None]) -> str:
        """[SOAP] Rules that administrators make, with words of their own."""
        for one in self.fields(name).values():
            value = values.get(one["name"])
            if one["unique"] and value:
                others = [other for other in self.find(name, one["name"], value) if other != record]
                if others:
                    return f"DUPLICATE_VALUE:duplicate value found: {one['name']} duplicates value on record with id: {others[0]}:--"
        match values.get("Title"):
            case "Twin":
                return "DUPLICATES_DETECTED:Use one of these records?:--"
            case "Rule":
                return 'FIELD_CUSTOM_VALIDATION_EXCEPTION:Say "why", please:\nand who, too:Title --'
            case "Trigger":
                return "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY:ContactTrigger: execution of BeforeInsert\n\ncaused by: System.NullPointerException, line 3:--"
            case "Locked":
                return "INSUFFICIENT_ACCESS_OR_READONLY:insufficient access rights on object id:--"
        return ""

    def _stamp(self) -> str:
        self.clock += timedelta(milliseconds=10)
        return self.clock.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.clock.microsecond // 1000:03}Z"

    def _keep(self, name: str, record: str, values: Mapping[str, str | None]) -> str:
        is_new = not record
        if is_new:
            self._number += 1
            record = f"003{self._number:012}AAA"
            self.records[name][record] = {"Id": record, "IsDeleted": "false", "CreatedDate": self._stamp()}
        here = self.records[name][record]
        for (owner, key), index in self.index.items():
            if owner == name and key in values:
                fold = str if self.fields(name)[key]["caseSensitive"] else str.lower
                if (old := here.get(key)) and record in index.get(fold(old), ()):
                    index[fold(old)].remove(record)
                if new := values[key]:
                    index.setdefault(fold(new), []).append(record)
        for key, value in values.items():
            if value is None:
                here.pop(key, None)
            else:
                here[key] = value
        here["SystemModstamp"] = self._stamp()
        return f"{record} {str(is_new).lower()}"

    def add(self, name: str, **values: str) -> str:
        """Let there be a record; return its id."""
        with self._lock:
            return self._keep(name, "", values).partition(" ")[0]

    def change(self, name: str, record: str, **values: str) -> None:
        with self._lock:
            self._keep(name, record, values)

    def remove(self, name: str, record: str) -> None:
        with self._lock:
            self.records[name][record] |= {"IsDeleted": "true", "SystemModstamp": self._stamp()}

    def living(self, name: str) -> list[dict[str, str]]:
        """Return the records that are not deleted."""
        return [one for one in self.records[name].values() if one["IsDeleted"] != "true"]

    def _results(self, job: Job | None, which: str) -> Reply:
        if job is None:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if job.state not in ("JobComplete", "Failed", "Aborted"):
            return refusal(400, "INVALIDJOBSTATE", "The job has not ended")
        rows = job.results.get(which, [])
        own = {"successfulResults": ["sf__Id", "sf__Created"], "failedResults": ["sf__Id", "sf__Error"]}.get(which, [])
        return text(to_csv([*own, *job.columns], rows))

    # --- queries -----------------------------------------------------------------------------------------------------

    def _ask(self, said: dict[str, Any]) -> Reply:
        soql = str(said.get("query", ""))
        if re.search(r"\bGROUP BY\b|\bOFFSET\b|count\(", soql, re.IGNORECASE):  # [Query]
            return refusal(400, "API_ERROR", "Aggregate Relationships not supported in Bulk Query")
        columns, rows, problem = self.select(soql, deleted=said.get("operation") == "queryAll")
        if problem:
            return problem
        job = self._make_job(said, "UploadComplete")
        job.columns, job.rows = columns, rows
        return data(self._tell(job))

    def select(self, soql: str, *, deleted: bool) -> tuple[list[str], list[list[str]], Reply | None]:
        """Answer the part of SOQL that tests use: fields, parents' fields, conditions joined by AND."""
        found = re.fullmatch(r"SELECT (.+?) FROM (\w+)(?: WHERE (.+))?", soql, re.IGNORECASE | re.DOTALL)
        if not found:
            return [], [], refusal(400, "MALFORMED_QUERY", f"unexpected token: {soql[:20]}")
        columns, name, conditions = [one.strip() for one in found[1].split(",")], found[2], found[3] or ""
        if name not in OBJECTS:
            return [], [], refusal(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
        for column in columns:
            if "." not in column and column not in self.fields(name):
                return [], [], refusal(400, "INVALID_FIELD", f"No such column '{column}' on entity '{name}'.")
        try:
            tests = [self._condition(one) for one in re.split(r"\)? AND \(?", conditions.strip("()")) if one]
        except ValueError as error:
            return [], [], refusal(400, "MALFORMED_QUERY", str(error))
        rows = [
            [self._cell(name, one, column) for column in columns]
            for one in self.records[name].values()
            if (deleted or one["IsDeleted"] != "true") and all(test(one) for test in tests)
        ]
        return columns, rows, None

    def _cell(self, name: str, record: Mapping[str, str], column: str) -> str:
        relationship, dot, rest = column.partition(".")
        if not dot:
            return record.get(column, "")
        spec = next((one for one in self.fields(name).values() if one["relationshipName"] == relationship), None)
        parent = self.records[spec["referenceTo"][0]].get(record.get(spec["name"], ""), {}) if spec else {}
        return parent.get(rest, "")

    def _condition(self, text: str) -> Callable[[Mapping[str, str]], bool]:
        found = re.fullmatch(r"\s*(\w+)\s*(>=|=|!=|IN)\s*(.+?)\s*", text, re.IGNORECASE | re.DOTALL)
        if not found:
            raise ValueError(f"unexpected token: {text}")
        key, sign, value = found[1], found[2].upper(), found[3]
        if sign == "IN":
            wanted = {
                unquote_soql(one).lower() for one in re.findall(r"'(?:[^'\\]|\\.)*'|[^\s,()]+", value.strip("()"))
            }
            return lambda record: record.get(key, "").lower() in wanted
        if sign == ">=":
            if value.startswith("'"):  # [Query] dates without quotes
                raise ValueError(f"value of filter criterion for field '{key}' must be of type dateTime")
            least = datetime.fromisoformat(value)
            return lambda record: datetime.fromisoformat(record[key]) >= least
        wanted_text = "" if value.lower() == "null" else unquote_soql(value)
        return lambda record: (record.get(key, "") == wanted_text) == (sign == "=")

    def _page(self, job: Job | None, asked: Asked) -> Reply:
        """[Query] Pages by locator; 204 without rows before the job has ended."""
        if job is None:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if job.state != "JobComplete":
            return Reply(204)
        size = min(self.page, int(asked.query.get("maxRecords", self.page)))
        start = int(asked.query.get("locator", "0"))
        rows = job.rows[start : start + size]
        end = start + len(rows)
        reply = text(to_csv(job.columns, rows))
        reply.headers |= {
            "Sforce-Locator": str(end) if end < len(job.rows) else "null",
            "Sforce-NumberOfRecords": str(len(rows)),
        }
        if "gzip" in asked.headers.get("Accept-Encoding", ""):
            import gzip

            reply.body = gzip.compress(reply.body, 1)
            reply.headers["Content-Encoding"] = "gzip"
        return reply

    def _rest_query(self, soql: str) -> Reply:
        columns, rows, problem = self.select(soql, deleted=False)
        if problem:
            return problem
        name = re.search(r" FROM (\w+)", soql)
        assert name is not None
        records = [self._record(name[1], dict(zip(columns, row, strict=True))) for row in rows]
        return data({"totalSize": len(records), "done": True, "records": records})

    def _record(self, name: str, cells: Mapping[str, str]) -> dict[str, Any]:
        """[REST] Values have their types in JSON, what is empty is null, and a parent is a record in the record."""
        made: dict[str, Any] = {}
        for column, cell in cells.items():
            relationship, dot, target = column.partition(".")
            if dot:
                made.setdefault(relationship, {target: cell} if cell else None)
                continue
            kind = self.fields(name)[column]["type"]
            if not cell:
                made[column] = None
            elif kind == "datetime":
                made[column] = cell.replace("Z", "+0000" if "." in cell else ".000+0000")
            else:
                made[column] = float(cell) if kind == "double" else cell == "true" if kind == "boolean" else cell
        return made


# --- words ---------------------------------------------------------------------------------------------------------


def check_value(spec: Mapping[str, Any], cell: str) -> str:
    """[SOAP] What a value of another type, or too long a one, is refused with."""
    name, kind = spec["name"], spec["type"]
    if kind == "email" and ("@" not in cell or cell.endswith(".invalid")):
        return f"INVALID_EMAIL_ADDRESS:{name}: invalid email address: {cell}:{name} --"
    if spec["length"] and len(cell) > spec["length"] and kind not in ("id", "reference", "multipicklist"):
        return f"STRING_TOO_LONG:{name}: data value too large: {cell} (max length={spec['length']}):{name} --"
    if spec["restrictedPicklist"] and cell not in {one["value"] for one in spec["picklistValues"] if one["active"]}:
        return f"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:bad value for restricted picklist field: {cell}:{name} --"
    if kind in ("double", "int"):
        if not re.fullmatch(r"-?\d+(\.\d+)?", cell):
            return f"INVALID_TYPE_ON_FIELD_IN_RECORD:{name}: value not of required type: {cell}:{name} --"
        if abs(float(cell)) > 1_000_000:
            return f"NUMBER_OUTSIDE_VALID_RANGE:{name}: value outside of valid range on numeric field: {cell}:{name} --"
    if kind == "boolean" and cell.lower() not in ("true", "false", "1", "0"):
        return f"INVALID_TYPE_ON_FIELD_IN_RECORD:{name}: value not of required type: {cell}:{name} --"
    if kind == "date" and not re.fullmatch(r"\d{4}-\d\d-\d\d", cell):
        return f"INVALID_TYPE_ON_FIELD_IN_RECORD:{name}: value not of required type: {cell}:{name} --"
    if kind == "datetime" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", cell):
        return f"INVALID_TYPE_ON_FIELD_IN_RECORD:{name}: value not of required type: {cell}:{name} --"
    return ""


def name_step(asked: Asked) -> str:
    """Return what a request is about."""
    parts = asked.path.rstrip("/").split("/")
    last = parts[-1]
    if last == "token":
        return "sign-in"
    if last == "describe":
        return "describe"
    if "ingest" in parts:
        if asked.method == "POST":
            return "create"
        if asked.method == "PUT":
            return "upload"
        if asked.method == "PATCH":
            return "abort" if b"Aborted" in asked.body else "close"
        return last if parts[-2] != "ingest" else "state"
    if "query" in parts and "jobs" in parts:
        return "ask" if asked.method == "POST" else "page" if last == "results" else "query-state"
    return last


def refusal(status: int, code: str, message: str) -> Reply:
    """[REST] Errors are a list."""
    return data([{"errorCode": code, "message": message}], status)


def _no(error: str, description: str) -> Reply:
    return data({"error": error, "error_description": description}, 400)


def text(content: str) -> Reply:
    return Reply(200, content.encode(), {"Content-Type": "text/csv"})


def to_csv(columns: list[str], rows: list[list[str]]) -> str:
    """[Query] Results have every cell in quotes."""
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()


def unquote_soql(text: str) -> str:
    if not text.startswith("'"):
        return text
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def make_keys() -> tuple[str, str]:
    """Return a private key for the settings and the public one for the app, both as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@dataclass
class Running:
    """The server of an org, with TLS by an authority of its own; each test makes its org anew."""

    server: http.Server
    authority: trustme.CA
    keys: tuple[str, str]  # private and public

    def make_org(self) -> Org:
        org = Org(self.server.url(), public_key=self.keys[1])
        self.server.act = org
        self.server.asked.clear()
        return org


@contextmanager
def running() -> Iterator[Running]:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    with http.running(context) as server:
        yield Running(server, authority, make_keys())
