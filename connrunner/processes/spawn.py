"""Start a program, or tell why it cannot start."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from connrunner.core.model import Command
from connrunner.errors import RunError
from connrunner.processes.tree import RUN_ID_VARIABLE, ProcessTree
from connrunner.text.words import nearest

# And LC_*. The worker sets TRACEPARENT to its run.
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TRACEPARENT", "TRACESTATE")
TRANSIENT = (
    errno.EAGAIN,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ETXTBSY,
)  # errors of the system that may pass


def start(
    work: Command,
    *,
    workspace: Path,
    environment: Mapping[str, str],
    tree: ProcessTree,
    stdin: int | BinaryIO = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start the program of *work* in a process group of its own, its output in pipes; RunError when that fails.

    It reads *stdin*. Of our own variables it gets `INHERITED` and no other: a secret of connrunner's is not its
    business. The mark of its *tree* finds it again wherever it goes.
    """
    folder = workspace / work.folder
    inherited = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("LC_")}
    variables = {**inherited, **environment, RUN_ID_VARIABLE: tree.mark}
    arguments = ["/bin/sh", "-c", *work.run] if work.shell else list(work.run)
    try:
        return subprocess.Popen(  # noqa: S603 - the workspace says what runs
            arguments,
            bufsize=0,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=variables,
            process_group=0,
            pass_fds=tree.inherit,
        )
    except ValueError as error:
        # Its text may hold a value, so it is not shown.
        raise RunError(
            f"cannot start {arguments[0]!r}: an argument or a variable holds what none can",
            hint="take NUL characters out of `run` and `env`, and = out of the names in `env`",
            code="cannot-start",
        ) from error
    except OSError as error:
        raise _cannot_start(error, arguments[0], folder, variables.get("PATH", os.defpath)) from error


def find_executable(program: str, folder: Path, path: str) -> str:
    """Return the file that *program* means, in *folder* or on the search path *path*; RunError when it cannot start."""
    found = str(folder / program) if "/" in program else shutil.which(program, path=path)
    number = errno.ENOENT if found is None or not os.path.exists(found) else errno.EACCES  # noqa: PTH110
    if found is None or not os.access(found, os.X_OK) or os.path.isdir(found):  # noqa: PTH112
        raise _cannot_start(OSError(number, os.strerror(number)), program, folder, path)
    return found


def _cannot_start(error: OSError, program: str, folder: Path, path: str) -> RunError:
    """Return what the person can do about a program that does not start."""
    if not folder.is_dir():
        return RunError(
            f"cannot start {program!r}: there is no folder {folder} to run in",
            hint="correct `folder`",
            code="no-folder",
        )
    found = folder / program if "/" in program else shutil.which(program, path=path)
    if error.errno == errno.ENOENT and found and Path(found).exists():
        return RunError(
            f"cannot start {program!r}: its first line names a program that is not there: {_first_line(Path(found))}",
            hint="install it or correct the line",
            code="no-program",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        near = nearest(program.rsplit("/", 1)[-1], _names_beside(program, folder, path))
        advice = f"did you mean {near!r}?" if near else "install it, or write where it is in `run`"
        find_executable = f"in {folder}" if "/" in program else "on the PATH"
        return RunError(f"there is no program {program!r} {find_executable}", hint=advice, code="no-program")
    if error.errno == errno.EACCES:
        return RunError(
            f"{program!r} may not be executed",
            hint=f'make it executable with `chmod +x`, or name its interpreter: run: ["python3", "{program}"]',
            code="cannot-start",
        )
    if error.errno == errno.ENOEXEC:
        return RunError(
            f"{program!r} is not a program that this machine can execute",
            hint="begin a script with a line like #!/bin/sh, or name its interpreter first in `run`",
            code="cannot-start",
        )
    return RunError(
        f"cannot start {program!r}: {error.strerror}", code="cannot-start", waiting_helps=error.errno in TRANSIENT
    )


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return repr(file.readline(200).decode("utf-8", "backslashreplace").removesuffix("\n"))
    except OSError as error:
        return f"(cannot read it: {error.strerror})"


def _names_beside(program: str, folder: Path, path: str) -> set[str]:
    """Return the names of what stands where *program* was looked for."""
    places = (
        [(folder / program).parent]
        if "/" in program
        else [Path(find_executable) for find_executable in path.split(":") if find_executable]
    )
    names: set[str] = set()
    for find_executable in places:
        with suppress(OSError):
            names.update(entry.name for entry in os.scandir(find_executable))
    return names
