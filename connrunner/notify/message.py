"""
One mail for one recipient, as bytes that nothing in a name or a template can bend.

Each recipient gets a message of their own: addresses are not shown to each other, and each has its own result.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email import message_from_bytes, message_from_string
from email.message import EmailMessage, Message
from email.policy import SMTP, default
from hashlib import sha256
from urllib.parse import quote

from connrunner.core.alerts.notice import Notice
from connrunner.errors import ConnrunnerError
from connrunner.notify import mailbox
from connrunner.notify.encoded_words import format_text
from connrunner.notify.mailbox import Person
from connrunner.notify.render import RenderedMessage
from connrunner.notify.sanitize import clean_line, clean_lines

# 7bit: every server takes it, also one without 8BITMIME.
POLICY = SMTP.clone(cte_type="7bit")
LONGEST_SUBJECT = 200


class MessageError(ConnrunnerError):
    """A mail that would not arrive as it was meant."""


def build(
    notice: Notice, recipient: str, rendered: RenderedMessage, *, source: Person, at: datetime, reply_to: str = ""
) -> bytes:
    """
    Return the mail as bytes with CRLF line ends.

    The Message-ID is the same for each repeat to the same recipient; what follows another notice names that one's.
    AddressError when *recipient* cannot be written to, MessageError when the finished bytes, read back, have other
    headers or recipients than intended.
    """
    to = mailbox.parse_person(recipient)
    copies = _readable([mailbox.parse_person(one) for one in notice.cc], to)
    answer = _readable([mailbox.parse_person(reply_to)] if reply_to else [], to)
    # Somebody in copy sees whom the mail is for by the target's name: the addresses are not shown.
    addressees = [] if recipient in notice.cc else [to]
    lines = [
        mailbox.format_header("From", [source]),
        mailbox.format_header("To", addressees)
        if addressees
        else mailbox.format_group("To", notice.target or notice.connection),
        mailbox.format_header("Cc", copies) if copies else "",
        mailbox.format_header("Reply-To", answer) if answer else "",
        f"Message-ID: {message_id(notice.id, recipient, source)}\r\n",
        *_thread(notice, recipient, source),
        _unsubscribe(notice, (answer or [source])[0]),
        format_text("Subject", _value(rendered.subject, LONGEST_SUBJECT)),
        format_text("X-Connrunner-Connection", _value(notice.connection, 100)) if notice.connection else "",
    ]
    message = EmailMessage(POLICY)
    message["Date"] = at
    message["Auto-Submitted"] = "auto-generated"  # nobody's out-of-office answers it (RFC 3834)
    if notice.run:
        message["X-Connrunner-Run"] = str(notice.run)
    message["X-Connrunner-Event"] = notice.event
    message.set_content(_body(rendered.text), cte="quoted-printable")
    if rendered.html is not None:
        message.add_alternative(_body(rendered.html), subtype="html", cte="quoted-printable")
    data = "".join(lines).encode("utf-8") + message.as_bytes()
    meant = [line.partition(":")[0] for line in lines if line] + list(message.keys())
    _verify(data, meant, {"From": [source], "To": addressees, "Cc": copies, "Reply-To": answer})
    return data


def _readable(people: Sequence[Person], to: Person) -> list[Person]:
    """Leave out whose mailbox would keep the mail from *to*: few servers take letters beyond ASCII in a mailbox."""
    return [one for one in people if to.needs_utf8 or not one.needs_utf8]


def message_id(notice: str, recipient: str, source: Person) -> str:
    """Return the Message-ID of the mail about *notice*, an id, to *recipient*."""
    return f"<{notice}.{sha256(recipient.casefold().encode()).hexdigest()[:12]}@{source.domain}>"


def _thread(notice: Notice, recipient: str, source: Person) -> Sequence[str]:
    if not notice.replies_to:
        return ()
    first = message_id(notice.replies_to, recipient, source)
    return (f"In-Reply-To: {first}\r\n", f"References: {first}\r\n")


def _unsubscribe(notice: Notice, to: Person) -> str:
    # Nobody is subscribed by a machine, so nobody is unsubscribed by one: a person reads it.
    subject = quote(f"unsubscribe {notice.target or notice.connection}"[:80])
    return f"List-Unsubscribe: <mailto:{quote(to.spec, safe='@+')}?subject={subject}>\r\n"


def _value(text: str, limit: int) -> str:
    """A header's value. Python decodes encoded words in what it is given, line breaks and all (CVE-2024-6923)."""
    return clean_line(text, limit).replace("=?", "= ?")


def _body(text: str) -> str:
    return clean_lines(text, limit=len(text)) + "\n"


def _verify(data: bytes, headers: Sequence[str], people: dict[str, Sequence[Person]]) -> None:
    read: Message = (
        message_from_bytes(data, policy=default)
        if data.isascii()
        else message_from_string(data.decode("utf-8"), policy=default.clone(utf8=True))
    )
    names = sorted(name.lower() for name in read.keys())  # noqa: SIM118 - repeated names count
    if names != sorted(name.lower() for name in headers):
        raise MessageError(f"the finished mail has the headers {', '.join(names)}", hint="look for odd names in it")
    for header, meant in people.items():
        there = getattr(read[header], "addresses", ())
        found = [(each.display_name, each.addr_spec) for each in there]
        # Some releases of Python read a space between two encoded words of a name.
        if [("".join(name.split()), spec) for name, spec in found] != [
            ("".join(one.name.split()), one.spec) for one in meant
        ]:
            said, wanted = (", ".join(spec for _, spec in found), ", ".join(one.spec for one in meant))
            raise MessageError(f"the finished mail is {header.lower()} {said}, not {wanted}")
