"""Which connections `connrunner run` runs: what was named, and what of it cannot run now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from connrunner.answers.connection_filter import ConnectionFilter, is_pattern
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.model import Command, Connection
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text import words

LeftOut = Literal[
    "it is switched off",
    "its file has problems",
    "it runs a program, and only the program knows what it would do",
]
OFF_HINT = "set `enabled: true` in its file, or run it once with --force"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunChoice:
    """The connections to run, by name, and those that a pattern, label or owner fits and that do not run."""

    connections: tuple[Connection, ...]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)

    @property
    def is_incomplete(self) -> bool:
        """True when one was meant that cannot run: being switched off is no such trouble."""
        return "its file has problems" in self.left_out.values()


def choose_runs(
    view: WorkspaceView, choice: ConnectionFilter, *, force: bool = False, dry_run: bool = False
) -> RunChoice:
    """Return what *choice* means, with *force* those that are switched off, too.

    What is named in full has to be able to run: ArgumentError or WorkspaceError says why it is not. What is only fitted
    is left out then. ArgumentError when nothing is left, or nothing was chosen.
    """
    if not choice:
        hint = "name connections, or choose them with a pattern, --label or --owner"
        raise ArgumentError("nothing is named", hint=hint)
    declared = [*view.workspace.connections, *view.workspace.broken]
    named = {name for name in choice.names if not is_pattern(name)}
    for name in sorted(named):
        view.connection(name)
    for pattern in choice.names:
        if pattern not in named and not ConnectionFilter(names=(pattern,)).select(view, declared):
            raise ArgumentError(f"no connection fits {pattern!r}; there are {words.listed(declared[:8]) or 'none'}")
    found: list[Connection] = []
    left_out: dict[str, LeftOut] = {}
    for name in choice.select(view, declared):
        reason = _why_not(view, name, force=force or (dry_run and name in named), dry_run=dry_run)
        if reason is None:
            found.append(view.workspace.connections[name])
        elif name not in named:
            left_out[name] = reason
        else:
            raise ArgumentError(f"{name}: {reason}", hint=OFF_HINT if reason == "it is switched off" else "")
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        if not reasons:
            raise ArgumentError("no connection fits all that was asked for")
        raise ArgumentError(f"none can run: {reasons}", hint="" if force else OFF_HINT)
    return RunChoice(connections=tuple(found), left_out=left_out)


def _why_not(view: WorkspaceView, name: str, *, force: bool, dry_run: bool) -> LeftOut | None:
    connection = view.workspace.connections.get(name)
    if connection is None:
        return "its file has problems"
    if not (connection.enabled or force):
        return "it is switched off"
    if dry_run and isinstance(connection.work, Command):
        return "it runs a program, and only the program knows what it would do"
    return None
