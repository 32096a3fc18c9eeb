"""Where runs live: can it be reached, may we do what is needed, has it room?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from connrunner.doctor import Check, failure, ok, warning
from connrunner.executors.claims import claim_folder
from connrunner.executors.engine import EngineError
from connrunner.executors.kubernetes.api_client import ApiClient, StatusError
from connrunner.executors.slurm import ask_slurm

# What is asked of Kubernetes, and nothing else: verbs, group, resource.
RIGHTS = (
    (("create", "get", "list", "delete"), "batch", "jobs"),
    (("get", "list", "patch", "delete"), "", "pods"),
    (("get",), "", "pods/log"),
    (("list",), "", "events"),
    (("create", "get", "list", "delete"), "coordination.k8s.io", "leases"),
)
GRANT = "`connrunner install kubernetes` writes a Role that has them; kubectl apply it"


def check_kubernetes(client: ApiClient, namespace: str) -> Iterator[Check]:
    """Yield whether the API server answers, and grants what runs need in *namespace*."""
    name = f"executor kubernetes, namespace {namespace}"
    try:
        version = client.get("/version").get("gitVersion", "?")
        lacking = [right for right in _list_rights() if not _is_granted(client, namespace, *right)]
    except (EngineError, StatusError) as error:
        said = error.message if isinstance(error, StatusError) else str(error)
        yield failure(name, said, "see whether the cluster is up, and KUBECONFIG or the service account is right")
        return
    if lacking:
        words = ", ".join(f"{verb} {resource}" for verb, _, resource in lacking)
        yield failure(name, f"{version} answers, and does not let us {words}", GRANT)
    else:
        yield ok(name, f"{version} answers, and grants what runs need")
    yield from _check_quota(client, namespace, name)


def _list_rights() -> list[tuple[str, str, str]]:
    return [(verb, group, resource) for verbs, group, resource in RIGHTS for verb in verbs]


def _is_granted(client: ApiClient, namespace: str, verb: str, group: str, resource: str) -> bool:
    kind, _, below = resource.partition("/")
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": kind, "subresource": below}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    answer = client.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool((answer.get("status") or {}).get("allowed"))


def _check_quota(client: ApiClient, namespace: str, name: str) -> Iterator[Check]:
    """Yield a warning for a quota that is used up; nothing when quotas may not be seen."""
    try:
        quotas = client.list(f"/api/v1/namespaces/{namespace}/resourcequotas")
    except (EngineError, StatusError):
        return
    for quota in quotas:
        status = quota.get("status") or {}
        used, hard = status.get("used") or {}, status.get("hard") or {}
        for what in (what for what in hard if what in used and used[what] == hard[what] != "0"):
            found = f"the quota {quota['metadata']['name']} is used up: {what} {used[what]} of {hard[what]}"
            yield warning(name, found, "runs wait until there is room; raise the quota, or run fewer at once")


def check_slurm(settings: Mapping[str, Any]) -> Iterator[Check]:
    """Yield whether Slurm answers, its partition is up, it ends all processes of a job, and the folder can be used."""
    folder = Path(settings["folder"])
    name = f"executor slurm, folder {folder}"
    try:
        partition = settings.get("partition")
        asked = ["sinfo", "--noheader", "--format=%a %D", *([f"--partition={partition}"] if partition else [])]
        lines = ask_slurm(*asked).split("\n")
        configuration = ask_slurm("scontrol", "show", "config")
    except EngineError as error:
        yield failure(name, str(error), "see whether slurmctld is up, and its client programs are installed here")
        return
    if not any(line.startswith("up") for line in lines):
        which = f"partition {partition}" if partition else "no partition"
        yield failure(
            name, f"{which} is up" if not partition else f"{which} is not up", "ask who runs the cluster: `sinfo`"
        )
    elif "proctrack/cgroup" not in configuration:
        found = "Slurm does not track processes by cgroup, so what leaves its session may outlive a run"
        yield warning(name, found, "set ProctrackType=proctrack/cgroup in slurm.conf")
    else:
        yield ok(name, "Slurm answers, and ends all processes of a job")
    here = folder / f"doctor-{uuid4().hex}"
    try:
        here.mkdir(mode=0o700, parents=True)
        claimed = claim_folder(here, "doctor") and not claim_folder(here, "another")
        (here / "claim").unlink()
        here.rmdir()
    except OSError as error:
        yield failure(
            name, f"{error.filename or folder}: {error.strerror}", "make the folder, and let this account write"
        )
        return
    if not claimed:
        yield failure(name, "two processes can claim one run in it", "use a file system with hard links")
    elif (folder.stat().st_mode & 0o002) and not (folder.stat().st_mode & 0o1000):
        yield failure(name, "every user may write into it, and would be believed", f"chmod o-w {folder}")
    elif folder.stat().st_uid not in (os.getuid(), 0):
        yield warning(name, "another user owns it, and could change what runs are given", f"chown it: {folder}")
