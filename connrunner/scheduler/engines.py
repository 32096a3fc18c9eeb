"""The engine that an `executor` means, reached from here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from connrunner.config.kubeconfig import read_kubeconfig
from connrunner.executors.contract import Executor
from connrunner.executors.engine import Engine, RejectedError
from connrunner.executors.engine_executor import EngineExecutor
from connrunner.executors.kubernetes.api_client import ApiClient, ClusterAccess, in_cluster
from connrunner.executors.kubernetes.kubernetes_engine import KubernetesEngine
from connrunner.executors.slurm import SlurmEngine
from connrunner.state.folder import StateFolder, recording
from connrunner.text.files import replace_file

# What of an `executor` says which engine it is; the rest is for single runs.
IDENTITY = ("type", "context", "namespace", "folder")


def key_of(settings: Mapping[str, Any]) -> str:
    """Return what is the same for all runs that one list of one engine shows."""
    return json.dumps({key: settings[key] for key in IDENTITY if key in settings}, sort_keys=True)


def make_executor(settings: Mapping[str, Any], state: StateFolder) -> Executor:
    """Return the executor that *settings* mean. EngineError, with what to do, when it cannot be reached at all."""
    return EngineExecutor(make_engine(settings, state))


def make_engine(settings: Mapping[str, Any], state: StateFolder) -> Engine:
    """Return the engine that *settings* mean."""
    match settings["type"]:
        case "kubernetes":
            access = find_access(settings)
            namespace = settings.get("namespace") or access.namespace
            return KubernetesEngine(ApiClient(access), namespace=namespace, scope=read_scope(state))
        case "slurm":
            return SlurmEngine(Path(settings["folder"]))
        case other:
            raise RejectedError(f"this version knows no executor of type {other}", hint="use the newer connrunner")


def find_access(settings: Mapping[str, Any]) -> ClusterAccess:
    """Return how Kubernetes is reached: by the pod's service account, else by the kubeconfig."""
    inside = in_cluster(os.environ) if "context" not in settings else None
    if inside is not None:
        return inside
    paths = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")
    path = Path(paths.split(os.pathsep)[0])
    try:
        found = read_kubeconfig(path, context=settings.get("context"))
    except (OSError, ValueError) as error:
        said = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
        hint = "run connrunner in the cluster, or set KUBECONFIG"
        raise RejectedError(f"there is no way to Kubernetes: {said}", hint=hint) from error
    return ClusterAccess(**found)


def read_scope(state: StateFolder) -> str:
    """Return what tells the runs of this state folder from those of others in one namespace; made once."""
    path = state.handovers / "scope"
    with recording(path):
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            replace_file(path, uuid4().hex[:12].encode())
        return path.read_text().strip()
