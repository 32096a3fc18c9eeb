"""Things that stand in the state folder where a file of ours belongs, and are none: pipes, links, devices, folders.

What is only a note, a copy or a cache gives way to them: they are renamed, or thrown away where anybody may throw away
what is there. What only a person can replace (the journal, histories, locks, the store) is an error where it is opened.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from connrunner.state import requests
from connrunner.state.folder import StateFolder
from connrunner.text.files import set_aside
from connrunner.text.regular_files import NotAFileError, refuse_irregular

NOTES = (
    "last-tick",
    "heartbeat",
    "retention.json",
    "records.checked",
    "erasing.json",
    "journal.snapshot",
    "journal.damaged",
    "damage.untold",
)


def set_aside_misplaced(folder: StateFolder) -> list[tuple[Path, Path]]:
    """Make way for our notes, requests and caches; return what was renamed, from where to where.

    Hold the state lock.
    """
    for path in list_irregular(folder.compiled):
        _discard(path)
    moved = [(path, set_aside(path)) for path in _list_misplaced_notes(folder)]
    return moved + requests.set_aside_unreadable(folder)


def _list_misplaced_notes(folder: StateFolder) -> Iterator[Path]:
    for path in (*(folder.root / name for name in NOTES), *folder.decisions.glob("*.jsonl.gz")):
        try:
            refuse_irregular(path)
        except NotAFileError:
            yield path


def list_irregular(folder: Path) -> list[Path]:
    """Return what stands in *folder* and is no file; nothing when it cannot be read."""
    with suppress(OSError), os.scandir(folder) as scan:
        return [Path(entry.path) for entry in scan if not entry.is_file(follow_symlinks=False)]
    return []


def _discard(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
