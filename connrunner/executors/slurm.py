"""
Slurm as an engine, by its own commands: sbatch, squeue, scancel, scontrol, and sacct where accounting is kept.

Slurm forgets a job some minutes after its end, and may say of a node that does not answer that its job has failed,
while that still works there. So what the run itself wrote into the folder that all machines see counts first, and a job
that ended with its node is lost until its folder says how it went, or a person does.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from connrunner.executors.claims import CLAIM, claim_folder
from connrunner.executors.contract import Task
from connrunner.executors.engine import Observed, RejectedError, RunPhase, TransientError
from connrunner.text.files import replace_file
from connrunner.text.nesting import parse_json

TIMEOUT = 20  # seconds for a command of Slurm
WITHDRAWN = "withdrawn by connrunner"
MARGIN = 120  # seconds beyond timeout and grace after which Slurm itself ends a run
REFUSED = 75
WAITS = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
WORKS = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
# Its node itself said how these ended.
SEEN = ("COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY")
# What Slurm says when it cannot do it now; everything else that sbatch refuses is for a person.
LATER = re.compile(
    r"Unable to contact|Connection refused|timed out|Socket|temporarily|try again|Job violates accounting/QOS policy|"
    r"QOSMax|limit|busy|Zero Bytes|Transport endpoint|slurm_persist",
    re.IGNORECASE,
)


class SlurmEngine:
    """Jobs of this account, with a folder of its own for each below one that all machines see."""

    name = "Slurm"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers: dict[str, str] = {}  # of jobs, by run
        self._pending: set[str] = set()
        self._places: dict[str, str] = {}  # where each was seen last
        self._read: dict[str, int] = {}  # bytes of each log that were read

    def submit(self, task: Task) -> None:
        here = self._folder / task.id
        try:
            here.mkdir(mode=0o700, parents=True, exist_ok=True)
            settings = task.settings
            said = {**task.job, **({"workspace": settings["workspace"]} if "workspace" in settings else {})}
            replace_file(here / "job.json", json.dumps(said).encode())
        except OSError as error:
            raise TransientError(f"{error.filename or here}: {error.strerror}") from error
        # Slurm takes any number of jobs of one name; the claim would let only one of them work.
        if (here / CLAIM).exists() or (here / "number").exists() or task.id in self._list():
            return
        number = ask_slurm(*_sbatch(task, here), script=_script(task, here)).strip().partition(";")[0]
        self._numbers[task.id] = number
        with suppress(OSError):
            replace_file(here / "number", number.encode())

    def poll(self, ids: Collection[str]) -> Mapping[str, Observed]:
        listed = self._list()
        return {key: self._observe(key, listed.get(key)) for key in ids}

    def cancel(self, task_id: str, *, kill: bool) -> None:
        # The batch process is ours: it passes SIGTERM on, and keeps the grace. One that waits is taken out.
        gentle = ("--batch", "--signal=TERM") if not kill and task_id not in self._pending else ()
        which = self._numbers.get(task_id) or _read(self._folder / task_id / "number")
        with suppress(RejectedError):  # it has ended, or there never was one
            ask_slurm("scancel", *gentle, *((which,) if which else (f"--name={task_id}",)))

    def read_log(self, task_id: str, after: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        try:
            with (self._folder / task_id / "log.jsonl").open("rb") as file:
                file.seek(self._read.get(task_id, 0))
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise TransientError(f"{error.filename}: {error.strerror}") from error
        whole = data[: data.rfind(b"\n") + 1]
        self._read[task_id] = self._read.get(task_id, 0) + len(whole)
        for line in whole.split(b"\n")[:-1]:
            with suppress(ValueError):
                event = parse_json(line)
                if isinstance(event, dict) and isinstance(event.get("line"), int) and event["line"] > after:
                    yield event["line"], event

    def withdraw(self, task_id: str) -> bool:
        here = self._folder / task_id
        try:
            here.mkdir(mode=0o700, parents=True, exist_ok=True)
            return claim_folder(here, WITHDRAWN)
        except OSError as error:
            raise TransientError(f"{error.filename or here}: {error.strerror}") from error

    def forget(self, task_id: str) -> None:
        self._numbers.pop(task_id, None)
        self._read.pop(task_id, None)
        # A second job of this name, if Slurm has one, finds no folder then, and begins nothing.
        shutil.rmtree(self._folder / task_id, ignore_errors=True)

    def close(self) -> None:
        """Its commands keep no connection."""

    # --- inside --------------------------------------------------------------------------------------------------

    def _list(self) -> dict[str, tuple[str, str, str, str]]:
        """Return state, reason and nodes of the jobs of this account that Slurm still works at, by their names."""
        found = {}
        for line in ask_slurm("squeue", "--me", "--noheader", "--format=%i|%j|%T|%N|%r").splitlines():
            number, name, state, nodes, reason = (line.split("|", 4) + [""] * 5)[:5]
            found[name] = number, state, nodes, reason
            self._numbers[name] = number
        self._pending = {name for name, (_, state, _, _) in found.items() if state in WAITS}
        return found

    def _observe(self, key: str, listed: tuple[str, str, str, str] | None) -> Observed:
        here = self._folder / key
        if listed is not None:
            number, state, nodes, reason = listed
            place = f"job {number}" + (f" on {nodes}" if nodes else "")
            self._places[key] = place
            if state in WAITS:
                return Observed(phase=RunPhase.QUEUED, place=place, reason="" if reason == "None" else reason)
            if state in WORKS:
                lost = self._why_unseen(nodes) if state != "SUSPENDED" else ""
                if lost:
                    return Observed(phase=RunPhase.LOST, place=place, reason=lost)
                leaving = {"COMPLETING": "it is being ended", "SUSPENDED": "Slurm suspended it"}.get(state, "")
                return Observed(phase=RunPhase.RUNNING, place=place, reason=leaving)
        words = _read_words(here / "end.json")
        number = (listed[0] if listed else "") or self._numbers.get(key, "") or _read(here / "number")
        if words is not None:
            place = self._places.pop(key, "") or f"job {number}"
            return Observed(phase=RunPhase.ENDED, place=place, last_words=words)
        return self._observe_ended(key, number)

    def _observe_ended(self, key: str, number: str) -> Observed:
        """Return what Slurm remembers of a job that it does not work at any more."""
        state, code, nodes = _ask_details(key, number)
        if not state:
            return Observed(phase=RunPhase.ABSENT)
        state = state.split()[0].rstrip("+")
        place = f"job {number}" + (f" on {nodes}" if nodes else "")
        if state not in SEEN:
            if state != "CANCELLED":
                reason = f"{state}: its node was given up, and may still work"
                return Observed(phase=RunPhase.LOST, place=place, reason=reason)
            if lost := self._why_unseen(nodes):
                return Observed(phase=RunPhase.LOST, place=place, reason=lost)
        status, _, number_of_signal = code.partition(":")
        exit_status = -int(number_of_signal) if number_of_signal not in ("", "0") else int(status or 0)
        return Observed(
            phase=RunPhase.ENDED,
            place=place,
            reason="" if state in ("COMPLETED", "FAILED") else state,
            exit_status=None if state in ("CANCELLED", "TIMEOUT") else exit_status,
            is_out_of_memory=state == "OUT_OF_MEMORY",
            is_refused=exit_status == REFUSED,
        )

    def _why_unseen(self, nodes: str) -> str:
        """Return why the *nodes* of a job cannot be seen; empty when they can, or there are none."""
        if not nodes or nodes in ("(null)", "None assigned"):
            return ""
        states = ask_slurm("sinfo", "--noheader", f"--nodes={nodes}", "--format=%T").split()
        if any(state.endswith("*") or state.startswith(("down", "unknown")) for state in states):
            return f"node {nodes} does not answer ({', '.join(sorted(set(states)))})"
        return ""


def _sbatch(task: Task, here: Path) -> list[str]:
    """Return the call that hands *task* over: never tried again by Slurm, and without our environment."""
    settings = task.settings
    minutes = -(-(task.timeout + task.grace + MARGIN) // 60)
    asked = [
        *("sbatch", "--parsable", "--no-requeue", "--export=NONE", f"--job-name={task.id}"),
        *(f"--time={minutes}", "--open-mode=append", f"--output={here}/output.txt", f"--chdir={here}"),
        f"--cpus-per-task={settings.get('cpus', 1)}",
    ]
    for key, option in (("memory", "mem"), ("partition", "partition"), ("account", "account"), ("qos", "qos")):
        if key in settings:
            asked.append(f"--{option}={settings[key]}")
    return asked


def _script(task: Task, here: Path) -> str:
    """Return the batch script: it becomes our process, with the secrets of a file that only its machine reads."""
    settings = task.settings
    lines = ["#!/bin/sh"]
    if "environment" in settings:
        lines.append(f"set -a; . {shlex.quote(settings['environment'])} || exit 78; set +a")
    python = shlex.quote(settings.get("python", "python3"))
    lines.append(f"exec {python} -P -m connrunner.worker.elsewhere folder {shlex.quote(str(here))}")
    return "\n".join([*lines, ""])


def _ask_details(key: str, number: str) -> tuple[str, str, str]:
    """Return state, exit code and nodes of an ended job: as its controller remembers it, or its accounting."""
    if number:
        with suppress(RejectedError):
            said = dict(
                part.split("=", 1)
                for part in ask_slurm("scontrol", "--oneliner", "show", "job", number).split()
                if "=" in part
            )
            if said.get("JobState"):
                return said["JobState"], said.get("ExitCode", ""), said.get("NodeList", "")
    with suppress(RejectedError):
        asked = ("sacct", "--noheader", "--allocations", "--parsable2", f"--name={key}", "--starttime=now-30days")
        for line in ask_slurm(*asked, "--format=State,ExitCode,NodeList").splitlines():
            state, code, nodes = [*line.split("|"), "", "", ""][:3]
            return state, code, nodes
    return "", "", ""


def ask_slurm(*command: str, script: str | None = None) -> str:
    """Return what a command of Slurm says on standard output.

    TransientError when it may work later, RejectedError when it will not.
    """
    try:
        done = subprocess.run(  # noqa: S603 - commands of Slurm, with arguments and no shell
            command, input=script, capture_output=True, text=True, check=False, timeout=TIMEOUT, env=_environment()
        )
    except FileNotFoundError as error:
        raise RejectedError(f"there is no `{command[0]}` here", hint="install the client programs of Slurm") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TransientError(f"{command[0]} does not answer: {error}") from error
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1][:500]
    raise (TransientError if LATER.search(said) else RejectedError)(said)


def _environment() -> dict[str, str]:
    """Return what a command of Slurm needs of ours: no secret among it, for sbatch may hand on what it gets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ") or name.startswith(("SLURM_CONF", "FAKE_SLURM"))
    }


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""


def _read_words(path: Path) -> Mapping[str, Any] | None:
    with suppress(OSError, ValueError):
        event = parse_json(path.read_bytes())
        if isinstance(event, dict) and event.get("type") == "ended":
            return event
    return None
