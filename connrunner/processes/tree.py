"""All that a run started, wherever it went: found by the mark that it carries, and ended with grace."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

MARK = "CONNRUNNER_RUN_ID"  # the variable that every process of a run inherits
GRACE = 10.0  # seconds between asking to end and killing
KILLED = 5.0  # seconds that the kernel gets to end what was killed
LOOK = 0.1  # seconds between two looks for processes that were not there before, at least
SELDOM = 5  # times what a look takes

_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessTree:
    """The processes of a run, or of one program: whoever is one of these, but never this process itself."""

    mark: str  # who has it in the environment that it was started with
    inherit: tuple[int, ...] = ()  # descriptors that each of them is given
    group: int | None = None  # who is in this process group
    below: int | None = None  # who descends from this process
    lock: Path | None = None  # who holds an exclusive flock of this file, by whatever descriptor

    @classmethod
    def new(cls) -> Self:
        """Return a family of its own, with a mark that nobody has."""
        return cls(mark=uuid4().hex)

    def members(self) -> list[int]:
        """Return the process numbers of those that live; a zombie does not."""
        # Twice, before it is believed that nobody is there: one that is just being executed shows no environment.
        return self._look() or self._look()

    def has(self, pid: int) -> bool:
        """Tell whether the process *pid* is one of them now."""
        relatives = _relatives(pid)
        if relatives is None or pid == os.getpid():
            return False
        if relatives[1] == self.group or _is_marked(pid, self.mark):
            return True
        if self.lock is not None and pid in holders(self.lock, among=(pid,)):
            return True
        while self.below is not None and relatives is not None:
            if relatives[0] == self.below:
                return True
            relatives = _relatives(relatives[0])
        return False

    def _look(self) -> list[int]:
        alive = {pid: relatives for pid in _everybody() if (relatives := _relatives(pid))}
        found = {pid for pid, (_, group) in alive.items() if group == self.group or _is_marked(pid, self.mark)}
        if self.below is not None:
            found |= _descendants(self.below, {pid: parent for pid, (parent, _) in alive.items()})
        if self.lock is not None:
            found |= set(holders(self.lock, among=alive))
        return sorted(found - {os.getpid()})


class Termination:
    """The end of a family: each is asked (SIGTERM), and killed after *grace* seconds if it is still there.

    It does not wait by itself: `goes_on` is called again and again by who has other things to do meanwhile.
    """

    def __init__(self, family: ProcessTree, *, grace: float) -> None:
        self.killed = False  # somebody had to be
        self.asked: list[str] = []  # who was there, for people
        self.left: list[str] = []  # who could not be ended
        self._family = family
        self._kill_at = time.monotonic() + grace
        self._look_at = 0.0
        self._told: dict[int, int | None] = {}  # process number -> its pidfd, where there is such a thing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def goes_on(self) -> bool:
        """Do what is due now; False once nobody is left, or only who cannot be ended."""
        now = time.monotonic()
        if now < min(self._look_at, self._kill_at) and any(map(_is_running, self._told)):
            return True
        members = self._family.members()
        # Where there are thousands of processes, looking at them all must not be all we do.
        self._look_at = now + max(LOOK, SELDOM * (time.monotonic() - now))
        for pid in members:
            self._ask(pid)
        if members and now >= self._kill_at:
            self.killed = True
            for pid in members:
                self._signal(pid, signal.SIGKILL)
        if members and now >= self._kill_at + KILLED:
            self.left = [described(pid) for pid in members]
            return False
        return bool(members)

    def wait(self, seconds: float) -> None:
        """Return when one of them has ended, or after *seconds*."""
        poll = select.poll()
        for descriptor in self._told.values():
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)

    def finish(self) -> None:
        """Wait until nobody is left that can be ended."""
        while self.goes_on():
            self.wait(LOOK)

    def hurry(self) -> None:
        """Kill who is left, without further grace, and wait until they are gone."""
        self._kill_at = min(self._kill_at, time.monotonic())
        self.finish()

    def close(self) -> None:
        for descriptor in self._told.values():
            if descriptor is not None:
                os.close(descriptor)
        self._told.clear()

    def _ask(self, pid: int) -> None:
        known = self._told.get(pid)
        if pid in self._told:
            if known is None or not _has_ended(known):
                return
            os.close(known)  # somebody else has this number by now
            del self._told[pid]
        descriptor = _pidfd(pid)
        # From here on the number cannot become another's unseen, so look once more who it is.
        if not self._family.has(pid):
            if descriptor is not None:
                os.close(descriptor)
            return
        self._told[pid] = descriptor
        self.asked.append(described(pid))
        self._signal(pid, signal.SIGTERM)
        self._signal(pid, signal.SIGCONT)  # one that is stopped would not hear of it

    def _signal(self, pid: int, number: signal.Signals) -> None:
        descriptor = self._told.get(pid)
        with suppress(ProcessLookupError, PermissionError):
            if descriptor is not None:
                signal.pidfd_send_signal(descriptor, number)
            elif pid in self._told:
                os.kill(pid, number)


def keep_orphans() -> None:
    """Become the parent of every orphan among our descendants (Linux), so that none gets out of sight."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(*, but: int) -> None:
    """Forget the orphans that have ended, up to the child *but*, whose exit somebody else asks for."""
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != but:
            os.waitpid(ended.si_pid, 0)


def holders(path: Path, *, among: Iterable[int] | None = None) -> list[int]:
    """Return who holds an exclusive flock of the file *path*: its locker, and whoever inherited its descriptor."""
    try:
        wanted = path.stat()
    except OSError:
        return []
    return [pid for pid in (_everybody() if among is None else among) if _locks(pid, wanted)]


def described(pid: int) -> str:
    """Return a process as people know it: `sleep (process 123)`."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="backslashreplace").strip()
    except OSError:
        name = ""
    return f"{name or '?'} (process {pid})"


def _everybody() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _relatives(pid: int) -> tuple[int, int] | None:
    """Return the parent and the process group of *pid*; None for one that has ended, also if nobody has asked how."""
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
    return _relatives(pid) is not None


def _is_marked(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or it is another user's
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def _descendants(ancestor: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    newest = {ancestor}
    while newest:
        newest = {pid for pid, parent in parents.items() if parent in newest and pid not in found}
        found |= newest
    return found


def _locks(pid: int, wanted: os.stat_result) -> bool:
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), wanted):
                    # Somebody who only looks whether it is held shares it for a moment.
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
