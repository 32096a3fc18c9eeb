"""How many mails in an hour are too many?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from connrunner.core import instant
from connrunner.core.alerts import alert_state
from connrunner.core.alerts.alert_state import WINDOW, AlertState
from connrunner.core.alerts.notice import Notice
from connrunner.core.alerts.recipients import make_notice_id
from connrunner.core.model import Target
from connrunner.lazy_dataclasses import dataclass

LIMIT = Target().limit
SUMMARY = 200  # characters of a message in a list of notices


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticeSplit:
    """What becomes of some notices: each is sent by itself, or folded into one that comes when the hour is over."""

    owes: tuple[Notice, ...] = ()
    folds: tuple[tuple[Notice, str], ...] = ()  # with the message that stands beside it in the list

    def as_record(self) -> dict[str, Any]:
        """Return the part of a journal's record that says it."""
        data: dict[str, Any] = {"owes": [notice.as_dict() for notice in self.owes]}
        if self.folds:
            data["folds"] = [{**notice.as_dict(), "message": message} for notice, message in self.folds]
        return data


def split_notices(
    notices: Iterable[Notice], alerts: AlertState, *, limits: Mapping[str, int], at: datetime, message: str = ""
) -> NoticeSplit:
    """Split *notices* into those sent now and those folded because a target reached its hourly limit."""
    owes: list[Notice] = []
    folds: list[tuple[Notice, str]] = []
    after = AlertState(windows=dict(alerts.windows))
    when = instant.text(at)
    for notice in notices:
        window = after.windows.get(alert_state.rate_key(notice))
        full = (
            notice.event not in ("digest", "outage", "folded")
            and window is not None
            and alert_state.is_window_open(window, at)
            and window["mails"] >= limits.get(notice.target, LIMIT)
        )
        if full:
            folds.append((notice, message[:SUMMARY]))
        else:
            owes.append(notice)
        alert_state.record_notice(after, notice, when, folded=full, message=message[:SUMMARY])
    return NoticeSplit(owes=tuple(owes), folds=tuple(folds))


def make_folded_notices(alerts: AlertState, *, now: datetime, token: str) -> Iterator[Notice]:
    """Yield one notice for each target whose hour with too many notices is over."""
    for number, (_, window) in enumerate(sorted(alerts.windows.items())):
        since = instant.parse(window["since"])
        if window["folded"] and not since <= now < since + WINDOW:
            yield Notice(
                id=make_notice_id("folded", f"{token}-{number}" if number else token),
                connection="",
                run=0,
                event="folded",
                recipients=tuple(window["recipients"]),
                target=window["target"],
                cc=tuple(window["cc"]),
                facts={
                    "notices": window["folded"],
                    "from": window["folded"][0]["at"],
                    "to": window["folded"][-1]["at"],
                },
            )
