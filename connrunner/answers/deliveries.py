"""The mail that waits and the mail that was given up: the answer of `connrunner notify list`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from connrunner.answers.active_runs import time_of_day
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import deliveries
from connrunner.state.deliveries import Delivery, FoldedNotices
from connrunner.text.words import plural


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbox:
    """The chosen deliveries, and the notices that are folded into one mail."""

    at: datetime
    zone: str  # for times that people read
    deliveries: tuple[Delivery, ...]  # what waits, oldest first, then what was given up
    folded: tuple[FoldedNotices, ...]  # none when only some deliveries are asked for


def read_outbox(view: WorkspaceView, ids: Collection[str] = (), *, dead: bool = False) -> Outbox:
    """Return what waits and what was given up; only what *ids* name, or only the *dead*, where that is asked for."""
    journal_state, now = view.journal_state, view.clock()
    found = deliveries.select_deliveries(list(deliveries.list_deliveries(journal_state, now)), ids)
    return Outbox(
        at=now,
        zone=view.zone(),
        deliveries=tuple(delivery for delivery in found if not dead or delivery.state == "dead"),
        folded=() if dead or ids else tuple(deliveries.list_folded(journal_state)),
    )


def describe_next_try(delivery: Delivery, outbox: Outbox) -> str:
    """Return when a delivery is tried again; `given up` for a dead one."""
    if delivery.next_at is None:
        return "given up"
    if delivery.next_at > outbox.at:
        return f"again at {time_of_day(delivery.next_at, outbox.zone)}"
    return "with the next tick"


def describe_folded(folded: FoldedNotices, zone: str) -> str:
    """Return how many notices are held back, and until when."""
    notices = plural(folded.count, "notice")
    return f"{folded.target}: {notices} too many within an hour, in one mail at {time_of_day(folded.until, zone)}"


def as_list(outbox: Outbox) -> list[dict[str, Any]]:
    """Return the deliveries as `notify list --format json` shows them."""
    return [
        {
            "id": delivery.notice.id,
            "state": delivery.state,
            "connection": delivery.notice.connection or None,
            "run": delivery.notice.run or None,
            "event": delivery.notice.event,
            "target": delivery.notice.target or None,
            "recipient": delivery.recipient,
            "owed_at": delivery.owed_at,
            "attempts": delivery.attempts,
            "tried_at": delivery.tried_at,
            "next_at": instant.text(delivery.next_at) if delivery.next_at else None,
            "reason": delivery.reason,
        }
        for delivery in outbox.deliveries
    ]
