"""Runs in a cluster without processes, threads or a clock of its own: quick enough for every moment of every fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from connrunner.executors.contract import Task
from connrunner.executors.engine import TransientError
from connrunner.executors.engine_executor import EngineExecutor
from connrunner.executors.kubernetes.api_client import ApiClient, ClusterAccess, _error_of
from connrunner.executors.kubernetes.kubernetes_engine import KubernetesEngine
from tests.servers.kubernetes import Cluster, Item

END = '{"at":"2026-11-30T12:00:00Z","type":"ended","outcome":"succeeded","message":"done"}'
RUN = "connrunner.dev/run"


class Client(ApiClient):
    """Asks a cluster of this process."""

    def _json(self, method: str, path: str, query: Mapping[str, Any], body: Any = None, kind: str = "") -> Any:
        return self._ask(method, path, query, body)  # what nobody changes needs no copy

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(ClusterAccess(server="https://cluster"))
        self._cluster = cluster

    def _call(self, method: str, path: str, query: Mapping[str, Any], body: Any, kind: str) -> bytes:
        said = self._ask(method, path, query, body)
        return said if isinstance(said, bytes) else json.dumps(said).encode()

    def _ask(self, method: str, path: str, query: Mapping[str, Any], body: Any) -> Any:
        self.calls += 1
        words = {key: str(value) for key, value in query.items()}
        status, said = self._cluster.handle(method, path, words, body)
        if status == -1:
            raise TransientError("the connection broke off")
        if status < 300:
            return said
        raise _error_of(status, json.dumps(said).encode())


@dataclass
class Log:
    """What is copied of the log of a run; it outlives the process that copies."""

    events: list[Mapping[str, Any]] = field(default_factory=list)
    places: list[tuple[str, str]] = field(default_factory=list)
    ends: list[Mapping[str, Any]] = field(default_factory=list)

    def read_last_line(self) -> int:
        return max((event["line"] for event in self.events), default=0)

    def copy(self, line: int, event: Mapping[str, Any]) -> None:
        self.events.append({**event, "line": line})
        if event.get("type") == "ended":
            self.ends.append(event)

    def write_place(self, place: Mapping[str, str]) -> None:
        self.places.append((place["phase"], place["reason"]))

    def write_end(self, event: Mapping[str, Any]) -> None:
        self.ends.append(event)

    def close(self) -> None: ...


@dataclass
class Handed:
    is_submitted: bool = False
    is_removed: bool = False

    def note_submitted(self) -> None:
        self.is_submitted = True

    def remove(self) -> None:
        self.is_removed = True


class Stand:
    """A cluster, and the pods in it: each claims its run, works until `finish`, and says how it went."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.cluster = Cluster(clock=lambda: self.now)
        self.cluster.begin, self.cluster.signal = self.begin, self.signal
        self.working: dict[str, Item] = {}  # by run: the pods that work, also where nobody sees them
        self.worked: list[str] = []  # each run that began its work
        self.is_asleep: Callable[[str], bool] = lambda run: True

    def executor(self) -> EngineExecutor:
        return EngineExecutor(KubernetesEngine(Client(self.cluster), namespace="data", scope="s"))

    def task(self, name: str = "c-1-mark", **settings: Any) -> Task:
        job = {"connection": "c", "run": 1, "document": {}, "mark": name, "commit": "c0ffee"}
        return Task(
            id=name,
            job=job,
            settings={"type": "kubernetes", "image": "workspace:1", **settings},
            mark=name,
            grace=10,
            timeout=60,
            lane=cast("Any", None),  # both are for processes of this machine
            alive=cast("Any", None),
            log=Log(),
            handover=Handed(),
        )

    def step(self) -> None:
        self.now += 1
        self.cluster.step()

    def begin(self, pod: Item) -> None:
        run = pod["metadata"]["labels"][RUN]
        if run in self.cluster.items["leases"]:
            self.cluster.end(pod, 75, message="refused: another process has this run")
            return
        lease = {"metadata": {"name": run, "labels": pod["metadata"]["labels"]}}
        self.cluster._add("leases", {**lease, "spec": {"holderIdentity": pod["metadata"]["uid"]}})
        assert run not in self.working, f"{run} works twice at once"
        assert run not in self.worked, f"{run} was begun twice"
        self.working[run] = pod
        self.worked.append(run)
        self.say(run, '{"at":"2026-11-30T12:00:00Z","level":"info","message":"hello"}')

    def say(self, run: str, event: str) -> None:
        lines = self.cluster.logs[self.working[run]["metadata"]["name"]]
        line = f'{{"line":{len(lines) + 1},{event[1:]}\n'
        lines.append((f"2026-11-30T12:00:{len(lines):02}.5Z", line.encode()))

    def finish(self, run: str, code: int = 0, *, end: str = END, logged: bool = True, said: bool = True) -> None:
        """Let the work of *run* end, with its last words in its log, in its pod, or in neither."""
        if logged:
            self.say(run, end)
        self.cluster.end(self.working.pop(run), code, message=end if said else "")

    def signal(self, pod: Item, number: int) -> None:
        run = pod["metadata"]["labels"][RUN]
        if self.working.get(run) is pod:
            if number == 9:
                self.working.pop(run)
                self.cluster.end(pod, 137)
            elif self.is_asleep(run):
                self.finish(run, 1, end=END.replace("succeeded", "interrupted").replace("done", "told to end"))
