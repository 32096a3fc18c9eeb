"""A workspace in motion: what becomes of what waits and runs when its file goes, changes its name, or breaks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.errors import WorkspaceError
from connrunner.scheduler.tick import Tick
from connrunner.state import locks
from connrunner.state.journal import Journal
from tests.conftest import Place

pytestmark = pytest.mark.slow

START = instant.parse("2026-11-21T05:00:00Z")
OFTEN = "{type: times_per_day, times: 4}"


class Ticks:
    """Ticks that record what is due and start nothing."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.now = START

    def take_in(self, *, later: timedelta = timedelta(minutes=1)) -> list[dict[str, Any]]:
        """Do the recording part of one tick, as a process of its own would; return what it says."""
        said: list[dict[str, Any]] = []
        Tick(self.place.folder, self.place.state, now=self.now, say=said.append).take_in()
        self.now += later
        return said

    @property
    def journal_state(self) -> Any:
        return Journal(self.place.state).read()

    def starts(self, name: str, run: int = 1) -> None:
        """Record that *name* has started, as its lane's holder does."""
        with locks.hold_state_lock(self.place.state):
            journal = Journal(self.place.state)
            entry = next(
                slot
                for record in self.place.journal()
                for slot in record.get("slots", ())
                if slot["connection"] == name
            )
            at = instant.text(self.now)
            journal.append({"type": "started", "at": at, **entry, "run": run, "lane": "main", "started_at": at})


@pytest.fixture
def ticks(place: Place) -> Ticks:
    place.command("one", "pass", schedule=OFTEN)
    place.command("two", "pass", schedule=OFTEN)
    return Ticks(place)


def told(said: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(event["connection"], event["event"], event["reason"]) for event in said if "reason" in event]


def off(place: Place) -> None:
    place.command("one", "pass", schedule=OFTEN, more="enabled: false\n")


def removed(place: Place) -> None:
    (place.folder / "connections/one.yaml").unlink()


def renamed(place: Place) -> None:
    (place.folder / "connections/one.yaml").rename(place.folder / "connections/other.yaml")


CHANGES: list[tuple[Callable[[Place], None], str, list[str]]] = [
    # the change, what is said of what waits, and what is new in the queue
    (off, "switched off while it waited", []),
    (removed, "removed while it waited", []),
    (renamed, "removed while it waited", ["other"]),
]


@pytest.mark.parametrize(("change", "reason", "new"), CHANGES)
def test_what_waits_goes_with_its_file(
    ticks: Ticks, change: Callable[[Place], None], reason: str, new: list[str]
) -> None:
    ticks.take_in()
    assert sorted(ticks.journal_state.waiting) == ["one", "two"]
    change(ticks.place)

    said = told(ticks.take_in())

    assert said == [("one", "dropped", reason), *((name, "queued", "") for name in new)]
    assert sorted(ticks.journal_state.waiting) == sorted(["two", *new])
    assert sorted(ticks.journal_state.promises) == sorted(["two", *new])
    assert told(ticks.take_in()) == []  # once


@pytest.mark.parametrize(("change", "new"), [(row[0], row[2]) for row in CHANGES])
def test_what_runs_goes_on_and_is_not_queued_again(
    ticks: Ticks, change: Callable[[Place], None], new: list[str]
) -> None:
    ticks.take_in()
    ticks.starts("one")
    change(ticks.place)

    said = told(ticks.take_in(later=timedelta(days=1)))
    assert said == [(name, "queued", "") for name in new]
    assert list(ticks.journal_state.started) == ["one"]
    assert "one" not in ticks.journal_state.promises
    assert not [event for event in told(ticks.take_in()) if event[0] == "one"]


def test_what_comes_back_begins_anew(ticks: Ticks) -> None:
    ticks.take_in()
    ticks.starts("one")
    content = (ticks.place.folder / "connections/one.yaml").read_text()
    removed(ticks.place)
    ticks.take_in(later=timedelta(days=30))
    ticks.place.write("connections/one.yaml", content)

    said = told(ticks.take_in())

    assert ("one", "merged", "it runs") in said  # the slot that switching on gives; the month is not caught up
    assert len([event for event in said if event[0] == "one"]) == 1


def test_an_emptied_workspace_is_refused_and_nothing_is_dropped(ticks: Ticks) -> None:
    ticks.take_in()
    before = ticks.place.state.journal.read_bytes()
    for name in ("one", "two"):
        (ticks.place.folder / f"connections/{name}.yaml").unlink()
    with pytest.raises(WorkspaceError, match="no connections any more, but 2 are switched on"):
        ticks.take_in()
    assert ticks.place.state.journal.read_bytes() == before


@pytest.mark.parametrize(("gone", "is_told"), [(1, False), (2, False), (3, True)])
def test_when_most_connections_go_at_once_that_is_said_once(ticks: Ticks, gone: int, is_told: bool) -> None:
    for name in ("three", "four"):
        ticks.place.command(name, "pass", schedule=OFTEN)
    ticks.take_in()
    for name in ("one", "three", "four")[:gone]:
        (ticks.place.folder / f"connections/{name}.yaml").unlink()

    said = [event["message"] for event in ticks.take_in() if event["event"] == "problem"]

    expected = "3 of 4 connections are gone from the workspace and are switched off: four, one, three"
    assert said == ([expected] if is_told else [])
    assert [event for event in ticks.take_in() if event["event"] == "problem"] == []


def test_a_broken_file_is_told_once_for_each_content_and_stops_only_itself(ticks: Ticks) -> None:
    ticks.take_in()

    def problems(said: list[dict[str, Any]]) -> list[str]:
        return [event["connection"] for event in said if event["event"] == "problem"]

    ticks.place.write("connections/one.yaml", "schedule: {type: manual}\nbroken: 1\n")
    assert set(problems(ticks.take_in())) == {"one"}
    assert problems(ticks.take_in()) == []
    with locks.hold_state_lock(ticks.place.state):
        assert Journal(ticks.place.state).rotate(instant.text(ticks.now), size=0)
    assert problems(ticks.take_in()) == []
    ticks.place.write("connections/one.yaml", "schedule: {type: manual}\nbroken: 1\nworse: 2\n")
    assert set(problems(ticks.take_in())) == {"one"}
    assert problems(ticks.take_in()) == []
    assert "one" in ticks.journal_state.promises  # it is not off [R8]
    assert [name for name, _, _ in told(ticks.take_in(later=timedelta(hours=7)))] == []
    assert {name for name, event, _ in told(ticks.take_in()) if event == "merged"} == {"one", "two"}


def test_mail_that_cannot_be_started_waits(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.take_in()
    said: list[dict[str, Any]] = []
    tick = Tick(ticks.place.folder, ticks.place.state, now=ticks.now, say=said.append)
    at = instant.text(ticks.now)
    run = {
        "connection": "one", "run": 1, "outcome": "failed", "trigger": "schedule", "due_at": at, "queued_at": at,
        "started_at": at, "ended_at": at, "seconds": 1.0, "counts": {},
    }  # fmt: skip
    notice = {"id": "n", "connection": "one", "run": 1, "event": "failed", "recipients": ["a@example.com"]}
    tick.journal.append({"type": "ended", "at": at, "run": run, "owes": [notice]})

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("connrunner.scheduler.tick.subprocess.Popen", refuse)
    tick.settle()

    problems = [event["message"] for event in said if event["event"] == "problem"]
    assert "mail waits: no process can be started: Resource temporarily unavailable" in problems
    assert list(tick.journal.read().owed) == ["n"]
