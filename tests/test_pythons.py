"""`make pythons`: which interpreters are found, and what it says of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import pythons


def _program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Python: its PATH is the folder `bin`."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{tmp_path / 'more'}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(pythons, "ENVIRONMENTS", tmp_path / "environments")
    return tmp_path


def test_a_python_that_does_not_start_is_passed_over(machine: Path) -> None:
    assert pythons.find("3.13") is None
    _program(machine / "bin/python3.13", "echo 'version 3.13 is not selected' >&2; exit 127")
    assert pythons.find("3.13") is None
    _program(machine / "more/python3.13", "echo 3.12.9")
    assert pythons.find("3.13") is None
    _program(machine / "pyenv/versions/3.13.0/bin/python3.13", "echo 3.13.0")
    there = _program(machine / "pyenv/versions/3.13.1/bin/python3.13", "echo 3.13.1")
    assert pythons.find("3.13") == (there, "3.13.1")
    first = _program(machine / "more/python3.13", "echo 3.13.7")
    assert pythons.find("3.13") == (first, "3.13.7")


def test_uv_is_asked_for_what_is_not_there_and_to_bring_it(machine: Path) -> None:
    brought = _program(machine / "brought/python3.14", "echo 3.14.2")
    _program(
        machine / "bin/uv",
        f'case "$2" in find) [ -e {machine}/here ] && echo {brought};; install) : > {machine}/here;; esac',
    )
    assert pythons.find("3.14") == (brought, "3.14.2")


@pytest.mark.parametrize(
    ("tests", "installs", "said", "status"),
    [
        ("exit 0", "exit 0", "passed in 0 s", 0),
        ("exit 1", "exit 0", "FAILED in 0 s", 1),
        ("exit 0", "exit 1", "FAILED: its packages cannot be installed", 1),
    ],
)
def test_what_became_of_each_stands_at_the_end(
    tests: str, installs: str, said: str, status: int, machine: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inside = f'#!/bin/sh\ncase "$2" in pip) {installs};; pytest) {tests};; esac\n'
    _program(
        machine / "bin/python3.13",
        f'[ "$1" = -c ] && echo 3.13.7 && exit\nPATH=/usr/bin:/bin\nmkdir -p "$4/bin"\nprintf \'{inside}\' > "$4/bin/python"; chmod +x "$4/bin/python"',
    )
    assert pythons.main(["3.13", "3.14"], "2") == status
    lines = capfd.readouterr().out.splitlines()
    assert lines[-2:] == [f"3.13.7   {said}", "3.14     not found: not on PATH, nor with pyenv or uv"]


def test_no_python_at_all_is_a_failure(machine: Path) -> None:
    assert pythons.main(["3.13"], "2") == 1
