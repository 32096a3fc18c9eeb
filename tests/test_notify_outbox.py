"""Who is told what, with a folder for a mail server: records, order, deadlines, and what must not stop a mail."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from connrunner.config.secrets import Masker
from connrunner.core.alerts.notice import DeliveryRecord, Notice, fold_deliveries
from connrunner.core.counts import Counts
from connrunner.core.model import Mail, Outcome
from connrunner.errors import StateError
from connrunner.notify import outbox
from connrunner.notify.facts import Background
from connrunner.notify.outbox import ChannelSecrets, MailAccount, PendingNotice, put_off, send_pending
from tests.made import changed_run, ended_run

pytestmark = pytest.mark.slow  # templates render in a process of their own

START = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
RUN = ended_run(
    connection="crm",
    run=12,
    outcome=Outcome.FAILED,
    trigger="schedule",
    due_at=START,
    queued_at=START,
    started_at=START,
    ended_at=START + timedelta(seconds=73),
    seconds=73,
    counts=Counts(),
    message="the file is not there",
)


def pending(*recipients: str, number: int = 12, title: str = "CRM contacts") -> PendingNotice:
    run = changed_run(RUN, run=number)
    notice = Notice(id=f"crm.{number}.failed.t", connection="crm", run=number, event="failed", recipients=recipients)
    return PendingNotice(
        notice=notice,
        recipients=recipients,
        at=run.ended_at,
        run=run,
        background=Background(title=title, timezone="Europe/Amsterdam", workspace="workspace"),
    )


class Box:
    """A workspace that delivers into a folder, and what was recorded."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.mailbox = folder / "mail"
        self.workspace.mkdir()
        self.recorded: list[DeliveryRecord] = []

    def deliver(
        self, *pending: PendingNotice, mail: Mail | None = None, seconds: float = 600, **other: Any
    ) -> list[Any]:
        done = send_pending(
            pending,
            account=MailAccount(mail=mail or Mail(), mailbox=self.mailbox, trouble=other.pop("trouble", "")),
            channels=ChannelSecrets(
                reveal=other.pop("reveal", str), hide=lambda secrets, text: Masker(secrets).mask(text)
            ),
            workspace=self.workspace,
            deadline=time.monotonic() + seconds,
            record=other.pop("record", self.recorded.append),
            clock=lambda: START + timedelta(minutes=5),
        )
        assert done == self.recorded
        return [(record["notice"], record["recipient"], record["result"]) for record in done]

    def mails(self) -> dict[str, EmailMessage]:
        read = {}
        for file in sorted(self.mailbox.iterdir()):
            message = message_from_bytes(file.read_bytes(), policy=default)
            assert isinstance(message, EmailMessage)
            read[file.name] = message
        return read


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_each_recipient_gets_a_mail_and_a_record(box: Box) -> None:
    assert box.deliver(pending("a@x.example", "b@x.example"), pending("a@x.example", number=13)) == [
        ("crm.12.failed.t", "a@x.example", "sent"),
        ("crm.12.failed.t", "b@x.example", "sent"),
        ("crm.13.failed.t", "a@x.example", "sent"),
    ]
    assert box.recorded[0] == {
        "notice": "crm.12.failed.t",
        "recipient": "a@x.example",
        "result": "sent",
        "at": "2026-11-23T00:35:00Z",
        "reason": "",
    }
    mails = box.mails()
    assert list(mails) == [
        "20261123T003113Z-crm-12-a@x.example.eml",
        "20261123T003113Z-crm-12-b@x.example.eml",
        "20261123T003113Z-crm-13-a@x.example.eml",
    ]
    assert [mail["To"] for mail in mails.values()] == ["a@x.example", "b@x.example", "a@x.example"]
    assert len({mail["Message-ID"] for mail in mails.values()}) == 3
    first = next(iter(mails.values()))
    assert first["From"] == "connrunner@localhost"
    assert first["Subject"] == "CRM contacts: run 12 failed"
    text, html = (part.get_content() for part in first.iter_parts())
    assert "the file is not there" in text
    assert "Mon 2026-11-23 01:30:00 +01:00" in text
    assert "in the workspace workspace" in text
    assert "the file is not there" in html


def test_a_repeat_gives_the_same_file_and_message_id(box: Box) -> None:
    box.deliver(pending("a@x.example"))
    (first,) = box.mails().items()
    box.recorded.clear()
    box.deliver(pending("a@x.example"))
    (again,) = box.mails().items()
    assert (first[0], first[1]["Message-ID"]) == (again[0], again[1]["Message-ID"])


def test_only_those_who_are_due_get_a_mail(box: Box) -> None:
    both = pending("a@x.example", "b@x.example")
    assert box.deliver(replace(both, recipients=("b@x.example",))) == [("crm.12.failed.t", "b@x.example", "sent")]


def test_nothing_pending_is_nothing_to_do(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "render", None)
    assert box.deliver() == []


def test_one_bad_address_costs_that_address_only(box: Box) -> None:
    assert box.deliver(pending("a@x\r\nBcc: b@x", "b@x.example")) == [
        ("crm.12.failed.t", "a@x\r\nBcc: b@x", "refused"),
        ("crm.12.failed.t", "b@x.example", "sent"),
    ]
    assert box.recorded[0]["reason"] == "'a@x Bcc: b@x' is not an e-mail address; write it as name@example.com"


def test_a_broken_template_costs_the_form_only(box: Box) -> None:
    (box.workspace / "templates").mkdir()
    (box.workspace / "templates" / "run.subject.j2").write_text("{{ nope }}")
    assert box.deliver(pending("a@x.example")) == [("crm.12.failed.t", "a@x.example", "sent")]
    (mail,) = box.mails().values()
    assert mail["Subject"] == "CRM contacts: run 12 failed"
    assert "templates/run.subject.j2, line 1: 'nope' is undefined" in mail.get_content()


def test_a_template_cannot_add_a_header(box: Box) -> None:
    (box.workspace / "templates").mkdir()
    (box.workspace / "templates" / "run.subject.j2").write_text(
        "a\r\nBcc: x@evil.example\r\n\r\n{{ connection.title }}"
    )
    box.deliver(pending("a@x.example", title="=?utf-8?q?=0ABcc:_x@evil.example?="))
    (mail,) = box.mails().values()
    assert mail["Bcc"] is None
    assert mail["Subject"] == "a Bcc: x@evil.example = ?utf-8?q?=0ABcc:_x@evil.example?="


SETTINGS = [
    # mail                                          what every record says
    (
        Mail(server="smtp://"),
        "mail.server 'smtp://' is none of smtp://, smtps://, smtp+plain:// with a host, and file:",
    ),
    (Mail(server="mail.example.com:587"), "mail.server 'mail.example.com:587' is none of"),
    (Mail(server="http://mail.example.com"), "mail.server 'http://mail.example.com' is none of"),
    (Mail(server="smtp://mail.example.com:99999"), "mail.server is not a URL"),
    (Mail(server="smtp://mail.example.com:0"), "is none of"),
    (Mail(server="smtp://mail.example.com/inbox"), "is none of"),
    (Mail(server="smtp://me:hunter2@mail.example.com"), "mail.server holds a user name; write mail.username"),
    (Mail(sender="nobody"), "'nobody' is not an e-mail address"),
    (Mail(sender="a\r\nBcc: <x"), "is not a sender"),
]


@pytest.mark.parametrize(("mail", "reason"), SETTINGS)
def test_settings_that_cannot_be_put_everything_off(box: Box, mail: Mail, reason: str) -> None:
    assert box.deliver(pending("a@x.example", "b@x.example"), mail=mail) == [
        ("crm.12.failed.t", "a@x.example", "deferred"),
        ("crm.12.failed.t", "b@x.example", "deferred"),
    ]
    assert reason in box.recorded[0]["reason"]
    assert "hunter2" not in str(box.recorded)


def test_put_off_says_why(box: Box) -> None:
    done = put_off(
        [pending("a@x.example")], "SMTP_PASSWORD is not set", record=box.recorded.append, clock=lambda: START
    )
    assert done == box.recorded
    assert done[0]["reason"] == "SMTP_PASSWORD is not set"
    stands = fold_deliveries(pending("a@x.example").notice, done, START + timedelta(seconds=1))
    assert stands.waiting == {"a@x.example": START + timedelta(minutes=1)}


def test_a_folder_that_cannot_be_written_defers(box: Box) -> None:
    box.mailbox.write_text("a file")
    assert box.deliver(pending("a@x.example")) == [("crm.12.failed.t", "a@x.example", "deferred")]
    assert str(box.mailbox) in box.recorded[0]["reason"]


def test_a_folder_may_be_named(box: Box) -> None:
    box.deliver(pending("a@x.example"), mail=Mail(server="file:out/mail"))
    assert len(list((box.workspace / "out" / "mail").iterdir())) == 1


def test_a_record_is_made_before_the_next_mail_is_tried(box: Box) -> None:
    def full(record: DeliveryRecord) -> None:
        raise StateError("journal.jsonl cannot be written: No space left on device")

    with pytest.raises(StateError):
        box.deliver(pending("a@x.example", "b@x.example"), record=full)
    assert [mail["To"] for mail in box.mails().values()] == ["a@x.example"]


def test_who_is_not_reached_before_the_deadline_stays_due(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    assert box.deliver(pending("a@x.example"), seconds=1) == []
    late: list[float] = []

    def slow(record: DeliveryRecord) -> None:
        box.recorded.append(record)
        late.append(time.monotonic())
        monkeypatch.setattr(time, "monotonic", lambda: late[0] + 3600)

    assert box.deliver(pending("a@x.example", "b@x.example"), record=slow) == [
        ("crm.12.failed.t", "a@x.example", "sent")
    ]


def test_a_thousand_notices_are_taken_a_hundred_at_a_time(box: Box) -> None:
    done = box.deliver(*(pending("a@x.example", number=number) for number in range(1000)))
    assert len(done) == 100
    assert done[0][0] == "crm.0.failed.t"
