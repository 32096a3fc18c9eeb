"""Which connections a question is about: names, patterns, owner, labels."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionFilter:
    """Which connections are meant."""

    names: tuple[str, ...] = ()  # names or patterns; all when empty
    owner: str = ""
    labels: tuple[tuple[str, str | None], ...] = ()  # None: any value of the label

    def __bool__(self) -> bool:
        return bool(self.names or self.owner or self.labels)

    def select(self, view: WorkspaceView, names: Iterable[str]) -> list[str]:
        """Return those of *names* that are chosen, sorted."""
        return sorted(name for name in names if self.includes(view, name))

    def includes(self, view: WorkspaceView, name: str) -> bool:
        """Tell whether *name* is chosen. Owner and labels are those of sound connections only."""
        if self.names and not any(fnmatchcase(name, pattern) for pattern in self.names):
            return False
        if not (self.owner or self.labels):
            return True
        connection = view.workspace.connections.get(name)
        if connection is None or (self.owner and connection.owner != self.owner):
            return False
        labels = connection.labels
        return all(key in labels and value in (None, labels[key]) for key, value in self.labels)


ALL = ConnectionFilter()


def parse_label(words: str) -> tuple[str, str | None]:
    """Return key and value of `KEY=VALUE`; the value of `KEY` is None, any."""
    key, equals, value = words.partition("=")
    if not key:
        raise ArgumentError(f"--label takes KEY or KEY=VALUE, not {words!r}")
    return key, value if equals else None


def list_named(view: WorkspaceView, names: Iterable[str]) -> list[str]:
    """Return each connection, declared or remembered, that *names* name or fit, sorted; all without one.

    ArgumentError for a name that is not known, and for a pattern that fits none.
    """
    known = view.known_names()
    found: set[str] = set()
    for name in names:
        fitting = [one for one in known if fnmatchcase(one, name)]
        if not fitting and is_pattern(name):
            some = ", ".join(known[:8]) or "none"
            raise ArgumentError(f"no connection fits {name!r}; there are {some}{', ...' if len(known) > 8 else ''}")
        found.update(fitting or [view.require(name)])
    return sorted(found) if found else known


def is_pattern(name: str) -> bool:
    """Tell whether *name* stands for any number of connections."""
    return any(char in name for char in "*?[")
