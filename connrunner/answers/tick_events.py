"""What a tick says of its work, in words: a sentence for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from connrunner.answers.run_summary import describe_result
from connrunner.core import instant, run_records
from connrunner.core.model import Outcome
from connrunner.text import durations
from connrunner.text.words import plural

Event = Mapping[str, Any]
OUTCOMES = {str(outcome) for outcome in Outcome}


def describe(event: Event) -> str:
    """Return what *event* says in words."""
    describe_one = SENTENCES.get(event["event"])
    return describe_one(event) if describe_one else str(event["message"])


def _subject(event: Event) -> str:
    """Return the run that *event* is about, or the connection, or what else."""
    name = event.get("connection")
    return f"{name} #{event['run']}" if event.get("run") else str(name or event.get("about"))


def _queued(event: Event) -> str:
    missed = event["missed"]
    late = f", with {plural(missed, 'later slot')} missed" if missed else ""
    return f"{event['connection']}: queued for {event['due_at']}{late}"


def _left_out(event: Event) -> str:
    more = f", and {event['missed']:,} after it" if event["missed"] else ""
    return f"{event['connection']}: not due at {event['due_at']}{more}: {event['reason']}"


def _without_run(event: Event) -> str:
    asked_by = event.get("asked_by")
    what = f"the request of {asked_by}" if asked_by else f"the slot of {event['due_at']}"
    return f"{event['connection']}: {what} was {event['event']}: {event['reason']}"


def _started(event: Event) -> str:
    return f"{_subject(event)}: started"


def _ended(event: Event) -> str:
    parts = [
        f"{event['outcome']} after {durations.in_words(event['seconds'])}",
        describe_result(run_records.from_mapping(event)),
    ]
    return f"{_subject(event)}: {'; '.join(part for part in parts if part)}"


def _recovered(event: Event) -> str:
    return f"{_ended(event)} (found by this tick)"


def _busy(event: Event) -> str:
    waits = f"; {len(event['waiting'])} wait: {', '.join(event['waiting'][:5])}" if event["waiting"] else ""
    if not event.get("connection"):
        return f"lane {event['lane']} is held by another connrunner{waits}"
    since = instant.local(instant.parse(event["since"]), "UTC")
    return f"lane {event['lane']} is busy: {_subject(event)} has been running since {since}{waits}"


def _adopted(event: Event) -> str:
    if event["lives"]:
        return f"{_subject(event)}: the connrunner that started it is gone; it goes on, and this one looks after it"
    return f"{_subject(event)}: its process and the connrunner that started it are gone; what it left behind is ended"


def _stopping(event: Event) -> str:
    return f"{_subject(event)}: told to end; {event['reason']}"


def _left_over(event: Event) -> str:
    processes = ", ".join(event["processes"][:5]) or "processes that cannot be seen from here"
    return f"lane {event['lane']} is held by what a run left behind: {processes}; end it to set the lane free"


def _hole(event: Event) -> str:
    missed = sum(event["missed"].values())
    slots = f"{plural(missed, 'slot')} of {', '.join(sorted(event['missed'])[:5])}"
    since, until = (instant.local(instant.parse(event[key]), "UTC") for key in ("from", "to"))
    return f"no tick came from {since} to {until}; {slots} passed meanwhile"


def _mailed(event: Event) -> str:
    is_plain = not event.get("connection") or event["about"] in OUTCOMES
    return f"{_subject(event)}: told {event['recipient']}" + ("" if is_plain else f" ({event['about']})")


def _mail_waits(event: Event) -> str:
    return f"{_subject(event)}: its mail waits: {event['reason']}"


def _mail_dead(event: Event) -> str:
    return f"{_subject(event)}: {event['recipient']} could not be told: {event['reason']}"


def _heartbeat_failed(event: Event) -> str:
    return f"the heartbeat of {event['about']} was not taken: {event['reason']}"


SENTENCES: Mapping[str, Callable[[Event], str]] = {
    "queued": _queued,
    "left_out": _left_out,
    **dict.fromkeys(("merged", "skipped", "dropped", "missed"), _without_run),
    "started": _started,
    "ended": _ended,
    "recovered": _recovered,
    "busy": _busy,
    "adopted": _adopted,
    "stopping": _stopping,
    "left-over": _left_over,
    "hole": _hole,
    "mailed": _mailed,
    "mail-waits": _mail_waits,
    "mail-dead": _mail_dead,
    "heartbeat-failed": _heartbeat_failed,
}
