"""
SIGKILL while a run is stopped, before every system call of the command, of the tick that obeys, and of the worker.

`CONNRUNNER_CRASH_SEED=N` repeats the choice of points of one try, which names its seed when it fails.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.crashes import (
    MINUTE,
    PATIENCE,
    START,
    Point,
    Scene,
    list_strangers,
    minutes,
    story,
    try_points,
    violations,
    why_not,
)
from tests.servers.http import Asked, Reply, Server
from tests.test_crash_partners import (
    PEOPLE,
    REFUSED,
    TELLS,
    TICK,
    TWICE,
    compare,
    declare_people,
    find_last_words,
    notify,
    read_held,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_clock,  # strace counts calls that libfaketime makes too
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace kills"),
]

# What the command does is the same for every kind of run.
VICTIMS = [
    ("command", "stop"),
    *((name, victim) for name in ("command", "import", "export") for victim in ("tick", "worker")),
]
DONE = ("succeeded", "partial")


# --- runs that wait to be stopped ----------------------------------------------------------------------------------


@dataclass
class Gate:
    """A pipe from which a program reads until it is let go."""

    folder: Path
    diary: Path

    def __post_init__(self) -> None:
        self.pipe, self.is_open = self.folder / "pipe", self.folder / "open"
        os.mkfifo(self.pipe)

    def is_reached(self) -> bool:
        return self.diary.exists() and "began" in self.diary.read_text()

    def let_go(self) -> None:
        self.is_open.touch()
        with suppress(OSError):  # nobody reads
            os.close(os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK))

    def forget(self) -> None:
        self.is_open.unlink(missing_ok=True)


@dataclass
class People:
    """An HTTP server with a list of people, which takes them, too, and is silent at the request number *silent_at*."""

    server: Server
    silent_at: int
    asked: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    taken: dict[int, list[str]] = field(default_factory=dict)  # ids by run

    def __post_init__(self) -> None:
        self.server.act = self._answer

    def is_reached(self) -> bool:
        return self.asked >= self.silent_at

    def let_go(self) -> None:
        self.go.set()

    def forget(self) -> None:
        self.go.set()
        self.asked, self.go, self.taken = 0, threading.Event(), {}

    def _answer(self, asked: Asked) -> Reply:
        self.asked += 1
        if self.asked == self.silent_at:
            self.go.wait(PATIENCE)
        if asked.method == "POST":
            run = int(asked.headers["Idempotency-Key"].split("-")[1])
            self.taken.setdefault(run, []).extend(row["Id"] for row in asked.json)
            return Reply(204)
        return Reply(body=("id,age\n" + "".join(f"{key},{age}\n" for key, age in PEOPLE.items()) + REFUSED).encode())


@dataclass
class Plot:
    """A connection whose first run waits to be stopped; *judge* adds what its kind of run has to hold."""

    scene: Scene
    name: str
    hold: Gate | People
    judge: Callable[[dict[int, dict[str, Any]]], list[str]]  # of its runs, by number


def _command(folder: Path, request: pytest.FixtureRequest) -> Plot:
    scene = Scene(folder)
    gate = Gate(folder, scene.diary)
    line = f'"$CONNRUNNER_CONNECTION $CONNRUNNER_RUN" >> {scene.diary}'
    program = f"echo began {line}; [ -e {gate.is_open} ] || read _ < {gate.pipe}; echo ended {line}"
    scene.write(
        "connections/people.yaml",
        f"schedule: {TWICE}\ncommand: {{run: [/bin/sh, -c, '{program}']}}\n{notify('people')}",
    )

    def judge(runs: dict[int, dict[str, Any]]) -> list[str]:
        ended = {run for verb, _, run in story(scene).diary if verb == "ended"}
        return [f"#{run} came to its end and is {runs[run]['outcome']}" for run in ended if _was_cut(runs[run])]

    return Plot(scene, "people", gate, judge)


def _import(folder: Path, request: pytest.FixtureRequest) -> Plot:
    scene = Scene(folder)
    people = People(request.getfixturevalue("http_server"), silent_at=1)
    declare_people(scene, TWICE)
    source = f"from: {{type: http, url: '{people.server.url('/people.csv')}'}}"
    work = f"import: {{{source}, format: {{type: csv}}, match: [id], fields: {{id: id, age: age}}}}\n"
    scene.write("connections/people.yaml", f"schedule: {TWICE}\n{work}{notify('people')}")

    def judge(runs: dict[int, dict[str, Any]]) -> list[str]:
        created = sum(run["counts"].get("created", 0) for run in runs.values())
        held = read_held(scene).profiles
        return [] if created == held == len(PEOPLE) else [f"history says {created} created, the store has {held}"]

    return Plot(scene, "people", people, judge)


def _export(folder: Path, request: pytest.FixtureRequest) -> Plot:
    """A row for each request: the first has arrived when the partner falls silent."""
    scene = Scene(folder)
    people = People(request.getfixturevalue("http_server"), silent_at=2)
    declare_people(scene, '{type: cron, expression: "58 5 * * *"}')
    scene.tick(START - 3 * MINUTE)
    scene.tick(START - 2 * MINUTE)
    to = f"{{type: http, url: '{people.server.url('/people')}', body: list, batch: 1, retries: 0}}"
    work = f"export: {{to: {to}, fields: {{Id: id}}, rows: changed}}\n"
    scene.write("connections/audience.yaml", f"schedule: {TWICE}\n{work}{notify('audience')}")

    def judge(runs: dict[int, dict[str, Any]]) -> list[str]:
        wrong = []
        if {key for ids in people.taken.values() for key in ids} != set(PEOPLE):
            wrong.append(f"the partner has {people.taken}")
        for number, run in runs.items():
            created, arrived = run["counts"].get("created", 0), people.taken.get(number, [])
            if created != len(arrived) and run["outcome"] in DONE:
                wrong.append(f"#{number} sent {created}, the partner has {arrived}")
            if arrived and _was_cut(run) and not any(word in run["message"] for word in ("delivered", "may have")):
                wrong.append(f"#{number} is {run['outcome']} and does not say what arrived: {run['message']}")
        return wrong

    return Plot(scene, "audience", people, judge)


PLOTS = {"command": _command, "import": _import, "export": _export}


# --- the tries -----------------------------------------------------------------------------------------------------


@dataclass
class Stopping:
    """One try: a run that waits, `connrunner stop`, and what dies meanwhile."""

    plot: Plot
    tick: subprocess.Popen[bytes] | None = None  # where it is not the victim
    command: subprocess.Popen[bytes] | None = None  # the same
    asked_at: float = 0.0  # seconds since 1970
    was_asked: bool = True  # the request was there when the victim had died

    def strike(self, point: Point) -> bool:
        scene = self.plot.scene
        if point.victim != "stop":
            return scene.strike(TICK, point, meanwhile=self.ask, after=self.let_go)
        self._launch_tick()
        return scene.strike(self._words(), point, after=self.let_go)

    def calls(self, victim: str) -> list[tuple[str, int]]:
        """Return the calls that *victim* makes from the request on."""
        scene = self.plot.scene
        if victim != "stop":
            found = scene.calls(TICK, victim, meanwhile=self._ask_at)
        else:
            found = scene.calls(self._words(), victim, before=self._launch_tick)
        self.let_go()
        return found

    def _ask_at(self) -> float:
        self.ask()
        return self.asked_at

    def _launch_tick(self) -> None:
        self.tick = self.plot.scene.launch(*TICK)
        self._wait(lambda: False)

    def ask(self) -> None:
        """Type `connrunner stop` as soon as the run waits."""
        self._wait(self.plot.scene.has_struck)
        self.asked_at = time.time()
        self.command = self.plot.scene.launch(*self._words())

    def _words(self) -> tuple[str, ...]:
        return ("stop", self.plot.name, "--reason", "wrong day")

    def _wait(self, is_over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.plot.hold.is_reached() and not is_over():
            assert time.monotonic() < deadline, "the run does not come to where it waits"
            time.sleep(0.01)

    def let_go(self) -> None:
        """Have the run stopped if that is asked for, and else let it go on."""
        scene = self.plot.scene
        deadline = time.monotonic() + PATIENCE
        requests = scene.state.requests
        self.was_asked = self._is_ended() or any(requests.glob("*.json"))
        while self.was_asked and list(scene.processes()) and not self._is_ended():
            assert time.monotonic() < deadline, "the run is not stopped"
            time.sleep(0.05)
        self.plot.hold.let_go()
        for process in (self.tick, self.command):
            if process is not None:
                process.wait(timeout=PATIENCE)

    def _is_ended(self) -> bool:
        return bool(story(self.plot.scene).history.get(self.plot.name))


def _was_cut(run: dict[str, Any]) -> bool:
    return run["outcome"] not in DONE


def attempt(plot: Plot, point: Point) -> tuple[bool, list[str]]:
    scene = plot.scene
    scene.reset()
    plot.hold.forget()
    one = Stopping(plot)
    struck = one.strike(point)
    for moment in (START + timedelta(seconds=30), START + MINUTE):
        scene.tick(moment)
    return struck, _judge(one, point if struck else None)


def _judge(one: Stopping, point: Point | None) -> list[str]:
    plot, scene = one.plot, one.plot.scene
    told = story(scene)
    due = {plot.name: minutes(START, START + MINUTE)}
    if plot.name == "audience":
        due["people"] = minutes(START - 2 * MINUTE, START - 2 * MINUTE)
    wrong = violations(told, due=due, tells=TELLS) + compare(told, read_held(scene))
    runs = {run["run"]: run for run in told.history[plot.name]}
    first, *more = [runs[number] for number in sorted(runs)]
    if point is not None and point.everybody:
        expected = ("stopped", "interrupted") if one.was_asked else ("interrupted",)
    else:
        expected = ("stopped",) if one.was_asked else DONE
    if first["outcome"] not in expected:
        wrong.append(f"#{first['run']} is {first['outcome']}, and not {expected}: {first['message']}")
    if first["outcome"] == "stopped" and "wrong day" not in first["message"]:
        wrong.append(f"#{first['run']} does not say why it was stopped: {first['message']}")
    wrong += [f"#{run['run']} is {run['outcome']}: {run['message']}" for run in more if _was_cut(run)]
    if one.command is not None and one.command.returncode not in (0 if first["outcome"] == "stopped" else 1, -9):
        wrong.append(f"stop ended with {one.command.returncode}, the run is {first['outcome']}")
    wrong += [f"the request {path.name} is left" for path in scene.state.requests.iterdir()]
    wrong += plot.judge(runs)
    return wrong + [f"P11: {path} is left" for path in list_strangers(scene.state.root)]


@pytest.fixture
def plot(request: pytest.FixtureRequest, tmp_path: Path) -> Plot:
    plot = PLOTS[request.param](tmp_path / "scene", request)
    plot.scene.tick(START - MINUTE)
    plot.scene.keep()
    return plot


def points(plot: Plot, victim: str) -> list[Point]:
    plot.hold.forget()
    calls = [each for each in Stopping(plot).calls(victim) if each[0] != "clone3" and each != ("execve", 1)]
    assert [run["outcome"] for run in story(plot.scene).history[plot.name]] == ["stopped"]
    return [Point(victim, call, nth, everybody) for everybody in (False, True) for call, nth in calls]


FEW = [
    ("command", Point("stop", "fsync", 1)),  # before the request is there
    ("command", Point("stop", "fsync", 2)),  # behind it
    ("import", Point("tick", "kill", 1, everybody=True)),  # before the worker is told
    ("export", Point("tick", "kill", 1)),
    ("export", Point("worker", "fsync", 1)),  # before its last words are durable
]


@pytest.mark.thorough
@pytest.mark.parametrize(("plot", "point"), FEW, indirect=["plot"], ids=[f"{name}-{point}" for name, point in FEW])
def test_a_crash_while_a_run_is_stopped(plot: Plot, point: Point) -> None:
    struck, wrong = attempt(plot, point)

    assert struck
    assert wrong == []


# Taken out by Python that every process of the command runs first: the tick forgets who wants the end.
FORGETFUL = """
from connrunner.scheduler import supervision
ask = supervision.SupervisedRun.ask_to_end
supervision.SupervisedRun.ask_to_end = lambda self, stop=None: ask(self)
"""


@pytest.mark.long
@pytest.mark.parametrize("plot", ["command"], indirect=True)
def test_a_stop_that_is_forgotten_is_missed(plot: Plot) -> None:
    """A negative control: the worker dies before its last words, and the tick does not know that it was told to end."""
    point = find_last_words(points(plot, "worker"))
    plot.scene.patch(FORGETFUL)
    struck, wrong = attempt(plot, point)

    assert struck
    assert any("and not ('stopped',)" in what for what in wrong)


@pytest.mark.long
@pytest.mark.parametrize(("plot", "victim"), VICTIMS, indirect=["plot"])
def test_some_crashes_of_a_stop(plot: Plot, victim: str) -> None:
    seed = int(os.environ.get("CONNRUNNER_CRASH_SEED", time.time_ns() % 1_000_000))
    chosen = random.Random(seed).sample(points(plot, victim), 2)
    wrong = [f"{point}: {what}" for point in chosen for what in attempt(plot, point)[1]]
    assert wrong == [], f"CONNRUNNER_CRASH_SEED={seed}"


@pytest.mark.long
@pytest.mark.parametrize(("plot", "victim"), VICTIMS, indirect=["plot"])
def test_a_crash_of_a_stop_at_every_point(
    plot: Plot, victim: str, record_property: Callable[[str, object], None]
) -> None:
    plot.scene.forks = True
    tried, wrong = try_points(plot.scene, points(plot, victim), lambda point: attempt(plot, point))
    record_property("points", tried)
    assert wrong == []
    assert tried > 0
