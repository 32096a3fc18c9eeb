"""
Processes of connrunner as forks of this one, which has imported everything: for tests that start thousands of them.

Only time differs: a fork has its own session, descriptors, environment and working directory, as the started one would
have. What it lacks is the environment in `/proc`, by which connrunner finds what a program left behind.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import connrunner
from connrunner.errors import ConnrunnerError

# What a tick, a worker and the processes that send import in the end, beside all of connrunner.
LIBRARIES = ("asyncssh", "duckdb", "jinja2.sandbox", "jsonschema", "obstore", "sqlalchemy.dialects.sqlite", "yaml")
FOLDER = "CRASH_FORKS"  # the variable with the folder in which each fork has a file, named after its process number


class Fork(subprocess.Popen[Any]):
    """A `Popen` that forks where Python with a module of connrunner is to be started."""

    before: Callable[[str], None] = staticmethod(lambda module: None)  # called in each fork, with its module

    def _execute_child(self, args: Any, *rest: Any) -> None:
        words = [os.fsdecode(word) for word in ([args] if isinstance(args, (str, bytes)) else args)]
        if words[1:3] != ["-P", "-m"] or not words[3].startswith("connrunner"):
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        _, _, _, pass_fds, folder, environment, _, _, _, *pipes = rest
        read, _, _, out, _, err = pipes[:6]
        own_session = pipes[11]
        self.pid = os.fork()
        if self.pid == 0:
            _become(words[3:], (read, out, err), pass_fds, folder, environment, own_session=own_session)
        self._child_created = True
        self._close_pipe_fds(*pipes[:6])  # type: ignore[attr-defined]


def _become(
    words: Sequence[str],
    streams: tuple[int, int, int],
    kept: Sequence[int],
    folder: Any,
    environment: Mapping[str, str] | None,
    *,
    own_session: bool,
) -> None:
    """Run the module and the arguments of *words* as `python -m` would, in this fork, which ends with it."""
    status = 1
    try:
        gc.freeze()  # nothing of the parent's is to close a descriptor here
        atexit._clear()
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        if known := os.environ.get(FOLDER):
            Path(known, str(os.getpid())).touch()
        if own_session:
            os.setsid()
        for number, stream in enumerate(streams):
            if stream != -1:
                os.dup2(stream, number)
        for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if number > 2 and number not in kept:
                with suppress(OSError):  # what has listed them
                    os.close(number)
        if folder is not None:
            os.chdir(folder)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))  # noqa: SIM115 - as long as the process
        sys.argv = list(words)
        subprocess.Popen = Fork  # type: ignore[misc]
        Fork.before(words[0])
        try:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


@functools.cache
def _import_all() -> None:
    found = [module.name for module in pkgutil.walk_packages(connrunner.__path__, "connrunner.")]
    for name in (*LIBRARIES, *(name for name in found if not name.endswith("__main__"))):
        with suppress(ImportError, ConnrunnerError):  # an optional library is missing
            importlib.import_module(name)


@contextmanager
def forking(*, before: Callable[[str], None] = lambda module: None) -> Iterator[None]:
    """Have every process of connrunner that is started meanwhile be a fork; *before* is called in each."""
    _import_all()
    with mock.patch.object(subprocess, "Popen", Fork), mock.patch.object(Fork, "before", staticmethod(before)):
        yield


def list_forks(folder: Path) -> Iterator[int]:
    """Yield the forks of *folder* that live."""
    for path in folder.iterdir():
        try:
            is_alive = Path(f"/proc/{path.name}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            is_alive = False
        if is_alive:
            yield int(path.name)
        else:
            path.unlink(missing_ok=True)


def trace_me(options: Sequence[str]) -> None:
    """Have strace look at this process from here on; it is no child of it, and has none of its descriptors."""
    mine = os.getpid()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(3, 1024)
            environment = {name: value for name, value in os.environ.items() if name != "CONNRUNNER_RUN_ID"}
            os.execvpe("strace", ["strace", *options, "-p", str(mine)], environment)
        os._exit(0)
    os.waitpid(middle, 0)
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.002)
