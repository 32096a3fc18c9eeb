"""Which commit a folder stands at, read from the repository's own files: starting git costs more than a tick."""

from __future__ import annotations

import re
import time
from pathlib import Path

from connrunner.lazy_dataclasses import dataclass

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_LINKS = 5  # HEAD names a branch; a branch that names a branch is rare already


@dataclass(frozen=True, slots=True)
class RepositoryPlace:
    """Where a repository is: that whose `.git` lies in the folder asked about, or in the nearest one above it."""

    top: Path  # the folder that holds `.git`: what the paths of a commit are relative to
    own: Path  # the folder of HEAD
    shared: Path  # the folder of what all worktrees share: objects, branches, tags
    prefix: tuple[str, ...]  # the names that lead from *top* to the folder asked about


def read_head(folder: Path) -> str | None:
    """Return the commit of HEAD in the git repository that holds *folder*; None without repository or commit."""
    try:
        own = _repository(folder.resolve())
        return None if own is None else _resolve(own, _shared(own), "HEAD")
    except (OSError, UnicodeError):
        return None


def find_repository(folder: Path) -> RepositoryPlace | None:
    """Return where the repository that holds *folder* is; None without one.

    A folder that looks like a repository itself (`HEAD`, `objects/`, `refs/`) is none: a branch can bring such files.
    """
    try:
        folder = folder.resolve()
        own = _repository(folder)
        if own is None:
            return None
        top = next(parent for parent in (folder, *folder.parents) if (parent / ".git").exists())
        return RepositoryPlace(top, own, _shared(own), folder.relative_to(top).parts)
    except (OSError, UnicodeError):
        return None


def repository(folder: Path) -> tuple[str, str] | None:
    """Return where the repository that holds *folder* keeps its HEAD, and where what all its worktrees share."""
    place = find_repository(folder)
    return None if place is None else (str(place.own), str(place.shared))


def is_checking_out(folder: Path, seconds: float) -> bool:
    """True while git writes files of the repository that holds *folder*: it keeps a lock of its index meanwhile.

    A lock that is older than *seconds* was left behind by a git that was killed.
    """
    try:
        own = _repository(folder.resolve())
        return own is not None and abs(time.time() - (own / "index.lock").stat().st_mtime) < seconds
    except (OSError, UnicodeError):
        return False


def _repository(folder: Path) -> Path | None:
    for parent in (folder, *folder.parents):
        candidate = parent / ".git"
        if candidate.is_dir():
            return candidate
        if candidate.is_file():  # a worktree or a submodule
            return (parent / _text(candidate).removeprefix("gitdir:").strip()).resolve()
    return None


def _shared(own: Path) -> Path:
    """Return the folder of what all worktrees share: branches and tags."""
    link = own / "commondir"
    return (own / _text(link)).resolve() if link.is_file() else own


def _resolve(own: Path, shared: Path, name: str) -> str | None:
    for _ in range(_MAX_LINKS):
        place = own if name == "HEAD" or not (shared / name).is_file() else shared
        value = _text(place / name) if (place / name).is_file() else _packed(shared, name)
        if _HASH.fullmatch(value):
            return value
        if not value.startswith("ref:"):
            return None
        name = value.removeprefix("ref:").strip()
        if not name.startswith("refs/") or ".." in name:
            return None
    return None


def _packed(shared: Path, name: str) -> str:
    if not (shared / "packed-refs").is_file():
        return ""
    wanted = f" {name}\n".encode()
    try:
        with (shared / "packed-refs").open("rb") as lines:
            return next((line[: -len(wanted)].decode() for line in lines if line.endswith(wanted)), "")
    except FileNotFoundError:
        return ""


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(4096).decode().strip()
