"""What an export does to which object, checked against the org before a row is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connrunner.connectors import RunContext, Settings
from connrunner.connectors.salesforce import description
from connrunner.connectors.salesforce.description import ObjectDescription, ObjectField
from connrunner.connectors.salesforce.org import SalesforceOrg, list_some
from connrunner.core.model import DELETED_COLUMN
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportPlan:
    """What an export does to which object, checked against the org."""

    operation: str
    found: ObjectDescription
    fields: Mapping[str, ObjectField]  # by column
    key: str  # the column that results are found by; empty when that is the whole row
    settings: Settings

    @property
    def header(self) -> dict[str, str]:
        """What a job says of itself."""
        more = {"externalIdFieldName": self.key} if self.operation == "upsert" else {}
        return {**describe_job(self.found.name, self.operation), **more}


def describe_job(name: str, operation: str) -> dict[str, str]:
    """Return what a job for the object *name* says of itself."""
    return {
        "object": name,
        "operation": operation,
        "contentType": "CSV",
        "lineEnding": "CRLF",
        "columnDelimiter": "COMMA",
    }


def plan_export(org: SalesforceOrg, settings: Settings, context: RunContext) -> ExportPlan:
    """Describe the object and check all that can be checked before a row is written; RunError for a mistake."""
    operation = str(settings.get("operation", "upsert"))
    columns = {name: owner for name, owner in context.columns.items() if name != DELETED_COLUMN}
    deletes = DELETED_COLUMN in context.columns
    external_id = str(settings.get("external_id", ""))
    if deletes and operation in ("insert", "delete"):
        raise RunError(
            f"`deleted: send` and `operation: {operation}`: nobody can say which record is to be deleted",
            hint="leave out `deleted`, or write `operation: upsert` or `update`",
            code="bad-setting",
        )
    found = description.describe_object(org, str(settings["object"]))
    description.check_operation(found, operation, deletes=deletes)
    if not columns:  # of a probe, which knows no columns
        return ExportPlan(operation=operation, found=found, fields={}, key=external_id, settings=settings)
    fields = description.check_written_fields(org, found, operation, columns, settings.get("clear", ()))
    key = _choose_key(found, operation, external_id, columns)
    if key and columns[key].many:
        raise RunError(f"{key} is to find records, and {columns[key].name} has many values", code="wrong-type")
    return ExportPlan(operation=operation, found=found, fields=fields, key=key, settings=settings)


def _choose_key(found: ObjectDescription, operation: str, external_id: str, columns: Mapping[str, Any]) -> str:
    """Return the column that records and results are found by; empty for new records without one."""
    if operation == "update" and "Id" not in columns:
        raise RunError(
            "`operation: update` finds records by their Id, and no column of `fields` is",
            hint="add `Id: PROPERTY`, or write `operation: upsert` to find them by an external id",
            code="unknown-column",
        )
    if external_id:
        if operation != "insert" or external_id in columns:
            description.check_external_id(found, external_id, columns)
        return external_id
    if operation == "upsert":
        usable = [one.name for one in found.fields.values() if one.external_id]
        raise RunError(
            "`operation: upsert` needs `external_id`",
            hint=f"{found.name} has {list_some(usable)}"
            if usable
            else f"{found.name} has none: {description.MAKE_ONE}",
            code="no-external-id",
        )
    if operation == "insert":
        return ""
    if "Id" not in columns:
        raise RunError(
            f"`operation: {operation}` finds records by their Id, and no column of `fields` is",
            hint="add `Id: PROPERTY`, or write `external_id`",
            code="unknown-column",
        )
    return "Id"
