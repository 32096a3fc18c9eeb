"""Mail to real SMTP servers on this machine: sound ones, strict ones, broken ones, hostile ones."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme

from connrunner.core.alerts.notice import DeliveryRecord, Notice
from connrunner.core.counts import Counts
from connrunner.core.model import Mail, Outcome
from connrunner.notify import smtp, smtp_connection
from connrunner.notify.facts import Background
from connrunner.notify.outbox import ChannelSecrets, MailAccount, PendingNotice, send_pending
from connrunner.notify.smtp import SmtpSession
from connrunner.notify.smtp_connection import ClientCertificate, MailServer, parse_server
from connrunner.notify.transport import DeliveryResult, ServerError
from tests.made import ended_run
from tests.servers.smtp import PASSWORD, Post, Start, certificate, servers

# The test server believes that a connection which began with TLS has none.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

NOTICE = Notice(id="crm.12.failed.t", connection="crm", run=12, event="failed", recipients=())


# --- addresses of servers ----------------------------------------------------------------------------------------

SERVERS = [
    ("smtp://mail.example.com", MailServer(scheme="smtp", host="mail.example.com", port=587)),
    ("smtp://mail.example.com:2525/", MailServer(scheme="smtp", host="mail.example.com", port=2525)),
    ("smtps://mail.example.com", MailServer(scheme="smtps", host="mail.example.com", port=465)),
    ("smtp+plain://localhost", MailServer(scheme="smtp+plain", host="localhost", port=25)),
    ("smtp://[::1]:26", MailServer(scheme="smtp", host="::1", port=26)),
]


@pytest.mark.parametrize(("text", "server"), SERVERS)
def test_the_server_of_a_url(text: str, server: MailServer) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize("text", ["", "smtp:", "smtp://", "mail.example.com", "lmtp://x", "smtp://a:b@x", "smtp://x:y"])
def test_no_server(text: str) -> None:
    with pytest.raises(ServerError, match=r"mail\.server"):
        parse_server(text)


# --- a real server -----------------------------------------------------------------------------------------------


@pytest.fixture
def start() -> Iterator[Start]:
    """Start mail servers; each answers on a port of 127.0.0.1 until the test ends."""
    with servers() as start:
        yield start


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This test trusts the authority, as a machine does that names it in SSL_CERT_FILE."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


def send(
    server: str,
    *recipients: str,
    username: str | None = None,
    password: str | None = None,
    seconds: float = 600,
    **settings: Any,
) -> list[DeliveryResult]:
    session = SmtpSession(
        parse_server(server), username=username, password=password, deadline=time.monotonic() + seconds, **settings
    )
    data = b"Subject: s\r\n\r\nfirst\r\n.dot\r\n"
    answers = [session.send(NOTICE, to, "c@example.com", data) for to in recipients or ("ann@example.com",)]
    session.close()
    return answers


SENT = DeliveryResult(result="sent")


@pytest.mark.slow
def test_plain_to_this_machine(start: Start) -> None:
    post = start()
    assert send(f"smtp+plain://localhost:{post.port}") == [SENT]
    assert post.taken[0].mail_from == "c@example.com"
    assert post.taken[0].rcpt_tos == ["ann@example.com"]
    assert post.taken[0].content == b"Subject: s\r\n\r\nfirst\r\n.dot\r\n"


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
def test_starttls_and_login(start: Start, authority: trustme.CA) -> None:
    post = start(tls=certificate(authority), auth=True)
    assert send(f"smtp://localhost:{post.port}", username="me", password=PASSWORD) == [SENT]
    assert post.encrypted == [True]
    assert post.logins == [f"me:{PASSWORD}"]


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
def test_tls_from_the_first_byte_and_login(start: Start, authority: trustme.CA) -> None:
    post = start(tls=certificate(authority, "127.0.0.1"), from_first_byte=True, auth=True)
    assert send(f"smtps://127.0.0.1:{post.port}", username="me", password=PASSWORD) == [SENT]
    assert post.logins == [f"me:{PASSWORD}"]


@pytest.mark.slow
def test_several_mails_share_a_connection(start: Start) -> None:
    post = start()
    assert send(f"smtp+plain://127.0.0.1:{post.port}", *[f"a{n}@x.example" for n in range(20)]) == [SENT] * 20
    assert (len(post.taken), post.connections) == (20, 1)


@pytest.mark.slow
def test_each_recipient_has_a_result_of_their_own(start: Start) -> None:
    post = start()
    post.refuse = {"gone@x.example": "550 5.1.1 no such user", "full@x.example": "452 4.2.2 mailbox full"}
    post.refuse["bob@x.example"] = "530 5.7.0 Authentication required"
    people = ("gone@x.example", "full@x.example", "ann@x.example", "bob@x.example")
    answers = send(f"smtp+plain://127.0.0.1:{post.port}", *people)
    assert [answer.result for answer in answers] == ["refused", "deferred", "sent", "deferred"]
    assert answers[3].reason.endswith("530 5.7.0 Authentication required; set mail.username and mail.password")
    where = f"127.0.0.1:{post.port}"
    assert answers[0].reason == f"{where} does not take mail to gone@x.example: 550 5.1.1 no such user"
    assert answers[1].reason == f"{where} does not take mail to full@x.example: 452 4.2.2 mailbox full"
    assert [envelope.rcpt_tos for envelope in post.taken] == [["ann@x.example"]]


# What the server says at which point; what becomes of the mail.
SAID = [
    ("refuse_data", "554 5.7.1 spam", "refused", "does not take the mail: 554 5.7.1 spam"),
    ("refuse_data", "451 4.3.0 later", "deferred", "does not take the mail: 451 4.3.0 later"),
    ("refuse_sender", "553 5.1.8 who?", "deferred", "from c@example.com: 553 5.1.8 who?; is mail.from right?"),
    ("refuse_sender", "451 4.3.0 later", "deferred", "from c@example.com: 451 4.3.0 later"),
    ("refuse_sender", "530 5.7.0 log in", "deferred", "530 5.7.0 log in; set mail.username and mail.password"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("where", "said", "result", "reason"), SAID)
def test_what_the_server_says_is_told(start: Start, where: str, said: str, result: str, reason: str) -> None:
    post = start()
    setattr(post, where, said)
    (answer,) = send(f"smtp+plain://127.0.0.1:{post.port}")
    assert answer.result == result
    assert reason in answer.reason


@pytest.mark.slow
def test_a_server_that_has_enough_of_a_connection_gets_a_new_one(start: Start) -> None:
    post = start()
    post.most = 2
    answers = send(f"smtp+plain://127.0.0.1:{post.port}", *[f"a{n}@x.example" for n in range(5)])
    assert [answer.result for answer in answers] == ["sent", "sent", "deferred", "sent", "sent"]
    assert post.connections == 2


# --- trust -------------------------------------------------------------------------------------------------------

UNTRUSTED = [
    # the certificate's names, expired, from a trusted authority, what is said
    (("localhost",), False, False, "unable to get local issuer certificate"),
    (("other.example",), False, True, "Hostname mismatch, certificate is not valid for 'localhost'"),
    (("localhost",), True, True, "certificate has expired"),
]


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize(("names", "expired", "known", "said"), UNTRUSTED)
def test_a_bad_certificate_means_that_nothing_is_sent(
    start: Start, authority: trustme.CA, scheme: str, names: tuple[str, ...], expired: bool, known: bool, said: str
) -> None:
    issuer = authority if known else trustme.CA()
    post = start(tls=certificate(issuer, *names, expired=expired), from_first_byte=scheme == "smtps", auth=True)
    server = f"{scheme}://localhost:{post.port}"
    answers = send(server, "a@x.example", "b@x.example", username="me", password=PASSWORD)
    assert [answer.result for answer in answers] == ["deferred", "deferred"]
    assert said in answers[0].reason
    assert "so nothing was sent; repair the certificate" in answers[0].reason
    assert (post.taken, post.logins) == ([], [])
    assert post.connections <= 1  # the second recipient does not try once more


@pytest.mark.slow
def test_a_server_without_starttls_gets_neither_mail_nor_password(start: Start) -> None:
    post = start()
    (answer,) = send(f"smtp://127.0.0.1:{post.port}", username="me", password=PASSWORD)
    assert answer.result == "deferred"
    assert "offers no STARTTLS, so nothing was sent; smtps:// is for servers that start with TLS" in answer.reason
    assert (post.taken, post.logins) == ([], [])


@pytest.mark.slow
def test_tls_to_a_server_without_it_says_so(start: Start) -> None:
    post = start()
    (answer,) = send(f"smtps://127.0.0.1:{post.port}")
    assert answer.result == "deferred"
    assert "does not speak TLS from the first byte" in answer.reason


def test_plain_never_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 25))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: there)
    (answer,) = send("smtp+plain://localhost")
    assert answer.result == "deferred"
    assert "smtp+plain:// is for this machine only" in answer.reason


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_told_and_never_shown(start: Start, authority: trustme.CA) -> None:
    post = start(tls=certificate(authority), auth=True)
    answers = send(f"smtp://localhost:{post.port}", "a@x.example", "b@x.example", username="me", password="wrong-wrong")
    assert [answer.result for answer in answers] == ["deferred", "deferred"]
    assert "refused the login: 535" in answers[0].reason
    assert "check mail.username and mail.password" in answers[0].reason
    assert "wrong-wrong" not in str(answers)
    assert post.taken == []


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("password", ["nul\0-nul-nul", None])
def test_a_password_that_cannot_be_sent_is_told(start: Start, authority: trustme.CA, password: str | None) -> None:
    post = start(tls=certificate(authority), auth=True)
    (answer,) = send(f"smtp://localhost:{post.port}", username="me", password=password)
    assert answer.result == "deferred"
    assert "mail.password" in answer.reason
    assert "nul-nul" not in answer.reason


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("password", ["pässwörd-пароль-密码", "é" * 300])
def test_a_login_may_have_any_letters(start: Start, authority: trustme.CA, mechanism: str, password: str) -> None:
    post = start(tls=certificate(authority), auth=True, without={"PLAIN", "LOGIN"} - {mechanism})
    post.password = password
    assert send(f"smtp://localhost:{post.port}", username="zoë", password=password) == [SENT]
    assert post.logins == [f"zoë:{password}"]


@pytest.mark.slow
@pytest.mark.parametrize("hello", ["batch.example.com", "[192.0.2.1]"])
def test_the_name_after_ehlo_is_what_it_is_told(start: Start, hello: str) -> None:
    post = start()
    assert send(f"smtp+plain://localhost:{post.port}", hello=hello) == [SENT]
    assert post.greetings == [hello]


@pytest.mark.slow
def test_a_login_that_the_server_does_not_know_is_told(start: Start) -> None:
    post = start()
    (answer,) = send(f"smtp+plain://127.0.0.1:{post.port}", username="me", password=PASSWORD)
    assert answer.result == "deferred"
    assert "takes no login; remove mail.username" in answer.reason


@pytest.fixture
def play() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Start servers that play one scene for each connection, and give their port."""
    stops: list[Callable[[], None]] = []

    def play(scene: Callable[[socket.socket], None]) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        threads: list[threading.Thread] = []

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                scene(connection)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.settimeout(600)
                    threads.append(threading.Thread(target=one, args=[connection], daemon=True))
                    threads[-1].start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def stop() -> None:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            for each in (thread, *threads):
                each.join(60)

        stops.append(stop)
        return int(listening.getsockname()[1])

    yield play
    for stop in stops:
        stop()


Play = Callable[[Callable[[socket.socket], None]], int]


def talk(*answers: bytes) -> Callable[[socket.socket], None]:
    """A scene: greet, give each line of the client the next answer, then hang up."""

    def scene(connection: socket.socket) -> None:
        with connection.makefile("rwb", buffering=0) as file:
            for answer in answers:
                file.write(answer)
                if not file.readline():
                    return

    return scene


GREETING, OK = b"220 hello\r\n", b"250 fine\r\n"


def asks_for_token(*offered: str, takes: str, seen: list[bytes]) -> Callable[[socket.socket], None]:
    """A scene: a server with these logins, of which it takes what *takes*, base64, says."""

    def scene(connection: socket.socket) -> None:
        with connection.makefile("rwb", buffering=0) as file:
            file.write(GREETING)
            for line in file:
                word, _, rest = line.strip().partition(b" ")
                seen.append(line.strip())
                match word.upper():
                    case b"EHLO":
                        file.write(b"250-hello\r\n250 AUTH " + " ".join(offered).encode() + b"\r\n")
                    case b"AUTH":
                        _, _, first = rest.partition(b" ")
                        if not first:
                            file.write(b"334 \r\n")
                            first = file.readline().strip()
                        if base64.b64decode(first).decode() == takes:
                            file.write(b"235 2.7.0 welcome\r\n")
                            continue
                        told = base64.b64encode(b'{"status":"401","schemes":"Bearer","scope":"https://mail.example/"}')
                        file.write(b"334 " + told + b"\r\n")
                        seen.append(file.readline())
                        file.write(b"535 5.7.8 not accepted\r\n")
                    case b"DATA":
                        file.write(b"354 go\r\n")
                        while file.readline() != b".\r\n":
                            pass
                        file.write(OK)
                    case _:
                        file.write(OK)

    return scene


TOKENS = [
    # what the server offers, token, what it takes as an answer
    (("PLAIN", "XOAUTH2"), "token-token", "user=me@x\x01auth=Bearer token-token\x01\x01"),
    (("XOAUTH2", "OAUTHBEARER"), "t" * 2000, f"user=me@x\x01auth=Bearer {'t' * 2000}\x01\x01"),
    (("OAUTHBEARER",), "token-token", "n,a=me@x,\x01auth=Bearer token-token\x01\x01"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("offered", "token", "takes"), TOKENS)
def test_a_token_logs_in(play: Play, offered: tuple[str, ...], token: str, takes: str) -> None:
    seen: list[bytes] = []
    port = play(asks_for_token(*offered, takes=takes, seen=seen))
    server = f"smtp+plain://127.0.0.1:{port}"
    assert send(server, username="me@x", password=token, kind="oauth2") == [SENT]
    assert max(map(len, [line for line in seen if line.startswith(b"AUTH")])) < 510


@pytest.mark.slow
@pytest.mark.parametrize(("name", "last"), [("XOAUTH2", b"\r\n"), ("OAUTHBEARER", b"AQ==\r\n")])
def test_a_token_that_is_not_taken_is_told_with_the_reason_and_never_shown(play: Play, name: str, last: bytes) -> None:
    seen: list[bytes] = []
    port = play(asks_for_token(name, takes="another", seen=seen))
    (answer,) = send(f"smtp+plain://127.0.0.1:{port}", username="me@x", password="token-token", kind="oauth2")
    assert answer.result == "deferred"
    assert "refused the login: 535 5.7.8 not accepted (status 401, scope https://mail.example/)" in answer.reason
    assert "token-token" not in answer.reason
    assert last in seen


OFFERS = [
    # what the server offers, what our secret is, what is said and advised
    (("XOAUTH2",), "password", "offers the login by XOAUTH2, and we know PLAIN, LOGIN and CRAM-MD5 for a password",
     "write `login: oauth2` in mail, and an access token as mail.password"),
    (("GSSAPI", "NTLM"), "password",
     "offers the login by GSSAPI and NTLM, and we know PLAIN, LOGIN and CRAM-MD5 for a password",
     "ask who runs the server for one of these"),
    (("PLAIN",), "oauth2", "offers the login by PLAIN, and we know XOAUTH2 and OAUTHBEARER for an access token",
     "write `login: password` in mail, and a password as mail.password"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("offered", "kind", "said", "hint"), OFFERS)
def test_a_login_that_we_cannot_do_is_told_with_what_both_know(
    play: Play, offered: tuple[str, ...], kind: str, said: str, hint: str
) -> None:
    port = play(asks_for_token(*offered, takes="", seen=[]))
    (answer,) = send(f"smtp+plain://127.0.0.1:{port}", username="me@x", password=PASSWORD, kind=kind)
    assert answer == DeliveryResult(result="deferred", reason=f"127.0.0.1:{port} {said}; {hint}")


# --- certificates of ours ----------------------------------------------------------------------------------------


def demanding(authority: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    """What a server speaks that wants a certificate of *authority*."""
    context = certificate(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    context.maximum_version = version
    return context


def shown(cert: trustme.LeafCert, *, apart: bool) -> ClientCertificate:
    chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems).decode()
    key = cert.private_key_pem.bytes().decode()
    return ClientCertificate(chain=chain, key=key) if apart else ClientCertificate(chain=f"{chain}\n{key}")


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_that_asks_for_a_certificate_gets_ours(
    start: Start, authority: trustme.CA, scheme: str, version: ssl.TLSVersion
) -> None:
    post = start(tls=demanding(authority, version), from_first_byte=scheme == "smtps")
    server = f"{scheme}://localhost:{post.port}"
    ours = authority.issue_cert("batch@example.com")
    for apart in (True, False):
        assert send(server, certificate=shown(ours, apart=apart)) == [SENT]
    assert len(post.taken) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_that_does_not_get_the_certificate_that_it_wants_is_told(
    play: Play, authority: trustme.CA, scheme: str, version: ssl.TLSVersion
) -> None:
    context = demanding(authority, version)

    def scene(connection: socket.socket) -> None:
        if scheme == "smtp":
            talk(GREETING, b"250-hello\r\n250 STARTTLS\r\n")(connection)
            connection.sendall(b"220 go\r\n")
        with suppress(ssl.SSLError), connection.dup() as wire:
            context.wrap_socket(wire, server_side=True)
        silent(connection)

    server = f"{scheme}://localhost:{play(scene)}"
    (without,) = send(server)
    assert without.result == "deferred"
    assert "certificate of ours" in without.reason
    assert without.reason.endswith("; set mail.certificate, and mail.key when its key is in another file")
    (strange,) = send(server, certificate=shown(trustme.CA().issue_cert("batch@example.com"), apart=True))
    assert "does not take the certificate of mail.certificate (unknown ca)" in strange.reason


@pytest.mark.slow
def test_a_certificate_that_cannot_be_used_is_told(start: Start, authority: trustme.CA) -> None:
    post = start(tls=certificate(authority), from_first_byte=True)
    ours, other = (shown(trustme.CA().issue_cert("a@x.example"), apart=True) for _ in range(2))
    for bad, said in (
        (ClientCertificate(chain="nothing"), "mail.certificate is no certificate in PEM with its key; name a file"),
        (ClientCertificate(chain=ours.chain), "mail.certificate is no certificate in PEM with its key; name a file"),
        (ClientCertificate(chain=ours.chain, key=other.key), "mail.certificate and mail.key do not belong together"),
    ):
        (answer,) = send(f"smtps://localhost:{post.port}", certificate=bad)
        assert answer.result == "deferred"
        assert answer.reason.startswith(said)


@pytest.mark.slow
def test_a_server_that_waits_for_tls_is_told(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    port = play(silent)
    monkeypatch.setattr(smtp_connection, "PATIENCE", 0.3)
    (answer,) = send(f"smtp://127.0.0.1:{port}")
    assert answer.reason.endswith(f"; a server that starts with TLS is written smtps://127.0.0.1:{port}")
    monkeypatch.setattr(smtp_connection, "_connect", lambda *_: (_ for _ in ()).throw(TimeoutError()))
    (answer,) = send("smtp://mail.example.com:465")
    assert answer.reason.endswith("; a server that starts with TLS is written smtps://mail.example.com:465")


# --- servers that break ------------------------------------------------------------------------------------------


SCENES = [
    # the answers, one for each line of the client      what is said
    ([], "cannot be reached: Connection unexpectedly closed"),
    ([b"554 go away\r\n"], "cannot be reached: 554 go away"),
    ([b"421 busy\r\n"], "cannot be reached: 421 busy"),
    ([b"\x00\xff\x1b[2J\r\n"], "cannot be reached: -1"),
    ([b"220 " + b"x" * 20_000 + b"\r\n"], "cannot be reached: 500 Line too long."),
    ([GREETING], "broke off before the first mail"),
    ([GREETING, OK], "broke off: Connection unexpectedly closed"),
    ([GREETING, OK, b"421 busy\r\n"], "does not take mail from c@example.com: 421 busy"),
    ([GREETING, OK, OK], "broke off: Connection unexpectedly closed"),
    ([GREETING, OK, OK, b"421 busy\r\n"], "does not take mail to ann@example.com: 421 busy"),
    ([GREETING, OK, OK, b"xyz\r\n"], "does not take mail to ann@example.com: -1"),
    ([GREETING, OK, OK, OK], "broke off: Connection unexpectedly closed"),
    ([GREETING, OK, OK, OK, b"451 later\r\n"], "does not take the mail: 451 later"),
    ([GREETING, OK, OK, OK, b"354 go\r\n"], "broke off: Connection unexpectedly closed"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("answers", "said"), SCENES)
def test_a_server_that_breaks_off_anywhere_defers(play: Play, answers: list[bytes], said: str) -> None:
    (answer,) = send(f"smtp+plain://127.0.0.1:{play(talk(*answers))}")
    assert answer.result == "deferred"
    assert said in answer.reason
    assert answer.reason.isprintable()


@pytest.mark.slow
def test_a_cut_after_the_mail_defers_it_and_the_next_one_is_tried(play: Play) -> None:
    port = play(talk(GREETING, OK, OK, OK, b"354 go\r\n"))
    answers = send(f"smtp+plain://127.0.0.1:{port}", "a@x.example", "b@x.example")
    assert ["broke off" in answer.reason for answer in answers] == [True, True]


def test_a_server_that_is_down_defers_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    answers = send(f"smtp+plain://127.0.0.1:{port}", "a@x.example", "b@x.example")
    reason = f"127.0.0.1:{port} cannot be reached: Connection refused; is mail.server right?"
    assert answers == [DeliveryResult(result="deferred", reason=reason)] * 2


@pytest.mark.slow
def test_a_host_that_does_not_exist_is_told() -> None:
    (answer,) = send("smtp://mail.invalid")
    assert answer.result == "deferred"
    assert answer.reason.startswith("mail.invalid:587 cannot be reached: the host name is not found (")


def test_a_host_name_that_is_none_is_told() -> None:
    (answer,) = send(f"smtp://{'a' * 70}.example")
    assert "the host name is not found" in answer.reason


def dribble(connection: socket.socket) -> None:
    """One byte of a greeting that never ends, again and again: no single wait is long."""
    connection.sendall(b"220-")
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)


def dribble_later(connection: socket.socket) -> None:
    talk(GREETING, OK)(connection)
    dribble(connection)


def dribble_tls(connection: socket.socket) -> None:
    """The same inside the handshake."""
    connection.sendall(b"\x16\x03\x03\x40\x00")
    while True:
        connection.sendall(b"\x02")
        time.sleep(0.1)


def dribble_starttls(connection: socket.socket) -> None:
    talk(GREETING, b"250-hello\r\n250 STARTTLS\r\n", b"220 go\r\n")(connection)
    dribble_tls(connection)


def silent(connection: socket.socket) -> None:
    while connection.recv(9999):
        pass


def silent_after_mail(connection: socket.socket) -> None:
    talk(GREETING, OK, OK, OK, b"354 go\r\n")(connection)
    silent(connection)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("scene", [silent, dribble, dribble_later, dribble_tls, dribble_starttls, silent_after_mail])
@pytest.mark.parametrize("scheme", ["smtp+plain", "smtp", "smtps"])
def test_a_server_that_hangs_costs_no_more_than_the_deadline(
    play: Play, scheme: str, scene: Callable[[socket.socket], None]
) -> None:
    (answer,) = send(f"{scheme}://127.0.0.1:{play(scene)}", seconds=1)
    assert answer.result == "deferred"


@pytest.mark.slow
def test_a_resolver_that_hangs_costs_no_more_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: done.wait() and [])
    (answer,) = send("smtp://mail.example.com", seconds=0.5)
    done.set()
    assert answer.reason == "mail.example.com:587 cannot be reached: no answer in time; is mail.server right?"


@pytest.mark.slow
def test_one_slow_mail_leaves_time_for_the_others(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is given up at its recipient, long before the deadline of all."""
    scenes = iter([silent_before_recipient, talk(GREETING, OK, OK, OK, b"354 go\r\n", OK)])
    server = parse_server(f"smtp+plain://127.0.0.1:{play(lambda one: next(scenes)(one))}")
    session = SmtpSession(server, username=None, password=None, deadline=time.monotonic() + 100_000)
    monkeypatch.setattr(smtp, "PATIENCE", 0.3)
    slow = session.send(NOTICE, "a@x.example", "c@example.com", b"Subject: s\r\n\r\nfirst\r\n")
    monkeypatch.undo()
    other = session.send(NOTICE, "b@x.example", "c@example.com", b"Subject: s\r\n\r\nfirst\r\n")
    session.close()
    assert slow.result == "deferred"
    assert "no answer in time" in slow.reason
    assert other == SENT


def silent_before_recipient(connection: socket.socket) -> None:
    talk(GREETING, OK, OK)(connection)
    silent(connection)


@pytest.mark.slow
def test_a_server_that_thinks_long_about_a_mail_gets_one_copy(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the answer to the mail itself, nothing but the deadline counts: every other answer is waited for shortly."""
    waits: list[float] = []
    wait = smtp_connection.SmtpConnection.wait

    def noted(line: smtp_connection.SmtpConnection, seconds: float) -> None:
        waits.append(seconds)
        wait(line, seconds)

    monkeypatch.setattr(smtp_connection.SmtpConnection, "wait", noted)

    def thinks(connection: socket.socket) -> None:
        with connection.makefile("rwb", buffering=0) as file:
            for answer in (GREETING, OK, OK, OK, b"354 go\r\n"):
                file.write(answer)
                file.readline()
            while file.readline() != b".\r\n":
                pass
            told.append(waits[-1])
            file.write(OK)
            file.readline()

    told: list[float] = []
    assert send(f"smtp+plain://127.0.0.1:{play(thinks)}", seconds=100_000) == [SENT]
    assert told[0] > 1000 > smtp_connection.PATIENCE >= waits[0]


@pytest.mark.slow
def test_a_server_that_repeats_the_password_does_not_put_it_into_a_record(play: Play) -> None:
    def parrot(connection: socket.socket) -> None:
        with connection.makefile("rwb", buffering=0) as file:
            file.write(GREETING)
            file.readline()
            file.write(b"250-hello\r\n250 AUTH PLAIN\r\n")
            said = file.readline().strip()
            file.write(b"535 " + said + b" is wrong, " + PASSWORD.encode() + b"\r\n")
            file.readline()

    (answer,) = send(f"smtp+plain://127.0.0.1:{play(parrot)}", username="me", password=PASSWORD)
    assert "535 AUTH PLAIN *** is wrong, ***" in answer.reason


# --- from a run to the wire --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
def test_a_mail_arrives_as_it_was_meant(start: Start, authority: trustme.CA, tmp_path: Path) -> None:
    post = start(tls=certificate(authority), auth=True)
    post.refuse = {"gone@x.example": "550 no such user", "full@x.example": "452 mailbox full"}
    begun = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
    run = ended_run(
        connection="crm",
        run=12,
        outcome=Outcome.PARTIAL,
        trigger="schedule",
        due_at=begun,
        queued_at=begun,
        started_at=begun,
        ended_at=begun,
        seconds=3,
        counts=Counts(read=2, checked=2, created=1, invalid=1),
        message="1 of 2 rows was refused: «Łódź» <b>",
    )
    recipients = ("gone@x.example", "full@x.example", "ann@x.example")
    notice = Notice(id="crm.12.partial.t", connection="crm", run=12, event="partial", recipients=recipients)
    recorded: list[DeliveryRecord] = []
    send_pending(
        [
            PendingNotice(
                notice=notice,
                recipients=recipients,
                at=run.ended_at,
                run=run,
                background=Background(title="Klanten & Übersicht 日本語"),
            )
        ],
        account=MailAccount(
            mail=Mail(server=f"smtp://localhost:{post.port}", sender="Gegevens, Team Ü <c@example.com>"),
            username="me",
            password=PASSWORD,
            mailbox=tmp_path / "mail",
        ),
        channels=ChannelSecrets(reveal=str, hide=lambda _, text: text),
        workspace=tmp_path,
        deadline=time.monotonic() + 600,
        record=recorded.append,
    )
    assert [record["result"] for record in recorded] == ["refused", "deferred", "sent"]
    assert len(post.taken) == 1
    assert set(post.greetings) == {"example.com"}, "the sender's domain, unless mail.hello says another name"
    mail = post.mail()
    assert mail["Subject"] == "Klanten & Übersicht 日本語: run 12 partial, 1 row refused"
    assert mail["To"] == "ann@x.example"
    assert mail["From"].addresses[0].display_name == "Gegevens, Team Ü"
    assert mail["Message-ID"].startswith("<crm.12.partial.t.")
    text, html = (part.get_content() for part in mail.iter_parts())
    assert "1 of 2 rows was refused: «Łódź» <b>" in text
    assert "1 of 2 rows was refused: «Łódź» &lt;b&gt;" in html
    content = post.taken[0].content
    assert isinstance(content, bytes)
    content.decode("ascii")
    assert not (tmp_path / "mail").exists()


# --- many people, and people with names ----------------------------------------------------------------------------


def handed_over(tmp_path: Path, notice: Notice, post: Post, *, sender: str, reply_to: str = "") -> dict[str, list[str]]:
    """Tell everybody of *notice*; return who got which result."""
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
    )
    results: dict[str, list[str]] = {}
    send_pending(
        [
            PendingNotice(
                notice=notice,
                recipients=notice.recipients,
                at=at,
                run=run,
                background=Background(title="crm"),
                reply_to=reply_to,
            )
        ],
        account=MailAccount(
            mail=Mail(server=f"smtp+plain://127.0.0.1:{post.port}", sender=sender),
            username=None,
            password=None,
            mailbox=tmp_path / "mail",
        ),
        channels=ChannelSecrets(reveal=str, hide=lambda _, text: text),
        workspace=tmp_path,
        deadline=time.monotonic() + 600,
        record=lambda record: results.setdefault(record["result"], []).append(record["recipient"]),
    )
    return results


@pytest.mark.slow
@pytest.mark.thorough
def test_two_hundred_people_and_one_who_is_refused(start: Start, tmp_path: Path) -> None:
    post = start()
    people = tuple(f'"Nº {number}, \\"the\\" Reader" <reader-{number}@münchen.example>' for number in range(200))
    post.refuse = {"reader-77@xn--mnchen-3ya.example": "550 5.1.1 no such user"}
    copies = ('"Boss, Big" <boss@x.example>', "zoë@x.example")
    notice = Notice(
        id="crm.12.recovered.t",
        connection="crm",
        run=12,
        event="recovered",
        recipients=(*people, *copies),
        target="readers",
        cc=copies,
        replies_to="crm.9.failing.t",
        facts={"since": "2026-11-22T00:30:00Z", "failures": 3, "first_run": 9, "between": {"failed": 3}},
    )
    results = handed_over(
        tmp_path, notice, post, sender='"Data, the \\"Team\\" Ü" <c@exämple.com>', reply_to="Ü <u@x.example>"
    )
    assert results == {
        "sent": [one for one in people if "-77@" not in one] + [copies[0]],
        "refused": [people[77], copies[1]],
    }
    assert len(post.taken) == 200
    assert post.connections == 1
    assert len({post.mail(number)["Message-ID"] for number in range(200)}) == 200
    for number in (0, 3, 150):
        mail = post.mail(number)
        reader = number + (number >= 77)
        assert post.taken[number].mail_from == "c@xn--exmple-cua.com"
        assert post.taken[number].rcpt_tos == [f"reader-{reader}@xn--mnchen-3ya.example"]
        assert people_of(mail, "To") == [(f'Nº {reader}, "the" Reader', f"reader-{reader}@xn--mnchen-3ya.example")]
        assert people_of(mail, "From") == [('Data, the "Team" Ü', "c@xn--exmple-cua.com")]
        assert people_of(mail, "Cc") == [("Boss, Big", "boss@x.example")]
        assert people_of(mail, "Reply-To") == [("Ü", "u@x.example")]
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["List-Unsubscribe"] == "<mailto:u@x.example?subject=unsubscribe%20readers>"
        assert mail["References"] == mail["In-Reply-To"]
        assert mail["In-Reply-To"].startswith("<crm.9.failing.t.")
    copy = post.mail(199)
    assert post.taken[199].rcpt_tos == ["boss@x.example"]
    assert (copy["To"], people_of(copy, "Cc")) == ("readers:;", [("Boss, Big", "boss@x.example")])
    for envelope in post.taken:
        assert isinstance(envelope.content, bytes)
        envelope.content.decode("ascii")


def people_of(mail: EmailMessage, header: str) -> list[tuple[str, str]]:
    return [(one.display_name, one.addr_spec) for one in mail[header].addresses]


@pytest.mark.slow
def test_a_mailbox_beyond_ascii_needs_a_server_that_knows_it(start: Start, tmp_path: Path) -> None:
    post = start(utf8=True)
    recipients = ("用户@例え.example", "Zoë <zoë@x.example>", "ann@x.example")
    notice = Notice(id="n", connection="crm", run=12, event="failed", recipients=recipients)
    assert handed_over(tmp_path, notice, post, sender="c@x.example") == {"sent": list(recipients)}
    assert [envelope.rcpt_tos for envelope in post.taken] == [
        ["用户@xn--r8jz45g.example"],
        ["zoë@x.example"],
        ["ann@x.example"],
    ]
    content = post.taken[1].content
    assert isinstance(content, bytes)
    assert "<zoë@x.example>" in content.decode("utf-8")
    assert [envelope.smtp_utf8 for envelope in post.taken] == [True, True, False]
