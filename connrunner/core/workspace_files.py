"""Which files of a workspace are its configuration: what a link may lead to, and nothing else may be read for it."""

from __future__ import annotations

import re

FILES = ("connrunner.yaml", "profile.yaml")
FOLDERS = ("connections", "schedules", "notifications")
TEMPLATES = "templates"
_NAME = re.compile("[a-z0-9][a-z0-9_-]{0,62}")


def is_name(word: str) -> bool:
    """Tell whether a connection, a schedule or a target can be called *word*."""
    return bool(_NAME.fullmatch(word))


def is_configuration(path: str) -> bool:
    """Tell whether *path*, of a file, is one of the configuration; it is relative to the workspace, without links."""
    first, *rest = _without_versions(path) or [""]
    if not rest:
        return first in FILES
    if any(part.startswith(".") for part in rest):
        return False
    return first == TEMPLATES or (first in FOLDERS and len(rest) == 1 and rest[0].endswith(".yaml"))


def is_among_configuration(path: str) -> bool:
    """Tell whether *path* is a folder of the configuration, or lies in one, at whatever depth."""
    return (_without_versions(path) or [""])[0] in (*FOLDERS, TEMPLATES)


def is_configuration_folder(path: str) -> bool:
    """Tell whether *path*, of a folder, is one that the configuration stands in."""
    first, *rest = _without_versions(path) or [""]
    return first == TEMPLATES or (first in FOLDERS and not rest)


def _without_versions(path: str) -> list[str]:
    """Return the parts of *path* but for the folder that Kubernetes keeps one version of mounted files in.

    Such a name begins with two dots; `..data` leads to it.
    """
    return [part for part in path.split("/") if not part.startswith("..")]
