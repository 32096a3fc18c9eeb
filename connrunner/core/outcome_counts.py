"""How many runs ended well, refused rows, or failed: what a day or a week comes to."""

from __future__ import annotations

from collections.abc import Iterable

from connrunner.core.model import Outcome
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """Runs that ended, and those of them that refused rows or failed: each is counted in one of the two at most."""

    runs: int
    partial: int  # they did their work, and refused rows
    failed: int  # failed, interrupted, or due and not started

    def as_dict(self) -> dict[str, int]:
        return {"runs": self.runs, "partial": self.partial, "failed": self.failed}


def count_outcomes(outcomes: Iterable[Outcome]) -> OutcomeCounts:
    """Return how many of *outcomes* there are, of which kind."""
    runs = partial = failed = 0
    for outcome in outcomes:
        runs += 1
        partial += outcome is Outcome.PARTIAL
        failed += outcome.is_failure and outcome is not Outcome.PARTIAL
    return OutcomeCounts(runs, partial, failed)
