"""Kubernetes as an engine: a Job for each run, a Lease for who has it, one list of pods for all."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from connrunner.executors.contract import Task
from connrunner.executors.engine import Observed, RejectedError, RunPhase, TransientError
from connrunner.executors.kubernetes.api_client import ApiClient, StatusError, age_in_seconds
from connrunner.executors.kubernetes.manifest import (
    CONTAINER,
    FINALIZER,
    MANAGED,
    RUN_LABEL,
    SCOPE_LABEL,
    make_claim,
    make_manifest,
)
from connrunner.executors.kubernetes.pods import Pod, observe_run
from connrunner.text.nesting import parse_json

WITHDRAWN = "withdrawn by connrunner"  # holds a run that must not begin any more
LOG_BYTES = 1 << 24  # of one look at a log
EVENTS = 3  # Jobs without a pod of which one look asks why
PATIENCE = 10  # seconds that a Job has to get its pod before that is asked
TIDY = 600.0  # seconds between two looks for what was left of ended runs
LEFT = 3600  # seconds after which what belongs to no run at work was left
QUERY = ",".join(f"{key}={value}" for key, value in MANAGED.items())


class KubernetesEngine:
    """Jobs of one namespace that belong to one state folder (*scope*)."""

    name = "Kubernetes"

    def __init__(self, client: ApiClient, *, namespace: str, scope: str) -> None:
        self._client, self._scope = client, scope
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._events = f"/api/v1/namespaces/{namespace}/events"
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._seen: dict[str, list[Pod]] = {}  # by run, as they were listed last
        self._times: dict[str, str] = {}  # of the last line that was read of each log, by its node's clock
        self._tidy_at = time.monotonic() + TIDY

    def submit(self, task: Task) -> None:
        with _asking():
            try:
                self._client.create(self._jobs, make_manifest(task, scope=self._scope))
            except StatusError as error:
                if error.status != 409:  # it has it: an answer was lost, or another tick was faster
                    raise

    def poll(self, ids: Collection[str]) -> Mapping[str, Observed]:
        with _asking():
            pods: dict[str, list[Pod]] = {}
            for pod in self._client.list(self._pods, labelSelector=self._selector):
                pods.setdefault(_run_of(pod), []).append(pod)
            self._seen = pods
            found = {key: observe_run(pods[key]) for key in ids if key in pods}
            if missing := [key for key in ids if key not in found]:
                found |= self._observe_jobs(missing)
            if time.monotonic() > self._tidy_at:
                self._tidy_at = time.monotonic() + TIDY
                self._tidy(ids)
            return found

    def cancel(self, task_id: str, *, kill: bool) -> None:
        with _asking():
            # Foreground: the Job stays until its pods are gone, so nobody takes it for ended before.
            self._delete(f"{self._jobs}/{task_id}", {"propagationPolicy": "Foreground"})
            if kill:
                for pod in self._seen.get(task_id, ()):
                    # Not 0, which would only take the object away and leave its processes alone.
                    self._delete(f"{self._pods}/{pod['metadata']['name']}", {"gracePeriodSeconds": 1})

    def read_log(self, task_id: str, after: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        pods = self._seen.get(task_id, ())
        if len(pods) > 1:  # the one that was refused has nothing to say
            pods = [pod for pod in pods if not observe_run([pod]).is_refused] or pods
        for pod in pods[:1]:
            with _asking():
                since = {"sinceTime": self._times[task_id]} if task_id in self._times else {}
                path = f"{self._pods}/{pod['metadata']['name']}/log"
                data = self._client.text(path, container=CONTAINER, timestamps="true", limitBytes=LOG_BYTES, **since)
            for line in data.split(b"\n")[:-1]:
                stamp, _, said = line.partition(b" ")
                with suppress(ValueError):
                    event = parse_json(said)
                    if isinstance(event, dict) and isinstance(event.get("line"), int) and event["line"] > after:
                        after = event["line"]
                        self._times[task_id] = stamp.decode(errors="replace")[:19] + "Z"
                        yield after, event

    def withdraw(self, task_id: str) -> bool:
        with _asking():
            try:
                self._client.create(self._leases, make_claim(task_id, WITHDRAWN, scope=self._scope))
            except StatusError as error:
                if error.status != 409:
                    raise
                lease = self._client.get(f"{self._leases}/{task_id}")
                return bool((lease.get("spec") or {}).get("holderIdentity") == WITHDRAWN)
            return True

    def forget(self, task_id: str) -> None:
        """Delete the Job and let its pods go; its claim stays for an hour, for a pod that begins very late."""
        self._times.pop(task_id, None)
        with _asking():
            self._delete(f"{self._jobs}/{task_id}", {"propagationPolicy": "Background"})
            query = f"{self._selector},{RUN_LABEL}={task_id}"
            seen = self._seen.pop(task_id, None) or self._client.list(self._pods, labelSelector=query)
            for pod in seen:
                self._let_go(pod)

    def close(self) -> None:
        self._client.close()

    # --- inside --------------------------------------------------------------------------------------------------

    @property
    def _selector(self) -> str:
        return f"{QUERY},{SCOPE_LABEL}={self._scope}"

    def _observe_jobs(self, missing: list[str]) -> dict[str, Observed]:
        """Return what is known of runs without a pod: their Jobs wait for one, or there is none."""
        jobs = {_run_of(job): job for job in self._client.list(self._jobs, labelSelector=self._selector)}
        found, asked = {}, 0
        for key in missing:
            job = jobs.get(key)
            conditions = ((job or {}).get("status") or {}).get("conditions") or ()
            if job is None or any(one.get("status") == "True" and one["type"] != "Suspended" for one in conditions):
                # Gone, or over for Kubernetes though nobody saw a pod of it end.
                found[key] = Observed(phase=RunPhase.ABSENT)
                continue
            reason = "the Job is suspended" if (job.get("spec") or {}).get("suspend") else ""
            waits = age_in_seconds((job.get("metadata") or {}).get("creationTimestamp") or "")
            if not reason and waits > PATIENCE and asked < EVENTS:
                asked += 1
                reason = self._find_event(key)
            found[key] = Observed(phase=RunPhase.QUEUED, reason=reason)
        return found

    def _find_event(self, job: str) -> str:
        """Return the last warning about a Job: why it gets no pod (quota, an admission that refuses it)."""
        with suppress(RejectedError, StatusError):
            query = f"involvedObject.kind=Job,involvedObject.name={job},type=Warning"
            for event in reversed(self._client.list(self._events, fieldSelector=query)):
                return f"{event.get('reason')}: {event.get('message')}"
        return ""

    def _tidy(self, ids: Collection[str]) -> None:
        """Take away what ticks that were killed left of ended runs: of none that is at work, and nothing young."""

        def was_left(item: Mapping[str, Any]) -> bool:
            created = str((item.get("metadata") or {}).get("creationTimestamp") or "")
            return _run_of(item) not in ids and age_in_seconds(created) > LEFT

        for key, pods in list(self._seen.items()):
            if all(map(was_left, pods)) and observe_run(pods).phase is RunPhase.ENDED:
                self.forget(key)
        for lease in filter(was_left, self._client.list(self._leases, labelSelector=self._selector)):
            if _run_of(lease) not in self._seen:
                self._delete(f"{self._leases}/{lease['metadata']['name']}", {})

    def _delete(self, path: str, options: Mapping[str, Any]) -> None:
        try:
            self._client.delete(path, {"apiVersion": "v1", "kind": "DeleteOptions", **options})
        except StatusError as error:
            if error.status not in (404, 409):  # it is gone, or going
                raise

    def _let_go(self, pod: Pod) -> None:
        """Take our finalizer from *pod*, and no other one."""
        known = list((pod.get("metadata") or {}).get("finalizers") or ())
        if FINALIZER not in known:
            return
        path = f"/metadata/finalizers/{known.index(FINALIZER)}"
        operations = [{"op": "test", "path": path, "value": FINALIZER}, {"op": "remove", "path": path}]
        where = f"{self._pods}/{pod['metadata']['name']}"
        try:
            self._client.patch(where, operations)
        except StatusError as error:
            if error.status != 404:
                raise
        except RejectedError:  # the list has changed since we saw it
            fresh = self._client.get(where)
            if FINALIZER in ((fresh.get("metadata") or {}).get("finalizers") or ()) and fresh != pod:
                self._let_go(fresh)


def _run_of(item: Mapping[str, Any]) -> str:
    return str(((item.get("metadata") or {}).get("labels") or {}).get(RUN_LABEL) or "")


@contextmanager
def _asking() -> Iterator[None]:
    """Turn an answer that means nothing special here into what the contract knows."""
    try:
        yield
    except StatusError as error:
        kind = TransientError if error.status in (409, 410) else RejectedError
        raise kind(error.message) from error
