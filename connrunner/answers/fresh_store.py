"""A profile store that begins anew: what `connrunner reset --profiles` does."""

from __future__ import annotations

from pathlib import Path

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.state.folder import recording
from connrunner.state.store_changes import list_store_changes
from connrunner.text.temporary_folders import temporary_folder


def list_lanes(view: WorkspaceView) -> set[str]:
    """Return every lane in which a run may have the store open."""
    declared = {connection.lane for connection in view.workspace.connections.values()}
    return declared | {started.lane for started in view.journal_state.started.values()}


def begin_anew(view: WorkspaceView) -> list[Path]:
    """Put an empty store in place, and return where the files of the earlier one stand now; hold all lanes."""
    from connrunner.profiles.stores.beginning import begin_store  # DuckDB is slow to import

    numbers = dict(view.journal_state.numbers)
    for name, runs in list_store_changes(view.state).items():  # of which a journal that was lost knows nothing
        numbers[name] = max(numbers.get(name, 0), *(run.run for run in runs))
    with recording(view.state.profiles), temporary_folder(view.state.spool) as temp:
        return begin_store(view.state.profiles, temp=temp, numbers=numbers)
