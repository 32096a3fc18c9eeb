"""Which files of the workspace differ from the commit at HEAD: byte for byte, so no filter or attribute has a say."""

from __future__ import annotations

import os
from collections.abc import Iterator

from connrunner.config import stamps
from connrunner.config.documents import workspace_file
from connrunner.config.versions import git
from connrunner.config.versions.git import GitObjects, TreeEntry, VersionError

TEMPLATES = "templates"
DEEPEST = 16  # folders within each other
MOST = 20_000  # files


def find_changed_files(folder: str) -> list[str]:
    """Return the files of configuration in *folder*, relative to it, that differ from the commit at HEAD.

    That is what is edited, added or removed, whatever `.gitignore` says. VersionError when git cannot say.
    """
    with git.opened(folder) as objects:
        head = objects.find("HEAD^{commit}", 0, b"commit")
        top = objects.workspace(head[0]) if head else None
        committed = {} if head is None or top is None else dict(_committed(objects, head[0], top))
        there = set(_there(folder))
        changed = {*there} ^ committed.keys()
        changed |= {path for path in there & committed.keys() if _differs(objects, folder, path, committed[path])}
    return sorted(changed)


def _is_counted(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name[:1] != "." and (path.startswith(f"{TEMPLATES}/") or name.endswith(stamps.SUFFIXES))


def _committed(objects: GitObjects, commit: str, top: dict[str, TreeEntry]) -> Iterator[tuple[str, TreeEntry]]:
    waiting = [(name, top[name]) for name in (*stamps.FILES, *stamps.FOLDERS, TEMPLATES) if name in top]
    count = 0
    while waiting:
        path, entry = waiting.pop()
        count += 1
        if count > MOST or path.count("/") > DEEPEST:
            raise VersionError(f"commit {commit[:12]} has more files than are compared", hint="remove some")
        if entry.mode == git.FOLDER:
            if path in (*stamps.FOLDERS, TEMPLATES) or path.startswith(f"{TEMPLATES}/"):
                inside = objects.entries(entry.identity, f"commit {commit[:12]}, {path}") or {}
                waiting += [(f"{path}/{name}", below) for name, below in inside.items()]
        elif _is_counted(path):
            yield path, entry


def _there(folder: str) -> Iterator[str]:
    for name in stamps.FILES:
        if os.path.lexists(f"{folder}/{name}"):
            yield name
    for name in (*stamps.FOLDERS, TEMPLATES):
        for below, folders, files in os.walk(f"{folder}/{name}"):
            inside = os.path.relpath(below, folder)
            links = [each for each in folders if os.path.islink(f"{below}/{each}")]  # noqa: PTH114 - a text already
            if name != TEMPLATES or inside.count("/") >= DEEPEST:
                folders.clear()
            yield from filter(_is_counted, (f"{inside}/{each}" for each in (*files, *links)))


def _differs(objects: GitObjects, folder: str, path: str, entry: TreeEntry) -> bool:
    found = objects.find(entry.identity, workspace_file.LIMIT + 1)
    if found is None:
        raise VersionError(f"the commit lacks {path}", hint="`git fsck` says what is damaged")
    full = f"{folder}/{path}"
    try:
        if entry.mode == git.LINK:
            return os.readlink(os.fsencode(full)) != found[1]  # noqa: PTH115 - a text already
        if entry.mode not in git.REGULAR or os.path.islink(full):  # noqa: PTH114
            return True
        return workspace_file.read_workspace_file(folder, path) != found[1]
    except (OSError, workspace_file.UnreadableFile):
        return True
