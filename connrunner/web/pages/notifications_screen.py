"""Notifications: who was told of what, and who was not?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from connrunner.answers.deliveries import describe_folded, describe_next_try, read_outbox
from connrunner.answers.run_mail import list_sent_mail
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import agree
from connrunner.web.pages.connections_screen import read_number
from connrunner.web.pages.moments import Moments

PER_PAGE = 50
BACK = timedelta(days=7)  # what was delivered is shown so far back, as far as the journal is kept
STATES = {"dead": "given up", "waiting": "waiting", "sent": "delivered"}
EVENTS = {
    "succeeded": "a run succeeded",
    "partial": "a run was partial",
    "failed": "a run failed",
    "stopped": "a run was stopped",
    "interrupted": "a run was interrupted",
    "skipped": "a run was skipped",
    "held": "a run is held",
    "declined": "a held run was declined",
    "failing": "begins to fail",
    "reminder": "still fails",
    "recovered": "succeeds again",
    "late": "is late",
    "digest": "the digest",
    "folded": "several notices in one mail",
    "outage": "no tick came for a while",
    "broken": "files that cannot be used",
    "fixed": "files that can be used again",
    "attention": "damage in the state folder, or a schedule that has ended",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NotificationRow:
    """One notice to one recipient."""

    id: str
    state: str  # dead, waiting, sent
    recipient: str
    target: str
    connection: str
    run: int
    event: str
    since: datetime
    attempts: int
    answer: str
    again: str  # when a waiting one is tried again


def show_notifications(view: WorkspaceView, asked: Mapping[str, str], moments: Moments) -> dict[str, Any]:
    """Return the values of the screen."""
    rows = [*_open(view), *_delivered(view, moments)]
    counts = Counter(row.state for row in rows)
    search = asked.get("q", "").strip()[:200]
    chosen = asked.get("show", "") if asked.get("show", "") in STATES else ""
    found = [row for row in rows if chosen in ("", row.state) and _has(row, search.casefold())]
    first = (read_number(asked.get("page", ""), 1) - 1) * PER_PAGE
    first = first if 0 <= first < len(found) else 0
    outbox = read_outbox(view)
    return {
        "rows": found[first : first + PER_PAGE],
        "first": first,
        "found": len(found),
        "per_page": PER_PAGE,
        "page_number": first // PER_PAGE + 1,
        "tabs": [
            ("", len(rows), "all", ""),
            *((state, counts[state], words, "bad" if state == "dead" else "") for state, words in STATES.items()),
        ],
        "chosen": chosen,
        "search": search,
        "lede": _lede(counts),
        "folded": [describe_folded(one, outbox.zone) for one in outbox.folded],
        "events": EVENTS,
        "targets": _targets(view, rows),
        "back_days": BACK.days,
    }


def _open(view: WorkspaceView) -> list[NotificationRow]:
    """Return what was given up, the newest first, then what waits, the oldest first."""
    outbox = read_outbox(view)
    found = [
        NotificationRow(
            id=one.notice.id,
            state=one.state,
            recipient=one.recipient,
            target=one.notice.target,
            connection=one.notice.connection,
            run=one.notice.run,
            event=one.notice.event,
            since=instant.parse(one.owed_at),
            attempts=one.attempts,
            answer=one.reason,
            again="" if one.state == "dead" else describe_next_try(one, outbox),
        )
        for one in outbox.deliveries
    ]
    dead = sorted((row for row in found if row.state == "dead"), key=lambda row: row.since, reverse=True)
    return [*dead, *(row for row in found if row.state != "dead")]


def _delivered(view: WorkspaceView, moments: Moments) -> list[NotificationRow]:
    return [
        NotificationRow(
            id=mail.notice.id,
            state="sent",
            recipient=mail.recipient,
            target=mail.notice.target,
            connection=mail.notice.connection,
            run=mail.notice.run,
            event=mail.notice.event,
            since=mail.at or mail.owed_at,
            attempts=mail.attempts,
            answer="",
            again="",
        )
        for mail in list_sent_mail(view, moments.now - BACK)
        if mail.state == "delivered"
    ]


def _has(row: NotificationRow, wanted: str) -> bool:
    return not wanted or wanted in f"{row.connection}\n{row.recipient}\n{row.target}".casefold()


def _lede(counts: Counter[str]) -> str:
    dead, waiting = counts["dead"], counts["waiting"]
    if not dead and not waiting:
        return "Everybody was told who had to be."
    gone = agree(dead, "mail", "was given up", "were given up")
    return f"{gone}, {agree(waiting, 'mail', 'waits', 'wait')}."


def _targets(view: WorkspaceView, rows: list[NotificationRow]) -> list[dict[str, Any]]:
    """Return each target with whom it tells, which connections name it, and what became of its last mail."""
    used = Counter(
        name
        for connection in view.workspace.connections.values()
        for name in {target.name for rule in connection.notify for target in rule.to}
    )
    last: dict[str, NotificationRow] = {}
    for row in rows:
        if row.target and (row.target not in last or row.since > last[row.target].since):
            last[row.target] = row
    return [
        {"name": name, "tells": ", ".join(target.recipients), "used": used[name], "last": last.get(name)}
        for name, target in sorted(view.workspace.targets.items())
    ]
