"""
Temporary folders that do not outlive their process for long, however it ends.

Rows and settings may stand in them, so what a killed process left is removed by the next one of the same user that
makes such a folder, and by each tick. Each is locked by its process: what is not locked belongs to nobody any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "connrunner-work-"
YOUNGEST = 60.0  # seconds: one that is younger may be about to be locked
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_cleared: set[str] = set()


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """Yield a new folder with mode 0700, in *within* or where temporary files belong, and remove it at the end."""
    place = os.fspath(within or tempfile.gettempdir())
    if place not in _cleared:  # once is enough for a process
        _cleared.add(place)
        remove_abandoned_folders(Path(place))
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=place)
    descriptor = os.open(folder, _OPEN)
    try:
        with suppress(OSError):  # a file system without locks: what is left there stays
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_abandoned_folders(place: Path | None = None) -> None:
    """Remove from *place*, or where temporary files belong, the folders of killed processes of this user."""
    with suppress(OSError), os.scandir(place or tempfile.gettempdir()) as scan:
        for entry in scan:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _remove_abandoned(entry.path)


def _remove_abandoned(folder: str) -> None:
    descriptor = os.open(folder, _OPEN)
    try:
        status = os.fstat(descriptor)
        # Others may make folders of any name where temporary files are.
        is_ours = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
        if is_ours and time.time() - status.st_mtime > YOUNGEST:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
