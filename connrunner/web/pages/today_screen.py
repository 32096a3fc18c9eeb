"""The runs of today: the list behind the numbers that stand above the connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from connrunner.answers.past_runs import list_ended_today
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.model import Outcome
from connrunner.web.pages.connections_screen import read_number

PER_PAGE = 50


def show_today(view: WorkspaceView, asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the screen."""
    runs = list_ended_today(view)
    counts = Counter(run.outcome for run in runs)
    chosen = asked.get("outcome", "") if asked.get("outcome", "") in set(Outcome) else ""
    found = [run for run in runs if chosen in ("", run.outcome)]
    first = (read_number(asked.get("page", ""), 1) - 1) * PER_PAGE
    first = first if 0 <= first < len(found) else 0
    return {
        "runs": found[first : first + PER_PAGE],
        "first": first,
        "found": len(found),
        "per_page": PER_PAGE,
        "page_number": first // PER_PAGE + 1,
        "tabs": [("", len(runs)), *counts.most_common()],
        "chosen": chosen,
    }
