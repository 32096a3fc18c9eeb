"""What the status of a pod says of the run in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from connrunner.executors.engine import Observed, RunPhase
from connrunner.executors.kubernetes.api_client import age_in_seconds
from connrunner.executors.kubernetes.manifest import CONTAINER
from connrunner.text.nesting import parse_json

REFUSED = 75  # of a worker whose run was claimed before
OVERDUE = 60  # seconds beyond its grace after which a pod that is being ended counts as lost
# A pod that waits for these waits for a person.
HOPELESS = frozenset(
    ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")
)
# The node itself ended the pod, or never let it begin, and says so; what else is Failed without the end of its
# container was given up by somebody who does not know whether it lives.
OF_ITS_NODE = (
    *("Evicted", "OutOf", "NodeAffinity", "UnexpectedAdmission", "Terminated", "Shutdown", "NodeShutdown"),
    *("DeadlineExceeded", "Preempting", "UnexpectedPodInfo", "SysctlForbidden", "AppArmor", "TopologyAffinity"),
)
_RANK = {RunPhase.LOST: 0, RunPhase.RUNNING: 1, RunPhase.QUEUED: 2, RunPhase.ENDED: 3}

Pod = Mapping[str, Any]


def observe_run(pods: Iterable[Pod]) -> Observed:
    """Return what the *pods* of one run say together: it has ended when all of them have."""
    found = sorted((observe_pod(pod) for pod in pods), key=lambda one: _RANK[one.phase])
    if found[0].phase is not RunPhase.ENDED:
        return found[0]
    return min(found, key=lambda one: (one.last_words is None, one.is_refused))


def observe_pod(pod: Pod) -> Observed:
    """Return what one pod says."""
    status, spec, metadata = pod.get("status") or {}, pod.get("spec") or {}, pod.get("metadata") or {}
    node = spec.get("nodeName") or ""
    place = f"pod {metadata.get('name', '?')}" + (f" on node {node}" if node else "")
    container = _container(status, "containerStatuses", CONTAINER)
    ended = (container.get("state") or {}).get("terminated")
    if ended is not None:
        return _ended(ended, status, place)
    waits, is_hopeless = _why_it_waits(status)
    match status.get("phase"):
        case "Failed" | "Succeeded":
            return _given_up(status, node, place)
        case "Unknown":
            return Observed(phase=RunPhase.LOST, place=place, reason=f"node {node} does not answer")
        case "Running":
            if reason := _why_lost(status, metadata, node):
                return Observed(phase=RunPhase.LOST, place=place, reason=reason)
            leaving = "it is being ended" if metadata.get("deletionTimestamp") else ""
            return Observed(phase=RunPhase.RUNNING, place=place, reason=leaving)
    if metadata.get("deletionTimestamp") and not node:
        return Observed(phase=RunPhase.ENDED, place=place, reason="it was deleted before it began", is_hopeless=True)
    return Observed(phase=RunPhase.QUEUED, place=place, reason=waits, is_hopeless=is_hopeless)


def _ended(ended: Mapping[str, Any], status: Mapping[str, Any], place: str) -> Observed:
    code = ended.get("exitCode")
    exit_status = None if code is None else 128 - code if 128 < code < 193 else int(code)
    words, message = read_last_words(str(ended.get("message") or ""))
    reasons = [status.get("reason"), ended.get("reason") if ended.get("reason") not in ("Error", "Completed") else None]
    said = [str(one) for one in (*reasons, status.get("message"), message) if one]
    return Observed(
        phase=RunPhase.ENDED,
        place=place,
        reason=": ".join(dict.fromkeys(said)),
        exit_status=exit_status,
        is_out_of_memory=ended.get("reason") == "OOMKilled",
        is_refused=code == REFUSED and words is None,
        last_words=words,
    )


def read_last_words(message: str) -> tuple[Mapping[str, Any] | None, str]:
    """Return the event by which a run said how it ended, or else what stands in its place, cut short."""
    for line in reversed(message.splitlines()[-20:]):
        with suppress(ValueError):
            event = parse_json(line.encode())
            if isinstance(event, dict) and event.get("type") == "ended" and isinstance(event.get("outcome"), str):
                return {key: value for key, value in event.items() if key != "line"}, ""
    last = message.strip().splitlines()[-1:]
    return None, last[0][:300] if last else ""


def _given_up(status: Mapping[str, Any], node: str, place: str) -> Observed:
    """Return what a pod says that has ended by its phase, though nobody saw its container end."""
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    said = ": ".join(one for one in (reason, message) if one)
    for one in status.get("initContainerStatuses") or ():
        ended = (one.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            words = str(ended.get("message") or ended.get("reason") or f"exit status {ended['exitCode']}")
            said = f"{one.get('name')} failed: {words.strip().splitlines()[-1][:300] if words.strip() else ''}"
            return Observed(phase=RunPhase.ENDED, place=place, reason=said, is_hopeless=True)
    if not node:
        return Observed(phase=RunPhase.ENDED, place=place, reason=said or "it was given no node", is_hopeless=True)
    if reason.startswith(OF_ITS_NODE):
        return Observed(phase=RunPhase.ENDED, place=place, reason=said)
    text = f"node {node} is gone, and nobody saw the run end" + (f" ({said})" if said else "")
    return Observed(phase=RunPhase.LOST, place=place, reason=text)


def _why_it_waits(status: Mapping[str, Any]) -> tuple[str, bool]:
    """Return why a pod has not begun, in the words of Kubernetes, and whether it waits for a person."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _joined(condition), False
    for key in ("initContainerStatuses", "containerStatuses"):
        for one in status.get(key) or ():
            waiting = (one.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
                return _joined(waiting), waiting["reason"] in HOPELESS
    return "", False


def _why_lost(status: Mapping[str, Any], metadata: Mapping[str, Any], node: str) -> str:
    """Return why a pod that works by its phase cannot be seen to; empty when it can."""
    ready: Mapping[str, Any] = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), {})
    # It has no probe of its own: only who watches over nodes takes its readiness away.
    if ready.get("status") == "False" and ready.get("reason") != "ContainersNotReady":
        return f"node {node} does not answer"
    # A pod that is being deleted says until when it has: its grace is added already.
    if metadata.get("deletionTimestamp") and age_in_seconds(str(metadata["deletionTimestamp"])) > OVERDUE:
        return f"node {node} does not say that it has ended"
    return ""


def _container(status: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    return next((one for one in status.get(key) or () if one.get("name") == name), {})


def _joined(said: Mapping[str, Any]) -> str:
    return ": ".join(str(said[key]) for key in ("reason", "message") if said.get(key))
