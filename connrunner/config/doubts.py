"""What a file says that is sound, and that its writer may not have meant: `validate` warns of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path as Folder
from typing import Any

from connrunner.config import stamps
from connrunner.config.destination_rules import find_deletion_doubt
from connrunner.config.documents import workspace_file
from connrunner.config.documents.document import parse
from connrunner.config.file_names import whole_file
from connrunner.config.finding import Finding, Path
from connrunner.config.wording import show
from connrunner.core.schedules import cron, zone
from connrunner.core.workspace_files import TEMPLATES
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import replace
from connrunner.text.words import escape

_WORTH_READING = (b"timezone", b"expression", b"deleted")  # no file without one of these gives rise to a doubt


def find_doubts(folder: Folder) -> Iterator[Problem]:
    """Yield a warning for each place of the workspace in *folder* that is sound and looks like a mistake.

    And a problem for what nobody reads, and is called almost like what is.
    """
    yield from _unread(str(folder))
    for path in stamps.stamps(folder):
        if not path.endswith(".yaml"):
            continue
        try:
            content = workspace_file.read_workspace_file(str(folder), path)
        except workspace_file.UnreadableFile:
            continue  # told by the check of the file itself
        if not any(word in content for word in _WORTH_READING):
            continue
        document = parse(content, escape(path))
        export = document.data.get("export") if isinstance(document.data, dict) else None
        deletions = find_deletion_doubt(export) if isinstance(export, dict) else ()
        for finding in (*_in_part(document.data, ()), *deletions):
            yield replace(document.problem(finding), is_warning=True)


def _unread(folder: str) -> Iterator[Problem]:
    """Yield the files and folders that somebody may believe to be read, and that are called otherwise."""
    known = (*stamps.FILES, *stamps.FOLDERS, TEMPLATES)
    for name in _names(folder):
        if name not in known and name.lower() in known:
            hint = f"rename it to {name.lower().replace('.yml', '.yaml')}"
            yield whole_file(name, "it is not read: small and large letters differ", hint, "bad-name")
    for inside in stamps.FOLDERS:
        for name in _names(f"{folder}/{inside}"):
            # `.#name` is the mark that Emacs sets while it edits a file.
            if name.startswith(".") and not name.startswith(".#") and name.lower().endswith(stamps.SUFFIXES):
                hint = "rename it, or take it away"
                warning = whole_file(
                    f"{inside}/{name}", "a file whose name begins with a dot is not read", hint, "bad-name"
                )
                yield replace(warning, is_warning=True)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - the path is text already
    except OSError:
        return []  # told by the check of the folder


def _in_part(part: Any, path: Path) -> Iterator[Finding]:
    """Yield the doubts about *part* of a file, which may be anything, and about what is in it."""
    if isinstance(part, list):
        for position, item in enumerate(part):
            yield from _in_part(item, (*path, position))
    elif isinstance(part, dict):
        yield from _about_timezone(part, path)
        yield from _about_cron(part, path)
        for key, value in part.items():
            yield from _in_part(value, (*path, key))


def _about_timezone(part: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    name = part.get("timezone")
    if isinstance(name, str) and (doubt := zone.find_doubt(name)):
        yield Finding((*path, "timezone"), f"the time zone {show(name)} {doubt}", code="doubtful-timezone")


def _about_cron(part: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    expression = part.get("expression")
    if part.get("type") != "cron" or not isinstance(expression, str):
        return
    try:
        doubts = list(cron.list_doubts(cron.canonicalize(expression)))
    except ValueError:
        return  # told by the check of the file itself
    for doubt in doubts:
        yield Finding((*path, "expression"), doubt, code="doubtful-schedule")
