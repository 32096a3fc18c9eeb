"""Who wrote a commit, when, and what it says, as git itself tells it."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from connrunner.core.model import Commit

PATIENCE = 3.0  # seconds
KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH")  # of the environment: the rest may hold secrets, or settings for git
_HASH = re.compile(r"[0-9a-f]{7,64}")


@cache
def author(folder: Path, commit: str | None) -> Commit | None:
    """Return what git says about *commit* of the repository that holds *folder*.

    None when there is no git, no repository, no such commit, or no answer within three seconds. Fetches nothing, and
    asks once for each commit.
    """
    if commit is None or not _HASH.fullmatch(commit):
        return None
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C.UTF-8",
    }
    try:
        done = subprocess.run(  # noqa: S603 - nothing but a hash comes from elsewhere
            ["git", "show", "-s", "--no-show-signature", "--format=%an%x00%at%x00%s", f"{commit}^{{commit}}"],  # noqa: S607
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        name, at, subject = done.stdout.decode("utf-8", "replace").rstrip("\n").split("\0")
        return Commit(id=commit, author=name, at=datetime.fromtimestamp(int(at), UTC), subject=subject)
    except (OSError, ValueError, OverflowError, subprocess.TimeoutExpired):
        return None
