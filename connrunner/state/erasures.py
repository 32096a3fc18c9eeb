"""
People erased from the profile store: one at a time, and recorded in the journal once that is done.

The record says when, by whom and how much, and no value. It is written down in `erasing.json` before the new store
takes its place, with the inode of that file; so whoever comes later knows, after a crash, whether it did.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connrunner.state import locks
from connrunner.state.folder import StateFolder, recording
from connrunner.state.journal import LONGEST, Journal
from connrunner.text.files import replace_file
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular

LOCK = "erase"
DONE = -1  # stands for the inode when the store is no file, and the erasure is done
NOTE = 64 * 1024  # bytes of the noted record
WAIT = 5.0  # seconds for another erasure


@contextmanager
def hold_erasure(folder: StateFolder, journal: Journal, *, wait: float = WAIT) -> Iterator[Path]:
    """
    Yield a folder for the new store, on the file system of the old one; at the end the erasure is in the journal.

    What a killed one left is settled first. BusyError when another process is at it.
    """
    with locks.hold_lock(folder, LOCK, wait=wait):
        _settle(folder, journal)
        with recording(_scratch(folder)):
            _scratch(folder).mkdir(mode=0o700)
        try:
            yield _scratch(folder)
        finally:
            _settle(folder, journal)


def note_erasure(folder: StateFolder, record: Mapping[str, Any], *, inode: int) -> None:
    """Write down *record*, with its `id`, before the store in the file with *inode* takes its place."""
    with recording(_note(folder)):
        replace_file(_note(folder), json.dumps({"inode": inode, "record": record}).encode() + b"\n", suffix="new")


def settle_erasure(folder: StateFolder, journal: Journal) -> None:
    """Bring what a killed erasure left to its end; BusyError when one is at work."""
    if any(path.exists() for path in (_note(folder), _scratch(folder), *_unfinished(folder))):
        with locks.hold_lock(folder, LOCK, wait=0):
            _settle(folder, journal)


def _settle(folder: StateFolder, journal: Journal) -> None:
    """Record the noted erasure if its store is in its place, and remove what is left of it."""
    noted = _read_note(folder)
    if noted is not None and (noted["inode"] == DONE or _is_in_place(folder, noted["inode"])):
        with locks.hold_state_lock(folder):
            journal.open()
            if json.dumps(noted["record"]["id"]).encode() not in read_regular(folder.journal, LONGEST):
                journal.append(noted["record"])
    with recording(folder.root):
        for path in (_note(folder), *_unfinished(folder)):
            path.unlink(missing_ok=True)
        if _scratch(folder).exists():
            shutil.rmtree(_scratch(folder))


def _is_in_place(folder: StateFolder, inode: int) -> bool:
    return folder.profiles.exists() and folder.profiles.stat().st_ino == inode


def _read_note(folder: StateFolder) -> dict[str, Any] | None:
    try:
        noted: dict[str, Any] = parse_json(read_regular(_note(folder), NOTE))
        return noted if {"inode", "record"} <= noted.keys() and "id" in noted["record"] else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _note(folder: StateFolder) -> Path:
    return folder.root / "erasing.json"


def _unfinished(folder: StateFolder) -> tuple[Path, ...]:
    """Return what a killed erasure may have left of its files: written beside them, and never put in place."""
    return folder.root / ".erasing.json.new", folder.root / ".erasure.key.new"


def _scratch(folder: StateFolder) -> Path:
    return folder.spool / "erasure"
