"""A running program: read what it prints, see its end, end it with grace together with all that it started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, Self

CHUNK = 1 << 16  # bytes; what a pipe holds
DRAIN = 2.0  # seconds for what is still in the pipes after the program's end
GLANCE = 0.05  # seconds between two looks at what cannot wake us


class Reader(Protocol):
    """Takes what a program prints."""

    def feed(self, stream: str, data: bytes) -> None:
        """Take the next bytes of *stream*, "stdout" or "stderr"."""


class Pipes:
    """One loop that reads what a program prints, and wakes up when it ends."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._selector = selectors.DefaultSelector()
        self._pipes: list[int] = []  # still open at the other end
        self._exit: int | None = None
        self._close: list[Callable[[], None]] = [self._selector.close]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for close in self._close:
            close()

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            self._close.append(pipe.close)
            self._pipes.append(pipe.fileno())
            self._selector.register(pipe.fileno(), selectors.EVENT_READ, name)
        # Becomes readable when the process ends. Not every system and sandbox has it: then we look now and then.
        with suppress(AttributeError, OSError):
            self._exit = os.pidfd_open(process.pid)
            self._close.append(partial(os.close, self._exit))
            self._selector.register(self._exit, selectors.EVENT_READ)

    def read(self, seconds: float) -> None:
        """Pass on what was printed; wait at most *seconds* for it, or for the end of the program."""
        for key, _ in self._selector.select(seconds if self._exit is not None else min(seconds, GLANCE)):
            data = os.read(key.fd, CHUNK) if key.data else b""
            if data:
                self._reader.feed(key.data, data)
                continue
            self._selector.unregister(key.fd)
            if key.fd == self._exit:
                self._exit = None
            else:
                self._pipes.remove(key.fd)

    def drain(self, seconds: float) -> bool:
        """Read to the end of both pipes; False when somebody still holds one after *seconds*."""
        deadline = time.monotonic() + seconds
        while self._pipes and time.monotonic() < deadline:
            self.read(deadline - time.monotonic())
        return not self._pipes


def ends(process: subprocess.Popen[bytes], pipes: Pipes, *, within: float | None) -> bool:
    """Read until the program has ended; False when it has not *within* so many seconds.

    Its exit counts, not the end of its output: a daemon that it leaves behind may hold the pipes for ever, and a
    program may close them and work on.
    """
    deadline = time.monotonic() + within if within is not None else float("inf")
    while process.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        pipes.read(min(left, 3600))
    return True


def end(process: subprocess.Popen[bytes], pipes: Pipes, grace: float) -> bool:
    """Ask the program's process group to end, and kill what is left of it after *grace* seconds; False if it had to.

    The whole group gets its grace: of `sh -c "a | b"` the shell is gone at once, while `a` and `b` clean up.
    """
    deadline = time.monotonic() + grace
    try:
        _signal(process, signal.SIGTERM)
        while _group_lives(process) and time.monotonic() < deadline:
            pipes.read(GLANCE)  # or it would wait for a reader and never end
    finally:
        obeyed = not _group_lives(process)
        if not obeyed:
            _signal(process, signal.SIGKILL)
        process.wait()
    return obeyed


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # an ended process counts until somebody asks how it ended
    if not _signal(process, 0):
        return False
    # The program's orphans count as well until process 1 asks, which it never does in many containers: look closer.
    seen = False
    for stat in Path("/proc").glob("[1-9]*/stat"):
        with suppress(OSError, ValueError):
            state, _, group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            seen = True
            if group == str(process.pid) and state not in "ZX":
                return True
    return not seen  # a system without /proc


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # it became another user's
        return True
    return True
