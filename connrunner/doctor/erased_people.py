"""Erased people whom a partner still has to delete, and who wait for a run that does not come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from connrunner.core.model import Export, Workspace
from connrunner.doctor import Check, warning
from connrunner.state.folder import StateFolder


def check_withdrawals(workspace: Workspace, state: StateFolder) -> Iterator[Check]:
    """Yield a warning for each export whose partner knows erased people and that no run will tell.

    An export that is on and sends deletions tells it by its next run, and one that is broken is told elsewhere.
    """
    for path in state.list_withdrawals():
        name, waiting = path.stem, 0
        with suppress(FileNotFoundError):  # a run has just told the partner
            waiting = path.read_bytes().count(b"\n")
        if waiting and (obstacle := _find_obstacle(workspace, name)):
            why, remedy = obstacle
            who = "1 erased person waits" if waiting == 1 else f"{waiting:,} erased people wait"
            yield warning(
                "withdrawals",
                f"{who} to be deleted at the partner of {name}, {why}",
                f"{remedy}, or tell the partner yourself and remove {path}",
            )


def _find_obstacle(workspace: Workspace, name: str) -> tuple[str, str] | None:
    """Return why no run of *name* has its partner delete anybody, and what helps; None when one does."""
    match workspace.find_use(name):
        case "gone":
            return "which the workspace has no more", "put it back and let it run"
        case "broken":
            return None
        case "off":
            return "which is switched off", f"switch it on, or run it once: `connrunner run {name} --force`"
    work = workspace.connections[name].work
    if isinstance(work, Export) and work.deleted == "send":
        return None
    return "which sends no deletions any more", "give it `deleted: send` again"
