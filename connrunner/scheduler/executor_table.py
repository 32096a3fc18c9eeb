"""Where each run lives: the executor that its record names, and what the run hands over to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connrunner.executors.contract import Executor, Task
from connrunner.executors.local import LocalExecutor
from connrunner.executors.task_names import name_task
from connrunner.state.folder import StateFolder
from connrunner.state.handovers import CopiedLog, Handover
from connrunner.state.journal_state import StartedRun
from connrunner.state.locks import LaneLock, WorkerLock


class ExecutorTable:
    """The executors of one process: each is made when the first run needs it, for all runs that live there."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._local = LocalExecutor()
        self._elsewhere: dict[str, Executor] = {}

    def find(self, started: StartedRun) -> Executor:
        """Return where the run that *started* lives. OSError when that cannot be used from here."""
        if started.executor is None:
            return self._local
        from connrunner.scheduler import engines  # most workspaces need none

        key = engines.key_of(started.executor)
        if key not in self._elsewhere:
            self._elsewhere[key] = engines.make_executor(started.executor, self._state)
        return self._elsewhere[key]

    def find_again(self, started: StartedRun) -> Executor:
        """Return what `find` does; where that cannot be used from here, what says so of the run, which may live."""
        try:
            return self.find(started)
        except OSError as error:
            from connrunner.executors.engine_executor import EngineExecutor, UnreachableEngine

            return EngineExecutor(UnreachableEngine(str((started.executor or {}).get("type")), str(error)))

    def make_task(
        self, started: StartedRun, lane: LaneLock, *, timeout: int, job: Mapping[str, Any] | None = None
    ) -> Task:
        """Return what the run that *started* hands over; without *job*, what its connrunner had durably written."""
        state, name = self._state, started.connection
        task_id = name_task(name, started.run, started.mark)
        handover = Handover(state, task_id)
        if started.executor is not None:
            if job is None:
                job = handover.read_job()
            else:
                handover.write_job(job)
        return Task(
            id=task_id,
            job=job or {},
            settings=started.executor or {},
            mark=started.mark,
            grace=started.grace,
            timeout=timeout,
            lane=lane,
            alive=WorkerLock(state.run(name, started.run) / "worker.txt"),
            log=CopiedLog(state.log(name, started.run)),
            handover=handover,
        )

    def close(self) -> None:
        """Give back connections; they are made again when they are needed."""
        for executor in self._elsewhere.values():
            executor.close()
