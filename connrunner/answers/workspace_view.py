"""What a question is about: a workspace, its state folder and the clock."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from connrunner.config import load, place
from connrunner.core import schedules
from connrunner.core.model import Connection, Mail, ProfileModel, Workspace
from connrunner.errors import ArgumentError, WorkspaceError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.state import filesystem, owner, retention, run_files
from connrunner.state.damage import KnownDamage, list_damage
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.journal_state import JournalState
from connrunner.text import words
from connrunner.text.words import plural


@dataclass(frozen=True)
class WorkspaceView:
    """A workspace and its state folder, at an instant; each part is read when it is asked for."""

    folder: Path
    state: StateFolder
    now: datetime | None = None  # to take for the clock

    @functools.cached_property
    def workspace(self) -> Workspace:
        # Who only looks makes no cache, and writes into none that is a link, or stands in no state: a branch can
        # bring the one, and name a folder of whatever else that holds something called like it.
        cache = self.state.compiled
        has_cache = cache.is_dir() and not cache.is_symlink() and filesystem.holds_state(self.state.root)
        return load.load(self.folder, cache=cache if has_cache else None)

    @functools.cached_property
    def uncommitted(self) -> list[str]:
        """The files of the workspace that differ from the commit that is obeyed."""
        return read_uncommitted(self.workspace)

    @functools.cached_property
    def journal(self) -> Journal:
        journal = Journal(self.state)
        journal.read()
        return journal

    @property
    def journal_state(self) -> JournalState:
        return self.journal.read()

    def refuse_other_state(self) -> None:
        """StateError when the state folder is that of another workspace; before anybody is asked anything."""
        owner.refuse_other(self.state, self.folder)

    @functools.cached_property
    def unusable_histories(self) -> Mapping[str, str]:
        """Why the histories of some declared connections cannot be used; looked at once, for each is opened."""
        names = {*self.workspace.connections, *self.workspace.broken}
        return {name: str(error) for name, error in run_files.find_unusable(self.state, names).items()}

    @functools.cached_property
    def damage(self) -> tuple[KnownDamage, ...]:
        """What ticks have found damaged in the state folder, as long as it is there."""
        names = retention.list_connections(self.state) if self.state.runs.is_dir() else []
        return tuple(list_damage(self.state, self.journal_state, names, now=self.clock()))

    def prepare_state(self) -> None:
        """Make the state folder fit to be written. StateError when it cannot be, or is that of another workspace."""
        self.refuse_other_state()
        self.state.prepare()

    def clock(self) -> datetime:
        return self.now or datetime.now(UTC)

    def holds_state(self) -> bool:
        """Tell whether the state folder is one, or lies in the workspace, where it may be made."""
        root = self.state.root
        return filesystem.holds_state(root) or root.resolve().is_relative_to(self.folder.resolve())

    def known_names(self) -> list[str]:
        """Return every connection that is declared or that history knows."""
        return list_known_names(self.workspace, self.state)

    def require(self, name: str) -> str:
        """Return *name* when it is a connection, declared or remembered; ArgumentError with the nearest one else."""
        if name not in (names := self.known_names()):
            hint = words.hint(name, names) or f"; there are {', '.join(names[:8]) or 'none'}"
            raise ArgumentError(f"there is no connection {name!r}{hint}")
        return name

    def connection(self, name: str) -> Connection:
        """Return the sound connection *name*; its problems when it is broken."""
        self.require(name)
        if problems := self.workspace.broken.get(name):
            raise WorkspaceError(f"{name} cannot be used until its file is fixed", problems=problems)
        try:
            return self.workspace.connections[name]
        except KeyError:
            raise ArgumentError(f"{name} has a history, but no file in connections/ any more") from None

    def zone(self, name: str | None = None) -> str:
        """Return the zone in which times of the connection *name* are shown."""
        connection = self.workspace.connections.get(name) if name else None
        return (connection and schedules.zone_of(connection.schedule)) or self.workspace.timezone


def list_known_names(workspace: Workspace, state: StateFolder) -> list[str]:
    """Return every connection that *workspace* declares or that has a past in *state*, sorted."""
    recorded = os.listdir(state.runs) if state.runs.is_dir() else []  # noqa: PTH208 - names are all that is asked for
    return sorted({*workspace.connections, *workspace.broken, *recorded})


def open_anyway(view: WorkspaceView) -> WorkspaceView:
    """Return *view*, or when its workspace cannot be used one of a workspace without connections, which says why."""
    try:
        view.workspace  # noqa: B018 - it is read here
    except WorkspaceError as error:
        blank = replace(view)
        # Of all problems those of the settings are why: a connection's own stop nothing else.
        problems = sorted(error.problems, key=lambda problem: problem.path != "connrunner.yaml")
        reason = f"{error.message}: {problems[0]}" if problems else str(error)
        blank.__dict__["workspace"] = Workspace(
            folder=str(view.folder),
            state=str(view.state.root),
            timezone="UTC",
            mail=Mail(),
            profile=ProfileModel(),
            connections={},
            broken={},
            problems=error.problems,
            trouble=reason,
        )
        return blank
    return view


def find_folder(wanted: Path | None) -> Path:
    """Return the workspace's folder, absolute."""
    if wanted is not None:
        if not os.path.lexists(wanted / place.FILE):  # whatever it is: what is wrong with it is said when it is read
            hint = f"make a workspace with `connrunner init {wanted}`"
            raise ArgumentError(f"{wanted} has no {place.FILE}", hint=hint)
        return wanted.absolute()
    found = place.find_workspace(str(Path.cwd()))
    if found is None:
        raise ArgumentError(
            f"there is no {place.FILE} here or in a folder above",
            hint="go to a workspace, name one with --workspace, or make one with `connrunner init`",
        )
    return Path(found)


def open_view(folder: Path, state: Path | None = None, *, now: datetime | None = None) -> WorkspaceView:
    """Return the view of the workspace in *folder*; without *state*, the environment or connrunner.yaml names it.

    StateError when connrunner.yaml names a folder that others could have written into: who proposes a change of it
    must not have a command read that.
    """
    root = Path(place.state_folder(str(folder), str(state) if state else None))
    if not place.is_state_named(str(state) if state else None):
        filesystem.refuse_foreign(root, folder)
    return WorkspaceView(folder, StateFolder(root), now=now)


def read_uncommitted(workspace: Workspace) -> list[str]:
    """Return the files that differ from the commit that is obeyed; none when that cannot be found out."""
    try:
        return load.list_uncommitted(workspace)
    except WorkspaceError:
        return []


def describe_uncommitted(commit: str | None, paths: Sequence[str]) -> str:
    """Return what people are told about *paths*, the files that differ from the commit that is obeyed."""
    listed = ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")
    files = f"{plural(len(paths), 'file')} {'differs' if len(paths) == 1 else 'differ'}"
    return f"{files} from commit {str(commit)[:12]}, which ticks obey: {listed}"
