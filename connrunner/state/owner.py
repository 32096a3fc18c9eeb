"""Whose state is this? The state folder remembers its workspace, so that two of them never share one unnoticed."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from connrunner.core import run_records
from connrunner.errors import StateError
from connrunner.lazy_dataclasses import dataclass
from connrunner.state.folder import StateFolder, recording
from connrunner.text.files import open_own, replace_file
from connrunner.text.nesting import parse_json

LARGEST = 64 * 1024  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The workspace that a state folder belongs to, and where that folder was then; as given, links unresolved."""

    workspace: str
    state: str


def read_owner(folder: StateFolder) -> Owner | None:
    """Return whose state *folder* is; None when it does not say, as one of an older version."""
    try:
        with open_own(folder.owner) as file:
            said = parse_json(file.read(LARGEST))
        return Owner(workspace=str(said["workspace"]), state=str(said["state"]))
    except (OSError, *run_records.MALFORMED):
        return None


def find_other(folder: StateFolder, workspace: Path) -> str:
    """Return the workspace that *folder* belongs to when it is another one than *workspace* and still there.

    Empty when it is not: a workspace may move, with its state or without it.
    """
    owner = read_owner(folder)
    if owner is None or _is_same(owner.workspace, str(workspace)) or not _is_same(owner.state, str(folder.root)):
        return ""
    is_there = os.path.isfile(f"{owner.workspace}/connrunner.yaml")  # noqa: PTH113 - also False when it may not be seen
    return owner.workspace if is_there else ""


def describe_other(folder: StateFolder, workspace: Path) -> str:
    """Return in words whose state *folder* is when it is that of another workspace, which is still there."""
    other = find_other(folder, workspace)
    this = name_as_given(workspace)
    return f"the state folder {folder.root} belongs to the workspace {other}, and this is {this}" if other else ""


def refuse_other(folder: StateFolder, workspace: Path) -> None:
    """StateError when *folder* is the state of another workspace, which is still there. Nothing is written."""
    if words := describe_other(folder, workspace):
        raise StateError(
            words,
            hint="give each a `state` of its own; if this is the same workspace, moved: `connrunner tick --moved`",
        )


def claim(folder: StateFolder, workspace: Path) -> str:
    """Remember that *folder* is the state of *workspace*; return in words what it was before, when that differs."""
    owner = read_owner(folder)
    is_here = owner is not None and _is_same(owner.state, str(folder.root))
    if owner is not None and is_here and _is_same(owner.workspace, str(workspace)):
        return ""
    new = Owner(workspace=name_as_given(workspace), state=str(folder.root))
    with recording(folder.owner):
        replace_file(folder.owner, json.dumps({"workspace": new.workspace, "state": new.state}).encode() + b"\n")
    if owner is None:
        return ""
    before = f"the state of the workspace {owner.workspace}" + ("" if is_here else f", in {owner.state}")
    return f"{folder.root} was {before}; it is that of {new.workspace} from now on"


def name_as_given(workspace: Path) -> str:
    """Return the path of *workspace* with the links that the person, or cron, went through to the current folder.

    The system names the current folder without them, and a release behind a link `current` would be another workspace
    with each deployment; PWD has the name that the shell went by.
    """
    folder, shown = str(workspace), os.environ.get("PWD", "")
    with suppress(OSError):
        here = os.getcwd()  # noqa: PTH109 - the path is text already
        if not os.path.isabs(shown) or not os.path.samefile(shown, here):  # noqa: PTH117, PTH121
            return folder
        below = os.path.relpath(here, folder)
        if below == ".":
            return shown
        if not below.startswith("..") and shown.endswith(f"/{below}"):
            return shown.removesuffix(f"/{below}")
    return folder


def _is_same(one: str, other: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(one, other)  # noqa: PTH121
    return one == other
