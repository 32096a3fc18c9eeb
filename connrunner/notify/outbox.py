"""Tell people what they are owed, and say what came of it for each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from connrunner.core import instant
from connrunner.core.alerts.notice import DeliveryRecord, Notice
from connrunner.core.model import Mail, Run
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.notify import channel, mail_folder, message, smtp_connection
from connrunner.notify import mailbox as address
from connrunner.notify.facts import Background, build_context
from connrunner.notify.mailbox import AddressError
from connrunner.notify.render import RenderedMessage, render
from connrunner.notify.smtp import SmtpSession
from connrunner.notify.smtp_connection import ClientCertificate, MailServer
from connrunner.notify.transport import DeliveryResult, ServerError, Transport

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
    background: Background = Background()
    reply_to: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MailAccount:
    """With what mail is sent."""

    mail: Mail
    username: str | None = None  # a secret, resolved
    password: str | None = None  # a secret, resolved
    certificate: ClientCertificate | None = None
    trouble: str = ""  # why no mail can be sent: a secret is not there, say
    mailbox: Path  # the folder for mail to a bare `file:`


def make_account(mail: Mail, *, mailbox: Path, reveal: channel.Reveal) -> MailAccount:
    """Return *mail* with its secrets. *reveal* finds the one of a reference, and leaves other text as it is."""
    certificate = None
    if mail.certificate:
        certificate = ClientCertificate(chain=reveal(mail.certificate), key=reveal(mail.key) if mail.key else "")
    return MailAccount(
        mail=mail,
        username=reveal(mail.username) if mail.username else None,
        password=reveal(mail.password) if mail.password else None,
        certificate=certificate,
        mailbox=mailbox,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelSecrets:
    """What turns the references of channels into their secret URLs, and keeps these out of messages."""

    reveal: channel.Reveal
    hide: channel.Hide


def _now() -> datetime:
    return datetime.now(UTC)


def send_pending(
    pending: Sequence[PendingNotice],
    *,
    account: MailAccount,
    channels: ChannelSecrets,
    workspace: Path,
    templates: Path | None = None,
    deadline: float,
    record: Record,
    clock: Clock = _now,
) -> list[DeliveryRecord]:
    """
    Send what *pending* owes, mails first, until *deadline* (an instant of `time.monotonic`).

    *record* is called once for each recipient right after that one is settled, before the next is tried; only what it
    raises comes through. A recipient that is not reached before the deadline gets no record and stays due. *templates*
    is the folder that holds `templates/`, such as a copy of what a commit has, when it is not *workspace*.
    """
    if deadline - time.monotonic() < LEAST:
        return []
    pending = pending[:AT_ONCE]
    to_mailboxes = _those(pending, lambda recipient: not channel.is_channel(recipient))
    to_channels = _those(pending, channel.is_channel)
    done: list[DeliveryRecord] = []
    mail, trouble = account.mail, account.trouble
    try:
        source = address.parse_person(mail.sender)
        server = None if mail.server.startswith("file:") else smtp_connection.parse_server(mail.server)
    except (AddressError, ServerError) as error:
        trouble = trouble or f"mail cannot be sent: {error}"
    if trouble:
        done += put_off(to_mailboxes, trouble, record=record, clock=clock)
        to_mailboxes = []
    told = to_mailboxes + to_channels
    if not told:
        return done
    # At least half of the time belongs to the sending, whatever the templates do.
    contexts = {each.notice.id: _context(each) for each in told}
    rendered = render(templates or workspace, list(contexts.values()), deadline=(time.monotonic() + deadline) / 2)
    says = dict(zip(contexts, rendered, strict=True))

    if to_mailboxes:
        transport: Transport
        if server is None:
            path = mail_folder.resolve_folder(mail.server, workspace=workspace, default=account.mailbox)
            transport = mail_folder.Folder(path, {each.notice.id: each.at for each in to_mailboxes})
        else:
            transport = open_session(server, account, source, deadline=deadline)
        with _closing(transport):
            for each, recipient in _each(to_mailboxes, deadline):
                answer = _mail(transport, each, recipient, says[each.notice.id], source=source, at=clock())
                done.append(_settle(each.notice, recipient, answer, record, clock))
    for each, recipient in _each(to_channels, deadline - LEAST):
        patience = deadline - time.monotonic()
        event = each.notice.event
        answer = channel.send_to_channel(
            recipient, says[each.notice.id], event, reveal=channels.reveal, hide=channels.hide, patience=patience
        )
        done.append(_settle(each.notice, recipient, answer, record, clock))
    return done


def open_session(server: MailServer, account: MailAccount, source: address.Person, *, deadline: float) -> SmtpSession:
    """Return what talks to *server* as the settings of *account* say, until *deadline* (monotonic)."""
    return SmtpSession(
        server,
        username=account.username,
        password=account.password,
        kind=account.mail.login,
        hello=account.mail.hello or source.domain,
        certificate=account.certificate,
        deadline=deadline,
    )


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
    transport: Transport,
    each: PendingNotice,
    recipient: str,
    rendered: RenderedMessage,
    *,
    source: address.Person,
    at: datetime,
) -> DeliveryResult:
    try:
        data = message.build(each.notice, recipient, rendered, source=source, at=at, reply_to=each.reply_to)
        mailbox = address.parse_person(recipient).spec
    except (AddressError, message.MessageError) as error:
        return DeliveryResult(result="refused", reason=str(error))
    return transport.send(each.notice, mailbox, source.spec, data)


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


def _context(pending: PendingNotice) -> dict[str, object]:
    notice = pending.notice
    background = replace(pending.background, connection=notice.connection, target=notice.target)
    return build_context(pending.run, background, event=notice.event, facts=notice.facts)


@contextmanager
def _closing(transport: Transport) -> Iterator[None]:
    try:
        yield
    finally:
        transport.close()
