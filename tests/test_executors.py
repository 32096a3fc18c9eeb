"""One suite for every place where runs can live: what `connrunner/executors/contract.py` asks of each."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from connrunner.core.model import Outcome
from connrunner.core.run_records import LogSummary
from connrunner.executors import engine_executor
from connrunner.executors.contract import Executor, Task, Worker
from connrunner.executors.kubernetes.api_client import ApiClient, in_cluster
from connrunner.executors.kubernetes.kubernetes_engine import KubernetesEngine
from connrunner.executors.local import LocalExecutor
from connrunner.executors.slurm import SlurmEngine
from connrunner.executors.task_names import name_task
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.state.handovers import CopiedLog, Handover
from connrunner.state.locks import LaneLock, WorkerLock
from tests.servers import slurm as slurm_server
from tests.servers import slurmd
from tests.servers.kubernetes import Kubernetes

LIMIT = 60.0  # seconds after which something is wrong; nothing here is measured


@dataclass
class Place:
    """A place where runs live, and a state folder to look after them from."""

    name: str
    folder: Path
    make: Callable[[], Executor]  # anew, as another tick has it
    settings: dict[str, Any] = field(default_factory=dict)
    kubernetes: Kubernetes | None = None
    slurm: slurm_server.Slurm | None = None
    numbers: int = 0

    def __post_init__(self) -> None:
        self.state = StateFolder(self.folder / "state")
        self.state.prepare()
        self.executor = self.make()

    def task(self, program: str, *, grace: int = 5, timeout: int = 60, **command: Any) -> Task:
        """Return a run of a command that is *program*, a Python text; its lane is held."""
        self.numbers += 1
        mark = f"{self.numbers:08x}mark"
        document = {
            "title": "c",
            "schedule": {"type": "manual"},
            "notify": [],
            "timeout": f"{timeout}s",
            "stop": {"grace": f"{grace}s"},
            "command": {"run": [sys.executable, "-c", program], **command},
        }
        self.state.run("c", self.numbers).mkdir(parents=True)
        job = {
            "workspace": str(self.folder),
            "state": str(self.state.root),
            "connection": "c",
            "document": document,
            "profile": {},
            "run": self.numbers,
            "started_at": "2026-11-30T12:00:00Z",
            "mark": mark,
        }
        lane = LaneLock(self.state, f"lane-{self.numbers}")
        assert lane.take()
        task_id = name_task("c", self.numbers, mark)
        handover = Handover(self.state, task_id)
        if self.settings:
            handover.write_job(job)
        return Task(
            id=task_id,
            job=job,
            settings=self.settings,
            mark=mark,
            grace=grace,
            timeout=timeout,
            lane=lane,
            alive=WorkerLock(self.state.run("c", self.numbers) / "worker.txt"),
            log=CopiedLog(self.state.log("c", self.numbers)),
            handover=handover,
        )

    def story(self, task: Task) -> LogSummary:
        return run_files.read_log_summary(self.state, "c", task.job["run"])

    def messages(self, task: Task) -> list[str]:
        events = run_files.read_events(self.state.log("c", task.job["run"]))
        return [str(event["message"]) for event in events if "message" in event and event.get("type") != "ended"]

    def places(self, task: Task) -> list[tuple[str, str]]:
        events = run_files.read_events(self.state.log("c", task.job["run"]))
        return [(event["phase"], event["reason"]) for event in events if event.get("type") == "place"]

    def see_end(self, task: Task, worker: Worker) -> LogSummary:
        """Look after a run until nothing of it lives."""
        wait_for(lambda: not worker.is_alive and worker.end_leftovers(grace=None))
        worker.forget()
        worker.close()
        task.lane.release()
        return self.story(task)


def wait_for(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_executor, "POLL", 0.05)
    monkeypatch.setattr(engine_executor, "PAUSES", (0.05, 0.1))


REAL = pytest.param("real slurm", marks=pytest.mark.thorough)  # Debian's, of one node on this machine


@pytest.fixture(params=["local", "kubernetes", "slurm", REAL])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield from open_place(request.param, tmp_path, monkeypatch)


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield from open_place("kubernetes", tmp_path, monkeypatch)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    yield from open_place("slurm", tmp_path, monkeypatch)


def open_place(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if name == "local":
        yield Place(name, folder, LocalExecutor)
    elif name == "real slurm":
        if reason := slurmd.why_not():
            pytest.skip(reason)
        with slurmd.serving() as conf:
            monkeypatch.setenv("SLURM_CONF", str(conf))
            shared = folder / "shared"
            settings = {"type": "slurm", "folder": str(shared), "python": sys.executable, "partition": "batch"}
            yield Place(name, folder, lambda: engine_executor.EngineExecutor(SlurmEngine(shared)), settings)
    elif name == "slurm":
        with slurm_server.serving(folder) as cluster:
            monkeypatch.setenv("PATH", f"{cluster.bin}:{Path(sys.executable).parent}:/usr/bin:/bin")
            shared = folder / "shared"
            settings = {"type": "slurm", "folder": str(shared), "python": sys.executable}
            yield Place(
                name, folder, lambda: engine_executor.EngineExecutor(SlurmEngine(shared)), settings, slurm=cluster
            )
    else:
        with Kubernetes(folder).serving() as server:
            environment = {
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(server.server.server_port),
            }
            access = in_cluster(environment, account=folder / "account")
            assert access is not None

            clients: list[ApiClient] = []

            def make() -> Executor:
                clients.append(ApiClient(access))
                return engine_executor.EngineExecutor(KubernetesEngine(clients[-1], namespace="data", scope="s1"))

            settings = {"type": "kubernetes", "image": "workspace:1", "workspace": str(folder)}
            yield Place(name, folder, make, settings, kubernetes=server)
            for client in clients:
                client.close()


SAYS = "import sys; print('hello'); sys.exit({})"
WAITS = "import pathlib, time\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.02)"


def test_a_run_that_succeeds(place: Place) -> None:
    task = place.task(SAYS.format(0))
    story = place.see_end(task, place.executor.start(task))
    assert story.result is not None
    assert story.result.outcome is Outcome.SUCCEEDED
    assert place.messages(task).count("hello") == 1
    assert not list((place.state.root / "handovers").glob("c-*"))


@pytest.mark.parametrize(
    ("program", "code", "status"),
    [
        (SAYS.format(7), "exit-status", 7),
        pytest.param("import os; os.kill(os.getpid(), 9)", "signal", None, marks=pytest.mark.thorough),
    ],
)
def test_a_program_that_fails(place: Place, program: str, code: str, status: int | None) -> None:
    task = place.task(program)
    story = place.see_end(task, place.executor.start(task))
    assert story.result is not None
    assert (story.result.outcome, story.result.code, story.result.exit_status) == (Outcome.FAILED, code, status)


def test_its_log_comes_while_it_runs_and_another_tick_goes_on_with_it(place: Place) -> None:
    go = place.folder / "go"
    task = place.task(f"print('first', flush=True)\n{WAITS.format(str(go))}\nprint('last')")
    worker = place.executor.start(task)
    wait_for(lambda: worker.is_alive and "first" in place.messages(task))
    killed = worker
    killed.close()  # its connrunner is killed; its lane is held by what lives
    task.lane.release()
    executor = place.make()
    worker = executor.adopt(task)
    assert worker.is_alive
    go.touch()
    story = place.see_end(task, worker)
    assert story.result is not None
    assert story.result.outcome is Outcome.SUCCEEDED
    assert [text for text in place.messages(task) if text in ("first", "last")] == ["first", "last"]
    if place.name == "local":
        wait_for(lambda: killed.exit_status == 0)  # its parent is this process


OBEYS = """
import signal, sys, time
def end(*_):
    print('cleaned up', flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
print('ready', flush=True)
time.sleep(600)
"""
REFUSES = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(600)"
)


@pytest.mark.parametrize(("program", "grace"), [(OBEYS, 120), (REFUSES, 0)])
def test_one_that_is_asked_to_end(place: Place, program: str, grace: int) -> None:
    task = place.task(program, grace=grace)
    worker = place.executor.start(task)
    wait_for(lambda: worker.is_alive and "ready" in place.messages(task))
    worker.tell(signal.SIGTERM)
    story = place.see_end(task, worker)
    assert story.result is not None
    assert (story.result.outcome, story.result.code) == (Outcome.INTERRUPTED, "shutdown")
    assert ("cleaned up" in place.messages(task)) == (program == OBEYS)


def test_one_whose_worker_is_killed_before_it_said_anything(place: Place) -> None:
    task = place.task(
        "import os, signal, time\nprint('ready', flush=True)\ntime.sleep(0.3)\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)"
    )
    worker = place.executor.start(task)
    story = place.see_end(task, worker)
    if place.name == "local":
        assert (story.result, worker.exit_status) == (None, -signal.SIGKILL)
    else:
        assert story.result is not None
        assert (story.result.outcome, story.result.code) == (Outcome.FAILED, "crashed")


@pytest.mark.parametrize("name", ["kubernetes", "slurm", REAL])
def test_handed_over_twice_it_runs_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks were killed between handing over and noting it."""
    for place in open_place(name, tmp_path, monkeypatch):
        task = place.task(f"open({str(tmp_path / 'ran')!r}, 'a').write('x')")
        first = place.executor.start(task)
        first.close()
        (marker,) = (place.state.root / "handovers").glob("*.submitted")
        marker.unlink()
        story = place.see_end(task, place.make().adopt(task))
        assert story.result is not None
        assert story.result.outcome is Outcome.SUCCEEDED
        assert (tmp_path / "ran").read_text() == "x"


def test_its_connrunner_died_before_anything_was_handed_over(kubernetes: Place) -> None:
    task = replace(kubernetes.task(SAYS.format(0)), job={})
    worker = kubernetes.make().adopt(task)
    assert not worker.is_alive
    assert worker.verdict is not None
    assert worker.verdict.outcome is Outcome.INTERRUPTED
    assert kubernetes.kubernetes is not None
    assert not kubernetes.kubernetes.cluster.items["jobs"]
