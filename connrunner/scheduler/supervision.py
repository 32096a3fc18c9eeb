"""One run at work: it is asked to end when it has to, and watched until all that it started is gone."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from connrunner.core import run_records
from connrunner.core.counts import Counts
from connrunner.core.model import Outcome, Result
from connrunner.core.planning.due import StopRequest
from connrunner.core.run_records import LogSummary
from connrunner.executors.contract import Worker
from connrunner.executors.local import StoreQuestion
from connrunner.lazy_dataclasses import dataclass, field, replace
from connrunner.profiles.results import RecordedRun
from connrunner.state.journal_state import StartedRun
from connrunner.state.locks import LaneLock, SupervisorLock
from connrunner.text.regular_files import read_regular
from connrunner.worker.recorded_result import add_words, make_result, recorded_from

COMPLAINT = 1 << 24  # bytes of what an interpreter says
OVERTIME = 20  # seconds beyond timeout and grace after which a worker that does not end itself is told to
TRIES = 3  # of asking the store, when the process that asks is killed: a store that kills it does so each time
ITS_OWN_END = 5  # seconds that a worker has to end when the grace that it gives its program is over


@dataclass(kw_only=True)
class SupervisedRun:
    """A run that works now, started by us or *adopted* from a connrunner that died."""

    lane: LaneLock  # held by us, unless the run is adopted
    supervisor: SupervisorLock
    started: StartedRun
    worker: Worker
    timeout: int  # seconds
    errors: Path  # what the worker's interpreter said
    ask_store: Callable[[], StoreQuestion | None] = lambda: None  # None when there is nothing to ask
    began: float = field(default_factory=time.monotonic)
    adopted: bool = False
    stop: StopRequest | None = None  # who asked for its end
    timed_out: bool = False
    _asked_at: float | None = None
    _is_over: bool = False  # its worker is gone; what that left behind may live
    _grace: float | None = None  # seconds for what it left behind; None: its own
    _question: StoreQuestion | None = None  # what the store has of it, when the worker did not say how it went
    _recorded: RecordedRun | None = None
    _asked: int = 0  # how often the store was asked
    _is_cut_off: bool = False  # what was asked last was killed before it could answer

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)

    @property
    def left(self) -> list[str]:
        """The processes that live on though everything was tried, for people."""
        return self.worker.left

    @property
    def is_recorded(self) -> bool:
        """Tell whether the store has all of the run, though its process did not say so."""
        return self._recorded is not None

    @property
    def is_asked_to_end(self) -> bool:
        return self._asked_at is not None

    def ask_to_end(self, *, stop: StopRequest | None = None) -> None:
        """Ask the worker to end its program and itself; once is enough."""
        if self._asked_at is None:
            self.stop = stop
            self._asked_at = time.monotonic()
            self.worker.tell(signal.SIGTERM)
        if stop is not None and stop.is_gone:
            self.worker.give_up()

    def has_ended(self) -> bool:
        """Do what is due now; True once the worker and all that it started are gone, or cannot be ended."""
        if not self._is_over:
            if self.worker.is_alive:
                self._watch()
                return False
            self._is_over, self._grace = True, 0 if self.is_asked_to_end else None
        return self.worker.end_leftovers(grace=self._grace) and self._is_store_known()

    def _is_store_known(self) -> bool:
        """Ask the store what it has of the run; True once it has answered. A run of another lane may have it open."""
        if self._question is None:
            if self._asked == 0 or (self._is_cut_off and self._asked < TRIES):
                self._asked, self._question = self._asked + 1, self.ask_store()
            if self._question is None:
                return True
        if not self._question.has_ended:
            return False
        question, self._question = self._question, None
        self._is_cut_off = question.was_killed
        with suppress(ValueError), closing(question):  # a store that cannot be asked proves nothing
            if (found := question.answer()) is not None:
                self._recorded = recorded_from(found)
        return not self._is_cut_off or self._asked >= TRIES

    def close(self) -> None:
        """Let go of everything, of the lane before the right to act for it."""
        if self._question is not None:
            self._question.close()
        self.worker.close()
        self.lane.release()
        self.supervisor.release()

    def result(self, story: LogSummary) -> Result:
        """Return how the run went: as its log says, as the store says, or as we know when neither does."""
        complaint = self._complaint()
        said = story.result
        if said is None:
            return replace(self._result_without_word(story, complaint), attempts=story.attempts)
        if said.outcome is Outcome.INTERRUPTED and (self.stop or self.timed_out):
            return replace(self._guess_result(said.counts, complaint), attempts=said.attempts)
        return said

    def _result_without_word(self, story: LogSummary, complaint: str) -> Result:
        """Return how the run went when its process did not come to say it."""
        if self._recorded is not None:
            return add_words(
                make_result(self._recorded), f"all is in the profile store; afterwards {self._end_of_it()}"
            )
        result = self._guess_result(story.counts, complaint)
        return add_words(result, story.may_have_arrived) if story.may_have_arrived else result

    def _guess_result(self, counts: Counts, complaint: str) -> Result:
        """Return how the run went as far as we know, when neither its log nor the store says it."""
        if self.stop:
            return run_records.mark_stopped(self.stop, Result(outcome=Outcome.STOPPED, counts=counts))
        if self.timed_out:
            text = f"it did not end at its timeout of {self.timeout:,} s and was ended"
            return Result(outcome=Outcome.FAILED, counts=counts, message=text, code="timeout")
        if self.worker.verdict is not None:
            return replace(self.worker.verdict, counts=counts)
        status = self.worker.exit_status
        if status is None:
            return Result(outcome=Outcome.INTERRUPTED, counts=counts, message=self._end_of_it(), code="interrupted")
        last = f": {complaint.splitlines()[-1]}" if complaint else ""
        text = f"{self._end_of_it()}{last}"
        return Result(outcome=Outcome.FAILED, counts=counts, message=text, code="crashed")

    def _end_of_it(self) -> str:
        """Return in words how its process ended, which did not say how it went."""
        status = self.worker.exit_status
        if status is None:
            return "its process was killed, and the connrunner that had started it was gone"
        how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
        why = f" ({self.stop.description})" if self.stop and self._recorded else ""
        return f"its process ended {how} before it said how it went{why}"

    def _watch(self) -> None:
        now = time.monotonic()
        if self._asked_at is None and now - self.began > self.timeout + self.started.grace + OVERTIME:
            self.timed_out = True
            self.ask_to_end()
        elif self._asked_at is not None and now - self._asked_at > self.started.grace + ITS_OWN_END:
            self.worker.tell(signal.SIGKILL)

    def _complaint(self) -> str:
        """Return what the worker's interpreter said; the file is kept only when there is something in it."""
        said = ""
        with suppress(OSError):  # the run has ended, and that has to be recorded
            said = read_regular(self.errors, COMPLAINT).decode(errors="backslashreplace").strip()
            if not said:
                self.errors.unlink()
        return said
