"""Files on this machine, or on anything that is mounted here.

Import:

    import:
      from: {type: files, path: "in/members-*.csv"}

`path` is relative to the workspace, or absolute. `*`, `?` and `[..]` match within a name, `**` matches folders of any
depth. The files are taken in the order of their names, so let a name carry its date: members-2026-11-22.csv. Left out
are hidden files, unfinished ones (.part, .filepart, .tmp) and whatever is not a file. A file or folder that is a
symbolic link counts when it leads to a place inside the folder that `path` names before its first wildcard, and is left
out with a warning when it leads out of it: whoever may drop a file there must not choose what else is read here.

`when_none` says what a run without a file is: `succeed`, the default once the connection has read one, or `fail`. A
folder that is not there is a failure.

Write a file under another name and rename it when it is whole: the run reads whatever has arrived under its name.

Export:

    export:
      to: {type: files, path: "out/{connection}-{run}.csv"}

`{date}` is the day on which the run started, in UTC, `{run}` its number, `{connection}` its connection. The rows are
written to a hidden file beside the target (.NAME.part), brought to the disk and renamed: a reader of the folder sees
the whole file or none. A file that is there already is replaced, a symbolic link too (never what it leads to); a
folder, device or pipe is refused. Missing folders are made inside the workspace; elsewhere they are an error, because a
missing folder there is often a disk that is not mounted.

The file is for connrunner's user alone (mode 0600), whatever the umask is and whatever file was there. `mode: "0640"`
gives exactly that mode instead; folders that are made may then be entered by those who may read the file.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connrunner.connectors import FetchResult, Known, NoFilesError, RunContext, SendResult, Settings
from connrunner.connectors.matching import UNFINISHED, WILDCARD, instead, only_left_out, split, walk
from connrunner.connectors.naming import fill
from connrunner.core import instant
from connrunner.core.model import Format, LocalFile
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.text.files import make_folders, note_planned, note_unfinished, replacing

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PART = "part"  # how the name of a file ends that is not whole yet


def fetch(settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:  # noqa: ARG001
    """Return the files that `path` names, in the order of their names, where they are."""
    workspace = context.workspace
    pattern = _path(settings)
    with _readable(pattern):
        if not WILDCARD.search(pattern) or os.path.lexists(workspace / pattern):
            found = [_single(pattern, workspace)]
        else:
            found = _matching(pattern, workspace, context.report)
    return FetchResult(files=tuple(_local_file(path, workspace) for path in found))


def settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    """Leave the files where they are."""


def form(settings: Settings, wanted: Format) -> Format:  # noqa: ARG001
    """Return *wanted*: a file may hold rows in any form."""
    return wanted


def target(settings: Settings, context: RunContext) -> str:
    """Return the path of the file, its placeholders filled in; RunError when a file cannot be there."""
    workspace = context.workspace
    name = os.path.normpath(fill(_path(settings), connection=context.connection, run=context.run, at=context.at))
    path = workspace / name
    with _writable(name):
        _check_folder(path.parent, workspace)
        found = _kind(path)
    if found not in ("", "file", "symbolic link"):
        raise RunError(f"cannot write {name}: it is a {found}", hint="set another `path`", code="not-a-file")
    return name


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:
    """Return the folder, which is there and may be read, or written."""
    if writes:
        return f"files may be written at {target(settings, context)}"
    pattern, workspace = _path(settings), context.workspace
    folder = workspace / split(pattern)[0]
    if not folder.is_dir():
        raise _nothing_there(pattern, folder)
    if not os.access(folder, os.R_OK | os.X_OK):
        raise RunError(f"cannot read {folder}", hint="see that connrunner's user may read it", code="unreadable")
    return f"the folder {_name(folder, workspace)}"


def deliver(settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Copy the file *local* beside its target, then rename it, so that readers see all or nothing."""
    name = target(settings, context)
    path = context.workspace / name
    mode = int(settings.get("mode", "0600"), 8)
    with _writable(name):
        make_folders(path.parent, mode=mode)
        note_planned(context.spool, path, suffix=PART)
        try:
            with (
                replacing(path, mode=mode, suffix=PART) as part,
                local.open("rb") as rows,
                os.fdopen(os.dup(part.descriptor), "wb") as copy,
            ):
                note_unfinished(context.spool, part)
                shutil.copyfileobj(rows, copy, 1 << 20)
                copy.flush()
        except FileExistsError:
            raise RunError(
                f"cannot write {name}: another run is writing it", hint="set another `path`", code="unwritable"
            ) from None
    return SendResult(where=name)


# --- import ------------------------------------------------------------------------------------------------------


def _single(pattern: str, workspace: Path) -> Path:
    """Return the one file that a path without wildcards names."""
    path = workspace / pattern
    found = _kind(path)
    if not found:
        raise _nothing_there(pattern, path.parent)
    if found == "folder":
        everything = f"{pattern.rstrip('/')}/*"
        raise RunError(
            f"{pattern} is a folder", hint=f"write {everything!r} to take the files in it", code="not-a-file"
        )
    if found == "symbolic link":
        if not path.exists():
            raise RunError(
                f"{pattern} is a symbolic link to {path.readlink()}, which is not there",
                hint="fix the link, or name the file itself",
                code="no-files",
            )
        if not _stays_in(path, path.parent):
            raise RunError(
                f"{pattern} is a symbolic link to {path.resolve()}, outside its folder",
                hint="name the file itself in `path`",
                code="outside-folder",
            )
        found = _kind(path.resolve())
    if found != "file":
        raise RunError(f"{pattern} is a {found}", hint="only files can be imported", code="not-a-file")
    return path


def _matching(pattern: str, workspace: Path, report: Report) -> list[Path]:
    """Return the files that match, sorted by name; warn about those that cannot be taken."""
    folder, parts = split(pattern)
    root = workspace / folder
    if not root.is_dir():
        raise _nothing_there(pattern, root)
    taken = []
    left_out = []
    for path in sorted({Path(entry.path) for entry in walk(root, parts, entries=_entries, enter=_enter)}):
        shown = _name(path, workspace)
        found = _kind(path)
        if found == "symbolic link":
            if not path.exists():
                left_out.append(f"{shown} is a symbolic link to nothing")
                continue
            found = _kind(path.resolve())
        if found == "folder" or (found == "file" and path.name.endswith(UNFINISHED)):
            continue
        if found != "file":
            left_out.append(f"{shown} is a {found}")
        elif not _stays_in(path, root):
            left_out.append(f"{shown} leads out of {folder} by a symbolic link, to {path.resolve()}")
        else:
            taken.append(path)
    for reason in left_out:
        report.message(f"left out: {reason}", level="warning")
    if not taken:
        raise _nothing_there(pattern, root, left_out=len(left_out))
    return taken


def _entries(folder: Path) -> list[tuple[str, os.DirEntry[str]]]:
    # Unlike `glob` this is not silent about a folder that cannot be read.
    with os.scandir(folder) as scan:
        return [(entry.name, entry) for entry in scan]


def _enter(entry: os.DirEntry[str], follow: bool) -> Path | None:
    path = Path(entry.path)
    return path if (path.is_dir() if follow else entry.is_dir(follow_symlinks=False)) else None


def _stays_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _nothing_there(pattern: str, folder: Path, *, left_out: int = 0) -> RunError:
    """Return the error for a pattern that finds no file, with what is there instead."""
    if not folder.is_dir():
        return RunError(
            f"no file {pattern!r}: there is no folder {folder}",
            hint="make it, mount it, or correct `path`",
            code="no-folder",
        )
    names = [name for name, _ in _entries(folder) if not name.startswith(".")]
    message = f"no file {pattern!r} in {folder}"
    if left_out:
        return RunError(message, hint=only_left_out(left_out), code="no-files", waiting_helps=True)
    return NoFilesError(message, hint=instead(pattern.rsplit("/", 1)[-1], names))


def _local_file(path: Path, workspace: Path) -> LocalFile:
    name = _name(path, workspace)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise RunError(
            f"the name of the file {os.fsencode(name)!r} is not UTF-8", hint="rename it", code="bad-name"
        ) from None
    with _readable(name), path.open("rb") as file:  # opened to learn now whether we may
        facts = os.fstat(file.fileno())
    modified = EPOCH + timedelta(microseconds=facts.st_mtime_ns // 1000)
    return LocalFile(path=os.path.normpath(path), name=name, size=facts.st_size, modified=instant.text(modified))


def _name(path: Path, workspace: Path) -> str:
    """Return *path* relative to the workspace, or absolute when it is elsewhere."""
    full = os.path.normpath(path)
    home = os.path.normpath(workspace)
    return os.path.relpath(full, home) if Path(full).is_relative_to(home) else full


# --- export ------------------------------------------------------------------------------------------------------


def _check_folder(folder: Path, workspace: Path) -> None:
    inside = Path(os.path.normpath(folder)).is_relative_to(os.path.normpath(workspace))
    if not inside and not folder.is_dir():
        raise RunError(
            f"there is no folder {folder}",
            hint="make it or mount it; connrunner makes folders inside the workspace only",
            code="no-folder",
        )


# --- both --------------------------------------------------------------------------------------------------------


def _path(settings: Settings) -> str:
    path = str(settings["path"])
    if not path or "\0" in path:
        raise RunError(f"`path` is {path!r}", hint="write the path of a file", code="bad-name")
    return path


def _kind(path: Path) -> str:
    """Return what is at *path* in a word, a symbolic link for itself; empty when there is nothing."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "folder",
        stat.S_IFLNK: "symbolic link",
        stat.S_IFIFO: "pipe (FIFO)",
        stat.S_IFSOCK: "socket",
    }
    return kinds.get(stat.S_IFMT(mode), "device")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot read {error.filename or name}: {error.strerror}",
            hint="see that it is there and that connrunner's user may read it",
            code="unreadable",
        ) from error


@contextmanager
def _writable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {name}: {error.strerror}",
            hint="see that the disk has room and that connrunner's user may write there",
            code="unwritable",
            waiting_helps=True,
        ) from error
