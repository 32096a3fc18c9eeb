"""Runs as processes of this machine."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from connrunner.processes.tree import RUN_ID_VARIABLE, ProcessTree, find_lock_holders
from connrunner.text.regular_files import open_regular


class Worker(Protocol):
    """The process of one run."""

    @property
    def is_alive(self) -> bool:
        """Tell whether it works."""

    @property
    def exit_status(self) -> int | None:
        """How it ended: the exit status, or minus the signal's number; None when that is not known."""

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when it ends, where there is one."""

    def close(self) -> None:
        """Give the descriptor back."""


class WorkerProcess:
    """A worker that we started, in a session of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        # No process number can be mistaken for another by it.
        self._ended = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        return self._process.poll()

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def fileno(self) -> int | None:
        return self._ended

    def close(self) -> None:
        if self._ended is not None:
            os.close(self._ended)
            self._ended = None


class AdoptedWorker:
    """A worker whose connrunner died: it lives as long as it holds the lock file *lock*, which *is_held* looks at."""

    exit_status = None  # only its parent can ask for it

    def __init__(self, lock: Path, is_held: Callable[[], bool]) -> None:
        self.lock, self._is_held = lock, is_held

    @property
    def is_alive(self) -> bool:
        return self._is_held()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it is to be seen from here: a worker in another container is not."""
        for pid in find_lock_holders(self.lock):
            with suppress(ProcessLookupError, PermissionError):
                descriptor = os.pidfd_open(pid)
                try:
                    if find_lock_holders(self.lock, among=(pid,)):  # still: the number is its own from here on
                        signal.pidfd_send_signal(descriptor, number)
                finally:
                    os.close(descriptor)

    def fileno(self) -> int | None:
        return None

    def close(self) -> None:
        """There is nothing to give back."""


def start_worker(job: Mapping[str, Any], *, tree: ProcessTree, worker_lock: int, errors: Path) -> WorkerProcess:
    """Start the worker for *job*, in a session of its own, with the mark of the *tree* in its environment.

    It inherits the descriptors of the *tree*, which it passes on, and *worker_lock*, which it does not. What its
    interpreter says on standard error, when it crashes say, goes to the file *errors*.
    """
    with open(errors, "wb", opener=_private) as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "connrunner.worker.process"],
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            pass_fds=[*tree.inherit, worker_lock],
            env={**os.environ, RUN_ID_VARIABLE: tree.mark},
            start_new_session=True,
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(json.dumps(job).encode())
    return WorkerProcess(process)


class StoreQuestion:
    """A process that asks the profile store for a run whose own process is gone. Nobody waits for it but by looking."""

    def __init__(self, state: Path, run: tuple[str, int, str], workspace: Path, store: Mapping[str, Any]) -> None:
        connection, number, started_at = run
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *(sys.executable, "-P", "-m", "connrunner.worker.recorded_result"),
                *(state, connection, str(number), started_at, workspace, json.dumps(store)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._answer: bytes | None = None

    @property
    def has_ended(self) -> bool:
        """Tell whether there is an answer, or never will be."""
        return self._process.poll() is not None

    def answer(self) -> dict[str, Any] | None:
        """Return what the store has recorded of the run, as plain data; None when it does not have it.

        ValueError, with what was said, when the store could not be asked.
        """
        if self._answer is None:
            self._answer, complaint = self._process.communicate()
            if self._process.returncode:
                raise ValueError(complaint.decode(errors="replace").strip() or "it could not be asked")
        found: dict[str, Any] | None = json.loads(self._answer)
        return found

    def close(self) -> None:
        """Give the question up, if it is not answered."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def wait_for_workers(workers: Iterable[Worker], seconds: float) -> None:
    """Return when one of *workers* has ended, or after *seconds*: not of all of them the kernel can tell."""
    poll = select.poll()
    for worker in workers:
        if (descriptor := worker.fileno()) is not None:
            poll.register(descriptor, select.POLLIN)
    poll.poll(max(0, seconds) * 1000)


def _private(path: str, flags: int) -> int:
    return open_regular(path, flags)
