"""Runs elsewhere as people see them: from the YAML to the record, by whole commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connrunner.core.model import QueuedRun, RunIntent
from connrunner.executors import engine_executor
from connrunner.scheduler.executor_table import ExecutorTable
from connrunner.state.journal_state import StartedRun
from connrunner.state.locks import LaneLock
from tests.conftest import SETTINGS, Place
from tests.servers import slurm as slurm_server
from tests.servers.kubernetes import Kubernetes
from tests.test_executors import OBEYS, wait_for

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_executor, "POLL", 0.1)
    monkeypatch.setattr(engine_executor, "PAUSES", (0.1,))


@pytest.fixture(params=["kubernetes", "slurm"])
def elsewhere_place(place: Place, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A workspace whose runs live elsewhere."""
    away = place.folder.parent / "away"
    away.mkdir()
    if request.param == "slurm":
        with slurm_server.serving(away) as cluster:
            monkeypatch.setenv("PATH", f"{cluster.bin}:{Path(sys.executable).parent}:/usr/bin:/bin")
            executor = f"{{type: slurm, folder: {away}/shared, python: {sys.executable}}}"
            place.write("connrunner.yaml", f"{SETTINGS}executor: {executor}\n")
            yield place
        return
    with Kubernetes(away).serving() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
        executor = f'{{type: kubernetes, image: "w:1", workspace: {place.folder}, secrets: [crm]}}'
        place.write("connrunner.yaml", f"{SETTINGS}executor: {executor}\n")
        yield place


def test_from_the_yaml_to_the_record(elsewhere_place: Place) -> None:
    place = elsewhere_place
    place.command("job", "print('hello'); print('{\"type\": \"counts\"}')")
    assert place.run("validate").out.endswith("all sound\n")
    place.run("run", "job")
    (run,) = place.runs("job")
    assert (run["outcome"], run["kind"]) == ("succeeded", "command")
    log = place.run("log", "job").out
    assert "hello" in log
    assert ("on Kubernetes, pod job-1-" in log) or ("on Slurm, job 1" in log)
    (started,) = [record for record in place.journal() if record["type"] == "started"]
    assert started["executor"]["type"] in ("kubernetes", "slurm")
    assert not list(place.state.handovers.glob("job-*"))


def test_it_is_seen_and_stopped_from_another_process(elsewhere_place: Place) -> None:
    place = elsewhere_place
    place.command("job", OBEYS)
    place.run("run", "job", "--detach")
    with place.start("tick") as tick:
        wait_for(lambda: "ready" in place.run("log", "job", check=None).out)
        (running,) = json.loads(place.run("status", "--format", "json").out)["running"]
        assert (running["lives"], running["place"]["phase"]) == (True, "running")
        tick.kill()  # the run goes on
    (running,) = json.loads(place.run("status", "--format", "json").out)["running"]
    assert running["lives"]
    assert " on " in place.run("status").out
    place.run("stop", "job", "--reason", "wrong list")
    (run,) = place.runs("job")
    assert (run["outcome"], run["detail"]["reason"]) == ("stopped", "wrong list")
    assert "cleaned up" in place.run("log", "job").out


def test_without_a_way_there_a_run_fails_and_one_at_work_holds_its_lane(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(place.folder / "none"))
    place.write("connrunner.yaml", f"{SETTINGS}executor: {{type: kubernetes, image: w}}\n")
    place.command("job", "pass")
    place.run("run", "job", check=1)
    (run,) = place.runs("job")
    assert (run["outcome"], run["code"]) == ("failed", "cannot-start")
    assert "there is no way to Kubernetes" in run["message"]
    assert "set KUBECONFIG" in run["message"]
    assert not list(place.state.handovers.glob("job-*")) if place.state.handovers.exists() else True
    # One that another tick handed over, and that one without the kubeconfig finds.
    started = StartedRun(
        entry=QueuedRun(connection="job", due_at=AT, queued_at=AT),
        intent=RunIntent(run=2, started_at=AT),
        lane="main",
        mark="m" * 32,
        executor={"type": "kubernetes", "image": "w"},
    )
    place.state.run("job", 2).mkdir()
    table, lane = ExecutorTable(place.state), LaneLock(place.state, "main")
    task = table.make_task(started, lane, timeout=60, job={"connection": "job", "run": 2})
    task.handover.note_submitted()
    worker = table.find_again(started).adopt(task)
    assert worker.is_alive
    worker.tell(signal.SIGKILL)
    assert worker.is_alive
    worker.give_up()
    assert worker.verdict is not None
    assert worker.verdict.code == "lost"
    worker.close()


def test_doctor_asks_where_runs_live(elsewhere_place: Place) -> None:
    place = elsewhere_place
    place.command("job", "pass")
    checks = json.loads(place.run("doctor", "--executor", "--format", "json", check=None).out)["checks"]
    (check,) = [check for check in checks if check["name"].startswith("executor ")]
    expected = "grants what runs need" if "kubernetes" in check["name"] else "does not track processes by cgroup"
    assert expected in check["found"]


REFUSED = [
    # connrunner.yaml                                   the connection                                       what is said
    ("executor: {type: kubernetes, image: w}",          "import: {from: {type: files, path: a}, match: [id], fields: {id: id}}", "an import cannot run on Kubernetes: its profiles are in the store of the machine that ticks"),
    ("executor: {type: slurm, folder: /s}",             "export: {to: {type: files, path: a}, fields: {id: id}}", "an export cannot run on Slurm"),
    ("executor: {type: kubernetes}",                    "command: {run: [a]}",                                  "an executor of type kubernetes needs `image`"),
    ("executor: {type: slurm}",                         "command: {run: [a]}",                                  "an executor of type slurm needs `folder`"),
    ("executor: {type: kubernetes, image: w}",          "command: {run: [a], env: {K: env:K}}",                 "env:K has no value in a pod"),
    ("executor: {type: kubernetes, image: w}",          "command: {run: [a], env: {K: file:/run/k}}",           "/run/k is not in the pod"),
    ("executor: {type: nomad}",                         "command: {run: [a]}",                                  "nomad"),
    ("executor: {type: kubernetes, image: w, resourcess: {}}", "command: {run: [a]}",                           "resources"),
    ("lanes: {heavy: {executor: {type: slurm}}}",       "lane: heavy\ncommand: {run: [a]}",                     "needs `folder`"),
    ("executor: {type: kubernetes, image: w}",          "executor: {type: slurm}\ncommand: {run: [a]}",         "needs `folder`"),
]  # fmt: skip


@pytest.mark.parametrize(("top", "connection", "words"), REFUSED)
def test_what_cannot_live_there_is_refused(place: Place, top: str, connection: str, words: str) -> None:
    place.write("connrunner.yaml", f"{SETTINGS}{top}\n")
    place.write("profile.yaml", "properties: {id: {type: text, identifier: true}}\n")
    place.write("connections/c.yaml", f"schedule: {{type: manual}}\n{connection}\n")
    assert words in place.run("validate", check=2).out


CHOSEN = [
    # the workspace                            its lane                              the connection     what holds
    ("executor: local",                        "",                                   "",                None),
    ("executor: {type: slurm, folder: /s}",    "",                                   "",                {"type": "slurm", "folder": "/s"}),
    ("executor: {type: slurm, folder: /s}",    "",                                   "executor: local", None),
    ("executor: {type: slurm, folder: /s}",    "{executor: local}",                  "",                None),
    ("executor: {type: slurm, folder: /s}",    "{executor: {type: slurm, cpus: 4}}", "executor: {type: slurm, memory: 2G}", {"type": "slurm", "folder": "/s", "cpus": 4, "memory": "2G"}),
    ("executor: {type: slurm, folder: /s, cpus: 2}", "",                             "executor: {type: kubernetes, image: w}", {"type": "kubernetes", "image": "w"}),
]  # fmt: skip


@pytest.mark.parametrize(("top", "lane", "own", "expected"), CHOSEN)
def test_the_nearest_word_counts(
    place: Place, top: str, lane: str, own: str, expected: dict[str, object] | None
) -> None:
    from connrunner.config.load import load

    place.write("connrunner.yaml", f"{SETTINGS}{top}\n" + (f"lanes: {{main: {lane}}}\n" if lane else ""))
    place.write("connections/c.yaml", f"schedule: {{type: manual}}\ncommand: {{run: [a]}}\n{own}\n")
    workspace = load(place.folder, cache=place.state.compiled)
    assert not workspace.problems
    assert workspace.connections["c"].executor == expected
    assert load(place.folder, cache=place.state.compiled).connections["c"].executor == expected


def test_files_that_do_not_reach_the_place_are_told(place: Place) -> None:
    git = 'git: {repository: "https://git.example.com/w.git"}'
    place.write("connrunner.yaml", f"{SETTINGS}executor: {{type: kubernetes, image: w, {git}}}\n")
    place.write("connections/c.yaml", "schedule: {type: manual}\ncommand: {run: [python, jobs/a.py]}\n")
    place.write("jobs/a.py", "print(1)\n")
    assert "is in no git repository" in place.run("validate").out
    environment = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    environment |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=place.folder, check=True, env={**os.environ, **environment})
    assert "all sound" in place.run("validate").out
    assert "warning" not in place.run("validate").out
    place.write("jobs/a.py", "print(2)\n")
    assert "jobs/a.py is not in the commit as it is here" in place.run("validate").out
    moved = f"command: {{run: [python, {place.folder.resolve()}/jobs/a.py]}}"
    place.write("connections/c.yaml", f"schedule: {{type: manual}}\n{moved}\n")
    assert "is a path of this machine" in place.run("validate", check=2).out
