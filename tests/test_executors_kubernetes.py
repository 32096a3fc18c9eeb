"""What goes wrong with Kubernetes, one after the other: no run twice, no lane free while something of it may live."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from connrunner.core.model import Outcome
from connrunner.executors import engine_executor
from connrunner.executors.contract import Task
from connrunner.executors.engine_executor import EngineWorker
from connrunner.executors.kubernetes import kubernetes_engine
from connrunner.executors.kubernetes.manifest import FINALIZER, make_manifest, pack_job, unpack_job
from tests.stands.kubernetes import Log, Stand

RUN = "c-1-mark"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_executor, "POLL", 0.0)
    monkeypatch.setattr(engine_executor, "PAUSES", (0.0,))
    monkeypatch.setattr(engine_executor, "LOG_SHARE", 0.0)
    monkeypatch.setattr(kubernetes_engine, "PATIENCE", -1)


@pytest.fixture
def stand() -> Stand:
    return Stand()


def log_of(task: Task) -> Log:
    assert isinstance(task.log, Log)
    return task.log


def look(stand: Stand, worker: EngineWorker, times: int = 4) -> bool:
    """Let time pass; return whether the worker still counts as alive."""
    for _ in range(times):
        stand.step()
        alive = worker.is_alive
    return alive


def end(worker: EngineWorker) -> None:
    assert not worker.is_alive
    assert worker.end_leftovers(grace=None)
    worker.forget()


def assert_nothing_left(stand: Stand) -> None:
    """Nothing but the claim stays, which keeps a late pod from beginning."""
    for _ in range(3):
        stand.step()
    assert {kind: len(items) for kind, items in stand.cluster.items.items() if items} in ({"leases": 1}, {})


def test_a_run(stand: Stand) -> None:
    task = stand.task()
    worker = stand.executor().start(task)
    assert look(stand, worker)
    assert [event["message"] for event in log_of(task).events] == ["hello"]
    assert log_of(task).places[-1] == ("running", "")
    stand.finish(RUN)
    assert not look(stand, worker)
    end(worker)
    assert [one["outcome"] for one in log_of(task).ends] == ["succeeded"]
    assert task.handover.is_removed  # type: ignore[attr-defined]
    assert_nothing_left(stand)


SAID = [
    # how its words came back      in its log, in its pod
    (True, True),
    (True, False),
    (False, True),
]


@pytest.mark.parametrize(("logged", "said"), SAID)
def test_its_result_comes_by_either_way(stand: Stand, logged: bool, said: bool) -> None:
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    stand.finish(RUN, logged=logged, said=said)
    assert not look(stand, worker)
    end(worker)
    assert [one["outcome"] for one in log_of(task).ends] == ["succeeded"]


def once(*answers: int | str) -> Callable[[str, str], int | str | None]:
    """Return faults for the first calls that create a Job."""
    left = list(answers)
    return lambda method, path: left.pop(0) if left and method == "POST" and path.endswith("/jobs") else None


@pytest.mark.parametrize("answers", [(429,), (500, 503), ("lost",), ("lost", 503, "lost"), (401,)])
def test_handing_over_is_tried_again(stand: Stand, answers: tuple[int | str, ...]) -> None:
    stand.cluster.fault = once(*answers)
    task = stand.task()
    worker = stand.executor().start(task)
    assert log_of(task).places[0][0] == "queued"
    assert "it cannot be handed over yet" in log_of(task).places[0][1]
    assert look(stand, worker, 8)
    stand.finish(RUN)
    assert not look(stand, worker)
    end(worker)
    assert stand.worked == [RUN]
    assert_nothing_left(stand)


@pytest.mark.parametrize("fault", [410, 429, 500, "lost"])
def test_a_list_that_fails_changes_nothing(stand: Stand, fault: int | str) -> None:
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    stand.cluster.fault = lambda method, path: fault if path.endswith("/pods") else None
    stand.finish(RUN)
    assert look(stand, worker)
    assert "Kubernetes cannot be asked" in log_of(task).places[-1][1]
    stand.cluster.fault = lambda method, path: None
    assert not look(stand, worker)


def test_a_long_list_comes_page_by_page_and_begins_anew_when_it_expired(stand: Stand) -> None:
    executor = stand.executor()
    stand.cluster.page = 7
    workers = [executor.start(stand.task(f"c-{number}-m")) for number in range(1, 31)]
    look(stand, workers[0])
    expired = iter([410])
    stand.cluster.fault = lambda method, path: next(expired, None) if path.endswith("/pods") else None
    assert all(worker.is_alive for worker in workers)
    assert executor.trouble == ""


WAITS: list[tuple[str, dict[str, Any], str]] = [
    ("unschedulable", {"unschedulable": "0/3 nodes are available: 3 Insufficient memory."}, "Unschedulable: 0/3 nodes"),
    ("image", {"image": "ImagePullBackOff"}, "ImagePullBackOff: Back-off pulling image workspace:1"),
    ("pods", {"quota": "pods"}, "FailedCreate: exceeded quota"),
    ("jobs", {"quota": "jobs"}, "exceeded quota: team"),
]


@pytest.mark.parametrize(("_", "world", "reason"), WAITS)
def test_what_it_waits_for_is_told_in_the_words_of_kubernetes(
    stand: Stand, _: str, world: dict[str, Any], reason: str
) -> None:
    for key, value in world.items():
        setattr(stand.cluster, key, value)
    task = stand.task()
    worker = stand.executor().start(task)
    assert look(stand, worker)
    phase, said = log_of(task).places[-1]
    assert (phase, reason in said) == ("queued", True), said
    for key in world:
        setattr(stand.cluster, key, "")
    assert look(stand, worker, 8)
    assert stand.worked == [RUN]


def test_an_image_that_stays_unknown_fails_the_run(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_executor, "HOPELESS", -1.0)
    stand.cluster.image = "ErrImagePull"
    task = stand.task()
    worker = stand.executor().start(task)
    assert not look(stand, worker, 40)
    end(worker)
    assert worker.verdict is not None
    assert (worker.verdict.outcome, worker.verdict.code) == (Outcome.FAILED, "cannot-start")
    assert "ErrImagePull" in worker.verdict.message
    assert_nothing_left(stand)


def test_one_that_is_forbidden_fails_and_nothing_of_it_is_left(stand: Stand) -> None:
    stand.cluster.denied = {"create jobs"}
    worker = stand.executor().start(stand.task())
    assert not worker.is_alive
    assert worker.verdict is not None
    assert (worker.verdict.outcome, worker.verdict.code) == (Outcome.FAILED, "refused-by-engine")
    assert 'cannot create resource "jobs"' in worker.verdict.message
    assert "doctor --executor" in worker.verdict.message


ENDS: list[tuple[str, Callable[[Stand, Any], None], str, str]] = [
    (
        "evicted",
        lambda stand, pod: stand.cluster.evict(pod),
        "crashed",
        "Evicted: The node was low on resource: memory.",
    ),
    (
        "memory",
        lambda stand, pod: stand.cluster.run_out_of_memory(pod),
        "out-of-memory",
        "more memory than `resources`",
    ),
    ("killed", lambda stand, pod: stand.signal(pod, 9), "crashed", "by signal 9"),
]


@pytest.mark.parametrize(("_", "happens", "code", "words"), ENDS)
def test_how_it_ended_when_it_did_not_come_to_say_it(
    stand: Stand, _: str, happens: Callable[[Stand, Any], None], code: str, words: str
) -> None:
    worker = stand.executor().start(stand.task())
    look(stand, worker)
    happens(stand, stand.working[RUN])
    assert not look(stand, worker)
    end(worker)
    assert worker.verdict is not None
    assert (worker.verdict.outcome, worker.verdict.code) == (Outcome.FAILED, code)
    assert words in worker.verdict.message
    assert_nothing_left(stand)


def test_a_node_that_does_not_answer_holds_the_lane_until_it_does(stand: Stand) -> None:
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    node = stand.working[RUN]["spec"]["nodeName"]
    stand.cluster.nodes[node] = False
    assert look(stand, worker, 50)
    assert log_of(task).places[-1] == ("lost", f"node {node} does not answer")
    stand.finish(RUN)
    assert look(stand, worker, 50)  # it has ended there, and nobody can know it
    stand.cluster.nodes[node] = True
    assert not look(stand, worker)
    end(worker)
    assert [one["outcome"] for one in log_of(task).ends] == ["succeeded"]
    assert stand.worked == [RUN]


def test_a_node_that_is_gone_for_good_waits_for_a_person(stand: Stand) -> None:
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    worker.give_up()  # it can be seen: nobody has to be believed
    pod = stand.working[RUN]
    stand.cluster.nodes[pod["spec"]["nodeName"]] = False
    stand.cluster.collect(pod)
    assert look(stand, worker, 50)
    assert "is gone, and nobody saw the run end" in log_of(task).places[-1][1]
    worker.tell(signal.SIGTERM)
    worker.tell(signal.SIGKILL)
    assert look(stand, worker, 50)
    worker.give_up()
    end(worker)
    assert worker.verdict is not None
    assert (worker.verdict.outcome, worker.verdict.code) == (Outcome.INTERRUPTED, "lost")


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_a_job_that_somebody_else_deletes_is_seen_to_its_end(stand: Stand, policy: str) -> None:
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    stand.is_asleep = lambda run: False  # it does not obey
    stand.cluster.handle("DELETE", f"/apis/batch/v1/namespaces/data/jobs/{RUN}", {}, {"propagationPolicy": policy})
    assert look(stand, worker, 3)
    stand.finish(RUN)
    assert not look(stand, worker)
    end(worker)
    assert [one["outcome"] for one in log_of(task).ends] == ["succeeded"]
    assert_nothing_left(stand)


def test_one_that_is_deleted_before_it_began_never_begins(stand: Stand) -> None:
    stand.cluster.unschedulable = "no room"
    worker = stand.executor().start(stand.task())
    look(stand, worker)
    stand.cluster.items["jobs"].clear()
    stand.cluster.items["pods"].clear()
    assert not look(stand, worker)
    assert worker.verdict is not None
    assert (worker.verdict.outcome, worker.verdict.code) == (Outcome.INTERRUPTED, "deleted")
    assert stand.cluster.items["leases"][RUN]["spec"]["holderIdentity"] == kubernetes_engine.WITHDRAWN
    assert stand.worked == []


def test_one_that_somebody_takes_out_of_sight_by_force_holds_the_lane(stand: Stand) -> None:
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    stand.cluster.items["jobs"].clear()
    stand.cluster.items["pods"].clear()
    assert look(stand, worker, 20)
    assert "may live" in log_of(task).places[-1][1]


def test_a_second_pod_of_an_old_cluster_is_refused(stand: Stand) -> None:
    stand.cluster.second_pods = True
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    stand.is_asleep = lambda run: False
    first = stand.working[RUN]
    stand.cluster.handle("DELETE", f"/api/v1/namespaces/data/pods/{first['metadata']['name']}", {}, {})
    assert look(stand, worker, 4)
    assert len(stand.cluster.pods_of(RUN)) == 2
    stand.finish(RUN)
    assert not look(stand, worker, 6)
    end(worker)
    assert [one["outcome"] for one in log_of(task).ends] == ["succeeded"]
    assert stand.worked == [RUN]


@pytest.mark.parametrize("obeys", [True, False])
def test_one_that_is_stopped(stand: Stand, obeys: bool) -> None:
    stand.is_asleep = lambda run: obeys
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    worker.tell(signal.SIGTERM)
    for _ in range(40):
        if not look(stand, worker, 1):
            break
        if _ == 10:
            worker.tell(signal.SIGKILL)
    end(worker)
    assert [one["outcome"] for one in log_of(task).ends] == (["interrupted"] if obeys else [])
    assert (worker.exit_status == -9) is not obeys
    assert_nothing_left(stand)


def test_one_that_is_stopped_before_an_answer_came_never_begins(stand: Stand) -> None:
    stand.cluster.fault = once(*["lost"] * 3)
    stand.cluster.unschedulable = "no room"
    worker = stand.executor().start(stand.task())
    worker.tell(signal.SIGTERM)
    assert not look(stand, worker)
    stand.cluster.unschedulable = ""
    end(worker)
    assert_nothing_left(stand)
    assert stand.worked == []


class Killed(BaseException):
    """The tick was killed here."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", range(1, 15))
def test_a_tick_is_killed_at_any_call(stand: Stand, moment: int, after: bool) -> None:
    """Another one goes on: the run begins once, and its result is told once."""
    task, calls = stand.task(), 0

    def kill(method: str, path: str) -> None:
        nonlocal calls
        calls += 1
        if calls == moment and not after:
            raise Killed

    handle = stand.cluster.handle

    def handle_and_die(*arguments: Any) -> Any:
        answer = handle(*arguments)
        if calls == moment and after:
            raise Killed
        return answer

    stand.cluster.fault = kill
    stand.cluster.handle = handle_and_die  # type: ignore[method-assign, assignment]
    worker: EngineWorker | None = None
    is_new, is_finished = True, False
    for turn in range(60):
        try:
            if worker is None:
                executor = stand.executor()
                worker = executor.start(task) if is_new else executor.adopt(task)
                is_new = False
            stand.step()
            if turn > 6 and not is_finished and RUN in stand.working:
                stand.finish(RUN)
                is_finished = True
            if not worker.is_alive and worker.end_leftovers(grace=None):
                worker.forget()
                if task.handover.is_removed:  # type: ignore[attr-defined]
                    break
        except Killed:
            worker, is_new = None, False
    assert stand.worked == [RUN]
    assert {one["outcome"] for one in log_of(task).ends} == {"succeeded"}
    assert_nothing_left(stand)


def test_one_list_for_all_of_them(stand: Stand) -> None:
    executor = stand.executor()
    stand.cluster.page = 500
    workers = [executor.start(stand.task(f"c-{number}-m")) for number in range(1, 201)]
    for _ in range(3):
        stand.step()
    assert all(worker.is_alive for worker in workers)
    engine_executor.LOG_SHARE = 100.0  # this look is about lists; the fixture puts it back
    executor._poll_at = 0.0
    stand.cluster.calls.clear()
    engine_executor.POLL = 60.0
    for worker in workers:
        worker._log_at = float("inf")
        assert worker.is_alive
    assert [path.rpartition("/")[2] for _, path in stand.cluster.calls] == ["pods"]


def test_what_was_left_of_ended_runs_is_taken_away_later(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    task = stand.task()
    worker = stand.executor().start(task)
    look(stand, worker)
    stand.finish(RUN)
    look(stand, worker)  # its tick is killed before it forgets the run
    monkeypatch.setattr(kubernetes_engine, "TIDY", -1.0)
    monkeypatch.setattr(kubernetes_engine, "LEFT", -1.0)
    other = stand.executor()
    second = other.start(stand.task("c-2-other"))
    for _ in range(5):
        look(stand, second)
    assert set(stand.cluster.items["jobs"]) == {"c-2-other"}
    assert set(stand.cluster.items["leases"]) == {"c-2-other"}


# --- the Job itself ------------------------------------------------------------------------------------------------


def test_no_secret_is_in_the_job_and_the_cluster_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_KEY", "hunter2-hunter2")
    stand = Stand()
    settings: dict[str, Any] = {
        "secrets": ["crm"],
        "secret_files": {"/run/secrets/crm": "crm-files"},
        "resources": {"memory": "2Gi"},
    }
    job = make_manifest(stand.task(**settings), scope="s")
    assert "hunter2" not in json.dumps(job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "crm"}}]
    assert {"name": "secret-0", "mountPath": "/run/secrets/crm", "readOnly": True} in container["volumeMounts"]
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert (job["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert all("tolerationSeconds" not in one for one in pod["tolerations"])
    assert job["spec"]["template"]["metadata"]["finalizers"] == [FINALIZER]


def test_git_sync_fetches_the_commit_that_the_run_was_decided_by() -> None:
    git = {"repository": "https://git.example.com/w.git", "folder": "crm"}
    pod = make_manifest(Stand().task(git=git), scope="s")["spec"]["template"]["spec"]
    assert "--ref=c0ffee" in pod["initContainers"][0]["args"]
    variables = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert unpack_job([variables["CONNRUNNER_JOB_0"] or ""])["workspace"] == "/git/workspace/crm"


def test_a_large_job_comes_in_parts() -> None:
    import random

    chance = random.Random(1)
    job = {"document": {f"k{number}": chance.random() for number in range(20_000)}}
    parts = pack_job(job)
    assert len(parts) > 1
    assert max(map(len, parts)) < 128 * 1024
    assert unpack_job(parts) == job
