"""`connrunner profiles erase`: the whole story by the command line, what it answers, and a kill at every moment."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from connrunner.config import load
from connrunner.core.model import Connection
from connrunner.scheduler import tick
from connrunner.state.folder import StateFolder
from connrunner.worker import process
from tests.conftest import PROFILE, Place
from tests.runs import AT, Log

IMPORT = """\
schedule: {type: manual}
import: {from: {type: files, path: "in/*.csv"}, match: [id, email], fields: {id: id, email: email, name: name}}
"""
EXPORT = """\
schedule: {type: manual}
export: {to: {type: files, path: "out/NAME-{run}.csv"}, fields: {Id: id, Mail: email}, rows: changed, deleted: send}
"""
ANN, BOB = "1,ann@example.com,Ann Canary\n", "2,bob@example.com,Bob\n"


class Story:
    """A workspace whose runs are done in this process."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder / "workspace")
        self.number = 0
        self.place.write("connrunner.yaml", "version: 1\n")
        self.place.write("profile.yaml", PROFILE)
        self.place.write("connections/people.yaml", IMPORT)
        self.state.prepare()
        for name in ("shop", "post"):
            self.place.write(f"connections/{name}.yaml", EXPORT.replace("NAME", name))

    @property
    def state(self) -> StateFolder:
        return self.place.state

    def run(self, name: str) -> dict[str, int]:
        """Do a run of the connection *name*; return its counters that are not 0."""
        self.number += 1
        workspace = load.load(self.place.folder)
        connection: Connection = workspace.connections[name]
        job = process.Job(
            workspace=self.place.folder,
            state=self.state,
            connection=connection,
            model=workspace.profile,
            store=workspace.store,
            run=self.number,
            started_at=AT,
        )
        job.rejects.parent.mkdir(parents=True)
        result = process.perform(job, Log())
        assert result.code == "", result
        return {name: count for name, count in result.counts.as_dict().items() if count and name != "checked"}

    def offer(self, name: str, *rows: str) -> None:
        self.place.write(f"in/{name}.csv", "id,email,name\n" + "".join(rows))

    def begin(self) -> None:
        """Two people, sent by two exports."""
        self.offer("a", ANN, BOB)
        for name in ("people", "shop", "post"):
            self.run(name)

    def records(self) -> list[dict[str, Any]]:
        lines = self.state.journal.read_bytes().splitlines() if self.state.journal.exists() else []
        return [record for line in lines if (record := json.loads(line))["type"] == "erased"]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_the_whole_story(story: Story) -> None:
    place = story.place
    story.begin()
    dry = place.run("profiles", "erase", "ann@example.com", "--dry-run", "--format", "json").out
    assert story.records() == []
    assert "Ann Canary" in place.run("profiles", "1").out

    said = place.run("profiles", "erase", "Ann@Example.com", "--format", "json").out

    assert json.loads(said) == {**json.loads(dry), "dry_run": False}
    found = json.loads(said)
    assert found["found"] == 1
    assert found["removed"] == [{"where": "profiles", "rows": 1}, {"where": "sent", "rows": 2}]
    places = [(one["connection"], one["what"]) for one in found["unreached"]]
    until = ", until the next run of this export has it delete the person"
    assert {
        *((name, f"out/{name}-{{run}}.csv{until}") for name in ("post", "shop")),
        ("people", "in/*.csv"),
    } <= set(places)
    for word in ("mail", "logs", "archives", "backups"):
        assert any(connection is None and word in what for connection, what in places)
    (record,) = story.records()
    assert record.items() >= {"found": 1, "removed": {"profiles": 1, "sent": 2, "kept": 0}, "forget": False}.items()
    assert "@" in record["by"]
    for path in story.state.root.rglob("*"):
        if path.is_file():
            waits = path.parent == story.state.withdrawals("shop").parent
            assert (b"ann@example.com" in path.read_bytes()) == waits, path
            assert b"Canary" not in path.read_bytes(), path
            assert path.stat().st_mode & 0o777 == 0o600, path

    again = place.run("profiles", "erase", "ann@example.com", check=2)
    assert "erased before" in again.err
    place.run("profiles", "erase", "ann@example.com", "--dry-run", check=2)
    place.run("profiles", "erase", "nobody", check=2)

    story.offer("b", ANN, BOB)
    assert story.run("people") == {"read": 4, "skipped": 2, "unchanged": 1, "consent_blocked": 1}
    place.run("reset", "people", "--yes")
    assert story.run("people") == {"read": 4, "unchanged": 2, "consent_blocked": 2}
    assert "ann@example.com" not in place.run("profiles", "2", "--format", "json").out
    for name in ("shop", "post"):
        assert story.run(name) == {"read": 2, "unchanged": 1, "deleted": 1}
        sent = (place.folder / f"out/{name}-{story.number}.csv").read_text()
        assert sent.splitlines() == ["Id,Mail,deleted", "1,ann@example.com,true"]
        assert not story.state.withdrawals(name).exists()
        assert story.run(name) == {"read": 1, "unchanged": 1}

    done = place.run("profiles", "erase", "1", "--forget-erasure").out
    assert "2 tombstones" in done
    story.offer("c", ANN)
    assert story.run("people")["created"] == 1
    assert story.run("shop")["created"] == 1


def test_what_a_person_reads(story: Story) -> None:
    story.begin()
    said = story.place.run("profiles", "erase", "2", "--dry-run").out
    assert said.startswith("would be removed: 1 profile and 2 sent rows\n")
    assert "out/shop-{run}.csv" in said
    assert "docs" not in story.place.run("profiles", "erase", "2").out.splitlines()[0]


def test_stores_that_were_moved_aside_are_named(story: Story) -> None:
    """They hold everybody, and no erasure reaches them."""
    story.begin()
    aside = story.place.state.root / "profiles.before-1.duckdb"
    aside.write_bytes(story.place.state.profiles.read_bytes())
    assert aside.name in story.place.run("profiles", "erase", "2", "--dry-run").out
    assert aside.name in story.place.run("profiles", "erase", "77", check=2).err


def test_an_identifier_that_is_the_name_of_the_command(story: Story) -> None:
    story.offer("a", "erase,e@example.com,Erasmus\n")
    story.run("people")
    assert "Erasmus" in story.place.run("profiles", "--", "erase").out
    assert "1 profile" in story.place.run("profiles", "erase", "erase").out
    assert "Missing argument" in story.place.run("profiles", "erase", check=2).err


def test_no_store_no_person(story: Story) -> None:
    story.place.run("profiles", "erase", "1", check=2)


def test_a_store_that_is_open_elsewhere(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connrunner.answers.profile_lookup.WAIT", 0)
    monkeypatch.setattr("connrunner.cli.profiles_erase.WAIT", 0)
    story.begin()
    holder = (
        "import duckdb, sys; c = duckdb.connect(); c.execute(f\"ATTACH '{sys.argv[1]}' AS store\"); print(flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(story.state.profiles)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process_:
        assert process_.stdout is not None
        process_.stdout.readline()
        story.place.run("profiles", "erase", "1", check=75)
        story.place.run("profiles", check=75)
        process_.communicate()
    assert story.records() == []
    story.place.run("profiles", "erase", "1")


@pytest.mark.thorough
def test_two_erasures_at_a_time(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connrunner.state.erasures.WAIT", 0)
    story.begin()
    with (story.state.locks / "erase").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        story.place.run("profiles", "erase", "1", check=75)


# --- killed at any moment --------------------------------------------------------------------------------------------

# SIGKILL before the nth thing that changes a file, as Python sees it: DuckDB itself writes the new file only.
KILLER = """
import os, signal, sys
sys.argv = ["connrunner", "profiles", "erase", "ann@example.com"]
from connrunner.cli import command_line as cli
from connrunner.profiles.stores import rewriting
left = [int(os.environ["KILL_AT"])]
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree")
def hook(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (event in CHANGES or writes) and "STATE" in str(arguments[0]).replace(os.environ["STATE"], "STATE"):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.exit(cli.main(sys.argv[1:]))
"""


def killed_at(story: Story, moment: int) -> bool:
    """Erase Ann, and be killed before the change number *moment*; False when it ended before that."""
    environment = {**os.environ, "KILL_AT": str(moment), "STATE": str(story.state.root)}
    done = subprocess.run(
        [sys.executable, "-c", KILLER], cwd=story.place.folder, env=environment, capture_output=True, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def judge(story: Story) -> str:
    """Return `before` or `after`; fail the test for anything between."""
    tick.tick(story.place.folder, story.state, say=lambda _: None)
    left = {path.name for path in story.state.root.iterdir()} | {path.name for path in story.state.spool.iterdir()}
    assert not [name for name in left if "eras" in name and name != "erasure.key"], left
    waits = story.state.withdrawals("shop").parent
    kept = (path for path in story.state.root.rglob("*") if path.is_file() and path.parent != waits)
    content = b"".join(path.read_bytes() for path in kept)
    is_there = b"ann@example.com" in content
    found = story.place.run("profiles", "1", check=None).code == 0
    assert is_there == found
    assert len(story.records()) == (0 if found else 1)
    assert "Bob" in story.place.run("profiles", "2").out
    # Before: what a killed one noted already deletes nobody at the partner who is still here, and is gone after a run.
    for name in ("shop", "post"):
        assert story.run(name) == ({"read": 2, "unchanged": 2} if found else {"read": 2, "unchanged": 1, "deleted": 1})
        assert not story.state.withdrawals(name).exists()
    return "before" if found else "after"


def try_each(story: Story, tmp_path: Path, moments: range) -> list[str]:
    story.begin()
    base = tmp_path / "base"
    shutil.copytree(story.state.root, base)
    seen: list[str] = []
    for moment in moments:
        shutil.rmtree(story.state.root)
        shutil.copytree(base, story.state.root)
        if not killed_at(story, moment):
            break
        seen.append(judge(story))
        if seen[-1] in seen[:-1]:
            continue  # the first of each kind shows that one can go on from there
        if seen[-1] == "before":
            story.place.run("profiles", "erase", "ann@example.com")
        story.offer("again", ANN)
        assert story.run("people").get("consent_blocked") == 1
        (story.place.folder / "in/again.csv").unlink()
    assert judge(story) == "after"
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", [pytest.param(5, marks=pytest.mark.thorough), pytest.param(1, marks=pytest.mark.long)], ids=str
)
def test_killed_at_any_moment_a_person_is_there_or_gone(story: Story, tmp_path: Path, step: int) -> None:
    seen = try_each(story, tmp_path, range(0, 200, step))
    assert seen == sorted(seen, reverse=True), "before, and from one moment on after"
    assert set(seen) == {"before", "after"}
