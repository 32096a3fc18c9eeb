"""A run in a few words: its counters, its message, and what its slots stand for."""

from __future__ import annotations

from connrunner.core.counts import NAMES, Counts
from connrunner.core.model import Run


def describe_counts(counts: Counts) -> str:
    """Return the counters that are not zero: `602 read, 590 created, 8 invalid`."""
    hidden = ("checked",) if counts.checked == counts.read else ()
    names = [name for name in NAMES if getattr(counts, name) and name not in hidden]
    return ", ".join(f"{getattr(counts, name):,} {name.replace('_', ' ')}" for name in names)


def describe_result(run: Run) -> str:
    """Return a run's counters and its message; that of an import that went well says the same as its counters."""
    message = "" if run.intent.kind == "import" and not run.result.code else run.result.message
    return "; ".join(part for part in (describe_counts(run.result.counts), message) if part)


def describe_run(run: Run) -> str:
    """Return its result, who asked for it, and the slots that it stands for."""
    parts = [describe_result(run)]
    if run.entry.trigger == "manual":
        parts.append(f"asked for by {run.entry.asked_by}")
    if run.entry.missed:
        parts.append(f"{run.entry.missed:,} later slots were missed")
    if run.entry.merged:
        parts.append(f"{run.entry.merged:,} slots merged into it")
    return "; ".join(part for part in parts if part)
