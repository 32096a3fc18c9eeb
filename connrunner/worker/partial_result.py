"""What a run has done so far: what is true of it when it is cut off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from connrunner.core.counts import Counts
from connrunner.core.report import Level, Report
from connrunner.core.run_records import DELIVERED_AGAIN
from connrunner.profiles.results import RecordedRun
from connrunner.text.words import plural

WRITE_EVERY = 1.0  # seconds between two events about the counters in the log


class PartialResult:
    """Remembers how far the work came. *tell* gets the counters now and then: no process may live to log the end."""

    def __init__(self, tell: Callable[[Counts], None] = lambda _: None) -> None:
        self._tell = tell
        self.begin()

    def begin(self) -> None:
        """Forget what an attempt did that failed before."""
        self.counts = Counts()
        self._written_at = -WRITE_EVERY
        self.words = ""  # for people
        self._rows: int | None = None  # that are being delivered
        self._is_settled = False
        self.recorded: RecordedRun | None = None  # what the store has of this run, once it has it
        self.is_store_known = False  # False: nobody knows whether the store has it

    def observe(self, report: Report) -> Report:
        """Return a report that tells us how far the work is, and passes everything on to *report*."""
        return _ObservedReport(report, self._came)

    def note_counts(self, counts: Counts) -> None:
        """Note what a program says that it has counted."""
        self.counts = counts
        now = time.monotonic()
        if now - self._written_at >= WRITE_EVERY:
            self._written_at = now
            self._tell(counts)

    def note_recorded(self, recorded: RecordedRun | None) -> None:
        """Note what the store has of this run; None when its changes are not there."""
        self.is_store_known = True
        if recorded is not None:
            self.recorded, self.counts, self._is_settled = recorded, recorded.counts, True

    def begin_delivery(self, counts: Counts, rows: int, target: str, *, afterwards: str) -> None:
        """Note that an export begins to deliver *rows*: until all have arrived, none counts as sent.

        *afterwards* says what the next run does should this one be cut off.
        """
        self._afterwards = afterwards
        self.counts = Counts(read=counts.read, filtered=counts.filtered, not_attempted=counts.read - counts.filtered)
        self._rows = rows
        self._target = target
        self.words = f"it was delivering {plural(rows, 'row')} to {target}; {afterwards}"

    def note_delivery(self, where: str) -> None:
        """Note that all rows have arrived, which is not durable yet."""
        self._is_settled = True
        self.words = f"all rows were delivered to {where}, but nobody noted it; {self._afterwards}"

    def _came(self, done: int) -> None:
        if self._is_settled:
            return
        if self._rows is None:
            # Rows that were read and are in no durable place yet.
            self.counts, self.words = Counts(read=done, not_attempted=done), "nothing of it was imported"
        else:
            words = f"{done:,} of {plural(self._rows, 'row')} had been delivered to {self._target}"
            again = self._afterwards.replace(DELIVERED_AGAIN, "the next run delivers all of them again")
            self.words = f"{words}; {again}"


class _ObservedReport:
    def __init__(self, report: Report, came: Callable[[int], None]) -> None:
        self._report, self._came = report, came

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        self._report.message(text, level=level, **facts)

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        self._came(done)
        self._report.progress(stage, done, of)
