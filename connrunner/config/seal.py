"""Is this cache of our own making? Imports nothing but `os` and `stat`: a tick with nothing to do asks.

A folder of caches holds an empty file, the seal, and each cache repeats the seal's number (inode) and time of change
(ctime). The file system gives out both, so no branch, archive or copy can bring a cache that fits its seal: it is read
as if it was not there, and written anew. A checksum would prove nothing, for whoever wrote the cache worked it out.
"""

import os
import stat

NAME = "seal"
SIZE = 16  # bytes
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read_seal(folder: str | os.PathLike[str]) -> bytes | None:
    """Return what each cache in *folder* has to repeat; None when there is no seal, or others could have made it.

    The folder has to be ours with mode 0700, no link, and the seal a file of ours with mode 0600.
    """
    try:
        descriptor = os.open(folder, _FOLDER)
    except OSError:
        return None
    try:
        return _read(descriptor) if _is_private(os.fstat(descriptor), stat.S_IFDIR) else None
    finally:
        os.close(descriptor)


def make_seal(folder: str | os.PathLike[str]) -> bytes | None:
    """Return the seal of *folder*, made where there is none; None when the folder is a link, or not ours."""
    try:
        descriptor = os.open(folder, _FOLDER)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            return None
        if not _is_private(status, stat.S_IFDIR):
            os.fchmod(descriptor, 0o700)
        if (seal := _read(descriptor)) is not None:
            return seal
        try:
            os.unlink(NAME, dir_fd=descriptor)
        except FileNotFoundError:
            pass
        made = os.open(NAME, _NEW, 0o600, dir_fd=descriptor)
        try:
            os.fchmod(made, 0o600)  # whatever the umask takes away
        finally:
            os.close(made)
        return _read(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _read(folder: int) -> bytes | None:
    try:
        status = os.stat(NAME, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    if not _is_private(status, stat.S_IFREG):
        return None
    return status.st_ino.to_bytes(8, "big") + status.st_ctime_ns.to_bytes(8, "big", signed=True)


def _is_private(status: os.stat_result, kind: int) -> bool:
    return stat.S_IFMT(status.st_mode) == kind and status.st_uid == os.geteuid() and not status.st_mode & 0o077
