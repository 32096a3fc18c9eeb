"""An event of a run's log as people read it."""

from __future__ import annotations

import json
from typing import Any

from connrunner.core import instant
from connrunner.core.run_records import RunPlace
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One event in words. They may have any character: who shows them makes them safe for where they go."""

    at: str  # local time; empty for an event that is damaged, or by another hand
    kind: str  # the level of a message; else `started` or `ended`
    words: str
    traceback: str = ""


def describe_event(event: dict[str, Any], zone: str) -> LogLine | None:
    """Return *event* in words, its time in *zone*; None for one that says how far a run is, and not what happened."""
    try:
        return _describe(event, zone)
    except (KeyError, TypeError, ValueError, AttributeError):
        return LogLine(at="", kind="", words=json.dumps(event, ensure_ascii=False))


def _describe(event: dict[str, Any], zone: str) -> LogLine | None:
    at = instant.local(instant.parse(event["at"]), zone)
    match event.get("type", "message"):
        case "message":
            level, words = str(event.get("level", "info")), str(event["message"])
            return LogLine(at=at, kind=level, words=words, traceback=str(event.get("traceback", "")))
        case "started":
            words = f"{event['connection']} #{event['run']}, process {event['pid']}"
            return LogLine(at=at, kind="started", words=words)
        case "place":
            place = RunPlace(**{key: str(event[key]) for key in ("engine", "id", "phase", "place", "reason")})
            return LogLine(at=at, kind="warning" if place.phase == "lost" else "info", words=place.description)
        case "ended":
            message = f": {event['message']}" if event["message"] else ""
            return LogLine(at=at, kind="ended", words=f"{event['outcome']}{message}")
        case _:
            return None
