"""Files of a commit laid out in a folder, for readers that take folders: plain files, and never elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from connrunner.config.documents import workspace_file
from connrunner.config.versions import git
from connrunner.config.versions.git import GitObjects, TreeEntry, VersionError
from connrunner.lazy_dataclasses import dataclass

MOST_FILES = 2_000
MOST_BYTES = 64 * 1024 * 1024
DEEPEST = 16  # folders within each other


@dataclass
class _Budget:
    """What may still be laid out: one tree can stand in another many times, so a small commit can mean any number."""

    files: int = MOST_FILES
    size: int = MOST_BYTES


def lay_out(folder: str, commit: str, name: str, into: Path) -> None:
    """Write the regular files of the folder *name* of *commit* into *into*, a new folder.

    A folder that is not there has none. Links and submodules are left out. VersionError when git cannot read the
    commit, when a name leads elsewhere, or when there are more files than anybody writes by hand.
    """
    into.mkdir(mode=0o700)
    with git.opened(folder) as objects:
        top = objects.workspace(commit) or {}
        entry = top.get(name)
        if entry is None or entry.mode != git.FOLDER:
            return
        where = f"commit {commit[:12]}, {name}"
        try:
            descriptor = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            _lay_out(objects, entry, descriptor, where, _Budget())
        except OSError as error:  # a name that is too long, a full disk
            hint = "shorten the name, or look after the temporary folder (TMPDIR)"
            raise VersionError(f"{where} cannot be laid out: {error.strerror}", hint=hint) from None


def _lay_out(objects: GitObjects, tree: TreeEntry, into: int, where: str, budget: _Budget) -> None:
    """Write what *tree* holds below the folder with the descriptor *into*, and close that."""
    try:
        for name, entry in (objects.entries(tree.identity, where) or {}).items():
            budget.files -= 1
            if budget.files < 0 or where.count("/") >= DEEPEST:
                what = f"more than {MOST_FILES:,} files" if budget.files < 0 else f"more than {DEEPEST} folders deep"
                raise VersionError(f"{where} holds {what}", hint="move what is no template elsewhere")
            if entry.mode == git.FOLDER:
                os.mkdir(name, 0o700, dir_fd=into)
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into)
                _lay_out(objects, entry, below, f"{where}/{name}", budget)
            elif entry.mode in git.REGULAR:
                found = objects.find(entry.identity, workspace_file.LIMIT + 1, b"blob")
                if found is not None:
                    budget.size -= len(found[1])
                    if budget.size < 0:
                        raise VersionError(f"{where} holds more than {MOST_BYTES >> 20} MiB", hint="make it smaller")
                    _write(name, found[1], into)
    finally:
        os.close(into)


def _write(name: str, content: bytes, into: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=into), "wb") as file:
        file.write(content)
