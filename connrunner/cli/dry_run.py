"""`connrunner run NAME --dry-run`: everything but the writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from connrunner.answers.dry_run import DryRun, as_dict, try_run
from connrunner.answers.run_summary import describe_ending
from connrunner.cli.options import CommandContext
from connrunner.cli.text import clean
from connrunner.core.model import Connection
from connrunner.core.report import Level

SHOWN = 20  # rejects


class StderrReport:
    """A report that goes to standard error."""

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        del level, facts
        click.echo(clean(text), err=True)

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        """Leave the numbers out: a dry run shows its counters at the end."""


def run_dry(context: CommandContext, connections: Sequence[Connection], *, is_one: bool) -> int:
    """Show the counters and the first rejects of runs that change nothing, one by one; return the exit code."""
    code = 0
    found = []
    for connection in connections:
        if not (is_one or context.json):
            click.echo(connection.name)
        tried = try_run(context.view, connection, StderrReport())
        code = max(code, 0 if tried.is_good else 1)
        if context.json:
            found.append(as_dict(tried))
            continue
        for line in _lines(tried):
            click.echo(clean(line))
    if context.json:
        context.echo_json(found[0] if is_one else found)
    return code


def _lines(found: DryRun) -> Iterator[str]:
    result, detail = found.result, found.result.detail
    yield f"would end {result.outcome}; {describe_ending(result, kind=found.kind)}".rstrip("; ")
    for difference in detail.get("differences", ()):
        old, new = (difference[side] if difference[side] is not None else "(none)" for side in ("old", "new"))
        yield f"  {difference['profile']}: {difference['property']}: {old} -> {new}"
    for sample in detail.get("samples", ()):
        yield f"  {sample['counted_as']}: {_describe_sample(sample)}"
    for row in found.refused[:SHOWN]:
        place = f"{row.get('file', '')}:{row.get('line', '')}"
        yield f"  {place}: {row.get('field') or 'row'}: {row.get('message', '')}"
    if len(found.refused) > SHOWN:
        yield f"  and {len(found.refused) - SHOWN:,} more"
    yield "nothing was written"


def _describe_sample(sample: Mapping[str, Any]) -> str:
    """Return the values of a row; one that would change at the partner stands after the one that is there."""
    held = sample.get("held") or {}
    parts = []
    for column, value in sample["values"].items():
        if column in held:
            old, new = (one if one is not None else "(none)" for one in (held[column], value))
            parts.append(f"{column}: {old} -> {new}")
        elif value is not None:
            parts.append(f"{column}: {value}")
    there = " (the partner has none)" if "held" in sample and sample["held"] is None else ""
    return ", ".join(parts) + there
