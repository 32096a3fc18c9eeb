"""What is kept of runs that live elsewhere: the job that each was handed over with, and the log that is copied here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connrunner.core import instant
from connrunner.state import run_files
from connrunner.state.folder import StateFolder, recording
from connrunner.state.run_files import RunLog
from connrunner.text.files import replace_file
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular

LIMIT = 1 << 22  # bytes of a job


class Handover:
    """The job of one run that is handed over, durable before that, until its end is recorded."""

    def __init__(self, state: StateFolder, task_id: str) -> None:
        self._job = state.handovers / f"{task_id}.json"
        self._submitted = state.handovers / f"{task_id}.submitted"

    def write_job(self, job: Mapping[str, Any]) -> None:
        """Make *job* durable. StateError when that cannot be: then nothing may be handed over."""
        with recording(self._job):
            self._job.parent.mkdir(mode=0o700, exist_ok=True)
            replace_file(self._job, json.dumps(job).encode() + b"\n")

    def read_job(self) -> dict[str, Any] | None:
        """Return the job; None when it was never written, so that nothing was handed over, or is damaged."""
        with suppress(OSError, ValueError):
            found = parse_json(read_regular(self._job, LIMIT))
            return found if isinstance(found, dict) else None
        return None

    @property
    def is_submitted(self) -> bool:
        """True when its place has taken it over: it is never handed over again."""
        return self._submitted.exists()

    def note_submitted(self) -> None:
        with recording(self._submitted):
            replace_file(self._submitted, b"")

    def remove(self) -> None:
        for path in (self._job, self._submitted):
            with suppress(OSError):
                path.unlink(missing_ok=True)


class CopiedLog:
    """The log of a run that lives elsewhere, as far as it was copied here. It is opened when there is something."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: RunLog | None = None

    def read_last_line(self) -> int:
        """Return the number of the last line that was copied; 0 when none was."""
        return run_files.read_last_copied(self._path)

    def copy(self, line: int, event: Mapping[str, Any]) -> None:
        """Add *event*, which is line *line* of what the run says elsewhere."""
        self._opened().copy({**event, "line": line})

    def write_place(self, place: Mapping[str, str]) -> None:
        """Add where the run lives now, or why it waits there."""
        self._opened().copy({"at": instant.text(datetime.now(UTC)), "type": "place", **place})

    def write_end(self, event: Mapping[str, Any]) -> None:
        """Add how the run ended, durably."""
        self._opened().write_last(event)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def _opened(self) -> RunLog:
        if self._log is None:
            self._log = RunLog(self._path)
        return self._log
