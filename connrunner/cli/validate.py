"""The command `validate`: every problem of a workspace, where it is and what to do about it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from connrunner import __version__
from connrunner.answers.validation import as_list, describe_unobeyed, summarize_problems, validate_workspace
from connrunner.answers.workspace_view import find_folder
from connrunner.cli.options import leave
from connrunner.cli.text import clean, display_width, json_without_commands, without_commands
from connrunner.errors import Problem

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

    With PATHs, files or folders of the workspace, only their problems are shown. What is sound and looks like a
    mistake is a warning, which does not fail the check.
    """
    folder = find_folder(workspace)
    problems = validate_workspace(folder, paths)
    prefix = shown_prefix(folder, Path.cwd())
    unobeyed = describe_unobeyed(folder)
    if output == "text":
        click.echo(as_text(problems, prefix, summarize_problems(folder, paths, problems)))
        if unobeyed and not any(problem.code == "no-commit" for problem in problems):
            click.echo(without_commands(clean(unobeyed)), err=True)
    else:
        click.echo(_FORMATS[output](problems, prefix), nl=output != "github")
    leave(0 if all(problem.is_warning for problem in problems) else 2)


def shown_prefix(folder: Path, current: Path) -> str:
    """Return what to put before a path of the workspace to make it relative to the current folder."""
    relative = os.path.relpath(folder.resolve(), current.resolve())
    if relative == ".":
        return ""
    return f"{folder}/" if relative.startswith("..") else f"{relative}/"


# --- the four formats --------------------------------------------------------------------------------------------


def as_text(problems: Sequence[Problem], prefix: str, last: str) -> str:
    """Return each problem with its line and a caret under its place, and *last*."""
    lines = []
    for problem in problems:
        lines.append(clean(f"{prefix}{problem}"))
        if problem.source.strip():
            # Not at the beginning: GitHub's runner obeys a line that begins with `::`, blanks or not.
            lines += [f"  | {line}" for line in excerpt(problem.source, problem.column)]
    return without_commands("\n".join([*lines, last]))


def excerpt(source: str, column: int) -> tuple[str, str]:
    """Return the part of a line around *column* (from 1), and a line with a caret under that column."""
    start = 0 if column <= WINDOW * 3 // 4 else column - WINDOW // 2
    part = clean(source[start : start + WINDOW])
    parts = part[: column - 1 - start].split("\t")
    before = "\t".join(" " * display_width(words) for words in parts)
    dots = "..." if start else ""
    return dots + part + ("..." if len(source) > start + WINDOW else ""), " " * len(dots) + before + "^"


def as_json(problems: Sequence[Problem], prefix: str) -> str:
    """Return a JSON list; paths are relative to the workspace."""
    del prefix
    return json_without_commands(json.dumps(as_list(problems), indent=2))


def as_github(problems: Sequence[Problem], prefix: str) -> str:
    """Return workflow commands that GitHub shows as annotations beside the lines."""
    return "".join(
        f"::{_level(problem)} file={_property(prefix + problem.path)},line={problem.line},col={problem.column}"
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
            "level": _level(problem),
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
    return json_without_commands(json.dumps(log, indent=2))


_FORMATS: Mapping[str, Callable[[Sequence[Problem], str], str]] = {
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
}


def _level(problem: Problem) -> str:
    return "warning" if problem.is_warning else "error"


def _sentence(problem: Problem) -> str:
    return problem.message + (f"; {problem.hint}" if problem.hint else "")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
