"""What happened in a run, told by the events of its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from connrunner.core import counts, instant
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Run
from connrunner.core.planning.due import StopRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How the work ended, in its own words."""

    outcome: Outcome
    counts: Counts = field(default_factory=Counts)
    message: str = ""
    code: str = ""
    exit_status: int | None = None
    attempts: int = 1  # what it says is about the last of them, the counters too
    waiting_helps: bool = False  # a failure that may pass by itself
    detail: Mapping[str, Any] = field(default_factory=dict)


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
class LogSummary:
    """What a log tells: how far the run came and, when it says so, how it ended."""

    result: Result | None = None
    ended_at: str = ""
    progress: Progress | None = None
    last_message: str = ""
    counts: Counts = field(default_factory=Counts)  # as its program reported them last


# What taking apart plain data can raise when it was damaged. Nothing else is caught where that is read: it is a bug.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def fold_log(events: Iterable[Mapping[str, Any]]) -> LogSummary:
    """Return what *events*, in their order, say about a run. Unknown and damaged events are left out."""
    result, ended_at, progress, message, counted = None, "", None, "", Counts()
    for event in events:
        kind = event.get("type", "message")
        with suppress(*MALFORMED):
            if kind == "message":
                message = str(event.get("message", ""))
            elif kind == "progress":
                progress = _progress(progress, event)
            elif kind == "counts":
                counted = counts.from_mapping(event["counts"])
            elif kind == "ended":
                instant.parse(event["at"])
                result, ended_at = result_from(event), event["at"]
    return LogSummary(result=result, ended_at=ended_at, progress=progress, last_message=message, counts=counted)


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
    """Return *result* as that of a run that somebody stopped: with who and why, and what it had done by then."""
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


def as_dict(run: Run) -> dict[str, Any]:
    """Return *run* as the record that history and `--format json` show."""
    return {
        "connection": run.connection,
        "run": run.run,
        "outcome": str(run.outcome),
        "trigger": run.trigger,
        "due_at": instant.text(run.due_at),
        "queued_at": instant.text(run.queued_at),
        "started_at": instant.text(run.started_at) if run.started_at else None,
        "ended_at": instant.text(run.ended_at),
        "seconds": run.seconds,
        "counts": run.counts.as_dict(),
        "message": run.message,
        "code": run.code,
        "commit": run.commit,
        "config": run.config,
        "missed": run.missed,
        "merged": run.merged,
        "asked_by": run.asked_by,
        "kind": run.kind,
        "title": run.title,
        "exit_status": run.exit_status,
        "attempts": run.attempts,
        "detail": dict(run.detail),
    }


def from_mapping(data: Mapping[str, Any]) -> Run:
    """Return the run that a history record holds; keys that a newer version added are left out."""
    return Run(
        connection=data["connection"],
        run=int(data["run"]),
        outcome=Outcome(data["outcome"]),
        trigger=data["trigger"],
        due_at=instant.parse(data["due_at"]),
        queued_at=instant.parse(data["queued_at"]),
        started_at=instant.parse(data["started_at"]) if data.get("started_at") else None,
        ended_at=instant.parse(data["ended_at"]),
        seconds=float(data["seconds"]),
        counts=counts.from_mapping(data.get("counts", {})),
        message=data.get("message", ""),
        code=data.get("code", ""),
        commit=data.get("commit"),
        config=data.get("config", ""),
        missed=int(data.get("missed", 0)),
        merged=int(data.get("merged", 0)),
        asked_by=data.get("asked_by", ""),
        kind=data.get("kind", ""),
        title=data.get("title", ""),
        exit_status=data.get("exit_status"),
        attempts=int(data.get("attempts", 1)),
        detail=data.get("detail", {}),
    )
