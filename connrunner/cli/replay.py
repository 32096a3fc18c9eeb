"""`connrunner replay`: what does a tick decide from a state, without doing any of it?"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from connrunner.cli import text
from connrunner.cli.home import Home, with_home
from connrunner.cli.tick import sentence
from connrunner.core import instant
from connrunner.errors import ArgumentError, StateError
from connrunner.scheduler import tick
from connrunner.state.folder import StateFolder
from connrunner.text.nesting import parse_json

# What a tick decides by. Copied with its times: that of last-tick says when a tick last looked.
DECIDES = ("format", "journal.jsonl", "journal.previous.jsonl", "last-tick", "requests")


@click.command()
@with_home(reads=True, now=True)
def replay_command(home: Home) -> None:
    """Decide a tick anew from --state, a copy of a state folder, at --now; do nothing of it.

    Prints what is due, merged, missed and skipped, and who would be told. Nothing runs, no mail goes out, and the state
    is not written: the decision is made in a copy that is gone afterwards. Without options: what would a tick do now?
    """
    at = home.clock()
    with tempfile.TemporaryDirectory(prefix="connrunner-replay-") as temporary:
        state = StateFolder(Path(temporary) / "state")
        _copy(home.state, state)
        events: list[dict[str, Any]] = []
        before = len(_records(state))
        this = tick.Tick(home.folder, state, now=at, say=events.append)
        this.take_in()
        decided = _records(state)[before:]
    data = {
        "at": instant.text(at),
        "commit": this.workspace.commit,
        "events": events,
        "promises": _merged(decided, "promises"),
        "slots": [slot for record in decided for slot in record.get("slots", ())],
        "ended": [record["run"] for record in decided if record["type"] == "ended"],
        "owes": [notice for record in decided for notice in record.get("owes", ())],
    }
    if home.json:
        home.echo_json(data)
        return
    for line in _lines(data):
        click.echo(text.clean(line))


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
        to.root.chmod(0o700)
    except (OSError, shutil.Error) as error:
        raise StateError(f"{state.root} cannot be copied: {error}") from error


def _records(state: StateFolder) -> list[dict[str, Any]]:
    found = []
    for line in state.journal.read_bytes().splitlines():
        try:
            record = parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "type" in record:
            found.append(record)
    return found


def _merged(records: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return {name: value for record in records for name, value in record.get(key, {}).items()}


def _lines(data: dict[str, Any]) -> list[str]:
    lines = [sentence(event) for event in data["events"]]
    lines += [f"{run['connection']} #{run['run']}: {run['outcome']}: {run['message']}" for run in data["ended"]]
    lines += [
        f"{notice['connection'] or notice.get('target', '')}: {', '.join(notice['recipients'])} would be told"
        f" ({notice['event']})"
        for notice in data["owes"]
    ]
    for name, promise in sorted(data["promises"].items()):
        lines.append(f"{name}: next {promise['next_due'] or 'only by hand'}" if promise else f"{name}: switched off")
    return lines or [f"nothing is decided at {data['at']}"]
