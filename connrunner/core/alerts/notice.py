"""A notice to its recipients: how far is its delivery to each, and when is the next attempt due?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, cast

from connrunner.core import instant
from connrunner.lazy_dataclasses import dataclass, field

DeliveryStatus = Literal["sent", "deferred", "refused", "retried", "dropped"]
Event = Literal[
    # what one run did, for `always` and `failure`
    "succeeded",
    "partial",
    "failed",
    "stopped",
    "interrupted",
    "skipped",
    "held",  # also as a reminder, about the run that is held
    "declined",
    # what changed, for `change`
    "failing",
    "reminder",
    "recovered",
    # what no run says by itself
    "late",
    "digest",
    "folded",  # over the limit of an hour: many notices in one
    "outage",  # no tick for a while, and slots missed
    "broken",  # files that cannot be used
    "fixed",  # files that can be used again, or are gone
    "attention",  # what is damaged in the state, and schedules that have ended
]

BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))  # then hourly, as the last one
GIVE_UP = timedelta(days=5)  # after the first attempt, as mail servers do among themselves


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What its *recipients* have to get, each once."""

    id: str  # the stable local part of the Message-ID
    connection: str  # empty for a notice about several: digest, folded, outage
    run: int  # 0 for a notice about no run
    event: Event
    recipients: tuple[str, ...]
    target: str = ""  # the name of the target; empty when the addresses stand in `notify` itself
    cc: tuple[str, ...] = ()  # those of the recipients that are in copy; the others may see them
    replies_to: str = ""  # the id of the notice that this one follows: the failure of a recovery
    facts: Mapping[str, Any] = field(default_factory=dict)  # plain JSON, by event: see docs/state.md

    def as_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "id": self.id,
            "connection": self.connection,
            "run": self.run,
            "event": self.event,
            "recipients": list(self.recipients),
        }
        more = {"target": self.target, "cc": list(self.cc), "replies_to": self.replies_to, "facts": dict(self.facts)}
        return data | {key: value for key, value in more.items() if value}


class DeliveryRecord(TypedDict):
    """What came of one attempt to reach one recipient; plain JSON for the journal."""

    notice: str
    recipient: str
    # deferred: another attempt may succeed; refused: none will; the others are what a person asked for
    result: DeliveryStatus
    at: str  # RFC 3339, UTC
    reason: str  # empty when sent


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """A recipient that could not be reached, and why."""

    recipient: str
    reason: str
    at: datetime  # of the last attempt
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The delivery of a notice: each recipient is in exactly one of these, unless a person dropped it."""

    due: tuple[str, ...]
    waiting: Mapping[str, datetime]  # recipient -> when the next attempt is due
    sent: tuple[str, ...]
    dead: tuple[DeadLetter, ...]

    @property
    def settled(self) -> bool:
        """True when nothing is left to do."""
        return not self.due and not self.waiting

    @property
    def next_at(self) -> datetime | None:
        """When the next attempt for one that waits is due."""
        return min(self.waiting.values(), default=None)


def from_mapping(data: Mapping[str, Any]) -> Notice:
    """Return the notice that `as_dict` wrote; names it does not know are left out."""
    return Notice(
        id=str(data["id"]),
        connection=str(data["connection"]),
        run=int(data["run"]),
        event=cast("Event", str(data["event"])),
        recipients=tuple(str(recipient) for recipient in data["recipients"]),
        target=str(data.get("target", "")),
        cc=tuple(str(recipient) for recipient in data.get("cc", ())),
        replies_to=str(data.get("replies_to", "")),
        facts=data.get("facts", {}),
    )


def fold_deliveries(notice: Notice, records: Iterable[Mapping[str, Any]], now: datetime) -> Ledger:
    """Return how far the delivery of *notice* is at *now*, from those of *records* (oldest first) that are about it."""
    attempts: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if record["notice"] == notice.id:
            attempts.setdefault(record["recipient"], []).append(record)

    due: list[str] = []
    waiting: dict[str, datetime] = {}
    sent: list[str] = []
    dead: list[DeadLetter] = []
    for recipient in notice.recipients:
        tries = _since_last_asked(attempts.get(recipient, []))
        results = {record["result"] for record in tries}
        if "sent" in results:
            sent.append(recipient)
        elif "dropped" in results:
            continue
        elif "refused" in results or _hopeless(tries):
            last = tries[-1]
            at = instant.parse(last["at"])
            dead.append(DeadLetter(recipient=recipient, reason=last["reason"], at=at, attempts=len(tries)))
        elif (again := _again(tries, now)) <= now:
            due.append(recipient)
        else:
            waiting[recipient] = again
    return Ledger(due=tuple(due), waiting=waiting, sent=tuple(sent), dead=tuple(dead))


def _since_last_asked(tries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the attempts since a person last asked for another one; what was sent stays sent."""
    asked = max((place for place, record in enumerate(tries) if record["result"] == "retried"), default=-1)
    return [record for place, record in enumerate(tries) if place > asked or record["result"] == "sent"]


def _hopeless(tries: list[Mapping[str, Any]]) -> bool:
    # Time alone does not kill a mail: a clock that jumps a year, or a machine that was off, must not use up the tries.
    if len(tries) <= len(BACKOFF):
        return False
    return instant.parse(tries[-1]["at"]) - instant.parse(tries[0]["at"]) >= GIVE_UP


def _again(tries: list[Mapping[str, Any]], now: datetime) -> datetime:
    if not tries:
        return now
    last = instant.parse(tries[-1]["at"])
    if last > now:  # the clock went back: waiting for that instant could take a year
        return now
    return last + BACKOFF[min(len(tries), len(BACKOFF)) - 1]
