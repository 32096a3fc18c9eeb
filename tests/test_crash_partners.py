"""
SIGKILL before every system call of workers that import and export: history, store and partner tell one story.

`CONNRUNNER_CRASH_SEED=N` repeats the choice of points of one try, which names its seed when it fails.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connrunner.scheduler.lanes import Lanes
from tests.crashes import (
    MINUTE,
    START,
    Point,
    Scene,
    Story,
    list_strangers,
    minutes,
    story,
    try_points,
    violations,
    why_not,
)
from tests.stands import REFERENCE, SECRET, VARIABLE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_clock,  # strace counts calls that libfaketime makes too
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace kills"),
]

PROFILE = "properties:\n  id: {type: text, identifier: true}\n  age: {type: integer}\n"
TWICE = '{type: cron, expression: "0,1 6 * * *"}'
PEOPLE = {str(number): str(20 + number) for number in range(1, 4)}
REFUSED = "4,x\n"
TELLS = {"people": "always", "audience": "always"}
TICK = ("tick", "--now", f"{START:%Y-%m-%dT%H:%M:%SZ}")
MAY_HAVE = "may have"  # the words of a run of which nobody can know whether all has arrived


# --- partners ------------------------------------------------------------------------------------------------------


@dataclass
class Partner:
    """Where an export goes: what stands below `to`, what is there by run, and how all of it is taken back."""

    to: dict[str, Any]
    held: Callable[[], dict[int, list[str]]]  # ids by run; where nobody can tell the run, by 0
    forget: Callable[[], None] = lambda: None
    world: list[Path] = field(default_factory=list)
    half_written: Callable[[], list[str]] = list


def _ids(content: bytes) -> list[str]:
    return [row["Id"] for row in csv.DictReader(io.StringIO(content.decode()))]


def _in_folder(folder: Path) -> dict[int, list[str]]:
    return {int(path.stem): _ids(path.read_bytes()) for path in folder.glob("*.csv") if not path.name.startswith(".")}


def _half_written(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*") if path.name.startswith(".") or path.suffix != ".csv"]


def _files(folder: Path, request: pytest.FixtureRequest) -> Partner:
    out = folder / "out"
    out.mkdir()
    return Partner(
        {"type": "files", "path": f"{out}/{{run}}.csv"},
        lambda: _in_folder(out),
        world=[out],
        half_written=lambda: _half_written(out),
    )


def send_to_sftp(folder: Path, request: pytest.FixtureRequest) -> Partner:
    server = request.getfixturevalue("sftp_server")
    out = folder / "partner" / "out"
    out.mkdir(parents=True)
    server.mood.__init__(root=os.fsencode(folder / "partner"))
    where = {"type": "sftp", "host": "127.0.0.1", "port": server.port, "username": "crm", "password": REFERENCE}
    return Partner(
        {**where, "host_key": server.fingerprint, "path": "out/{run}.csv"},
        lambda: _in_folder(out),
        world=[folder / "partner"],
    )


def _s3(folder: Path, request: pytest.FixtureRequest) -> Partner:
    from tests.servers.s3 import empty, there

    server = request.getfixturevalue("s3_server")
    server.forget()
    bucket = [empty()]
    keys = {"access_key_id": REFERENCE, "secret_access_key": REFERENCE}

    def forget() -> None:
        bucket[0] = empty()

    return Partner(
        {"type": "s3", "bucket": "drop", "endpoint_url": server.url, **keys, "path": "out/{run}.csv"},
        lambda: {int(Path(key).stem): _ids(content) for key, content in there(bucket[0]).items()},
        forget,
    )


def _sqlite(folder: Path, request: pytest.FixtureRequest) -> Partner:
    database = folder / "partner.db"
    with closing(sqlite3.connect(database)) as session:
        session.execute("CREATE TABLE audience (Id TEXT PRIMARY KEY)")

    def held() -> dict[int, list[str]]:
        with closing(sqlite3.connect(database)) as session:
            return {0: [row[0] for row in session.execute("SELECT Id FROM audience ORDER BY Id")]}

    to = {"type": "sql", "url": f"sqlite:///{database}", "table": "audience", "mode": "upsert", "unique": ["Id"]}
    return Partner(to, held, world=[database, folder / "partner.db-journal"])


PARTNERS = {"files": _files, "sftp": send_to_sftp, "s3": _s3, "sqlite": _sqlite}


# --- scenes --------------------------------------------------------------------------------------------------------


@dataclass
class Plot:
    scene: Scene
    judge: Callable[[], list[str]]
    forget: Callable[[], None] = lambda: None


def _import(folder: Path, request: pytest.FixtureRequest) -> Plot:
    """Three people and a row that is refused are imported, by two runs of which the first is the victim."""
    scene = Scene(folder)
    declare_people(scene, TWICE)
    scene.tick(START - MINUTE)
    scene.keep()
    return Plot(scene, lambda: judge_import(scene))


def declare_people(scene: Scene, schedule: str) -> None:
    scene.write("profile.yaml", PROFILE)
    (scene.workspace / "in").mkdir()
    scene.write("in/a.csv", "id,age\n" + "".join(f"{key},{age}\n" for key, age in PEOPLE.items()) + REFUSED)
    source = 'import: {from: {type: files, path: "in/*.csv"}, match: [id], fields: {id: id, age: age}}\n'
    scene.write("connections/people.yaml", f"schedule: {schedule}\n{source}{notify('people')}")


def notify(name: str) -> str:
    return f"notify: [{{to: {name}@example.com, when: {TELLS[name]}}}]\n"


def plot_export(
    make_partner: Callable[[Path, pytest.FixtureRequest], Partner], more: str = ""
) -> Callable[[Path, pytest.FixtureRequest], Plot]:
    def stage(folder: Path, request: pytest.FixtureRequest) -> Plot:
        """The people are there; two runs send whoever has changed, and the first is the victim."""
        folder.mkdir(exist_ok=True)
        partner = make_partner(folder, request)
        scene = Scene(folder, world=partner.world)
        declare_people(scene, '{type: cron, expression: "58 5 * * *"}')
        to = json.dumps(partner.to)
        sends = f"export: {{to: {to}, fields: {{Id: id}}, rows: changed}}\n"
        scene.tick(START - 3 * MINUTE)
        scene.tick(START - 2 * MINUTE)
        scene.write("connections/audience.yaml", f"schedule: {TWICE}\n{sends}{notify('audience')}{more}")
        scene.tick(START - MINUTE)
        scene.keep()
        return Plot(scene, lambda: judge_export(scene, partner), partner.forget)

    return stage


PLOTS = {
    "import": _import,
    **{f"export to {name}": plot_export(make_partner) for name, make_partner in PARTNERS.items()},
}


# --- what must hold ------------------------------------------------------------------------------------------------


@dataclass
class Held:
    """What the profile store knows, read without connrunner's own readers."""

    profiles: int
    runs: dict[tuple[str, int], dict[str, int]]
    sent: int


def read_held(scene: Scene) -> Held:
    if not scene.state.profiles.exists():
        return Held(0, {}, 0)
    with duckdb.connect(str(scene.state.profiles), read_only=True) as session:
        rows = session.execute("SELECT connection, run, counts FROM runs").fetchall()
        [(profiles,)] = session.execute("SELECT count(*) FROM profiles").fetchall()
        [(sent,)] = session.execute("SELECT count(*) FROM sent").fetchall()
    return Held(profiles, {(name, run): _said(json.loads(counts)) for name, run, counts in rows}, sent)


def _said(counts: dict[str, int]) -> dict[str, int]:
    return {key: value for key, value in counts.items() if value and key != "detail"}


def compare(told: Story, held: Held) -> list[str]:
    """What the store has of a run is what history says, and the other way round."""
    wrong = []
    runs = {(run["connection"], run["run"]): run for line in told.history.values() for run in line}
    for key, counts in held.runs.items():
        run = runs.get(key)
        if run is None:
            wrong.append(f"the store has {key}, history has not")
        elif run["outcome"] not in ("succeeded", "partial") or _said(run["counts"]) != counts:
            wrong.append(f"{key} is {run['outcome']} {_said(run['counts'])}, the store has {counts}: {run['message']}")
    wrong += [
        f"{key} is {run['outcome']}, the store does not know it"
        for key, run in runs.items()
        if key not in held.runs and run["outcome"] in ("succeeded", "partial") and _said(run["counts"])
    ]
    return wrong


def judge_import(scene: Scene) -> list[str]:
    told, held = story(scene), read_held(scene)
    wrong = violations(told, due={"people": minutes(START, START + MINUTE)}, tells=TELLS) + compare(told, held)
    created = sum(run["counts"].get("created", 0) for run in told.history["people"])
    if not created == held.profiles == len(PEOPLE):
        wrong.append(f"history says {created} created, the store has {held.profiles}")
    return wrong


def judge_export(scene: Scene, partner: Partner) -> list[str]:
    told, held, there = story(scene), read_held(scene), partner.held()
    due = {
        "people": [f"{START - 2 * MINUTE:%Y-%m-%dT%H:%M}"],
        "audience": minutes(START, START + MINUTE),
    }
    wrong = violations(told, due=due, tells=TELLS) + compare(told, held)
    wrong += [f"{name} is left half written" for name in partner.half_written()]
    if {key for ids in there.values() for key in ids} != set(PEOPLE):
        wrong.append(f"the partner has {there}")
    if held.sent != len(PEOPLE):
        wrong.append(f"the ledger knows {held.sent}")
    for run in told.history["audience"]:
        created = run["counts"].get("created", 0)
        known = ("audience", run["run"]) in held.runs
        arrived = len(there.get(run["run"], there.get(0, [])))
        if created and created != arrived:
            wrong.append(f"#{run['run']} sent {created}, the partner has {arrived}")
        if not known and run["run"] in there and MAY_HAVE not in run["message"]:
            wrong.append(
                f"#{run['run']} arrived whole, and its message does not say that it may have: {run['message']}"
            )
    return wrong


# --- the tries -----------------------------------------------------------------------------------------------------


def attempt(plot: Plot, point: Point) -> tuple[bool, list[str]]:
    scene = plot.scene
    scene.reset()
    plot.forget()
    struck = scene.strike(TICK, point)
    for moment in (START + timedelta(seconds=30), START + MINUTE):
        scene.tick(moment)
    return struck, plot.judge() + [f"P11: {path} is left" for path in list_strangers(scene.state.root)]


@pytest.fixture
def plot(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plot:
    monkeypatch.setenv(VARIABLE, SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return PLOTS[request.param](tmp_path / "scene", request)


def points(plot: Plot) -> list[Point]:
    plot.forget()
    # Left out: DuckDB starts its threads, and the start of the process itself, which nothing can strike.
    calls = [each for each in plot.scene.calls(TICK, "worker") if each[0] != "clone3" and each != ("execve", 1)]
    assert {line[-1]["outcome"] for line in story(plot.scene).history.values()} <= {"succeeded", "partial"}
    return [Point("worker", call, nth, everybody) for everybody in (False, True) for call, nth in calls]


def find_last_words(found: Sequence[Point]) -> Point:
    """Return the point before the line by which a worker, which dies alone, would say in its log how it went."""
    return [point for point in found if point.call == "write" and not point.everybody][-1]


@pytest.mark.long
@pytest.mark.parametrize("plot", PLOTS, indirect=True)
def test_some_crashes_of_a_worker(plot: Plot) -> None:
    seed = int(os.environ.get("CONNRUNNER_CRASH_SEED", time.time_ns() % 1_000_000))
    chosen = random.Random(seed).sample(points(plot), 4)
    wrong = [f"{point}: {what}" for point in chosen for what in attempt(plot, point)[1]]
    assert wrong == [], f"CONNRUNNER_CRASH_SEED={seed}"


# Taken out by Python that every process of the command runs first: nobody asks the store how the run went.
NOBODY_ASKS = """
from connrunner.scheduler import lanes
lanes.Lanes._ask_store = lambda self, started: None
"""


@pytest.mark.long
@pytest.mark.parametrize("forks", [False, True])
@pytest.mark.parametrize("plot", ["import", "export to files"], indirect=True)
def test_a_store_that_nobody_asks_is_missed(plot: Plot, forks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A negative control: the worker dies before its last words."""
    plot.scene.forks = forks
    point = find_last_words(points(plot))
    plot.scene.patch(NOBODY_ASKS)
    if forks:  # they are what this process is
        monkeypatch.setattr(Lanes, "_ask_store", lambda self, started: None)
    struck, wrong = try_points(plot.scene, [point], lambda point: attempt(plot, point))

    assert struck
    assert any("the store has" in what for what in wrong)


PARTS = 4  # so that several processes share the work


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("plot", PLOTS, indirect=True)
def test_a_crash_of_a_worker_at_every_point(
    plot: Plot, part: int, record_property: Callable[[str, object], None]
) -> None:
    plot.scene.forks = True
    tried, wrong = try_points(plot.scene, points(plot)[part::PARTS], lambda point: attempt(plot, point))
    record_property("points", tried)
    assert wrong == []
    assert tried > 0
