"""Values that tests make often, from flat facts."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from connrunner.core import instant, run_records
from connrunner.core.model import QueuedRun, Result, Run, RunIntent
from connrunner.state.folder import StateFolder

PARTS = {"entry": QueuedRun, "intent": RunIntent, "result": Result}


def ended_run(**facts: Any) -> Run:
    """Return an ended run; each of *facts* is one of its own or of its parts (entry, intent, result)."""
    parts = {name: kind(**_taken(facts, kind)) for name, kind in PARTS.items()}
    return Run(**parts, **facts)


def changed_run(run: Run, /, **facts: Any) -> Run:
    """Return *run* with some of its facts, or those of its parts, changed."""
    parts = {name: replace(getattr(run, name), **_taken(facts, kind)) for name, kind in PARTS.items()}
    return replace(run, **parts, **facts)


def write_history(state: StateFolder, like: Run, *, runs: int, apart: timedelta = timedelta(0)) -> None:
    """Write a history of as many *runs* at once, all *like* one but for number and end; that of the last is its own."""
    state.connection(like.connection).mkdir(parents=True, exist_ok=True)
    last = run_records.as_dict(like)
    with state.history(like.connection).open("w") as file:
        for number in range(1, runs + 1):
            ended_at = instant.text(like.ended_at - (runs - number) * apart)
            file.write(json.dumps({**last, "run": number, "ended_at": ended_at}) + "\n")


def _taken(facts: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Take what belongs to *kind* out of *facts*."""
    return {each.name: facts.pop(each.name) for each in fields(kind) if each.name in facts}
