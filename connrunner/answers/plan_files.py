"""Which files of the workspace a version of it uses beside its YAML, and which of them another version changes.

What runs is decided by programs, templates, manifests, catalogs, host keys and authorities as much as by YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from connrunner.config import secret_words
from connrunner.config.versions import git
from connrunner.config.versions.trail import CommitFiles, FolderFiles, WorkspaceFiles, trace
from connrunner.core.model import Workspace

TEMPLATES = "templates"
DATA = frozenset({"path", "table", "query", "move_to", "done"})  # keys that name what is read and written, not how
MOST_WORDS = 5_000  # of one connection
MOST_FOLDERS = 20  # that a program may go to before it starts another
MOST_STEPS = 40  # names in one path
_WORD = re.compile(r"[^\s\"'`$(){}\[\]<>|&;,*?!#\\:=\0]+")
_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")

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
        wanted = {*_used(before[0]), *_used(after[0])}
        for files in (first, second):
            wanted |= {*files.below(TEMPLATES)}
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


def _used(workspace: Workspace) -> Iterator[str]:
    """Yield each path that may be a file which a connection uses. Most are none; those are the same in all versions."""
    for connection in workspace.connections.values():
        document = connection.document
        seen: set[str] = set()
        command = document.get("command") or {}
        start = _normal(str(command.get("folder") or ""))
        for part in (command, (document.get("import") or {}).get("from"), (document.get("export") or {}).get("to")):
            seen |= {*_named(part or {}, start)}
        yield from seen


def _named(settings: Mapping[str, Any], start: str) -> Iterator[str]:
    words: list[str] = []
    for text in _texts(settings):
        words.append(text)
        words += _WORD.findall(text)
        words += (one or other for one, other in _QUOTED.findall(text))
    folders = dict.fromkeys(("", start, *(word.rstrip("/") for word in words if "." not in word and len(word) < 64)))
    before = ""
    for word in words[:MOST_WORDS]:
        yield from _spelt(word, start)
        if before == "-m" and _MODULE.fullmatch(word):
            place = "/".join(filter(None, (start, word.replace(".", "/"))))
            yield from (f"{place}.py", f"{place}/__init__.py", f"{place}/__main__.py")
        if "." in word or "/" in word:  # `cd jobs && ./load.sh`
            for folder in list(folders)[:MOST_FOLDERS]:
                yield from filter(None, [_normal(f"{folder}/{word}")])
        before = word


def _spelt(word: str, start: str) -> Iterator[str]:
    """Yield *word* from the folder in which it runs, and each end of it: a program may stand with its whole path."""
    if here := _normal(f"{start}/{word}"):  # what `python FOLDER` runs
        yield f"{here}/__main__.py"
    if "/" not in word:
        yield from filter(None, dict.fromkeys((_normal(f"{start}/{word}"), _normal(word))))
        return
    steps = word.split("/")
    yield from filter(None, [_normal(f"{start}/{word}")])
    for first in range(min(len(steps), MOST_STEPS)):
        yield from filter(None, [_normal("/".join(steps[first:]))])


def _normal(path: str) -> str:
    """Return *path* without steps that go nowhere; empty when it leads out or is too long for a name."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            if not steps:
                return ""
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    whole = "/".join(steps)
    if steps[:1] == [".git"]:
        return ""
    return whole if len(whole) < 1024 and "\0" not in whole and "\n" not in whole else ""


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of *value* that can name a file: no data, no secret, of a URL the values of its query."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in DATA:
                yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and not secret_words.is_reference(value):
        if "://" in value and not any(char.isspace() for char in value):
            try:
                yield from (item for _, item in parse_qsl(urlsplit(value).query))
            except ValueError:
                return
        else:
            yield value
