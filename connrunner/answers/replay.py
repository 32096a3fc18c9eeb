"""What a tick decides from a copy of a state folder, without doing any of it: the answer of `connrunner replay`."""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Any

from connrunner.answers import tick_events
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core import instant
from connrunner.errors import ArgumentError, StateError
from connrunner.lazy_dataclasses import dataclass
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.scheduler import tick
from connrunner.state.folder import StateFolder
from connrunner.state.journal import LONGEST
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular

# What a tick decides by. Copied with its times: that of last-tick says when a tick last looked.
DECIDES = ("format", "journal.jsonl", "journal.previous.jsonl", "last-tick", "requests")


@dataclass(frozen=True, kw_only=True, slots=True)
class TickReplay:
    """What was decided, as the tick says it and as its records have it."""

    at: datetime
    commit: str | None
    events: tuple[dict[str, Any], ...]
    records: tuple[dict[str, Any], ...]  # that the tick added to the journal

    @property
    def promises(self) -> dict[str, Any]:
        return {name: value for record in self.records for name, value in record.get("promises", {}).items()}

    @property
    def ended(self) -> list[dict[str, Any]]:
        """The runs that ended by the decision: skipped, dropped, cut off."""
        return [record["run"] for record in self.records if record["type"] == "ended"]

    @property
    def owes(self) -> list[dict[str, Any]]:
        """The notices that would be sent."""
        return [notice for record in self.records for notice in record.get("owes", ())]


def replay_tick(view: WorkspaceView) -> TickReplay:
    """Decide a tick of *view* at its instant; the state is not written. ArgumentError without a journal."""
    at = view.clock()
    with temporary_folder() as temporary:
        state = StateFolder(temporary / "state")
        _copy(view.state, state)
        events: list[dict[str, Any]] = []
        before = len(_records(state))
        replayed = tick.Tick(view.folder, state, now=at, say=events.append)
        replayed.take_in()
        records = _records(state)[before:]
    return TickReplay(at=at, commit=replayed.workspace.commit, events=tuple(events), records=tuple(records))


def _copy(state: StateFolder, to: StateFolder) -> None:
    if not state.journal.is_file():
        hint = "copy the whole state folder, with its times: `cp --archive`"
        raise ArgumentError(f"{state.root} has no journal.jsonl", hint=hint)
    to.root.mkdir(mode=0o700)
    try:
        for name in DECIDES:
            path = state.root / name
            if path.is_dir():
                shutil.copytree(path, to.root / name)
            elif path.is_file():
                shutil.copy2(path, to.root / name)
        for history in state.runs.glob("*/history.*"):
            if history.is_file() and not history.is_symlink():
                (to.runs / history.parent.name).mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copy2(history, to.runs / history.parent.name / history.name)
        to.root.chmod(0o700)
    except (OSError, shutil.Error) as error:
        raise StateError(f"{state.root} cannot be copied: {error}") from error


def _records(state: StateFolder) -> list[dict[str, Any]]:
    found = []
    for line in read_regular(state.journal, LONGEST).splitlines():
        try:
            record = parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "type" in record:
            found.append(record)
    return found


def describe(replay: TickReplay) -> list[str]:
    """Return what was decided, a line for each thing."""
    lines = [tick_events.describe(event) for event in replay.events]
    lines += [f"{run['connection']} #{run['run']}: {run['outcome']}: {run['message']}" for run in replay.ended]
    lines += [
        f"{notice['connection'] or notice.get('target', '')}: {', '.join(notice['recipients'])} would be told"
        f" ({notice['event']})"
        for notice in replay.owes
    ]
    for name, promise in sorted(replay.promises.items()):
        lines.append(f"{name}: next {promise['next_due'] or 'only by hand'}" if promise else f"{name}: switched off")
    return lines or [f"nothing is decided at {instant.text(replay.at)}"]


def as_dict(replay: TickReplay) -> dict[str, Any]:
    """Return *replay* as `replay --format json` shows it."""
    return {
        "at": instant.text(replay.at),
        "commit": replay.commit,
        "events": list(replay.events),
        "promises": replay.promises,
        "slots": [slot for record in replay.records for slot in record.get("slots", ())],
        "ended": replay.ended,
        "owes": replay.owes,
    }
