"""Which time-zone database counts [R7]: the newer one of the system's and of the package `tzdata`, in every process.

`zoneinfo` would read the system's first, however old it is. PYTHONTZPATH, which a person sets, stays that person's
choice.
"""

from __future__ import annotations

import os
import zoneinfo
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

LIST = "tzdata.zi"  # the rules of a database as text; its first line says the version
CHOSEN_BY_HAND = "PYTHONTZPATH" in os.environ
SEARCHED = zoneinfo.TZPATH  # as Python has it before we change anything


class ZoneDatabase(NamedTuple):
    """A time-zone database on this machine."""

    name: str  # in words: whose it is
    version: str  # such as 2026b; empty when it does not say
    folder: str


@cache
def choose() -> ZoneDatabase:
    """Make the newer database the one that `zoneinfo` reads, and return it. Before the first zone is made."""
    system, package = find_system(), find_package()
    if CHOSEN_BY_HAND:
        return system or package
    if system is not None and system.version >= package.version:
        return system
    zoneinfo.reset_tzpath(())
    zoneinfo.ZoneInfo.clear_cache()
    return package


def find_system() -> ZoneDatabase | None:
    """Return the database in the folders that Python searches; None when there is none."""
    for folder in SEARCHED:
        # Without its list a database has no version that anybody knows, and counts for older than ours.
        if os.path.isfile(os.path.join(folder, LIST)) or os.path.isdir(os.path.join(folder, "Etc")):
            name = "of PYTHONTZPATH" if CHOSEN_BY_HAND else "of the system"
            return ZoneDatabase(name, _version(os.path.join(folder, LIST)), folder)
    return None


@cache
def find_package() -> ZoneDatabase:
    """Return the database of the package `tzdata`."""
    import tzdata

    folder = os.path.join(os.path.dirname(tzdata.__file__), "zoneinfo")
    return ZoneDatabase("of the package tzdata", tzdata.IANA_VERSION, folder)


def version() -> str:
    """Return the version of the database that counts, such as `2026b`; empty when it does not say."""
    return choose().version


def files() -> tuple[str, ...]:
    """Return the files by which a change of the database shows, of the one that counts and of the others."""
    return tuple(os.path.join(folder, LIST) for folder in (*SEARCHED, find_package().folder))


def describe() -> tuple[object, ...]:
    """Return what differs when another database counts, or one has changed: a zone may be gone, or new."""
    listed = os.path.join(find_package().folder, "..", "zones")  # the names that there are: see `list_zones`
    return choose(), *map(_look, (*files(), listed))


def _look(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    return None


def find_differing(names: Iterable[str], now: datetime) -> list[str]:
    """Return those zones of *names* on which the system's database and ours differ in the two years from *now* on."""
    system, package = find_system(), find_package()
    if system is None:
        return []
    days = [now + timedelta(days=day) for day in range(730)]
    return [name for name in sorted(set(names)) if _offsets(system, name, days) != _offsets(package, name, days)]


def _offsets(database: ZoneDatabase, name: str, instants: Iterable[datetime]) -> list[timedelta | None] | None:
    """Return what *name* is ahead of UTC at each of *instants*; None when *database* has no such zone."""
    try:
        with open(os.path.join(database.folder, name), "rb") as file:
            zone = zoneinfo.ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return None
    return [at.astimezone(zone).utcoffset() for at in instants]


def _version(path: str) -> str:
    with suppress(OSError), open(path, encoding="ascii", errors="replace") as lines:
        return lines.readline(200).removeprefix("# version").strip()
    return ""
