"""Files on an SFTP server.

Needs the extra: pip install 'connrunner[sftp]'.

Import:

    import:
      from: {type: sftp, host: sftp.example.com, username: crm, key: "file:/run/secrets/sftp",
             host_key: "SHA256:jdgSPY...", path: "out/contacts-*.csv"}

`path` is relative to the folder that a login starts in, or absolute. Wildcards, the order of the files and what is left
out are as for the connector `files`: `*`, `?` and `[..]` match within a name, `**` matches folders of any depth; left
out are hidden files, unfinished ones (.part, .filepart, .tmp), names that are not UTF-8, and symbolic links that lead
out of the folder before the first wildcard. A file that was imported is not fetched again until its size or its time
changes. `when_none` says what a run without a file is: `succeed`, the default once the connection has read one, or
`fail`.

A file is taken when it is whole. Either its size and its time stand still for `settle` (30s unless said otherwise), for
which a run waits once, for all new files together. Only a file older than a day needs no wait: a server's clock or time
zone may be wrong, so that a file looks hours old while it grows. Or, with `done: ".done"`, contacts-1.csv is taken when
contacts-1.csv.done is there too. Size and time are compared again after the copy. What is not whole is left to a later
run; when there is nothing else, that is an error.

What becomes of the files once their rows are in the profiles: `after: leave` (nothing), `after: delete`, or
`after: move` with `move_to`, a folder that exists. There, nothing is overwritten (the run's number is added to a name
that is taken) and nothing is imported. A marker goes before its file. A file that changed since it was fetched stays,
and so does one with rows that were refused: they are offered again by the next run.

Export:

    export:
      to: {type: sftp, host: sftp.example.com, username: crm, key: "file:/run/secrets/sftp",
           host_key: "SHA256:jdgSPY...", path: "in/{connection}-{run}.csv"}

`{date}`, `{run}` and `{connection}` are as for the connector `files`. The rows are written to a hidden file beside the
target (.NAME.part), its size is checked, and it is renamed: a reader sees the whole file or none, and a file that is
there already is replaced in one step. A server without posix-rename@openssh.com cannot do that: the old file is removed
first, and there is none for a moment, or until the next run if the connection breaks just then. For a server that lets
nobody rename, `write: direct` writes under the final name at once: then a reader may see half a file, and a transfer
that breaks takes the old one away. A missing folder is an error, or is made with `folders: create`.

Who we are: `username` with `password`, `key` (a whole private key; `passphrase` when it is encrypted), or both, as
references; `agent: true` adds the keys of the SSH agent. Nothing else is tried, and ~/.ssh/config is not read.

Who they are: the server's host key must be one of `host_key` (a fingerprint "SHA256:...", a public key line, or a
list), or else stand in `known_hosts` (a file, relative to the workspace), or else in ~/.ssh/known_hosts or
/etc/ssh/ssh_known_hosts. An unknown or changed one ends the run before any secret is sent; the message shows its
fingerprint. There is no way to switch this off.

A run fetches `max_bytes` (10GB) at most, and never more than half of the room that is free here.

A connection that breaks, or on which nothing arrives for 60 seconds, is made again, twice at most.
"""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from connrunner.connectors import FetchResult, Known, RunContext, SendResult, Settings
from connrunner.connectors.files import EPOCH
from connrunner.connectors.matching import split
from connrunner.connectors.naming import fill
from connrunner.connectors.quota import FetchQuota
from connrunner.connectors.sftp.listing import list_files
from connrunner.connectors.sftp.login import account
from connrunner.connectors.sftp.server import RemoteEntry, RemoteFiles
from connrunner.connectors.sftp.sftp_session import SftpSession
from connrunner.connectors.sftp.trust import address
from connrunner.core import instant
from connrunner.core.model import Format, LocalFile
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.text import durations
from connrunner.text.words import plural

SURELY_OLD = 86_400  # seconds; no clock and no time zone of a server is off by more

SUFFIXES = re.compile(r"(\.[A-Za-z0-9]{1,10}){1,2}$")


def fetch(settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:  # noqa: ARG001
    """Return the files that `path` names, in the order of their names; those that are not known are in the spool."""
    path = _path(settings)
    with _server(settings, context) as server:
        closed = _closed(server, settings, path)
        found = list_files(server, path, context.report, marker=settings.get("done", ""), closed=closed)
        files = {entry.path: _local_file(settings, entry) for entry in found}
        new = [entry for entry in found if not known(*_version(files[entry.path]))]
        whole = _whole(server, settings, new, context.report)
        quota = FetchQuota(settings, context.spool)
        for number, entry in enumerate(new):
            local = context.spool / f"{number:06}{_suffixes(entry.name)}"
            if entry in whole:
                quota.take(entry.size, files[entry.path].name)  # no more than that is copied
            if entry in whole and _copied(server, entry, local, context.report):
                files[entry.path] = replace(files[entry.path], path=str(local))
            else:
                del files[entry.path]
    if not files:
        raise RunError(
            f"no file {path!r} on {server.address} is whole yet, see the warnings",
            hint="try later",
            code="unfinished",
            waiting_helps=True,
        )
    return FetchResult(files=tuple(files.values()))


def settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    """Move or delete the files as `after` says, but none that changed since it was fetched."""
    after = settings.get("after", "leave")
    if after == "leave" or not fetched.files:
        return
    with _server(settings, context) as server:
        for file in fetched.files:
            path = _path_of(settings, file)
            there = server.look(path, follow=True)
            if there is None:
                continue
            if _version(_local_file(settings, there)) != _version(file):
                context.report.message(f"{file.name} stays: it changed since it was fetched", level="warning")
                continue
            # The marker first: left alone, it would say of the next file of that name that it is whole.
            for each in [path + settings["done"], path] if "done" in settings else [path]:
                if after == "delete":
                    server.remove(each)
                else:
                    _move(server, each, settings["move_to"], context.run)
            context.report.message(f"{file.name} {'deleted' if after == 'delete' else 'moved'}")


def form(settings: Settings, wanted: Format) -> Format:  # noqa: ARG001
    """Return *wanted*: a file may hold rows in any form."""
    return wanted


def target(settings: Settings, context: RunContext) -> str:
    """Return the URL of the file; RunError when the server does not let us in, or a file cannot be there."""
    path = _target(settings, context)
    with _server(settings, context) as server:
        _check_target(server, settings, path)
    return _url(settings, path)


def deliver(settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Copy the file *local* beside its target, then rename it, so that readers see all or nothing."""
    path = _target(settings, context)
    with _server(settings, context) as server:
        if not _check_target(server, settings, path):
            server.make_folder(posixpath.dirname(path))
        server.store(local, path, direct=settings.get("write") == "direct")
    return SendResult(where=_url(settings, path))


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:
    """Return the server that let us in: the host key is the right one, the login was accepted, the folder is there."""
    with _server(settings, context) as server:
        if writes:
            _check_target(server, settings, _target(settings, context))
            folder = posixpath.dirname(_target(settings, context)) or "."
        else:
            folder, _ = split(_path(settings))
            server.list(folder)
        return f"{server.address} as {settings['username']}, folder {folder}"


# --- import ------------------------------------------------------------------------------------------------------


def _whole(server: RemoteFiles, settings: Settings, new: Sequence[RemoteEntry], report: Report) -> set[RemoteEntry]:
    """Return those of *new* that are not being written any more; warn about the others."""
    if "done" in settings:
        return {entry for entry in new if _is_marked(server, entry, settings["done"], report)}
    wait = durations.parse(settings.get("settle", "30s"))
    long_ago = time.time() - SURELY_OLD - wait
    old = {entry for entry in new if entry.modified is not None and entry.modified < long_ago}
    young = [entry for entry in new if entry not in old]
    if young:
        files = plural(len(young), "file")
        report.message(f"waiting {wait} s to see that nobody writes to {files} on {server.address}")
        time.sleep(wait)
    return old | {entry for entry in young if _stands_still(server, entry, report)}


def _is_marked(server: RemoteFiles, entry: RemoteEntry, marker: str, report: Report) -> bool:
    there = server.look(entry.path + marker) is not None
    if not there:
        report.message(f"left for later: {entry.path} has no {entry.name}{marker} yet", level="warning")
    return there


def _stands_still(server: RemoteFiles, entry: RemoteEntry, report: Report) -> bool:
    """True when *entry* is still as it was."""
    again = server.look(entry.path, follow=True)
    if again == entry:
        return True
    became = f"from {entry.size:,} to {plural(again.size, 'byte')}" if again else "and is gone"
    report.message(f"left for later: {entry.path} changed, {became}", level="warning")
    return False


def _copied(server: RemoteFiles, entry: RemoteEntry, local: Path, report: Report) -> bool:
    """Copy the file *entry* to *local*; False when it changed meanwhile."""
    start = time.monotonic()
    size = server.fetch(entry, local)
    if not _stands_still(server, entry, report):
        local.unlink()
        return False
    if size != entry.size:
        raise RunError(
            f"{server.address} gave {size:,} of {plural(entry.size, 'byte')} of {entry.path}",
            hint="try later, or ask the server's owner",
            code="incomplete",
            waiting_helps=True,
        )
    seconds = time.monotonic() - start
    report.message(
        f"fetched {entry.path}: {plural(size, 'byte')} in {seconds:.1f} s", bytes=size, seconds=round(seconds, 3)
    )
    return True


def _closed(server: RemoteFiles, settings: Settings, pattern: str) -> str:
    """Return the folder under that of *pattern* in which finished files are kept, or an empty text."""
    if settings.get("after") != "move":
        return ""
    folder, (root, _) = settings["move_to"], split(pattern)
    there = server.look(folder, follow=True)
    if there is None or there.kind != "folder":
        raise RunError(
            f"there is no folder {folder} on {server.address}", hint="make it, or correct `move_to`", code="no-folder"
        )
    if server.look(root, follow=True) is None:
        return ""
    way = posixpath.relpath(server.real(folder), server.real(root))
    if way == ".":
        raise RunError(
            f"`move_to` is {folder}, where the files are already", hint="name another folder", code="bad-name"
        )
    return "" if way.startswith("..") else posixpath.normpath(posixpath.join(root, way))


def _move(server: RemoteFiles, path: str, folder: str, run: int) -> None:
    to = posixpath.join(folder, posixpath.basename(path))
    if server.look(to):
        to = f"{to}.{run}"
    if not server.move(path, to) and server.look(path):
        raise RunError(
            f"cannot move {path} on {server.address}: there is no folder {folder}", hint="make it", code="no-folder"
        )


def _local_file(settings: Settings, entry: RemoteEntry) -> LocalFile:
    """Return what is known about *entry* before it is on this machine."""
    modified = "" if entry.modified is None else instant.text(EPOCH + timedelta(seconds=entry.modified))
    return LocalFile(path="", name=_url(settings, entry.path), size=entry.size, modified=modified)


def _version(file: LocalFile) -> tuple[str, int, str]:
    return file.name, file.size, file.modified


def _suffixes(name: str) -> str:
    """Return the end of *name* that says what a file is (.csv.gz), and nothing of it that could do harm."""
    found = SUFFIXES.search(name)
    return found[0] if found else ""


# --- export ------------------------------------------------------------------------------------------------------


def _target(settings: Settings, context: RunContext) -> str:
    return fill(_path(settings), connection=context.connection, run=context.run, at=context.at)


def _check_target(server: RemoteFiles, settings: Settings, path: str) -> bool:
    """Return whether the folder of *path* is there; RunError when a file cannot be at *path*."""
    folder = posixpath.dirname(path) or "."
    there = server.look(folder, follow=True)
    if there is None:
        if settings.get("folders") == "create":
            return False
        raise RunError(
            f"there is no folder {folder} on {server.address}",
            hint="make it, correct `path`, or set `folders: create`",
            code="no-folder",
        )
    if there.kind != "folder":
        raise RunError(f"cannot write {path}: {folder} is a {there.kind}", hint="correct `path`", code="not-a-file")
    found = server.look(path)
    # What is renamed replaces a link; what is written directly would go where it leads.
    if found and found.kind not in ("file", *(["symbolic link"] if settings.get("write") != "direct" else [])):
        raise RunError(f"cannot write {path}: it is a {found.kind}", hint="set another `path`", code="not-a-file")
    return True


# --- both --------------------------------------------------------------------------------------------------------


@contextmanager
def _server(settings: Settings, context: RunContext) -> Iterator[RemoteFiles]:
    with SftpSession(account(settings, context.workspace), context.report) as session:
        yield RemoteFiles(session)


def _path(settings: Settings) -> str:
    path = str(settings["path"])
    if not path or "\0" in path:
        raise RunError(f"`path` is {path!r}", hint="write the path of a file", code="bad-name")
    return posixpath.normpath(path)


def _url(settings: Settings, path: str) -> str:
    """Return how people and the ledger of processed files call *path*, without the user who reads it."""
    return f"sftp://{address(settings['host'], settings.get('port', 22))}/{path.lstrip('/')}"


def _path_of(settings: Settings, file: LocalFile) -> str:
    """Return the path that `_url` made the name of *file* from."""
    start = "/" if _path(settings).startswith("/") else ""
    return start + file.name.removeprefix(_url(settings, ""))
