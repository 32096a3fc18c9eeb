"""Every problem of a workspace, where it is and what to do about it: the answer of `connrunner validate`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connrunner.answers.unreachable_files import find_unreachable_files
from connrunner.answers.workspace_view import describe_uncommitted, read_uncommitted
from connrunner.config import zones
from connrunner.config.doubts import find_doubts
from connrunner.config.finding import Finding
from connrunner.config.load import load
from connrunner.config.place import FILE, declares_git
from connrunner.config.stamps import stamps
from connrunner.config.target_extras import find_missing_extras
from connrunner.config.versions.git import MalformedTreeError
from connrunner.connectors import extras
from connrunner.core import instant
from connrunner.core.model import Connection
from connrunner.core.planning.ended import find_ended_schedules
from connrunner.errors import ArgumentError, Problem, WorkspaceError
from connrunner.lazy_dataclasses import replace
from connrunner.notify.check import check_templates
from connrunner.text.words import plural

ENDED_HINT = "give it a later end, or write `enabled: false`"


def validate_workspace(folder: Path, paths: Sequence[Path]) -> list[Problem]:
    """Return every problem of the workspace in *folder*, or only those of *paths*, relative to the current folder.

    What is sound and looks like a mistake is among them, as a warning.

    ArgumentError for a path that does not exist or lies elsewhere; WorkspaceError when there is nothing to check.
    """
    wanted = [_in_workspace(folder, path) for path in paths]
    problems: Sequence[Problem]
    lacking: list[Problem] = []
    ended: list[Problem] = []
    try:
        found = load(folder, as_written=True)
        problems = found.problems
        lacking = [problem for one in found.connections.values() if one.enabled for problem in _lacking(folder, one)]
        ended = list(_ended(folder, found.connections.values()))
        lacking += find_unreachable_files(folder, found)
    except WorkspaceError as error:
        if not error.problems:
            raise
        problems = error.problems
    unseen = [] if problems else _find_unobeyable(folder)
    more = (*unseen, *check_templates(folder), *lacking, *ended, *find_missing_extras(folder), *find_doubts(folder))
    problems = sorted((*problems, *more))
    return [problem for problem in problems if not wanted or _is_below(problem.path, wanted)]


def _find_unobeyable(folder: Path) -> list[Problem]:
    """Return why ticks can obey no commit of *folder*; nothing while one is being made, which may be the first."""
    from connrunner.config.documents.document import parse

    if not declares_git(str(folder)) or {"GIT_INDEX_FILE", "PRE_COMMIT"} & os.environ.keys():
        return []
    try:
        load(folder)
    except MalformedTreeError:
        raise
    except WorkspaceError as error:
        if error.problems:
            return []
        document = parse((folder / FILE).read_bytes(), FILE)
        message = f"ticks can obey no commit: {error.message}"
        return [document.problem(Finding(("source",), message, error.hint, "no-commit"))]
    return []


def describe_unobeyed(folder: Path) -> str:
    """Return which of the files that were checked are not those that ticks obey; empty when all are.

    MalformedTreeError when what they would obey lists files as no git does.
    """
    try:
        workspace = load(folder)
    except MalformedTreeError:
        raise
    except WorkspaceError as error:  # of the folder, and told; or of the commit, and new
        if not declares_git(str(folder)):
            return ""
        if error.problems:
            return f"ticks obey the commit, and cannot: {error.problems[0]}; commit the files"
        return str(error)
    paths = read_uncommitted(workspace)
    return describe_uncommitted(workspace.commit, paths) if paths else ""


def _ended(folder: Path, connections: Iterable[Connection]) -> Iterator[Problem]:
    """Yield a warning for each schedule that has ended."""
    from connrunner.config.documents.document import parse

    for one in find_ended_schedules(connections, {}, now=datetime.now(UTC), zones=zones.version()):
        path = f"connections/{one.connection}.yaml"
        message = f"the schedule has ended: its last slot was {instant.text(one.last)}"
        finding = Finding(("schedule",), message, ENDED_HINT, "schedule-ended")
        yield replace(parse((folder / path).read_bytes(), path).problem(finding), is_warning=True)


def _lacking(folder: Path, connection: Connection) -> Iterator[Problem]:
    """Yield a problem for each extra that *connection* needs and this machine lacks.

    That is no mistake of the file, so a connection is not broken by it, and nothing about it is kept in the cache.
    """
    from connrunner.config.documents.document import parse

    for extra in extras.find_needed_extras(connection.work):
        path = f"connections/{connection.name}.yaml"
        message = f"{extra.what} needs the extra `{extra.extra}`, which is not installed"
        hint = f"pip install 'connrunner[{extra.extra}]'"
        yield parse((folder / path).read_bytes(), path).problem(Finding(extra.path, message, hint, "missing-extra"))


def summarize_problems(folder: Path, paths: Sequence[Path], problems: Sequence[Problem]) -> str:
    """Return the last line: how many problems in how many files, or what was found sound; and how many warnings."""
    mistakes = [problem for problem in problems if not problem.is_warning]
    warnings = len(problems) - len(mistakes)
    and_warnings = f", {plural(warnings, 'warning')}" if warnings else ""
    if mistakes:
        in_files = plural(len({problem.path for problem in mistakes}), "file")
        return f"{plural(len(mistakes), 'problem')} in {in_files}{and_warnings}"
    files = [path for path in stamps(folder) if path.endswith(".yaml")]
    if paths:
        wanted = [_in_workspace(folder, path) for path in paths]
        return f"{plural(sum(_is_below(path, wanted) for path in files), 'file')}: all sound{and_warnings}"
    connections = plural(sum(path.startswith("connections/") for path in files), "connection")
    schedules = plural(sum(path.startswith("schedules/") for path in files), "schedule")
    return f"{connections}, {schedules}: all sound{and_warnings}"


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
    return any(not folder or path == folder or path.startswith(f"{folder}/") for folder in wanted)


def as_list(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return *problems* as `validate --format json` shows them; paths are relative to the workspace."""
    keys = ("path", "line", "column", "message", "hint", "code")
    return [
        {key: getattr(problem, key) for key in keys} | ({"level": "warning"} if problem.is_warning else {})
        for problem in problems
    ]
