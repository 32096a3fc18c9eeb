"""Optional packages: never imported unless used, and named by `validate` when they are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from connrunner.answers.validation import validate_workspace
from connrunner.connectors import extras
from tests.conftest import Place

OPTIONAL = "asyncssh obstore urllib3 psycopg sqlalchemy".split()
TARGET = "match: [id]\n  fields: {id: id}\n"
WORKS = {
    "sftp": 'from: {type: sftp, host: a.example.com, username: crm, password: "env:X", path: a.csv}',
    "s3": "from: {type: s3, bucket: drop, path: a.csv, region: eu-west-1}",
    "http": 'from: {type: http, url: "https://a.example.com/a.csv"}',
    "postgres": 'from: {type: sql, url: "postgresql://a@db.example.com/crm", table: people}',
    "sql": 'from: {type: sql, url: "sqlite:///a.db", table: people}',
    "excel": "from: {type: files, path: a.xlsx}\n  format: {type: excel}",
    "files": "from: {type: files, path: a.csv}",
    "singer": "from: {type: singer, command: [./tap.py], stream: people}",
    "airbyte": "from: {type: airbyte, command: [./source.py], stream: people}",
}


@pytest.fixture
def everything(place: Place) -> Place:
    """A workspace that uses all connectors."""
    for name, work in WORKS.items():
        place.write(f"connections/{name}.yaml", f"schedule: {{type: manual}}\nimport:\n  {work}\n  {TARGET}")
    return place


@pytest.mark.slow
def test_no_optional_package_is_imported_before_it_is_used(everything: Place) -> None:
    """Nor is DuckDB by what shows no profiles."""
    script = (
        "import sys\nfrom connrunner.__main__ import main\n"
        "for words in (['--help'], ['validate'], ['connectors', 'list']):\n"
        "    sys.argv = ['connrunner', *words]\n"
        "    code = main()\n"
        "    assert not code, (words, code)\n"
        f"    assert not {{*{[*OPTIONAL, 'duckdb']!r}}} & {{*sys.modules}}, (words, sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=everything.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 connections" in done.stdout


def test_a_missing_extra_is_a_problem_of_the_connection(everything: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert validate_workspace(everything.folder, []) == []
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    places = {"postgres": "3:16", "sql": "3:16", "http": "3:16", "s3": "3:16", "sftp": "3:16"}
    found = {Path(one.path).stem: one for one in validate_workspace(everything.folder, [])}
    assert {name: f"{one.line}:{one.column}" for name, one in found.items()} == places
    for name, one in found.items():
        assert one.hint == f"pip install 'connrunner[{name}]'"
    assert found["s3"].message == "the connector s3 needs the extra `s3`, which is not installed"


def test_a_connection_that_is_off_needs_no_extra(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    place.write(
        "connections/s3.yaml", f"enabled: false\nschedule: {{type: manual}}\nimport:\n  {WORKS['s3']}\n  {TARGET}"
    )
    assert validate_workspace(place.folder, []) == []
