"""The house itself: imports keep to the contracts, and names mean one thing each. See docs/architecture.md."""

from __future__ import annotations

import ast
import functools
import itertools
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


@functools.cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Return every module's dotted name below connrunner, and its syntax tree."""
    return tuple(
        (
            ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"),
            ast.parse(path.read_text()),
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    )


# --- contracts -----------------------------------------------------------------------------------------------------

# An import that each contract must report: the module that gets it, and the import.
BROKEN_BY = {
    "Imports point down": ("core/counts.py", "import connrunner.state.locks"),
    "No module imports itself by way of others": ("text/words.py", "import connrunner.text.durations"),
    "core is pure": ("core/planning/due.py", "import random"),
    "text is pure, but for files, Zstandard and exact JSON": ("text/durations.py", "import socket"),
    "cli asks answers": ("cli/status.py", "import connrunner.state.journal"),
    "answers send nothing": ("answers/mail_preview.py", "import connrunner.messenger.mailer"),
    "data classes whose methods are made late": ("state/locks.py", "import dataclasses"),
    "click only in cli": ("processes/tree.py", "import click"),
    "YAML and JSON Schema only in config": ("clocks/crontab.py", "import yaml"),
    "DuckDB only in profiles": ("processes/tree.py", "import duckdb"),
    "pages ask answers": ("web/pages/screens.py", "import connrunner.state.journal"),
    "SMTP and Apprise only in notify": ("clocks/crontab.py", "import smtplib"),
    "Jinja for mail and for pages": ("clocks/crontab.py", "import jinja2"),
    "Babel in notify, and where extras are looked for": ("worker/process.py", "import babel"),
    "filelock for environments of programs": ("scheduler/idle.py", "import filelock"),
    "IDNA where names of hosts are checked": ("doctor/machine.py", "import idna"),
    "tzdata only where its version is asked": ("scheduler/tick.py", "import tzdata"),
    "dateutil and cronsim only in schedules": ("cli/next.py", "import dateutil.rrule"),
    "asyncssh only in SFTP": ("doctor/partners.py", "import asyncssh"),
    "obstore only in S3": ("connectors/sftp/listing.py", "import obstore"),
    "boto3 only for the keys that it alone can fetch": ("connectors/s3/keys.py", "import boto3"),
    "phonenumbers only in Meta": ("connectors/http/url.py", "import phonenumbers"),
    "urllib3 only in HTTP": ("messenger/pinger.py", "import urllib3"),
    "PyJWT only where Salesforce is signed in to": ("messenger/pinger.py", "import jwt"),
    "database drivers only in SQL": ("profiles/where.py", "import sqlalchemy"),
    "psycopg in SQL, in the store, and where its parameters are composed": ("profiles/where.py", "import psycopg"),
    "text reaches files by one module": ("text/files.py", "import subprocess"),
    "Zstandard by one module": ("state/archive.py", "import backports"),
    "RE2 where secrets are looked for": ("state/archive.py", "import re2"),
    "exact JSON by one module": ("state/archive.py", "import simplejson"),
    "the server only in web": ("clocks/crontab.py", "import starlette"),
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


def test_every_third_party_package_has_its_place() -> None:
    """A new one needs a contract that says who may import it."""
    protected = {name for contract in CONTRACTS for name in contract.get("protected_modules", ())}
    imported = set()
    for _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    assert imported - {*sys.stdlib_module_names, "connrunner"} <= protected


def test_core_asks_no_clock_and_opens_no_file() -> None:
    """What needs no import: the clock of `datetime`, and the built-in functions that reach outside."""
    clocks, doors = {"now", "utcnow", "today"}, {"open", "__import__", "exec", "eval", "input", "print"}
    found = []
    for module, tree in modules():
        if module.split(".")[0] == "core":
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    name = node.func
                    is_clock = isinstance(name, ast.Attribute) and name.attr in clocks
                    if is_clock or (isinstance(name, ast.Name) and name.id in doors):
                        found.append(f"{module}:{node.lineno}")
    assert found == []


# --- names ---------------------------------------------------------------------------------------------------------


# Modules that share a name by agreement. A command's module has the command's name, and the answer that it prints may, too.
SHARED_MODULES = {
    "__main__": "what `python -m` starts",
    "check": "what must hold beyond a schema: of a workspace, of templates",
    "run": "the order of work of an import, and of an export",
    "errors": "what went wrong, for people: of connrunner, and of S3 in its words",
    "files": "files on this machine: the connector `type: files`, and how a file is replaced",
    "deliveries": "mail that waits or was given up: as the state has it, and as an answer",
}

# Public functions that several modules offer on purpose: the same question, asked of each of its kind.
SHARED_FUNCTIONS = {
    "main": "a process begins",
    **dict.fromkeys(("fetch", "settle"), "a source"),
    **dict.fromkeys(("target", "form", "deliver"), "a destination"),
    "compare_rows": "a destination that can say what a run would change at its partner",
    "probe": "a connector that can say whether its partner is there",
    **dict.fromkeys(
        ("read", "write", "check"), "a kind of database: how rows leave it, how they enter it, what is wrong before"
    ),
    **dict.fromkeys(("find_records", "copy_records", "make_relation"), "a reader of a format"),
    **dict.fromkeys(
        ("times_of", "dates_since", "canonicalize", "find_last_local_time"), "a kind of rule of a schedule"
    ),
    "describe_event": "an event in words: of a log, and of a notification",
    "parse": "a text becomes a value",
    "describe": "a value in words",
    **dict.fromkeys(("as_dict", "as_list", "as_text", "as_json", "as_document"), "a value in another form"),
    "from_mapping": "a value from plain data",
    **dict.fromkeys(("install_command", "list_command"), "a command of a group"),
    **dict.fromkeys(
        ("read_events", "read_history", "read_decisions", "explain_instant"), "of a state, and of a workspace's"
    ),
    **dict.fromkeys(
        ("count_profiles", "find_profiles", "write_profiles", "write_parquet"), "of a store, and of a workspace's"
    ),
}


def repeated(found: dict[str, list[str]], agreed: set[str]) -> dict[str, list[str]]:
    """Return what stands in several places and is not agreed."""
    return {name: places for name, places in found.items() if len(places) > 1 and name not in agreed}


def test_a_module_has_a_name_of_its_own() -> None:
    found = defaultdict(list)
    for module, _ in modules():
        if not (PACKAGE / module.replace(".", "/")).is_dir() and not module.startswith("cli."):
            found[module.rpartition(".")[2]].append(module)
    assert repeated(found, set(SHARED_MODULES)) == {}


def test_a_class_has_a_name_of_its_own() -> None:
    found = defaultdict(list)
    for module, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(module)
    assert repeated(found, set()) == {}


def test_a_public_function_has_one_meaning() -> None:
    found = defaultdict(list)
    for module, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    assert repeated(found, set(SHARED_FUNCTIONS)) == {}


def test_what_is_agreed_is_in_use() -> None:
    names = defaultdict(set)
    for module, tree in modules():
        names[module.rpartition(".")[2]].add(module)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                names[f"{node.name}()"].add(module)
    assert [name for name in SHARED_MODULES if len(names[name]) < 2] == []
    assert [name for name in SHARED_FUNCTIONS if len(names[f"{name}()"]) < 2] == []


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


# A number before one of these is worded by text.words, unless it is a constant, which is never one.
COUNTED = "row file record profile byte column run slot line page connection package mail request value change".split()


def counts_by_hand(tree: ast.AST) -> Iterator[str]:
    """Yield each `{number} rows` of an f-string."""
    for text in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
        for value, after in itertools.pairwise(text.values):
            if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            written = ast.unparse(value.value)
            found = re.match(r" ([a-z]+)s\b", str(after.value))
            if found and found[1] in COUNTED and not re.search(r"\b[A-Z][A-Z_]+$", written) and value.format_spec:
                yield f"{written} {found[1]}s"


MANY = {
    "limit",
    "most",
    "self._most",
    "self._longest",
    "unpacking.LARGEST",
    "error",
    "size",
    "self._lacking",
    "sent.rows",
    "self._arrived()",
    "free",
    "len(journal_state.promises)",
    "status.st_size",
    "self.size",
}  # fmt: skip - bounds, and numbers that another branch words when they are one


def test_one_of_something_is_one_wherever_numbers_are_told() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}: {words}"
        for path in PACKAGE.rglob("*.py")
        if "web" not in path.parts
        for words in counts_by_hand(ast.parse(path.read_text()))
        if words.rpartition(" ")[0] not in MANY
    }
    assert found == set()
