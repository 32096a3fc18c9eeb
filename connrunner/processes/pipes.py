"""A running program: read what it prints, wait for its exit, end it with grace together with all that it started."""

from __future__ import annotations

import fcntl
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, Self

from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.processes.tree import KILL_WAIT, ProcessTree, Termination, describe_process, reap_adopted

CHUNK = 1 << 20  # bytes; what a pipe holds, where the system lets us make it so large
DRAIN_TIME = 2.0  # seconds after the program's end for what is in the pipes, and for the processes that it left behind
REAP_INTERVAL = 10.0  # seconds between two looks for adopted processes that have ended
POLL_INTERVAL = 0.05  # seconds between two looks at what cannot wake us


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
        for key, _ in self._selector.select(seconds if self._exit is not None else min(seconds, POLL_INTERVAL)):
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
        """Whether no process can print any more."""
        return not self._pipes

    def drain(self, seconds: float) -> bool:
        """Read to the end of both pipes; False when a process still holds one after *seconds*."""
        deadline = time.monotonic() + seconds
        while self._pipes and time.monotonic() < deadline:
            self.read(deadline - time.monotonic())
        return self.are_closed


def wait_for_exit(process: subprocess.Popen[bytes], pipes: Pipes, tree: ProcessTree, *, within: float | None) -> bool:
    """Read until the program has ended; False when it has not *within* so many seconds.

    Its exit counts, not the end of its output: a daemon that it leaves behind may hold the pipes for ever, and a
    program may close them and work on.
    """
    deadline = time.monotonic() + within if within is not None else float("inf")
    while process.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        pipes.read(min(left, REAP_INTERVAL))
        reap_ended(process, tree)
    return True


def reap_ended(process: subprocess.Popen[bytes], tree: ProcessTree) -> None:
    """Reap the processes of the program's tree that have ended, where this process adopts them."""
    if tree.below == os.getpid():
        reap_adopted(but=process.pid)


def terminate(process: subprocess.Popen[bytes], pipes: Pipes, tree: ProcessTree) -> bool:
    """End the program and its *tree*: SIGTERM, and SIGKILL after its grace; False when that was needed.

    All of them get their grace: of `sh -c "a | b"` the shell is gone at once, while `a` and `b` clean up.
    """
    with Termination(replace(tree, group=process.pid)) as termination:
        try:
            while termination.advance():
                pipes.read(POLL_INTERVAL)  # or it would wait for a reader and never end
        finally:
            termination.kill()
            _reap(process)
        return not termination.had_to_kill


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(KILL_WAIT)
    except subprocess.TimeoutExpired:
        raise RunError(
            f"{describe_process(process.pid)} was killed and does not end: it waits for a disk or a network",
            hint="see to the file systems that it uses",
            code="does-not-end",
        ) from None


def end_leftovers(pipes: Pipes, tree: ProcessTree) -> tuple[str, ...]:
    """End what a program that has ended left behind; return what had to be ended, for people.

    They have `DRAIN_TIME` seconds to end by themselves, and the grace of the tree after that.
    """
    # Not by its group: the number may be another's by now.
    deadline = time.monotonic() + DRAIN_TIME
    while not pipes.drain(POLL_INTERVAL) or tree.members():
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if pipes.are_closed:
            time.sleep(min(left, POLL_INTERVAL))
    with Termination(tree) as termination:
        try:
            while termination.advance():
                pipes.read(POLL_INTERVAL)
        finally:
            termination.kill()
        pipes.drain(POLL_INTERVAL)
        return tuple(termination.terminated)
