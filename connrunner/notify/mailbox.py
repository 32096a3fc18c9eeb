"""
People and their addresses, as they stand in headers and on the wire.

Python's own writing of addresses loses commas and quotes of names when it folds a long header, so it is done here: a
name is atoms, a quoted string (RFC 5322 3.2.4) or encoded words (RFC 2047), each address begins a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import idna

from connrunner.errors import ConnrunnerError
from connrunner.lazy_dataclasses import dataclass
from connrunner.notify.encoded_words import encode_words
from connrunner.notify.sanitize import clean_line

LONGEST_NAME = 60
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"(?=.{{1,64}}@)({_ATOM}(?:\.{_ATOM})*)@")
_WIDE_LOCAL = re.compile(r"[^\x00-\x20\x7f-\xa0\"(),:;<>@\[\\\]\u2028\u2029\ud800-\udfff]{1,64}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_WORDS = re.compile(rf"{_ATOM}(?: {_ATOM})*")


class AddressError(ConnrunnerError):
    """An address that no mail can go to or come from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Somebody with a mailbox."""

    name: str = ""
    local: str
    domain: str  # ASCII: a name beyond it is in its IDNA form

    @property
    def spec(self) -> str:
        """The mailbox alone, as a mail server is told."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """True when only a server with SMTPUTF8 (RFC 6531) can take mail for it."""
        return not self.local.isascii()


def parse_person(text: str) -> Person:
    """Return who `name@domain` or `Any Name <name@domain>` is; AddressError when it is nobody."""
    name, bracket, rest = text.strip(" ").rpartition("<")
    if bracket and not rest.endswith(">"):
        raise AddressError(f"{clean_line(text, 80)!r} is not a sender", hint="write it as Name <name@example.com>")
    if not bracket:
        return _mailbox(rest, text)
    name = name.strip()
    if quoted := re.fullmatch(r'"((?:[^"\\]|\\.)*)"', name, re.DOTALL):
        name = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
    # A reader decodes encoded words wherever they stand, line breaks and all.
    return _mailbox(rest[:-1], text, name=clean_line(name, LONGEST_NAME).replace("=?", "= ?"))


def _mailbox(spec: str, text: str, *, name: str = "") -> Person:
    local, at, domain = spec.rpartition("@")
    sound = at and "=?" not in spec and not {"", None} & set(local.split("."))
    if not sound or not (_LOCAL.fullmatch(f"{local}@") if local.isascii() else _WIDE_LOCAL.fullmatch(local)):
        raise _nobody(text)
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise _nobody(text) from None
    if not _DOMAIN.fullmatch(domain) or len(domain) > 253:
        raise _nobody(text)
    return Person(name=name, local=local, domain=domain)


def _nobody(text: str) -> AddressError:
    return AddressError(f"{clean_line(text, 80)!r} is not an e-mail address", hint="write it as name@example.com")


def format_header(field: str, people: Sequence[Person]) -> str:
    """Return the header *field* with *people* in it, folded, with its line end."""
    first, *others = people
    written = [_written(first, begun=len(field) + 2), *(_written(one, begun=1) for one in others)]
    return f"{field}: " + ",\r\n ".join(written) + "\r\n"


def format_group(field: str, name: str) -> str:
    """Return the header *field* with a group whose members stay unnamed (RFC 5322 3.4)."""
    return f"{field}: {_phrase(clean_line(name, LONGEST_NAME), begun=len(field) + 2)}:;\r\n"


def _written(one: Person, *, begun: int) -> str:
    return f"{_phrase(one.name, begun=begun)}\r\n <{one.spec}>" if one.name else one.spec


def _phrase(name: str, *, begun: int) -> str:
    """Return *name* as it stands in a line of which *begun* characters are written."""
    if not name.isascii():
        return encode_words(name, begun=begun)
    if _WORDS.fullmatch(name):
        return name
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
