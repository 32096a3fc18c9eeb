"""Salesforce: records as rows, and rows as records, by Bulk API 2.0.

Import:

    import:
      from: {type: salesforce, login_url: "https://acme.my.salesforce.com",
             client_id: "env:SF_CLIENT_ID", username: connrunner@acme.example, private_key: "file:/run/secrets/sf.pem",
             object: Contact, fields: [Id, Email, LastName, Account.Name], where: "Email != null",
             watermark: {overlap: 15m}}

The query is made of `object`, `fields` and `where`, or given whole as `soql`. `Account.Name` is a field of the parent.
Objects and fields are looked at first: what is not there is told with what may be meant. With `watermark` a run asks
for what has changed since the greatest `SystemModstamp` that a successful run saw, and a little before that
(`overlap`), for a record is stamped before its transaction ends; records that come twice count as unchanged. `deleted:
true` brings deleted and archived records too, with a column `IsDeleted`; those that were purged are seen by no query.

Export:

    export:
      to: {type: salesforce, login_url: "https://acme.my.salesforce.com",
           client_id: "env:SF_CLIENT_ID", client_secret: "env:SF_CLIENT_SECRET",
           object: Contact, operation: upsert, external_id: Crm_Id__c, clear: [Phone]}
      fields: {Crm_Id__c: crm_id, LastName: last_name, Email: email, Phone: phone, Account.Ext__c: company_id}

`operation` is insert, update, upsert (the default) or delete. An upsert finds records by `external_id`, a field that
is an External ID (better a unique one) and a column of `fields`; update and delete by a column `Id`. A column names a
field by its API name, as it is spelled there, or a parent by its external id. Before a row is written, the object is
described: fields that are not there or may not be written, types that do not fit, required ones that are missing. Rows
whose text is too long, whose value a restricted picklist lacks, or whose external id is that of another row but for
capitals are refused and not sent. An empty value leaves the field alone; the columns in `clear` are emptied.

Rows go out in jobs of `batch` (100,000) rows and less than 100 MB, one after the other. For each job the three sets of
results are fetched and each row is found in them by its key, never by its place: what Salesforce refused is told with
its code and words, and a row that is in none of them as `no-result`. Rows that were locked are sent again in smaller
jobs, ordered by their parents. `deleted: send` deletes the records of profiles that no longer qualify.

The id of a job is durable before its rows are uploaded. A run that was killed leaves jobs that go on at Salesforce:
the next run gives up those that were never closed, waits for the others, fetches their results and sends nothing
twice.

Sign in for a user with `username` and `private_key` (JWT bearer: the app has the certificate and lets the user in
without asking), or with `client_secret` (client credentials: the app says as whom; at the My Domain of the org only).
`login_url` is https://login.salesforce.com when it is not said; for a sandbox its My Domain or
https://test.salesforce.com. A token that ends in the middle of a run is renewed.

Each request counts against the calls of the org's 24 hours; the log says how many. `api_share` (90) is the percentage
beyond which a run begins nothing new; what is under way is brought to its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connrunner.connectors import ComparedRows, FetchResult, Known, Refusal, RunContext, SendResult, Settings
from connrunner.core.model import Format
from connrunner.errors import RunError

if TYPE_CHECKING:
    from connrunner.connectors.salesforce.export_plan import ExportPlan
    from connrunner.connectors.salesforce.org import SalesforceOrg


def fetch(settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:  # noqa: ARG001
    """Return the records of the query as one file; RunError before a job is made when it cannot be asked."""
    with _open(settings, context) as org:
        from connrunner.connectors.salesforce import bulk_query

        try:
            return bulk_query.fetch_records(org, settings, context, mark)
        except OSError as error:  # of the disk: the network's have become a RunError of their own
            raise _disk(context, error) from error


def settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    """Leave everything as it is."""


def form(settings: Settings, wanted: Format) -> Format:  # noqa: ARG001
    """Return CSV, whatever is wanted: that is what an upload holds."""
    return Format(type="csv", compression="none")


def target(settings: Settings, context: RunContext) -> str:
    """Sign in, describe the object and check the columns; RunError for a mistake. Return where the rows will go."""
    with _open(settings, context) as org:
        plan = _plan(org, settings, context)
        return f"{plan.found.name} of {org.address.place} ({plan.operation})"


def deliver(settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Send the rows of the file *local* in jobs, one after the other."""
    with _open(settings, context) as org:
        from connrunner.connectors.salesforce import delivery

        plan = _plan(org, settings, context)
        try:
            return delivery.RecordDelivery(org, plan, context, local).send()
        except OSError as error:
            raise _disk(context, error) from error


def compare_rows(
    settings: Settings, context: RunContext, local: Path, samples: Sequence[Mapping[str, str | None]]
) -> ComparedRows:
    """Return which rows would not be sent, and what the records of *samples* hold now; nothing is changed there."""
    with _open(settings, context) as org:
        from connrunner.connectors.salesforce import record_lookup
        from connrunner.connectors.salesforce.row_sieve import RowSieve
        from connrunner.connectors.salesforce.upload_csv import RowFile

        plan = _plan(org, settings, context)
        refused: list[Refusal] = []
        for _ in RowSieve(plan, context, RowFile(local)).sift(refused.append):
            pass
        has_records = plan.key and plan.operation != "insert"
        held = record_lookup.read_values(org, plan, samples) if has_records else []
        return ComparedRows(refused=tuple(refused), held=tuple(held))


def settle_rows(settings: Settings, context: RunContext, rows: int) -> SendResult:
    """Return what became of the *rows* of an earlier run: see `settling`."""
    with _open(settings, context) as org:
        from connrunner.connectors.salesforce import settling

        return settling.settle_jobs(org, context, rows, may_repeat=settings.get("operation", "upsert") != "insert")


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:
    """Sign in and describe the object; nothing is changed."""
    with _open(settings, context, retries=0) as org:
        from connrunner.connectors.salesforce import description

        if "soql" in settings:
            org.get("limits")
            found = ""
        elif writes:
            found = f", and shows {_plan(org, settings, context).found.name}"
        else:
            seen = description.describe_object(org, str(settings["object"]))
            description.check_selected_fields(org, seen, list(map(str, settings["fields"])))
            found = f", and shows {seen.name}"
        usage = org.usage.describe().partition("; ")[2]
        return f"{org.address.place} lets us in{found}{'; ' if usage else ''}{usage}"


def _plan(org: SalesforceOrg, settings: Settings, context: RunContext) -> ExportPlan:
    from connrunner.connectors.salesforce import export_plan

    return export_plan.plan_export(org, settings, context)


def _open(settings: Settings, context: RunContext, *, retries: int | None = None) -> SalesforceOrg:
    """Return the org of this run; nothing goes out yet."""
    try:
        from connrunner.connectors.salesforce.org import SalesforceOrg
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "urllib3":
            raise
        hint = "pip install 'connrunner[salesforce]'"
        raise RunError(
            "the connector salesforce needs the extra `salesforce`", hint=hint, code="missing-extra"
        ) from None
    return SalesforceOrg(settings, context, retries=retries)


def _disk(context: RunContext, error: OSError) -> RunError:
    return RunError(
        f"cannot keep the rows in {context.spool}: {error.strerror or error}",
        hint="make room there",
        code="unwritable",
        waiting_helps=True,
    )
