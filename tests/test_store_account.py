"""A run that ends badly after its changes became durable: history says what the store and the partner hold."""

from __future__ import annotations

from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.model import StoreSettings
from connrunner.profiles.jobs import RunStamp
from connrunner.profiles.store_place import StorePlace
from connrunner.state import run_files
from connrunner.worker.recorded_result import ask_store
from tests.conftest import Place

pytestmark = pytest.mark.slow

IMPORT = """\
schedule: {type: manual}
import: {from: {type: files, path: "in/*.csv"}, match: [id], fields: {id: id, age: age}}
"""
EXPORT = """\
schedule: {type: manual}
export: {to: {type: files, path: "out/{run}.csv"}, fields: {Id: id}, rows: changed}
"""
# Python imports a module of this name at its start, in every process.
ACCIDENT = """
import importlib, os, signal, sys

if "connrunner.worker.process" in sys.orig_argv:
    module, path = os.environ["ACCIDENT_AT"].split(":")
    *owner, name = path.split(".")
    place = importlib.import_module(module)
    for part in owner:
        place = getattr(place, part)
    real = getattr(place, name)

    def accident(*arguments, **named):
        setattr(place, name, real)
        exec(os.environ["ACCIDENT"])
        return real(*arguments, **named)

    setattr(place, name, accident)
"""
COMMITTED = "connrunner.profiles.recorded_runs:read_recorded"  # what follows the COMMIT
TOLD = "connrunner.state.run_files:RunLog.write_end"  # the last thing that a worker does
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def people(place: Place) -> Place:
    place.write("connections/people.yaml", IMPORT)
    place.write("connections/audience.yaml", EXPORT)
    place.write("in/a.csv", "id,age\n1,30\n2,x\n3,40\n")
    return place


def run_with(place: Place, name: str, at: str, accident: str, code: int) -> dict[str, Any]:
    """Run *name*, whose worker has an *accident* when it comes to the function *at*; return what history says."""
    place.write("python/sitecustomize.py", ACCIDENT)
    environment = {"PYTHONPATH": str(place.folder / "python"), "ACCIDENT_AT": at, "ACCIDENT": accident}
    place.run("run", name, check=code, env=environment)
    return place.runs(name)[0]


def counts(run: dict[str, Any]) -> dict[str, int]:
    return {name: run["counts"][name] for name in ("read", "created", "invalid")}


END_OF_ALL = [
    (TOLD, KILL, "signal 9"),
    (COMMITTED, KILL, "signal 9"),
    (COMMITTED, "os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM"),
    (COMMITTED, "os.kill(os.getpid(), signal.SIGALRM)", "`timeout`"),
    (COMMITTED, "raise OSError(28, 'No space left on device')", "No space left"),
    (COMMITTED, "raise ValueError('an accident')", "ValueError"),
]
SOME = [pytest.param(*END_OF_ALL[0]), *(pytest.param(*one, marks=pytest.mark.thorough) for one in END_OF_ALL[1:])]


@pytest.mark.parametrize(("at", "accident", "words"), SOME)
def test_an_import_that_is_durable_is_told_so(people: Place, at: str, accident: str, words: str) -> None:
    run = run_with(people, "people", at, accident, 0)
    assert (run["outcome"], counts(run)) == ("partial", {"read": 3, "created": 2, "invalid": 1})
    assert words in run["message"]
    assert run["message"].startswith("2 created, 1 refused; ")
    assert [file["name"] for file in run["detail"]["files"]] == ["in/a.csv"]
    rejected = run_files.read_events(people.state.rejects("people", 1))
    assert [reject["line"] for reject in rejected] == [3]
    log = list(run_files.read_events(people.state.log("people", 1)))
    assert any(words in event.get("message", "") and event.get("level") == "warning" for event in log)
    assert "2 profiles" in people.run("profiles").out
    people.run("run", "people", check=None)
    assert people.runs("people")[0]["counts"]["created"] == 0


@pytest.mark.thorough
@pytest.mark.parametrize(("at", "accident", "words"), END_OF_ALL)
def test_an_export_that_is_confirmed_is_told_so(people: Place, at: str, accident: str, words: str) -> None:
    people.run("run", "people", check=0)
    run = run_with(people, "audience", at, accident, 0)
    assert (run["outcome"], counts(run)) == ("succeeded", {"read": 2, "created": 2, "invalid": 0})
    assert words in run["message"]
    assert run["detail"] == {"output": str(people.folder / "out/1.csv"), "rows": 2} or run["detail"]["rows"] == 2
    people.run("run", "audience", check=0)
    assert people.runs("audience")[0]["counts"]["created"] == 0


CONFIRMS = "connrunner.profiles.stores.duckdb:DuckDBStore.confirm_export"  # what follows the delivery
MAY_HAVE = "it was delivering 2 rows to out/1.csv: they may have arrived, and the next run delivers them again"


def test_an_export_that_is_killed_after_its_delivery_says_what_may_have_arrived(people: Place) -> None:
    people.run("run", "people", check=0)
    run = run_with(people, "audience", CONFIRMS, KILL, 1)
    assert (run["outcome"], run["code"], counts(run)["created"]) == ("failed", "crashed", 0)
    assert run["message"] == f"its process ended by signal 9 before it said how it went; {MAY_HAVE}"
    assert (people.folder / "out/1.csv").exists()


@pytest.mark.thorough
def test_so_does_one_whose_tick_died_with_it(people: Place) -> None:
    people.run("run", "people", check=0)
    people.write("python/sitecustomize.py", ACCIDENT)
    everything = "os.kill(os.getppid(), signal.SIGKILL); " + KILL
    environment = {"PYTHONPATH": str(people.folder / "python"), "ACCIDENT_AT": CONFIRMS, "ACCIDENT": everything}
    people.run("run", "audience", check=None, env=environment, own_process=True)
    people.run("tick")
    [run] = people.runs("audience")
    assert (run["outcome"], MAY_HAVE in run["message"]) == ("interrupted", True), run["message"]


def test_an_export_that_is_killed_before_its_delivery_speaks_of_none(people: Place) -> None:
    people.run("run", "people", check=0)
    run = run_with(people, "audience", "connrunner.profiles.exporting.run:export", KILL, 1)
    assert "arrived" not in run["message"]


@pytest.mark.thorough
def test_a_run_before_its_transaction_is_told_as_ever(people: Place) -> None:
    run = run_with(people, "people", "connrunner.profiles.recorded_runs:start_record", KILL, 1)
    assert (run["outcome"], run["code"], counts(run)["created"]) == ("failed", "crashed", 0)


@pytest.mark.thorough
def test_the_next_tick_asks_when_all_are_dead(people: Place) -> None:
    everything = "os.kill(os.getppid(), signal.SIGKILL); " + KILL
    people.write("python/sitecustomize.py", ACCIDENT)
    environment = {"PYTHONPATH": str(people.folder / "python"), "ACCIDENT_AT": TOLD, "ACCIDENT": everything}
    people.run("run", "people", check=None, env=environment, own_process=True)
    assert people.runs("people") == []
    people.run("tick")
    [run] = people.runs("people")
    assert (run["outcome"], counts(run)["created"]) == ("partial", 2)


def place_of_state(place: Place) -> StorePlace:
    return StorePlace(settings=StoreSettings(), path=place.state.profiles, folder=place.folder, resolve=str)


def test_a_run_of_another_backup_is_not_this_one(people: Place) -> None:
    people.run("run", "people", check=0)
    started = instant.parse(people.runs("people")[0]["started_at"])
    found = ask_store(place_of_state(people), RunStamp(connection="people", run=1, at=started), wait=0)
    assert found is not None
    assert found.counts.created == 2
    later = RunStamp(connection="people", run=1, at=instant.parse("2031-01-01T00:00:00Z"))
    assert ask_store(place_of_state(people), later, wait=0) is None
