"""
The result of a run as the profile store has it, whatever became of its process afterwards.

`python -m connrunner.worker.recorded_result STATE CONNECTION RUN STARTED WORKSPACE STORE` prints it as JSON, and null
when the run is not in the store: in a process of its own, so that no damaged store takes a tick with it. STORE is what
connrunner.yaml says of the store, as JSON, which holds no secret; without the last two it is that of the state folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connrunner.core import instant
from connrunner.core.counts import Counts, from_mapping
from connrunner.core.held_runs import describe_approval
from connrunner.core.model import ProfileModel, Result
from connrunner.core.report import Level
from connrunner.core.run_records import outcome_of
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.profiles.jobs import RunStamp
from connrunner.profiles.results import RecordedRun
from connrunner.state.folder import StateFolder
from connrunner.text.words import agree, plural

if TYPE_CHECKING:
    from connrunner.profiles.store_place import StorePlace

WAIT = 3600  # seconds for the store while a run of another lane has it


def make_result(recorded: RecordedRun) -> Result:
    """Return the result of a run that is in the store."""
    counts, detail = recorded.counts, recorded.detail
    if recorded.kind == "import":
        message = _describe_import(counts)
    elif recorded.kind == "undo":
        message = _describe_undo(counts, detail)
    elif "output" in detail:
        message = f"{plural(detail['rows'], 'row')} written to {detail['output']}"
    else:
        message = "there was nothing to send"
    said = "; ".join(filter(None, (message, describe_approval(detail))))
    return Result(outcome=outcome_of(counts), counts=counts, message=said, detail=detail)


def recorded_from(data: Mapping[str, Any]) -> RecordedRun:
    """Return the run that plain data holds."""
    return RecordedRun(kind=data["kind"], counts=from_mapping(data["counts"]), detail=data["detail"])


def add_words(result: Result, words: str) -> Result:
    """Return *result* with *words* about what happened after it."""
    return replace(result, message=f"{result.message}; {words}" if result.message else words)


def _describe_import(counts: Counts) -> str:
    shown = ("created", "updated", "unchanged", "skipped")
    said = [f"{getattr(counts, name):,} {name}" for name in shown if getattr(counts, name)]
    refused = f"{counts.refused:,} refused" if counts.refused else ""
    return ", ".join([*said, *([refused] if refused else [])]) or "nothing to read"


def _describe_undo(counts: Counts, detail: Mapping[str, Any]) -> str:
    updated, deleted, superseded = counts.updated, counts.deleted, detail["superseded"]
    why = f" ({detail['reason']})" if "reason" in detail else ""
    what = f"{agree(updated, 'profile', 'is', 'are')} as before, {deleted:,} removed"
    done = f"run {detail['undone']} is undone{why}: {what}"
    if not superseded:
        return done
    return f"{done}; {agree(superseded, 'value', 'stays', 'stay')}, changed since (superseded)"


def ask_store(place: StorePlace, stamp: RunStamp, *, wait: float) -> RecordedRun | None:
    """Return a run as the store has it, None when it has not; RunError when it cannot be opened within *wait* s."""
    if not place.may_exist:
        return None
    from connrunner.processes.temporary_folders import temporary_folder
    from connrunner.profiles.store_place import open_profile_store

    model = ProfileModel(properties={}, objectives={})
    with (
        temporary_folder() as temp,
        open_profile_store(place, model, temp=temp, report=_Silence(), read_only=True, wait=wait) as store,
    ):
        return store.read_recorded(stamp)


class _Silence:
    """A report that goes nowhere."""

    def message(self, text: str, *, level: Level = "info", **facts: object) -> None: ...

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


def main() -> int:
    """Answer for the run that the arguments name; 1 when the store cannot be asked."""
    from connrunner.config.resolved import store_settings_from  # a tick, which imports this module, needs none of it
    from connrunner.config.secrets import resolve_secret
    from connrunner.profiles.store_place import StorePlace

    state, connection, run, at, *more = sys.argv[1:]  # a tick of an older version gives no more
    workspace, store = more or (state, "{}")
    place = StorePlace(
        settings=store_settings_from(json.loads(store)),
        path=StateFolder(Path(state)).profiles,
        folder=Path(workspace),
        resolve=partial(resolve_secret, folder=Path(workspace)),
    )
    stamp = RunStamp(connection=connection, run=int(run), at=instant.parse(at))
    recorded = None
    try:
        recorded = ask_store(place, stamp, wait=WAIT)
    except RunError as error:
        if error.code != "no-store":
            sys.stderr.write(str(error))
            return 1
    with suppress(BrokenPipeError):  # the tick that asked is gone
        sys.stdout.write(json.dumps(recorded and recorded.as_dict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
