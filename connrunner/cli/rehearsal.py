"""`connrunner run NAME --dry-run`: everything but the writing."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from connrunner.cli.home import Home
from connrunner.cli.text import clean, counters
from connrunner.core import run_records
from connrunner.core.model import Command, Connection, Outcome
from connrunner.core.report import Level
from connrunner.errors import ArgumentError
from connrunner.state import run_files
from connrunner.worker import process

SHOWN = 20  # rejects


class StderrReport:
    """A report that speaks on standard error."""

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        del level, facts
        click.echo(clean(text), err=True)

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        """Leave the numbers out: a rehearsal shows its counters at the end."""


def rehearse(home: Home, connection: Connection) -> int:
    """Read and check for real, show the counters and the first rejects, change nothing; return the exit code."""
    if isinstance(connection.work, Command):
        raise ArgumentError(f"{connection.name} runs a program, and only the program knows what it would do")
    with tempfile.TemporaryDirectory(prefix="connrunner-") as folder:
        job = process.Job(
            workspace=home.folder,
            state=home.state,
            connection=connection,
            model=home.workspace.profile,
            run=0,
            started_at=datetime.now(UTC),
            rehearsal=Path(folder),
        )
        result = process.perform(job, StderrReport())
        rejects = list(run_files.read_events(job.rejects))
    if home.json:
        home.echo_json({"connection": connection.name, "dry_run": True, **run_records.result_as_dict(result)})
    else:
        counts = counters(result.counts)
        click.echo("; ".join(part for part in (f"would end {result.outcome}", counts, clean(result.message)) if part))
        for difference in result.detail.get("differences", ()):
            old, new = (difference[side] if difference[side] is not None else "(none)" for side in ("old", "new"))
            click.echo(clean(f"  {difference['profile']}: {difference['property']}: {old} -> {new}"))
        for sample in result.detail.get("samples", ()):
            values = ", ".join(f"{column}: {value}" for column, value in sample["values"].items() if value is not None)
            click.echo(clean(f"  {sample['counted_as']}: {values}"))
        for reject in rejects[:SHOWN]:
            place = f"{reject.get('file', '')}:{reject.get('line', '')}"
            click.echo(clean(f"  {place}: {reject.get('field') or 'row'}: {reject.get('message', '')}"))
        if len(rejects) > SHOWN:
            click.echo(f"  and {len(rejects) - SHOWN:,} more")
        click.echo("nothing was written")
    return 0 if result.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL) else 1
