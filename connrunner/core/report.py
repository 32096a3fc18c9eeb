"""What work says about itself while it goes on."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Level = Literal["debug", "info", "warning", "error"]


class Report(Protocol):
    """Where work tells what it does: the run's log, a progress bar, or a list in a test."""

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        """Add one line to the run's log; *facts* are plain JSON values that a program may read."""

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        """Say how far *stage* is: *done* rows of about *of* (None when that is not known)."""


class NullReport:
    """A report that goes nowhere: a question about profiles is not a run."""

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        """Say nothing."""

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        """Say nothing."""
