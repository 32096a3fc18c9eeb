"""What a scheduler of other machines is asked, whichever it is: six calls, each of which may come a second time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, Protocol

from connrunner.executors.contract import Task
from connrunner.lazy_dataclasses import dataclass


class EngineError(OSError):
    """The scheduler did not do what it was asked for; in its own words, for people."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.strerror = str(self)
        self.message, self.hint = message, hint


class TransientError(EngineError):
    """It may do it later: it cannot be reached, is busy, or is out of quota."""


class RejectedError(EngineError):
    """It never will: it forbids it, or what was asked for is wrong."""


class RunPhase(StrEnum):
    QUEUED = "queued"  # it waits there, and has not begun
    RUNNING = "running"
    LOST = "lost"  # it may live, and cannot be seen
    ENDED = "ended"  # nothing of it lives any more
    ABSENT = "absent"  # the engine knows nothing of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What an engine says of one run."""

    phase: RunPhase
    place: str = ""  # where it lives, for people: `pod x on node n1`
    reason: str = ""  # why it waits, is lost or ended, in the engine's words
    exit_status: int | None = None  # minus the signal's number, when a signal ended it
    is_out_of_memory: bool = False
    is_hopeless: bool = False  # it will never begin as it is: its image cannot be pulled
    is_refused: bool = False  # it found that another process had the run already
    last_words: Mapping[str, Any] | None = None  # the event with which the run said how it ended


class Engine(Protocol):
    """A scheduler of other machines. Each call raises TransientError or RejectedError, and nothing else."""

    name: str  # for people

    def submit(self, task: Task) -> None:
        """Hand *task* over. One that it has already is success."""

    def poll(self, ids: Collection[str]) -> Mapping[str, Observed]:
        """Return what it knows of each of *ids*: by one call that lists, however many there are."""

    def cancel(self, task_id: str, *, kill: bool) -> None:
        """Ask a run to end within its grace, or *kill* it. One that it does not know is success."""

    def read_log(self, task_id: str, after: int) -> Iterable[tuple[int, Mapping[str, Any]]]:
        """Yield the events of a run with numbers above *after*, in their order, as far as they can be had now."""

    def withdraw(self, task_id: str) -> bool:
        """See to it that a run which the engine does not have can never begin; False when it may have begun."""

    def forget(self, task_id: str) -> None:
        """Take away all that it keeps of a run whose end is recorded. One that it does not know is success."""

    def close(self) -> None:
        """Give back connections; they are made again when they are needed."""
