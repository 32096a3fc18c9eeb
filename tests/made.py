"""Values that tests make often, from flat facts."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from connrunner.core.model import QueuedRun, Result, Run, RunIntent

PARTS = {"entry": QueuedRun, "intent": RunIntent, "result": Result}


def ended_run(**facts: Any) -> Run:
    """Return an ended run; each of *facts* is one of its own or of its parts (entry, intent, result)."""
    parts = {name: kind(**_taken(facts, kind)) for name, kind in PARTS.items()}
    return Run(**parts, **facts)


def changed_run(run: Run, /, **facts: Any) -> Run:
    """Return *run* with some of its facts, or those of its parts, changed."""
    parts = {name: replace(getattr(run, name), **_taken(facts, kind)) for name, kind in PARTS.items()}
    return replace(run, **parts, **facts)


def _taken(facts: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Take what belongs to *kind* out of *facts*."""
    return {each.name: facts.pop(each.name) for each in fields(kind) if each.name in facts}
