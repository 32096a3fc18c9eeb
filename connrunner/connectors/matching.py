"""Which files does a path with wildcards name, on whatever machine, and what is there when it names none?"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from connrunner.errors import RunError
from connrunner.text.words import plural, similar

WILDCARD = re.compile(r"[*?\[]")
UNFINISHED = (".part", ".filepart", ".tmp")  # how the names of files end that are still being written

MOST_NAMES = 500_000  # that a partner may list in one run: each is remembered until the matching ones are known

Folder = TypeVar("Folder")
Entry = TypeVar("Entry")


class NameBudget:
    """How many names a partner may still list in a run: one that pretends to have files without end fills no memory."""

    def __init__(self) -> None:
        self._left = MOST_NAMES

    def take(self, count: int, where: str) -> None:
        """Count *count* more names that *where*, in words, lists; RunError when they are too many."""
        self._left -= count
        if self._left < 0:
            raise RunError(
                f"{where} lists more than {MOST_NAMES:,} names",
                hint="narrow `path` to one folder, or have what was read moved away: `after: move`",
                code="too-large",
            )


def split(pattern: str) -> tuple[str, list[str]]:
    """Return the folder before the first wildcard, and the parts of *pattern* behind it; the last part without any."""
    parts = pattern.split("/")
    fixed = next((index for index, part in enumerate(parts) if WILDCARD.search(part)), len(parts) - 1)
    folder = "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else ".")
    return folder, [part for part in parts[fixed:] if part]


def fits(name: str, part: str) -> bool:
    """Return whether *name* fits one *part* of a pattern; a hidden name only when the part begins with a dot too."""
    return (part.startswith(".") or not name.startswith(".")) and fnmatch.fnmatchcase(name, part)


def walk(
    folder: Folder,
    parts: Sequence[str],
    *,
    entries: Callable[[Folder], Iterable[tuple[str, Entry]]],
    enter: Callable[[Entry, bool], Folder | None],
) -> Iterator[Entry]:
    """Yield what matches *parts* under *folder*, a file that matches in two ways twice.

    *entries* gives the names in a folder and what they stand for. *enter* gives the folder that an entry is, or None;
    with True also the one that a symbolic link leads to. `**` enters no link: a loop would have no end.
    """
    part, *rest = parts
    for name, entry in entries(folder):
        if not fits(name, part):
            continue
        if part == "**":
            inner = enter(entry, False)
            if inner is not None:
                yield from walk(inner, parts, entries=entries, enter=enter)
            elif not rest:
                yield entry
        elif not rest:
            yield entry
        else:
            inner = enter(entry, True)
            if inner is not None:
                yield from walk(inner, rest, entries=entries, enter=enter)
    if part == "**" and rest:
        yield from walk(folder, rest, entries=entries, enter=enter)


def instead(wanted: str, names: Iterable[str], *, where: str = "it", nothing: str = "the folder is empty") -> str:
    """Return the advice for a pattern, ending in *wanted*, that none of the *names* in its folder fits."""
    names = sorted(names)
    if near := similar(wanted, names, most=3, cutoff=0.5):
        return f"near it: {', '.join(near)}"
    if names:
        return f"{where} has {plural(len(names), 'other')}, like {', '.join(names[:3])}"
    return nothing


def only_left_out(count: int) -> str:
    """Return the advice for a pattern of which all that fits was left out."""
    return f"{count:,} that match are not files to import, see the warnings"
