"""The YAML of a connection at a commit: its lines, and what changed since another commit."""

from __future__ import annotations

import functools
from difflib import unified_diff
from pathlib import Path

from connrunner.config import load
from connrunner.config.documents import places, workspace_file
from connrunner.config.versions import revision
from connrunner.config.versions.revision import CommitSummary
from connrunner.core.model import Run
from connrunner.errors import ConnrunnerError
from connrunner.lazy_dataclasses import dataclass

KEPT = 256  # files at commits that are remembered: git is asked once


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """What the file said, secrets blanked."""

    path: str
    commit: CommitSummary
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class YamlInForce:
    """Which lines of YAML held for a decision, and what changed in them since the run before."""

    file: CommittedFile | None
    unknown: str  # why the file is not known; empty when it is
    is_as_committed: bool  # False when the run worked with something else: files were edited and not committed
    run_before: int | None  # the number of the run that *difference* compares with, if there is one
    difference: tuple[str, ...]  # as `diff -u` writes it


def read_committed(folder: Path, name: str, commit: str | None) -> CommittedFile | None:
    """Return the file of connection *name* as *commit* has it; None when git does not have it."""
    try:
        return _read_committed(folder, name, commit) if commit else None
    except LookupError:
        return None


@functools.lru_cache(maxsize=KEPT)
def _read_committed(folder: Path, name: str, commit: str) -> CommittedFile:
    """Return the file as *commit*, a hash, has it: that never changes. LookupError while git does not have it."""
    path = f"connections/{name}.yaml"
    known = revision.describe_commit(folder, commit)
    text = revision.read_file_at(folder, known.hash, path) if known else None
    if known is None or text is None:
        raise LookupError(commit)
    return CommittedFile(path, known, tuple(places.redact_lines(text, path)))


def read_current(folder: Path, name: str) -> tuple[str, ...]:
    """Return the lines of the file of connection *name* as they are in the folder, secrets blanked."""
    path = f"connections/{name}.yaml"
    try:
        return tuple(
            places.redact_lines(workspace_file.read_workspace_file(str(folder), path).decode(errors="replace"), path)
        )
    except workspace_file.UnreadableFile:
        return ()


def read_in_force(
    folder: Path, name: str, commit: str | None, *, of_run: bool, config: str = "", before: Run | None = None
) -> YamlInForce:
    """Return the file of connection *name* at *commit*.

    For a decision *of_run* also whether they have the fingerprint *config* with which the run worked, and what changed
    since the run *before*.
    """
    file = read_committed(folder, name, commit)
    unknown = ""
    if file is None:
        unknown = "the workspace was in no git repository" if commit is None else f"commit {commit[:12]} is not here"
    earlier = None
    if file is not None and of_run and before is not None:
        earlier = read_committed(folder, name, before.intent.commit)
    return YamlInForce(
        file=file,
        unknown=unknown,
        is_as_committed=not (file and of_run and config) or is_as_committed(folder, name, file.commit.hash, config),
        run_before=before.run if before and earlier else None,
        difference=tuple(compare(earlier, file)) if earlier and file else (),
    )


def is_as_committed(folder: Path, name: str, commit: str, config: str) -> bool:
    """Tell whether the fingerprint *config*, with which a run worked, is that of connection *name* at *commit*."""
    try:
        return _fingerprint_at(folder, name, commit) == config
    except ConnrunnerError:
        return False


@functools.lru_cache(maxsize=KEPT)
def _fingerprint_at(folder: Path, name: str, commit: str) -> str:
    """Return the fingerprint of connection *name* at *commit*, a hash; empty when it has none."""
    connection = load.load_commit(folder, commit, only=name).connections.get(name)
    return connection.fingerprint if connection else ""


def compare(before: CommittedFile, after: CommittedFile) -> list[str]:
    """Return the lines that differ, as `diff -u` writes them; nothing when none does."""
    names = (f"{before.path} at {before.commit.hash[:12]}", f"{after.path} at {after.commit.hash[:12]}")
    return list(unified_diff(before.lines, after.lines, *names, n=1, lineterm=""))
