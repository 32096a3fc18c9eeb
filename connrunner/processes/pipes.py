"""A running program: read what it prints, see its end, end it with grace together with all that it started."""

from __future__ import annotations

import fcntl
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol, Self

from connrunner.errors import RunError
from connrunner.processes.tree import KILLED, ProcessTree, Termination, described, reap_orphans

CHUNK = 1 << 20  # bytes; what a pipe holds, where the system lets us make it so large
DRAIN = 2.0  # seconds after the program's end for what is in the pipes, and for those that it left behind
OFTEN = 10.0  # seconds between two looks for orphans that have ended
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
            with suppress(OSError):  # a user may have so much in pipes and no more
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)
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

    @property
    def are_closed(self) -> bool:
        """True when nobody can print any more."""
        return not self._pipes

    def drain(self, seconds: float) -> bool:
        """Read to the end of both pipes; False when somebody still holds one after *seconds*."""
        deadline = time.monotonic() + seconds
        while self._pipes and time.monotonic() < deadline:
            self.read(deadline - time.monotonic())
        return self.are_closed


def ends(process: subprocess.Popen[bytes], pipes: Pipes, family: ProcessTree, *, within: float | None) -> bool:
    """Read until the program has ended; False when it has not *within* so many seconds.

    Its exit counts, not the end of its output: a daemon that it leaves behind may hold the pipes for ever, and a
    program may close them and work on.
    """
    deadline = time.monotonic() + within if within is not None else float("inf")
    while process.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        pipes.read(min(left, OFTEN))
        look_after(process, family)
    return True


def look_after(process: subprocess.Popen[bytes], family: ProcessTree) -> None:
    """Forget those orphans of the program that have ended, where we are the parent of its orphans."""
    if family.below == os.getpid():
        reap_orphans(but=process.pid)


def end(process: subprocess.Popen[bytes], pipes: Pipes, grace: float, family: ProcessTree) -> bool:
    """Ask the program and its *family* to end, and kill who is left after *grace* seconds; False if it had to.

    All of them get their grace: of `sh -c "a | b"` the shell is gone at once, while `a` and `b` clean up.
    """
    with Termination(replace(family, group=process.pid), grace=grace) as ending:
        try:
            while ending.goes_on():
                pipes.read(GLANCE)  # or it would wait for a reader and never end
        finally:
            ending.hurry()
            _reap(process)
        return not ending.killed


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(KILLED)
    except subprocess.TimeoutExpired:
        raise RunError(
            f"{described(process.pid)} was killed and does not end: it waits for a disk or a network",
            hint="see to the file systems that it uses",
            code="does-not-end",
        ) from None


def leave_nothing(pipes: Pipes, grace: float, family: ProcessTree) -> tuple[str, ...]:
    """See that nobody of a program that has ended lives on; return who had to be ended, for people.

    They have `DRAIN` seconds to end by themselves, and the usual grace after that.
    """
    # Not by its group: the number may be somebody else's by now.
    deadline = time.monotonic() + DRAIN
    while not pipes.drain(GLANCE) or family.members():
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if pipes.are_closed:
            time.sleep(min(left, GLANCE))
    with Termination(family, grace=grace) as ending:
        try:
            while ending.goes_on():
                pipes.read(GLANCE)
        finally:
            ending.hurry()
        pipes.drain(GLANCE)
        return tuple(ending.asked)
