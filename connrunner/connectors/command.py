"""Any program as the work of a connection; docs/commands.md is its manual."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from connrunner.connectors.output import Output
from connrunner.connectors.spawn import start
from connrunner.core.counts import Counts
from connrunner.core.model import Command
from connrunner.core.report import Report

CHUNK = 1 << 16  # bytes; what a pipe holds
DRAIN = 2.0  # seconds for what is still in the pipes after the program's end
GLANCE = 0.05  # seconds between two looks at what cannot wake us
WORDS = 300  # characters of what a program said last that are worth a place in the history


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """How a program ended."""

    exit_status: int | None  # None when a signal ended it
    signal: int | None  # the number of that signal
    counts: Counts  # what the program reported last; nobody has checked their balance
    message: str  # its own last words: its last complaint when it failed, else the last message that it sent
    timed_out: bool = False

    @property
    def succeeded(self) -> bool:
        return self.exit_status == 0 and not self.timed_out


def run(
    work: Command,
    *,
    workspace: Path,
    environment: Mapping[str, str],
    mask: Callable[[str], str],
    timeout: int | None,
    report: Report,
    grace: float = 10,
    inherit: Sequence[int] = (),
) -> CommandResult:
    """Run the program of *work* to its end, its output going to *report* line by line; RunError if it cannot start.

    It gets *environment* and a few plain variables of ours, nothing on standard input, and the descriptors *inherit*,
    so that a lock can live as long as it does. After *timeout* seconds, and when an exception leaves this function,
    its process group is asked to end (SIGTERM), and killed after *grace* seconds.
    """
    output = Output(mask=mask, report=report)
    with _Pipes(output) as pipes:
        process = start(work, workspace=workspace, environment=environment, inherit=inherit)
        try:
            pipes.watch(process)
            timed_out = not _ends(process, pipes, within=timeout)
            if timed_out:
                report.message(f"not done after {timeout} s: asked to end", level="warning")
                if not _end(process, pipes, grace):
                    report.message(f"still there {grace:g} s later: killed", level="warning")
            if not pipes.drain(DRAIN):
                report.message("a process that the program left behind holds its output; what it prints now is lost")
        except BaseException:
            # A signal's handler or the report raised. Nothing stays behind, and its last words count.
            if process.returncode is None:
                _end(process, pipes, grace)
            pipes.drain(GLANCE)
            output.finish()
            raise
    output.finish()
    return _result(process.returncode, output, timed_out=timed_out)


class _Pipes:
    """One loop that reads what a program prints, and wakes up when it ends."""

    def __init__(self, output: Output) -> None:
        self._output = output
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
                self._output.feed(key.data, data)
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


def _ends(process: subprocess.Popen[bytes], pipes: _Pipes, *, within: float | None) -> bool:
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


def _end(process: subprocess.Popen[bytes], pipes: _Pipes, grace: float) -> bool:
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


def _result(status: int, output: Output, *, timed_out: bool) -> CommandResult:
    words = output.last_complaint if status or timed_out else output.last_message
    return CommandResult(
        exit_status=status if status >= 0 else None,
        signal=-status if status < 0 else None,
        counts=output.counts,
        message=words[:WORDS],
        timed_out=timed_out,
    )
