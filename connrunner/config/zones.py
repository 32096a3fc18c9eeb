"""Which time-zone database is in use [R7]: the one that `zoneinfo` reads first."""

from __future__ import annotations

import os
import zoneinfo


def file() -> str:
    """Return a file that changes with the database: its list of rules."""
    for folder in zoneinfo.TZPATH:
        path = os.path.join(folder, "tzdata.zi")
        if os.path.isfile(path):
            return path
    import tzdata

    return os.path.join(os.path.dirname(tzdata.__file__), "zoneinfo", "tzdata.zi")


def version() -> str:
    """Return the version of the database, such as `2026b`; empty when the file does not say."""
    try:
        with open(file(), encoding="ascii", errors="replace") as lines:
            first = lines.readline()
    except OSError:
        return ""
    return first.removeprefix("# version").strip()
