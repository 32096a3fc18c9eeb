"""How far an API's records have come: the greatest value of one of their fields, where the next run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from connrunner.connectors.http.data import look_up
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.text.words import agree, one_line

FUTURE = timedelta(days=1)  # a value later than this after the start of the run is a mistake in the data

Rank = tuple[str, Any, str]


class Watermark:
    """The greatest value seen, from *mark* of the last run on."""

    def __init__(self, settings: Mapping[str, Any], mark: Any, at: datetime) -> None:
        self._field = str(settings["field"])
        self._parameter = str(settings["parameter"])
        self._start = settings.get("start")
        self._latest = at + FUTURE
        # A mark is worth something for the field it was taken from only.
        same = isinstance(mark, dict) and mark.get("field") == self._field
        self._value: str | int | None = mark["value"] if same else None
        self._rank = None if self._value is None else _rank(self._value)
        self._seen = self._lacking = self._future = 0

    def asks(self) -> dict[str, str]:
        """Return what the first request says about where to go on."""
        value = self._start if self._value is None else self._value
        return {} if value is None else {self._parameter: str(value)}

    def see(self, record: Any) -> None:
        """Take *record* into account; RunError when its value cannot be compared to those before."""
        value = look_up(record, self._field)
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            self._lacking += 1
            return
        self._seen += 1
        rank = _rank(value)
        if rank[0] == "instant" and rank[1] > self._latest:
            self._future += 1
            return
        if self._rank is not None and rank[0] != self._rank[0]:
            raise RunError(
                f"`{self._field}` holds values that cannot be compared: "
                f"{one_line(str(self._value), 40)!r} ({self._rank[0]}) and {one_line(str(value), 40)!r} ({rank[0]})",
                hint="choose another `field` for `watermark`",
                code="bad-watermark",
            )
        if self._rank is None or rank > self._rank:
            self._value, self._rank = value, rank

    def mark(self, report: Report) -> Any:
        """Return what the next run is given; RunError when no record had the field, for nothing would ever advance."""
        if self._lacking and not self._seen:
            which = "the only record has no" if self._lacking == 1 else f"none of {self._lacking:,} records has a"
            raise RunError(
                f"{which} value under `{self._field}`",
                hint="correct `field` of `watermark`",
                code="bad-watermark",
            )
        if self._lacking:
            report.message(
                f"{agree(self._lacking, 'record', 'has', 'have')} no value under `{self._field}`", level="warning"
            )
        if self._future:
            report.message(
                f"{agree(self._future, 'record', 'has', 'have')} a `{self._field}` in the future, which does not count",
                level="warning",
            )
        return None if self._value is None else {"field": self._field, "value": self._value}


def _rank(value: str | int) -> Rank:
    """Return what *value* is compared by: its kind, what it stands for, and its text where two stand for the same."""
    text = str(value).strip()
    if not isinstance(value, int):
        try:
            instant = datetime.fromisoformat(text) if len(text) >= 10 and text[4:5] == "-" else None
        except ValueError:
            instant = None
        if instant is not None:
            return "instant", instant if instant.tzinfo else instant.replace(tzinfo=UTC), text
    if text.isascii() and text.replace(".", "", 1).removeprefix("-").isdigit():
        return "number", Decimal(text), text
    return "text", text, text
