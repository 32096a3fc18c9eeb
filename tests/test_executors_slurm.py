"""What goes wrong with Slurm: no run twice, no lane free while something of it may live."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from connrunner.core.model import Outcome
from connrunner.executors import engine_executor
from connrunner.executors.claims import claim_folder
from tests.servers.slurm import Slurm
from tests.test_executors import SAYS, WAITS, Place, open_place, wait_for


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(engine_executor, "POLL", 0.05)
    monkeypatch.setattr(engine_executor, "PAUSES", (0.05,))
    yield from open_place("slurm", tmp_path, monkeypatch)


@pytest.fixture
def slurm(place: Place) -> Slurm:
    assert place.slurm is not None
    return place.slurm


def test_one_of_two_gets_a_run(tmp_path: Path) -> None:
    assert claim_folder(tmp_path, "a")
    assert not claim_folder(tmp_path, "b")
    assert claim_folder(tmp_path, "a")  # an answer was lost
    assert [path.name for path in tmp_path.iterdir()] == ["claim"]


def test_it_is_told_why_it_waits_and_may_be_stopped_there(place: Place, slurm: Slurm) -> None:
    slurm.say(pending="Priority")
    task = place.task(SAYS.format(0))
    worker = place.executor.start(task)
    wait_for(lambda: worker.is_alive and ("queued", "Priority") in place.places(task))
    worker.tell(signal.SIGTERM)
    story = place.see_end(task, worker)
    assert story.result is None
    assert worker.verdict is not None
    assert worker.verdict.outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize("lost_answer", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_a_controller_that_is_away_gets_it_later_and_once(place: Place, slurm: Slurm, lost_answer: bool) -> None:
    slurm.say(**({"lost_answer": True} if lost_answer else {"away": ["*"]}))
    task = place.task(f"open({str(place.folder / 'ran')!r}, 'a').write('x')")
    worker = place.executor.start(task)
    assert place.places(task)[0][1].startswith("it cannot be handed over yet")
    slurm.say()
    story = place.see_end(task, worker)
    assert story.result is not None
    assert story.result.outcome is Outcome.SUCCEEDED
    assert (place.folder / "ran").read_text() == "x"
    assert len(slurm.jobs()) == 1


def test_what_slurm_refuses_fails_the_run(place: Place, slurm: Slurm) -> None:
    said = "sbatch: error: Batch job submission failed: Invalid partition name specified"
    slurm.say(refused={"sbatch": said})
    worker = place.executor.start(place.task(SAYS.format(0)))
    assert not worker.is_alive
    assert worker.verdict is not None
    assert (worker.verdict.outcome, worker.verdict.code) == (Outcome.FAILED, "refused-by-engine")
    assert "Invalid partition name" in worker.verdict.message


@pytest.mark.parametrize(
    "state", ["NODE_FAIL", *(pytest.param(one, marks=pytest.mark.thorough) for one in ("BOOT_FAIL", "PREEMPTED"))]
)
def test_a_job_whose_node_was_given_up_may_live(place: Place, slurm: Slurm, state: str) -> None:
    go = place.folder / "go"
    task = place.task(WAITS.format(str(go)))
    worker = place.executor.start(task)
    wait_for(lambda: worker.is_alive and (place.folder / "shared" / task.id / "claim").exists())
    number = slurm.jobs()[0]["number"]
    path = slurm.home / f"job-{number}.json"
    path.write_text(path.read_text().replace("RUNNING", state))
    wait_for(lambda: worker.is_alive and any(phase == "lost" and state in why for phase, why in place.places(task)))
    go.touch()  # it did
    story = place.see_end(task, worker)
    assert story.result is not None
    assert story.result.outcome is Outcome.SUCCEEDED


def test_a_node_that_does_not_answer_holds_the_lane(place: Place, slurm: Slurm) -> None:
    task = place.task(f"print('ready', flush=True)\n{WAITS.format(str(place.folder / 'go'))}")
    worker = place.executor.start(task)
    wait_for(lambda: worker.is_alive and "ready" in place.messages(task))
    slurm.say(down=["n1"])
    wait_for(lambda: worker.is_alive and ("lost", "node n1 does not answer (down*)") in place.places(task))
    (place.folder / "go").touch()
    slurm.say()
    story = place.see_end(task, worker)
    assert story.result is not None
    assert story.result.outcome is Outcome.SUCCEEDED


def test_one_that_slurm_forgot_and_that_had_begun_may_live_until_a_person_says_it(place: Place, slurm: Slurm) -> None:
    task = place.task(f"print('ready', flush=True)\n{WAITS.format(str(place.folder / 'never'))}")
    worker = place.executor.start(task)
    wait_for(lambda: worker.is_alive and "ready" in place.messages(task))
    slurm.kill_all()
    for path in slurm.home.glob("job-*.json"):
        path.unlink()
    wait_for(lambda: worker.is_alive and any(phase == "lost" for phase, _ in place.places(task)))
    worker.give_up()
    story = place.see_end(task, worker)
    assert story.result is None
    assert worker.verdict is not None
    assert (worker.verdict.outcome, worker.verdict.code) == (Outcome.INTERRUPTED, "lost")


@pytest.mark.thorough
def test_no_variable_of_ours_goes_along(place: Place, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_KEY", "hunter2-hunter2")
    task = place.task("import os; print('key', os.environ.get('CRM_KEY'))")
    place.see_end(task, place.executor.start(task))
    assert "key None" in place.messages(task)
    (job,) = slurm.jobs()
    assert "hunter2" not in str(job)
    asked = job["asked"]
    assert isinstance(asked, dict)
    assert (asked["export"], "no-requeue" in asked) == ("NONE", True)
