"""Where the runs of a connection live, as its file, its lane and the workspace say together; what keeps them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connrunner.config import secrets
from connrunner.config.finding import Finding, Path

Data = Mapping[str, Any]
NAMES = {"kubernetes": "Kubernetes", "slurm": "Slurm"}
NEEDED = {"kubernetes": ("image", "registry.example.com/workspace:1"), "slurm": ("folder", "/shared/connrunner")}


def choose_executor(*said: Any) -> dict[str, Any] | None:
    """Return what the settings *said* mean together, the furthest one first; None for this machine.

    Of two of one type, the nearer one changes single keys; one of another type replaces it.
    """
    chosen: dict[str, Any] | None = None
    for one in said:
        if one == "local":
            chosen = None
        elif isinstance(one, dict):
            chosen = {**chosen, **one} if chosen is not None and chosen.get("type") == one.get("type") else dict(one)
    return chosen


def check_executor(data: Data, chosen: Data | None) -> Iterator[Finding]:
    """Yield why the connection *data* cannot run where it is said to."""
    if chosen is None or chosen.get("type") not in NAMES:
        return
    place = NAMES[chosen["type"]]
    own = "executor" in data
    for kind, words in (("import", "an import"), ("export", "an export")):
        if kind in data:
            message = f"{words} cannot run on {place}: its profiles are in the store of the machine that ticks"
            path: Path = ("executor",) if own else (kind,)
            hint = "write `executor: local` in this file; only commands run elsewhere in this version"
            yield Finding(path, message, hint, "out-of-reach", at_key=True)
    where: Path = ("executor",) if own else ("command",)
    key, example = NEEDED[chosen["type"]]
    if key not in chosen:
        message = f"an executor of type {chosen['type']} needs `{key}`"
        yield Finding(where, message, f"add it, like `{key}: {example}`", "missing-key", at_key=True)
    if isinstance(data.get("command"), dict):
        yield from _unreachable_secrets(data["command"], chosen)


def _unreachable_secrets(command: Data, chosen: Data) -> Iterator[Finding]:
    """Yield the references that mean nothing in a pod, since no Secret is given to it."""
    if chosen["type"] != "kubernetes":
        return
    for name, value in (command.get("env") or {}).items():
        for reference in secrets.references({"": value}):
            kind, _, what = reference.partition(":")
            path: Path = ("command", "env", name)
            if kind == "env" and not chosen.get("secrets"):
                message = f"{reference} has no value in a pod: `secrets` of its executor names no Secret"
                yield Finding(path, message, "name the Secret that has it", "out-of-reach")
            elif kind == "file" and not any(what.startswith(f"{one}/") for one in chosen.get("secret_files") or ()):
                message = f"{what} is not in the pod: `secret_files` of its executor has no such folder"
                yield Finding(path, message, "name its folder, and the Secret that has it", "out-of-reach")
