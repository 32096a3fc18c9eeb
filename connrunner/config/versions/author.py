"""Who wrote a commit, when, and what it says, as git itself tells it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from connrunner.config.versions import git
from connrunner.config.versions.git import VersionError
from connrunner.core.model import Commit

PATIENCE = 3.0  # seconds
_HASH = re.compile(r"[0-9a-f]{7,64}")


@cache
def author(folder: Path, commit: str | None) -> Commit | None:
    """Return what git says about *commit* of the repository that holds *folder*.

    None when there is no git, no repository, no such commit, or no answer within three seconds. Fetches nothing, and
    asks once for each commit.
    """
    if commit is None or not _HASH.fullmatch(commit):
        return None
    try:
        with git.borrow(str(folder)) as repository:
            parts = git.describe(repository, commit, "%an%x00%at%x00%s", patience=PATIENCE)
        if parts is None:
            return None
        name, at, subject = parts
        return Commit(id=commit, author=name, at=datetime.fromtimestamp(int(at), UTC), subject=subject)
    except (VersionError, OSError, ValueError, OverflowError):
        return None
