"""What a run would do: everything but the writing, the answer of `connrunner run NAME --dry-run`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import run_records
from connrunner.core.model import Command, Connection, Outcome, Result
from connrunner.core.report import Report
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.state import run_files
from connrunner.worker import process


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """How the work would end, and the rows that it would refuse."""

    connection: str
    kind: str  # import or export
    result: Result
    refused: tuple[dict[str, Any], ...]

    @property
    def is_good(self) -> bool:
        return self.result.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL)


def try_run(view: WorkspaceView, connection: Connection, report: Report) -> DryRun:
    """Read and check for real, change nothing; ArgumentError for a connection that runs a program."""
    if isinstance(connection.work, Command):
        raise ArgumentError(f"{connection.name} runs a program, and only the program knows what it would do")
    with temporary_folder() as folder:
        job = process.Job(
            workspace=view.folder,
            state=view.state,
            connection=connection,
            model=view.workspace.profile,
            store=view.workspace.store,
            run=run_files.next_number(
                view.state, connection.name, after=view.journal_state.numbers.get(connection.name, 0)
            ),
            started_at=datetime.now(UTC),
            dry_run_folder=Path(folder),
        )
        result = process.perform(job, report)
        refused = tuple(run_files.read_events(job.rejects))
    return DryRun(connection=connection.name, kind=connection.kind, result=result, refused=refused)


def as_dict(found: DryRun) -> dict[str, Any]:
    """Return *found* as `run --dry-run --format json` shows it."""
    return {"connection": found.connection, "dry_run": True, **run_records.result_as_dict(found.result)}
