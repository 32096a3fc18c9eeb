"""Which notices does the workspace owe that no run owes: what is damaged in its state, which schedules have ended?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from connrunner.core.alerts.notice import Notice
from connrunner.core.alerts.recipients import RecipientChoice, choose_recipient, group_notices, iter_recipients
from connrunner.core.model import Notify, mailbox
from connrunner.lazy_dataclasses import dataclass

Kind = Literal["damage", "ended"]
FINDINGS = 100  # that a notice names; the journal keeps it
LONGEST = 1000  # characters of one


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionFinding:
    """Something that a person should look at: what it is about, what was found, and what to do."""

    about: str  # a connection, or a file of the state folder
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"about": self.about, "found": self.found[:LONGEST], "remedy": self.remedy[:LONGEST]}


def decide_attention_notices(
    rules: Iterable[Notify], kind: Kind, findings: Sequence[AttentionFinding], *, token: str
) -> tuple[Notice, ...]:
    """Return what the people of *rules* are told of *findings*, all in one; rules about late slots only tell nothing.

    That each is found once is for the caller to see to.
    """
    if not findings:
        return ()
    facts: dict[str, Any] = {
        "kind": kind,
        "findings": [one.as_dict() for one in findings[:FINDINGS]],
        "count": len(findings),
    }
    choices: dict[str, RecipientChoice] = {}
    for rule, target, recipient in iter_recipients(rules):
        if rule.when != "late":
            choices.setdefault(mailbox(recipient), choose_recipient("attention", recipient, target, facts))
    return group_notices(choices.values(), connection="", run=0, token=token)
