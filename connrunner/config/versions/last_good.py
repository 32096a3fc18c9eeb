"""The last version of the workspace that could be read whole: it holds for a day when no newer one can be read.

It is what the cache of checked files has, plain data: what is read back here runs no code.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from connrunner.config import compiled, seal
from connrunner.config.compiled import CompiledWorkspace
from connrunner.config.resolved import built, workspace_from
from connrunner.config.versions.git import VersionError
from connrunner.core.model import Workspace
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import asdict, replace
from connrunner.text.files import replace_file
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular

TROUBLE = "trouble"  # the file that says since when no newer one could be read
HOLDS = 24 * 3600.0  # seconds


def describe_rest(workspace: Workspace) -> bytes:
    """Return what the cache has to know of *workspace* beside its connections, so that `fall_back` has it again."""
    return compiled.pack(
        {
            "folder": workspace.folder,
            "document": workspace.document,
            "profile": workspace.profile_document,
            "targets": workspace.target_documents,
            "broken": {name: list(map(asdict, problems)) for name, problems in workspace.broken.items()},
            "problems": list(map(asdict, workspace.problems)),
            "commit": workspace.commit,
            "repository": workspace.repository,
        }
    )


def recovered(cache: Path) -> None:
    """Note that a version can be read again."""
    if seal.read_seal(cache) is not None:
        with suppress(OSError):
            (cache / TROUBLE).unlink(missing_ok=True)


def fall_back(cache: Path | None, known: CompiledWorkspace, error: VersionError) -> Workspace:
    """Return the last good version, which says why it is not the newest; raise *error* when there is none.

    *known* is what *cache* has.
    """
    if cache is None or not known.rest or time.time() - _since(cache) >= HOLDS:
        raise error
    workspace = read(known)
    if workspace is None:
        raise error
    return replace(workspace, trouble=str(error))


def read(known: CompiledWorkspace) -> Workspace | None:
    """Return the last good version that a cache has, however old; None when there is none that can be read back."""
    if not known.rest:
        return None
    try:
        return _workspace(parse_json(known.rest), known)
    except (ValueError, TypeError, LookupError, AttributeError):  # a time zone is gone, or it is not what we wrote
        return None


def _workspace(kept: dict[str, Any], known: CompiledWorkspace) -> Workspace:
    profile, targets = kept["profile"], kept["targets"]
    bare = workspace_from(kept["folder"], kept["document"], profile=profile, targets=targets, connections={})
    connections = {
        name: built(name, compiled.unpack(one.document), bare.timezone, bare.targets, one.fingerprint)
        for name, one in known.connections.items()
        if name not in kept["broken"]
    }
    repository = kept["repository"]
    return replace(
        bare,
        connections=connections,
        broken={name: tuple(Problem(**problem) for problem in problems) for name, problems in kept["broken"].items()},
        problems=tuple(Problem(**problem) for problem in kept["problems"]),
        commit=kept["commit"],
        repository=None if repository is None else (repository[0], repository[1]),
    )


def _since(cache: Path) -> float:
    """Return when the trouble began, in seconds since 1970: now when this is its beginning."""
    now = time.time()
    with suppress(OSError, ValueError):
        since = float(read_regular(cache / TROUBLE, 100))
        if 0 < since <= now:
            return since
    with suppress(OSError):
        replace_file(cache / TROUBLE, repr(now).encode(), durable=False)
    return now
