"""Wishes of people: left as files, read as values, set aside when they are none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connrunner.core.planning.due import StopRequest
from connrunner.state import requests
from connrunner.state.folder import StateFolder

NOW = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def test_each_kind_of_wish_is_read_back_and_forgotten(state: StateFolder) -> None:
    stop = StopRequest(connection="b", run=7, asked_at=NOW, asked_by="ann@here", reason="wrong list")
    requests.request_run(state, "a", at=NOW, by="ann")
    kept = requests.request_stop(state, stop)
    requests.request_stop(state, StopRequest(connection="c", due_at=NOW, asked_at=NOW, asked_by="ann@here"))

    (run,) = requests.read_run_requests(state)
    stops = {each.connection: each for each in requests.read_stop_requests(state)}

    assert (run.connection, run.asked_at, run.asked_by) == ("a", NOW, "ann")
    assert stops["b"] == kept
    assert (stops["c"].run, stops["c"].due_at) == (None, NOW)
    requests.remove_request(state, kept)
    requests.remove_request(state, kept)  # somebody else was faster
    assert [each.connection for each in requests.read_stop_requests(state)] == ["c"]


def test_one_request_may_be_for_many(state: StateFolder) -> None:
    identity = requests.request_run(state, "b", "a", at=NOW, by="ann", force=True)

    found = requests.read_run_requests(state)

    assert [(each.id, each.connection, each.force) for each in found] == [(identity, "b", True), (identity, "a", True)]
    for each in found:
        requests.remove_request(state, each)
    assert requests.read_run_requests(state) == []


def test_a_request_of_an_older_version_is_read(state: StateFolder) -> None:
    said = {"wish": "run", "connection": "a", "asked_at": "2026-11-22T09:15:00Z", "asked_by": "ann"}
    (state.requests / "run-1.json").write_text(json.dumps(said))
    requests.request_run(state, "a", at=NOW, by="ann")

    first, second = requests.read_run_requests(state)

    assert (first.connection, first.force) == ("a", False)
    assert json.loads((state.requests / f"{second.id}.json").read_text()) == said  # and the other way round


def test_what_is_long_is_cut(state: StateFolder) -> None:
    kept = requests.request_stop(
        state, StopRequest(connection="a", run=1, asked_at=NOW, asked_by="x" * 5000, reason="y" * 5000)
    )
    assert (len(kept.asked_by), len(kept.reason)) == (1000, 1000)


NONE = [
    b'{"wish": "run", "connections": [], "asked_at": "2026-11-22T09:15:00Z", "asked_by": "b"}',
    b'{"wish": "run", "connections": "ab", "asked_at": "2026-11-22T09:15:00Z", "asked_by": "b"}',
    b"", b"{", b"[]", b"null", b'"stop"', b"\xff", b"[" * 100_000, b'{"wish": "stop"}',
    b'{"wish": "stop", "connection": "a", "run": "x", "due_at": null, "asked_at": "2026-11-22T09:15:00Z", "asked_by": "b"}',
    b'{"wish": "stop", "connection": "a", "run": 1, "due_at": 5, "asked_at": "2026-11-22T09:15:00Z", "asked_by": "b"}',
    b'{"wish": "stop", "connection": "a", "run": 1, "due_at": null, "asked_at": "2026-11-22T09:15:00", "asked_by": "b"}',
]  # fmt: skip


@pytest.mark.parametrize("content", NONE, ids=range(len(NONE)))
def test_what_is_no_wish_is_set_aside(content: bytes, state: StateFolder) -> None:
    (state.requests / "stop-1.json").write_bytes(content)
    assert requests.read_stop_requests(state) == []
    assert requests.read_run_requests(state) == []
    path = state.requests / "stop-1.json"
    assert requests.set_aside_unreadable(state) == [(path, path.with_name("stop-1.unreadable"))]
    assert [path.name for path in state.requests.iterdir()] == ["stop-1.unreadable"]
    path.write_bytes(content)
    assert requests.set_aside_unreadable(state) == [(path, path.with_name("stop-1.2.unreadable"))]
