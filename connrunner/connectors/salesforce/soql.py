"""Queries in SOQL, made of the settings of an import ("SOQL SELECT Syntax" of the SOQL and SOSL Reference)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

_SELECT = re.compile(r"\s*SELECT\s+(?P<fields>.+?)\s+FROM\s+(?P<object>\w+)", re.IGNORECASE | re.DOTALL)
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"})


def compose_soql(name: str, fields: Sequence[str], *, where: str, since: tuple[str, datetime] | None) -> str:
    """Return the query for *fields* of the object *name*; *since* is a field, and the instant to begin at."""
    conditions = [f"({where})"] if where else []
    if since is not None:
        conditions.append(f"{since[0]} >= {write_instant(since[1])}")
    ending = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(fields)} FROM {name}{ending}"  # noqa: S608


def quote_soql(text: str) -> str:
    """Return *text* as a constant of SOQL, whatever it holds."""
    return f"'{text.translate(_ESCAPES)}'"


def write_instant(at: datetime) -> str:
    """Return *at* as a constant of SOQL, which has no quotes; whole milliseconds, rounded down."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def read_object(soql: str) -> str:
    """Return the object that a query is about, empty when that cannot be seen."""
    found = _SELECT.match(soql)
    return found["object"] if found else ""
