"""Records that are in the org already, found by the key of an export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connrunner.connectors.salesforce.description import ObjectField
from connrunner.connectors.salesforce.export_plan import ExportPlan
from connrunner.connectors.salesforce.org import SalesforceOrg
from connrunner.connectors.salesforce.soql import quote_soql

ASKED_AT_ONCE = 200  # keys in a query for records
LONGEST_QUERY = 8_000  # characters of them
_NUMBERS = ("double", "int", "long", "currency", "percent")

Record = Mapping[str, Any]


def look_up_records(
    org: SalesforceOrg, plan: ExportPlan, keys: Sequence[str], columns: Sequence[str] = ()
) -> dict[str, list[Record]]:
    """Return the records that have each of *keys*, by `fold_key` of it, with Id and *columns*.

    RunError, before anything is asked, when the calls of the org are used up beyond `api_share`.
    """
    name, key = plan.found.name, plan.key
    is_number = plan.fields[key].type in _NUMBERS
    selected = ", ".join(dict.fromkeys(("Id", key, *columns)))
    found: dict[str, list[Record]] = {}
    for part in _in_parts([one if is_number else quote_soql(one) for one in keys]):
        org.usage.refuse_beyond_share()
        for record in org.query(f"SELECT {selected} FROM {name} WHERE {key} IN ({','.join(part)})"):  # noqa: S608
            found.setdefault(fold_key(str(record.get(key))), []).append(record)
    return found


def fold_key(key: str) -> str:
    """Return the form in which Salesforce compares *key*; a number has no `.0` there."""
    return key.casefold().removesuffix(".0")


def read_values(
    org: SalesforceOrg, plan: ExportPlan, rows: Sequence[Mapping[str, str | None]]
) -> list[Mapping[str, str | None] | None]:
    """Return for each of *rows*, texts by column, what its record has in those fields that would change.

    None stands for a row without a record (or with several). Parents that may be of several objects are left out: a
    query cannot ask for their external ids.
    """
    keys = [row.get(plan.key) or "" for row in rows]
    columns = [one for one in plan.fields if ":" not in one]
    found: dict[str, list[Record]] = {}
    for part in _in_parts(columns):
        for key, records in look_up_records(org, plan, [one for one in keys if one], part).items():
            known = found.setdefault(key, [{} for _ in records])
            found[key] = [{**old, **new} for old, new in zip(known, records, strict=False)]
    clear = set(plan.settings.get("clear", ()))
    held: list[Mapping[str, str | None] | None] = []
    for row, key in zip(rows, keys, strict=True):
        records = found.get(fold_key(key), [])
        if len(records) != 1:
            held.append(None)
            continue
        values = {column: _read_text(records[0], column) for column in columns}
        held.append(
            {
                column: old
                for column, old in values.items()
                if _differs(plan.fields[column], old, row.get(column), clears=column in clear)
            }
        )
    return held


def _read_text(record: Record, column: str) -> str | None:
    """Return the value of a field, or of a field of a parent (`Account.Ext__c`), as text."""
    value: Any = record
    for name in column.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or value == "" else str(value)


def _differs(field: ObjectField, old: str | None, new: str | None, *, clears: bool) -> bool:
    """Return whether the record would change; an empty value leaves it alone unless the column is cleared."""
    if not new:
        return clears and old is not None
    return old is None or _normalize(field, old) != _normalize(field, new)


def _normalize(field: ObjectField, text: str) -> object:
    """Return a value in the form in which two that are the same are equal."""
    from datetime import datetime
    from decimal import Decimal, InvalidOperation

    try:
        if field.type in _NUMBERS:
            return Decimal(text)
        if field.type == "datetime":
            return datetime.fromisoformat(text)
    except (InvalidOperation, ValueError):
        return text
    if field.type == "multipicklist":
        return frozenset(one.strip() for one in text.split(";"))
    return text


def _in_parts(texts: Sequence[str]) -> Iterable[list[str]]:
    part: list[str] = []
    size = 0
    for text in texts:
        if part and (len(part) >= ASKED_AT_ONCE or size + len(text) > LONGEST_QUERY):
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text) + 1
    if part:
        yield part
