"""Room that is kept on the disk for what has to be recorded later: a disk that is full by then costs no result.

For the end of each run at work a file in `spool/` has it. Where the log of the run cannot take its end, the end is
written over the start of that file, which needs no new room; the rest is given back before the end is recorded. While
mail is sent there is such a file for the records of it: what is sent and cannot be recorded would be sent again.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from connrunner.core.model import Result
from connrunner.core.run_records import fold_log
from connrunner.errors import StateError
from connrunner.lazy_dataclasses import replace
from connrunner.state.folder import RESERVE, StateFolder, recording
from connrunner.state.run_files import RunLog, encode_event, end_event, read_events
from connrunner.text.files import write_all
from connrunner.text.words import plural

SIZE = 128 * 1024  # bytes for the end in the log, in the history and in the journal with the mail it owes
MAIL_SIZE = 32 * 1024  # bytes for the records of mail: less, since somebody has to be told of a full disk
RECORD = 8 * 1024  # bytes that one record may have
LONGEST = 2000  # characters of a message that has to be short
CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def keep_room(folder: StateFolder, connection: str, run: int) -> None:
    """Keep room for the end of a run that is about to start; StateError when there is none."""
    for path in (folder.journal, folder.history(connection)):
        refuse_limited(path)
    _allocate(folder.reserve(connection, run), SIZE)


@contextmanager
def keep_room_for_mail(folder: StateFolder) -> Iterator[Callable[[], bool]]:
    """Keep room for the records of mail, and yield what gives it back: False when it was given back before.

    StateError when there is none. Hold the lock of what sends mail.
    """
    refuse_limited(folder.journal)
    path = folder.spool / f"mail{RESERVE}"
    _allocate(path, MAIL_SIZE)

    def give_back() -> bool:
        try:
            path.unlink()
        except OSError:
            return False
        return True

    try:
        yield give_back
    finally:
        give_back()


def _allocate(path: Path, size: int) -> None:
    """Make the file *path* with room for *size* bytes; StateError when there is none, and then no file is left."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    with recording(path):
        _fill(path, size if limit == resource.RLIM_INFINITY else min(size, limit))


def _fill(path: Path, size: int) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.posix_fallocate(descriptor, 0, max(1, size))
        except OSError as error:
            if error.errno not in CANNOT_ALLOCATE:
                raise
            write_all(descriptor, bytes(size))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def refuse_limited(path: Path) -> None:
    """StateError when this process may not add a record to *path*, for the limit of the size of its files."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return
    with suppress(FileNotFoundError):
        if (size := path.stat().st_size) + RECORD > limit:
            message = f"{path} has {plural(size, 'byte')}, and no file of this process may have more than {limit:,}"
            raise StateError(message, hint="raise the limit (ulimit -f): nothing starts whose end cannot be recorded")


def write_end(folder: StateFolder, connection: str, run: int, result: Result) -> None:
    """Write the end of a run durably where room was kept for it, in short when it is long; OSError when that fails."""
    line = encode_event(end_event(result))
    if len(line) > SIZE:
        line = encode_event(end_event(replace(result, detail={}, message=result.message[:LONGEST])))
    descriptor = os.open(folder.reserve(connection, run), _FLAGS | os.O_CREAT, 0o600)
    try:
        write_all(descriptor, line)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def free_room(folder: StateFolder, connection: str, run: int) -> None:
    """Give back the room, for the records of the end, but not the end that may stand in it."""
    path = folder.reserve(connection, run)
    with suppress(OSError):
        descriptor = os.open(path, _FLAGS)
        try:
            if end := os.pread(descriptor, SIZE, 0).find(b"\n") + 1:
                os.ftruncate(descriptor, end)
            else:
                path.unlink()
        finally:
            os.close(descriptor)


def settle_reserve(folder: StateFolder, connection: str, run: int) -> None:
    """Remove the reserve of a run whose end is recorded; if it had to take the end, the log gets it now."""
    path, log_path = folder.reserve(connection, run), folder.log(connection, run)
    with suppress(OSError):
        event = next(read_events(path), None)
        path.unlink(missing_ok=True)
        if event is not None and fold_log(read_events(log_path)).result is None:
            with closing(RunLog(log_path)) as log:
                log.write_last(event)
