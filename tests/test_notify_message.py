"""One mail for one recipient, as bytes that nothing in a name or a template can bend."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, message_from_string
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connrunner.core.alerts.notice import Notice
from connrunner.notify import mailbox, message
from connrunner.notify.mailbox import AddressError, Person, parse_person
from connrunner.notify.message import MessageError, build
from connrunner.notify.render import RenderedMessage

NOTICE = Notice(id="crm.12.failed.t1", connection="crm", run=12, event="failed", recipients=("ann@example.com",))
SOURCE = parse_person("connections@example.com")
AT = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "List-Unsubscribe",
    "X-Connrunner-Connection",
    "X-Connrunner-Event",
    "X-Connrunner-Run",
    "Content-Type",
    "MIME-Version",
}


def mail(
    *,
    subject: str = "s",
    text: str = "t",
    html: str | None = "<p>h</p>",
    recipient: str = "ann@example.com",
    source: Person = SOURCE,
    notice: Notice = NOTICE,
    reply_to: str = "",
) -> tuple[bytes, EmailMessage]:
    rendered = RenderedMessage(subject=subject, text=text, html=html)
    data = build(notice, recipient, rendered, source=source, at=AT, reply_to=reply_to)
    read = message_from_bytes(data, policy=default)
    assert isinstance(read, EmailMessage)
    return data, read


def test_a_mail_has_these_headers_and_two_parts() -> None:
    data, read = mail(subject="Käse", text="hé\n.\nFrom x", html="<p>é</p>")
    assert set(read.keys()) == HEADERS
    assert read["From"] == "connections@example.com"
    assert read["To"] == "ann@example.com"
    assert read["Subject"] == "Käse"
    assert read["Date"].datetime == AT
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["X-Connrunner-Connection"] == "crm"
    assert read["X-Connrunner-Run"] == "12"
    assert read.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]
    assert [part.get_content().replace("\r\n", "\n") for part in read.iter_parts()] == ["hé\n.\nFrom x\n", "<p>é</p>\n"]
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    data.decode("ascii")


def test_without_html_there_is_one_part() -> None:
    _, read = mail(html=None)
    assert set(read.keys()) == {*HEADERS, "Content-Transfer-Encoding"}
    assert read.get_content() == "t\r\n"


def test_the_message_id_is_that_of_the_notice_and_the_recipient() -> None:
    first = mail()[1]["Message-ID"]
    assert first == mail(subject="other", text="other")[1]["Message-ID"]
    assert first.startswith("<crm.12.failed.t1.")
    assert first.endswith("@example.com>")
    assert first != mail(recipient="bob@example.com")[1]["Message-ID"]


# What a name, a value or a template may try to put into a subject, and what stands there.
SUBJECTS = [
    ("a\r\nBcc: x@evil.example", "a Bcc: x@evil.example"),
    ("a\nBcc: x@evil.example", "a Bcc: x@evil.example"),
    ("a\r\n\r\nbody", "a body"),
    ("a\u2028Bcc: x@evil.example", "a Bcc: x@evil.example"),
    ("a\u2029b\x85c\x0bd\x0ce\x1cf", "a b c d e f"),
    ("a\0b\x1bc", "a b c"),
    ("=?utf-8?q?a=0D=0ABcc:_x@evil.example?=", "= ?utf-8?q?a=0D=0ABcc:_x@evil.example?="),
    ("=?utf-8?b?YQ0KQmNjOiB4QGV2aWwuZXhhbXBsZQ==?=", "= ?utf-8?b?YQ0KQmNjOiB4QGV2aWwuZXhhbXBsZQ== ?="),
    ("==??utf-8?q?=0Ax?=", "== ??utf-8?q?=0Ax?="),
    ("=\u200e?utf-8?q?=0Ax?=", "= ?utf-8?q?=0Ax?="),
    ("Ünïcode 日本語 👍", "Ünïcode 日本語 👍"),
    ("\ud800", "?"),
    ("x" * 5000, "x" * 199 + "…"),
    ("", ""),
]


@pytest.mark.parametrize(("subject", "stands"), SUBJECTS)
def test_no_subject_adds_a_header_or_a_recipient(subject: str, stands: str) -> None:
    data, read = mail(subject=subject)
    assert set(read.keys()) == HEADERS
    assert read["Subject"] == stands
    assert b"\nbcc:" not in data.lower()


@given(subject=st.text(), text=st.text(), html=st.text(), name=st.text(min_size=1), display=st.text())
@example(subject="=?utf-8?q?=0ABcc:_x@y?=", text="", html="", name="=?utf-8?q?=0A?=", display='", <x@y>, "')
def test_no_text_at_all_adds_a_header_or_a_recipient(
    subject: str, text: str, html: str, name: str, display: str
) -> None:
    notice = Notice(id="n", connection=name, run=1, event="failed", recipients=())
    try:
        source = parse_person(f"{display} <connections@example.com>")
    except AddressError:
        source = SOURCE
    _, read = mail(subject=subject, text=text, html=html, notice=notice, source=source)
    assert set(read.keys()) == HEADERS
    assert [to.addr_spec for to in read["To"].addresses] == ["ann@example.com"]
    assert [source.addr_spec for source in read["From"].addresses] == ["connections@example.com"]


ADDRESSES = [
    "ann@example.com",
    "Ann.O'Neil+x@sub.example.co",
    "a@localhost",
    "a_b-c@x-y.example",
    f"{'a' * 64}@b.example",
]
NOT_ADDRESSES = [
    "",
    "ann",
    "@example.com",
    "ann@",
    "ann@@example.com",
    "ann@example.com\n",
    "ann@example.com\r\nBcc: x@evil.example",
    "ann@example.com, x@evil.example",
    "ann@example.com> SIZE=1",
    '"a b"@example.com',
    "ann@exa mple.com",
    "=?utf-8?q?x?=@example.com",
    ".ann@example.com",
    "ann.@example.com",
    "a..b@example.com",
    "ann@.example.com",
    "ann@-x.example",
    "ann@example.com.",
    "ann@[127.0.0.1]",
    f"{'a' * 65}@b.example",
    "ann\0@example.com",
]


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address(text: str) -> None:
    assert parse_person(text).spec == text
    assert mail(recipient=text)[1]["To"] == text


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_not_an_address(text: str) -> None:
    with pytest.raises(AddressError, match="is not an e-mail address"):
        mail(recipient=text)


SENDERS = [
    # mail.from                                            name              address
    ("connections@example.com", "", "connections@example.com"),
    (" connections@example.com ", "", "connections@example.com"),
    ("Connections <c@example.com>", "Connections", "c@example.com"),
    ('"Data, Team" <c@example.com>', "Data, Team", "c@example.com"),
    ('The "Data" Team <c@example.com>', 'The "Data" Team', "c@example.com"),
    ("Ünal, Söhne & Co. <c@example.com>", "Ünal, Söhne & Co.", "c@example.com"),
    ("日本語 <c@example.com>", "日本語", "c@example.com"),
    ("<c@example.com>", "", "c@example.com"),
    ("a\r\nBcc: x <c@example.com>", "a Bcc: x", "c@example.com"),
]


@pytest.mark.parametrize(("text", "name", "spec"), SENDERS)
def test_a_sender_arrives_with_its_name(text: str, name: str, spec: str) -> None:
    _, read = mail(source=parse_person(text))
    (found,) = read["From"].addresses
    assert (found.display_name, found.addr_spec) == (name, spec)


def test_a_long_name_of_a_sender_is_cut_and_stays_one_address() -> None:
    for name in ("x" * 100 + ", y", "Ärger, " * 30, "日本語, " * 40, "a, " * 50):
        (found,) = mail(source=parse_person(f"{name} <c@example.com>"))[1]["From"].addresses
        assert found.addr_spec == "c@example.com"


@pytest.mark.parametrize("text", ["", "nobody", "a <b", "Name <a@b> x", "a@b, c@d", "<>"])
def test_not_a_person(text: str) -> None:
    with pytest.raises(AddressError):
        parse_person(text)


def test_a_mail_that_would_be_read_differently_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the cleaning had a hole: the release of Python decides whether a header comes out of it.
    monkeypatch.setattr(message, "_value", lambda text, limit: text)
    monkeypatch.setattr(EmailMessage, "as_bytes", lambda self: b"Bcc: x@evil.example\r\n\r\n")
    with pytest.raises(MessageError, match="has the headers bcc, from"):
        mail()


def test_a_mail_to_somebody_else_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mailbox.format_header
    monkeypatch.setattr(mailbox, "format_header", lambda field, people: whole(field, people).replace("ann@", "eve@"))
    with pytest.raises(MessageError, match=r"is to eve@example\.com, not ann@example\.com"):
        mail()


# --- who is told beside the recipient, and what it follows ---------------------------------------------------------


def test_those_in_copy_are_seen_by_all_and_see_the_name_of_the_target_only() -> None:
    notice = replace(
        NOTICE, recipients=("ann@example.com", "boss@example.com"), cc=("boss@example.com",), target="team"
    )
    _, to = mail(notice=notice)
    assert (to["To"], to["Cc"]) == ("ann@example.com", "boss@example.com")
    _, copy = mail(notice=notice, recipient="boss@example.com")
    assert (copy["To"], copy["Cc"]) == ("team:;", "boss@example.com")
    assert copy["To"].addresses == ()


def test_an_answer_and_a_farewell_go_where_the_target_says() -> None:
    _, read = mail(notice=replace(NOTICE, target="data-team"), reply_to='"Support, Data" <support@exämple.com>')
    (answer,) = read["Reply-To"].addresses
    assert (answer.display_name, answer.addr_spec) == ("Support, Data", "support@xn--exmple-cua.com")
    assert read["List-Unsubscribe"] == "<mailto:support@xn--exmple-cua.com?subject=unsubscribe%20data-team>"
    _, read = mail()
    assert read["List-Unsubscribe"] == "<mailto:connections@example.com?subject=unsubscribe%20crm>"


def test_what_follows_a_notice_names_its_mail_to_the_same_recipient() -> None:
    _, first = mail()
    _, later = mail(notice=replace(NOTICE, id="crm.15.recovered.t2", event="recovered", replies_to=NOTICE.id))
    assert later["In-Reply-To"] == later["References"] == first["Message-ID"]
    assert later["Message-ID"] != first["Message-ID"]
    assert first["In-Reply-To"] is None


def test_long_ids_are_not_folded_into_something_else() -> None:
    long = replace(NOTICE, id=".".join(["x" * 63, "1000000", "failing", "a" * 63, "token"]), replies_to="y" * 200)
    _, read = mail(notice=long)
    assert read["Message-ID"].startswith(f"<{long.id}.")
    assert read["In-Reply-To"].startswith(f"<{'y' * 200}.")


PEOPLE = [
    # text                                                 name                 mailbox on the wire
    ("zoe@münchen.example", "", "zoe@xn--mnchen-3ya.example"),
    ("zoe@BÜCHER.example", "", "zoe@xn--bcher-kva.example"),
    ("zoe@faß.example", "", "zoe@xn--fa-hia.example"),  # IDNA 2008: not fass.example
    ("Zoë Jansen <zoe@example.com>", "Zoë Jansen", "zoe@example.com"),
    ('"Jansen, Zoë" <zoe@example.com>', "Jansen, Zoë", "zoe@example.com"),
    (r'"Zoë \"Zo\" J." <zoe@example.com>', 'Zoë "Zo" J.', "zoe@example.com"),
    ("zoë@example.com", "", "zoë@example.com"),
    ("用户@例え.example", "", "用户@xn--r8jz45g.example"),
]


@pytest.mark.parametrize(("text", "name", "spec"), PEOPLE)
def test_names_and_domains_beyond_ascii_arrive(text: str, name: str, spec: str) -> None:
    who = parse_person(text)
    assert (who.name, who.spec) == (name, spec)
    data = build(NOTICE, text, RenderedMessage(subject="s", text="t", html=None), source=SOURCE, at=AT)
    assert data.isascii() is spec.isascii()
    read = message_from_string(data.decode(), policy=default)
    (found,) = read["To"].addresses
    assert (found.display_name, found.addr_spec) == (name, spec)


@given(name=st.text(), count=st.integers(1, 40))
def test_any_name_in_any_number_stays_one_address_each(name: str, count: int) -> None:
    one = Person(
        name=parse_person(f"{name} <a@example.com>").name if "<" not in name else "", local="a", domain="example.com"
    )
    text = mailbox.format_header("Cc", [one] * count)
    assert max(map(len, text.split("\r\n"))) <= 998
    read = message_from_string(text + "\r\n", policy=default)
    assert [each.addr_spec for each in read["Cc"].addresses] == ["a@example.com"] * count
