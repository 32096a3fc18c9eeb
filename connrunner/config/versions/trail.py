"""What a name in a workspace leads to, in a folder or in a commit: for telling whether a file is another one now.

Links are followed within the workspace and never out of it, and each counts by where it points.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from typing import Literal, Protocol

from connrunner.config import stamps
from connrunner.config.documents import workspace_file
from connrunner.config.versions import git
from connrunner.config.versions.git import GitObjects, TreeEntry, VersionError
from connrunner.lazy_dataclasses import dataclass

MOST_LINKS = 10
MOST_FILES = 20_000  # below one folder
LONGEST_LINK = 4096  # bytes

FileKind = Literal["file", "folder", "link", "other"]
Trail = tuple[str, ...]  # where each link points, and the hash of the file in the end


@dataclass(frozen=True, slots=True)
class NamedFile:
    """What stands at a path."""

    kind: FileKind
    target: str = ""  # of a link


@dataclass(frozen=True, slots=True)
class Followed:
    """Where a path leads to, with every link on the way followed."""

    links: Trail = ()  # where each of them points
    path: str = ""  # without links
    kind: FileKind | None = None  # None when it leads nowhere, or out


class WorkspaceFiles(Protocol):
    """All files of one version of a workspace, of configuration or not."""

    def look(self, path: str) -> NamedFile | None:
        """Return what *path*, relative to the workspace, is; None when it is not there."""

    def digest(self, path: str) -> str:
        """Return the hash, as git makes it, of the file *path*."""

    def read(self, path: str, limit: int) -> bytes:
        """Return the first *limit* bytes of the file *path*; none when it cannot be read."""

    def below(self, folder: str) -> Iterator[str]:
        """Yield the path of everything but folders in *folder* and further down."""


def trace(files: WorkspaceFiles, path: str) -> Trail:
    """Return what *path* leads to; nothing when there is no file."""
    found = follow(files, path)
    return (*found.links, files.digest(found.path)) if found.kind == "file" else found.links


def follow(files: WorkspaceFiles, path: str) -> Followed:
    """Return where *path* leads to."""
    trail: list[str] = []
    here: list[str] = []
    ahead = deque(path.split("/"))
    kind: FileKind | None = "folder"
    while ahead:
        name = ahead.popleft()
        if name in ("", "."):
            continue
        if name == "..":
            if not here:
                return Followed(tuple(trail))
            here.pop()
            continue
        found = files.look("/".join([*here, name]))
        if found is None:
            return Followed(tuple(trail))
        if found.kind == "link":
            trail.append(f"-> {found.target}")
            if len(trail) > MOST_LINKS or found.target.startswith("/"):
                return Followed(tuple(trail))
            ahead.extendleft(reversed(found.target.split("/")))
            continue
        here.append(name)
        kind = found.kind
        if kind == "file" and any(step not in ("", ".") for step in ahead):
            return Followed()
        if kind in ("file", "other"):
            break
    return Followed(tuple(trail), "/".join(here), kind)


class CommitFiles:
    """The files of a workspace as a commit has them."""

    def __init__(self, objects: GitObjects, commit: str) -> None:
        self._objects, self.commit = objects, commit
        self._folders: dict[str, dict[str, TreeEntry]] = {"": objects.workspace(commit) or {}}

    def _entry(self, path: str) -> TreeEntry | None:
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            entry = self._entry(folder)
            listed = None
            if entry is not None and entry.mode == git.FOLDER:
                listed = self._objects.entries(entry.identity, f"commit {self.commit[:12]}, {folder}")
            self._folders[folder] = listed or {}
        return self._folders[folder].get(name)

    def look(self, path: str) -> NamedFile | None:
        entry = self._entry(path)
        if entry is None:
            return None
        if entry.mode == git.FOLDER:
            return NamedFile("folder")
        if entry.mode == git.LINK:
            found = self._objects.find(entry.identity, LONGEST_LINK, b"blob")
            return NamedFile("link", os.fsdecode(found[1]) if found else "")
        return NamedFile("file" if entry.mode in git.REGULAR else "other")

    def digest(self, path: str) -> str:
        entry = self._entry(path)
        return entry.identity if entry else ""

    def read(self, path: str, limit: int) -> bytes:
        entry = self._entry(path)
        found = self._objects.find(entry.identity, limit, b"blob") if entry and entry.mode in git.REGULAR else None
        return found[1] if found else b""

    def below(self, folder: str) -> Iterator[str]:
        waiting, count = [folder], 0
        while waiting:
            here = waiting.pop()
            entry = self._entry(here)
            if entry is None or entry.mode != git.FOLDER:
                continue
            self._entry(f"{here}/")  # reads the folder
            for name, found in self._folders[here].items():
                count += 1
                if count > MOST_FILES:
                    raise VersionError(
                        f"commit {self.commit[:12]}: {folder} holds more than {MOST_FILES:,} files",
                        hint="move what is no template elsewhere",
                    )
                if found.mode == git.FOLDER:
                    waiting.append(f"{here}/{name}")
                else:
                    yield f"{here}/{name}"

    def odd(self) -> dict[str, str]:
        """Return what stands where configuration should and is no regular file, with what it is and where it leads."""
        found: dict[str, str] = {}
        for name in (*stamps.FILES, *stamps.FOLDERS):
            entry = self._entry(name)
            if entry is None:
                continue
            if entry.mode == git.FOLDER:
                self._entry(f"{name}/")
                inside = {f"{name}/{file}": below for file, below in self._folders[name].items()}
            else:
                inside = {name: entry}
            found |= {
                path: f"{one.mode!r} {one.identity}" for path, one in inside.items() if one.mode not in git.REGULAR
            }
        return {path: what for path, what in found.items() if not path.rpartition("/")[2].startswith(".")}


class FolderFiles:
    """The files of a workspace as they stand in its folder."""

    def __init__(self, folder: str, algorithm: str = "sha1") -> None:
        """Give hashes by *algorithm*, `sha1` or `sha256`: that of the repository that they are compared with."""
        self.folder, self._algorithm = folder, algorithm

    def look(self, path: str) -> NamedFile | None:
        try:
            mode = os.lstat(f"{self.folder}/{path}").st_mode
            if stat.S_ISLNK(mode):
                return NamedFile("link", os.readlink(f"{self.folder}/{path}"))  # noqa: PTH115 - a text already
        except (OSError, ValueError):  # a name with NUL, or too long
            return None
        return NamedFile("folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other")

    def digest(self, path: str) -> str:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(f"{self.folder}/{path}", flags), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                total = hashlib.new(self._algorithm, b"blob %d\0" % size, usedforsecurity=False)
                while more := file.read(1 << 20):
                    total.update(more)
        except OSError as error:
            raise VersionError(f"{path} cannot be read: {error.strerror}", hint="check who may read it") from None
        return total.hexdigest()

    def read(self, path: str, limit: int) -> bytes:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return workspace_file.content(os.open(f"{self.folder}/{path}", flags), limit)
        except (OSError, ValueError, workspace_file.UnreadableFile):
            return b""

    def below(self, folder: str) -> Iterator[str]:
        count = 0
        for here, folders, files in os.walk(f"{self.folder}/{folder}"):
            inside = os.path.relpath(here, self.folder)
            links = [name for name in folders if os.path.islink(f"{here}/{name}")]  # noqa: PTH114 - a text already
            for name in (*files, *links):
                count += 1
                if count > MOST_FILES:
                    message = f"{folder} holds more than {MOST_FILES:,} files"
                    raise VersionError(message, hint="move what is no template elsewhere")
                yield f"{inside}/{name}"
