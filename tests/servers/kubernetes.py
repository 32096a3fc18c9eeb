"""As much of Kubernetes as runs meet: an API server, a Job controller, a scheduler, kubelets, and what goes wrong with each.

`Cluster` is objects and rules, without a thread or a clock of its own; `Kubernetes` serves it over TLS and has its pods
be processes of this machine.
"""

from __future__ import annotations

import copy
import json
import os
import random
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme

from tests.servers import http

Fault = Callable[[str, str], "int | str | None"]  # a status before anything is done, "lost" after it was, or none
Item = dict[str, Any]
PROCESSES = {"TERM": 15, "KILL": 9}


class Cluster:
    """The objects of one namespace. *begin* starts the container of a pod, *signal* tells it something."""

    def __init__(self, *, nodes: tuple[str, ...] = ("n1", "n2"), clock: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.nodes = dict.fromkeys(nodes, True)  # whether each answers
        self.items: dict[str, dict[str, Item]] = {
            "jobs": {},
            "pods": {},
            "leases": {},
            "events": {},
            "resourcequotas": {},
        }
        self.fault: Fault = lambda method, path: None
        self.calls: list[tuple[str, str]] = []
        self.denied: set[str] = set()  # "create jobs"
        self.unschedulable = ""
        self.quota = ""
        self.image = ""  # why images cannot be pulled
        self.begun: list[str] = []  # the run of each container that began
        self.begin: Callable[[Item], None] = lambda pod: None
        self.signal: Callable[[Item, int], None] = lambda pod, number: None
        self.logs: dict[str, list[tuple[str, bytes]]] = {}
        self.second_pods = False  # the Job controller of old: a deleted pod is replaced at once
        self.page = 500
        self._pods_by_run: dict[str, list[str]] = {}

    # --- the API server --------------------------------------------------------------------------------------------

    def handle(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        with self.lock:
            self.calls.append((method, path))
            fault = self.fault(method, path)
            if isinstance(fault, int):
                return fault, _status(fault, "Fault", f"a fault of {fault}")
            answer = self._handle(method, path, query, body)
            if fault == "lost":
                return -1, None
            return answer

    def _handle(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        if path == "/version":
            return 200, {"gitVersion": "v1.34.0"}
        if parts[-1] == "selfsubjectaccessreviews":
            asked = body["spec"]["resourceAttributes"]
            kind = asked["resource"] + (f"/{asked['subresource']}" if asked.get("subresource") else "")
            return 201, {"status": {"allowed": f"{asked['verb']} {kind}" not in self.denied}}
        at = parts.index("namespaces") + 2
        kind, name, below = parts[at], *[*parts[at + 1 :], "", ""][:2]
        verb = {"GET": "get" if name else "list", "POST": "create"}.get(method, method.lower())
        if f"{verb} {kind}" in self.denied:
            return 403, _status(403, "Forbidden", f'{kind} is forbidden: User "tick" cannot {verb} resource "{kind}"')
        store = self.items[kind]
        if method == "POST":
            name = body["metadata"]["name"]
            if name in store:
                return 409, _status(409, "AlreadyExists", f'{kind} "{name}" already exists')
            if kind == "jobs" and self.quota == "jobs":
                return 403, _status(403, "Forbidden", f'jobs "{name}" is forbidden: exceeded quota: team')
            self._add(kind, body)
            return 201, store[name]
        if not name:
            return self._listed(kind, query)
        if name not in store:
            return 404, _status(404, "NotFound", f'{kind} "{name}" not found')
        if below == "log":
            return self._log(name, query)
        if method == "DELETE":
            self._delete(kind, store[name], body or {})
        elif method == "PATCH":
            return self._patch(store[name], body)
        return 200, store.get(name) or {}

    def _add(self, kind: str, body: Item) -> Item:
        item = copy.deepcopy(body)
        stamp = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        item["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp}
        item.setdefault("status", {})
        name = item["metadata"]["name"]
        self.items[kind][name] = item
        if kind == "pods":
            self._pods_by_run.setdefault(item["metadata"]["labels"]["connrunner.dev/run"], []).append(name)
        return item

    def _listed(self, kind: str, query: dict[str, str]) -> tuple[int, Any]:
        wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
        fields = dict(part.split("=", 1) for part in query.get("fieldSelector", "").split(",") if part)
        found = [
            item
            for item in self.items[kind].values()
            if wanted.items() <= (item["metadata"].get("labels") or {}).items()
            and fields.get("involvedObject.name", "") in ("", item.get("involvedObject", {}).get("name"))
        ]
        start = int(query.get("continue") or 0)
        more = str(start + self.page) if start + self.page < len(found) else ""
        return 200, {"items": found[start : start + self.page], "metadata": {"continue": more}}

    def _log(self, name: str, query: dict[str, str]) -> tuple[int, Any]:
        if name not in self.logs:
            return 400, _status(400, "BadRequest", "container is waiting to start")
        since = query.get("sinceTime", "")
        return 200, b"".join(f"{at} ".encode() + line for at, line in self.logs[name] if at >= since.removesuffix("Z"))

    def _delete(self, kind: str, item: Item, options: Item) -> None:
        metadata = item["metadata"]
        if kind == "pods":
            grace = options.get("gracePeriodSeconds", item["spec"].get("terminationGracePeriodSeconds", 30))
            self._end_pod(item, grace)
        elif kind == "jobs" and options.get("propagationPolicy") == "Foreground":
            metadata["deletionTimestamp"] = _stamp(self.clock())
            for pod in self._pods_of(metadata["name"]):
                self._end_pod(pod, pod["spec"].get("terminationGracePeriodSeconds", 30))
        else:
            del self.items[kind][metadata["name"]]
            if kind == "jobs":
                for pod in self._pods_of(metadata["name"]):
                    self._end_pod(pod, pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _end_pod(self, pod: Item, grace: float) -> None:
        until = self.clock() + grace
        pod["metadata"]["deletionTimestamp"] = _stamp(until)
        pod["kill_at"] = min(until, pod.get("kill_at", until))
        if pod["spec"].get("nodeName") and self.nodes.get(pod["spec"]["nodeName"]) and not pod.get("was_told"):
            pod["was_told"] = True
            self.signal(pod, PROCESSES["TERM"])

    def _patch(self, item: Item, operations: Any) -> tuple[int, Any]:
        known = item["metadata"].setdefault("finalizers", [])
        index = int(operations[0]["path"].rpartition("/")[2])
        if index >= len(known) or known[index] != operations[0]["value"]:
            return 422, _status(422, "Invalid", "the test failed")
        del known[index]
        return 200, item

    def _pods_of(self, run: str) -> list[Item]:
        pods = self.items["pods"]
        return [pods[name] for name in self._pods_by_run.get(run, ()) if name in pods]

    # --- the controllers -------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let every controller look once."""
        with self.lock:
            for job in list(self.items["jobs"].values()):
                self._control(job)
            for pod in list(self.items["pods"].values()):
                self._serve(pod)

    def _control(self, job: Item) -> None:
        name, metadata = job["metadata"]["name"], job["metadata"]
        pods = self._pods_of(name)
        if metadata.get("deletionTimestamp"):
            if not pods:
                del self.items["jobs"][name]
            return
        active = [pod for pod in pods if not self.second_pods or not pod["metadata"].get("deletionTimestamp")]
        if not active and not job["status"].get("conditions"):
            if job["status"].get("made") and not self.second_pods:
                job["status"]["conditions"] = [{"type": "Failed", "status": "True"}]
            elif self.quota == "pods":
                event = {"metadata": {"name": f"{name}.1"}, "involvedObject": {"name": name, "kind": "Job"}}
                self.items["events"][f"{name}.1"] = {
                    **event,
                    "reason": "FailedCreate",
                    "message": "exceeded quota: team",
                }
            else:
                job["status"]["made"] = True
                template = copy.deepcopy(job["spec"]["template"])
                template["metadata"]["name"] = f"{name}-{uuid.uuid4().hex[:5]}"
                self._add("pods", {**template, "status": {"phase": "Pending"}})
        for pod in pods:
            if pod["status"].get("phase") in ("Failed", "Succeeded"):
                how = "Complete" if pod["status"]["phase"] == "Succeeded" else "Failed"
                job["status"]["conditions"] = [{"type": how, "status": "True"}]

    def _serve(self, pod: Item) -> None:
        """Be scheduler and kubelet for one pod."""
        spec, status, metadata = pod["spec"], pod["status"], pod["metadata"]
        if status["phase"] in ("Failed", "Succeeded"):
            # Who deleted it sees it go; a finalizer keeps it.
            if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
                del self.items["pods"][metadata["name"]]
            return
        node = spec.get("nodeName")
        if node is None:
            if metadata.get("deletionTimestamp"):
                status["phase"] = "Failed"
                return
            able = [name for name, answers in self.nodes.items() if answers]
            if self.unschedulable or not able:
                message = self.unschedulable or "0/2 nodes are available"
                said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
                status["conditions"] = [said]
                return
            spec["nodeName"] = able[len(self.items["pods"]) % len(able)]
            status["conditions"] = [{"type": "PodScheduled", "status": "True"}]
            return
        if not self.nodes.get(node):
            if pod.get("has_begun"):
                status["conditions"] = [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]
            return
        if not pod.get("has_begun"):
            if metadata.get("deletionTimestamp"):
                status["phase"] = "Failed"
                status["containerStatuses"] = [_container({"terminated": {"exitCode": 137, "reason": "Error"}})]
            elif self.image:
                waiting = {"reason": self.image, "message": f"Back-off pulling image {spec['containers'][0]['image']}"}
                status["containerStatuses"] = [_container({"waiting": waiting})]
            else:
                pod["has_begun"] = True
                status["phase"] = "Running"
                status["containerStatuses"] = [_container({"running": {}})]
                self.logs[metadata["name"]] = []
                self.begun.append(metadata["labels"]["connrunner.dev/run"])
                self.begin(pod)
            return
        status["conditions"] = [{"type": "Ready", "status": "True"}]
        if metadata.get("deletionTimestamp") and not pod.get("was_told"):
            pod["was_told"] = True
            self.signal(pod, PROCESSES["TERM"])
        if pod.get("kill_at", float("inf")) <= self.clock():
            self.signal(pod, PROCESSES["KILL"])
        if "ended" in pod:
            terminated = pod["ended"]
            status["containerStatuses"] = [_container({"terminated": terminated})]
            status["phase"] = "Failed" if terminated["exitCode"] else "Succeeded"
            if "evicted" in pod:
                status |= {"reason": "Evicted", "message": pod["evicted"]}

    def end(self, pod: Item, code: int, *, message: str = "", reason: str = "") -> None:
        """Say how the process of a pod ended; its kubelet tells it when it can."""
        with self.lock:
            known = reason or pod.get("why") or ("Error" if code else "Completed")
            pod.setdefault("ended", {"exitCode": code, "reason": known, "message": message})

    # --- what people and machines do to it -------------------------------------------------------------------------

    def pods_of(self, run: str) -> list[Item]:
        with self.lock:
            return self._pods_of(run)

    def evict(self, pod: Item, message: str = "The node was low on resource: memory.") -> None:
        with self.lock:
            pod["evicted"] = message
            self.signal(pod, PROCESSES["KILL"])

    def run_out_of_memory(self, pod: Item) -> None:
        with self.lock:
            pod["why"] = "OOMKilled"
            self.signal(pod, PROCESSES["KILL"])

    def collect(self, pod: Item) -> None:
        """Be the garbage collector of pods whose node was deleted: nobody knows whether their processes live."""
        with self.lock:
            pod["status"] |= {"phase": "Failed", "reason": "", "conditions": [{"type": "DisruptionTarget"}]}
            pod["metadata"]["deletionTimestamp"] = _stamp(self.clock())


class Kubernetes:
    """A cluster whose API is served over TLS, and whose pods are processes of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = Cluster()
        self.cluster.begin, self.cluster.signal = self._begin, self._signal
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watches: list[threading.Thread] = []
        self._over = threading.Event()
        self.server: http.Server

    @contextmanager
    def serving(self) -> Iterator[Kubernetes]:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(context)
        with http.running(context) as self.server:
            self.server.act = self._answer
            account = self.folder / "account"
            account.mkdir()
            (account / "token").write_text("a-token\n")
            (account / "namespace").write_text("data\n")
            authority.cert_pem.write_to_path(str(account / "ca.crt"))
            self._write_kubeconfig(authority.cert_pem.bytes())
            control = threading.Thread(target=self._control, daemon=True)
            control.start()
            try:
                yield self
            finally:
                self._over.set()
                control.join()
                for process in self._processes.values():
                    with suppress(OSError):
                        for pid in _below(process.pid):
                            os.kill(pid, 9)
                        os.killpg(process.pid, 9)
                    process.wait()
                for watch in self._watches:
                    watch.join(10)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def _write_kubeconfig(self, authority: bytes) -> None:
        (self.folder / "ca.pem").write_bytes(authority)
        self.kubeconfig.write_text(
            f"""\
apiVersion: v1
kind: Config
current-context: here
contexts:
- name: here
  context: {{cluster: c, user: u, namespace: data}}
clusters:
- name: c
  cluster: {{server: "https://127.0.0.1:{self.server.server_port}", certificate-authority: ca.pem}}
users:
- name: u
  user: {{token: a-token}}
"""
        )

    def _answer(self, asked: http.Asked) -> http.Reply:
        if asked.headers["Authorization"] != "Bearer a-token":
            return http.data(_status(401, "Unauthorized", "Unauthorized"), 401)
        body = json.loads(asked.body) if asked.body else None
        status, said = self.cluster.handle(asked.method, asked.path, asked.query, body)
        if status == -1:
            return http.Reply(drop=True)
        return http.Reply(status, said) if isinstance(said, bytes) else http.data(said, status)

    def _control(self) -> None:
        while not self._over.wait(0.03):
            self.cluster.step()

    def _begin(self, pod: Item) -> None:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        fields = {
            "metadata.name": name,
            "metadata.uid": pod["metadata"]["uid"],
            "metadata.namespace": "data",
        }
        environment = {
            variable["name"]: variable.get("value") or fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            for variable in container["env"]
        }
        environment |= {
            "PATH": os.environ["PATH"],
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server.server_port),
            "CONNRUNNER_ACCOUNT": str(self.folder / "account"),
            "CONNRUNNER_TERMINATION_LOG": str(self.folder / f"{name}.end"),
            "A_SECRET": "from the cluster",
        }
        process = subprocess.Popen(
            [sys.executable, *container["command"][1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._processes[name] = process
        watch = threading.Thread(target=self._watch, args=(pod, process), daemon=True)
        self._watches.append(watch)
        watch.start()

    def _watch(self, pod: Item, process: subprocess.Popen[bytes]) -> None:
        name = pod["metadata"]["name"]
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
            with self.cluster.lock:
                self.cluster.logs[name].append((stamp, line))
        said = process.stderr.read().decode(errors="replace")
        process.stdout.close()
        process.stderr.close()
        code = process.wait()
        end = self.folder / f"{name}.end"
        message = end.read_text() if end.exists() else said[-2000:]
        self.cluster.end(pod, 128 - code if code < 0 else code, message=message)

    def _signal(self, pod: Item, number: int) -> None:
        process = self._processes.get(pod["metadata"]["name"])
        if process is not None and process.poll() is None:
            with suppress(OSError):
                if number == PROCESSES["KILL"]:
                    for pid in _below(process.pid):  # a container dies with all that is in it
                        os.kill(pid, number)
                os.kill(process.pid, number)


def _below(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found += [*_below(int(entry.name)), int(entry.name)]
    return found


def unsteady(share: float, seed: int = 0) -> Fault:
    """Return faults of which so many calls suffer: half before the work is done, half after."""
    chance = random.Random(seed)
    return lambda method, path: (
        chance.choice((429, 500, 503, "lost", "lost", "lost")) if chance.random() < share else None
    )


def _container(state: Item) -> Item:
    return {"name": "run", "state": state}


def _status(code: int, reason: str, message: str) -> Item:
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
