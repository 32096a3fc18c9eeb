"""What went wrong, where, and what the reader can do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Problem:
    """One mistake in a file of the workspace, with its place (lines and columns count from 1)."""

    path: str  # relative to the workspace, with forward slashes
    line: int
    column: int
    message: str  # what was found
    hint: str = ""  # what to do about it
    code: str = "invalid"  # a stable kebab-case word: unknown-key, wrong-type, duplicate-key, ...
    source: str = ""  # the line of the file, for the caret
    is_warning: bool = False  # it is sound, and looks like a mistake

    def __str__(self) -> str:
        advice = f"; {self.hint}" if self.hint else ""
        warning = "warning: " if self.is_warning else ""
        return f"{self.path}:{self.line}:{self.column}: {warning}{self.message}{advice}"


class ConnrunnerError(Exception):
    """An error for the person who can act: one message, one remedy, one exit code."""

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ArgumentError(ConnrunnerError):
    """A command was asked for something that does not exist or cannot be."""

    exit_code = 2


class WorkspaceError(ConnrunnerError):
    """The workspace cannot be used; *problems* holds every reason."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", problems: Iterable[Problem] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class PreviewError(WorkspaceError):
    """What a change would do cannot be told; 2, the code of other such errors, would say that there are changes."""

    exit_code = 1


class StateError(ConnrunnerError):
    """The state folder cannot be read or written: nothing that cannot be recorded may start."""

    exit_code = 74


class HistoryError(StateError):
    """The history of one connection cannot be read or written: the others go on."""

    def __init__(self, message: str, *, hint: str = "", connection: str = "") -> None:
        super().__init__(message, hint=hint)
        self.connection = connection


class BusyError(ConnrunnerError):
    """Somebody else holds what is needed; trying again later helps."""

    exit_code = 75


class RunError(ConnrunnerError):
    """A run cannot go on. *code* is a stable word for the reason; *waiting_helps* answers whether to try again."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", code: str = "failed", waiting_helps: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.waiting_helps = waiting_helps
