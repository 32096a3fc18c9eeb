"""Runs as processes of this machine."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from connrunner.executors.contract import Task, Worker
from connrunner.processes.tree import RUN_ID_VARIABLE, ProcessTree, Termination, find_lock_holders
from connrunner.text.regular_files import open_regular


class _LocalWorker:
    """What a worker that we started and an adopted one share: what it leaves behind is found and ended."""

    outlives_us = False
    verdict = None  # its own process says it, or nobody knows

    def __init__(self, task: Task) -> None:
        self._task = task
        self._termination: Termination | None = None

    def end_leftovers(self, *, grace: float | None) -> bool:
        if self._termination is None:
            self._termination = Termination(find_left_behind(self._task), grace=grace)
        return not self._termination.advance()

    @property
    def left(self) -> list[str]:
        return self._termination.remaining if self._termination else []

    def give_up(self) -> None:
        """Its processes are to be seen, so nobody has to be believed."""

    def forget(self) -> None:
        """Nothing is kept of it but in the state."""

    def close(self) -> None:
        if self._termination is not None:
            self._termination.close()


class WorkerProcess(_LocalWorker):
    """A worker that we started, in a session of its own."""

    def __init__(self, task: Task, process: subprocess.Popen[bytes]) -> None:
        super().__init__(task)
        self._process = process
        # No process number can be mistaken for another by it.
        self._ended = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None

    @property
    def pid(self) -> int:
        return self._process.pid

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
        super().close()
        if self._ended is not None:
            os.close(self._ended)
            self._ended = None


class AdoptedWorker(_LocalWorker):
    """A worker whose connrunner died: it lives as long as it holds its lock."""

    exit_status = None  # only its parent can ask for it

    @property
    def lock(self) -> Path:
        return self._task.alive.path

    @property
    def is_alive(self) -> bool:
        return self._task.alive.is_busy

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


class LocalExecutor:
    """Starts runs as processes of this machine."""

    def start(self, task: Task) -> WorkerProcess:
        held = task.alive.take()
        assert held, "a worker of a lane that we hold lives"
        try:
            process = start_worker(
                {**task.job, "lane_descriptor": task.lane.descriptor},
                tree=ProcessTree(mark=task.mark, inherit=(task.lane.descriptor,)),
                worker_lock=task.alive.descriptor,
                errors=task.alive.path,
            )
            return WorkerProcess(task, process)
        finally:
            task.alive.release()

    def adopt(self, task: Task) -> AdoptedWorker:
        return AdoptedWorker(task)

    def close(self) -> None:
        """There is no connection."""


def find_left_behind(task: Task) -> ProcessTree:
    """Return the processes that a dead worker left behind: they carry the run's mark, or hold its lane.

    Our own copy of the lane's descriptor is closed.
    """
    # Who empties `locks/` lets another tick make the lane's file anew: what holds that one is none of this run's.
    is_ours = task.lane.is_in_place
    # Close our own descriptor first: then only left-over processes can hold the lane.
    task.lane.release()
    lock = task.lane.path if is_ours and task.lane.is_busy else None
    return ProcessTree(mark=task.mark, lock=lock, grace=task.grace)


def start_worker(
    job: Mapping[str, Any], *, tree: ProcessTree, worker_lock: int, errors: Path
) -> subprocess.Popen[bytes]:
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
    return process


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

    @property
    def was_killed(self) -> bool:
        """Tell whether it has ended by a signal, so that it could not answer."""
        return (self._process.poll() or 0) < 0

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
