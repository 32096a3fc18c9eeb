"""The counters of a run, and their balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, fields, replace

CHECKED = (
    "created",
    "updated",
    "unchanged",
    "deleted",
    "duplicate",
    "consent_blocked",
    "not_found",
    "ambiguous",
    "invalid",
    "rejected",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many rows a run read, and what became of each."""

    read: int = 0
    skipped: int = 0  # already accepted in an earlier run
    filtered: int = 0  # left out by a rule
    not_attempted: int = 0  # read, then the run ended before they were looked at
    checked: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    duplicate: int = 0  # a later row of the same file has the same key
    consent_blocked: int = 0
    not_found: int = 0
    ambiguous: int = 0  # the row finds more than one profile
    invalid: int = 0  # refused by our checks
    rejected: int = 0  # refused by the partner

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in NAMES})

    @property
    def refused(self) -> int:
        """Rows that a person has to look at: a run with any of them is `partial`."""
        return self.invalid + self.rejected + self.ambiguous

    def imbalance(self) -> str:
        """Return the equation that does not hold, or an empty text when the counters add up."""
        parts = self.skipped + self.filtered + self.not_attempted + self.checked
        if self.read != parts:
            return f"read {self.read} = skipped + filtered + not_attempted + checked {parts}"
        results = sum(getattr(self, name) for name in CHECKED)
        if self.checked != results:
            return f"checked {self.checked} = {' + '.join(CHECKED)} {results}"
        return ""

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(field.name for field in fields(Counts))


def from_mapping(data: Mapping[str, Any]) -> Counts:
    """Return counters from plain data; unknown names are left out, so that newer records stay readable."""
    return replace(Counts(), **{name: int(data[name]) for name in NAMES if name in data})


def imbalance_error(problem: str) -> RunError:
    """Return the error for counters that do not add up; nothing has been changed then."""
    return RunError(
        f"the counters do not balance: {problem}",
        hint="nothing was imported; please report this",
        code="unbalanced",
    )
