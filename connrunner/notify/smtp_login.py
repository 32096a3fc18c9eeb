"""Logging in at a mail server: with a password, or with an access token."""

from __future__ import annotations

import base64
import hmac
import json
import smtplib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Literal

from connrunner.errors import ConnrunnerError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.words import listed, one_line

LoginKind = Literal["password", "oauth2"]


class LoginError(ConnrunnerError):
    """A login that cannot be tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """With what we log in; *kind* says what the secret is."""

    username: str
    secret: str = field(repr=False)
    kind: LoginKind = "password"

    def spellings(self) -> list[str]:
        """Return the texts that hold the secret on the wire, which a server may repeat."""
        # As in AUTH LOGIN and AUTH PLAIN, XOAUTH2 and OAUTHBEARER; the latter names host and port before it.
        whole = (_plain(self), _xoauth2(self), self.secret.encode())
        return [*(base64.b64encode(text).decode() for text in whole), self.secret]


Answer = Callable[[Login, bytes], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mechanism:
    """How SASL asks for a secret: what we say first, None to wait, and what we answer to each challenge."""

    first: Callable[[Login], bytes] | None
    answers: tuple[Answer, ...] = ()


def _plain(login: Login) -> bytes:
    return f"\0{login.username}\0{login.secret}".encode()  # RFC 4616


def _digest(login: Login, challenge: bytes) -> bytes:
    proof = hmac.new(login.secret.encode(), challenge, "md5").hexdigest()
    return f"{login.username} {proof}".encode()  # RFC 2195


def _xoauth2(login: Login) -> bytes:
    return f"user={login.username}\x01auth=Bearer {login.secret}\x01\x01".encode()


def _oauthbearer(login: Login) -> bytes:
    name = login.username.replace("=", "=3D").replace(",", "=2C")
    return f"n,a={name},\x01auth=Bearer {login.secret}\x01\x01".encode()  # RFC 7628


MECHANISMS: dict[str, dict[str, Mechanism]] = {
    "password": {
        "PLAIN": Mechanism(first=_plain),
        "LOGIN": Mechanism(
            first=None, answers=(lambda one, _: one.username.encode(), lambda one, _: one.secret.encode())
        ),
        "CRAM-MD5": Mechanism(first=None, answers=(_digest,)),
    },
    # To a token that it does not take the server says why, and waits for an empty answer.
    "oauth2": {
        "XOAUTH2": Mechanism(first=_xoauth2, answers=(lambda *_: b"",)),
        "OAUTHBEARER": Mechanism(first=_oauthbearer, answers=(lambda *_: b"\x01",)),
    },
}


def authenticate(line: smtplib.SMTP, login: Login) -> None:
    """Log in by the first mechanism that both know, and the next one when it is refused.

    LoginError when there is none; SMTPAuthenticationError with the last refusal; OSError and SMTPException when the
    connection breaks.
    """
    if "\0" in login.username + login.secret:
        raise LoginError("mail.username or mail.password holds a NUL character", hint="write it without")
    offered = line.esmtp_features.get("auth", "").upper().split()
    if not offered:
        raise LoginError("takes no login", hint="remove mail.username and mail.password")
    known = MECHANISMS[login.kind]
    common = [name for name in known if name in offered]
    if not common:
        raise _no_common(login, offered)
    refusal: smtplib.SMTPAuthenticationError | None = None
    for name in common:
        code, said = _exchange(line, name, known[name], login)
        if code in (235, 503):  # 503: we are logged in
            return
        refusal = smtplib.SMTPAuthenticationError(code, said)
    assert refusal is not None
    raise refusal


def _no_common(login: Login, offered: Iterable[str]) -> LoginError:
    other = "oauth2" if login.kind == "password" else "password"
    what = {"password": "a password", "oauth2": "an access token"}
    names = listed((one_line(name, 40) for name in offered), "and")
    message = f"offers the login by {names}, and we know {listed(MECHANISMS[login.kind], 'and')} for {what[login.kind]}"
    if any(name in MECHANISMS[other] for name in offered):
        hint = f"write `login: {other}` in mail, and {what[other]} as mail.password"
    else:
        hint = "ask who runs the server for one of these"
    return LoginError(message, hint=hint)


def _exchange(line: smtplib.SMTP, name: str, mechanism: Mechanism, login: Login) -> tuple[int, bytes]:
    """Return the server's last word about *mechanism*; of a token what it said of it before that, too."""
    first = mechanism.first(login) if mechanism.first else None
    # A long first word does not fit into the line of a command (RFC 4954, 4).
    at_once = first is not None and len(first) <= 300
    code, said = line.docmd("AUTH", f"{name} {_encoded(first)}" if at_once and first is not None else name)
    if code == 334 and first is not None and not at_once:
        code, said = line.docmd(_encoded(first))
    reason = b""
    for answer in mechanism.answers:
        if code != 334:
            break
        challenge = _decoded(said)
        if mechanism.first:
            reason = _why(challenge)
        code, said = line.docmd(_encoded(answer(login, challenge)))
    return (code, said + reason) if code not in (235, 503) else (code, said)


def _why(challenge: bytes) -> bytes:
    """Return what a server says of a token: JSON with a status and a scope (RFC 7628, 3.2.2)."""
    with suppress(ValueError, AttributeError):
        said = json.loads(challenge)
        facts = [f"{key} {said[key]}" for key in ("status", "scope") if said.get(key)]
        return f" ({', '.join(facts)})".encode() if facts else b""
    return b""


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""
