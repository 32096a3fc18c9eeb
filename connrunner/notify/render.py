"""
From what happened to subject, text and HTML.

Each event has a kind, and each kind three templates of ours: `run.subject.j2`, `run.txt.j2`, `run.html.j2` for what is
about one run. A workspace replaces them by files of the same name in its `templates/` folder, for a single event by
`failing.txt.j2`, for a target by `targets/NAME/run.txt.j2`, for a connection by `connections/NAME/run.txt.j2`. To
change one block only, such a file extends our own: `{% extends "connrunner/run.html.j2" %}`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from connrunner.core.model import Outcome
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.notify import clean_environment
from connrunner.notify.sanitize import clean_line
from connrunner.text.nesting import parse_json

SUBJECT, TEXT, HTML = PARTS = ("subject.j2", "txt.j2", "html.j2")  # of a mail
CHAT = "chat.j2"  # the short text for channels, under the mail's subject
ALL = (*PARTS, CHAT)
KINDS = ("run", "late", "digest", "folded", "outage", "broken", "fixed", "attention")  # the templates that we bring
RUN_EVENTS = (*(outcome.value for outcome in Outcome), "declined", "failing", "reminder", "recovered")
EVENTS = (*RUN_EVENTS, *KINDS[1:])
LAYOUT = "layout.html.j2"  # what the HTML of every kind extends
CPU_SECONDS = 3  # for one part of one mail; a sound template needs some milliseconds
DEATHS = len(ALL)  # processes that may be lost before the rest is not tried any more
KEPT = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME")  # of the environment: the rest may hold secrets


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderProblem:
    """Why a template could not be rendered."""

    template: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.template}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class RenderedMessage:
    """What a mail says, and a chat; without *html* the mail has a text part only."""

    subject: str
    text: str
    html: str | None
    chat: str = ""


def render(workspace: Path, contexts: Sequence[Mapping[str, Any]], *, deadline: float) -> list[RenderedMessage]:
    """Return one mail for each of *contexts*, until *deadline* (monotonic): a plain one where a template fails."""
    jobs = [
        {"template": choose_template(workspace, context, part), "context": index}
        for index, context in enumerate(contexts)
        for part in ALL
    ]
    answers = iter(ask_sandbox(workspace, jobs, contexts, deadline=deadline))
    return [_mail(context, [next(answers) for _ in ALL]) for context in contexts]


def choose_template(workspace: Path, context: Mapping[str, Any], part: str) -> str:
    """Return the name of the template for a *part* of the mail about *context*: the most special one that there is."""
    folder = workspace / "templates"
    names = [f"{place}{word}.{part}" for place in template_paths(context) for word in event_words(context["event"])]
    return next((name for name in names if os.path.lexists(folder / name)), names[-1])


def template_paths(context: Mapping[str, Any]) -> list[str]:
    """Return the folders in `templates/` for *context*: the reader's form wins over the connection's."""
    target = [f"targets/{context['target']}/"] if context["target"] else []
    connection = [f"connections/{context['connection']['name']}/"] if context["connection"] else []
    return [*target, *connection, ""]


def event_words(event: str) -> tuple[str, ...]:
    """Return how a template for *event* may be called: after itself, or after its kind."""
    kind = kind_of(event)
    return (event,) if event == kind else (event, kind)


def kind_of(event: str) -> str:
    """Return the first part of the names of our templates for *event*."""
    return event if event in KINDS else "run"


def _mail(context: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> RenderedMessage:
    """Put the parts together; a template for chats that fails costs no mail its form, and the other way round."""
    *mail, chat = answers
    troubles = [RenderProblem(**answer["trouble"]) for answer in mail if "trouble" in answer]
    rendered = fallback(context, troubles[0]) if troubles else RenderedMessage(*(answer["text"] for answer in mail))
    said = fallback(context, RenderProblem(**chat["trouble"])).text if "trouble" in chat else chat["text"]
    return replace(rendered, chat=said.strip())


def fallback(context: Mapping[str, Any], trouble: RenderProblem) -> RenderedMessage:
    """Return the mail that needs no template: what happened, and what is wrong with the template."""
    subject, facts = _plainly(context)
    text = [
        subject,
        "",
        *facts,
        "",
        "This mail is plain because its template could not be rendered:",
        f"    templates/{clean_line(trouble.template)}, line {trouble.line}: {clean_line(trouble.message, limit=500)}",
        "Repair the template; `connrunner validate` finds the same mistake. The runs are not affected.",
    ]
    return RenderedMessage(subject=subject, text="\n".join(text) + "\n", html=None)


def _plainly(context: Mapping[str, Any]) -> tuple[str, list[str]]:
    connection, run, event = context["connection"], context["run"], context["event"]
    if not connection or not run:
        about = connection["title"] if connection else context["workspace"]
        return f"{about}: {event}", [f"See more: {context['commands']['status']}"]
    what = "" if event == run["outcome"] else f"{event}, "
    return f"{connection['title']}: {what}run {run['number']} {run['outcome']}", [
        run["message"] or run["meaning"],
        "",
        f"Connection: {connection['name']}",
        f"Started: {run['started_at'] or 'never'}",
        f"Ended: {run['ended_at']}",
        f"Run time: {run['run_time']}",
        *(f"{name}: {number:,}" for name, number in context["counts"].items() if number),
        f"Next run: {context['next_run'] or 'none'}",
        "",
        f"The log: {context['commands']['log']}",
    ]


def ask_sandbox(
    workspace: Path,
    jobs: Sequence[Mapping[str, Any]],
    contexts: Sequence[Mapping[str, Any]],
    *,
    deadline: float,
    cpu_seconds: int = CPU_SECONDS,
) -> list[dict[str, Any]]:
    """Return one answer of the sandbox for each of *jobs*; a job that takes the process down is answered for it."""
    answers: dict[int, dict[str, Any]] = {}
    left = list(range(len(jobs)))
    end = "no time was left"
    for _ in range(DEATHS):
        if not left:
            break
        request = {
            "folder": str(workspace.absolute() / "templates"),
            "jobs": [jobs[number] for number in left],
            "contexts": contexts,
            "seconds": cpu_seconds,
        }
        given, end = _process(request, deadline)
        answers |= dict(zip(left, given, strict=False))
        left = left[len(given) :]
        if left:
            fatal = jobs[left[0]]["template"]
            answers |= {number: _trouble(fatal, end) for number in left if jobs[number]["template"] == fatal}
            left = [number for number in left if number not in answers]
    answers |= {number: _trouble(jobs[number]["template"], f"not tried, because before it {end}") for number in left}
    return [answers[number] for number in range(len(jobs))]


def _trouble(template: str, message: str) -> dict[str, Any]:
    return {"trouble": {"template": template, "line": 1, "message": message}}


def _process(request: Mapping[str, Any], deadline: float) -> tuple[list[dict[str, Any]], str]:
    """Return the answers of one process, and how it ended."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "connrunner.notify.sandbox"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment.clean_environment(KEPT),
            cwd="/",
        )
    except OSError as error:
        return [], f"the process that renders cannot start: {error.strerror or error}"
    with process:
        try:
            output, errors = process.communicate(
                json.dumps(request).encode(), timeout=max(0.1, deadline - time.monotonic())
            )
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            return list(_whole(output)), "rendering takes too long"
    return list(_whole(output)), _end(process.returncode, errors)


def _whole(output: bytes) -> Iterator[dict[str, Any]]:
    """The answers up to the one in the middle of which the process ended."""
    for line in output.splitlines(keepends=True):
        try:
            answer = parse_json(line) if line.endswith(b"\n") else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            return
        yield answer


def _end(status: int, errors: bytes) -> str:
    if -status in (signal.SIGXCPU, signal.SIGKILL):
        return "rendering takes too long"
    if status < 0:
        return f"the process that renders was ended by signal {-status}"
    last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"the process that renders ended with status {status}: {clean_line(last)}"
