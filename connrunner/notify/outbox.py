"""Tell people what they are owed, and say what came of it for each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from connrunner.core import instant
from connrunner.core.alerts.notice import DeliveryRecord, Notice
from connrunner.core.model import Commit, Mail, Run
from connrunner.notify import address, channel, folder, message, smtp, wire
from connrunner.notify.address import AddressError
from connrunner.notify.carrier import DeliveryResult, ServerError, Transport
from connrunner.notify.facts import context
from connrunner.notify.render import RenderedMessage, render

AT_ONCE = 100  # notices in one pass; the others stay due
LEAST = 2.0  # seconds without which a pass is not begun

Record = Callable[[DeliveryRecord], None]
Clock = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingNotice:
    """A notice with recipients who are due now, and what its mail tells."""

    notice: Notice
    recipients: tuple[str, ...]  # `core.alerts.notice.fold_deliveries(...).due`
    at: datetime  # when it became owed
    run: Run | None  # the run that it is about, if any
    title: str = ""
    description: str = ""
    owner: str = ""
    timezone: str = "UTC"  # of the connection's schedule, else of the workspace
    next_run: datetime | None = None
    rejects: Path | None = None  # the run's rejects.jsonl
    recent: Sequence[Run] = ()  # the last runs of its connection, newest first
    commit: Commit | None = None  # the version of the workspace that the run used
    reply_to: str = ""
    language: str = ""  # of dates and numbers


def _now() -> datetime:
    return datetime.now(UTC)


def deliver(
    pending: Sequence[PendingNotice],
    *,
    mail: Mail,
    username: str | None,
    password: str | None,
    workspace: Path,
    templates: Path | None = None,
    mailbox: Path,
    deadline: float,
    record: Record,
    reveal: channel.Reveal,
    hide: channel.Hide,
    trouble: str = "",
    clock: Clock = _now,
) -> list[DeliveryRecord]:
    """
    Send what *pending* owes, mails first, until *deadline* (an instant of `time.monotonic`).

    *record* is called once for each recipient right after that one is settled, before the next is tried; only what it
    raises comes through. Who is not reached before the deadline gets no record and stays due. *username* and
    *password* are resolved secrets, and *trouble* says why no mail can be sent without them; *templates* is the folder
    that holds `templates/`, such as a copy of what a commit has, when it is not *workspace*; *mailbox* is where mail
    for a bare `file:` goes; *reveal* and *hide* are for the secret URLs of channels.
    """
    if deadline - time.monotonic() < LEAST:
        return []
    pending = pending[:AT_ONCE]
    to_mailboxes = _those(pending, lambda recipient: not channel.is_channel(recipient))
    to_channels = _those(pending, channel.is_channel)
    done: list[DeliveryRecord] = []
    try:
        source = address.person(mail.sender)
        server = None if mail.server.startswith("file:") else wire.parse(mail.server)
    except (AddressError, ServerError) as error:
        trouble = trouble or f"mail cannot be sent: {error}"
    if trouble:
        done += put_off(to_mailboxes, trouble, record=record, clock=clock)
        to_mailboxes = []
    told = to_mailboxes + to_channels
    if not told:
        return done
    # At least half of the time belongs to the sending, whatever the templates do.
    contexts = {each.notice.id: _context(each, workspace) for each in told}
    rendered = render(templates or workspace, list(contexts.values()), deadline=(time.monotonic() + deadline) / 2)
    says = dict(zip(contexts, rendered, strict=True))

    if to_mailboxes:
        carrier: Transport
        if server is None:
            path = folder.place(mail.server, workspace=workspace, default=mailbox)
            carrier = folder.Folder(path, {each.notice.id: each.at for each in to_mailboxes})
        else:
            carrier = smtp.SmtpSession(server, username=username, password=password, deadline=deadline)
        with _closing(carrier):
            for each, recipient in _each(to_mailboxes, deadline):
                answer = _mail(carrier, each, recipient, says[each.notice.id], source=source, at=clock())
                done.append(_settle(each.notice, recipient, answer, record, clock))
    for each, recipient in _each(to_channels, deadline - LEAST):
        patience = deadline - time.monotonic()
        event = each.notice.event
        answer = channel.tell(recipient, says[each.notice.id], event, reveal=reveal, hide=hide, patience=patience)
        done.append(_settle(each.notice, recipient, answer, record, clock))
    return done


def _those(pending: Sequence[PendingNotice], wanted: Callable[[str], bool]) -> list[PendingNotice]:
    """Return *pending* with the wanted recipients only, without those that have none."""
    found = [replace(each, recipients=tuple(filter(wanted, each.recipients))) for each in pending]
    return [each for each in found if each.recipients]


def _each(pending: Sequence[PendingNotice], deadline: float) -> Iterator[tuple[PendingNotice, str]]:
    """Yield each recipient of each notice as long as there is time."""
    for each in pending:
        for recipient in each.recipients:
            if time.monotonic() >= deadline:
                return
            yield each, recipient


def _mail(
    carrier: Transport,
    each: PendingNotice,
    recipient: str,
    rendered: RenderedMessage,
    *,
    source: address.Person,
    at: datetime,
) -> DeliveryResult:
    try:
        data = message.build(each.notice, recipient, rendered, source=source, at=at, reply_to=each.reply_to)
        mailbox = address.person(recipient).spec
    except (AddressError, message.MessageError) as error:
        return DeliveryResult(result="refused", reason=str(error))
    return carrier.send(each.notice, mailbox, source.spec, data)


def put_off(
    pending: Sequence[PendingNotice], reason: str, *, record: Record, clock: Clock = _now
) -> list[DeliveryRecord]:
    """Record that nobody can be told now, and why: a secret that is not there, say."""
    answer = DeliveryResult(result="deferred", reason=reason)
    return [_settle(each.notice, recipient, answer, record, clock) for each in pending for recipient in each.recipients]


def _settle(notice: Notice, recipient: str, answer: DeliveryResult, record: Record, clock: Clock) -> DeliveryRecord:
    delivery: DeliveryRecord = {
        "notice": notice.id,
        "recipient": recipient,
        "result": answer.result,
        "at": instant.text(clock()),
        "reason": answer.reason,
    }
    record(delivery)
    return delivery


def _context(pending: PendingNotice, workspace: Path) -> dict[str, object]:
    return context(
        pending.run,
        event=pending.notice.event,
        name=pending.notice.connection,
        title=pending.title,
        description=pending.description,
        owner=pending.owner,
        timezone=pending.timezone,
        next_run=pending.next_run,
        rejects=pending.rejects,
        recent=pending.recent,
        commit=pending.commit,
        facts=pending.notice.facts,
        target=pending.notice.target,
        language=pending.language,
        workspace=workspace.resolve().name,
    )


@contextmanager
def _closing(carrier: Transport) -> Iterator[None]:
    try:
        yield
    finally:
        carrier.close()
