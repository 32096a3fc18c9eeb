"""The example workspace: sound, what it says it is, and working."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from connrunner import connectors
from connrunner.cli import init
from connrunner.config import load
from connrunner.connectors import command
from connrunner.core import schedules
from connrunner.core.model import Command, Export, Import, TimesPerDay
from connrunner.processes.output import Output
from connrunner.processes.tree import ProcessTree

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
COLUMNS = 12


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.lines.append((level, text))

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


@pytest.fixture(scope="module")
def make_people() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_people", ROOT / "benchmarks" / "make_people.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(name: str) -> list[list[str]]:
    with (EXAMPLES / name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def test_it_is_sound() -> None:
    workspace = load.load(EXAMPLES)
    assert [str(problem) for problem in workspace.problems] == []
    assert workspace.broken == {}
    switched_on = [each.name for each in workspace.connections.values() if each.enabled]
    assert sorted(switched_on) == ["members", "newsletter-audience", "refresh-segments"]  # the others need a server
    assert {each.kind for each in workspace.connections.values()} == {"import", "export", "command"}


def test_the_first_tick_imports_and_then_exports() -> None:
    workspace = load.load(EXAMPLES)
    due_at_once = [each.name for each in workspace.connections.values() if isinstance(each.schedule, TimesPerDay)]
    assert sorted(due_at_once) == ["members", "newsletter-audience"]  # oldest slot first, then name


def test_every_kind_of_schedule_that_needs_explaining_has_an_example() -> None:
    documents = json.dumps([schedules.as_document(each.schedule) for each in load.load(EXAMPLES).connections.values()])
    for word in ('"cron"', '"rrule"', '"any_of"', '"anchor"', '"blackout"'):
        assert word in documents


def test_every_connector_has_an_example() -> None:
    works = [each.work for each in load.load(EXAMPLES).connections.values()]
    assert {work.source["type"] for work in works if isinstance(work, Import)} == set(connectors.SOURCES)
    assert {work.destination["type"] for work in works if isinstance(work, Export)} == set(connectors.DESTINATIONS)
    assert any(isinstance(work, Command) for work in works)


def test_a_copy_has_a_schema_for_the_editor_in_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    init.create(folder)
    documents = [path for path in folder.rglob("*.yaml") if not path.relative_to(folder).parts[0].startswith(".")]
    assert len(documents) == 6 + len(list((EXAMPLES / "connections").iterdir()))
    for document in documents:
        modeline = re.match(r"# yaml-language-server: \$schema=(\S+)\n", document.read_text(encoding="utf-8"))
        assert modeline, document
        assert (document.parent / modeline[1]).is_file(), document


def test_the_workflow_installs_what_wrote_it_and_gives_a_branch_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connrunner.__version__", "9.8.7")
    init.create(tmp_path)
    text = (tmp_path / ".github/workflows/connrunner.yaml").read_text()
    workflow = yaml.safe_load(text)
    jobs = workflow["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    installs = [step["run"] for step in steps if "pip " in step.get("run", "")]
    assert installs == ["pip install --only-binary :all: connrunner==9.8.7"] * 2
    used = re.findall(r"uses: (.*)", text)
    assert len(used) == sum("uses" in step for step in steps) == 6
    for each in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False, False]
    assert workflow["permissions"] == {"contents": "read"}
    may_write = {name for name, job in jobs.items() if "write" in job.get("permissions", {}).values()}
    assert may_write == {"comment"}
    assert not any(
        key.startswith("actions/checkout")
        for step in jobs["comment"]["steps"]
        for key in step.values()
        if isinstance(key, str)
    )
    assert not re.search("connrunner (validate|plan)|pip", "".join(s.get("run", "") for s in jobs["comment"]["steps"]))
    # Nothing of an event becomes a part of a script: it comes by the environment.
    assert not [step for step in steps if "${{" in step.get("run", "")]


def test_the_people_are_those_of_the_generator(make_people: ModuleType) -> None:
    found = [path for name in ("in", "flawed") for path in (EXAMPLES / name).iterdir()]
    there = {str(path.relative_to(EXAMPLES)): path.read_text(encoding="utf-8") for path in found}
    assert there == make_people.files()


def test_the_flaws_are_where_they_should_be(make_people: ModuleType) -> None:
    first, second = rows("in/members-2026-11-21.csv"), rows("in/members-2026-11-22.csv")
    flawed = rows("flawed/members-2026-11-23.csv")
    assert len(first) == make_people.MEMBERS + len(make_people.TWICE)
    assert sorted(len(row) for row in flawed if len(row) != COLUMNS) == [6, 13]
    assert {value for _, _, value in make_people.FLAWS} <= {cell for row in flawed for cell in row}
    assert len(flawed) == len(make_people.FLAWS) + 2
    keys = Counter(row[0] for row in first)
    assert sorted(keys[key] for key in keys if keys[key] > 1) == [2, 2]
    assert all(row[0] and len(row) == COLUMNS for row in (*first, *second))

    before = {row[0]: row for row in first}
    became = Counter(
        "new" if row[0] not in before else "same" if row == before[row[0]] else "changed" for row in second
    )
    assert became == {"new": make_people.NEW, "same": make_people.UNCHANGED, "changed": make_people.CHANGED}
    answers = Counter(row[-1] for row in first)
    assert min(answers["yes"], answers["no"], answers[""]) > 20


# --- its program -------------------------------------------------------------------------------------------------

EXPORTED = """\
Email,FirstName,LastName,City,LifetimeValue,Interests
a@example.com,A,A,Gent,500.00,
b@example.com,B,B,Gent,99.99,film
c@example.com,C,C,Gent,,
,D,D,Gent,12.00,
"""
LATER = """\
Email,FirstName,LastName,City,LifetimeValue,Interests
b@example.com,B,B,Gent,100.00,film
e@example.com,E,E,Gent,1.00,
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES, tmp_path / "workspace", ignore=shutil.ignore_patterns(".connrunner", "out")))


def run_segments(copy: Path, log: Log) -> command.CommandResult:
    work = load.load(copy).connections["refresh-segments"].work
    assert isinstance(work, Command)
    return command.run_declared_program(
        work, Output(mask=str, report=log), workspace=copy, environment=work.env, timeout=30, tree=ProcessTree.new()
    )


def test_its_program_counts_what_it_did(copy: Path) -> None:
    (copy / "out").mkdir()
    (copy / "out" / "newsletter-audience-9.csv").write_text(EXPORTED)
    log = Log()
    first = run_segments(copy, log)
    assert (first.succeeded, log.lines) == (True, [("info", first.message)])
    assert first.message == "3 people in out/segments.csv: 2 bronze, 1 gold"
    assert {name: number for name, number in first.counts.as_dict().items() if number} == {
        "read": 4,
        "filtered": 1,
        "checked": 3,
        "created": 3,
    }
    (copy / "out" / "newsletter-audience-10.csv").write_text(LATER)
    second = run_segments(copy, Log())
    assert {name: number for name, number in second.counts.as_dict().items() if number} == {
        "read": 6,
        "filtered": 1,
        "checked": 5,
        "created": 1,
        "updated": 1,
        "unchanged": 2,
        "duplicate": 1,
    }
    assert second.counts.imbalance() == ""
    assert (copy / "out" / "segments.csv").read_text().splitlines() == [
        "Email,Segment",
        "a@example.com,gold",
        "b@example.com,silver",
        "c@example.com,bronze",
        "e@example.com,bronze",
    ]


def test_its_program_says_why_it_cannot(copy: Path) -> None:
    result = run_segments(copy, Log())
    assert (result.exit_status, result.message) == (
        1,
        "there is no audience yet: run newsletter-audience first",
    )


# --- all of it ---------------------------------------------------------------------------------------------------


def plain_expectation() -> dict[str, int]:
    """Compare the two files cell by cell: what an import of both, in order, has to count."""
    counts: Counter[str] = Counter()
    stored: dict[str, list[str]] = {}
    for name in ("in/members-2026-11-21.csv", "in/members-2026-11-22.csv"):
        last = {row[0]: index for index, row in enumerate(rows(name))}
        for index, row in enumerate(rows(name)):
            counts["read"] += 1
            counts["checked"] += 1
            if last[row[0]] != index:
                counts["duplicate"] += 1
            else:
                before = stored.get(row[0])
                counts["created" if before is None else "unchanged" if before == row else "updated"] += 1
                stored[row[0]] = row
    return dict(counts)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_tick_runs_the_whole_workspace(tmp_path: Path) -> None:
    here = tmp_path / "workspace"
    init.create(here)
    connrunner(here, "tick")
    (imported,) = runs(here, "members")
    assert {name: number for name, number in imported["counts"].items() if number} == plain_expectation()
    assert imported["outcome"] == "succeeded"
    read = ["in/members-2026-11-21.csv", "in/members-2026-11-22.csv"]
    assert [file["name"] for file in imported["detail"]["files"]] == read
    (exported,) = runs(here, "newsletter-audience")
    assert exported["outcome"] == "succeeded"
    assert exported["counts"]["consent_blocked"] > 50
    with (here / "out" / "newsletter-audience-1.csv").open(newline="", encoding="utf-8") as file:
        audience = list(csv.DictReader(file))
    assert len(audience) == exported["counts"]["created"] > 100
    connrunner(here, "run", "refresh-segments")
    (counted,) = runs(here, "refresh-segments")
    assert (counted["outcome"], counted["counts"]["read"]) == ("succeeded", len(audience))
    status = json.loads(connrunner(here, "status", "--check", "--format", "json"))
    assert (status["complaints"], status["failing"]) == ([], [])

    shutil.copy(here / "flawed" / "members-2026-11-23.csv", here / "in")
    connrunner(here, "run", "members")
    flawed, _ = runs(here, "members")
    assert (flawed["outcome"], flawed["counts"]["invalid"]) == ("partial", 12)


def connrunner(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "connrunner", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (0, 1), done
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def runs(folder: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(connrunner(folder, "runs", name, "--format", "json"))
    return found
