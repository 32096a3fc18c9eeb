"""Reading a file of the workspace, and nothing that only looks like one."""

from __future__ import annotations

import errno
import os
import stat

from connrunner.core import workspace_files

LIMIT = 256 * 1024  # bytes of one file


class UnreadableFile(Exception):  # noqa: N818 - becomes a Problem
    """There is no such file to read, and why."""

    def __init__(self, message: str, hint: str, code: str) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


def read_workspace_file(folder: str, relative: str) -> bytes:
    """Return what the file at *relative* holds, at most one byte more than `LIMIT`. Unreadable when it is no file.

    A link is followed to a file that is itself configuration of this workspace (Kubernetes mounts files that way),
    and to nothing else: what is read may be shown. A FIFO or a device is not opened for long enough to hang.
    """
    try:
        real = resolve_link(folder, relative)
        if real is None and os.path.lexists(f"{folder}/{relative}"):
            hint = "put the file itself there"
            raise UnreadableFile("a link that leads out of the workspace", hint, "outside-workspace")
        if real not in (None, relative) and not workspace_files.is_configuration(real or ""):
            hint = "put the file itself there; a link leads to a file of the configuration"
            raise UnreadableFile("a link to what is no configuration", hint, "not-configuration")
        return content(_open(f"{os.path.realpath(folder)}/{real or relative}"), LIMIT + 1)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        hint = "check that it exists and who may read it"
        raise UnreadableFile(f"cannot be read: {reason}", hint, "unreadable") from None


def content(descriptor: int, limit: int) -> bytes:
    """Return the first *limit* bytes of an open file, and close it. Unreadable when it is no regular file."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableFile("not a regular file", "put a file there, or rename it", "not-a-file")
        found = b""
        while len(found) < limit and (more := os.read(descriptor, min(limit - len(found), 64 * 1024))):
            found += more
        return found
    finally:
        os.close(descriptor)


def inside(folder: str, path: str) -> bool:
    """True when *path*, with every symlink followed, is in *folder*."""
    top = os.path.realpath(folder)
    real = os.path.realpath(path)
    return real == top or real.startswith(top.rstrip("/") + "/")


def resolve_link(folder: str, relative: str) -> str | None:
    """Return *relative* with every link followed, relative to *folder*; None when that is not in *folder*."""
    top = os.path.realpath(folder).rstrip("/") + "/"
    real = os.path.realpath(os.path.join(folder, relative))  # noqa: PTH118 - the path is text already
    return real[len(top) :] if real.startswith(top) else None


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
