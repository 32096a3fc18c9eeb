"""A workspace that ticks refuse: the people of its last good version are told, once for each reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from connrunner.config import load
from connrunner.core import instant
from connrunner.core.alerts import rate_limit
from connrunner.core.alerts.on_broken_files import BrokenFile, decide_file_notices
from connrunner.core.model import Workspace
from connrunner.errors import BusyError, StateError, WorkspaceError
from connrunner.scheduler.recorder import make_token
from connrunner.state import locks
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.journal_state import JournalState, next_attempt

WHOLE = "connrunner.yaml"  # among the names of what is broken: the workspace as a whole


def tell_refused(
    folder: Path, state: StateFolder, error: WorkspaceError, *, clock: Callable[[], datetime], what_if: bool
) -> subprocess.Popen[bytes] | None:
    """Record whom *error*, for which this tick refuses the workspace, is told; return the process that sends it.

    None when everybody knows, and where nobody can be told: no version of the workspace was ever good, or the state
    folder cannot be used either.
    """
    with suppress(StateError, BusyError, WorkspaceError):
        workspace = load.load_last_good(state.compiled)
        if workspace is not None:
            with locks.hold_state_lock(state):
                journal_state = _record(Journal(state), workspace, error, clock())
            return start_mailer(folder, state, journal_state, now=clock(), what_if=what_if)
    return None


def _record(journal: Journal, workspace: Workspace, error: WorkspaceError, now: datetime) -> JournalState:
    journal_state = journal.open()
    problems = tuple(map(str, error.problems)) or (str(error),)
    content = sha256("\n".join(problems).encode("utf-8", "backslashreplace")).hexdigest()[:16]
    known = journal_state.broken_mailed
    told = decide_file_notices(
        workspace.default_notify,
        {WHOLE: BrokenFile(content=content, problems=problems, is_refused=True)},
        {name: word for name, word in known.items() if name == WHOLE},  # of the others this tick knows nothing
        there={WHOLE},
        token=make_token(),
    )
    if not told.notices:
        return journal_state
    limits = {name: target.limit for name, target in workspace.targets.items()}
    owing = rate_limit.split_notices(told.notices, journal_state.alerts, limits=limits, at=now)
    at = instant.text(now)
    return journal.append({"type": "noticed", "at": at, **owing.as_record(), "broken_told": {**known, **told.known}})


def start_mailer(
    folder: Path, state: StateFolder, journal_state: JournalState, *, now: datetime, what_if: bool
) -> subprocess.Popen[bytes] | None:
    """Have owed mail that is due sent by a process of its own: a slow server delays no run. None when none is due.

    *what_if* says that *now* is not the system's clock, and counts for the mail, too. OSError when no process starts.
    """
    if not any(next_attempt(owed, now) == now for owed in journal_state.owed.values()):
        return None
    more = [instant.text(now)] if what_if else []
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "connrunner.messenger.mailer", str(folder), str(state.root), *more],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
