"""The YAML of a connection at a commit: its lines, and what changed since another commit."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from connrunner.config import load
from connrunner.config.documents import places, workspace_file
from connrunner.config.versions import revision
from connrunner.config.versions.revision import CommitSummary
from connrunner.errors import ConnrunnerError

MOST = 60  # lines that are written out


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """What the file said, secrets blanked."""

    path: str
    commit: CommitSummary
    lines: tuple[str, ...]

    def numbered(self) -> list[str]:
        """Return the lines with their numbers."""
        shown = [f"{number:>4}  {line}" for number, line in enumerate(self.lines[:MOST], 1)]
        if len(self.lines) > MOST:
            shown.append(f"      and {len(self.lines) - MOST} more lines")
        return shown


def then(folder: Path, name: str, commit: str | None) -> CommittedFile | None:
    """Return the file of connection *name* as *commit* has it; None when git does not have it."""
    path = f"connections/{name}.yaml"
    known = revision.commit(folder, commit) if commit else None
    if known is None:
        return None
    said = revision.text(folder, known.hash, path)
    return None if said is None else CommittedFile(path, known, tuple(places.shown(said, path)))


def now(folder: Path, name: str) -> tuple[str, ...]:
    """Return the lines of the file of connection *name* as they stand, secrets blanked."""
    path = f"connections/{name}.yaml"
    try:
        return tuple(places.shown(workspace_file.read(str(folder), path).decode(errors="replace"), path))
    except workspace_file.UnreadableFile:
        return ()


def is_as_committed(folder: Path, name: str, commit: str, config: str) -> bool:
    """Tell whether the fingerprint *config*, with which a run worked, is that of connection *name* at *commit*."""
    try:
        with revision.checkout(folder, commit, only=name) as copy:
            connection = load.load(copy, as_written=True).connections.get(name)
    except ConnrunnerError:
        return False
    return connection is not None and connection.fingerprint == config


def changed(before: CommittedFile, after: CommittedFile) -> list[str]:
    """Return the lines that differ, as `diff -u` writes them; nothing when none does."""
    names = (f"{before.path} at {before.commit.hash[:12]}", f"{after.path} at {after.commit.hash[:12]}")
    return list(unified_diff(before.lines, after.lines, *names, n=1, lineterm=""))
