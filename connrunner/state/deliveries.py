"""Mail that waits or was given up: one delivery for each recipient of a notice."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Literal

from connrunner.core import instant
from connrunner.core.alerts import notice as notices
from connrunner.core.alerts.alert_state import WINDOW
from connrunner.core.alerts.notice import Notice
from connrunner.lazy_dataclasses import dataclass
from connrunner.state.journal_state import JournalState


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """The delivery of one notice to one recipient, which waits or was given up."""

    notice: Notice
    recipient: str
    state: Literal["waiting", "dead"]
    owed_at: str
    attempts: int
    tried_at: str | None  # the last time
    next_at: datetime | None  # None for a dead one
    reason: str  # why the last attempt failed; empty before the first


def list_deliveries(state: JournalState, now: datetime) -> Iterator[Delivery]:
    """Yield every delivery: first those that wait, oldest first, then those that were given up."""
    dead = []
    for owed in state.owed.values():
        ledger = notices.fold_deliveries(owed.notice, owed.deliveries, now)
        given_up = {delivery.recipient for delivery in ledger.dead}
        for recipient in owed.notice.recipients:
            if recipient not in given_up and recipient not in ledger.waiting and recipient not in ledger.due:
                continue
            tries = [each for each in owed.deliveries if each["recipient"] == recipient]
            attempts = [each for each in tries if each["result"] in ("deferred", "refused")]
            delivery = Delivery(
                notice=owed.notice,
                recipient=recipient,
                state="dead" if recipient in given_up else "waiting",
                owed_at=owed.at,
                attempts=len(attempts),
                tried_at=attempts[-1]["at"] if attempts else None,
                next_at=None if recipient in given_up else ledger.waiting.get(recipient, now),
                reason=attempts[-1]["reason"] if attempts else "",
            )
            if delivery.state == "dead":
                dead.append(delivery)
            else:
                yield delivery
    yield from dead
    for entry in state.dead:
        if "notice" in entry:  # an older version kept too little to send it again
            yield Delivery(
                notice=notices.from_mapping(entry["notice"]),
                recipient=entry["recipient"],
                state="dead",
                owed_at=entry["owed_at"],
                attempts=entry["attempts"],
                tried_at=entry["at"],
                next_at=None,
                reason=entry["reason"],
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldedNotices:
    """Notices that come in one mail when the hour of the limit is over."""

    target: str  # or the addresses
    count: int
    until: datetime


def list_folded(state: JournalState) -> list[FoldedNotices]:
    """Return the targets whose notices are held back because there were too many in an hour."""
    return [
        FoldedNotices(target=key, count=len(window["folded"]), until=instant.parse(window["since"]) + WINDOW)
        for key, window in sorted(state.alerts.windows.items())
        if window["folded"]
    ]


def select_deliveries(found: Collection[Delivery], names: Collection[str], *, to: str = "") -> list[Delivery]:
    """Return those of *found* that go to *to* and whose notice one of *names* names, whole or by its first parts."""

    def is_named(delivery: Delivery) -> bool:
        return not names or any(f"{delivery.notice.id}.".startswith(f"{name.rstrip('.')}.") for name in names)

    return [
        delivery
        for delivery in found
        if is_named(delivery) and (not to or to.casefold() in delivery.recipient.casefold())
    ]
