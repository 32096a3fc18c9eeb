"""What a dry run of an export tells beside its counters: what the partner holds, and which rows it would not get."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from connrunner import connectors
from connrunner.connectors import RunContext
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import asdict
from connrunner.profiles.results import ExportResult
from connrunner.text.words import plural


def compare_samples(
    destination: connectors.Destination,
    settings: connectors.Settings,
    context: RunContext,
    done: ExportResult,
    local: Path,
) -> tuple[list[dict[str, Any]], str]:
    """
    Return the samples of *done* as plain JSON, and what is to be said of the rows in *local*, empty for nothing.

    A sample has `held` when the partner can be asked: its values in those columns that would change, or None when it
    has no such row. A partner that cannot answer now is no failure of the run that is tried.
    """
    samples = [{**asdict(one), "values": dict(one.values)} for one in done.samples]
    asked = [one for one in samples if one["counted_as"] != "deleted"]
    if not done.written:
        return samples, ""
    try:
        found = connectors.compare_rows(destination, settings, context, local, [one["values"] for one in asked])
    except RunError as error:
        context.report.message(f"what the partner holds now cannot be told: {error}", level="warning")
        return samples, ""
    if found is None:
        return samples, ""
    for sample, held in zip(asked, found.held, strict=False):
        sample["held"] = None if held is None else dict(held)
    if not found.refused:
        return samples, ""
    codes = Counter(one.code for one in found.refused)
    reasons = ", ".join(f"{code} {count:,}" for code, count in sorted(codes.items()))
    return samples, f"; {plural(len(found.refused), 'row')} of them would be refused and not sent: {reasons}"
