"""The blackouts of a whole workspace: said once, and not with each schedule."""

from __future__ import annotations

from collections.abc import Sequence

from connrunner.core.model import Blackout, Workspace
from connrunner.core.schedules import blackout


def find_shared_blackouts(workspace: Workspace) -> tuple[Blackout, ...]:
    """Return the blackouts that connrunner.yaml declares for every schedule of *workspace*."""
    declared = workspace.document.get("blackout")
    return blackout.parse(declared, workspace.timezone) if declared else ()


def describe_shared_blackouts(blackouts: Sequence[Blackout]) -> str:
    """Return when nothing runs by its schedule, in one line; empty when there is no such time."""
    times = ", ".join(blackout.describe(each) for each in blackouts)
    return f"blackouts of the workspace: {times}" if times else ""
