"""How far a connection has come: the answer of `connrunner state`."""

from __future__ import annotations

from typing import Any

from connrunner.answers.profile_lookup import open_profiles
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncState:
    """What a connection remembers for its next run."""

    connection: str
    remembered: dict[str, Any]  # as `state --format json` shows it

    @property
    def files(self) -> list[dict[str, Any]]:
        """The files that were read: `name`, `rows`, `refused`, `run`, `modified`."""
        found: list[dict[str, Any]] = self.remembered["files"]
        return found

    @property
    def mark(self) -> Any:
        """How far the source was read; None without a mark."""
        return self.remembered["mark"]

    @property
    def retained_rows(self) -> int:
        """Refused rows that are offered again."""
        return int(self.remembered["kept_rows"])

    @property
    def sent(self) -> int:
        """Profiles that its exports sent."""
        return int(self.remembered["sent"])

    @property
    def is_empty(self) -> bool:
        return not (self.files or self.mark is not None or self.retained_rows or self.sent)


def read_sync_state(view: WorkspaceView, name: str) -> SyncState:
    """Return what the connection *name* remembers; ArgumentError when it is not known."""
    view.require(name)
    with open_profiles(view, view.workspace.profile) as store:
        return SyncState(connection=name, remembered=store.describe_connection(name))


def as_dict(state: SyncState) -> dict[str, Any]:
    """Return *state* as `state --format json` shows it."""
    return state.remembered
