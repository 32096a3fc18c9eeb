"""
SIGKILL before every system call of workers whose first attempt fails: within it, before the next one, and within that.

`CONNRUNNER_CRASH_SEED=N` repeats the choice of points of one try, which names its seed when it fails.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest

from tests.crashes import MINUTE, START, Point, Scene, minutes, story, try_points, violations, why_not
from tests.servers.http import Asked, Reply, Server
from tests.servers.sftp import Files
from tests.stands import SECRET, VARIABLE
from tests.test_crash_partners import (
    PEOPLE,
    REFUSED,
    TELLS,
    TWICE,
    Partner,
    Plot,
    attempt,
    declare_people,
    find_last_words,
    judge_import,
    notify,
    plot_export,
    points,
    send_to_sftp,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_clock,  # strace counts calls that libfaketime makes too
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace kills"),
]

AGAIN = "retry: {times: 1, delay: 1s}\n"


# --- partners whose first answer is a failure --------------------------------------------------------------------


@dataclass
class People:
    """An HTTP server with a list of people, which takes them, too; *first* is what it says to the first request."""

    server: Server
    first: Callable[[], Reply]
    asked: int = 0
    taken: dict[int, list[str]] = field(default_factory=dict)  # ids by run

    def __post_init__(self) -> None:
        self.server.act = self._answer

    def forget(self) -> None:
        self.asked = 0
        self.taken.clear()

    def _answer(self, asked: Asked) -> Reply:
        self.asked += 1
        if asked.method == "POST":  # it takes what it then says that it could not
            run = int(asked.headers["Idempotency-Key"].split("-")[1])
            ids = self.taken.setdefault(run, [])
            ids += [row["Id"] for row in asked.json if row["Id"] not in ids]
        if self.asked == 1:
            return self.first()
        if asked.method == "POST":
            return Reply(204)
        return Reply(body=("id,age\n" + "".join(f"{key},{age}\n" for key, age in PEOPLE.items()) + REFUSED).encode())


def _busy() -> Reply:
    return Reply(503)


def _import(folder: Path, request: pytest.FixtureRequest) -> Plot:
    people = People(request.getfixturevalue("http_server"), _busy)
    scene = Scene(folder)
    declare_people(scene, TWICE)
    source = f"from: {{type: http, url: '{people.server.url('/people.csv')}', retries: 0}}"
    work = f"import: {{{source}, format: {{type: csv}}, match: [id], fields: {{id: id, age: age}}}}\n"
    scene.write("connections/people.yaml", f"schedule: {TWICE}\n{work}{notify('people')}{AGAIN}")
    scene.tick(START - MINUTE)
    scene.keep()
    return Plot(scene, lambda: judge_import(scene), people.forget)


def _to_http(_: Path, request: pytest.FixtureRequest) -> Partner:
    people = People(request.getfixturevalue("http_server"), _busy)
    to = {"type": "http", "url": people.server.url("/people"), "body": "list", "retries": 0}
    return Partner(to, lambda: people.taken, people.forget)


def _to_sftp(folder: Path, request: pytest.FixtureRequest) -> Partner:
    """The file is there under its other name when the server refuses to rename it."""
    partner = send_to_sftp(folder, request)
    mood = request.getfixturevalue("sftp_server").mood

    def refuse(_: Files, __: bytes) -> None:
        mood.before.clear()
        raise asyncssh.SFTPFailure("busy")

    def forget() -> None:
        mood.before["posix_rename"] = refuse

    partner.forget = forget
    return partner


def _command(folder: Path, request: pytest.FixtureRequest) -> Plot:
    folder.mkdir(exist_ok=True)
    again = folder / "again"
    scene = Scene(folder, world=[again])
    line = f'"$CONNRUNNER_CONNECTION $CONNRUNNER_RUN" >> {scene.diary}'
    asks = f"echo tried {line}; if [ ! -e {again} ]; then touch {again}; exit 75; fi"
    scene.write(
        "connections/people.yaml",
        f"schedule: {TWICE}\ncommand: {{run: [/bin/sh, -c, '{asks}; echo began {line}; echo ended {line}']}}\n"
        f"{notify('people')}{AGAIN}",
    )
    scene.tick(START - MINUTE)
    scene.keep()
    return Plot(scene, lambda: _judge_command(scene))


def _judge_command(scene: Scene) -> list[str]:
    told = story(scene)
    wrong = violations(told, due={"people": minutes(START, START + MINUTE)}, tells=TELLS)
    tried = Counter(run for verb, _, run in told.diary if verb == "tried")
    for run in told.history["people"]:
        times = tried[run["run"]]
        if not (times <= run["attempts"] <= min(2, times + 1)):
            wrong.append(f"#{run['run']} was tried {times} times, history says {run['attempts']}")
    return wrong


PLOTS = {
    "command": _command,
    "import": _import,
    "export to http": plot_export(_to_http, AGAIN),
    "export to sftp": plot_export(_to_sftp, AGAIN),
}


# --- the tries -----------------------------------------------------------------------------------------------------


@pytest.fixture
def plot(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plot:
    monkeypatch.setenv(VARIABLE, SECRET)
    return PLOTS[request.param](tmp_path / "scene", request)


BETWEEN = [Point("worker", "clock_nanosleep", 1, everybody) for everybody in (False, True)]


@pytest.mark.thorough
@pytest.mark.parametrize("plot", PLOTS, indirect=True)
@pytest.mark.parametrize("point", BETWEEN, ids=["alone", "everybody"])
def test_a_crash_between_two_attempts(plot: Plot, point: Point) -> None:
    struck, wrong = attempt(plot, point)

    assert struck
    assert wrong == []


@pytest.mark.long
@pytest.mark.parametrize("plot", PLOTS, indirect=True)
def test_some_crashes_of_an_attempt(plot: Plot) -> None:
    seed = int(os.environ.get("CONNRUNNER_CRASH_SEED", time.time_ns() % 1_000_000))
    chosen = random.Random(seed).sample(points(plot), 4)
    wrong = [f"{point}: {what}" for point in chosen for what in attempt(plot, point)[1]]
    assert wrong == [], f"CONNRUNNER_CRASH_SEED={seed}"


# Taken out by Python that every process of the command runs first.
UNNUMBERED = """
from connrunner.state import run_files
run_files.RunLog.write_attempt = lambda self, number: None
"""


@pytest.mark.long
@pytest.mark.parametrize("plot", ["command"], indirect=True)
def test_an_attempt_that_is_not_in_the_log_is_missed(plot: Plot) -> None:
    """A negative control: the worker dies before its last words, when its program has run twice."""
    plot.scene.patch(UNNUMBERED)
    struck, wrong = attempt(plot, find_last_words(points(plot)))

    assert struck
    assert wrong == ["#1 was tried 2 times, history says 1"]


@pytest.mark.long
@pytest.mark.parametrize("plot", PLOTS, indirect=True)
def test_a_crash_of_an_attempt_at_every_point(plot: Plot, record_property: Callable[[str, object], None]) -> None:
    plot.scene.forks = True
    tried, wrong = try_points(plot.scene, points(plot), lambda point: attempt(plot, point))
    record_property("points", tried)
    assert wrong == []
    assert tried > 0
