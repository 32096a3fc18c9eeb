"""The profile store: can it be opened, and is it the one that history speaks of?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from connrunner.core.model import ProfileModel
from connrunner.core.report import Level
from connrunner.doctor import Check, failure, ok, warning
from connrunner.errors import RunError
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.state.folder import StateFolder
from connrunner.state.store_changes import list_store_changes
from connrunner.text.words import plural

NAME = "profile store"
RESTORE = "put back a copy of it; to begin anew without its profiles and consents: `connrunner reset --profiles`"


def check_profile_store(folder: StateFolder, model: ProfileModel) -> Iterator[Check]:
    """Yield whether the store opens and has the runs that history knows; it is not changed."""
    if not os.access(folder.root, os.R_OK | os.X_OK):
        return  # said of the state folder
    expected = list_store_changes(folder)
    if not expected and not folder.profiles.exists():
        yield ok(NAME, "none yet")
        return
    from connrunner.profiles.stores.duckdb import open_store  # DuckDB is slow to import

    said = _Warnings()
    try:
        with (
            temporary_folder() as temp,
            open_store(folder.profiles, model, temp=temp, report=said, read_only=True, expected=expected) as store,
        ):
            found = plural(store.count(), "profile")
            store.refuse_short()
    except RunError as error:
        if error.code == "store-busy":
            yield ok(NAME, "a run has it open")
        elif error.code == "no-store":
            yield ok(NAME, "none yet")
        else:
            yield failure(NAME, error.message, RESTORE if "connrunner doctor" in error.hint else error.hint)
        return
    for text in said.texts:
        yield warning(NAME, text, "put back the newest copy of it, or let the connections run again")
    if not said.texts:
        yield ok(NAME, found)


class _Warnings:
    """A report that keeps its warnings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:  # noqa: ARG002
        if level != "info":
            self.texts.append(text)

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...
