"""SIGKILL while what was decided about a held run is carried out: before every system call of the tick and the worker.

Afterwards the profiles are as before, and the run is held still or declined, or they are as approved, once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb
import pytest

from connrunner.core.planning.due import DecisionRequest
from connrunner.state import requests
from connrunner.state.journal import Journal
from tests.crashes import Point, Scene, list_strangers, story, try_points, violations, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_clock,  # strace counts calls that libfaketime makes too
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace kills"),
]

PROFILE = "properties: {id: {type: text, identifier: true}, city: {type: text}}\n"
CRM = """\
schedule: {type: manual}
import:
  from: {type: files, path: "in/*.csv"}
  match: [id]
  fields: {id: id, city: city}
  expect: {max_change_pct: 50, otherwise: hold}
notify: [{to: ann@example.com, when: always}]
"""
BEFORE, AFTER = ["Gent", "Utrecht"], ["Delft", "Gouda"]
Decision = Literal["approve", "decline"]


def stage(folder: Path, kind: Decision) -> Scene:
    """Return a scene in which run 2 is held, and somebody has decided about it."""
    scene = Scene(folder, forks=True)
    scene.write("profile.yaml", PROFILE)
    scene.write("connections/crm.yaml", CRM)
    (scene.workspace / "in").mkdir()
    scene.tick(None)  # makes the state folder
    for cities in (BEFORE, AFTER):
        rows = "".join(f"{number},{city}\n" for number, city in enumerate(cities))
        (scene.workspace / "in" / "a.csv").write_text(f"id,city\n{rows}")
        requests.request_run(scene.state, "crm", at=datetime.now(UTC), by="ann")
        scene.tick(None)
    assert Journal(scene.state).read().held["crm"].run == 2
    decide(scene, kind)
    scene.keep()
    return scene


def decide(scene: Scene, kind: Decision) -> None:
    at = datetime.now(UTC)
    request = DecisionRequest(kind=kind, connection="crm", run=2, asked_at=at, asked_by="ann", reason="seen")
    requests.request_decision(scene.state, request)


def cities(scene: Scene) -> list[str]:
    with duckdb.connect(str(scene.state.profiles), read_only=True) as store:
        return [city for (city,) in store.execute("SELECT city FROM profiles ORDER BY city").fetchall()]


def judge(scene: Scene, kind: Decision) -> list[str]:
    """Return what the crash broke; what was cut off before it did anything is decided about once more."""
    found, known = cities(scene), Journal(scene.state).read()
    if kind == "approve" and found == BEFORE and "crm" in known.held:
        decide(scene, kind)
        scene.tick(None)
        found, known = cities(scene), Journal(scene.state).read()
    told = story(scene)
    ends = [record["run"] for record in told.journal if record["type"] == "ended"]
    done = [run["run"] for run in ends if run["trigger"] == kind and run["code"] in ("", "declined")]
    wrong = violations(told, tells={"crm": "always"})
    if kind == "decline":  # its mail is about what was decided, not about how a run ended
        wrong = [one for one in wrong if not one.startswith("P6")]
        mails = [one for one in told.mails if ".declined." in one]
        wrong += [] if len(mails) == 1 else [f"P6: {mails}"]
    wrong += [f"P11: {path} is left" for path in list_strangers(scene.state.root)]
    wrong += [] if len(done) == 1 else [f"it was done {len(done)} times: {ends}"]
    wrong += [] if "crm" not in known.held else ["it is held still"]
    wrong += [] if found == (AFTER if kind == "approve" else BEFORE) else [f"the profiles are {found}"]
    wrong += [] if (kind == "decline") == ("crm" in known.declined) else [f"declined is {known.declined}"]
    return wrong + ([] if not requests.read_decisions(scene.state) else ["a request is left"])


def attempt(scene: Scene, kind: Decision, point: Point) -> tuple[bool, list[str]]:
    scene.reset()
    struck = scene.strike(("tick",), point)
    scene.tick(None)
    scene.tick(None)
    return struck, judge(scene, kind)


PARTS = 8  # so that several processes share the work; the first of them is tried with every change
CASES = [
    pytest.param(kind, victim, part, marks=pytest.mark.long if part else pytest.mark.thorough)
    for kind, victim in (("approve", "tick"), ("approve", "worker"), ("decline", "tick"))
    for part in range(PARTS)
]


@pytest.mark.parametrize(("kind", "victim", "part"), CASES)
def test_a_crash_while_a_decision_is_carried_out(
    tmp_path: Path, kind: Decision, victim: str, part: int, record_property: Callable[[str, object], None]
) -> None:
    scene = stage(tmp_path, kind)
    calls = [one for one in scene.calls(("tick",), victim) if one != ("execve", 1)]
    points = [Point(victim, call, nth, everybody) for everybody in (False, True) for call, nth in calls]
    tried, wrong = try_points(scene, points[part::PARTS], lambda point: attempt(scene, kind, point))
    record_property("points", tried)
    assert wrong == []
    assert tried > 0
