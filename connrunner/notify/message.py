"""
One mail for one recipient, as bytes that nothing in a name or a template can bend.

Each recipient gets a message of their own: addresses are not shown to each other, and each has its own result.
"""

from __future__ import annotations

import re
from datetime import datetime
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, default
from hashlib import sha256

from connrunner.core.notice import Notice
from connrunner.errors import ConnrunnerError
from connrunner.notify import plain
from connrunner.notify.render import Rendered

# 7bit: every server takes it, also one without 8BITMIME.
POLICY = SMTP.clone(cte_type="7bit")
LONGEST_SUBJECT = 200
LONGEST_NAME = 60  # a longer display name is folded wrongly by some releases of Python
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


class AddressError(ConnrunnerError):
    """An address that no mail can go to or come from."""


class MessageError(ConnrunnerError):
    """A mail that would not arrive as it was meant."""


def address(text: str) -> str:
    """Return *text* when it is one plain ASCII address, `name@domain`; AddressError otherwise."""
    if not _ADDRESS.fullmatch(text) or "=?" in text or ".." in text or text.startswith(".") or ".@" in text:
        raise AddressError(f"{plain.line(text, 80)!r} is not an e-mail address", hint="write it as name@example.com")
    return text


def sender(text: str) -> Address:
    """Return the sender that `mail.from` says: `name@domain` or `Any Name <name@domain>`."""
    name, bracket, rest = text.strip().rpartition("<")
    if not bracket:
        return Address(addr_spec=address(rest))
    if not rest.endswith(">"):
        raise AddressError(f"{plain.line(text, 80)!r} is not a sender", hint="write it as Name <name@example.com>")
    name = re.sub(r'^"(.*)"$', r"\1", name.strip())
    return Address(display_name=_value(name, LONGEST_NAME), addr_spec=address(rest[:-1]))


def build(notice: Notice, recipient: str, rendered: Rendered, *, source: Address, at: datetime) -> bytes:
    """
    Return the mail as bytes with CRLF line ends.

    The Message-ID is the same for each repeat to the same recipient. AddressError when *recipient* cannot be written
    to, MessageError when the finished bytes, read back, have other headers or recipients than intended.
    """
    to = address(recipient)
    message = EmailMessage(POLICY)
    message["From"] = source
    message["To"] = Address(addr_spec=to)
    message["Subject"] = _value(rendered.subject, LONGEST_SUBJECT)
    message["Date"] = at
    message["Message-ID"] = message_id(notice, to, source)
    message["Auto-Submitted"] = "auto-generated"  # nobody's out-of-office answers it
    message["X-Connrunner-Connection"] = _value(notice.connection, 100)
    message["X-Connrunner-Run"] = str(notice.run)
    message.set_content(_body(rendered.text), cte="quoted-printable")
    if rendered.html is not None:
        message.add_alternative(_body(rendered.html), subtype="html", cte="quoted-printable")
    data = message.as_bytes()
    _verify(data, message, to, source)
    return data


def message_id(notice: Notice, recipient: str, source: Address) -> str:
    """Return the Message-ID of the mail about *notice* to *recipient*."""
    return f"<{notice.id}.{sha256(recipient.casefold().encode()).hexdigest()[:12]}@{source.domain}>"


def _value(text: str, limit: int) -> str:
    """A header's value. Python decodes encoded words in what it is given, line breaks and all (CVE-2024-6923)."""
    return plain.line(text, limit).replace("=?", "= ?")


def _body(text: str) -> str:
    return plain.lines(text, limit=len(text)) + "\n"


def _verify(data: bytes, meant: EmailMessage, recipient: str, source: Address) -> None:
    read = message_from_bytes(data, policy=default)
    names = sorted(name.lower() for name in read.keys())  # noqa: SIM118 - repeated names count
    if names != sorted(name.lower() for name in meant.keys()):  # noqa: SIM118
        raise MessageError(f"the finished mail has the headers {', '.join(names)}", hint="look for odd names in it")
    for header, expected in (("To", recipient), ("From", source.addr_spec)):
        found = [each.addr_spec for each in read[header].addresses]
        if found != [expected]:
            raise MessageError(f"the finished mail is {header.lower()} {', '.join(found)}, not {expected}")
