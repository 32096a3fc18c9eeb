"""What becomes of a mail that a server refuses: is it the recipient, the mail, or us?"""

from __future__ import annotations

import pytest

from connrunner.notify.smtp_replies import HINTS, LOGGED_IN, Judgement, Step, Subject, judge_refusal

SAID: list[tuple[Step, int, str, str, Subject]] = [
    # at, code, words                                                          what becomes of it, what it is about
    # the recipient
    ("recipient", 550, "5.1.1 <a@x>: User unknown", "refused", ""),
    ("recipient", 550, "5.1.1 no mailbox called relay-login@x here", "refused", ""),
    ("recipient", 550, "5.1.2 Host unknown", "refused", ""),
    ("recipient", 550, "5.1.10 RESOLVER.ADR.RecipientNotFound", "refused", ""),
    ("recipient", 501, "5.1.3 Bad recipient address syntax", "refused", ""),
    ("recipient", 553, "5.1.3 <a@x>: not a valid address", "refused", ""),
    ("recipient", 550, "5.2.1 The account is disabled", "refused", ""),
    ("recipient", 552, "5.2.2 Mailbox full", "refused", ""),
    ("recipient", 550, "5.4.1 Recipient address rejected: Access denied", "refused", ""),
    ("recipient", 550, "No such user", "refused", ""),
    ("recipient", 550, "<helo@relay.example>: No such user", "refused", ""),
    ("recipient", 551, "User not local", "refused", ""),
    ("recipient", 553, "mailbox name not allowed", "refused", ""),
    ("recipient", 556, "domain does not accept mail", "refused", ""),
    ("recipient", 599, "", "refused", ""),
    ("recipient", 452, "4.2.2 Mailbox full", "deferred", ""),
    ("recipient", 450, "4.2.0 Greylisted", "deferred", ""),
    ("recipient", 550, "4.2.2 says both", "deferred", ""),
    ("recipient", -1, "xyz", "deferred", ""),
    # the login
    ("recipient", 530, "5.7.0 Authentication required", "deferred", "login"),
    ("recipient", 530, "5.7.0 Must issue a STARTTLS command first", "deferred", "encryption"),
    ("recipient", 530, "not now", "deferred", "login"),
    ("recipient", 535, "5.7.8 bad", "deferred", "login"),
    ("recipient", 550, "5.7.1 Client was not authenticated", "deferred", "login"),
    ("recipient", 550, "authentication required", "deferred", "login"),
    ("recipient", 538, "Encryption required", "deferred", "encryption"),
    ("recipient", 550, "5.7.11 no", "deferred", "encryption"),
    ("mail", 530, "5.7.57 Client not authenticated to send mail", "deferred", "login"),
    # the relay
    ("recipient", 554, "5.7.1 <a@x>: Relay access denied", "deferred", "relay"),
    ("recipient", 554, "<a@x>: Relay access denied", "deferred", "relay"),
    ("recipient", 550, "relay not permitted", "deferred", "relay"),
    ("recipient", 550, "5.7.54 SMTP; in non-accepted domain", "deferred", "relay"),
    ("recipient", 550, "5.7.64 TenantAttribution", "deferred", "relay"),
    # the greeting
    ("recipient", 550, "5.7.1 <[127.0.0.1]>: Helo command rejected: invalid", "deferred", "greeting"),
    ("recipient", 504, "5.5.2 <box>: Helo command rejected: need fully-qualified hostname", "deferred", "greeting"),
    ("recipient", 550, "Access denied - Invalid HELO name", "deferred", "greeting"),
    ("recipient", 450, "4.7.1 <box>: Helo command rejected: Host not found", "deferred", "greeting"),
    # the sender
    ("recipient", 550, "5.1.8 <c@y>: Sender address rejected: Domain not found", "deferred", "sender"),
    ("recipient", 553, "5.1.7 bad", "deferred", "sender"),
    ("recipient", 550, "5.7.60 SMTP; cannot send as this sender", "deferred", "sender"),
    ("recipient", 553, "5.7.1 <c@y>: Sender address rejected: not owned by user me", "deferred", "sender"),
    ("recipient", 550, "Sender verify failed", "deferred", "sender"),
    ("sender", 553, "5.1.8 who?", "deferred", "sender"),
    ("sender", 550, "5.1.0 Address rejected", "deferred", "sender"),
    ("sender", 501, "Bad address", "deferred", "sender"),
    ("sender", 451, "4.3.0 later", "deferred", ""),
    ("sender", 530, "5.7.0 log in", "deferred", "login"),
    # this machine, the session, the server
    ("recipient", 554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example", "deferred", "machine"),
    ("recipient", 550, "5.7.25 no reverse", "deferred", "machine"),
    ("recipient", 550, "5.7.1 not allowed", "deferred", ""),
    ("recipient", 503, "5.5.1 bad sequence", "deferred", ""),
    ("recipient", 503, "bad sequence", "deferred", ""),
    ("recipient", 521, "does not accept mail", "deferred", ""),
    ("recipient", 555, "5.5.4 unsupported option", "deferred", ""),
    ("recipient", 554, "5.3.2 system not accepting messages", "deferred", ""),
    # the mail
    ("mail", 552, "5.3.4 Message too big", "refused", ""),
    ("sender", 552, "5.3.4 Message size exceeds fixed limit", "refused", ""),
    ("sender", 552, "too large", "refused", ""),
    ("mail", 554, "5.7.1 spam", "refused", ""),
    ("mail", 554, "Transaction failed", "refused", ""),
    ("mail", 550, "5.6.0 no", "refused", ""),
    ("mail", 554, "5.7.1 relay denied", "deferred", "relay"),
    ("mail", 550, "5.7.26 unauthenticated email is not accepted: DMARC", "deferred", "sender"),
    ("mail", 550, "5.1.1 User unknown", "refused", ""),
    ("mail", 451, "4.3.0 later", "deferred", ""),
]  # fmt: skip


@pytest.mark.parametrize(("step", "code", "said", "result", "about"), SAID)
def test_who_can_mend_it_decides_whether_the_mail_waits(
    step: Step, code: int, said: str, result: str, about: Subject
) -> None:
    assert judge_refusal(step, code, said) == Judgement(result=result, hint=HINTS[about])  # type: ignore[arg-type]


def test_who_has_logged_in_is_not_told_to_do_so() -> None:
    for said in ("5.7.1 Relay access denied", "5.7.0 Authentication required"):
        assert judge_refusal("recipient", 554, said, logged_in=True) == Judgement(result="deferred", hint=LOGGED_IN)
