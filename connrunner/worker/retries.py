"""The attempts of one run: work that fails for now is waited for and done again."""

from __future__ import annotations

import time
from collections.abc import Callable

from connrunner.core import retry as retries
from connrunner.core.model import Result, Retry
from connrunner.core.report import Report
from connrunner.lazy_dataclasses import dataclass, replace


@dataclass(kw_only=True)
class Attempts:
    """Counts the attempts of a run as they are made."""

    retry: Retry | None
    deadline: float  # of the whole run, in seconds of the monotonic clock
    report: Report
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    number: int = 0  # of the newest attempt

    def result_of(self, work: Callable[[], Result]) -> Result:
        """Return the last result of *work*, done again as `retry` says; what it raises ends the run at once."""
        while True:
            self.number += 1
            result = work()
            wait = retries.decide_wait(self.retry, self.number, result, left=self.deadline - self.clock())
            if wait is None or self.retry is None:
                return replace(result, message=retries.describe_attempts(self.retry, self.number, result))
            text = (
                f"attempt {self.number} of {self.retry.times + 1} failed: {result.message}; the next one in {wait:g} s"
            )
            self.report.message(text, level="warning", attempt=self.number, code=result.code)
            self.sleep(wait)
