"""The process that is a run on another machine: claims it, has the work done as at home, and says how it went.

Its own process does no work: it starts the same worker that a tick starts here, passes on its log line by line, each
with its number, and SIGTERM to it; so a run elsewhere keeps the promises of one at home. It needs nothing of the state
folder.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from connrunner.core.model import GRACE, Outcome, Result
from connrunner.errors import ConnrunnerError
from connrunner.executors.contract import Task
from connrunner.executors.local import LocalExecutor, wait_for_workers
from connrunner.processes.tree import reap_adopted
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.state.handovers import CopiedLog, Handover
from connrunner.state.locks import LaneLock, WorkerLock
from connrunner.text.durations import parse

REFUSED = 75  # EX_TEMPFAIL: another process has the run
UNUSABLE = 78  # EX_CONFIG: nothing was begun
GLANCE = 0.3  # seconds between two looks at the log
ITS_OWN_END = 5  # seconds beyond its grace that the worker has
CLAIM = 300.0  # seconds in which the claim must be made; after that nothing begins
LAST_WORDS = 3500  # bytes: Kubernetes keeps 4096


class Carrier(Protocol):
    """How a run on another machine gets its job, and how its words come back."""

    def job(self) -> dict[str, Any]:
        """Return the job. OSError or ValueError when there is none."""

    def claim(self) -> bool:
        """Make the run ours; False when another process has it."""

    def emit(self, line: bytes) -> None:
        """Pass on a line of the log."""

    def say_end(self, event: Mapping[str, Any]) -> None:
        """Pass on how the run ended, durably."""


class PodCarrier:
    """In a pod: the job comes by its environment, the log goes to standard output, a Lease is the claim."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        parts: list[str] = []
        # Taken away: a program that the run starts has no use for it.
        while (part := environment.pop(f"CONNRUNNER_JOB_{len(parts)}", None)) is not None:
            parts.append(part)
        self._parts = parts
        self._task, self._namespace = (
            environment.get("CONNRUNNER_TASK", ""),
            environment.get("CONNRUNNER_NAMESPACE", ""),
        )
        self._holder = environment.get("CONNRUNNER_POD_UID", "")
        self._end = Path(environment.get("CONNRUNNER_TERMINATION_LOG", "/dev/termination-log"))
        self._environment = environment

    def job(self) -> dict[str, Any]:
        from connrunner.executors.kubernetes.manifest import unpack_job

        return unpack_job(self._parts)

    def claim(self) -> bool:
        from connrunner.executors.engine import EngineError, RejectedError
        from connrunner.executors.kubernetes.api_client import ApiClient, StatusError, in_cluster
        from connrunner.executors.kubernetes.manifest import make_claim

        account = self._environment.get("CONNRUNNER_ACCOUNT")
        access = in_cluster(self._environment, **({"account": Path(account)} if account else {}))
        if access is None:
            raise OSError(
                "the pod has no service account: `service_account` in `executor` names one that may create leases"
            )
        client = ApiClient(access)
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"
        scope = self._environment.get("CONNRUNNER_SCOPE", "")
        until = time.monotonic() + CLAIM
        while True:
            try:
                client.create(leases, make_claim(self._task, self._holder, scope=scope))
            except StatusError as error:
                if error.status != 409:
                    raise OSError(f"the run cannot be claimed: {error.message}") from error
                with suppress(EngineError, StatusError):
                    lease = client.get(f"{leases}/{self._task}")
                    return bool(lease["spec"].get("holderIdentity") == self._holder)  # the first answer was lost
            except RejectedError as error:
                raise OSError(f"the run cannot be claimed: {error}") from error
            except EngineError as error:
                if time.monotonic() > until:
                    raise OSError(f"the run cannot be claimed: {error}") from error
            else:
                return True
            time.sleep(2)

    def emit(self, line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    def say_end(self, event: Mapping[str, Any]) -> None:
        with suppress(OSError):
            self._end.write_bytes(shorten_end(event))


class FolderCarrier:
    """In a folder that both machines see: everything is a file there, and the claim is a link that nobody else made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log: int | None = None

    def job(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._folder / "job.json").read_bytes())
        return found

    def claim(self) -> bool:
        from connrunner.executors.claims import claim_folder

        return claim_folder(self._folder, f"{socket.gethostname()} {os.getpid()} {time.time_ns()}")

    def emit(self, line: bytes) -> None:
        if self._log is None:
            self._log = os.open(self._folder / "log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        while line:
            line = line[os.write(self._log, line) :]

    def say_end(self, event: Mapping[str, Any]) -> None:
        if self._log is not None:
            os.fsync(self._log)
        from connrunner.text.files import replace_file

        replace_file(self._folder / "end.json", json.dumps(event).encode() + b"\n")


def shorten_end(event: Mapping[str, Any]) -> bytes:
    """Return *event* in the few bytes that Kubernetes keeps; its log has all of it."""
    short = str(event.get("message", ""))[:800]
    cuts: tuple[dict[str, Any], ...] = ({}, {"detail": {}}, {"detail": {}, "message": short})
    for less in cuts:
        data = json.dumps({**event, **less}, separators=(",", ":")).encode()
        if len(data) <= LAST_WORDS:
            break
    return data


class LogTail:
    """What a log has more than was passed on."""

    def __init__(self, path: Path, emit: Callable[[bytes], None]) -> None:
        self._path, self._emit = path, emit
        self._offset = self.lines = 0

    def copy(self) -> None:
        for offset, event in run_files.read_events_from(self._path, self._offset):
            self._offset = offset
            self.emit(event)

    def emit(self, event: Mapping[str, Any]) -> None:
        self.lines += 1
        self._emit(run_files.encode_event({"line": self.lines, **event}))


def work(job: Mapping[str, Any], carrier: Carrier) -> Outcome:
    """Have the work of *job* done by a worker of this machine; return how it ended."""
    told: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, note)
    with tempfile.TemporaryDirectory(prefix="connrunner-", ignore_cleanup_errors=True) as folder:
        state = StateFolder(Path(folder) / "state")
        state.prepare()
        name, number = str(job["connection"]), int(job["run"])
        state.run(name, number).mkdir(mode=0o700, parents=True)
        task = _make_task(job, state)
        assert task.lane.take(), "the state is new"
        worker = LocalExecutor().start(task)
        tail = LogTail(state.log(name, number), carrier.emit)
        asked_at: float | None = None
        while worker.is_alive or not worker.end_leftovers(grace=None if asked_at is None else 0):
            wait_for_workers([worker], GLANCE)
            reap_adopted(but=worker.pid)
            tail.copy()
            if told and asked_at is None:
                asked_at = time.monotonic()
                worker.tell(signal.SIGTERM)
            elif asked_at is not None and time.monotonic() - asked_at > task.grace + ITS_OWN_END:
                worker.tell(signal.SIGKILL)
        tail.copy()
        story = run_files.read_log_summary(state, name, number)
        result = story.result
        if result is None:
            text = _describe_death(worker.exit_status, task.alive.path)
            result = Result(outcome=Outcome.FAILED, counts=story.counts, message=text, code="crashed")
            tail.emit(run_files.end_event(result))
        carrier.say_end(run_files.end_event(result))
        return result.outcome


def _make_task(job: Mapping[str, Any], state: StateFolder) -> Task:
    name, number = str(job["connection"]), int(job["run"])
    document = job["document"]
    return Task(
        id=name,
        job={**job, "state": str(state.root)},
        settings={},
        mark=str(job["mark"]),
        grace=parse(document["stop"]["grace"]) if "stop" in document else GRACE,
        timeout=parse(document["timeout"]),
        lane=LaneLock(state, "main"),
        alive=WorkerLock(state.run(name, number) / "worker.txt"),
        log=CopiedLog(state.log(name, number)),
        handover=Handover(state, name),
    )


def _describe_death(status: int | None, complaints: Path) -> str:
    how = "" if status is None else f" by signal {-status}" if status < 0 else f" with exit status {status}"
    said = ""
    with suppress(OSError):
        said = complaints.read_text(errors="backslashreplace").strip()
    return f"its process ended{how} before it said how it went" + (f": {said.splitlines()[-1]}" if said else "")


def main(arguments: list[str]) -> int:
    """Do one run; return its exit status.

    It is 0 when the run came to its end, 1 when it failed, 75 when another process has it, 78 when it could not begin.
    """
    carrier: Carrier
    match arguments:
        case ["kubernetes"]:
            carrier = PodCarrier(os.environ)
        case ["folder", folder]:
            carrier = FolderCarrier(Path(folder))
        case _:
            sys.stderr.write("connrunner.worker.elsewhere: kubernetes, or folder FOLDER\n")
            return 2
    try:
        job = carrier.job()
        if not carrier.claim():
            sys.stderr.write("refused: another process has this run\n")
            return REFUSED
    except (OSError, ValueError) as error:
        sys.stderr.write(f"nothing was begun: {error}\n")
        return UNUSABLE
    try:
        return 0 if work(job, carrier) in (Outcome.SUCCEEDED, Outcome.PARTIAL) else 1
    except (ConnrunnerError, OSError) as error:
        text = f"it could not begin on {socket.gethostname()}: {error}"
        carrier.say_end(run_files.end_event(Result(outcome=Outcome.FAILED, message=text, code="cannot-start")))
        sys.stderr.write(f"{text}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
