"""What of the past goes, as `keep` says: runs, and the refused rows that the profile store retains."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from connrunner.core.connection_index import LIMITED, find_with
from connrunner.core.model import Keep, Workspace
from connrunner.core.report import NullReport
from connrunner.core.retention_policy import is_expired
from connrunner.errors import BusyError, RunError, StateError
from connrunner.scheduler.lanes import Say
from connrunner.state import retention
from connrunner.state.folder import StateFolder
from connrunner.state.store_changes import list_store_changes
from connrunner.text.words import plural


def limits_the_past(workspace: Workspace) -> bool:
    """Tell whether anything of the past is to go at all."""
    return workspace.default_keep != Keep() or bool(find_with(workspace.connections, LIMITED))


def keep_the_past_short(
    workspace: Workspace, state: StateFolder, started: Mapping[str, int], *, now: datetime, say: Say
) -> None:
    """Do a part of what `keep` asks for; *started* are the runs that work now, by connection."""

    def keep(name: str) -> Keep:
        if name in workspace.broken:  # what its file means to say is not known
            return Keep()
        return workspace.connections[name].keep if name in workspace.connections else workspace.default_keep

    try:
        if retention.prune_runs(state, keep, started, now=now):
            _drop_retained(workspace, state, keep, now=now, say=say)
    except BusyError:
        return
    except StateError as error:
        say({"event": "problem", "message": f"not all of the past that may go could be removed: {error}"})


def _drop_retained(workspace: Workspace, state: StateFolder, keep: retention.Keeps, *, now: datetime, say: Say) -> None:
    """Drop the refused rows that the store retains beyond `keep`; while a run has it open, a day later."""
    from connrunner.config.secrets import resolve_secret
    from connrunner.profiles.store_place import StorePlace, open_profile_store

    folder = Path(workspace.folder)
    place = StorePlace(
        settings=workspace.store, path=state.profiles, folder=folder, resolve=partial(resolve_secret, folder=folder)
    )
    if not place.may_exist:
        return
    temp = state.spool / "keep-0"  # the next tick removes it after a crash, as that of a run that is no more
    try:
        expected = list_store_changes(state)
        with open_profile_store(place, workspace.profile, temp=temp, report=NullReport(), expected=expected) as store:
            expired = [
                one
                for one in store.list_retained()
                if is_expired(one, keep(one.connection), first=retention.find_first_run(state, one.connection), now=now)
            ]
            if expired:
                store.drop_retained(expired)
    except RunError as error:
        if error.code != "store-busy":
            say({"event": "problem", "message": f"kept rows that may go could not be removed: {error}"})
        return
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    for one in expired:
        words = f"{one.connection}: {plural(one.rows, 'kept row')} of #{one.run} went, as `keep` says"
        say({"event": "kept-rows-removed", "connection": one.connection, "rows": one.rows, "message": words})
