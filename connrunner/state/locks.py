"""Locks of the state, of lanes and of workers: the kernel frees them when their holders die."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from connrunner.errors import BusyError, StateError
from connrunner.state.folder import StateFolder, recording
from connrunner.text.regular_files import open_regular

WAIT = 5.0  # seconds for the state lock, which other processes hold for milliseconds


@contextmanager
def hold_lock(folder: StateFolder, name: str, *, wait: float) -> Iterator[None]:
    """Hold the lock *name* of the state folder; BusyError when it is not free within *wait* seconds."""
    with _locked(folder.locks / name, wait=wait, flags=os.O_RDWR | os.O_CREAT):
        yield


@contextmanager
def hold_state_lock(folder: StateFolder) -> Iterator[None]:
    """Hold the short state lock: every append to the journal happens inside.

    The journal itself is locked too: deleting `locks/state` while it is held lets no other process in.
    """
    with hold_lock(folder, "state", wait=WAIT), _barrier(folder.journal, wait=WAIT):
        yield


@contextmanager
def _barrier(path: Path, *, wait: float) -> Iterator[None]:
    """Hold a lock of the file *path* itself, when it is there; BusyError when it is not free within *wait* seconds."""
    with _locked(path, wait=wait, flags=os.O_RDONLY):
        yield


@contextmanager
def _locked(path: Path, *, wait: float, flags: int) -> Iterator[None]:
    """Hold a lock of the file *path*; none where *flags* make no file and there is none.

    By flock, as every release has done: to import the library of the earlier ones took a sixth of a tick.
    """
    deadline = time.monotonic() + wait
    descriptor = None
    with recording(path), suppress(FileNotFoundError):
        while (descriptor := _flock(path, flags)) is None:
            if time.monotonic() > deadline:
                raise BusyError(f"another connrunner holds {path}", hint="try again in a moment")
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


class LaneLock:
    """The lock of one lane, held for as long as the worker of its run or anything that worker started lives.

    The descriptor is inherited by the worker, so the kernel keeps the lock until the last copy is closed, also after
    SIGKILL of everything else. That is why nothing unlocks the open file, which would do so for all holders of it:
    only this process's copy is closed.
    """

    part = "lane"

    def __init__(self, folder: StateFolder, lane: str) -> None:
        self.path = folder.locks / f"{self.part}-{lane}"
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """What is inherited."""
        assert self._descriptor is not None, "the lane is not held"
        return self._descriptor

    def take(self) -> bool:
        """Take the lane if it is free; True when it is held now."""
        if self._descriptor is not None:
            return True
        with recording(self.path):
            self._descriptor = _flock(self.path)
        return self._descriptor is not None

    def release(self) -> None:
        """Close this process's copy. The lane is free once no other process has one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def is_in_place(self) -> bool:
        """False when the file that we hold was deleted or replaced: what is at its path now is the lock of others."""
        if self._descriptor is None:
            return True
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except OSError:
            return False

    @property
    def is_busy(self) -> bool:
        """True while a process holds it, this one among them."""
        return _is_locked(self.path)


class SupervisorLock(LaneLock):
    """The right to act for a lane, taken before the lane's own lock and never inherited.

    A process that gets it while the lane is held knows that the connrunner that started the run there is dead.
    """

    part = "supervisor"


class WorkerLock(LaneLock):
    """What the worker of a run holds as long as it lives, and nothing that it starts: the file of its complaints.

    It lies with the run, not in `locks/`: emptying that folder makes no run look dead.
    """

    def __init__(self, complaints: Path) -> None:
        self.path = complaints
        self._descriptor = None


def is_lane_busy(folder: StateFolder, lane: str) -> bool:
    """Tell whether a process holds *lane* now. The lock is shared for a moment to find out."""
    return LaneLock(folder, lane).is_busy


def _is_locked(path: Path) -> bool:
    try:
        descriptor = open_regular(path)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _flock(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int | None:
    """Return a locked descriptor of *path*, or None when another process holds it."""
    glances = 3  # is_lane_busy() holds the lock for microseconds; that must not look like a run
    while True:
        descriptor = open_regular(path, flags)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if not glances:
                return None
            glances -= 1
            time.sleep(0.005)
            continue
        except OSError as error:
            os.close(descriptor)
            raise StateError(
                f"{path} cannot be locked: {error.strerror}",
                hint="put the state folder on a local file system that has flock",
            ) from error
        # The file may have been deleted or replaced between the open and the lock: such a lock guards no name.
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)
