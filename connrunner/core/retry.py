"""Is a failed attempt of a run followed by another one, and when?"""

from __future__ import annotations

from connrunner.core.model import Outcome, Result, Retry


def decide_wait(retry: Retry | None, attempt: int, result: Result, *, left: float) -> float | None:
    """Return the seconds to wait after *attempt* (1, 2, ...) ended with *result*; None when it was the last one.

    Only failures that waiting helps against are tried again, as often as *retry* says, and never so late that the wait
    takes all of the *left* seconds of the run's timeout.
    """
    if retry is None or attempt > retry.times or result.outcome is not Outcome.FAILED or not result.waiting_helps:
        return None
    wait = retry.delay * float(retry.backoff) ** (attempt - 1)
    return wait if wait < left else None


def describe_attempts(retry: Retry | None, attempt: int, result: Result) -> str:
    """Return the message of the last *result*, with the attempts that it took."""
    if retry is None or (attempt == 1 and not result.waiting_helps):
        return result.message
    most = retry.times + 1
    said = f"attempt {attempt} of {most}"
    if result.waiting_helps and attempt < most:
        said += ", its timeout leaves no time for another"
    return f"{result.message}; {said}" if result.message else said
