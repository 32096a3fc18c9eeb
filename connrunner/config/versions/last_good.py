"""The last version of the workspace that could be read whole: it holds for a day when no newer one can be read."""

from __future__ import annotations

import pickle
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from connrunner.config import compiled
from connrunner.config.versions.git import VersionError
from connrunner.core.model import Workspace

VERSION = "version"  # the file with the workspace
TROUBLE = "trouble"  # the file that says since when no newer one could be read
HOLDS = 24 * 3600.0  # seconds


def keep(cache: Path, signature: bytes, workspace: Workspace) -> None:
    """Remember *workspace* as the last good version."""
    compiled.write_file(cache / VERSION, signature, pickle.dumps(workspace, protocol=5))


def recovered(cache: Path) -> None:
    """Note that a version can be read again."""
    with suppress(OSError):
        (cache / TROUBLE).unlink(missing_ok=True)


def fall_back(cache: Path | None, signature: bytes, error: VersionError) -> Workspace:
    """Return the last good version, which says why it is not the newest; raise *error* when there is none."""
    payload = None if cache is None else compiled.read_file(cache / VERSION, signature)
    if cache is None or payload is None:
        raise error
    if time.time() - _since(cache) >= HOLDS:
        raise error
    try:
        workspace = pickle.loads(payload)  # noqa: S301 - our own file in our own folder, its checksum is right
    except Exception:  # another version's classes: there is no end to what they may raise
        raise error from None
    assert isinstance(workspace, Workspace)
    return replace(workspace, trouble=str(error))


def _since(cache: Path) -> float:
    """Return when the trouble began, in seconds since 1970: now when this is its beginning."""
    now = time.time()
    with suppress(OSError, ValueError):
        since = float((cache / TROUBLE).read_text())
        if 0 < since <= now:
            return since
    with suppress(OSError):
        (cache / TROUBLE).write_text(repr(now))
    return now
