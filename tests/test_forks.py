"""A fork answers as the process would that it stands for, and leaves this one as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.forks import forking, list_forks

pytestmark = pytest.mark.thorough


def _say(place: Place, *arguments: str, **more: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "connrunner", *arguments],
        cwd=place.folder,
        env={**os.environ, **more},
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [("next", "--format", "json"), ("--version",), ("tick",), ("log", "nobody")])
def test_a_fork_says_what_a_process_says(place: Place, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    place.command("asked", "pass")
    folder = tmp_path / "forks"
    folder.mkdir()
    as_process = _say(place, *arguments)
    began: list[str] = []
    with forking(before=began.append):
        as_fork = _say(place, *arguments, CRASH_FORKS=str(folder))

    assert as_fork == as_process
    assert len(list(folder.iterdir())) == 1  # it was a fork
    assert list(list_forks(folder)) == []
    assert began == []  # what it does is its own


def test_other_programs_are_started_as_ever() -> None:
    with forking():
        assert subprocess.run(["echo", "here"], capture_output=True, check=True).stdout == b"here\n"
