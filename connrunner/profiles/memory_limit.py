"""
How much memory DuckDB may take before it writes to the disk: half of what this process may have.

That is the limit of its control group or of a group above it (docs.kernel.org: `memory.max` of version 2,
`memory.limit_in_bytes` of version 1; a container sees its own as the topmost one), or, without any, what is installed.
The other half is for what DuckDB does not count, for Python, and for whatever else runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

SHARE = 2  # one of so many parts is DuckDB's
_FILES = {"": ("", "memory.max"), "memory": ("memory", "memory.limit_in_bytes")}  # by controllers: where, and which


def choose_memory_limit(root: Path = Path("/")) -> str:
    """Return what DuckDB is to take for its `memory_limit`; *root* is where `proc` and `sys` are mounted."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{min([installed, *_read_group_limits(root)]) // SHARE >> 20}MiB"


def _read_group_limits(root: Path) -> Iterator[int]:
    """Yield the limits, in bytes, of this process's control groups and of those above them."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in groups:
        _, controllers, group = line.split(":", 2)
        place, name = next((_FILES[one] for one in controllers.split(",") if one in _FILES), ("", ""))
        path = PurePosixPath(group)
        for folder in (path, *path.parents) if name else ():
            with suppress(OSError, ValueError):  # absent in the topmost group, and `max` where there is no limit
                yield int((root / "sys/fs/cgroup" / place / folder.relative_to("/") / name).read_text())
