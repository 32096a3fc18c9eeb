"""What Meta says of the access token: until when it is good, and what it may do.

https://developers.facebook.com/docs/graph-api/reference/debug_token takes the token as a part of the address, which
others on the way may log; so it is asked within a batch request, whose body holds it:
https://developers.facebook.com/docs/graph-api/making-multiple-requests
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connrunner.connectors.meta.graph import Graph
from connrunner.core import instant
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.text.nesting import MAX_VALUES, parse_json

WARNED_BEFORE = timedelta(days=7)
NEEDED = "ads_management"


def check_token(graph: Graph, report: Report, now: datetime) -> str:
    """
    Return until when the token is good, in words; empty when Meta does not tell that to whom the token is of.

    Its end within a week, and a permission that it lacks, are told as warnings: what the token may not do is refused by
    the request that wants it, in Meta's words.
    """
    try:
        found = _read_inspection(graph.inspect_token())
    except RunError:
        return ""  # it may be asked by the developers of the app only
    if not found or found.get("is_valid") is False:
        return ""
    scopes = found.get("scopes")
    if isinstance(scopes, list) and scopes and NEEDED not in scopes:
        report.message(f"the token lacks the permission `{NEEDED}`: make one that has it", level="warning")
    end = _read_end(found)
    if end is None:
        return "the token does not expire" if found.get("expires_at") == 0 else ""
    said = f"the token is good until {instant.text(end)}"
    if end - now <= WARNED_BEFORE:
        report.message(f"{said}: make a new one; that of a system user does not expire", level="warning")
    return said


def _read_inspection(answers: Any) -> Mapping[str, Any]:
    """Return what a batch of one question says of a token; empty when it says nothing."""
    first = answers[0] if isinstance(answers, list) and answers else None
    if not isinstance(first, Mapping) or first.get("code") != 200 or not isinstance(first.get("body"), str):
        return {}
    try:
        body = parse_json(first["body"], most_values=MAX_VALUES)
    except ValueError:
        return {}
    found = body.get("data") if isinstance(body, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _read_end(found: Mapping[str, Any]) -> datetime | None:
    """Return when the token ends; None when it does not, or when that is not said."""
    at = found.get("expires_at")
    if not isinstance(at, int) or isinstance(at, bool) or not 0 < at < 32503680000:
        return None
    return datetime.fromtimestamp(at, UTC)
