"""What calls `connrunner tick` every minute: files for cron, systemd and Kubernetes, made for one workspace."""

from __future__ import annotations

import re
from pathlib import Path

from connrunner.core.model import GRACE
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import words

MARGIN = 50  # seconds that a tick has to end beyond the longest grace of a run: it ends its runs first, and mail


@dataclass(frozen=True, kw_only=True, slots=True)
class TickCall:
    """How `tick` is called for one workspace on this machine."""

    program: Path  # the installed `connrunner`
    workspace: Path
    state: Path | None = None  # where it is not what connrunner.yaml says
    environment: Path | None = None  # a file of NAME=value lines: the secrets that `env:` names
    grace: int = GRACE  # seconds, the longest of a run

    def __post_init__(self) -> None:
        for path in (self.program, self.workspace, self.state, self.environment):
            require_one_line(str(path or ""))

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line, one word each."""
        return self.words_of("tick")

    def words_of(self, command: str) -> tuple[str, ...]:
        """Return the command line of *command* for the same workspace."""
        state = ("--state", str(self.state)) if self.state else ()
        return (str(self.program), command, "--workspace", str(self.workspace), *state)

    @property
    def name(self) -> str:
        """A name for units and marks: that of the workspace's folder, without what a unit's name cannot hold."""
        return re.sub(r"[^a-z0-9]+", "-", self.workspace.name.lower()).strip("-") or "workspace"


def require_one_line(word: str) -> str:
    """Return *word* when it can stand in a file of lines; ArgumentError when it could begin a line of its own.

    So can control characters and line separators; those that turn the reading direction or have no letter are refused
    with them, because these files are printed for people, too.
    """
    if all(map(words.is_safe_in_terminal, word)):
        return word
    raise ArgumentError(f"{words.escape(word)!r} has control characters", hint="give it a name on one line")
