"""All profiles go to the other kind of store: what `connrunner profiles move` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connrunner.answers.fresh_store import list_lanes
from connrunner.answers.profile_lookup import WAIT, busy_when_open, locate_store, read_model
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.report import NullReport
from connrunner.errors import ArgumentError
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.profiles.store_place import find_database
from connrunner.state.folder import recording

if TYPE_CHECKING:
    from connrunner.profiles.stores.moving import MovedStore

__all__ = ["as_dict", "list_lanes", "move_store"]
_TABLES = ("profiles", "runs", "files", "kept", "sent")  # of which people are told


def move_store(view: WorkspaceView, to: str) -> MovedStore:
    """Move the store of the workspace, whose `store` names the database, and compare; hold all lanes meanwhile."""
    place = locate_store(view)
    if place.is_embedded:
        raise ArgumentError(
            "`store` in connrunner.yaml names no database",
            hint='write `store: {type: postgresql, url: "env:PROFILES_URL"}` there; it says where from or where to',
        )
    database = find_database(place)
    from connrunner.profiles.stores.moving import move_to_database, move_to_file  # DuckDB is slow to import

    with busy_when_open(), recording(view.state.profiles), temporary_folder(view.state.spool) as temp:
        if to == "postgresql":
            return move_to_database(place.path, database, read_model(view), temp=temp, report=NullReport(), wait=WAIT)
        return move_to_file(place.path, database, temp=temp, report=NullReport())


def as_dict(moved: MovedStore, to: str) -> dict[str, Any]:
    """Return *moved* as `profiles move --format json` shows it."""
    return {"to": to, "was_done": moved.was_done, "rows": {name: moved.rows[name] for name in _TABLES}}
