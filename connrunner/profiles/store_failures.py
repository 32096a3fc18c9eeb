"""
What an error of DuckDB means for a person: what is full is called full, and what is damaged is said to be so.

Only a store that was tried to be opened is called damaged: anything else is no reason to move it away. Its words are
for the store alone: an error about another file says nothing about it.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import duckdb

from connrunner.errors import RunError
from connrunner.profiles.checkpoints import find_log
from connrunner.profiles.duckdb_words import describe_error, find_reason
from connrunner.profiles.whole_store import BEGIN_ANEW

_FULL = re.compile(r"No space left|Disk quota exceeded|File too large")
_DAMAGED = re.compile(
    r"not a valid DuckDB|enough bytes|[Cc]orrupt|checksum|Serialization Error|INTERNAL Error|WAL file", re.DOTALL
)
TOO_SHORT = "it is too short, as after a copy or a write that broke off"
# What is wrong with the content of a store, in the order in which it is looked for.
_DAMAGES = (
    ("not a valid DuckDB", "it does not begin as a store does"),
    ("enough bytes", TOO_SHORT),
    ("WAL file", "its log, beside it, cannot be brought into it"),
    ("checksum", "a checksum in it is wrong"),
)
_REFUSED = re.compile(r"Permission denied|Input/output error|Read-only file system|Is a directory")
_FILE = re.compile(r'(?:file|directory) "([^"\n]+)"')
# What DuckDB says of its own file without naming it.
_OF_THE_STORE = re.compile(r"Corrupt database file|database has been invalidated|[Cc]heckpoint", re.DOTALL)


def explain_opening(error: duckdb.Error, path: Path) -> RunError:
    """Return why the store in the file *path* cannot be opened."""
    if _FULL.search(str(error)):
        return _full_disk(error, path)
    if is_damage(error):
        return _damaged_store(error, path)
    return RunError(
        f"the profile store {path} cannot be opened{_because(error)}",
        hint="see that connrunner may read and write it, and that its disk works",
        code="store-unusable",
    )


def _damaged_store(error: duckdb.Error, path: Path) -> RunError:
    what = next((words for text, words in _DAMAGES if text in str(error)), "its content is not that of a store")
    return make_damaged_error(path, what)


def make_damaged_error(path: Path, what: str) -> RunError:
    """Return the error for a store in the file *path* that is damaged, and says *what* is wrong with it."""
    return RunError(
        f"the profile store {path} is damaged: {what}",
        hint=f"put back a copy of it; to begin anew without its profiles and consents: `{BEGIN_ANEW}`",
        code="store-unusable",
    )


def _because(error: duckdb.Error) -> str:
    """Return the reason that DuckDB names, behind a colon: that a file cannot be read has been said."""
    if reason := find_reason(error):
        return f": {reason}"
    return "" if isinstance(error, duckdb.IOException) else f": {describe_error(error)}"


def is_damage(error: duckdb.Error) -> bool:
    """Return whether *error*, raised while the store was opened, says that its file is damaged."""
    return bool(_DAMAGED.search(str(error))) and not _REFUSED.search(str(error))


def explain_failure(error: duckdb.Error, path: Path) -> RunError | None:
    """Return what became of work on the open store in the file *path*; None when it is a mistake of ours."""
    text = str(error)
    if _FULL.search(text):
        return _full_disk(error, path)
    if isinstance(error, duckdb.OutOfMemoryException):
        return RunError(
            f"the profile store needs more memory or temporary disk space than it may use: {describe_error(error)}",
            hint="free disk space in the state folder",
            code="out-of-memory",
        )
    if str(path) in text and "enough bytes" in text:  # the end of the file, which no full or broken disk gives
        return _damaged_store(error, path)
    if str(path) in text or _OF_THE_STORE.search(text):
        return RunError(
            f"the profile store {path} cannot be read or written{_because(error)}",
            hint="`connrunner doctor` tries to open it and says whether it is damaged",
            code="store-unusable",
        )
    if isinstance(error, duckdb.IOException):
        return RunError(f"a file cannot be read or written: {_file_of(error)}", code="operating-system")
    return None


def describe_checkpoint(error: duckdb.Error, path: Path) -> str:
    """Return what is to be said when the log of the store could not be brought into its file: nothing is lost."""
    log = find_log(path)
    why = _full_disk(error, path).message if _FULL.search(str(error)) else describe_error(error)
    return f"all changes are durable in {log}, but could not be brought into the profile store yet: {why}"


def _full_disk(error: duckdb.Error, path: Path) -> RunError:
    """Return the error for a full disk: which one, and how much is needed as far as that is known."""
    named = _FILE.search(str(error))
    folder = Path(named[1]).parent if named and Path(named[1]).is_absolute() else path.parent
    if "File too large" in str(error):
        what, fix = f"a file in {folder} may not grow any more", "raise the limit on the size of files (`ulimit -f`)"
    elif "quota" in str(error):
        what, fix = f"the disk quota is used up in {folder}", "make room there, or raise the quota"
    else:
        free = f"{shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free" if folder.is_dir() else "nothing is free"
        what, fix = f"the disk is full in {folder}: {free}", "make room there"
    log = find_log(path)
    needed = log.stat().st_size if log.exists() else 0
    room = f"the profile store needs about {max(1, round(needed / 2**20)):,} MiB more" if needed else ""
    return RunError("; ".join(filter(None, (what, room))), hint=f"{fix}; the profile store is sound", code="disk-full")


def _file_of(error: duckdb.Error) -> str:
    """Return the name of the file that *error* is about, and nothing else of a text that may quote data."""
    named = _FILE.search(str(error))
    return os.path.basename(named[1]) if named else "DuckDB does not say which"  # noqa: PTH119
