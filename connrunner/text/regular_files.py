"""Files, and nothing that only looks like one: never waited for, never read without an end, no link followed.

Imports what every Python has loaded already: a tick with nothing to do opens its note so.
"""

import errno
import os
import stat

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FLAGS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_BLOCK = 1 << 20


class NotAFileError(OSError):
    """What stands at the path is no regular file but *kind*."""

    kind = ""


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of the regular file *path*; one that is made is ours alone.

    NotAFileError for anything else: a pipe is not waited for, a link is not followed, a device is not read.
    """
    try:
        descriptor = os.open(path, flags | _FLAGS, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            refuse_irregular(path)
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _no_file(path, mode)
    return descriptor


def refuse_irregular(path: str | os.PathLike[str]) -> None:
    """NotAFileError when something stands at *path* that is no regular file."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise _no_file(path, mode)


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return what the regular file *path* holds; OSError (EFBIG) when that is more than *limit* bytes."""
    descriptor = open_regular(path)
    try:
        found = []
        while block := os.read(descriptor, _BLOCK):
            found.append(block)
            limit -= len(block)
            if limit < 0:
                raise OSError(errno.EFBIG, "it is too long", os.fspath(path))
        return b"".join(found)
    finally:
        os.close(descriptor)


def _no_file(path: str | os.PathLike[str], mode: int) -> NotAFileError:
    kind = KINDS.get(stat.S_IFMT(mode), "a thing of another kind")
    error = NotAFileError(errno.EINVAL, f"it is {kind}, and no file", os.fspath(path))
    error.kind = kind
    return error
