"""SIGKILL before every system call that changes something: nothing is lost, nothing is done twice.

`CONNRUNNER_CRASH_SEED=N` repeats the random part of one try, which names its seed when it fails.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connrunner.scheduler.tick import Tick
from connrunner.state import requests
from tests.crashes import MINUTE, START, Point, Scene, list_strangers, minutes, story, try_points, violations, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_clock,  # strace counts calls that libfaketime makes too
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace kills"),
]

EVERY_MINUTE = "{type: times_per_day, times: 1440}"
DAILY = '{type: days_of_week, days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], time: "06:00"}'
TELLS = {"ticker": "always", "daily": "failure", "asked": "always", "once": "always", "people": "always"}


@dataclass(frozen=True)
class Plot:
    """What a scene is about: how it begins, the command that is killed, the ticks that come after it."""

    begin: Callable[[Scene], None]
    command: tuple[str, ...]
    victims: tuple[str, ...]
    later: tuple[datetime | None, ...]
    judge: Callable[[Scene], list[str]]


def _two_commands(scene: Scene) -> None:
    scene.command("ticker", EVERY_MINUTE)
    scene.command("daily", DAILY, exit_status=3, when="failure")
    scene.tick(START - 2 * MINUTE)


def _judge_two(scene: Scene) -> list[str]:
    due = {"ticker": minutes(START - 2 * MINUTE, START + MINUTE), "daily": minutes(START, START)}
    return violations(story(scene), due=due, tells=TELLS)


def _broken_file(scene: Scene) -> None:
    scene.write("connrunner.yaml", (scene.workspace / "connrunner.yaml").read_text() + DEFAULTS)
    _two_commands(scene)
    scene.write("connections/daily.yaml", "schedul: nightly\n")


DEFAULTS = "defaults: {notify: [{to: ops@example.com, when: failure}]}\n"


def _one_wish(scene: Scene) -> None:
    scene.command("asked", "{type: manual}")


def _judge_wish(scene: Scene) -> list[str]:
    return violations(story(scene), tells=TELLS)


def _one_waits(scene: Scene) -> None:
    scene.command("asked", "{type: manual}")
    one = Tick(scene.workspace, scene.state, say=scene.said.append)
    requests.request_run(scene.state, "asked", at=datetime.now(UTC), by="somebody")
    one.take_in()


def _first_tick(scene: Scene) -> None:
    scene.command("once", "{type: times_per_day, times: 1}")


def _judge_first(scene: Scene) -> list[str]:
    told = story(scene)
    slots = [slot for record in told.journal for slot in record.get("slots", ())]
    return violations(told, tells=TELLS) + ([] if len(slots) == 1 else [f"P1: one slot became {slots}"])


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


LATER = (START + MINUTE / 2, START + MINUTE)
TICK = ("tick", "--now", _at(START))
PLOTS = {
    "two-due": Plot(_two_commands, TICK, ("tick", "worker", "mailer"), LATER, _judge_two),
    "broken-file": Plot(_broken_file, TICK, ("tick",), LATER, _judge_two),
    "first-tick": Plot(_first_tick, ("tick",), ("tick",), (None, None), _judge_first),
    "stop": Plot(_one_waits, ("stop", "asked", "--reason", "wrong day"), ("stop",), (None, None), _judge_wish),
    "run": Plot(_one_wish, ("run", "asked"), ("run",), (None, None), _judge_wish),
}


def stage(plot: Plot, folder: Path) -> Scene:
    scene = Scene(folder)
    plot.begin(scene)
    scene.keep()
    return scene


def attempt(plot: Plot, scene: Scene, point: Point) -> tuple[bool, list[str]]:
    """Crash at *point*, recover, and return whether the crash happened and what it broke."""
    scene.reset()
    struck = scene.strike(plot.command, point)
    for moment in plot.later:
        scene.tick(moment)
    return struck, plot.judge(scene) + [f"P11: {path} is left" for path in list_strangers(scene.state.root)]


def every_point(plot: Plot, scene: Scene, victim: str, part: int = 0, parts: int = 1) -> tuple[int, list[str]]:
    """Crash before each call, one try for each; return how many crashes there were, and what they broke."""
    points = [
        Point(victim, call, nth, everybody)
        for everybody in (False, True)
        for call, nth in scene.calls(plot.command, victim)
        if (call, nth) != ("execve", 1)  # the start itself
    ]
    return try_points(scene, points[part::parts], lambda point: attempt(plot, scene, point))


# Taken out by Python that every process runs first, in the order of what has to be found.
FLAWS = {
    "the intent": """
from connrunner.state import journal, journal_state
append = journal.Journal.append
def forgetful(self, *records):
    if records[0]["type"] != "started":
        return append(self, *records)
    journal_state.apply_record(self.state, records[0])
    return self.state
journal.Journal.append = forgetful
""",
    "the promise beside the slot": """
from connrunner.state import journal_state
plan_as_record = journal_state.plan_as_record
def without_promises(plan, **facts):
    return {**plan_as_record(plan, **facts), "promises": {}}
journal_state.plan_as_record = without_promises
""",
}
CONTROLS = [
    ("the intent", "two-due", Point("tick", "vfork", 2)),
    ("the intent", "two-due", Point("tick", "vfork", 2, everybody=True)),
    ("the promise beside the slot", "two-due", Point("tick", "vfork", 1)),
]
FEW = [
    ("two-due", Point("tick", "vfork", 1)),  # between intent and start
    ("two-due", Point("mailer", "fdatasync", 1)),  # between a sent mail and its record
]


@pytest.mark.parametrize(("name", "point"), FEW, ids=[str(point) for _, point in FEW])
@pytest.mark.thorough
def test_a_crash_where_it_hurts(tmp_path: Path, name: str, point: Point) -> None:
    struck, wrong = attempt(PLOTS[name], stage(PLOTS[name], tmp_path), point)

    assert struck
    assert wrong == []


@pytest.mark.long
@pytest.mark.parametrize(("flaw", "name", "point"), CONTROLS)
def test_what_is_taken_out_is_missed(tmp_path: Path, flaw: str, name: str, point: Point) -> None:
    """Negative controls: without one of its precautions the same crash breaks a promise."""
    scene = stage(PLOTS[name], tmp_path)
    scene.patch(FLAWS[flaw])
    struck, wrong = attempt(PLOTS[name], scene, point)

    assert struck
    assert wrong


ROUNDS = 8


@pytest.mark.long
@pytest.mark.parametrize("life", range(3))
def test_one_crash_after_the_other(tmp_path: Path, life: int) -> None:
    """Tick after tick is killed somewhere, before the last one has recovered."""
    seed = int(os.environ.get("CONNRUNNER_CRASH_SEED", time.time_ns() % 1_000_000)) + life
    dice = random.Random(seed)
    scene = stage(PLOTS["two-due"], tmp_path)
    calls = {victim: scene.calls(TICK, victim) for victim in PLOTS["two-due"].victims}
    scene.reset()
    for number in range(ROUNDS):
        victim = dice.choice(sorted(calls))
        point = Point(victim, *dice.choice(calls[victim]), everybody=dice.random() < 0.5)
        scene.strike(("tick", "--now", _at(START + number * MINUTE)), point)
    for number in (ROUNDS, ROUNDS + 1):
        scene.tick(START + number * MINUTE)

    due = {"ticker": minutes(START - 2 * MINUTE, START + (ROUNDS + 1) * MINUTE), "daily": minutes(START, START)}
    assert violations(story(scene), due=due, tells=TELLS) == [], f"CONNRUNNER_CRASH_SEED={seed - life}"
    assert list_strangers(scene.state.root) == [], f"CONNRUNNER_CRASH_SEED={seed - life}"


PARTS = 4  # so that several processes share the work
CASES = [(name, victim, part) for name, plot in PLOTS.items() for victim in plot.victims for part in range(PARTS)]


@pytest.mark.long
@pytest.mark.parametrize(("name", "victim", "part"), CASES)
def test_a_crash_at_every_point(
    tmp_path: Path, name: str, victim: str, part: int, record_property: Callable[[str, object], None]
) -> None:
    plot = PLOTS[name]
    tried, wrong = every_point(plot, stage(plot, tmp_path), victim, part, PARTS)
    record_property("points", tried)
    assert wrong == []
    assert tried > 0
