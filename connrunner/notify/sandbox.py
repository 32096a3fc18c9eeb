"""
Renders templates inside bounds, in a process of its own that knows no secrets and that a bad template may take down.

Jobs come in, one JSON line goes out for each: `{"text": ...}`, `{"uses": [...]}` or `{"trouble": {template, line,
message}}`. When the process dies, the number of lines says which job was at fault.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connrunner.core.workspace_files import is_configuration
from connrunner.processes.limits import forbid_core_dumps, lower_limit

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

SHIPPED = Path(__file__).parent / "templates"
MEMORY = 300 * 1024 * 1024  # bytes of address space
LONGEST = 200_000  # characters of one rendered part; large mail services cut at 102 kB
LARGEST = 256 * 1024  # bytes of a template's file, as for every file of a workspace
LONGEST_MESSAGE = 40  # characters that a template's error says in words of the template
LONGEST_SYNTAX = 300  # characters of what Jinja says about its syntax
SPARE = 1  # seconds of CPU between the polite end of a job and the death of the process

# What Jinja says of a name that does not exist, when that is short and made of letters.
_NAMES_ONLY = re.compile(r"'\w{1,40}(?: object)?' (?:is undefined|has no attribute '\w{1,40}')")


class OutOfTimeError(Exception):
    """A template has used up its time."""


class TooLongError(Exception):
    """A template gives more than a mail may hold."""


class NotATemplateError(Exception):
    """A file that is not read as a template."""


def make_environment(folder: Path, *, html: bool) -> SandboxedEnvironment:
    """Return what renders the templates of *folder*, else our own; `connrunner/NAME` always means our own."""
    from jinja2 import ChoiceLoader, FunctionLoader, PrefixLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    shipped = FunctionLoader(_reader(SHIPPED))
    make_environment = ImmutableSandboxedEnvironment(
        # By the part of the mail, not by the file's name: `select_autoescape` does not see .html.j2.
        autoescape=html,
        loader=ChoiceLoader([PrefixLoader({"connrunner": shipped}), FunctionLoader(_reader(folder)), shipped]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    del make_environment.filters["safe"]  # markup belongs into the template; what comes as data is never markup
    make_environment.filters["number"] = _number()
    return make_environment


def _number() -> Callable[[Any, float], str]:
    """The filter that writes a number as the language of the context does."""
    from jinja2 import pass_context

    from connrunner.notify.language import language_of

    @pass_context
    def number(context: Any, value: float) -> str:
        return language_of(context.get("language", "")).number(value)

    return number


def _reader(folder: Path) -> Callable[[str], tuple[str, str, Callable[[], bool]] | None]:
    def read(name: str) -> tuple[str, str, Callable[[], bool]] | None:
        text = read_template(folder, name)
        return None if text is None else (text, os.path.normpath(folder / name), lambda: True)

    return read


def read_template(folder: Path, name: str) -> str | None:
    """Return what the template *name* of *folder* holds; None when there is none.

    NotATemplateError for what is no regular file, too large, or a link to what is no configuration of the workspace
    that *folder* is in: what a template includes may be shown. UnicodeDecodeError when it is not UTF-8.
    """
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(folder) or not os.path.lexists(path):
        return None
    top, real = folder.parent.resolve(), path.resolve()
    if not real.is_file() or not real.is_relative_to(top):
        raise NotATemplateError("this is not a regular file inside the workspace")
    relative = real.relative_to(top)
    if relative != path.relative_to(folder.parent) and not is_configuration(relative.as_posix()):
        raise NotATemplateError("this is a link to what is no configuration")
    if real.stat().st_size > LARGEST:
        raise NotATemplateError(f"the file has more than {LARGEST // 1024} KiB")
    return real.read_text(encoding="utf-8")


def answer_jobs(
    folder: Path, jobs: Sequence[Mapping[str, Any]], contexts: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield what came of each job: `{template, context}` renders, `{template}` only compiles and tells what it uses."""
    environments = {html: make_environment(folder, html=html) for html in (True, False)}
    endless: dict[str, dict[str, Any]] = {}  # templates that ran out of time are not tried once more
    for job in jobs:
        template = job["template"]
        if template in endless:
            yield endless[template]
            continue
        environment_ = environments[template.endswith(".html.j2")]
        try:
            if "context" in job:
                yield {"text": _render(environment_, template, contexts[job["context"]])}
            else:
                yield {"uses": _uses(environment_, template)}
        except Exception as error:  # whatever a template does is told, never raised
            answer = {"trouble": _trouble(error, template, folder)}
            if isinstance(error, OutOfTimeError):
                endless[template] = answer
            yield answer


def _render(make_environment: SandboxedEnvironment, template: str, context: dict[str, Any]) -> str:
    parts: list[str] = []
    length = 0
    for part in make_environment.get_template(template).generate(context):
        length += len(part)
        if length > LONGEST:
            raise TooLongError(f"more than {LONGEST:,} characters")
        parts.append(part)
    return "".join(parts)


def _uses(make_environment: SandboxedEnvironment, template: str) -> list[str | None]:
    from jinja2 import meta

    assert make_environment.loader is not None
    source, _, _ = make_environment.loader.get_source(make_environment, template)
    make_environment.get_template(template)  # finds what parsing alone does not, such as an unknown filter
    return list(meta.find_referenced_templates(make_environment.parse(source)))


def _trouble(error: Exception, template: str, folder: Path) -> dict[str, Any]:
    """Say where *error* is: the innermost line of a template that the traceback knows."""
    from jinja2 import TemplateNotFound, TemplateSyntaxError

    line = 1
    for frame in traceback.extract_tb(error.__traceback__):
        if name := _name(frame.filename, folder):
            template, line = name, frame.lineno or 1
    if isinstance(error, TemplateSyntaxError):
        template, line = _name(error.filename or "", folder) or template, error.lineno
        message = _cut(error.message or "syntax error", LONGEST_SYNTAX)
    elif isinstance(error, TemplateNotFound):
        message = f"there is no template {_cut(error.message or '')!r}"
    elif isinstance(error, OutOfTimeError):
        message = "rendering takes too long; is there an endless or a nested loop?"
    elif isinstance(error, MemoryError):
        message = "rendering needs too much memory"
    elif isinstance(error, TooLongError):
        message = f"too long: {error}"
    elif isinstance(error, UnicodeDecodeError):
        message = "the file is not UTF-8"
    elif isinstance(error, NotATemplateError) or _NAMES_ONLY.fullmatch(f"{error}"):
        message = f"{error}"
    else:
        message = _cut(f"{error}") or type(error).__name__
    return {"template": template, "line": line, "message": message}


def _cut(message: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return the beginning of *message*: a template that chooses the words of its error must not say much by them."""
    return message if len(message) <= longest else f"{message[:longest]}..."


def _name(filename: str, folder: Path) -> str | None:
    """The template that *filename* is, or None for other files."""
    path = Path(filename)
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return f"connrunner/{path.name}" if path.parent == SHIPPED else None


def _limit(seconds: int) -> None:
    """Give the next job *seconds* of CPU: first an exception that knows the line, then the kernel's end."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    lower_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + seconds + SPARE)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


def main() -> None:
    def out_of_time(*_: object) -> None:
        raise OutOfTimeError

    request = json.load(sys.stdin)
    forbid_core_dumps()
    lower_limit(resource.RLIMIT_AS, MEMORY)
    signal.signal(signal.SIGVTALRM, out_of_time)
    _limit(request["seconds"])
    for answer in answer_jobs(Path(request["folder"]), request["jobs"], request["contexts"]):
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        _limit(request["seconds"])


if __name__ == "__main__":
    main()
