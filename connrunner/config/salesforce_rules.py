"""What the settings of the connector `salesforce` say together: rules beyond the schema that need no org."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from connrunner.config.finding import Finding, Path
from connrunner.text.words import nearest

COMMON_HOSTS = ("login.salesforce.com", "test.salesforce.com")
_FROM, _TO = ("import", "from"), ("export", "to")


def check_salesforce_import(settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what does not fit in `from` of an import."""
    yield from _check_sign_in(settings, _FROM)
    if "soql" not in settings and "object" not in settings:
        message = "nothing says which records to ask for"
        yield Finding(_FROM, message, "write `object` and `fields`, or `soql`", "missing-key")
    if "soql" in settings:
        for key in ("object", "fields", "where"):
            if key in settings:
                message = f"`soql` is the whole query, so `{key}` would say nothing"
                yield Finding((*_FROM, key), message, "leave one of them out", "does-not-fit")


def check_salesforce_export(export: Mapping[str, Any], to: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what does not fit between `to` of *export* and its other keys."""
    yield from _check_sign_in(to, _TO)
    fields = export.get("fields") or {}
    operation = to.get("operation", "upsert")
    if operation == "upsert" and "external_id" not in to:
        message = "`operation: upsert` finds records by an external id, and `external_id` does not say which"
        hint = "write `external_id: FIELD`, a column of `fields`; to make new records only: `operation: insert`"
        yield Finding(_TO, message, hint, "missing-key")
    if operation == "insert":
        if "Id" in fields:
            yield Finding(("export", "fields", "Id"), "a new record has no Id yet", "leave it out", "does-not-fit")
    elif "external_id" in to:
        yield from _check_column(to["external_id"], fields, (*_TO, "external_id"))
    if "Id" not in fields and (operation == "update" or (operation == "delete" and "external_id" not in to)):
        message = f"`operation: {operation}` finds records by their Id, and `fields` has no column Id"
        hint = "add `Id: PROPERTY`; by an external id: " + (
            "`operation: upsert`" if operation == "update" else "`external_id`"
        )
        yield Finding(("export", "fields"), message, hint, "missing-column")
    for place, column in enumerate(to.get("clear") or ()):
        yield from _check_column(column, fields, (*_TO, "clear", place))
    if export.get("deleted") == "send" and operation in ("insert", "delete"):
        message = f"with `operation: {operation}` nobody can say which record is to be deleted"
        hint = "leave out `deleted`, or write `operation: upsert` or `update`"
        yield Finding(("export", "deleted"), message, hint, "cannot-delete")


def _check_column(column: Any, fields: Collection[str], path: Path) -> Iterator[Finding]:
    if isinstance(column, str) and column not in fields:
        near = nearest(column, fields)
        hint = f"did you mean {near!r}?" if near else f"add it to `fields`: `{column}: PROPERTY`"
        yield Finding(path, f"`fields` has no column {column!r}", hint, "missing-column")


def _check_sign_in(settings: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    """Yield why nobody is let in: there is one of two ways, and one of them at the org's own host only."""
    if "private_key" in settings and "client_secret" in settings:
        message = "`client_secret` and `private_key` are two ways to sign in"
        yield Finding((*path, "client_secret"), message, "leave one of them out", "does-not-fit")
    elif "private_key" not in settings and "client_secret" not in settings:
        message = "nothing says how to sign in"
        yield Finding(path, message, "write `username` and `private_key`, or `client_secret`", "missing-key")
    elif "client_secret" in settings:
        url = settings.get("login_url", COMMON_HOSTS[0])
        host = url.partition("://")[2] or url if isinstance(url, str) else ""
        if host.rstrip("/").lower() in COMMON_HOSTS:
            message = f"`client_secret` signs in at the My Domain of an org, and not at {host.rstrip('/')}"
            where = (*path, "login_url") if "login_url" in settings else path
            hint = "write it into `login_url`, like https://acme.my.salesforce.com"
            yield Finding(where, message, hint, "does-not-fit")
