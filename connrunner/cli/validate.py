"""The command `validate`: every problem of a workspace, where it is and what to do about it."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from connrunner import __version__
from connrunner.answers.workspace_view import uncommitted
from connrunner.cli.home import find_folder, leave, uncommitted_words
from connrunner.cli.text import clean
from connrunner.config.finding import Finding
from connrunner.config.load import load
from connrunner.config.place import declares_git
from connrunner.config.stamps import stamps
from connrunner.config.target_extras import missing
from connrunner.connectors import extras
from connrunner.core.model import Connection
from connrunner.errors import ArgumentError, Problem, WorkspaceError
from connrunner.notify.check import check_templates
from connrunner.text.words import plural

WINDOW = 100  # characters of a line that are shown at most


@click.command("validate")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    help="For people, programs, GitHub's checks, or code scanning.",
)
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder with connrunner.yaml; without it, this folder or one above.",
)
def validate_command(paths: tuple[Path, ...], output: str, workspace: Path | None) -> None:
    """Check the workspace: every problem, with its place and remedy.

    With PATHs, files or folders of the workspace, only their problems are shown.
    """
    folder = find_folder(workspace)
    problems = validate_workspace(folder, paths)
    prefix = shown_prefix(folder, Path.cwd())
    if output == "text":
        click.echo(as_text(problems, prefix, summary(folder, paths, problems)))
        if not_obeyed := _not_obeyed(folder):
            click.echo(clean(not_obeyed), err=True)
    else:
        click.echo(_FORMATS[output](problems, prefix), nl=output != "github")
    leave(2 if problems else 0)


def validate_workspace(folder: Path, paths: Sequence[Path]) -> list[Problem]:
    """Return every problem of the workspace in *folder*, or only those of *paths*, relative to the current folder.

    ArgumentError for a path that does not exist or lies elsewhere; WorkspaceError when there is nothing to check.
    """
    wanted = [_in_workspace(folder, path) for path in paths]
    problems: Sequence[Problem]
    lacking: list[Problem] = []
    try:
        found = load(folder, as_written=True)
        problems = found.problems
        lacking = [problem for one in found.connections.values() if one.enabled for problem in _lacking(folder, one)]
    except WorkspaceError as error:
        if not error.problems:
            raise
        problems = error.problems
    problems = sorted((*problems, *check_templates(folder), *lacking, *missing(folder)))
    return [problem for problem in problems if not wanted or _is_below(problem.path, wanted)]


def _not_obeyed(folder: Path) -> str:
    """Say which of the files that were checked here are not those that ticks obey."""
    try:
        workspace = load(folder)
    except WorkspaceError as error:  # of the folder, and told; or of the commit, and new
        return "" if error.problems or not declares_git(str(folder)) else str(error)
    paths = uncommitted(workspace)
    return uncommitted_words(workspace, paths) if paths else ""


def _lacking(folder: Path, connection: Connection) -> Iterator[Problem]:
    """Yield a problem for each extra that *connection* needs and this machine lacks.

    That is no mistake of the file, so a connection is not broken by it, and nothing about it is kept in the cache.
    """
    from connrunner.config.documents.document import parse

    for one in extras.missing(connection.work):
        path = f"connections/{connection.name}.yaml"
        message = f"{one.what} needs the extra `{one.extra}`, which is not installed"
        hint = f"pip install 'connrunner[{one.extra}]'"
        yield parse((folder / path).read_bytes(), path).problem(Finding(one.path, message, hint, "missing-extra"))


def summary(folder: Path, paths: Sequence[Path], problems: Sequence[Problem]) -> str:
    """Return the last line: how many problems in how many files, or what was found sound."""
    if problems:
        in_files = plural(len({problem.path for problem in problems}), "file")
        return f"{plural(len(problems), 'problem')} in {in_files}"
    files = [path for path in stamps(folder) if path.endswith(".yaml")]
    if paths:
        wanted = [_in_workspace(folder, path) for path in paths]
        return f"{plural(sum(_is_below(path, wanted) for path in files), 'file')}: all sound"
    connections = plural(sum(path.startswith("connections/") for path in files), "connection")
    schedules = plural(sum(path.startswith("schedules/") for path in files), "schedule")
    return f"{connections}, {schedules}: all sound"


def shown_prefix(folder: Path, current: Path) -> str:
    """Return what to put before a path of the workspace to make it relative to the current folder."""
    relative = os.path.relpath(folder.resolve(), current.resolve())
    if relative == ".":
        return ""
    return f"{folder}/" if relative.startswith("..") else f"{relative}/"


def _in_workspace(folder: Path, path: Path) -> str:
    """Return *path* relative to the workspace; empty for the workspace itself."""
    if not path.exists():
        raise ArgumentError(f"there is no file {path}")
    try:
        relative = path.resolve().relative_to(folder.resolve())
    except ValueError:
        raise ArgumentError(
            f"{path} is not in the workspace {folder}", hint="name another one with --workspace"
        ) from None
    return relative.as_posix().removeprefix(".")


def _is_below(path: str, wanted: Sequence[str]) -> bool:
    return any(not one or path == one or path.startswith(f"{one}/") for one in wanted)


# --- the four formats --------------------------------------------------------------------------------------------


def as_text(problems: Sequence[Problem], prefix: str, last: str) -> str:
    """Return each problem with its line and a caret under its place, and *last*."""
    lines = []
    for problem in problems:
        lines.append(clean(f"{prefix}{problem}"))
        if problem.source.strip():
            lines += [f"  {line}" for line in excerpt(problem.source, problem.column)]
    return "\n".join([*lines, last])


def excerpt(source: str, column: int) -> tuple[str, str]:
    """Return the part of a line around *column* (from 1), and a line with a caret under that column."""
    start = 0 if column <= WINDOW * 3 // 4 else column - WINDOW // 2
    part = clean(source[start : start + WINDOW])
    before = "".join("\t" if char == "\t" else " " * _width(char) for char in part[: column - 1 - start])
    dots = "..." if start else ""
    return dots + part + ("..." if len(source) > start + WINDOW else ""), " " * len(dots) + before + "^"


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def as_json(problems: Sequence[Problem], prefix: str) -> str:
    """Return a JSON list; paths are relative to the workspace."""
    del prefix
    keys = ("path", "line", "column", "message", "hint", "code")
    return json.dumps([{key: getattr(problem, key) for key in keys} for problem in problems], indent=2)


def as_github(problems: Sequence[Problem], prefix: str) -> str:
    """Return workflow commands that GitHub shows as annotations beside the lines."""
    return "".join(
        f"::error file={_property(prefix + problem.path)},line={problem.line},col={problem.column}"
        f",title={_property(problem.code)}::{_escaped(_sentence(problem))}\n"
        for problem in problems
    )


def as_sarif(problems: Sequence[Problem], prefix: str) -> str:
    """Return a SARIF 2.1.0 log, for code scanning."""
    codes = sorted({problem.code for problem in problems})
    results = [
        {
            "ruleId": problem.code,
            "ruleIndex": codes.index(problem.code),
            "level": "error",
            "message": {"text": _sentence(problem)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(prefix + problem.path)},
                        "region": {"startLine": problem.line, "startColumn": problem.column},
                    }
                }
            ],
        }
        for problem in problems
    ]
    driver = {"name": "connrunner", "version": __version__, "rules": [{"id": code} for code in codes]}
    log: dict[str, Any] = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }
    return json.dumps(log, indent=2)


_FORMATS: Mapping[str, Callable[[Sequence[Problem], str], str]] = {
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
}


def _sentence(problem: Problem) -> str:
    return problem.message + (f"; {problem.hint}" if problem.hint else "")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
