"""Where the workspace is and where its state is, answered without parsing YAML: every tick asks."""

from __future__ import annotations

import os

FILE = "connrunner.yaml"
DEFAULT_STATE = ".connrunner"


def find_workspace(start: str) -> str | None:
    """Return *start* or the nearest folder above it that holds `connrunner.yaml`, absolute; None when none does."""
    folder = os.path.abspath(start)
    while not os.path.isfile(f"{folder}/{FILE}"):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder


def state_folder(folder: str, wanted: str | None) -> str:
    """Return the state folder of the workspace *folder*, absolute.

    *wanted* (`--state`, relative to the current folder) wins, then CONNRUNNER_STATE, then `state:` of
    connrunner.yaml, which is relative to the workspace.
    """
    chosen = wanted or os.environ.get("CONNRUNNER_STATE")
    if chosen:
        return os.path.abspath(chosen)
    return os.path.normpath(os.path.join(folder, declared_state(folder)))


def declared_state(folder: str) -> str:
    """Return what `state:` says, from the text of connrunner.yaml; the default when it says nothing.

    Reads a top-level `state:` line with a plain or quoted value. The checked file says the same, or has a problem.
    """
    try:
        with open(f"{folder}/{FILE}", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return DEFAULT_STATE
    for line in lines:
        if line.startswith(b"state:"):
            value = line[6:].split(b" #")[0].strip().strip(b"\"'")
            return os.fsdecode(value) or DEFAULT_STATE
    return DEFAULT_STATE
