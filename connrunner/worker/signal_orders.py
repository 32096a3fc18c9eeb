"""What signals ask of the process of a run: to end, or that its time is over."""

from __future__ import annotations

import signal
from types import FrameType

from connrunner.errors import RunError


class Terminated(SystemExit):
    """The worker was asked to end.

    Not an Exception, for no connector may swallow it; and of this kind, for asyncio swallows every other that a
    signal's handler raises in one of its callbacks (`asyncio.Handle`).
    """


class TimeIsOver(SystemExit):
    """The run has taken longer than its timeout; of this kind for the same reasons."""


class SignalOrders:
    """What signals asked of this process: to end, or that its time is over.

    The handlers raise it, and keep it: DuckDB stops its query at once, but raises an exception of its own.
    """

    def __init__(self) -> None:
        self.given: BaseException | None = None
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGALRM, self._time_is_over)

    def close(self) -> None:
        """Take no more orders: what is left is to tell how it went."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break the cleaning up
        self.given = Terminated()
        raise self.given

    def _time_is_over(self, _number: int, _frame: FrameType | None) -> None:
        hint = "raise `timeout` or give it less to do"
        self.given = RunError("it took longer than its `timeout`", hint=hint, code="timeout")
        raise TimeIsOver
