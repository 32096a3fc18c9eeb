"""A run in a few words: its counters, its message, and what its slots stand for."""

from __future__ import annotations

from connrunner.core.counts import NAMES, Counts
from connrunner.core.held_runs import describe_approval
from connrunner.core.model import Result, Run
from connrunner.text.words import agree, plural


def describe_counts(counts: Counts) -> str:
    """Return the counters that are not zero: `602 read, 590 created, 8 invalid`."""
    hidden = ("checked",) if counts.checked == counts.read else ()
    names = [name for name in NAMES if getattr(counts, name) and name not in hidden]
    return ", ".join(f"{getattr(counts, name):,} {name.replace('_', ' ')}" for name in names)


def describe_result(run: Run) -> str:
    """Return a run's counters and its message; that of an import that went well says the same as its counters."""
    found = describe_ending(run.result, kind=run.intent.kind)
    approval = describe_approval(run.result.detail)
    return f"{found}; {approval}" if approval and approval not in found else found


def describe_ending(result: Result, *, kind: str) -> str:
    """Return the counters and the message of *result*, of work of that *kind*, without saying a thing twice."""
    message = "" if kind == "import" and not result.code else result.message
    return "; ".join(part for part in (describe_counts(result.counts), message) if part)


def describe_briefly(run: Run) -> str:
    """Return what a run says of itself, as its mail begins; without a message its counters.

    For lists, whose rows have no room for every counter.
    """
    return run.result.message or describe_counts(run.result.counts)


def describe_run(run: Run) -> str:
    """Return its result, who asked for it, and the slots that it stands for."""
    return _add_entry(describe_result(run), run)


def describe_run_briefly(run: Run) -> str:
    """Return what `describe_run` does, with its own words in place of all counters."""
    return _add_entry(describe_briefly(run), run)


def _add_entry(result: str, run: Run) -> str:
    parts = [result]
    if run.entry.trigger in ("manual", "undo"):
        parts.append(f"asked for by {run.entry.asked_by}")
    if run.entry.missed:
        parts.append(f"{agree(run.entry.missed, 'later slot', 'was', 'were')} missed")
    if run.entry.merged:
        parts.append(f"{plural(run.entry.merged, 'slot')} merged into it")
    return "; ".join(part for part in parts if part)
