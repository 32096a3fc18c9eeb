"""The runs of a day: the list behind the numbers that stand above the connections, and of the days before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from connrunner.answers.past_runs import DAY, list_ended_on
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.model import Outcome
from connrunner.web.pages.connections_screen import read_number

PER_PAGE = 50
FARTHEST = timedelta(days=3650)


def show_today(view: WorkspaceView, asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the screen."""
    today = view.clock().astimezone(ZoneInfo(view.zone())).date()
    day = _read_day(asked.get("day", ""), today)
    runs = list_ended_on(view, day)
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
        "day": "" if day == today else day.isoformat(),
        "day_words": "today" if day == today else f"{day:%a %Y-%m-%d}",
        "before": (day - DAY).isoformat(),
        "after": None if day >= today else "" if day + DAY == today else (day + DAY).isoformat(),
    }


def _read_day(text: str, today: date) -> date:
    """Return the day that *text* names, within ten years; today for anything else."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return today
    return day if timedelta(0) <= today - day <= FARTHEST else today
