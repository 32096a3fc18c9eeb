"""The house itself: imports keep to the contracts, and names mean one thing each. See docs/architecture.md."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "connrunner"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module's dotted name below connrunner, and its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text())


# --- contracts -----------------------------------------------------------------------------------------------------

# An import that each contract must report: the module that gets it, and the import.
BROKEN_BY = {
    "Imports point down": ("core/counts.py", "import connrunner.state.locks"),
    "No module imports itself by way of others": ("text/words.py", "import connrunner.text.durations"),
    "core is pure": ("core/planning/due.py", "import random"),
    "text is pure, but for files": ("text/durations.py", "import socket"),
    "cli asks answers": ("cli/status.py", "import connrunner.state.runs"),
    "answers send nothing": ("answers/mail_preview.py", "import connrunner.messenger.mailer"),
    "click only in cli": ("processes/tree.py", "import click"),
    "YAML and JSON Schema only in config": ("clocks/crontab.py", "import yaml"),
    "DuckDB and openpyxl only in profiles": ("processes/tree.py", "import duckdb"),
    "Jinja, SMTP and Apprise only in notify": ("clocks/crontab.py", "import jinja2"),
    "Babel in notify, and where extras are looked for": ("worker/process.py", "import babel"),
    "filelock for locks, and for environments of programs": ("scheduler/idle.py", "import filelock"),
    "IDNA where names of hosts are checked": ("doctor/machine.py", "import idna"),
    "tzdata only where its version is asked": ("scheduler/tick.py", "import tzdata"),
    "dateutil and cronsim only in schedules": ("cli/next.py", "import dateutil.rrule"),
    "asyncssh only in SFTP": ("doctor/partners.py", "import asyncssh"),
    "obstore only in S3": ("connectors/sftp/listing.py", "import obstore"),
    "boto3 only for the keys that it alone can fetch": ("connectors/s3/keys.py", "import boto3"),
    "urllib3 only in HTTP": ("messenger/pinger.py", "import urllib3"),
    "database drivers only in SQL": ("profiles/where.py", "import psycopg"),
    "wcwidth only where tables are drawn": ("answers/status.py", "import wcwidth"),
}


def lint_imports(folder: Path) -> dict[str, str]:
    """Return what the linter of imports says of each contract in *folder*: KEPT or BROKEN."""
    linter = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(linter, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)
    said = dict(re.findall(r"(?m)^(.+) (KEPT|BROKEN)(?: \(\d+ ignored imports\))?$", done.stdout))
    assert said, done.stdout + done.stderr
    return said


@pytest.mark.slow
def test_each_contract_reports_what_breaks_it(tmp_path: Path) -> None:
    assert {contract["name"] for contract in CONTRACTS} == set(BROKEN_BY)
    shutil.copytree(PACKAGE, tmp_path / "connrunner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "contracts.py", tmp_path / "tests")
    for path, line in BROKEN_BY.values():
        file = tmp_path / "connrunner" / path
        assert file.is_file(), path
        file.write_text(f"{file.read_text()}\n\ndef late() -> None:\n    {line}\n")
    # The other way round, for a cycle of two siblings.
    durations = tmp_path / "connrunner" / "text" / "durations.py"
    durations.write_text(durations.read_text() + "    import connrunner.text.words\n")
    assert lint_imports(tmp_path) == dict.fromkeys(BROKEN_BY, "BROKEN")


# --- names ---------------------------------------------------------------------------------------------------------


def repeated(found: dict[str, list[str]], agreed: set[str]) -> dict[str, list[str]]:
    """Return what stands in several places and is not agreed."""
    return {name: places for name, places in found.items() if len(places) > 1 and name not in agreed}


def test_a_class_has_a_name_of_its_own() -> None:
    found = defaultdict(list)
    for module, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(module)
    assert repeated(found, set()) == {}


# --- pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "docs/reliability.md", "docs/state.md"])
def test_a_page_names_files_that_are_there(page: str) -> None:
    """`core/planning/due.py` and `tests/crashes.py` are to be found by who reads of them."""
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`((?:[\w-]+/)+[\w-]*(?:\.py)?)`", text))
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()} | {"connrunner", "tests", "docs", "benchmarks"}
    wrong = [
        name
        for name in sorted(named)
        if "vcard" not in name  # the connector that CONTRIBUTING.md has its reader write
        and name.split("/")[0] in rooms
        and not any((root / name).exists() for root in (ROOT, PACKAGE, PACKAGE / "profiles"))
    ]
    assert wrong == []
