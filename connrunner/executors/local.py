"""Runs as processes of this machine."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

GLANCE = 0.05  # seconds between two looks where the kernel cannot tell about an exit


class Process:
    """The worker of one run, in a session of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        # A descriptor that becomes readable when the process ends; no process number can be mistaken for another.
        self._ended = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None

    @property
    def exit_status(self) -> int | None:
        """The exit status, minus the signal's number when a signal ended it, or None while it lives."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask the whole session to end."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the whole session."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        if self._ended is not None:
            os.close(self._ended)
            self._ended = None

    def fileno(self) -> int | None:
        return self._ended


def start(job: Mapping[str, Any], *, inherit: int, errors: Path) -> Process:
    """Start the worker for *job*; it inherits the descriptor *inherit*, the lane's lock, until its last child ends.

    What the worker's interpreter says on standard error, when it crashes say, goes to the file *errors*.
    """
    with open(errors, "wb", opener=_private) as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "connrunner.worker"],
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            pass_fds=[inherit],
            start_new_session=True,
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(json.dumps(job).encode())
    return Process(process)


def wait(processes: Iterable[Process], seconds: float) -> None:
    """Return when one of *processes* has ended, or after *seconds*."""
    processes = list(processes)
    descriptors = [process.fileno() for process in processes]
    if None not in descriptors:
        poll = select.poll()
        for descriptor in descriptors:
            assert descriptor is not None
            poll.register(descriptor, select.POLLIN)
        poll.poll(max(0, seconds) * 1000)
        return
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and all(process.exit_status is None for process in processes):
        time.sleep(GLANCE)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
