"""Find the mistakes in a workspace's templates before a mail does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connrunner.core import merge_conflict
from connrunner.errors import Problem
from connrunner.notify import samples
from connrunner.notify.render import (
    ALL,
    CHAT,
    EVENTS,
    KINDS,
    LAYOUT,
    PARTS,
    RenderProblem,
    ask_sandbox,
    choose_template,
)
from connrunner.notify.sandbox import NotATemplateError, read_template
from connrunner.notify.variables import NAMES, VARIABLES
from connrunner.text.words import escape, nearest

SECONDS = 30.0
USED = frozenset({LAYOUT, *(f"{word}.{part}" for word in {*EVENTS, *KINDS} for part in ALL)})
PLACES = {"targets": "notifications", "connections": "connections"}  # whose names the folders in `templates/` bear


def check_templates(folder: Path) -> tuple[Problem, ...]:
    """Compile every template of the workspace *folder* and render them for samples of each event, small and large."""
    templates = folder / "templates"
    files = sorted(path.relative_to(templates).as_posix() for path in templates.rglob("*"))
    names = [name for name in files if name.endswith(".j2")]
    misnamed = tuple(_misnamed(name) for name in files if name.lower().endswith(".j2") and name not in names)
    if not names:
        return misnamed
    contexts: list[dict[str, Any]] = []
    jobs: list[dict[str, Any]] = [{"template": name} for name in names]
    for place in _places(names):
        for context in samples.samples([place]):
            chosen = [choose_template(folder, context, part) for part in ALL]
            # What a folder does not replace is tried for the workspace itself.
            jobs += [{"template": name, "context": len(contexts)} for name in chosen if not any(place) or "/" in name]
            contexts.append(context)
    answers = ask_sandbox(folder, jobs, contexts, deadline=time.monotonic() + SECONDS)

    troubles = [RenderProblem(**answer["trouble"]) for answer in answers if "trouble" in answer]
    problems = {_problem(trouble, templates) for trouble in troubles}
    problems |= {*misnamed, *_blank(names, jobs, answers)}
    problems |= {stranger for name in names if (stranger := _stranger(folder, name))}
    if not troubles:
        used = {name for answer in answers for name in answer.get("uses", ())}
        problems |= {_unused(name) for name in names if None not in used and name not in used and not _is_used(name)}
    conflicts = {problem.path: problem for problem in _conflicts(templates, names)}
    return tuple(sorted([*conflicts.values(), *(one for one in problems if one.path not in conflicts)]))


def _conflicts(templates: Path, names: list[str]) -> Iterator[Problem]:
    """Yield a problem for each template that git has left in the middle of a merge."""
    for name in names:
        line = merge_conflict.find_line("\n".join(_lines(templates, name)), is_yaml=False)
        if line is not None:
            message, hint, code = merge_conflict.COMPLAINT
            source = _source(templates, name, line)
            yield Problem(
                path=f"templates/{name}", line=line, column=1, message=message, hint=hint, code=code, source=source
            )


def _blank(names: list[str], jobs: list[dict[str, Any]], answers: list[dict[str, Any]]) -> Iterator[Problem]:
    """Yield a problem for each of the templates *names* that gives nothing but blanks, whatever happened."""
    given: dict[str, str] = {}
    for job, answer in zip(jobs, answers, strict=True):
        if "context" in job:
            given[job["template"]] = given.get(job["template"], "") + answer.get("text", "not tried").strip()
    for name, text in given.items():
        if name in names and not text and not name.endswith(CHAT):  # a chat has the subject, too
            message = "this template gives an empty text, and a mail would go out so"
            hint = "write something, or remove the file: then our own form is used"
            yield Problem(path=f"templates/{name}", line=1, column=1, message=message, hint=hint, code="template")


def _misnamed(name: str) -> Problem:
    stem, _, ending = name.rpartition(".")
    hint = f"rename it to {escape(stem.rpartition('/')[2].lower())}.{ending.lower()}"
    path = f"templates/{escape(name)}"
    return Problem(path=path, line=1, column=1, message="templates end in .j2", hint=hint, code="wrong-suffix")


def _places(names: list[str]) -> list[tuple[str, str]]:
    """Return a target's and a connection's name for the workspace itself, and for each folder of templates."""
    special = {tuple(name.split("/")[:2]) for name in names if name.count("/") == 2}
    of = {kind: sorted(name for first, name in special if first == kind) for kind in PLACES}
    return [("", ""), *((name, "") for name in of["targets"]), *(("", name) for name in of["connections"])]


def _is_used(name: str) -> bool:
    """Whether a mail looks for a template of this name."""
    folder, _, file = name.rpartition("/")
    return file in USED and (not folder or (folder.count("/") == 1 and folder.split("/")[0] in PLACES))


def _stranger(folder: Path, name: str) -> Problem | None:
    """Return the problem of a template in a folder that is called like no target or connection."""
    if not _is_used(name) or "/" not in name:
        return None
    kind, owner, _ = name.split("/")
    known = [path.stem for path in (folder / PLACES[kind]).glob("*.yaml")]
    if owner in known:
        return None
    meant = nearest(owner, known)
    hint = f"did you mean {meant!r}?" if meant else f"there is no {PLACES[kind]}/{owner}.yaml"
    message = f"this template is for {owner!r}, which does not exist"
    return Problem(path=f"templates/{name}", line=1, column=1, message=message, hint=hint, code="template")


def _problem(trouble: RenderProblem, templates: Path) -> Problem:
    source = _source(templates, trouble.template, trouble.line)
    return Problem(
        path=f"templates/{trouble.template}",
        line=trouble.line,
        column=_column(trouble.message, source),
        message=trouble.message,
        hint=_hint(trouble.message),
        code="template",
        source=source,
    )


def _column(message: str, source: str) -> int:
    """Return where in the line the last name that Jinja complains of stands: it tells the line only."""
    for name in reversed(re.findall(r"'([^']+)'", message)):
        if found := re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", source):
            return found.start() + 1
    return 1


def _source(templates: Path, name: str, line: int) -> str:
    lines = _lines(templates, name)
    return lines[line - 1] if 0 < line <= len(lines) else ""


def _lines(templates: Path, name: str) -> list[str]:
    try:
        return re.split("\r\n|\r|\n", read_template(templates, name) or "")
    except (OSError, ValueError, NotATemplateError):
        return []


def _hint(message: str) -> str:
    """A template's commonest mistakes: a name that does not exist, and a part that not every event has."""
    if found := re.search(r"^'None' has no attribute '(\w+)'", message):
        return "not every event has it; ask with {% if ... %} first, or write a template for the events that have it"
    found = re.search(r"^'(\w+)' is undefined|no attribute '(\w+)'", message)
    if not found:
        return ""
    name = found[1] or found[2]
    if meant := nearest(name, sorted(NAMES)):
        return f"did you mean {meant!r}?"
    return f"a template sees {', '.join(sorted(name for name in VARIABLES if name.isidentifier()))}" if found[1] else ""


def _unused(name: str) -> Problem:
    meant = nearest(name, sorted(USED))
    names = ", ".join(f"run.{part}" for part in PARTS)
    hint = f"did you mean {meant!r}?" if meant else f"the templates of a mail about a run are {names}"
    if name.rpartition("/")[2] in USED:
        hint = "mails look into templates/, templates/targets/NAME/ and templates/connections/NAME/"
    message = "this template is used by nothing"
    return Problem(path=f"templates/{name}", line=1, column=1, message=message, hint=hint, code="template")
