"""What a commit holds, read from the object database: no checkout can change it while it is read."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from connrunner.config.documents import workspace_file
from connrunner.errors import WorkspaceError
from connrunner.text.words import escape

PATIENCE = 20.0  # seconds for all that one load asks of git
LARGEST_TREE = 64 * 1024 * 1024  # bytes of the list of one folder; some 700,000 files
REGULAR = (b"100644", b"100755")
FOLDER = b"40000"

# Nothing of the caller's environment may lead git to another repository, a hook, a pager or a question. HOME stays:
# `safe.directory` is set there.
_KEPT = ("PATH", "HOME", "XDG_CONFIG_HOME")
_SET = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_PAGER": "cat",
}
_SETTINGS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


class VersionError(WorkspaceError):
    """No whole version of the workspace can be read now; the last one that could be still holds for a while."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name in a folder of a commit."""

    mode: bytes  # as git writes it: 100644 a file, 120000 a link, 160000 a submodule, 40000 a folder
    identity: str  # the hash of its content


class GitObjects:
    """The object database of the repository that a folder is in, asked through one process of git."""

    def __init__(self, folder: str, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._process = process

    def find(self, name: str, limit: int) -> tuple[str, bytes] | None:
        """Return the hash of the object that *name* means, and its first *limit* bytes; None when there is none.

        VersionError when git cannot say, because the object is damaged, say.
        """
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        try:
            asked.write(os.fsencode(name) + b"\n")
            asked.flush()
            head = answers.readline()
            if head.endswith(b" missing\n"):
                return None
            identity, _, size = head.split()
            left = int(size)
            content = answers.read(min(left, limit))
            left -= len(content)
            while left and (more := answers.read(min(left, 1 << 16))):
                left -= len(more)
            if left or answers.read(1) != b"\n":
                raise self._broken()
        except (OSError, ValueError):
            raise self._broken() from None
        return identity.decode(), content

    def entries(self, name: str) -> dict[str, TreeEntry] | None:
        """Return what the folder *name* of a commit holds; None when there is none."""
        found = self.find(name, LARGEST_TREE)
        if found is None:
            return None
        try:
            return dict(_entries(found[1], width=len(found[0]) // 2))
        except ValueError:
            raise self._broken() from None

    def _broken(self) -> VersionError:
        """What git complained of on its way out."""
        self._process.kill()
        assert self._process.stderr is not None
        said = self._process.stderr.read(4096).decode("utf-8", "replace")
        return _explained(said, self.folder)


@contextmanager
def opened(folder: str) -> Iterator[GitObjects]:
    """Yield the objects of the repository that *folder* is in. VersionError when git cannot be started."""
    process = _start(folder, "cat-file", "--batch")
    watch = threading.Timer(PATIENCE, process.kill)
    watch.daemon = True
    watch.start()
    try:
        yield GitObjects(folder, process)
    finally:
        watch.cancel()
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what git did not read any more
                pipe.close()
        process.wait()


def find_changed_files(folder: str, paths: tuple[str, ...]) -> list[str]:
    """Return those of *paths*, relative to *folder*, that differ from the commit, or what of them does."""
    options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
    with _start(folder, "status", *options, "--", *paths) as process:
        try:
            said, complaint = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise _explained("", folder) from None
    if process.returncode:
        raise _explained(complaint.decode("utf-8", "replace"), folder)
    top = _top(Path(folder))
    names = (os.fsdecode(entry[3:]) for entry in said.split(b"\0") if entry)
    return sorted(os.path.relpath(top / name, Path(folder).resolve()) for name in names)


def extract(folder: str, commit: str, path: str, into: Path) -> None:
    """Write the regular files of the folder *path* of *commit* into *into*; a path that is not there has none."""
    with opened(folder) as objects:
        _extract(objects, f"{commit}:./{path}", into)


def _extract(objects: GitObjects, name: str, into: Path) -> None:
    into.mkdir(mode=0o700)
    for file, entry in (objects.entries(name) or {}).items():
        if entry.mode == FOLDER:
            _extract(objects, entry.identity, into / file)
        elif entry.mode in REGULAR and (found := objects.find(entry.identity, workspace_file.LIMIT + 1)):
            (into / file).write_bytes(found[1])


def _start(folder: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | _SET
    try:
        return subprocess.Popen(  # noqa: S603 - fixed arguments, and objects by their hashes
            ["git", *_SETTINGS, "-C", folder, *arguments],  # noqa: S607 - where git is differs between systems
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        hint = "install git, or take `source: git` out of connrunner.yaml"
        raise VersionError(f"git cannot be started: {error.strerror}", hint=hint) from None


def _top(folder: Path) -> Path:
    """Return the folder that the repository's paths are relative to."""
    folder = folder.resolve()
    return next(parent for parent in (folder, *folder.parents) if (parent / ".git").exists())


def _entries(tree: bytes, width: int) -> Iterator[tuple[str, TreeEntry]]:
    """Yield what a tree object lists: `MODE NAME NUL HASH`, the hash as bytes."""
    position = 0
    while position < len(tree):
        space, end = tree.index(b" ", position), tree.index(b"\0", position)
        identity = tree[end + 1 : end + 1 + width].hex()
        yield os.fsdecode(tree[space + 1 : end]), TreeEntry(tree[position:space], identity)
        position = end + 1 + width


def _explained(said: str, folder: str) -> VersionError:
    """Return what git's complaint means to the person who can act."""
    shown = escape(folder)
    if "dubious ownership" in said:
        message = f"git does not trust {shown}, for another user owns it"
        hint = f"as the user who runs connrunner, type `git config --global --add safe.directory {shown}`"
        return VersionError(message, hint=hint)
    if "not a git repository" in said:
        return VersionError(
            f"{shown} is in no git repository", hint="repair its .git, clone it there, or take `source: git` out"
        )
    lines = [escape(line.strip()) for line in said.splitlines() if line.strip()]
    why = f": {lines[0][:300]}" if lines else ": git gave no answer in time"
    return VersionError(f"git cannot read the commit of {shown}{why}", hint="`git fsck` says what is damaged")
