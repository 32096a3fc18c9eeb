"""What the settings of a destination say together with the rest of the export: rules that no schema can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connrunner.config.finding import Finding
from connrunner.text.words import nearest

_TO = ("export", "to")


def check_destination(export: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what does not fit between `to` of *export* and its other keys."""
    to = export.get("to") or {}
    key = "operation" if to.get("type") == "meta" else "mode"
    if to.get(key) == "replace" and export.get("rows", "changed") != "all":
        message = (
            f"`{key}: replace` puts the rows of each run in the place of all others, and only changed ones are sent"
        )
        yield Finding((*_TO, key), message, "write `rows: all` under `export`", "needs-all-rows")
    if to.get("type") == "meta":
        yield from _audience(export, to)
    if to.get("type") == "salesforce":
        from connrunner.config import salesforce_rules  # for the few that need it

        yield from salesforce_rules.check_salesforce_export(export, to)


def find_deletion_doubt(export: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield why `deleted: send` of *export* cannot have the partner delete anybody; it sends rows all the same."""
    to = export.get("to")
    if export.get("deleted") != "send" or not isinstance(to, Mapping):
        return
    key = "operation" if to.get("type") == "meta" else "mode"
    if to.get(key) == "replace":
        message = f"with `{key}: replace` nobody is deleted one by one: who is not among the rows is gone"
    elif to.get("operation") == "remove":
        message = "with `operation: remove` there is nothing to delete: the partner gets only those who are to leave"
    elif to.get("type") == "sql" and to.get("mode") == "insert":
        message = "with `mode: insert` nothing that stands in the table is ever changed, so nobody is deleted there"
    else:
        return
    yield Finding(("export", "deleted"), message, "leave out `deleted`, or change that", "cannot-delete")


def _audience(export: Mapping[str, Any], to: Mapping[str, Any]) -> Iterator[Finding]:
    fields, keys = export.get("fields") or {}, to.get("keys") or {}
    if "audience_id" in to and to.get("create") is True:
        message = "`create` makes an audience by its name, and `audience_id` names one that is there"
        yield Finding((*_TO, "create"), message, "leave one of them out", "does-not-fit")
    for column in keys:
        if column not in fields:
            near = nearest(column, fields)
            hint = f"did you mean {near!r}?" if near else "add it to `fields`"
            yield Finding((*_TO, "keys", column), f"`fields` has no column {column!r}", hint, "missing-column")
    for column in fields:
        if column not in keys:
            message = f"`keys` does not say what Meta makes of the column {column!r}, so it would not be sent"
            yield Finding(("export", "fields", column), message, "add it to `keys`, or leave it out", "missing-column")
    seen: dict[str, str] = {}
    for column, said in keys.items():
        for one in [said] if isinstance(said, str) else said or ():
            if one in seen:
                message = f"{one} is made of {seen[one]!r} already"
                yield Finding((*_TO, "keys", column), message, "leave one of them out", "does-not-fit")
            seen[one] = column
    if seen and seen.keys() <= {"EXTERN_ID", "COUNTRY"}:
        message = f"nobody can be found by {' and '.join(sorted(seen))} alone, so every row would be refused"
        yield Finding((*_TO, "keys"), message, "add EMAIL, PHONE or another key", "does-not-fit")
    for place, column in enumerate(to.get("hashed") or ()):
        if column not in keys:
            message = f"`keys` has no column {column!r}"
            yield Finding((*_TO, "hashed", place), message, "correct it, or leave it out", "missing-column")
