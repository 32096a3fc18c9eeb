"""Connections by name that are built when somebody asks for one, and what is asked of all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from connrunner.core import schedules
from connrunner.core.model import Connection, Keep, Manual

# Switched off; says `keep`; goes `after` others; is due only when somebody asks; what it does, if it is no command.
OFF, LIMITED, BEHIND, MANUAL, IMPORT, EXPORT = "o", "k", "a", "m", "i", "e"


def traits_of(connection: Connection) -> str:
    """Return what can be asked of all connections without building them: a letter for each."""
    found = {OFF: not connection.enabled, LIMITED: connection.keep != Keep(), BEHIND: bool(connection.after)}
    found[MANUAL] = isinstance(connection.schedule, Manual)
    found |= {IMPORT: connection.kind == "import", EXPORT: connection.kind == "export"}
    return "".join(letter for letter, holds in found.items() if holds)


class ConnectionIndex(Mapping[str, Connection]):
    """Connections of which few are asked for, and those of *built*."""

    def __init__(
        self,
        traits: Mapping[str, str],
        build: Callable[[str], Connection],
        read_schedule: Callable[[str], Mapping[str, Any]],
        built: Mapping[str, Connection],
    ) -> None:
        """Take what *build* and *read_schedule*, the document of its schedule, return for each name in *traits*."""
        self._build, self._read_schedule, self._built = build, read_schedule, dict(built)
        self._traits = dict(sorted({**traits, **{name: traits_of(one) for name, one in built.items()}}.items()))

    def __getitem__(self, name: str) -> Connection:
        if (known := self._built.get(name)) is not None:
            return known
        if name not in self._traits:
            raise KeyError(name)
        self._built[name] = made = self._build(name)
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._traits

    def __iter__(self) -> Iterator[str]:
        return iter(self._traits)

    def __len__(self) -> int:
        return len(self._traits)

    def read_schedule(self, name: str) -> Mapping[str, Any]:
        """Return the document of the schedule of *name*; the connection is not built for it."""
        known = self._built.get(name)
        return self._read_schedule(name) if known is None else schedules.as_document(known.schedule)

    def read_traits(self, name: str) -> str:
        """Return the traits of *name*, a letter each; none when there is no such connection."""
        return self._traits.get(name, "")

    @cached_property
    def lanes(self) -> frozenset[str]:
        """The lanes of all of them; what is built to see that is not kept."""
        return frozenset((self._built.get(name) or self._build(name)).lane for name in self)

    def find(self, trait: str) -> list[str]:
        """Return the names of those that have *trait*."""
        return [name for name, letters in self._traits.items() if trait in letters]


def find_with(connections: Mapping[str, Connection], trait: str) -> Collection[str]:
    """Return the names of those that have *trait*, one of this module; none is built that need not be."""
    if isinstance(connections, ConnectionIndex):
        return connections.find(trait)
    return [name for name, one in connections.items() if trait in traits_of(one)]


def find_lanes(connections: Mapping[str, Connection]) -> frozenset[str]:
    """Return the lanes of all *connections*; of an index, those that are built for it do not stay in memory."""
    if isinstance(connections, ConnectionIndex):
        return connections.lanes
    return frozenset(one.lane for one in connections.values())


def read_traits(connections: Mapping[str, Connection], name: str) -> str:
    """Return the traits of *name* among *connections*, a letter each; none when there is no such connection."""
    if isinstance(connections, ConnectionIndex):
        return connections.read_traits(name)
    return traits_of(connections[name]) if name in connections else ""


def has_trait(connections: Mapping[str, Connection], name: str, trait: str) -> bool:
    """Tell whether there is *name* among *connections*, and has *trait*, one of this module."""
    return trait in read_traits(connections, name)
