"""What many tests need: a workspace made of texts, and the command line in a process of its own."""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from connrunner.config import zones
from connrunner.state.folder import StateFolder
from tests.effort import examples
from tests.stores import store_kind  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from tests.servers import http, mariadb, postgres, s3, salesforce, sftp

# As every command does before the first zone is made: what was computed by two databases would not agree.
zones.choose()

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("connrunner", deadline=None, max_examples=examples(30, long=500))
hypothesis.settings.load_profile("connrunner")

SETTINGS = """\
version: 1
timezone: Europe/Amsterdam
"""
PROFILE = """\
properties:
  id: {type: text, identifier: true}
  email: {type: email, identifier: true}
  name: {type: text}
  age: {type: integer}
"""


@dataclass
class Place:
    """A workspace in a folder, with its state beside it."""

    folder: Path

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.folder / ".connrunner")

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def command(self, name: str, program: str, *, schedule: str = "{type: manual}", more: str = "") -> None:
        """Declare a connection that runs *program*, a Python text."""
        run = json.dumps([sys.executable, "-c", program])
        self.write(f"connections/{name}.yaml", f"schedule: {schedule}\ncommand: {{run: {run}}}\n{more}")

    def run(
        self, *arguments: str, check: int | None = 0, env: dict[str, str] | None = None, own_process: bool = False
    ) -> Finished:
        """Type a command in the workspace; fail the test unless it ends with *check*.

        In this process, unless it wants one of its own: starting Python costs more than what most commands do. What
        the command starts (the workers of a tick, what sends mail) are processes all the same.
        """
        finished = self._run_alone(arguments, env or {}) if own_process else self._run_here(arguments, env or {})
        assert "Traceback" not in finished.err, finished.err
        if check is not None:
            assert finished.code == check, finished
        return finished

    def _run_here(self, arguments: Sequence[str], env: Mapping[str, str]) -> Finished:
        from connrunner.__main__ import main

        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["connrunner", *arguments])
            for name, value in env.items():
                patch.setenv(name, value)
            code = main()
        return Finished(code, out.getvalue(), err.getvalue())

    def _run_alone(self, arguments: Sequence[str], env: Mapping[str, str]) -> Finished:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "connrunner", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **env},
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Type a command in a process of its own and go on without waiting for it."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "connrunner", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Return the ended runs of *name*, newest first."""
        ended: list[dict[str, Any]] = json.loads(self.run("runs", name, "--format", "json").out)
        return ended

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.state.journal.read_text().splitlines()]


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A workspace with settings and a profile, and no connections yet."""
    here = Place(tmp_path / "workspace")
    here.write("connrunner.yaml", SETTINGS)
    here.write("profile.yaml", PROFILE)
    return here


@pytest.fixture
def make_place(tmp_path: Path) -> Callable[[str], Place]:
    """Make further workspaces by name."""

    def make(name: str) -> Place:
        here = Place(tmp_path / name)
        here.write("connrunner.yaml", SETTINGS)
        here.write("profile.yaml", PROFILE)
        return here

    return make


@pytest.fixture
def history_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each look into the history of a connection, from now on."""
    pread, sizes = os.pread, list[int]()

    def counting(descriptor: int, size: int, offset: int) -> bytes:
        data = pread(descriptor, size, offset)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "history.jsonl":
            sizes.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counting)
    return sizes


# --- tests that talk to a server ---------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep them from `make future`: their partner's clock is the real one, and so are the dates of its certificates."""
    for item in items:
        if isinstance(item, pytest.Function) and (
            _uses_servers(item.module) or any(name.endswith("_server") for name in item.fixturenames)
        ):
            item.add_marker("real_clock")


@functools.cache
def _uses_servers(module: ModuleType) -> bool:
    names = (str(getattr(value, "__module__", "") or getattr(value, "__name__", "")) for value in vars(module).values())
    return any(name.startswith(("tests.servers", "tests.stands")) for name in names)


# --- servers, one of each for all tests; what they are made of takes long to import ------------------------------


@pytest.fixture(scope="session")
def http_server() -> Iterator[http.Server]:
    from tests.servers import http

    with http.running() as server:
        yield server


@pytest.fixture(scope="session")
def sftp_server() -> Iterator[sftp.Running]:
    from tests.servers import sftp

    with sftp.running("ssh-ed25519", "ssh-rsa") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[s3.Faulty]:
    from tests.servers import s3

    with s3.running() as server:
        yield server


@pytest.fixture(scope="session")
def salesforce_server() -> Iterator[salesforce.Running]:
    from tests.servers import salesforce

    with salesforce.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    from tests.servers import postgres

    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[mariadb.Server]:
    from tests.servers import mariadb

    if missing := mariadb.missing():
        pytest.skip(f"{missing} is missing (Debian: apt-get install mariadb-server)")
    with mariadb.running() as server:
        yield server
