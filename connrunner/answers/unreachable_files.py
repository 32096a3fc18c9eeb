"""Files of the workspace that a run needs and that cannot reach the place where it lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from connrunner.answers.plan_files import FilesOf, compare_files
from connrunner.config.documents.document import parse
from connrunner.config.finding import Finding
from connrunner.config.versions.git import VersionError
from connrunner.core.model import Command, Connection, Workspace
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import replace

CODE = "out-of-reach"


def find_unreachable_files(folder: Path, workspace: Workspace) -> Iterator[Problem]:
    """Yield a problem for each file that a run elsewhere would not find there."""
    for connection in workspace.connections.values():
        if connection.executor is None or not connection.enabled or not isinstance(connection.work, Command):
            continue
        path = f"connections/{connection.name}.yaml"
        for finding, is_warning in _find(folder, workspace, connection, connection.work):
            problem = parse((folder / path).read_bytes(), path).problem(finding)
            yield replace(problem, is_warning=is_warning)


def _find(folder: Path, workspace: Workspace, connection: Connection, work: Command) -> Iterator[tuple[Finding, bool]]:
    executor = connection.executor or {}
    if executor["type"] == "kubernetes" or "workspace" in executor:
        for position, word in enumerate(work.run):
            if word.startswith(f"{folder.resolve()}/"):
                message = f"{word} is a path of this machine, and its run lives elsewhere"
                hint = "write it relative to the workspace"
                where = ("command", "run", position) if isinstance(connection.document["command"]["run"], list) else ()
                yield Finding(where or ("command", "run"), message, hint, CODE), False
    if "git" not in executor:
        return
    if workspace.commit is None:
        message = "the workspace is in no git repository, so its runs get what `ref` names"
        yield Finding(("command",), message, "commit it, so that each run has what it was decided by", CODE, True), True
        return
    alone = replace(workspace, connections={connection.name: connection})
    with suppress(VersionError):
        for change in compare_files(
            (alone, FilesOf(workspace.folder, workspace.commit)), (alone, FilesOf(str(folder)))
        ):
            if change.path.startswith(("templates/", "locks/")) or change.change == "removed":
                continue
            message = f"{change.path} is not in the commit as it is here, and git-sync fetches the commit"
            yield Finding(("command", "run"), message, f"commit {change.path}, and push it", CODE, True), True
