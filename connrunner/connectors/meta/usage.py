"""How much of Meta's limits is used, as the headers of its answers say it.

https://developers.facebook.com/docs/graph-api/overview/rate-limiting
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connrunner.text.nesting import MAX_VALUES, parse_json

SLOW_FROM = 75.0  # percent
LONGEST_PAUSE = 60.0  # seconds before a request, when nearly all is used

BUSINESS, ACCOUNT, APP = "X-Business-Use-Case-Usage", "X-Ad-Account-Usage", "X-App-Usage"
_SHARES = ("call_count", "total_cputime", "total_time", "acc_id_util_pct")


class LimitUsage:
    """The newest word about the limits."""

    def __init__(self) -> None:
        self.percent = 0.0
        self.regain = 0.0  # seconds until calls are taken again, as far as that was said

    def note(self, headers: Mapping[str, str]) -> None:
        """Take in the *headers* of an answer; one that says nothing changes nothing."""
        found = list(_entries(headers))
        if not found:
            return
        shares = [_seconds(entry.get(name)) for entry in found for name in _SHARES]
        self.percent = max(shares)
        minutes = max(_seconds(entry.get("estimated_time_to_regain_access")) for entry in found)
        seconds = max(_seconds(entry.get("reset_time_duration")) for entry in found)
        self.regain = minutes * 60 or seconds

    def pause(self) -> float:
        """Return how many seconds to wait before the next request, so that the limit is not met."""
        over = min(max(self.percent - SLOW_FROM, 0.0), 100 - SLOW_FROM)
        return LONGEST_PAUSE * over / (100 - SLOW_FROM)


def _entries(headers: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name in (BUSINESS, ACCOUNT, APP):
        try:
            data = parse_json(headers.get(name, ""), most_values=MAX_VALUES)
        except ValueError:
            continue
        if isinstance(data, dict):
            yield data
            yield from (
                one for part in data.values() if isinstance(part, list) for one in part if isinstance(one, dict)
            )


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else 0.0
