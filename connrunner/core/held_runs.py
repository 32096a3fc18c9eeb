"""Held runs: what one would change, how long it waits for a decision, and when people are reminded of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from connrunner.core import instant
from connrunner.core.model import Outcome, Run
from connrunner.lazy_dataclasses import dataclass, replace

REMINDER = timedelta(days=1)  # between two reminders
DECLINED = "declined"  # the code of a run that changed nothing because somebody declined that
EXPIRES = 3 * 24 * 3600  # seconds, where a record does not say


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldRun:
    """The newest held run of a connection, about which nobody has decided yet."""

    connection: str
    run: int
    at: datetime  # when it ended
    since: datetime  # when the first run ended that was held for the same difference
    reminded: datetime | None = None
    difference: Mapping[str, Any]  # as the result of the run has it: plain JSON

    @property
    def digest(self) -> str:
        return str(self.difference.get("digest", ""))

    @property
    def expires_at(self) -> datetime:
        """When it is declined by itself."""
        return self.since + timedelta(seconds=int(self.difference.get("expires", EXPIRES)))

    @property
    def wakes_at(self) -> datetime:
        """When a tick has something to do about it: remind people, or decline it."""
        return min((self.reminded or self.since) + REMINDER, self.expires_at)

    def as_dict(self) -> dict[str, Any]:
        return {
            "connection": self.connection,
            "run": self.run,
            "at": instant.text(self.at),
            "since": instant.text(self.since),
            "reminded": instant.text(self.reminded) if self.reminded else None,
            "difference": dict(self.difference),
        }


def from_mapping(data: Mapping[str, Any]) -> HeldRun:
    """Return what `as_dict` gave."""
    return HeldRun(
        connection=data["connection"],
        run=int(data["run"]),
        at=instant.parse(data["at"]),
        since=instant.parse(data["since"]),
        reminded=instant.parse(data["reminded"]) if data.get("reminded") else None,
        difference=data["difference"],
    )


def held_from(run: Run, known: HeldRun | None) -> HeldRun | None:
    """Return what *run*, which has just ended, holds; None when it holds nothing. *known* is what was held before.

    The same difference again waits since the first time, and people who were reminded stay reminded.
    """
    difference = run.result.detail.get("held")
    if run.outcome is not Outcome.HELD or not isinstance(difference, Mapping):
        return None
    found = HeldRun(connection=run.connection, run=run.run, at=run.ended_at, since=run.ended_at, difference=difference)
    if known is None or known.digest != found.digest:
        return found
    return replace(found, since=known.since, reminded=known.reminded)


def held_facts(run: Run) -> dict[str, Any]:
    """Return the facts of a notice about *run*, which is held."""
    return {"since": instant.text(run.ended_at), "difference": run.result.detail["held"]}


def settles(run: Run) -> bool:
    """Tell whether *run* leaves nothing of an earlier one to decide about: it did its work by what is there now."""
    return run.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL) and run.entry.trigger != "undo"


def describe_approval(detail: Mapping[str, Any]) -> str:
    """Return who approved what a run did, and why; empty when nobody had to."""
    if not (approved := detail.get("approved")):
        return ""
    said = f": {approved['reason']}" if approved["reason"] else ""
    return f"as held by run {approved['run']}, approved by {approved['by']}{said}"


def describe_held_change(difference: Mapping[str, Any]) -> str:
    """Return in words what a held run would change: `3 created, 1 updated; city in 2, email in 3`."""
    counts: Mapping[str, int] = difference.get("counts", {})
    shown = ("created", "updated", "deleted", "unchanged", "skipped", "invalid", "ambiguous", "consent_blocked")
    words = [f"{counts[name]:,} {name.replace('_', ' ')}" for name in shown if counts.get(name)]
    found = [", ".join(words) or "no row"]
    if properties := difference.get("properties"):
        named = [f"{name} in {number:,}" for name, number in properties.items()]
        more = difference.get("more_properties", 0)
        found.append(", ".join([*named, *([f"and {more:,} more"] if more else [])]))
    columns: Mapping[str, Any] = difference.get("columns", {})
    found += [f"{what}: {', '.join(columns[key])}" for key, what in COLUMN_WORDS.items() if columns.get(key)]
    return "; ".join(found)


COLUMN_WORDS = {"appeared": "new columns", "vanished": "columns that are gone"}
