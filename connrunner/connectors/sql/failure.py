"""What a database's refusal means for one row, and work that is done again; of whole runs speaks `databases`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from connrunner.core.report import Report
from connrunner.databases.failures import LONGEST, explain_database_error, unreachable
from connrunner.errors import RunError

__all__ = [
    "LONGEST",
    "explain_database_error",
    "may_refuse_a_row",
    "persistently",
    "refusal_code",
    "unreachable",
]

TRIES = 3  # how often work is done again after a failure that waiting may heal, unless it got on meanwhile
PAUSE = 1.0  # seconds; the pause before the first repetition is at most twice that, and doubles
MOST_REFUSED = 100_000  # rows; with more the mapping is wrong, not the rows

# Classes of SQLSTATE that speak of the connection, the statement or the server, not of a row's values.
# Class 21 is missing: it says that two rows of one statement have the same key.
NOT_ROWS = tuple("08 0A 20 24 25 26 28 2D 34 38 39 3B 3D 3F 40 42 53 55 57 58 72 F0 HV XX".split())
NOT_PERMITTED = "42501"  # the one of them that may be meant for a row, by row-level security

_REFUSALS = {
    "22001": "too-long",
    "22003": "out-of-range",
    "22007": "wrong-type",
    "22008": "out-of-range",
    "22P02": "wrong-type",
    "22": "bad-value",
    "23502": "missing-value",
    "23503": "missing-reference",
    "23505": "duplicate-key",
    "23514": "check-failed",
    "23": "constraint",
    "44": "check-failed",
    "54": "too-large",
    "P0": "refused-by-trigger",
    NOT_PERMITTED: "not-permitted",
}

T = TypeVar("T")


def may_refuse_a_row(state: str | None) -> bool:
    """True when SQLSTATE *state* may have its reason in a single row of those that were sent."""
    return state is not None and (state == NOT_PERMITTED or state[:2] not in NOT_ROWS)


def refusal_code(state: str) -> str:
    """Return the stable word for SQLSTATE *state*, by the state itself or by its class."""
    return _REFUSALS.get(state) or _REFUSALS.get(state[:2]) or "refused"


def persistently(work: Callable[[], T], report: Report, *, so_far: Callable[[], int] = lambda: 0) -> T:
    """Return what *work* returns; do it again while its failures say that waiting helps.

    *so_far* tells how far it came: after progress the tries are counted anew.
    """
    failed = 0
    while True:
        before = so_far()
        try:
            return work()
        except RunError as error:
            failed = failed + 1 if so_far() == before else 1
            if not error.waiting_helps or failed > TRIES:
                raise
            report.message(f"{error.message}; trying again", level="warning")
            time.sleep(random.uniform(0, PAUSE * 2**failed))  # noqa: S311 - spreads load, hides nothing
