"""What people read about a mistake in a file: the case folder tests/cases/config/invalid.

Each NAME.yaml there stands for one file of the workspace in tests/cases/config/workspace; the first word of its name
says which. NAME.problems holds what must be said about it: `line:column: message; hint`, one a line.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import pytest

from connrunner.config.load import load
from connrunner.errors import Problem, WorkspaceError

CASES = Path(__file__).parent / "cases" / "config"
PLACES = {
    "workspace": "connrunner.yaml",
    "profile": "profile.yaml",
    "connection": "connections/case.yaml",
    "schedule": "schedules/case.yaml",
    "notification": "notifications/case.yaml",
}


def problems_of(folder: Path) -> tuple[Problem, ...]:
    try:
        return load(folder).problems
    except WorkspaceError as error:
        return error.problems


@functools.cache
def said_about(case: Path) -> list[Problem]:
    """Return every problem of the workspace with *case* in it; the rest of the workspace has none."""
    place = PLACES[case.name.partition("-")[0]]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(CASES / "workspace", folder, dirs_exist_ok=True)
        (Path(folder) / place).write_bytes(case.read_bytes())
        problems = problems_of(Path(folder))
    about_case = [problem for problem in problems if problem.path == place]
    if place != "profile.yaml":  # the sound connections need the sound profile
        assert list(problems) == about_case
    return about_case


@pytest.mark.parametrize("case", sorted((CASES / "invalid").glob("*.yaml")), ids=lambda case: case.stem)
def test_each_mistake_is_explained_at_its_place(case: Path) -> None:
    problems = said_about(case)
    lines = [str(problem).split(":", 1)[1] for problem in problems]
    assert lines == case.with_suffix(".problems").read_text().splitlines()


@pytest.mark.parametrize("case", sorted((CASES / "invalid").glob("*.yaml")), ids=lambda case: case.stem)
def test_nothing_that_looks_like_a_secret_is_shown(case: Path) -> None:
    for problem in said_about(case):
        assert "hunter" not in f"{problem} {problem.source}"
        assert problem.code != "invalid"


def test_there_is_a_case_for_every_kind_of_file() -> None:
    kinds = {case.name.partition("-")[0] for case in (CASES / "invalid").glob("*.yaml")}
    assert kinds == set(PLACES)


def test_the_workspace_around_the_cases_is_sound() -> None:
    workspace = load(CASES / "workspace")
    assert workspace.problems == ()
    assert sorted(workspace.connections) == ["audience", "contacts", "members", "program", "shell"]
