"""What of the past is kept: runs beyond the limits go, a little at a time, and the last run never.

A run that goes loses its folder first and its line of history after that, so a crash in between only leaves work for
the next pass. Numbers never come back: the newest run stays, and the journal knows the number as well.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from connrunner.core import instant, retention_policy
from connrunner.core.model import Keep
from connrunner.errors import StateError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state import history_check, locks, run_files
from connrunner.state.folder import StateFolder, recording
from connrunner.text.files import open_own, put_in_place, replace_file, write_all
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import open_regular, read_regular

EVERY = timedelta(days=1)  # from the end of one pass over all connections to the next
BUDGET = 1.0  # seconds of a pass that one tick does
WORTH = 10  # history is written anew once one part in so many of it can go
BLOCK = 1 << 20
LOCK = "retention"

Keeps = Callable[[str], Keep]


@dataclass(frozen=True, kw_only=True, slots=True)
class CutOff:
    """Where the past of a connection is cut off."""

    connection: str
    offset: int  # the bytes of its history before this one go
    first: int  # the runs below this number go


def find_next_pass(folder: StateFolder) -> datetime | None:
    """Return when the next part of a pass is to be done; None for at once."""
    try:
        said = parse_json(read_regular(_marker(folder), 64 * 1024))
        return None if said["next"] else instant.parse(said["at"]) + EVERY
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prune_runs(
    folder: StateFolder, keeps: Keeps, started: Mapping[str, int], *, now: datetime, budget: float = BUDGET
) -> bool:
    """Do as much of a pass as *budget* seconds allow, going on where the last call stopped; True at a pass's end.

    *keeps* tells how much is kept of a connection by its name, *started* the runs that work now. BusyError when
    another process is at it; StateError, once a pass, for what cannot be removed: the rest is done all the same.
    """
    due = find_next_pass(folder)
    if due is not None and now < due <= now + EVERY:  # one that ended in the future was done by a wrong clock
        return False
    deadline = time.monotonic() + budget
    trouble: OSError | StateError | None = None
    with locks.hold_lock(folder, LOCK, wait=0), recording(folder.runs):
        for name in list_connections(folder, start=_next(folder)):
            try:
                if (keep := keeps(name)) != Keep() and not _prune(folder, name, keep, started.get(name), now, deadline):
                    _remember(folder, now, then=name)
                    return False
            except (OSError, StateError) as error:
                trouble = error
            if time.monotonic() > deadline:
                _remember(folder, now, then=f"{name}\0")  # whatever name comes next
                return False
        _remember(folder, now, then="")
        if trouble is not None:
            raise trouble
        return True


def find_cut_off(folder: StateFolder, name: str, keep: Keep, *, now: datetime) -> CutOff | None:
    """Return where the past of *name* is cut off by *keep*; None when all of it stays.

    Costs what goes, and with a limit of bytes a look at each run's folder.
    """
    try:
        file = open_own(folder.history(name))
    except FileNotFoundError:
        return None
    with file:
        count = sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))
        sizes = (
            {} if keep.bytes is None else {number: _size(folder.run(name, number)) for number in _numbers(folder, name)}
        )
        file.seek(0)
        offset = 0
        seen: list[tuple[int, int]] = []  # offset and number of each run that was looked at

        def past() -> Iterator[retention_policy.Past]:
            nonlocal offset
            for line in file:
                run = run_files.parse_run(line)
                if run is not None:
                    seen.append((offset, run.run))
                    yield run.ended_at, sizes.get(run.run, 0)
                offset += len(line)

        looking = past()
        goes = retention_policy.count_expired(looking, keep, runs=count, size=sum(sizes.values()), now=now)
        goes = min(goes, len(seen) - 1)  # lines that are no record count as runs, and cannot be the last one
        if goes <= 0:
            return None
        for _ in islice(looking, run_files.NEAR):
            pass
    return CutOff(connection=name, offset=seen[goes][0], first=min(number for _, number in seen[goes:]))


def list_expired_runs(folder: StateFolder, at: CutOff, *, working: int | None) -> list[int]:
    """Return the numbers of the runs that go and still have a folder, oldest first; *working* is one that stays."""
    return [number for number in _numbers(folder, at.connection) if number < at.first and number != working]


def rewrite_history(folder: StateFolder, at: CutOff) -> None:
    """Write the history anew without what lies before the cut; takes the state lock for its last lines only."""
    path = folder.history(at.connection)
    beside = path.with_name(f".{path.name}.tmp")
    with ExitStack() as stack:
        old = open_regular(path)
        stack.callback(os.close, old)
        new = open_regular(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        stack.callback(os.close, new)
        behind = _copy(old, new, at.offset)
        os.fsync(new)
        with locks.hold_state_lock(folder), history_check.following(folder, at.connection):
            if _copy(old, new, behind) > behind:
                os.fsync(new)
            put_in_place(beside, path)


def find_first_run(folder: StateFolder, name: str) -> int:
    """Return the oldest run of *name* that is not removed; 0 when there is none."""
    try:
        return min(_numbers(folder, name), default=0)
    except FileNotFoundError:
        return 0


def _drop_last_rejects(folder: StateFolder, name: str, keep: Keep, now: datetime) -> None:
    """Remove the refused rows of the last run once it is beyond the days: only the run itself stays for its number."""
    last = None if keep.days is None else run_files.read_last_run(folder, name)
    if last is not None and keep.days is not None and last.ended_at < now - timedelta(days=keep.days):
        folder.rejects(name, last.run).unlink(missing_ok=True)


def _prune(folder: StateFolder, name: str, keep: Keep, working: int | None, now: datetime, deadline: float) -> bool:
    """Remove what goes of the past of *name*; False when the time was over before all was done."""
    _drop_last_rejects(folder, name, keep, now)
    at = find_cut_off(folder, name, keep, now=now)
    if at is None:
        return True
    for count, number in enumerate(list_expired_runs(folder, at, working=working)):
        if count and time.monotonic() > deadline:  # one at least, or there would be no end
            return False
        shutil.rmtree(folder.run(name, number))
    if at.offset * WORTH >= folder.history(name).stat().st_size:
        rewrite_history(folder, at)
    return True


def _copy(old: int, new: int, offset: int) -> int:
    """Copy from *offset* to the end; return where that is."""
    while data := os.pread(old, BLOCK, offset):
        write_all(new, data)
        offset += len(data)
    return offset


def _size(run: Path) -> int:
    with suppress(FileNotFoundError), os.scandir(run) as scan:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in scan)
    return 0


def _numbers(folder: StateFolder, name: str) -> list[int]:
    """Return the numbers of the runs that have a folder, the oldest first."""
    with os.scandir(folder.connection(name)) as scan:
        return sorted(int(entry.name) for entry in scan if entry.name.isascii() and entry.name.isdigit())


def list_connections(folder: StateFolder, *, start: str = "") -> list[str]:
    """Return the connections that have a past, from the name *start* on."""
    with os.scandir(folder.runs) as scan:
        return sorted(entry.name for entry in scan if entry.name >= start and entry.is_dir(follow_symlinks=False))


def _marker(folder: StateFolder) -> Path:
    return folder.root / "retention.json"


def _next(folder: StateFolder) -> str:
    try:
        return str(parse_json(read_regular(_marker(folder), 64 * 1024))["next"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _remember(folder: StateFolder, now: datetime, *, then: str) -> None:
    replace_file(_marker(folder), json.dumps({"at": instant.text(now), "next": then}).encode() + b"\n")
