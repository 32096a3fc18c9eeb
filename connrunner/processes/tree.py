"""The processes that a run started, wherever they went: found by the mark that they carry, and ended with grace."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from connrunner.core.model import GRACE
from connrunner.lazy_dataclasses import dataclass

RUN_ID_VARIABLE = "CONNRUNNER_RUN_ID"  # the variable that every process of a run inherits
KILL_WAIT = 5.0  # seconds that the kernel gets to end what was killed
LOOK_INTERVAL = 0.1  # seconds between two looks for processes that were not there before, at least
LOOK_SHARE = 5  # looking at all processes takes at most one part in so many of the time

_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessTree:
    """The processes of a run, or of one program: those for which one of these holds, but never this process itself."""

    mark: str  # its environment at its start has this mark
    inherit: tuple[int, ...] = ()  # descriptors that each of them is given; these select nothing
    group: int | None = None  # it is in this process group
    below: int | None = None  # it descends from this process
    lock: Path | None = None  # it holds an exclusive flock of this file, by whatever descriptor
    grace: float | None = None  # seconds that each of them has to end; this selects nothing; None: `GRACE`

    @classmethod
    def new(cls) -> Self:
        """Return an empty tree, with a mark that no process has."""
        return cls(mark=os.urandom(16).hex())

    def members(self) -> list[int]:
        """Return the process IDs of those that live; a zombie does not."""
        # Twice, before it is believed that there are none: a process that is just being executed shows no environment.
        return self._look() or self._look()

    def has(self, pid: int) -> bool:
        """Return whether the process *pid* is one of them now."""
        relatives = _parent_and_group(pid)
        if relatives is None or pid == os.getpid():
            return False
        if relatives[1] == self.group or _is_marked(pid, self.mark):
            return True
        if self.lock is not None and pid in find_lock_holders(self.lock, among=(pid,)):
            return True
        while self.below is not None and relatives is not None:
            if relatives[0] == self.below:
                return True
            relatives = _parent_and_group(relatives[0])
        return False

    def _look(self) -> list[int]:
        alive = {pid: relatives for pid in _process_ids() if (relatives := _parent_and_group(pid))}
        found = {pid for pid, (_, group) in alive.items() if group == self.group or _is_marked(pid, self.mark)}
        if self.below is not None:
            found |= _descendants(self.below, {pid: parent for pid, (parent, _) in alive.items()})
        if self.lock is not None:
            found |= set(find_lock_holders(self.lock, among=alive))
        return sorted(found - {os.getpid()})


def find_grace(tree: ProcessTree) -> float:
    """Return how many seconds the processes of *tree* have between SIGTERM and SIGKILL."""
    return GRACE if tree.grace is None else tree.grace


class Termination:
    """The end of a process tree: each process gets SIGTERM, and SIGKILL if it is still there after its grace.

    That is *grace*, where it is given, or else the tree's.

    It does not wait by itself: call `advance` again and again, and do other things meanwhile.
    """

    def __init__(self, tree: ProcessTree, *, grace: float | None = None) -> None:
        self.had_to_kill = False
        self.terminated: list[str] = []  # what got SIGTERM, for people
        self.remaining: list[str] = []  # what could not be ended, for people
        self._tree = tree
        self._kill_at = time.monotonic() + (find_grace(tree) if grace is None else grace)
        self._look_at = 0.0
        self._pidfds: dict[int, int | None] = {}  # of what got SIGTERM, by process ID; None where the system has none

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self) -> bool:
        """Do what is due now; False once nothing is left, or only what cannot be ended."""
        now = time.monotonic()
        if now < min(self._look_at, self._kill_at) and any(map(_is_running, self._pidfds)):
            return True
        members = self._tree.members()
        # Where there are thousands of processes, looking at them all must not be all we do.
        self._look_at = now + max(LOOK_INTERVAL, LOOK_SHARE * (time.monotonic() - now))
        for pid in members:
            self._terminate(pid)
        if members and now >= self._kill_at:
            self.had_to_kill = True
            for pid in members:
                self._signal(pid, signal.SIGKILL)
        if members and now >= self._kill_at + KILL_WAIT:
            self.remaining = [describe_process(pid) for pid in members]
            return False
        return bool(members)

    def wait(self, seconds: float) -> None:
        """Return when one of them has ended, or after *seconds*."""
        poll = select.poll()
        for descriptor in self._pidfds.values():
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)

    def finish(self) -> None:
        """Wait until nothing is left that can be ended."""
        while self.advance():
            self.wait(LOOK_INTERVAL)

    def kill(self) -> None:
        """Kill what is left, without further grace, and wait until it is gone."""
        self._kill_at = min(self._kill_at, time.monotonic())
        self.finish()

    def close(self) -> None:
        for descriptor in self._pidfds.values():
            if descriptor is not None:
                os.close(descriptor)
        self._pidfds.clear()

    def _terminate(self, pid: int) -> None:
        known = self._pidfds.get(pid)
        if pid in self._pidfds:
            if known is None or not _has_ended(known):
                return
            os.close(known)  # another process has this number by now
            del self._pidfds[pid]
        descriptor = _pidfd(pid)
        # From here on the number cannot become another process's unseen, so look once more which one it is.
        if not self._tree.has(pid):
            if descriptor is not None:
                os.close(descriptor)
            return
        self._pidfds[pid] = descriptor
        self.terminated.append(describe_process(pid))
        self._signal(pid, signal.SIGTERM)
        self._signal(pid, signal.SIGCONT)  # a stopped process would not get the SIGTERM

    def _signal(self, pid: int, number: signal.Signals) -> None:
        descriptor = self._pidfds.get(pid)
        with suppress(ProcessLookupError, PermissionError):
            if descriptor is not None:
                signal.pidfd_send_signal(descriptor, number)
            elif pid in self._pidfds:
                os.kill(pid, number)


def become_subreaper() -> None:
    """Adopt every descendant that loses its parent (Linux), so that none gets out of sight."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_adopted(*, but: int) -> None:
    """Reap the adopted processes that have ended, up to the child *but*, whose exit status its starter asks for."""
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != but:
            os.waitpid(ended.si_pid, 0)


def find_lock_holders(path: Path, *, among: Iterable[int] | None = None) -> list[int]:
    """Return the processes that hold an exclusive flock of the file *path*: those that locked it or inherited it."""
    try:
        wanted = path.stat()
    except OSError:
        return []
    return [pid for pid in (_process_ids() if among is None else among) if _holds_lock(pid, wanted)]


def describe_process(pid: int) -> str:
    """Return a process as people know it: `sleep (process 123)`."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="backslashreplace").strip()
    except OSError:
        name = ""
    return f"{name or '?'} (process {pid})"


def _process_ids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _parent_and_group(pid: int) -> tuple[int, int] | None:
    """Return the parent and the process group of *pid*; None for one that has ended, a zombie too."""
    try:
        # The name stands in parentheses and may hold some itself (proc_pid_stat(5)).
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    threads = int(fields[17])  # the first thread may have ended and left the others at work
    if fields[0] in b"XZ" and threads <= 1:
        return None
    return int(fields[1]), int(fields[2])


def _is_running(pid: int) -> bool:
    return _parent_and_group(pid) is not None


def _is_marked(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or it is another user's
        return False
    return f"{RUN_ID_VARIABLE}={mark}".encode() in environment.split(b"\0")


def _descendants(ancestor: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    newest = {ancestor}
    while newest:
        newest = {pid for pid, parent in parents.items() if parent in newest and pid not in found}
        found |= newest
    return found


def _holds_lock(pid: int, wanted: os.stat_result) -> bool:
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), wanted):
                    # A process that only looks whether it is held shares it for a moment.
                    said = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
                    if any("FLOCK" in line and "WRITE" in line for line in said.splitlines()):
                        return True
    except OSError:
        return False
    return False


def _pidfd(pid: int) -> int | None:
    """Return a descriptor that means this process and never another; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _has_ended(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
