"""Requests of people, one file each: run these connections now, stop that run, undo, approve or decline that one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from connrunner.core import instant, run_records
from connrunner.core.alerts import rules
from connrunner.core.model import Notify
from connrunner.core.planning.due import DecisionRequest, RunRequest, StopRequest
from connrunner.state.folder import StateFolder, recording
from connrunner.text.files import replace_file, set_aside
from connrunner.text.nesting import parse_json
from connrunner.text.regular_files import read_regular

LIMIT = 1 << 22  # bytes of a request, which may name thousands of connections
UNREADABLE = (OSError, *run_records.MALFORMED)
LONGEST = 1000  # characters of a reason, of a name
KINDS = ("undo", "approve", "decline")  # of decisions about runs
DECISIONS = "[uad]*.json"  # no other request begins so


def request_run(
    folder: StateFolder,
    *connections: str,
    at: datetime,
    by: str,
    force: bool = False,
    notify: Mapping[str, tuple[Notify, ...]] | None = None,
) -> str:
    """Leave the one request that *connections* run now, durably; return its id.

    With *force* also those that are switched off. *notify* has, by connection, who is told when it cannot be run. It is
    one file, so that one tick takes in all of them.
    """
    # One connection is said as versions say and read it that knew no more than one.
    which = {"connection": connections[0]} if len(connections) == 1 else {"connections": connections}
    request: dict[str, Any] = {"wish": "run", **which, "asked_at": instant.text(at), "asked_by": by}
    if force:
        request["force"] = True
    if notify is not None:
        request["notify"] = {name: rules.as_list(notify[name]) for name in connections if name in notify}
    return _leave(folder, request)


def request_stop(folder: StateFolder, stop: StopRequest) -> StopRequest:
    """Leave the request to stop one run, durably; return it with its id."""
    request = {
        "wish": "stop",
        "connection": stop.connection,
        "run": stop.run,
        "due_at": instant.text(stop.due_at) if stop.due_at else None,
        "asked_at": instant.text(stop.asked_at),
        "asked_by": stop.asked_by[:LONGEST],
        "reason": stop.reason[:LONGEST],
        **({"gone": True} if stop.is_gone else {}),
    }
    return _stop_from(_leave(folder, request), request)


def request_decision(folder: StateFolder, decision: DecisionRequest) -> DecisionRequest:
    """Leave the request to undo, approve or decline one run, durably; return it with its id."""
    request = {
        "wish": decision.kind,
        "connection": decision.connection,
        "run": decision.run,
        "asked_at": instant.text(decision.asked_at),
        "asked_by": decision.asked_by[:LONGEST],
        "reason": decision.reason[:LONGEST],
        "notify": rules.as_list(decision.notify),
    }
    return _decision_from(_leave(folder, request), request)


def _leave(folder: StateFolder, request: Mapping[str, Any]) -> str:
    name = f"{request['wish']}-{os.urandom(16).hex()}"
    path = folder.requests / f"{name}.json"
    with recording(path):
        replace_file(path, json.dumps(request).encode() + b"\n")
    return name


def read_run_requests(folder: StateFolder) -> list[RunRequest]:
    """Return the requests to run that are not answered yet, oldest first. What is no request is passed over."""
    read = _read(folder)
    found = (
        one for name, data in read if _reader_of(data) is _run_requests_from for one in _run_requests_from(name, data)
    )
    return sorted(found, key=lambda request: (request.asked_at, request.id))


def read_stop_requests(folder: StateFolder) -> list[StopRequest]:
    """Return the requests to stop a run that are not fulfilled yet, oldest first. Cheap when there are none."""
    found = (_stop_from(name, data) for name, data in _read(folder, "stop-*.json") if data.get("wish") == "stop")
    return sorted(found, key=lambda stop: (stop.asked_at, stop.id))


def read_decisions(folder: StateFolder) -> list[DecisionRequest]:
    """Return what was decided about runs and is not answered yet, oldest first. Cheap when there is nothing."""
    found = (_decision_from(name, data) for name, data in _read(folder, DECISIONS) if data.get("wish") in KINDS)
    return sorted(found, key=lambda decision: (decision.asked_at, decision.id))


def set_aside_unreadable(folder: StateFolder) -> list[tuple[Path, Path]]:
    """Rename what stands in `requests/` and is no request, whatever it is; return from where to where."""
    aside = []
    for path in _paths(folder):
        try:
            _load(path)
        except FileNotFoundError:
            continue
        except UNREADABLE:
            with suppress(OSError):  # it cannot even be renamed: it is passed over
                aside.append((path, set_aside(path)))
    return aside


def _read(folder: StateFolder, pattern: str = "*.json") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in _paths(folder, pattern):
        with suppress(*UNREADABLE):
            yield path.stem, _load(path)


def _paths(folder: StateFolder, pattern: str = "*.json") -> list[Path]:
    with recording(folder.requests):
        return sorted(folder.requests.glob(pattern))


def _load(path: Path) -> Mapping[str, Any]:
    """Return the request in the file *path*; one of `UNREADABLE` when it is none."""
    data: Mapping[str, Any] = parse_json(read_regular(path, LIMIT))
    _check(path.stem, data)
    return data


def _check(name: str, data: Mapping[str, Any]) -> None:
    """Raise whatever is raised when *data* is no request."""
    _reader_of(data)(name, data)


def _reader_of(data: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any]], Any]:
    if data.get("wish") in KINDS:
        return _decision_from
    return _stop_from if data.get("wish") == "stop" else _run_requests_from


def _run_requests_from(name: str, data: Mapping[str, Any]) -> list[RunRequest]:
    connections = data["connections"] if "connections" in data else [data["connection"]]
    if not isinstance(connections, list) or not connections:
        raise ValueError("a request names connections")
    notify: Mapping[str, Any] = data.get("notify", {})
    return [
        RunRequest(
            id=name,
            connection=str(connection),
            asked_at=instant.parse(data["asked_at"]),
            asked_by=str(data["asked_by"]),
            force=bool(data.get("force")),
            notify=rules.from_list(notify[connection]) if connection in notify else None,
        )
        for connection in connections
    ]


def _stop_from(name: str, data: Mapping[str, Any]) -> StopRequest:
    return StopRequest(
        id=name,
        connection=str(data["connection"]),
        run=int(data["run"]) if data["run"] is not None else None,
        due_at=instant.parse(data["due_at"]) if data["due_at"] is not None else None,
        asked_at=instant.parse(data["asked_at"]),
        asked_by=str(data["asked_by"])[:LONGEST],
        reason=str(data.get("reason", ""))[:LONGEST],
        is_gone=bool(data.get("gone")),
    )


def _decision_from(name: str, data: Mapping[str, Any]) -> DecisionRequest:
    kind: Any = data["wish"]
    return DecisionRequest(
        id=name,
        kind=kind,
        connection=str(data["connection"]),
        run=int(data["run"]),
        asked_at=instant.parse(data["asked_at"]),
        asked_by=str(data["asked_by"])[:LONGEST],
        reason=str(data.get("reason", ""))[:LONGEST],
        notify=rules.from_list(data.get("notify", ())),
    )


def remove_request(folder: StateFolder, request: RunRequest | StopRequest | DecisionRequest) -> None:
    """Remove a request that the journal has taken in."""
    path = folder.requests / f"{request.id}.json"
    with recording(path):
        path.unlink(missing_ok=True)
