"""
What every place where runs can live has to be able to do: the contract that `tests/test_executors.py` holds each to.

A run is started once. Who looks after it may be killed at any moment, so each call may come a second time, from another
process: what is started already is not started again, what has ended already is not asked to end.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from connrunner.core.model import Result
from connrunner.lazy_dataclasses import dataclass


class Lock(Protocol):
    """A lock file of the state, as far as a process of this machine has to hold it or look at it."""

    path: Path

    @property
    def descriptor(self) -> int:
        """What is inherited."""

    def take(self) -> bool:
        """Take it if it is free; True when it is held now."""

    def release(self) -> None:
        """Close this process's copy."""

    @property
    def is_in_place(self) -> bool:
        """False when the file that we hold was deleted or replaced."""

    @property
    def is_busy(self) -> bool:
        """True while a process holds it."""


class RemoteLog(Protocol):
    """The log of a run, for those whose processes cannot write it where we read it."""

    def read_last_line(self) -> int:
        """Return the number of the last line that was copied; 0 when none was."""

    def copy(self, line: int, event: Mapping[str, Any]) -> None:
        """Add *event*, which is line *line* of what the run says elsewhere."""

    def write_place(self, place: Mapping[str, str]) -> None:
        """Add where the run lives now, or why it waits there."""

    def write_end(self, event: Mapping[str, Any]) -> None:
        """Add how the run ended, durably."""

    def close(self) -> None:
        """Give back what it holds open."""


class HandoverRecord(Protocol):
    """What is durable of a run that lives elsewhere."""

    @property
    def is_submitted(self) -> bool:
        """True when its place has taken it over: it is never handed over again."""

    def note_submitted(self) -> None:
        """Make durable that its place has taken it over."""

    def remove(self) -> None:
        """Take it away; the end of the run is recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A run, as it is handed over."""

    id: str  # names it wherever it lives: letters, digits and -, at most 63, of no other run ever
    job: Mapping[str, Any]  # what its worker takes from standard input; it holds no secret, only references
    settings: Mapping[str, Any]  # what `executor` says of the place; empty for this machine
    mark: str  # what every process of it carries in its environment
    grace: int  # seconds that its processes have to end
    timeout: int  # seconds
    lane: Lock  # held by us, unless it is adopted
    alive: Lock  # held by its worker alone
    log: RemoteLog
    handover: HandoverRecord


class Worker(Protocol):
    """One run that was started, wherever it lives."""

    outlives_us: bool  # whether it goes on when the connrunner that looks after it is told to end

    @property
    def is_alive(self) -> bool:
        """Tell whether its own process works, or may: where that cannot be seen, it may."""

    def end_leftovers(self, *, grace: float | None) -> bool:
        """End what it left behind; True once nothing of it lives, or only what cannot be ended (`left`).

        Call it again and again once it is not alive. *grace* is in seconds; None: its own.
        """

    @property
    def left(self) -> list[str]:
        """What of it lives on though everything was tried, for people."""

    @property
    def exit_status(self) -> int | None:
        """How its process ended: the exit status, or minus the signal's number; None when that is not known."""

    @property
    def verdict(self) -> Result | None:
        """How the run went when it did not come to say it itself, where its place knows."""

    def tell(self, number: signal.Signals) -> None:
        """Ask it to end (SIGTERM), or end it (SIGKILL)."""

    def give_up(self) -> None:
        """Believe a person who says that nothing of it lives, when that cannot be seen."""

    def forget(self) -> None:
        """Take away what its place keeps of it; its end is recorded."""

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when it ends, where there is one."""

    def close(self) -> None:
        """Let go of it; it goes on living."""


class Executor(Protocol):
    """A place where runs can live."""

    def start(self, task: Task) -> Worker:
        """Start *task*, whose lane we hold. OSError when no process can be started."""

    def adopt(self, task: Task) -> Worker:
        """Look after *task*, which a connrunner that died was about to start, or has started."""

    def close(self) -> None:
        """Give back connections; they are made again when they are needed."""
