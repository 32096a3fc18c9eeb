"""The Job of a run: started once, never moved by the cluster, its pod kept until connrunner has seen how it ended."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from connrunner.executors.contract import Task

MANAGED = {"app.kubernetes.io/managed-by": "connrunner"}
RUN_LABEL = "connrunner.dev/run"
SCOPE_LABEL = "connrunner.dev/state"
FINALIZER = "connrunner.dev/run"  # nobody's deletion takes a pod out of sight before its end was seen
CONTAINER = "run"
PART = 100_000  # characters of one variable: the kernel takes 128 KiB
MARGIN = 10  # seconds that the run's own process has beyond the grace of its program
STARTS = 600  # seconds beyond the timeout after which Kubernetes itself ends a run
LAST_WORDS = "/dev/termination-log"

# By digest, so that nobody can move the tag under it. As registry.k8s.io promotes it, for every kind of machine:
# registry.k8s.io/images/k8s-staging-git-sync/images.yaml in kubernetes/k8s.io.
GIT_SYNC = (
    "registry.k8s.io/git-sync/git-sync:v4.5.0@sha256:0e64aedb0d0ae0a3bab880349a5109b2a31891d646dd61e433ca36ed220dff1f"
)
SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pack_job(job: Mapping[str, Any]) -> list[str]:
    """Return *job* as texts for variables of the environment."""
    packed = base64.b64encode(zlib.compress(json.dumps(job).encode(), 9)).decode()
    return [packed[start : start + PART] for start in range(0, len(packed), PART)]


def unpack_job(parts: list[str]) -> dict[str, Any]:
    """Return the job that `pack_job` packed."""
    job: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode("".join(parts))))
    return job


def make_manifest(task: Task, *, scope: str) -> dict[str, Any]:
    """Return the Job of *task*. No secret is in it: those that the run needs are named, and mounted by the cluster.

    backoffLimit 0 and restartPolicy Never: it is not tried again. Tolerations without a limit: the pod of a node that
    does not answer is not given up, or a second one would work beside it. `podReplacementPolicy: Failed` says the same
    to clusters that know it (1.34); older ones drop it.
    """
    said, settings = dict(task.job), task.settings
    workspace = settings.get("workspace", "/workspace")
    git = settings.get("git")
    if git:
        workspace = "/git/workspace" + (f"/{git['folder'].strip('/')}" if git.get("folder", "").strip("/") else "")
    said["workspace"] = workspace
    labels = {
        **MANAGED,
        RUN_LABEL: task.id,
        SCOPE_LABEL: scope,
        "connrunner.dev/connection": _label(said["connection"]),
    }
    parts = pack_job(said)
    variables: list[dict[str, Any]] = [
        {"name": f"CONNRUNNER_JOB_{number}", "value": part} for number, part in enumerate(parts)
    ]
    for name, field in (("POD", "metadata.name"), ("POD_UID", "metadata.uid"), ("NAMESPACE", "metadata.namespace")):
        variables.append({"name": f"CONNRUNNER_{name}", "valueFrom": {"fieldRef": {"fieldPath": field}}})
    variables += [
        {"name": "CONNRUNNER_TASK", "value": task.id},
        {"name": "CONNRUNNER_SCOPE", "value": scope},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108
    ]
    files = settings.get("secret_files") or {}
    volumes = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    for number, (path, secret) in enumerate(sorted(files.items())):
        volumes.append({"name": f"secret-{number}", "secret": {"secretName": secret, "defaultMode": 0o440}})
        mounts.append({"name": f"secret-{number}", "mountPath": path, "readOnly": True})
    container = {
        "name": CONTAINER,
        "image": settings["image"],
        "command": ["python", "-P", "-m", "connrunner.worker.elsewhere", "kubernetes"],
        "env": variables,
        "envFrom": [{"secretRef": {"name": name}} for name in settings.get("secrets") or ()],
        "resources": _resources(settings.get("resources") or {}),
        "terminationMessagePath": LAST_WORDS,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": SECURITY,
        "volumeMounts": mounts,
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": task.grace + MARGIN,
        "serviceAccountName": settings.get("service_account", "connrunner-run"),
        "enableServiceLinks": False,
        "tolerations": [
            {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute"}
            for state in ("unreachable", "not-ready")
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    if git:
        volumes.append({"name": "git", "emptyDir": {}})
        mounts.append({"name": "git", "mountPath": "/git", "readOnly": True})
        pod["initContainers"] = [_git_sync(git, said.get("commit"))]
    if selector := settings.get("node_selector"):
        pod["nodeSelector"] = dict(selector)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": task.id, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "parallelism": 1,
            "completions": 1,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": task.timeout + task.grace + STARTS,
            "ttlSecondsAfterFinished": 86400,
            "template": {
                "metadata": {
                    "labels": labels,
                    "finalizers": [FINALIZER],
                    "annotations": {
                        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                        "karpenter.sh/do-not-disrupt": "true",
                    },
                },
                "spec": pod,
            },
        },
    }


def make_claim(task_id: str, holder: str, *, scope: str) -> dict[str, Any]:
    """Return the Lease by which *holder* claims a run: who creates it first has it."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": task_id, "labels": {**MANAGED, RUN_LABEL: task_id, SCOPE_LABEL: scope}},
        "spec": {"holderIdentity": holder},
    }


def _label(name: str) -> str:
    """Return the name of a connection as a label can say it: one ends with a letter or digit."""
    return name.rstrip("-_")


def _resources(said: Mapping[str, str]) -> dict[str, Any]:
    """Return requests and limits: as much memory as is asked for and no more, and at least so much of the CPUs."""
    memory = said.get("memory", "1Gi")
    return {"requests": {"cpu": str(said.get("cpu", "500m")), "memory": memory}, "limits": {"memory": memory}}


def _git_sync(git: Mapping[str, str], commit: str | None) -> dict[str, Any]:
    """Return the container that fetches the workspace: the commit that the run was decided by, or `ref`."""
    return {
        "name": "git-sync",
        "image": GIT_SYNC,
        "args": [
            f"--repo={git['repository']}".replace("$", "$$"),
            f"--ref={commit or git.get('ref', 'HEAD')}".replace("$", "$$"),
            *("--root=/git", "--link=workspace", "--one-time", "--depth=1"),
        ],
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": "git", "mountPath": "/git"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
