"""Files that change in one step: a reader sees the old one or the new one, never a part of one."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from connrunner.errors import StateError
from connrunner.text.regular_files import NotAFileError, open_regular, read_regular


def replace_file(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True, suffix: str = "") -> None:
    """Put *data* at *path* in one step; when *durable*, a power cut leaves the old file or the new one.

    It is written beside *path* first, under a name that ends in *suffix*: give one where a crash must not leave more
    than one such file, and only one process at a time writes *path*.
    """
    new = _beside(path, suffix)
    descriptor = _create(new)
    try:
        os.fchmod(descriptor, mode)  # whatever the umask says
        write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)
        put_in_place(new, path, durable=durable)
    except BaseException:
        _remove(new)
        raise
    finally:
        os.close(descriptor)


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk says, a quota, a limit of the process
UNFINISHED_NOTE = "unfinished"
NOT_MADE = 0  # in the note, instead of an inode


class NewFile(os.PathLike[str]):
    """A file that is being written beside the one that it will replace; also a path, for what writes by names."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor

    def __fspath__(self) -> str:
        return str(self.path)


@contextmanager
def replacing(path: Path, *, mode: int = 0o600, durable: bool = True, suffix: str = "") -> Iterator[NewFile]:
    """Yield the new, empty file for *path*, and put it in place at the end; after an error it is removed.

    It has exactly *mode*, whatever the umask and the file that it replaces say, and nobody else has made it. *durable*
    and *suffix* are as in `replace_file`. FileExistsError when somebody put another file where the new one was.
    """
    new = _beside(path, suffix)
    descriptor = _create(new)
    try:
        os.fchmod(descriptor, mode)
        yield NewFile(new, descriptor)
        if durable:
            os.fsync(descriptor)
        if not os.path.samestat(os.fstat(descriptor), new.lstat()):
            raise FileExistsError(errno.EEXIST, "another process is writing it", str(path))
        put_in_place(new, path, durable=durable)
    except BaseException:
        _remove(new)
        raise
    finally:
        os.close(descriptor)


def open_own(path: Path) -> BinaryIO:
    """Open the file *path* of a state folder for reading. FileNotFoundError when it is not there.

    StateError when it is a link, a pipe or a device: nothing here makes one, and what a branch or an archive brings
    must not have a command show, or wait for, what lies elsewhere.
    """
    try:
        return os.fdopen(open_regular(path), "rb")
    except NotAFileError as error:
        raise explain_no_file(error) from error


def explain_no_file(error: NotAFileError) -> StateError:
    """Return what a person is told of a thing that stands where a file of the state belongs."""
    message = f"{error.filename} is no file but {error.kind}, which no connrunner puts there"
    return StateError(message, hint="nothing of it was read; put the file itself there, or move it away")


@contextmanager
def saving(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write that a person asked to have at *path*, for its owner only, and put it in place at the end.

    A device or a pipe, such as /dev/stdout, is written as it is.
    """
    if is_written_in_place(path):
        with path.open("wb") as device:
            yield device
        return
    with replacing(path, durable=False) as new, os.fdopen(os.dup(new.descriptor), "wb") as file:
        yield file
        file.flush()


def is_written_in_place(path: Path) -> bool:
    """Tell whether *path* is a device or a pipe, which no file can replace."""
    return path.parts[:2] in (("/", "dev"), ("/", "proc")) or (path.exists() and not path.is_file())


def make_folders(folder: Path, *, mode: int = 0o600) -> None:
    """Make *folder* and what is missing above it, for those who may read or write a file of *mode* in it."""
    if folder.is_dir():
        return
    make_folders(folder.parent, mode=mode)
    enter = (0o010 if mode & 0o070 else 0) | (0o001 if mode & 0o007 else 0)
    with suppress(FileExistsError):  # another process was faster
        folder.mkdir(mode=0o700)
        folder.chmod(0o700 | enter)


def note_planned(folder: Path, path: Path, *, suffix: str) -> None:
    """Note in *folder*, if it is there, that `replacing` is about to make a file for *path* with this *suffix*."""
    _note_unfinished(folder, NOT_MADE, _beside(path, suffix))


def note_unfinished(folder: Path, new: NewFile) -> None:
    """Note in *folder*, if it is there, that *new* is to be removed when this process is killed before the end."""
    _note_unfinished(folder, os.fstat(new.descriptor).st_ino, new.path)


def _note_unfinished(folder: Path, inode: int, path: Path) -> None:
    note = f"{inode}\n{path.absolute()}"
    with suppress(FileNotFoundError):
        replace_file(folder / UNFINISHED_NOTE, note.encode(errors="surrogateescape"), durable=False)


def remove_unfinished(folder: Path) -> None:
    """Remove the file that a killed process noted in *folder*, if it is still that very file.

    Of one that was only planned it is not known which file it is: one that is empty, and that nobody writes.
    """
    with suppress(OSError, ValueError):
        inode, _, name = read_regular(folder / UNFINISHED_NOTE, 1 << 16).partition(b"\n")
        path = Path(os.fsdecode(name))
        if not path.name.startswith("."):
            return
        if int(inode) == NOT_MADE:
            _remove_unlocked(path, only_empty=True)
        elif path.lstat().st_ino == int(inode):
            path.unlink()


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left in *folder* of files that they were about to put in place: none is locked."""
    with suppress(FileNotFoundError), os.scandir(folder) as scan:
        for entry in scan:
            if entry.name.startswith(".") and entry.name.endswith(".tmp") and entry.is_file(follow_symlinks=False):
                _remove_unlocked(Path(entry.path))


def _remove_unlocked(new: Path, *, only_empty: bool = False) -> None:
    with suppress(OSError):
        descriptor = open_regular(new)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not only_empty or not os.fstat(descriptor).st_size:
                new.unlink()
        finally:
            os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename *path*, whatever it is, to a name beside it that ends in `.unreadable`; return that."""
    stem = path.name.removesuffix(".json")
    aside, number = path.with_name(f"{stem}.unreadable"), 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{stem}.{number}.unreadable")
    path.rename(aside)
    return aside


def put_in_place(new: Path, path: Path, *, durable: bool = True) -> None:
    """Give *new*, a finished file in the same folder, the name *path*."""
    new.replace(path)
    if durable:
        sync_folder(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte of *data*: a short write is how a full disk begins."""
    while data:
        data = data[os.write(descriptor, data) :]


def append_whole(descriptor: int, data: bytes, size: int) -> None:
    """Append *data* to an open file of *size* bytes: all of it, or nothing when that fails."""
    try:
        write_all(descriptor, data)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def append_durably(path: Path, data: bytes) -> None:
    """Append *data* to a file of ours, which is made if need be; it is on the disk when this returns."""
    descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make what the file *path* holds durable."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix or f'{os.getpid()}.tmp'}")


def _create(new: Path) -> int:
    """Make the file *new*, which nobody else has made, and lock it: so it shows that its writer lives."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(new, flags, 0o600)
    except FileExistsError:  # left by a crash; or a link that somebody planted, which is not to be written through
        new.unlink()
        descriptor = os.open(new, flags, 0o600)
    with suppress(OSError):  # a file system without locks: what is left there stays
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _remove(new: Path) -> None:
    with suppress(OSError):
        new.unlink()
