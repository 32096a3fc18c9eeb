"""Each key of connrunner.yaml, profile.yaml, schedules and targets, with every value that it may not have: a problem."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from connrunner.config import place as place_of_state
from connrunner.config.load import load
from connrunner.errors import Problem, WorkspaceError
from tests.conftest import Place

BLACKOUT = [{"dates": ["2026-12-25"], "reason": "Christmas"}]
# Each with every key that it may have, as far as they go together.
FILES: dict[str, Any] = {
    "connrunner.yaml": {
        "version": 1,
        "timezone": "Europe/Amsterdam",
        "state": ".connrunner",
        "source": "folder",
        "blackout": BLACKOUT,
        "mail": {
            "server": "smtp://mail.example.com:587",
            "from": "a@example.com",
            "username": "env:U",
            "password": "env:P",
        },
        "heartbeat": {"url": "env:HEARTBEAT", "every": "5m"},
        "store": {"type": "postgresql", "url": "env:PROFILES", "schema": "connrunner"},
        "defaults": {
            "timeout": "6h",
            "start_within": "12h",
            "retry": {"times": 3},
            "keep": {"days": 90, "runs": 100, "bytes": "1GB"},
            "stop": {"grace": "30s"},
            "notify": [{"to": ["team", "a@example.com"], "when": "failure"}, {"to": "team", "when": "change"}],
        },
    },
    "profile.yaml": {
        "properties": {
            "id": {"type": "text", "identifier": True, "personal": False},
            "tags": {"type": "text", "many": True},
        },
        "objectives": {"news": {"title": "News", "legislation": "opt-in"}},
    },
    "notifications/team.yaml": {
        "email": ["team@example.com"],
        "cc": ["boss@example.com"],
        "reply_to": "desk@example.com",
        "timezone": "UTC",
        "digest": {"type": "weekly", "time": "07:30", "day": "monday"},
        "limit": 10,
    },
    "schedules/nightly.yaml": {
        "type": "days_of_week",
        "days": ["monday", "friday"],
        "time": "01:30",
        "timezone": "UTC",
        "blackout": BLACKOUT,
    },
    "schedules/rule.yaml": {"type": "rrule", "rule": "FREQ=DAILY", "time": "06:00", "start": "2026-12-01"},
    "schedules/line.yaml": {"type": "cron", "expression": "0 6 * * *"},
    "schedules/often.yaml": {"type": "times_per_day", "times": 4, "anchor": "06:00"},
    "schedules/day.yaml": {"type": "day_of_month", "day": "last", "time": "06:00"},
    "schedules/week.yaml": {"type": "weekday_of_month", "week": "second", "weekday": "tuesday", "time": "06:00"},
    "schedules/several.yaml": {"type": "any_of", "schedules": [{"type": "cron", "expression": "0 6 * * *"}]},
}
MISSING = object()
USUAL = [MISSING, None, "no such thing", [{"x": 1}]]
STRANGE = [True, -1, 1.5, 10**30, "", "\ud800", [], [None], [[]], {}, {"x": None}]
Path_ = tuple[str | int, ...]


def paths_of(data: Any, above: Path_ = ()) -> Iterator[Path_]:
    """Yield where each value below *data* stands."""
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in parts:
        yield (*above, key)
        yield from paths_of(value, (*above, key))


def changed(data: Any, path: Path_, value: Any) -> Any:
    copy = deepcopy(data)
    home = copy
    for key in path[:-1]:
        home = home[key]
    if value is MISSING:
        del home[path[-1]]
    else:
        home[path[-1]] = value
    return copy


def as_yaml(data: Any) -> str:
    """Return *data* with each of its keys on a line of its own: `state` has to stand on one."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in data.items())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connrunner.yaml without a version is not looked at again: nobody is about to write it."""
    monkeypatch.setattr(place_of_state, "GLANCES", ())


def write_all(place: Place) -> None:
    for path, data in FILES.items():
        place.write(path, as_yaml(data))
    for number in range(3):
        schedule = ["nightly", "several", "rule"][number]
        place.write(f"connections/c{number}.yaml", f'schedule: {schedule}\ncommand: {{run: ["true"]}}\n')


def problems_of(place: Place) -> tuple[Problem, ...]:
    """Return every problem; of files that did not change the cache knows them."""
    try:
        return load(place.folder, cache=place.state.compiled).problems
    except WorkspaceError as error:
        return error.problems


def test_the_files_are_sound(place: Place) -> None:
    write_all(place)
    assert problems_of(place) == ()


def try_values(place: Place, path: str, values: list[Any]) -> None:
    write_all(place)
    for where in paths_of(FILES[path]):
        for value in values:
            place.write(path, as_yaml(changed(FILES[path], where, value)))
            problems = problems_of(place)
            twice = [problem for problem, count in Counter(problems).items() if count > 1]
            assert twice == [], (where, value)
            assert all(problem.line > 0 and problem.message for problem in problems), (where, value)


@pytest.mark.parametrize("path", FILES)
def test_no_value_of_a_key_is_more_than_a_problem(place: Place, path: str) -> None:
    try_values(place, path, USUAL)


@pytest.mark.thorough
@pytest.mark.parametrize("path", FILES)
def test_no_value_of_any_kind_is_more_than_a_problem(place: Place, path: str) -> None:
    try_values(place, path, STRANGE)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("content", ["", "null", "[]", "3", "text", "{}", "? [a]\n: 1", "a: b: c", "- x", "\0", "{"])
def test_no_content_of_a_file_is_more_than_a_problem(place: Place, path: str, content: str) -> None:
    write_all(place)
    place.write(path, content)
    problems = problems_of(place)
    assert len(set(problems)) == len(problems)


# what is wrong in `defaults`; what is said of it, once
DEFAULTS = [
    ("notify: [{when: always}]", "connrunner.yaml:2:21: "),
    ("notify: [{to: 3, when: always}]", "connrunner.yaml:2:26: "),
    ("notify: [{to: [3], when: always}]", "connrunner.yaml:2:27: "),
    ("notify: [{to: [nobody@], when: always}]", "connrunner.yaml:2:27: "),
    ("notify: [{to: nobody, when: always}]", "connrunner.yaml:2:26: "),
    ("notify: [{to: [nobody], when: always}]", "connrunner.yaml:2:27: "),
    ("timeout: soon", "connrunner.yaml:2:21: "),
    ("keep: {days: many}", "connrunner.yaml:2:25: "),
]


@pytest.mark.parametrize(("defaults", "place_of_it"), DEFAULTS)
def test_a_mistake_in_defaults_is_said_once_by_every_command(place: Place, defaults: str, place_of_it: str) -> None:
    for number in range(4):
        place.command(f"c{number}", "print()")
    place.write("connrunner.yaml", f"version: 1\ndefaults: {{{defaults}}}\n")
    for command in (["validate"], ["tick"], ["status"], ["run", "c1"]):
        done = place.run(*command, check=None)
        said = [line for line in (done.out + done.err).splitlines() if place_of_it in line]
        assert "bug" not in done.err
        if command != ["status"]:  # it ends with 0 for what breaks connections only
            assert len(said) == 1, (command, done)
            is_unknown_target = "nobody" in defaults and "@" not in defaults
            assert done.code == (0 if is_unknown_target and command == ["tick"] else 2), done
