"""The mail of the past: what each run caused, to whom it went, how each ended; as far back as the journal is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant, run_records
from connrunner.core.alerts import notice as notices
from connrunner.core.alerts.notice import Notice
from connrunner.core.model import Run
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import journal_segments
from connrunner.text.nesting import parse_json

BEFORE_END = timedelta(minutes=1)
RECORDED_WITHIN = timedelta(days=1)  # of the end of a run, that it ended, and what that owes
RETRIED_FOR = timedelta(days=14)  # after the end of a run; who retries later finds it among the notifications
WORDS = (b'"owes":[{', b'"delivered"', b'"retried"', b'"dropped"')  # of the records that tell of mail

MailState = Literal["delivered", "waiting", "given up", "dropped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SentMail:
    """One notice to one recipient, and what came of it."""

    notice: Notice
    recipient: str
    owed_at: datetime
    state: MailState
    attempts: int
    at: datetime | None  # of the last attempt
    reason: str  # the answer to the last attempt that failed; empty without one


def list_mail_of_run(view: WorkspaceView, run: Run) -> tuple[SentMail, ...]:
    """Return the mail that the end of *run* caused, by recipient."""
    since, until = run.ended_at - BEFORE_END, run.ended_at + RETRIED_FOR
    records: list[Mapping[str, Any]] = []
    found: tuple[SentMail, ...] = ()
    # Part by part, and no further than needed: what is known of a run of long ago stands near its end.
    for part in reversed(list(journal_segments.list_parts_since(view.state, since))):
        lines = part.read_lines()
        records += _pick(lines, since, until)
        found = tuple(mail for mail in _fold(records, view.clock()) if _is_of(mail, run))
        newest = journal_segments.find_newest(lines)
        is_known = newest is not None and newest > run.ended_at + RECORDED_WITHIN
        if is_known and all(mail.state == "delivered" for mail in found):
            break
    return found


def _is_of(mail: SentMail, run: Run) -> bool:
    return (mail.notice.connection, mail.notice.run) == (run.connection, run.run)


def list_sent_mail(view: WorkspaceView, since: datetime) -> tuple[SentMail, ...]:
    """Return the mail that became owed after *since*, newest first."""
    found = _fold(_records(view, since, view.clock()), view.clock())
    recent = [mail for mail in found if mail.owed_at > since]
    return tuple(sorted(recent, key=lambda mail: mail.owed_at, reverse=True))


def _records(view: WorkspaceView, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
    """Yield the records about mail in the order in which they were written."""
    for part in reversed(list(journal_segments.list_parts_since(view.state, since))):
        yield from _pick(part.read_lines(), since, until)


def _pick(lines: Iterable[bytes], since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        if not any(word in line for word in WORDS):
            continue
        try:
            record = parse_json(line)
            if since <= instant.parse(record["at"]) <= until:
                yield record
        except run_records.MALFORMED:
            continue


def _fold(records: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[SentMail]:
    owed: dict[str, tuple[Notice, datetime]] = {}
    tries: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        for data in record.get("owes", ()):
            notice = notices.from_mapping(data)
            owed[notice.id] = (notice, instant.parse(record["at"]))
        if record.get("notice") in owed:
            tries.setdefault(record["notice"], []).append({"result": record["type"], **record})
    for identity, (notice, at) in owed.items():
        made = tries.get(identity, [])
        ledger = notices.fold_deliveries(notice, made, now)
        given_up = {letter.recipient for letter in ledger.dead}
        open_ones = {*ledger.due, *ledger.waiting}
        for recipient in notice.recipients:
            yield _mail(notice, recipient, at, _state_of(recipient, ledger.sent, given_up, open_ones), made)


def _state_of(recipient: str, sent: tuple[str, ...], given_up: set[str], open_ones: set[str]) -> MailState:
    if recipient in sent:
        return "delivered"
    if recipient in given_up:
        return "given up"
    return "waiting" if recipient in open_ones else "dropped"


def _mail(notice: Notice, recipient: str, at: datetime, state: MailState, made: list[dict[str, Any]]) -> SentMail:
    attempts = [
        one for one in made if one["recipient"] == recipient and one["result"] in ("sent", "deferred", "refused")
    ]
    last = attempts[-1] if attempts else None
    return SentMail(
        notice=notice,
        recipient=recipient,
        owed_at=at,
        state=state,
        attempts=len(attempts),
        at=instant.parse(last["at"]) if last else None,
        reason=str(last.get("reason", "")) if last else "",
    )
