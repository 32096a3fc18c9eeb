"""What killed processes left in the state folder: rows on their way, files that never came to their place."""

from __future__ import annotations

import shutil
from contextlib import nullcontext, suppress
from pathlib import Path

from connrunner.errors import BusyError, StateError
from connrunner.state import end_reserve, erasures, locks
from connrunner.state.folder import RESERVE, StateFolder
from connrunner.state.journal import Journal
from connrunner.state.locks import WorkerLock
from connrunner.text.files import remove_abandoned, remove_unfinished
from connrunner.text.temporary_folders import remove_abandoned_folders


def clear_spool(state: StateFolder, connection: str, run: int) -> None:
    """Remove what a run that has ended, and of which nothing lives, left on its way."""
    _clear(state.spool / f"{connection}-{run}")
    end_reserve.settle_reserve(state, connection, run)


def remove_leftovers(state: StateFolder, journal: Journal) -> None:
    """
    Remove what no process works on any more.

    From `spool/` the folders of runs that are neither recorded as working nor held, and beside the targets of exports
    the files that they name; then temporary folders of killed commands, an erasure that was killed, and files that were
    about to replace others.
    """
    with suppress(FileNotFoundError, BusyError):
        # Listed before the journal is read: a run is recorded before it makes its folder, and under the lock under
        # which room is kept for its end.
        found = sorted(state.spool.iterdir())
        with locks.hold_state_lock(state) if found else nullcontext():
            started = {(run.connection, run.run) for run in journal.read().started.values()}
        for folder in found:
            connection, _, number = folder.name.removesuffix(RESERVE).rpartition("-")
            if not connection or not number.isdecimal() or (connection, int(number)) in started:
                continue
            if not WorkerLock(state.run(connection, int(number)) / "worker.txt").is_busy:
                _clear(folder)
    for place in (None, state.spool, state.programs):
        remove_abandoned_folders(place)
    with suppress(BusyError):  # one is at work, and settles this itself
        erasures.settle_erasure(state, journal)
    with suppress(BusyError, StateError), locks.hold_state_lock(state):
        for each in (state.root, state.requests, state.compiled, state.decisions, state.mail):
            remove_abandoned(each)


def _clear(folder: Path) -> None:
    remove_unfinished(folder)
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with suppress(OSError):
            folder.unlink()
