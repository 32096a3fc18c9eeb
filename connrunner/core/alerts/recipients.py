"""What each recipient gets, and the notices that this makes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from connrunner.core.alerts.alert_state import Alarm, Severity, Streak
from connrunner.core.alerts.notice import Event, Notice
from connrunner.core.model import Notify, Target
from connrunner.lazy_dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipientChoice:
    """What one recipient gets."""

    event: Event
    recipient: str
    target: str
    copy: bool
    replies_to: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def iter_recipients(rules: Iterable[Notify]) -> Iterator[tuple[Notify, Target, str]]:
    """Yield each recipient of *rules*, with the rule and the target that name it."""
    for rule in rules:
        for target in rule.to:
            for recipient in target.recipients:
                yield rule, target, recipient


def choose_recipient(event: Event, recipient: str, target: Target, facts: Mapping[str, Any]) -> RecipientChoice:
    copy = recipient in target.cc and recipient not in target.to
    return RecipientChoice(event=event, recipient=recipient, target=target.name, copy=copy, facts=facts)


def follow_alarm(event: Event, alarm: Alarm, facts: Mapping[str, Any]) -> RecipientChoice:
    return RecipientChoice(
        event=event,
        recipient=alarm["recipient"],
        target=alarm["target"],
        copy=alarm["copy"],
        replies_to=alarm["notice"],
        facts=facts,
    )


def describe_failures(streak: Streak | None) -> dict[str, Any]:
    """Return the facts of a recovery from *streak*."""
    if streak is None:  # an alarm in a sense of failure that its rule no longer has
        return {"since": None, "failures": 0, "first_run": 0, "between": {}}
    return {key: streak[key] for key in ("since", "failures", "first_run", "between")}


def describe_failing(streak: Streak | None, known: Severity | Literal["", "none"] = "none") -> dict[str, Any]:
    """Return the facts of a connection that fails by *streak*.

    Who knows nothing of it is told of all failures in a row, others of those that are of the present severity.
    """
    if streak is None:
        return describe_failures(None)
    phase = streak["phase"]
    told = describe_failures(streak) if known == "none" else {**phase}
    before = known if known not in ("none", phase["severity"]) else ""
    return {**told, "severity": phase["severity"], "before": before, "row_since": streak["since"]}


def group_notices(choices: Iterable[RecipientChoice], *, connection: str, run: int, token: str) -> tuple[Notice, ...]:
    """Return one notice for all recipients that get the same as part of one target."""
    groups: dict[tuple[Any, ...], list[RecipientChoice]] = {}
    for choice in choices:
        groups.setdefault((choice.event, choice.target, choice.replies_to, repr(choice.facts)), []).append(choice)
    return tuple(
        Notice(
            id=make_notice_id(
                *filter(None, (connection, str(run or ""))),
                group[0].event,
                f"{token}-{number}" if number else token,
            ),
            connection=connection,
            run=run,
            event=group[0].event,
            recipients=tuple(choice.recipient for choice in group),
            target=group[0].target,
            cc=tuple(choice.recipient for choice in group if choice.copy),
            replies_to=group[0].replies_to,
            facts=group[0].facts,
        )
        for number, group in enumerate(groups.values())
    )


def make_notice_id(*parts: str) -> str:
    """Only what may stand between the dots of a Message-ID."""
    return ".".join(re.sub(r"[^A-Za-z0-9_-]", "-", part) or "-" for part in parts)
