"""One version of the workspace's files: those of the folder as they stand, or those of a commit."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from connrunner.config import stamps
from connrunner.config.documents import workspace_file
from connrunner.config.versions import commit, git
from connrunner.config.versions.git import GitObjects, TreeEntry, VersionError
from connrunner.core import workspace_files
from connrunner.text.words import escape

Stamp = tuple[int, int] | tuple[str]
UNKNOWN: Stamp = (0, 0)

# File systems stamp changes in steps of up to two seconds: a file that changed this recently can change again without
# its stamp showing it, so such a file is read again by the next load.
RACY_NS = 2_000_000_000
CHECKOUT = 60.0  # seconds for which a lock of git's index means that git changes files; an older one was left behind

_NOT_A_FILE = {
    b"120000": workspace_file.UnreadableFile(
        "a link, which a commit cannot follow", "put the file itself there", "not-a-file"
    ),
    b"160000": workspace_file.UnreadableFile("a submodule, not a file", "put the file itself there", "not-a-file"),
}


class MovingError(VersionError):
    """The files changed while they were read."""

    exit_code = 75


class Version(Protocol):
    """Where `SourceFiles` reads from."""

    folder: str  # of the workspace, absolute
    commit: str | None
    obeyed: str  # the commit whose files these are; empty when they are those of the folder

    @property
    def paths(self) -> Collection[str]:
        """Each file and folder that may be configuration, relative to the workspace."""

    @property
    def stamps(self) -> Mapping[str, Stamp | None]:
        """What changes whenever a file does, of each of `paths`; None when the file cannot be looked at."""

    def trusted(self, path: str) -> Stamp:
        """Return the stamp, or `UNKNOWN` when the file could change without its stamp showing it."""

    def read(self, path: str) -> bytes:
        """Return what `files.read` does."""

    def below(self, path: str) -> list[str]:
        """Return the names in the folder *path*."""

    def is_unseen(self, path: str) -> bool:
        """True when *path* should be a folder and its files cannot be seen."""

    def leads_out(self, path: str) -> bool:
        """True when the folder *path* is a link to somewhere else than a folder of the configuration."""

    def is_whole(self) -> bool:
        """False when the files changed while they were read, so that what was read may mix two versions."""


class FolderVersion:
    """The files as they stand in the folder now."""

    def __init__(self, folder: str, found: Mapping[str, os.stat_result | None] | None = None) -> None:
        """Look at the files in *folder*; *found* is what `stamps.scan` found a moment ago."""
        self.folder = folder
        self.commit = commit.read_head(Path(folder))
        self.obeyed = ""
        self._before = time.time_ns() - RACY_NS
        self._found = stamps.scan(folder) if found is None else found

    @property
    def paths(self) -> Collection[str]:
        return self._found

    @cached_property
    def stamps(self) -> Mapping[str, Stamp | None]:
        return {path: one and (one.st_ctime_ns, one.st_size) for path, one in self._found.items()}

    def trusted(self, path: str) -> Stamp:
        status = self._found[path]
        if status is None or status.st_ctime_ns >= self._before:
            return UNKNOWN
        return status.st_ctime_ns, status.st_size

    def read(self, path: str) -> bytes:
        return workspace_file.read_workspace_file(self.folder, path)

    def below(self, path: str) -> list[str]:
        if workspace_file.resolve_link(self.folder, path) != path:
            return []  # a link: what is there is none of ours to tell
        try:
            return sorted(os.listdir(f"{self.folder}/{path}"))  # noqa: PTH208 - the path is text already
        except OSError:
            return []

    def is_unseen(self, path: str) -> bool:
        return self._found[path] is None

    def leads_out(self, path: str) -> bool:
        real = workspace_file.resolve_link(self.folder, path)
        return real is None or not workspace_files.is_configuration_folder(real)

    def is_whole(self) -> bool:
        if commit.is_checking_out(Path(self.folder), CHECKOUT):
            return False
        now = stamps.scan(self.folder)
        return now.keys() == self._found.keys() and all(
            _same(status, self._found[path]) for path, status in now.items()
        )


def _same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.st_ino, one.st_ctime_ns, one.st_size) == (other.st_ino, other.st_ctime_ns, other.st_size)


class CommitVersion:
    """The files of a commit: the one that is named, else the one at HEAD, which is obeyed."""

    def __init__(self, folder: str, objects: GitObjects, named: str = "", *, only: str = "") -> None:
        """Read what the commit *named*, a hash, lists; of all connections only that of the name *only*, if given."""
        self.folder = folder
        self.is_named = bool(named)
        self._objects = objects
        head = objects.find(f"{named or 'HEAD'}^{{commit}}", 0, b"commit")
        if head is None and (lost := named or commit.read_head(Path(folder))):
            raise _damaged(lost, "its own object")
        if head is None:
            raise VersionError(f"{escape(folder)} has no commit yet", hint="`git commit` makes the first version")
        self.commit: str | None = head[0]
        self.obeyed = head[0]
        top = objects.workspace(head[0])
        if top is None:
            message = f"{escape(folder)} is not in commit {head[0][:12]}"
            raise VersionError(message, hint="`git add` and `git commit` put it there")
        self._found = {name: top[name] for name in stamps.FILES if name in top}
        for name in stamps.FOLDERS:
            if name in top:
                self._found[name] = top[name]
                self._found |= self._listed(name, top[name], only if name == "connections" else "")

    def _listed(self, folder: str, entry: TreeEntry, only: str) -> Mapping[str, TreeEntry]:
        where = f"commit {self.obeyed[:12]}, {folder}"
        inside = self._objects.entries(entry.identity, where) if entry.mode == git.FOLDER else {}
        if inside is None:  # its connections must not look removed
            raise _damaged(self.obeyed, folder)
        return {
            f"{folder}/{name}": found
            for name, found in inside.items()
            if name[0] != "."
            and (name.lower().endswith(stamps.SUFFIXES) or found.mode == git.FOLDER)
            and (not only or name == f"{only}.yaml")
        }

    @property
    def paths(self) -> Collection[str]:
        return self._found

    @cached_property
    def stamps(self) -> Mapping[str, Stamp | None]:
        return {path: (one.identity,) for path, one in self._found.items()}

    def trusted(self, path: str) -> Stamp:
        return (self._found[path].identity,)

    def read(self, path: str) -> bytes:
        entry = self._found[path]
        if entry.mode not in git.REGULAR:
            default = workspace_file.UnreadableFile(
                "not a regular file", "put a file there, or rename it", "not-a-file"
            )
            raise _NOT_A_FILE.get(entry.mode, default)
        found = self._objects.find(entry.identity, workspace_file.LIMIT + 1, b"blob")
        if found is None:
            raise _damaged(self.obeyed, path)
        return found[1]

    def below(self, path: str) -> list[str]:
        where = f"commit {self.obeyed[:12]}, {path}"
        return sorted(self._objects.entries(self._found[path].identity, where) or ())

    def is_unseen(self, path: str) -> bool:
        return self._found[path].mode != git.FOLDER

    def leads_out(self, path: str) -> bool:
        del path
        return False

    def is_whole(self) -> bool:
        return True


def _damaged(identity: str, what: str) -> VersionError:
    hint = "`git fsck` says what is damaged; a fresh clone has everything"
    return VersionError(f"commit {identity[:12]} lacks {escape(what)}", hint=hint)
