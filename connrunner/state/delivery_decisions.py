"""What a person decides about mail that waits or was given up: it is sent again, or nobody is told."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal

from connrunner.core import instant
from connrunner.errors import ArgumentError
from connrunner.state import locks
from connrunner.state.deliveries import Delivery, list_deliveries, select_deliveries
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.text import words


def decide_deliveries(
    folder: StateFolder,
    what: Literal["retried", "dropped"],
    ids: Collection[str],
    *,
    to: str = "",
    at: datetime,
    by: str,
) -> list[Delivery]:
    """Record *what* was decided *by* whom, in one durable append; return them (see `select_deliveries`).

    ArgumentError for one of *ids* that names none.
    """
    with locks.hold_state_lock(folder):
        journal = Journal(folder)
        known = list(list_deliveries(journal.open(), at))
        for name in ids:
            if not select_deliveries(known, [name]):
                hint = words.hint(name, {delivery.notice.id for delivery in known})
                raise ArgumentError(f"no mail {name!r} waits or was given up{hint or '; see `connrunner notify list`'}")
        found = select_deliveries(known, ids, to=to)
        about = {"type": what, "at": instant.text(at), "reason": f"by {by}"}
        if found:
            journal.append(
                *({**about, "notice": delivery.notice.id, "recipient": delivery.recipient} for delivery in found)
            )
    return found
