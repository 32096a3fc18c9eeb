"""The profile store: can it be opened, and is it the one that history speaks of?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from connrunner.core.model import ProfileModel, StoreSettings
from connrunner.core.report import Level
from connrunner.doctor import Check, failure, ok, warning
from connrunner.errors import RunError
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.profiles.store_place import StorePlace, inspect_place, open_profile_store
from connrunner.state.folder import StateFolder
from connrunner.state.store_changes import list_store_changes
from connrunner.text.words import plural

NAME = "profile store"
RESTORE = "put back a copy of it; to begin anew without its profiles and consents: `connrunner reset --profiles`"


def check_profile_store(folder: StateFolder, model: ProfileModel, place: StorePlace | None = None) -> Iterator[Check]:
    """
    Yield whether the store opens and has the runs that history knows; it is not changed.

    Of a database, too, whether it can keep profiles: its version, encoding and collation, and what its role may do.
    """
    place = place or StorePlace(settings=StoreSettings(), path=folder.profiles, folder=folder.root, resolve=str)
    if not os.access(folder.root, os.R_OK | os.X_OK):
        return  # said of the state folder
    expected = list_store_changes(folder)
    if not expected and not place.may_exist:
        yield ok(NAME, "none yet")
        return
    if not place.is_embedded:
        flaws = list(_check_database(place))
        yield from flaws
        if any(check.level == "failure" for check in flaws):
            return
    said = _Warnings()
    try:
        with (
            temporary_folder() as temp,
            open_profile_store(place, model, temp=temp, report=said, read_only=True, expected=expected) as store,
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


def _check_database(place: StorePlace) -> Iterator[Check]:
    try:
        findings = inspect_place(place)
    except RunError as error:
        yield failure(NAME, error.message, error.hint)
        return
    for one in findings:
        yield failure(NAME, one.message, one.hint) if one.hint else ok(NAME, one.message)


class _Warnings:
    """A report that keeps its warnings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:  # noqa: ARG002
        if level != "info":
            self.texts.append(text)

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...
