"""A connector that another package brings: installed for real, validated, run in both directions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Place

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).parent / "outside_connector"
IMPORT = """\
schedule: {type: manual}
import:
  from: {type: alphabet, letters: 3}
  match: [id]
  fields: {id: id, name: name}
"""
EXPORT = """\
schedule: {type: manual}
export:
  to: {type: alphabet}
  fields: {id: id, name: name}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the sample package into a folder of its own; return the environment that finds it."""
    folder = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(folder),
    ]
    subprocess.run([*command, str(SAMPLE)], check=True, capture_output=True)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.thorough
def test_it_imports_from_where_it_was_and_exports(place: Place, installed: dict[str, str]) -> None:
    place.write("connections/letters.yaml", IMPORT)
    place.write("connections/out.yaml", EXPORT)

    place.run("validate", env=installed, own_process=True)
    for _ in range(2):
        run = json.loads(place.run("run", "letters", "--format", "json", env=installed, own_process=True).out)
    known = json.loads(place.run("state", "letters", "--format", "json", env=installed, own_process=True).out)
    place.run("run", "out", env=installed, own_process=True)

    assert run["counts"]["created"] == 3
    assert known["mark"] == 6
    assert "settled 1 file" in place.run("log", "letters", "1", env=installed, own_process=True).out
    rows = [json.loads(line) for line in (place.folder / "letters-out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == list("abcdef")


@pytest.mark.thorough
def test_its_settings_are_validated(place: Place, installed: dict[str, str]) -> None:
    place.write("connections/letters.yaml", IMPORT.replace("letters: 3", "lettres: 3"))

    said = place.run("validate", check=2, env=installed, own_process=True).out

    assert "connections/letters.yaml:3:" in said
    assert "did you mean 'letters'" in said


def test_without_the_package_the_type_is_unknown(place: Place) -> None:
    place.write("connections/letters.yaml", IMPORT)

    assert "unknown type of connector" in place.run("validate", check=2).out
