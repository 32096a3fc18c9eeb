"""Find the mistakes in a workspace's templates before a mail does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Run
from connrunner.errors import Problem
from connrunner.notify.facts import REJECT, context
from connrunner.notify.render import TEMPLATES, Trouble, work

SECONDS = 30.0


def check(folder: Path) -> tuple[Problem, ...]:
    """Compile every template of the workspace *folder* and render them for a sample run of each outcome."""
    templates = folder / "templates"
    names = sorted(path.relative_to(templates).as_posix() for path in templates.rglob("*.j2"))
    if not names:
        return ()
    contexts = list(_samples())
    jobs: list[dict[str, Any]] = [{"template": name} for name in names]
    jobs += [{"template": name, "context": index} for name in TEMPLATES for index in range(len(contexts))]
    answers = work(folder, jobs, contexts, deadline=time.monotonic() + SECONDS)

    troubles = [Trouble(**answer["trouble"]) for answer in answers if "trouble" in answer]
    problems = {_problem(trouble, templates, contexts[0]) for trouble in troubles}
    if not troubles:
        used = {name for answer in answers for name in answer.get("uses", ())}
        problems |= {_unused(name) for name in names if None not in used and name not in {*used, *TEMPLATES}}
    return tuple(sorted(problems))


def _problem(trouble: Trouble, templates: Path, sample: Mapping[str, Any]) -> Problem:
    return Problem(
        path=f"templates/{trouble.template}",
        line=trouble.line,
        column=1,
        message=trouble.message,
        hint=_hint(trouble.message, sample),
        code="template",
        source=_source(templates / trouble.template, trouble.line),
    )


def _source(path: Path, line: int) -> str:
    if not path.is_file():  # a pipe would never end
        return ""
    try:
        return path.read_text(encoding="utf-8").splitlines()[line - 1]
    except (OSError, ValueError, IndexError):
        return ""


def _hint(message: str, sample: Mapping[str, Any]) -> str:
    """A template's commonest mistake is a name that does not exist."""
    found = re.search(r"^'(\w+)' is undefined|no attribute '(\w+)'", message)
    if not found:
        return ""
    name = found[1] or found[2]
    names = [*sample, *REJECT, *(key for part in sample.values() if isinstance(part, dict) for key in part)]
    if close := get_close_matches(name, names, n=1):
        return f"did you mean {close[0]!r}?"
    return f"a template sees {', '.join(sorted(sample))}" if found[1] else ""


def _unused(name: str) -> Problem:
    close = get_close_matches(name, TEMPLATES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the templates of a mail are {', '.join(TEMPLATES)}"
    message = "this template is used by nothing"
    return Problem(path=f"templates/{name}", line=1, column=1, message=message, hint=hint, code="template")


def _samples() -> Iterator[dict[str, Any]]:
    """What templates see of each outcome: once as little as there can be, once all of it."""
    due = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
    for outcome in Outcome:
        least = Run(
            connection="sample",
            run=1,
            outcome=outcome,
            trigger="schedule",
            due_at=due,
            queued_at=due,
            started_at=None,
            ended_at=due,
            seconds=0,
            counts=Counts(),
        )
        most = replace(
            least,
            trigger="manual",
            started_at=due + timedelta(seconds=2),
            ended_at=due + timedelta(seconds=75),
            seconds=73,
            counts=Counts(read=12_000, checked=12_000, created=500, updated=1_200, unchanged=10_286, invalid=14),
            message="14 of 12,000 rows were refused",
            code="wrong-type",
            commit="3f2a9c1d",
            missed=2,
            merged=1,
            asked_by="ann",
            kind="import",
        )
        yield context(least, title="Sample")
        full = context(most, title="Sample", description="A sample.", owner="data-team", next_run=due, workspace="crm")
        reject = {"file": "a.csv", "line": 2, "field": "born", "code": "wrong-type", "message": "no date", "value": "x"}
        yield full | {"rejects": [reject] * 10, "rejects_total": {"wrong-type": 14}, "rejects_more": True}
