"""What a mail server's refusal is about: the recipient, the mail itself, or us and our settings.

RFC 5321 has few codes for many reasons, so the enhanced ones decide where there are some (RFC 3463, RFC 5248): x.1 and
x.2 are about an address, x.5 and x.7 about the session, the login and what this machine may do. Where there are none,
words decide. What is about us is mended in a setting, so the mail waits; only what is about the recipient or the mail
is given up.
"""

from __future__ import annotations

import re
from typing import Literal

from connrunner.core.alerts.notice import DeliveryStatus
from connrunner.lazy_dataclasses import dataclass

Step = Literal["sender", "recipient", "mail"]  # MAIL, RCPT, DATA
Subject = Literal["encryption", "login", "greeting", "relay", "sender", "machine", ""]

HINTS: dict[Subject, str] = {
    "encryption": "write mail.server as smtp:// for STARTTLS, or smtps://",
    "login": "set mail.username and mail.password",
    "greeting": "set mail.hello to the name of this machine",
    "relay": "have the server relay mail for this machine, or set mail.username and mail.password",
    "sender": "is mail.from right?",
    "machine": "ask who runs the server to let this machine in",
    "": "",
}
LOGGED_IN = "check mail.username and mail.password: may that user do it?"

_ENHANCED = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})(?!\S)")
_ADDRESS = re.compile(r"<[^<>]*>|\S+@\S+")  # what a recipient is called decides nothing
_SESSION = (*range(500, 505), 521, 530, 534, 535, 538, 555)  # of RFC 5321, 4954 and 7504: about no recipient
_BY_CODE: dict[int, Subject] = {530: "login", 534: "login", 535: "login", 538: "encryption"}
_BY_DETAIL: dict[tuple[int, int], Subject] = {
    **dict.fromkeys(((1, 7), (1, 8), (7, 26), (7, 27), (7, 60)), "sender"),
    **dict.fromkeys(((7, 10), (7, 11)), "encryption"),
    **dict.fromkeys(((7, 8), (7, 9), (7, 57)), "login"),
    **dict.fromkeys(((7, 54), (7, 64)), "relay"),
    **dict.fromkeys(((7, 23), (7, 25)), "machine"),
}
_BY_WORD: tuple[tuple[re.Pattern[str], Subject], ...] = (
    (re.compile(r"starttls|\btls\b|\bssl\b|encrypt"), "encryption"),
    (re.compile(r"\behlo\b|\bhelo\b|greeting|fully[- ]qualified"), "greeting"),
    (re.compile(r"\brelay"), "relay"),
    (re.compile(r"authenti|\bauth\b|\blog ?in\b|\blogged in\b|credential|password"), "login"),
    (re.compile(r"\bsender\b|\breturn[- ]path\b|\bsend ?as\b|\bmail from\b"), "sender"),
    (re.compile(r"\bclient (host|address|ip)\b|\bptr\b|\bip\b|reverse|\brdns\b|block(ed|list)|black ?list"), "machine"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What becomes of a mail that was refused, and what somebody could do about it."""

    result: DeliveryStatus
    hint: str = ""


def judge_refusal(step: Step, code: int, said: str, *, logged_in: bool = False) -> Judgement:
    """Return what becomes of a mail to which a server said *code* and *said* at *step*."""
    detail = _detail(said)
    subject = _subject(step, code, detail, said)
    lasting = 500 <= code < 600 and (detail is None or detail[0] == 5)
    gives_up = lasting and not _is_about_us(step, code, detail, subject)
    hint = "" if gives_up else LOGGED_IN if logged_in and subject in ("login", "relay") else HINTS[subject]
    return Judgement(result="refused" if gives_up else "deferred", hint=hint)


def _detail(said: str) -> tuple[int, int, int] | None:
    found = _ENHANCED.match(said)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _subject(step: Step, code: int, detail: tuple[int, int, int] | None, said: str) -> Subject:
    """Return what of ours the server complains about; empty when it is not known to be any of it."""
    about = detail[1:] if detail else None
    if about in _BY_DETAIL:
        return _BY_DETAIL[about]
    if about is None or about[0] not in (1, 2) or about[1] == 0:
        words = _ADDRESS.sub(" ", said).lower()
        for pattern, subject in _BY_WORD:
            if pattern.search(words):
                return subject
    if code in _BY_CODE:
        return _BY_CODE[code]
    return "sender" if step == "sender" and code >= 500 and not _is_about_mail(code, detail) else ""


def _is_about_us(step: Step, code: int, detail: tuple[int, int, int] | None, subject: Subject) -> bool:
    if _is_about_mail(code, detail):
        return False
    if step == "sender":
        return True  # nobody has been named yet
    if detail is None or detail[1] == 0 or subject == "sender":
        return bool(subject) or code in _SESSION
    if detail[1] in (1, 2):
        return bool(subject) and detail[2] == 0
    if detail[1] == 7:
        # A mail that was read may be refused for what is in it, which has no number of its own.
        return step == "recipient" or bool(subject) or detail[2] > 1
    return detail[1] in (3, 5)


def _is_about_mail(code: int, detail: tuple[int, int, int] | None) -> bool:
    """Tell whether the mail is too large, or of a kind that the server does not take."""
    if detail is not None:
        return detail[1:] in ((2, 3), (3, 4)) or detail[1] == 6
    return code == 552
