"""The third-party program of a connection: where it is, what it finds when it starts, what it gets in private."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connrunner.connectors import RunContext, Settings, bridge
from connrunner.connectors.bridge import Dialogue, Program, ProgramExit, environments
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import replace
from connrunner.processes import spawn
from connrunner.text import durations
from connrunner.text.nesting import parse_json

LARGEST_MESSAGE = 2_000_000  # values of one message that is no row: the largest catalogs have a million


def find_program(settings: Settings, context: RunContext, *, default: str = "") -> Program:
    """Return the program that *settings* name; RunError when it is not installed.

    That is `command` as it stands, else `program` of the installed `package`; *default* is what `program` is when left
    out, and without a default the program that the package brought.
    """
    environment = {"TMPDIR": str(_folder(context, "temporary"))}  # what it forgets there goes with the spool
    wanted = environments.package(settings, context.workspace)
    if wanted is None:
        command = tuple(settings["command"])
        return Program(name=Path(command[0]).name, arguments=command, environment=environment)
    name = settings.get("program", default)
    path = environments.program(wanted, name, context.programs.absolute(), connection=context.connection)
    search = f"{path.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return Program(name=path.name, arguments=(str(path),), environment={**environment, "PATH": search})


def locate_program(program: Program, context: RunContext) -> str:
    """Return where the file of *program* is; RunError when it cannot be started."""
    return spawn.find_executable(program.arguments[0], context.workspace, os.environ.get("PATH", os.defpath))


def run_for_context(
    program: Program, arguments: Sequence[str], context: RunContext, settings: Settings, dialogue: Dialogue
) -> ProgramExit:
    """Run *program* for *context*, see `bridge.run`; `idle` of the settings says how long it may be silent."""
    if "idle" in settings:
        dialogue = replace(dialogue, idle=durations.parse(settings["idle"]))
    return bridge.run_program(
        program,
        arguments,
        dialogue,
        workspace=context.workspace,
        report=context.report,
        tree=context.processes,
    )


@contextmanager
def private(context: RunContext, name: str, data: Any) -> Iterator[str]:
    """Write *data* as JSON into a new file of the spool that only we can read, yield its path, and remove it."""
    path = context.spool.absolute() / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor has no path
            json.dump(data, file)
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def config(settings: Settings, context: RunContext) -> Any:
    """Return what the program is to know, with a folder of the spool for `{spool}`."""
    return _filled(settings.get("config", {}), str(_folder(context, "files")))


def _filled(value: Any, folder: str) -> Any:
    match value:
        case str():
            return value.replace("{spool}", folder)
        case Mapping():
            return {key: _filled(item, folder) for key, item in value.items()}
        case list():
            return [_filled(item, folder) for item in value]
        case _:
            return value


def message(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object that *line* is, or None."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        found = parse_json(line, most_values=LARGEST_MESSAGE)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def broken(name: str, line: int) -> RunError:
    """Return the error for the *line* of the output of the program *name* in which rows may be lost."""
    return RunError(
        f"{name} printed a broken message in line {line:,} of its output, and rows may be lost with it",
        hint="use another version of it, or tell its makers",
        code="bad-output",
    )


def _folder(context: RunContext, name: str) -> Path:
    folder = context.spool.absolute() / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
