"""Runs on other machines, whichever engine starts them there: handed over once, watched by one list for all of them.

A run has ended when its engine says that nothing of it lives, and not before: a machine that cannot be reached may be
at work, so its run is `lost`, and its lane stays held until the machine comes back or a person says that nothing of it
lives. What the run said itself counts before what the engine says of it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Mapping
from typing import NoReturn

from connrunner.core.model import Outcome, Result
from connrunner.executors.contract import Task
from connrunner.executors.engine import Engine, Observed, RejectedError, RunPhase, TransientError

POLL = 3.0  # seconds between two looks at all runs of an engine
PAUSES = (3.0, 10.0, 30.0)  # seconds after the first, second and any further call that failed
LOG_SHARE = 0.25  # seconds between two looks at a log, for each run at work: logs cost one call each
HOPELESS = 600.0  # seconds that what cannot begin as it is gets to be put right
LAST_LOG = 60.0  # seconds that the log of an ended run is waited for

UNKNOWN = Observed(phase=RunPhase.LOST, reason="it has not been asked about yet")


class EngineExecutor:
    """Runs that live where one *engine* starts them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.trouble = ""  # why the engine does not answer, in words
        self._workers: dict[str, EngineWorker] = {}  # of which something may live
        self._observed: Mapping[str, Observed] = {}
        self._polled: frozenset[str] = frozenset()  # what was asked about last
        self._poll_at = 0.0
        self._failures = 0

    def start(self, task: Task) -> EngineWorker:
        worker = EngineWorker(self, task, is_new=True)
        self._workers[task.id] = worker
        return worker

    def adopt(self, task: Task) -> EngineWorker:
        worker = EngineWorker(self, task, is_new=False)
        self._workers[task.id] = worker
        self._poll_at = 0.0
        return worker

    def close(self) -> None:
        self.engine.close()

    def drop(self, task_id: str) -> None:
        """Ask no more about a run."""
        self._workers.pop(task_id, None)

    def observe(self, task_id: str) -> Observed | None:
        """Return what the engine said of a run when it was last asked; None when it was not since the run came."""
        now = time.monotonic()
        if now >= self._poll_at:
            self._poll(now)
        return self._observed.get(task_id) if task_id in self._polled else None

    @property
    def log_interval(self) -> float:
        """Seconds between two looks at the log of one run."""
        return max(POLL, LOG_SHARE * len(self._workers))

    def pause(self) -> float:
        """Return how many seconds to wait after a call that failed."""
        return PAUSES[min(self._failures, len(PAUSES) - 1)]

    def _poll(self, now: float) -> None:
        ids = frozenset(key for key, worker in self._workers.items() if worker.is_submitted)
        if not ids:
            return
        try:
            self._observed, self._polled = self.engine.poll(ids), ids
            self.trouble, self._failures, self._poll_at = "", 0, now + POLL
        except (TransientError, RejectedError) as error:
            self.trouble = f"{self.engine.name} cannot be asked: {error}"
            self._poll_at = time.monotonic() + self.pause()
            self._failures += 1


class EngineWorker:
    """One run that lives where an engine starts it."""

    outlives_us = True
    left: list[str] = []  # noqa: RUF012 - nothing is ever added: what may live holds the lane

    def __init__(self, executor: EngineExecutor, task: Task, *, is_new: bool) -> None:
        self._executor, self._engine, self._task = executor, executor.engine, task
        self.is_submitted = task.handover.is_submitted
        self.verdict: Result | None = None
        self.exit_status: int | None = None
        self._is_over = False
        self._try_at = 0.0  # when handing over, ending or reading is tried again
        self._tries = 0
        self._asked: signal.Signals | None = None  # what is still to be passed on
        self._told: set[signal.Signals] = set()
        self._line: int | None = None  # the last line that was copied
        self._log_at = 0.0
        self._log_until: float | None = None  # when the log of the ended run is not waited for any more
        self._hopeless_since: float | None = None
        self._place: Mapping[str, str] = {}
        self._has_words = False
        if is_new:
            self._hand_over()

    # --- what the contract asks ------------------------------------------------------------------------------------

    @property
    def is_alive(self) -> bool:
        if not self._is_over:
            self._look()
        return not self._is_over

    def end_leftovers(self, *, grace: float | None) -> bool:  # noqa: ARG002 - its engine ended what it left behind
        """Copy the rest of its log, and what it said of its end; True once that is here, or is not waited for."""
        if self._log_until is None:
            self._log_until = time.monotonic() + LAST_LOG
        if not self.is_submitted or self._has_words:
            return True
        observed = self._executor.observe(self._task.id)
        is_read = self._copy_log(last=True)
        if not self._has_words and observed and observed.last_words:
            self._task.log.write_end(observed.last_words)
            self._has_words = True
        return self._has_words or is_read or time.monotonic() > self._log_until

    def tell(self, number: signal.Signals) -> None:
        if number not in self._told:  # once is enough: who watches it says it again and again
            self._told.add(number)
            self._asked, self._try_at = number, 0.0

    def give_up(self) -> None:
        if not self._is_over and self._place.get("phase") == RunPhase.LOST:
            self._end("a person said that nothing of it lives", code="lost")

    def forget(self) -> None:
        self._executor.drop(self._task.id)
        try:
            self._engine.forget(self._task.id)
        except (TransientError, RejectedError):
            return  # the next tick that looks for what ended does it
        self._task.handover.remove()

    def fileno(self) -> int | None:
        return None

    def close(self) -> None:
        self._executor.drop(self._task.id)
        self._task.log.close()

    # --- handing over ----------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        if not self._task.job:
            # Its connrunner died before its job was durable: then nothing can have been handed over.
            text = "its connrunner was killed before it could be handed over"
            self._end(text, code="interrupted", outcome=Outcome.INTERRUPTED)
            return
        try:
            self._engine.submit(self._task)
        except RejectedError as error:
            self._withdraw_or_wait(f"{self._engine.name} refuses it: {error}", code="refused-by-engine")
        except TransientError as error:
            self._say_place(RunPhase.QUEUED, reason=f"it cannot be handed over yet: {error}")
            self._wait()
        else:
            self._task.handover.note_submitted()
            self.is_submitted, self._tries = True, 0
            self._say_place(RunPhase.QUEUED)

    def _withdraw_or_wait(self, text: str, *, code: str, outcome: Outcome = Outcome.FAILED) -> None:
        """End a run that its engine does not have, once it is sure that it can never begin."""
        try:
            never_begins = self._engine.withdraw(self._task.id)
        except RejectedError:
            # Who may not even claim it has no right to start anything there.
            never_begins = code == "refused-by-engine"
        except TransientError as error:
            self._say_place(RunPhase.LOST, reason=f"{text}; {error}")
            self._wait()
            return
        if never_begins:
            self._end(text, code=code, outcome=outcome)
        else:
            self._say_place(RunPhase.LOST, reason=f"{text}; it had begun its work, and may live")
            self._wait()

    def _wait(self) -> None:
        self._try_at = time.monotonic() + PAUSES[min(self._tries, len(PAUSES) - 1)]
        self._tries += 1

    # --- looking ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        now = time.monotonic()
        if not self.is_submitted:
            if now >= self._try_at:
                if self._asked:
                    self._take_back()
                else:
                    self._hand_over()
            return
        self._pass_on(now)
        observed = self._executor.observe(self._task.id)
        if observed is None:
            if self._executor.trouble:
                self._say_place(RunPhase.LOST, reason=self._executor.trouble)
            return
        if self._executor.trouble:
            self._say_place(observed.phase, place=observed.place, reason=self._executor.trouble)
            return
        self._judge(observed, now)

    def _judge(self, observed: Observed, now: float) -> None:
        match observed.phase:
            case RunPhase.ENDED:
                self._take_end(observed)
            case RunPhase.ABSENT:
                if now >= self._try_at:
                    self._withdraw_or_wait(
                        f"somebody deleted it in {self._engine.name}", code="deleted", outcome=Outcome.INTERRUPTED
                    )
            case phase:
                self._say_place(phase, place=observed.place, reason=observed.reason)
                self._judge_hope(observed, now)
                if phase is RunPhase.RUNNING and now >= self._log_at:
                    self._copy_log()

    def _judge_hope(self, observed: Observed, now: float) -> None:
        """End a run that waits for what does not come by waiting."""
        if not observed.is_hopeless:
            self._hopeless_since = None
        elif self._hopeless_since is None:
            self._hopeless_since = now
        elif now - self._hopeless_since > HOPELESS and self._asked is None and self.verdict is None:
            text = f"it could not begin in {self._engine.name}: {observed.reason}"
            self.verdict = Result(outcome=Outcome.FAILED, message=text, code="cannot-start")
            self.tell(signal.SIGKILL)

    def _take_back(self) -> None:
        """End what may have been handed over, though no answer came: nothing of it may begin any more."""
        try:
            if self._engine.withdraw(self._task.id):
                self._engine.cancel(self._task.id, kill=True)
                self._end("it had not begun", code="stopped", outcome=Outcome.INTERRUPTED)
                return
            self.is_submitted = True  # it has begun: it is asked about, and asked to end, like any other
            self._task.handover.note_submitted()
        except (TransientError, RejectedError) as error:
            self._say_place(RunPhase.LOST, reason=f"it may have been handed over: {error}")
            self._wait()

    def _pass_on(self, now: float) -> None:
        if self._asked is None or now < self._try_at:
            return
        try:
            self._engine.cancel(self._task.id, kill=self._asked is signal.SIGKILL)
        except (TransientError, RejectedError):
            self._wait()
        else:
            self._asked, self._tries = None, 0

    def _take_end(self, observed: Observed) -> None:
        if observed.last_words is None:
            # Whatever its engine may still start of it, as old clusters do, must not begin.
            try:
                self._engine.withdraw(self._task.id)
            except TransientError:
                return
            except RejectedError:
                pass  # then no run can claim itself either
        if observed.place and self._place.get("place") != observed.place:
            self._say_place(RunPhase.RUNNING, place=observed.place)  # it was quicker than we look
        self._is_over = True
        self.exit_status = observed.exit_status
        if self.verdict is None:
            self.verdict = _judge_end(observed, self._engine.name)

    def _end(self, text: str, *, code: str, outcome: Outcome = Outcome.INTERRUPTED) -> None:
        self._is_over = True
        if self.verdict is None:
            self.verdict = Result(outcome=outcome, message=text, code=code)

    # --- its log ---------------------------------------------------------------------------------------------------

    def _copy_log(self, *, last: bool = False) -> bool:
        """Copy what its log has more by now; True when all that can be had is here."""
        now = time.monotonic()
        if last and now < self._log_at and self._log_at != 0.0 and self._tries:
            return False
        self._log_at = now + self._executor.log_interval
        if self._line is None:
            self._line = self._task.log.read_last_line()
        try:
            for number, event in self._engine.read_log(self._task.id, self._line):
                if number > self._line + 1:
                    missing = number - self._line - 1
                    text = f"{missing:,} events of its log are lost: {self._engine.name} keeps no more"
                    self._task.log.copy(number - 1, {"at": event.get("at"), "level": "warning", "message": text})
                self._task.log.copy(number, event)
                self._line = number
                self._has_words = self._has_words or event.get("type") == "ended"
        except TransientError:
            self._tries += 1
            self._log_at = now + PAUSES[0]
            return False
        except RejectedError:
            pass  # there is none, or none any more
        return True

    def _say_place(self, phase: RunPhase, *, place: str = "", reason: str = "") -> None:
        """Tell where it lives or why it waits, once for each change."""
        said = {"engine": self._engine.name, "id": self._task.id, "phase": str(phase), "place": place, "reason": reason}
        if said != self._place:
            self._place = said
            self._task.log.write_place(said)


def _judge_end(observed: Observed, engine: str) -> Result:
    """Return how a run went that did not come to say it, as its engine knows."""
    where = f" ({observed.place})" if observed.place else ""
    said = f": {observed.reason}" if observed.reason else ""
    if observed.is_out_of_memory:
        text = f"it needed more memory than `resources` gives it, and was killed{where}{said}"
        return Result(outcome=Outcome.FAILED, message=text, code="out-of-memory")
    if observed.is_refused:
        text = f"{engine} started it a second time; of the first nobody knows how it ended"
        return Result(outcome=Outcome.INTERRUPTED, message=text, code="interrupted")
    status = observed.exit_status
    if status is None:
        text = f"{engine} ended it before it said how it went{where}{said}"
        return Result(outcome=Outcome.INTERRUPTED, message=text, code="interrupted")
    how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
    text = f"its process in {engine} ended {how} before it said how it went{where}{said}"
    return Result(outcome=Outcome.FAILED, message=text, code="crashed")


class UnreachableEngine:
    """An engine that cannot be asked from here: what lives there may live on, and nobody can know it."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self._reason = name, reason

    def submit(self, task: Task) -> NoReturn:  # noqa: ARG002
        raise TransientError(self._reason)

    def poll(self, ids: Collection[str]) -> NoReturn:  # noqa: ARG002
        raise TransientError(self._reason)

    def cancel(self, task_id: str, *, kill: bool) -> NoReturn:  # noqa: ARG002
        raise TransientError(self._reason)

    def read_log(self, task_id: str, after: int) -> NoReturn:  # noqa: ARG002
        raise TransientError(self._reason)

    def withdraw(self, task_id: str) -> NoReturn:  # noqa: ARG002
        raise TransientError(self._reason)

    def forget(self, task_id: str) -> NoReturn:  # noqa: ARG002
        raise TransientError(self._reason)

    def close(self) -> None:
        """There is no connection."""
