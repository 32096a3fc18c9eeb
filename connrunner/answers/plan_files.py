"""Which files that a version of the workspace uses beside its YAML another version changes.

What runs is decided by programs, templates, manifests, catalogs, locks, host keys and authorities as much as by YAML.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Literal

from connrunner.answers.used_files import find_used_files
from connrunner.config.versions import git
from connrunner.config.versions.trail import CommitFiles, FolderFiles, WorkspaceFiles, trace
from connrunner.core.model import Workspace
from connrunner.lazy_dataclasses import dataclass

TEMPLATES = "templates"
LOCKS = "locks"  # of third-party programs

FileChangeKind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that something in the workspace uses and that is another one now."""

    path: str  # relative to the workspace
    change: FileChangeKind


@dataclass(frozen=True, slots=True)
class FilesOf:
    """Where the files of one version are: in a folder, or in a commit of the repository that a folder is in."""

    folder: str
    commit: str = ""


def compare_files(before: tuple[Workspace, FilesOf], after: tuple[Workspace, FilesOf]) -> tuple[FileChange, ...]:
    """Return the files that either version uses and that differ. VersionError when one cannot be read."""
    with ExitStack() as stack:
        algorithm = next(("sha256" for _, side in (before, after) if len(side.commit) == 64), "sha1")
        first, second = (_open(stack, side, algorithm) for _, side in (before, after))
        wanted = {*find_used_files(before[0], first), *find_used_files(after[0], second)}
        for files in (first, second):
            wanted |= {*files.below(TEMPLATES), *files.below(LOCKS)}
        found = {path: (trace(first, path), trace(second, path)) for path in wanted}
        if isinstance(first, CommitFiles) and isinstance(second, CommitFiles):
            # As configuration these are problems on both sides, wherever they lead.
            old, new = first.odd(), second.odd()
            found |= {path: ((old.get(path, ""),), (new.get(path, ""),)) for path in old.keys() & new.keys()}
    return tuple(
        FileChange(path, "changed" if old and new else "added" if new else "removed")
        for path, (old, new) in sorted(found.items())
        if old != new
    )


def _open(stack: ExitStack, side: FilesOf, algorithm: str) -> WorkspaceFiles:
    if side.commit:
        return CommitFiles(stack.enter_context(git.opened(side.folder)), side.commit)
    return FolderFiles(side.folder, algorithm)
