"""Runs as plain data: their records in queue, journal, log and history, and what the events of a log say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from connrunner.core import counts, instant
from connrunner.core.alerts import rules
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, QueuedRun, Result, Run, RunIntent
from connrunner.core.planning.due import StopRequest
from connrunner.lazy_dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run says it is."""

    stage: str
    done: int
    of: int | None
    at: str = ""  # when it said so
    since: str = ""  # when it first spoke of this stage, and how far it was then
    since_done: int = 0

    @property
    def rate(self) -> float | None:
        """Rows in a second, over the stage; None while that cannot be told."""
        if not self.at or not self.since:
            return None
        seconds = (instant.parse(self.at) - instant.parse(self.since)).total_seconds()
        rows = self.done - self.since_done
        return rows / seconds if seconds >= 1 and rows > 0 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlace:
    """Where a run lives that does not live on this machine, as its engine said last."""

    engine: str  # for people: Kubernetes
    id: str  # how the run is called there
    phase: str  # queued, running or lost
    place: str = ""  # `pod x on node n1`
    reason: str = ""  # why it waits there, or cannot be seen

    @property
    def description(self) -> str:
        """Return it in words."""
        where = f"on {self.engine}" + (f", {self.place}" if self.place else "")
        if self.phase == "queued":
            return f"waits {where}" + (f": {self.reason}" if self.reason else "")
        if self.phase == "lost":
            return f"may live {where}, and cannot be seen: {self.reason}"
        return where + (f": {self.reason}" if self.reason else "")


DELIVERED_AGAIN = "the next run delivers them again"


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSummary:
    """What a log tells: how far the run came and, when it says so, how it ended."""

    result: Result | None = None
    ended_at: str = ""
    progress: Progress | None = None
    last_message: str = ""
    attempts: int = 1  # the number of the one at work
    counts: Counts = field(default_factory=Counts)  # as the program of that attempt reported them last
    delivering: str = ""  # what an export has begun to deliver, in words
    afterwards: str = DELIVERED_AGAIN  # what the next run does about it
    place: RunPlace | None = None  # None: on the machine that ticks

    @property
    def may_have_arrived(self) -> str:
        """What is to be said of a run of which nobody knows how far its delivery came; empty when it began none."""
        if not self.delivering:
            return ""
        return f"it was delivering {self.delivering}: they may have arrived, and {self.afterwards}"


# What taking apart plain data can raise when it was damaged. Nothing else is caught where that is read: it is a bug.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def fold_log(events: Iterable[Mapping[str, Any]]) -> LogSummary:
    """Return what *events*, in their order, say about a run. Unknown and damaged events are left out."""
    result, ended_at, progress, message, counted, delivering = None, "", None, "", Counts(), ""
    attempts, afterwards = 1, DELIVERED_AGAIN
    place: RunPlace | None = None
    for event in events:
        kind = event.get("type", "message")
        with suppress(*MALFORMED):
            if kind == "message":
                message = str(event.get("message", ""))
                delivering = str(event.get("delivering", delivering))
                afterwards = str(event.get("afterwards", afterwards))
            elif kind == "progress":
                progress = _progress(progress, event)
            elif kind == "counts":
                counted = counts.from_mapping(event["counts"])
            elif kind == "attempt":
                attempts, counted, progress = int(event["number"]), Counts(), None
            elif kind == "place":
                place = RunPlace(**{key: str(event[key]) for key in ("engine", "id", "phase", "place", "reason")})
            elif kind == "ended":
                instant.parse(event["at"])
                result, ended_at = result_from(event), event["at"]
    return LogSummary(
        result=result,
        ended_at=ended_at,
        progress=progress,
        last_message=message,
        attempts=attempts,
        counts=counted,
        delivering=delivering,
        afterwards=afterwards,
        place=place,
    )


def _progress(before: Progress | None, event: Mapping[str, Any]) -> Progress:
    stage, done, at = str(event["stage"]), int(event["done"]), str(event.get("at", ""))
    if before is None or before.stage != stage or done < before.done:
        return Progress(stage=stage, done=done, of=event.get("of"), at=at, since=at, since_done=done)
    return replace(before, done=done, of=event.get("of"), at=at)


def result_from(data: Mapping[str, Any]) -> Result:
    """Return the result that plain data holds."""
    return Result(
        outcome=Outcome(data["outcome"]),
        counts=counts.from_mapping(data.get("counts", {})),
        message=str(data.get("message", "")),
        code=str(data.get("code", "")),
        exit_status=data.get("exit_status"),
        attempts=int(data.get("attempts", 1)),
        detail=data.get("detail", {}),
    )


def mark_stopped(stop: StopRequest, result: Result) -> Result:
    """Return *result* as that of a stopped run: with who asked for it and why, and what it had done by then."""
    message = stop.description + (f"; {result.message}" if result.message else "")
    detail = {**result.detail, "stopped_by": stop.asked_by, "reason": stop.reason}
    return replace(result, outcome=Outcome.STOPPED, message=message, code="stopped", detail=detail)


def result_as_dict(result: Result) -> dict[str, Any]:
    """Return *result* as plain data."""
    return {
        "outcome": str(result.outcome),
        "counts": result.counts.as_dict(),
        "message": result.message,
        "code": result.code,
        "exit_status": result.exit_status,
        "attempts": result.attempts,
        "detail": dict(result.detail),
    }


def outcome_of(totals: Counts) -> Outcome:
    """Return how work that came to its end went, judged by its counters."""
    return Outcome.PARTIAL if totals.refused else Outcome.SUCCEEDED


def entry_as_dict(entry: QueuedRun) -> dict[str, Any]:
    """Return *entry* as plain data."""
    return {
        "connection": entry.connection,
        "due_at": instant.text(entry.due_at),
        "queued_at": instant.text(entry.queued_at),
        "trigger": entry.trigger,
        "missed": entry.missed,
        "merged": entry.merged,
        "asked_by": entry.asked_by,
        "request": entry.request,
        **({"force": True} if entry.force else {}),
        **({} if entry.notify is None else {"notify": rules.as_list(entry.notify)}),
        **({} if entry.undo is None else {"undo": entry.undo, "reason": entry.reason}),
        **({} if entry.held is None else {"held": entry.held, "reason": entry.reason}),
    }


def entry_from(data: Mapping[str, Any]) -> QueuedRun:
    """Return the entry of the queue that plain data holds."""
    return QueuedRun(
        connection=data["connection"],
        due_at=instant.parse(data["due_at"]),
        queued_at=instant.parse(data["queued_at"]),
        trigger=data["trigger"],
        missed=int(data.get("missed", 0)),
        merged=int(data.get("merged", 0)),
        asked_by=data.get("asked_by", ""),
        request=data.get("request", ""),
        force=bool(data.get("force")),
        notify=rules.from_list(data["notify"]) if "notify" in data else None,
        undo=int(data["undo"]) if data.get("undo") is not None else None,
        held=int(data["held"]) if data.get("held") is not None else None,
        reason=str(data.get("reason", "")) if data.get("undo") is not None or data.get("held") is not None else "",
    )


def intent_as_dict(intent: RunIntent) -> dict[str, Any]:
    """Return *intent* as plain data."""
    return {
        "run": intent.run,
        "started_at": instant.text(intent.started_at) if intent.started_at else None,
        "commit": intent.commit,
        "config": intent.config,
        "kind": intent.kind,
        "title": intent.title,
    }


def intent_from(data: Mapping[str, Any]) -> RunIntent:
    """Return the intent that plain data holds."""
    return RunIntent(
        run=int(data["run"]),
        started_at=instant.parse(data["started_at"]) if data.get("started_at") else None,
        commit=data.get("commit"),
        config=data.get("config", ""),
        kind=data.get("kind", ""),
        title=data.get("title", ""),
    )


# The keys of a record of history, in its order. What else the parts know stays in the journal: `request`, `force`.
KEYS = (
    *("connection", "run", "outcome", "trigger", "due_at", "queued_at", "started_at", "ended_at", "seconds"),
    *("counts", "message", "code", "commit", "config", "missed", "merged", "asked_by", "kind", "title"),
    *("exit_status", "attempts", "detail"),
)


def as_dict(run: Run) -> dict[str, Any]:
    """Return *run* as the record that history and `--format json` show."""
    parts = {
        **entry_as_dict(run.entry),
        **intent_as_dict(run.intent),
        **result_as_dict(run.result),
        "ended_at": instant.text(run.ended_at),
        "seconds": run.seconds,
    }
    return {key: parts[key] for key in KEYS}


def from_mapping(data: Mapping[str, Any]) -> Run:
    """Return the run that a record of history holds; keys that a newer version added are left out."""
    return Run(
        entry=entry_from(data),
        intent=intent_from(data),
        result=result_from(data),
        ended_at=instant.parse(data["ended_at"]),
        seconds=float(data["seconds"]),
    )
