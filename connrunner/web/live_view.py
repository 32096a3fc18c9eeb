"""The workspace and its state as they are now, for many readers at once: what has not changed is not read again."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from connrunner.answers.workspace_view import (
    WorkspaceView,
    list_known_names,
    open_anyway,
    open_view,
    read_uncommitted,
)
from connrunner.config import stamps
from connrunner.core.model import WebSettings, Workspace
from connrunner.errors import ConnrunnerError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.journal_state import JournalState, copy_state

STALE = 10.0  # seconds for which git, or a workspace that cannot be used, is not asked again
REST = 2.0  # seconds between two looks at the files of the workspace
OPENED = 1000  # histories that a question opens to see whether they can be used
RACY = 2.0  # seconds: a file changed this recently may change again without a new time stamp


class FrozenJournal(Journal):
    """The journal as it was at one look: it answers every reading with that, and is never written."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal.folder)
        self.state = copy_state(journal.state)

    def read(self) -> JournalState:
        """Return where everything stood."""
        return self.state


@dataclass(frozen=True)
class LiveVersion:
    """One version of the workspace and of the journal. Threads share it, and nobody changes it."""

    folder: Path
    state: StateFolder
    workspace: Workspace
    journal: FrozenJournal | ConnrunnerError
    uncommitted: UncommittedFiles
    histories: HistoryWatch
    names: KnownNames

    def at(self, now: datetime) -> WorkspaceView:
        """Return the view of a question asked at *now*; ConnrunnerError when the state cannot be read."""
        if isinstance(self.journal, ConnrunnerError):
            raise type(self.journal)(self.journal.message, hint=self.journal.hint)
        return SharedView(self.folder, self.state, now, version=self)


@dataclass(frozen=True)
class SharedView(WorkspaceView):
    """A view that reads nothing by itself of what its version has read."""

    version: LiveVersion = field(kw_only=True)

    @functools.cached_property
    def workspace(self) -> Workspace:
        """The workspace of the version."""
        return self.version.workspace

    @functools.cached_property
    def unusable_histories(self) -> Mapping[str, str]:
        """Why the histories of some connections cannot be used; of some as an earlier question saw them."""
        return self.version.histories.find_unusable(self.workspace)

    def known_names(self) -> list[str]:
        """Return every connection that is declared or that history knows, sorted."""
        return self.version.names.list_names(self.workspace)

    @functools.cached_property
    def uncommitted(self) -> list[str]:
        """The files that differ from the commit that is obeyed, as they were some seconds ago at most."""
        return self.version.uncommitted.list_files()

    @functools.cached_property
    def journal(self) -> Journal:
        """The journal of the version."""
        assert isinstance(self.version.journal, FrozenJournal), "without one there is no view"
        return self.version.journal


class UncommittedFiles:
    """The files that differ from the commit that is obeyed: asked of git, which takes a while, not for each reader."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._asked_at = float("-inf")
        self._found: list[str] = []

    def list_files(self) -> list[str]:
        """Return them as they were when they were looked for last, `STALE` seconds ago at most."""
        if time.monotonic() - self._asked_at >= STALE:
            self._found, self._asked_at = read_uncommitted(self._workspace), time.monotonic()
        return self._found


class HistoryWatch:
    """Which histories cannot be used: each has to be opened to see that, so a question opens some, in turn.

    Of a workspace with up to `OPENED` connections all each time; of ten thousand once in a few questions.
    """

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._workspace: Workspace | None = None
        self._names: list[str] = []
        self._next = 0
        self._found: dict[str, str] = {}

    def find_unusable(self, workspace: Workspace) -> Mapping[str, str]:
        """Return those of the declared connections whose history cannot be used, and why."""
        with self._lock:
            if workspace is not self._workspace:  # all at once: nothing is known of those that are new
                self._workspace, self._names, self._next = workspace, [*workspace.connections, *workspace.broken], 0
                self._found, looked = {}, self._names
            else:
                looked = self._names[self._next : self._next + OPENED]
            self._next += len(looked)
            if self._next >= len(self._names):
                self._next = 0
            now = {name: str(error) for name, error in run_files.find_unusable(self._state, looked).items()}
            again = set(looked)
            kept = {name: why for name, why in self._found.items() if name not in again}
            self._found = dict(sorted({**kept, **now}.items()))
            return self._found


class KnownNames:
    """Every name that is declared or has a past, sorted once for as long as neither changes."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._known: tuple[Workspace, tuple[int, ...], list[str]] | None = None

    def list_names(self, workspace: Workspace) -> list[str]:
        """Return them; a folder of runs that is made or removed changes the time stamp of the one that they are in."""
        look, known = _look_at(self._state.runs), self._known
        if known is None or known[0] is not workspace or known[1] != look or _is_young(look):
            known = self._known = (workspace, look, list_known_names(workspace, self._state))
        return known[2]


class LiveView:
    """Reads what changed, when somebody asks: one thread at a time, and no other waits for it but the first."""

    def __init__(self, folder: Path, state: Path | None, *, clock: Callable[[], datetime] | None = None) -> None:
        self.folder = folder
        self.clock = clock or (lambda: datetime.now(UTC))
        self._state = state
        self._lock = threading.Lock()
        self._version: LiveVersion | None = None
        self._settings = WebSettings()
        self._journal: Journal | None = None
        self._journal_look: tuple[int, ...] | None = None
        self._stamps: dict[str, int] = {}
        self._looked_at = self._loaded_at = float("-inf")

    def look(self) -> WorkspaceView:
        """Return the view of now; ConnrunnerError when the state cannot be read."""
        return self._newest().at(self.clock())

    @property
    def settings(self) -> WebSettings:
        """What the newest connrunner.yaml that could be read says of the page."""
        self._newest()
        return self._settings

    @property
    def known_settings(self) -> WebSettings:
        """The settings as they were when somebody last looked."""
        return self._settings

    @property
    def is_settled(self) -> bool:
        """True when connrunner.yaml could be read: without it, nobody knows who may see anything."""
        return not _is_blank(self._newest().workspace)

    def _newest(self) -> LiveVersion:
        # Only the first look is waited for: a slow disk must not hold up those who can be told what was known before.
        if self._lock.acquire(blocking=self._version is None):
            try:
                self._refresh()
            finally:
                self._lock.release()
        assert self._version is not None
        return self._version

    def _refresh(self) -> None:
        now, before = time.monotonic(), self._version
        state, workspace = (before.state, before.workspace) if before else (None, None)
        if now - self._looked_at >= REST:
            self._looked_at = now
            if workspace is None or self._has_changed(workspace, now):
                state, workspace = self._load(now)
        assert state is not None
        assert workspace is not None
        journal = self._read_journal(state)
        if before is None or before.workspace is not workspace or before.journal is not journal:
            same = before is not None and before.workspace is workspace
            uncommitted = before.uncommitted if before and same else UncommittedFiles(workspace)
            known = before is not None and before.state == state
            histories = before.histories if before and known else HistoryWatch(state)
            names = before.names if before and known else KnownNames(state)
            self._version = LiveVersion(self.folder, state, workspace, journal, uncommitted, histories, names)

    def _has_changed(self, workspace: Workspace, now: float) -> bool:
        """Tell whether the files look different, or were too young at the last load to be believed."""
        since = now - self._loaded_at
        if workspace.trouble and since >= STALE:  # it may be gone without a change of a file
            return True
        was_young = max(self._stamps.values(), default=0) / 1e9 > time.time() - since - RACY
        return (was_young and since >= RACY) or stamps.stamps(self.folder, workspace.repository) != self._stamps

    def _load(self, now: float) -> tuple[StateFolder, Workspace]:
        known = self._version.workspace.repository if self._version else None
        self._stamps, self._loaded_at = stamps.stamps(self.folder, known), now
        view = open_view(self.folder, self._state)
        workspace = open_anyway(view).workspace
        if workspace.repository != known:  # other files say what changes: what did in between is read once more
            self._stamps = dict.fromkeys(stamps.stamps(self.folder, workspace.repository), time.time_ns())
        if not _is_blank(workspace):
            self._settings = workspace.web
        return view.state, workspace

    def _read_journal(self, state: StateFolder) -> FrozenJournal | ConnrunnerError:
        if self._journal is None or self._journal.folder != state:
            self._journal, self._journal_look = Journal(state), None
        look = _look_at(state.journal)
        if look == self._journal_look and self._version is not None:
            return self._version.journal
        try:
            self._journal.read()
        except ConnrunnerError as error:
            self._journal, self._journal_look = None, None
            return error
        self._journal_look = look
        return FrozenJournal(self._journal)


def _look_at(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _is_young(look: tuple[int, ...]) -> bool:
    """Tell whether what looks like *look* may change once more without looking different."""
    return not look or time.time() - look[2] / 1e9 < RACY


def _is_blank(workspace: Workspace) -> bool:
    """Tell whether *workspace* stands in for one whose connrunner.yaml cannot be used (see `open_anyway`)."""
    return bool(workspace.trouble) and not workspace.document
