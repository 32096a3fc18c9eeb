"""Which files of a server does a path name? By the rules of the connector `files`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from connrunner.connectors import NoFilesError
from connrunner.connectors.matching import UNFINISHED, WILDCARD, instead, only_left_out, split, walk
from connrunner.connectors.sftp.server import RemoteEntry, RemoteFiles
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace

LONGEST = 4096  # characters of a path; a server may pretend to have folders without end


def list_files(
    server: RemoteFiles, pattern: str, report: Report, *, marker: str = "", closed: str = ""
) -> list[RemoteEntry]:
    """Return the files that *pattern* names, in the order of their names; RunError without any.

    Names that end in *marker* are not files to import, nor is anything in the folder *closed*. Of a symbolic link the
    entry has the path of the link, and the size and time of where it leads.
    """
    if not WILDCARD.search(pattern) or server.look(pattern):
        return [_single(server, pattern)]
    root, parts = split(pattern)
    there = server.look(root, follow=True)
    if there is None or there.kind != "folder":
        raise _no_folder(server, pattern, root)
    taken, left_out, odd = {}, [], []
    for match in _walk(server, root, parts, closed):
        entry = match.entry
        if entry.name.endswith(UNFINISHED) or (marker and entry.name.endswith(marker)) or entry.path in taken:
            continue
        if not _is_text(entry.path):
            odd.append(entry)
            left_out.append(f"the name {shown(entry.path)} is not UTF-8")
            continue
        found = _followed(server, entry)
        if found is None:
            left_out.append(f"{shown(entry.path)} is a symbolic link to nothing")
        elif found.kind == "folder":
            continue
        elif found.kind != "file":
            left_out.append(f"{shown(entry.path)} is a {found.kind}")
        elif match.linked and not _stays_in(server, entry.path, root):
            left_out.append(f"{shown(entry.path)} leads out of {root} by a symbolic link")
        else:
            taken[entry.path] = found
    for reason in sorted(left_out):
        report.message(f"left out: {reason}", level="warning")
    if not taken and odd:
        raise RunError(f"the name of the file {shown(odd[0].path)} is not UTF-8", hint="rename it", code="bad-name")
    if not taken:
        raise _nothing_there(server, pattern, root, left_out=len(left_out))
    return [entry for _, entry in sorted(taken.items(), key=lambda item: item[0].split("/"))]


def shown(path: str) -> str:
    """Return *path* as text that can be written anywhere, whatever bytes its name has."""
    return path.encode(errors="backslashreplace").decode()


def _single(server: RemoteFiles, path: str) -> RemoteEntry:
    """Return the one file that a path without wildcards names."""
    root, _ = posixpath.split(path)
    root = root or "."
    entry = server.look(path)
    if entry is None:
        folder = server.look(root, follow=True)
        if folder is None or folder.kind != "folder":
            raise _no_folder(server, path, root)
        raise _nothing_there(server, path, root)
    found = _followed(server, entry)
    if found is None:
        raise RunError(
            f"{path} on {server.address} is a symbolic link to nothing",
            hint="fix the link, or name the file itself",
            code="no-files",
        )
    if found.kind == "folder":
        raise RunError(
            f"{path} on {server.address} is a folder",
            hint=f"write '{path}/*' to take the files in it",
            code="not-a-file",
        )
    if found.kind != "file":
        raise RunError(
            f"{path} on {server.address} is a {found.kind}", hint="only files can be imported", code="not-a-file"
        )
    if entry.kind == "symbolic link" and not _stays_in(server, path, root):
        raise RunError(
            f"{path} on {server.address} is a symbolic link that leads out of its folder",
            hint="name the file itself in `path`",
            code="outside-folder",
        )
    return found


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    linked: bool = False  # a symbolic link is on the way here


@dataclass(frozen=True, slots=True)
class _Match:
    entry: RemoteEntry
    linked: bool  # it is a symbolic link, or one is on the way to it


def _walk(server: RemoteFiles, root: str, parts: Sequence[str], closed: str) -> Iterator[_Match]:
    """Yield what matches *parts* under *root*, but for the folder *closed* and what is in it."""

    def entries(folder: _Folder) -> Iterator[tuple[str, _Match]]:
        if len(folder.path) > LONGEST:
            where = f"{folder.path[:80]}... on {server.address}"
            raise RunError(f"{where} has no end", hint="narrow `path`", code="bad-name")
        for entry in server.list(folder.path):
            path = posixpath.normpath(entry.path)
            if path != closed:
                linked = folder.linked or entry.kind == "symbolic link"
                yield entry.name, _Match(replace(entry, path=path), linked)

    def enter(match: _Match, follow: bool) -> _Folder | None:
        found = _followed(server, match.entry) if follow else match.entry
        return _Folder(match.entry.path, match.linked) if found and found.kind == "folder" else None

    return walk(_Folder(root), parts, entries=entries, enter=enter)


def _followed(server: RemoteFiles, entry: RemoteEntry) -> RemoteEntry | None:
    return server.look(entry.path, follow=True) if entry.kind == "symbolic link" else entry


def _stays_in(server: RemoteFiles, path: str, root: str) -> bool:
    """True when the way to *path*, on which a symbolic link is, ends inside *root*, and the server can tell."""
    inside = server.real(root).rstrip("/") + "/"
    real = server.real(path)
    unresolved = inside + posixpath.relpath(path, root)
    return real.startswith(inside) and real != unresolved


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_folder(server: RemoteFiles, pattern: str, folder: str) -> RunError:
    return RunError(
        f"no file {pattern!r}: there is no folder {folder} on {server.address}",
        hint="correct `path`; without a leading / it starts in the folder of the login",
        code="no-folder",
    )


def _nothing_there(server: RemoteFiles, pattern: str, folder: str, *, left_out: int = 0) -> RunError:
    """Return the error for a pattern that finds no file, with what is there instead."""
    names = [shown(entry.name) for entry in server.list(folder) if not entry.name.startswith(".")]
    message = f"no file {pattern!r} in {folder} on {server.address}"
    if left_out:
        return RunError(message, hint=only_left_out(left_out), code="no-files", waiting_helps=True)
    return NoFilesError(message, hint=instead(pattern.rsplit("/", 1)[-1], names))
