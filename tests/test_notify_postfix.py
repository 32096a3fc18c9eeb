"""Mail to a real Postfix: STARTTLS, a refused recipient, names and mailboxes beyond ASCII, and what it put into a box."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path

import pytest
import trustme

from connrunner.core.alerts.notice import Notice
from connrunner.core.counts import Counts
from connrunner.core.model import Mail, Outcome
from connrunner.notify.facts import Background
from connrunner.notify.outbox import ChannelSecrets, MailAccount, PendingNotice, send_pending
from tests.made import ended_run

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("postfix"), reason="Postfix is not installed"),
    pytest.mark.skipif(os.getuid() != 0, reason="Postfix is started by root"),
]
DOMAINS = "x.example, xn--mnchen-3ya.example"


@dataclass
class Office:
    """A Postfix that puts everything into one maildir."""

    port: int
    boxes: Path

    def mails(self, count: int) -> list[EmailMessage]:
        """Wait until *count* mails have arrived, and return them."""
        box = self.boxes / "all" / "new"
        deadline = time.monotonic() + 60
        while len(found := sorted(box.iterdir()) if box.is_dir() else []) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} mails arrived"
            time.sleep(0.1)
        read = [message_from_bytes(file.read_bytes(), policy=SMTPUTF8) for file in found]
        assert all(isinstance(mail, EmailMessage) for mail in read)
        return [mail for mail in read if isinstance(mail, EmailMessage)]


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    root = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="postfix-"))  # pytest's folders are for root alone
    root.chmod(0o755)
    owner = pwd.getpwnam("postfix")
    for name in ("conf", "queue", "data", "boxes"):
        (root / name).mkdir()
    os.chown(root / "data", owner.pw_uid, owner.pw_gid)
    os.chown(root / "boxes", owner.pw_uid, owner.pw_gid)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(root / "chain.pem")
    certificate.private_key_pem.write_to_path(root / "chain.pem", append=True)
    certificate.private_key_pem.write_to_path(root / "key.pem")
    authority.cert_pem.write_to_path(root / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(root / "authority.pem"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (root / "conf" / "main.cf").write_text(
        f"""\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
myhostname = mail.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
maillog_file = {root}/log
maillog_file_prefixes = /var/tmp
virtual_mailbox_domains = {DOMAINS}
virtual_mailbox_base = {root}/boxes
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{owner.pw_uid}
virtual_gid_maps = static:{owner.pw_gid}
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{gone@x.example = 550 no such user}} {{full@x.example = 452 mailbox full}} }}
    permit_mynetworks, reject
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {root}/chain.pem
smtpd_tls_key_file = {root}/key.pem
smtputf8_enable = yes
smtpd_peername_lookup = no
"""
    )
    services = [
        f"127.0.0.1:{port} inet n - n - - smtpd",
        "pickup unix n - n 60 1 pickup",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "anvil unix - - n - 1 anvil",
        "proxymap unix - - n - - proxymap",
        "retry unix - - n - - error",
        "virtual unix - n n - - virtual",
        "error unix - - n - - error",
        "postlog unix-dgram n - n - 1 postlogd",
    ]
    (root / "conf" / "master.cf").write_text("".join(f"{service}\n" for service in services))
    with (root / "said").open("w") as said:
        process = subprocess.Popen(["postfix", "-c", str(root / "conf"), "start-fg"], stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    told = (root / "said").read_text() + ((root / "log").read_text() if (root / "log").exists() else "")
                    assert process.poll() is None, told
                    assert time.monotonic() < deadline, told
                    time.sleep(0.1)
            yield Office(port, root / "boxes")
        finally:
            subprocess.run(["postfix", "-c", str(root / "conf"), "stop"], capture_output=True, check=False)
            process.wait(20)
            shutil.rmtree(root, ignore_errors=True)


def test_a_postfix_takes_every_mail_and_they_are_what_was_meant(office: Office, tmp_path: Path) -> None:
    at = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
    run = ended_run(
        connection="crm",
        run=12,
        outcome=Outcome.FAILED,
        trigger="schedule",
        due_at=at,
        queued_at=at,
        started_at=at,
        ended_at=at,
        seconds=3,
        counts=Counts(),
        message="«Łódź» .\n.\nFrom here",
    )
    people = tuple(f'"Reader {number}, the \\"Nº\\"" <r{number}@münchen.example>' for number in range(200))
    recipients = (*people, "gone@x.example", "full@x.example", "zoë@x.example", "boss@x.example")
    notice = Notice(
        id="crm.12.failing.t",
        connection="crm",
        run=12,
        event="failing",
        recipients=recipients,
        target="readers",
        cc=("boss@x.example",),
        facts={"since": "2026-11-23T00:30:00Z", "failures": 1, "first_run": 12, "between": {"failed": 1}},
    )
    results: dict[str, list[str]] = {}
    send_pending(
        [
            PendingNotice(
                notice=notice, recipients=recipients, at=at, run=run, background=Background(title="Übersicht, 日本語")
            )
        ],
        account=MailAccount(
            mail=Mail(server=f"smtp://localhost:{office.port}", sender='"Data, the \\"Team\\" Ü" <c@x.example>'),
            username=None,
            password=None,
            mailbox=tmp_path / "mail",
        ),
        channels=ChannelSecrets(reveal=str, hide=lambda _, text: text),
        workspace=tmp_path,
        deadline=time.monotonic() + 60,
        record=lambda record: results.setdefault(record["result"], []).append(record["recipient"]),
    )
    assert (results.get("refused"), results.get("deferred")) == (["gone@x.example"], ["full@x.example"])
    assert results["sent"] == [*people, "zoë@x.example", "boss@x.example"]
    mails = {str(mail["X-Original-To"]): mail for mail in office.mails(202)}
    assert len(mails) == 202
    first = mails["r0@xn--mnchen-3ya.example"]
    (to,) = first["To"].addresses
    (sender,) = first["From"].addresses
    assert (to.display_name, to.addr_spec) == ('Reader 0, the "Nº"', "r0@xn--mnchen-3ya.example")
    assert sender.display_name == 'Data, the "Team" Ü'
    assert first["Cc"] == "boss@x.example"
    assert first["Subject"].startswith("Übersicht, 日本語: failing")
    assert "«Łódź» .\n.\nFrom here" in first.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert mails["boss@x.example"]["To"] == "readers:;"
    assert len({mail["Message-ID"] for mail in mails.values()}) == 202
