"""Reading a file of the workspace, and nothing that only looks like one."""

from __future__ import annotations

import errno
import os
import stat

LIMIT = 256 * 1024  # bytes of one file


class UnreadableFile(Exception):  # noqa: N818 - becomes a Problem
    """There is no such file to read, and why."""

    def __init__(self, message: str, hint: str, code: str) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


def read_workspace_file(folder: str, relative: str) -> bytes:
    """Return what the file at *relative* holds, at most one byte more than `LIMIT`. Unreadable when it is no file.

    A symlink is followed as long as it stays in the workspace (Kubernetes mounts files that way). A FIFO or a device
    is not opened for long enough to hang.
    """
    path = f"{folder}/{relative}"
    try:
        try:
            descriptor = _open(path)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            if not inside(folder, path):
                hint = "put the file itself there"
                raise UnreadableFile("a link that leads out of the workspace", hint, "outside-workspace") from None
            descriptor = _open(os.path.realpath(path))
        return content(descriptor, LIMIT + 1)
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


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
